"""Whether an archive survives: files in order, kills at random moments, and a cluster that loses a node.

python -m benchmarks.archive [--files 50] [--kills 20] [--seed 1] [--cluster] [--json FILE]

Three times the same archive of small files: at once; by `rtseg batch --resume`, killed by SIGKILL at random moments and
begun again each time; with --cluster on two nodes of Ray on this machine, one killed when a third is done. Frames and
bytes of all outputs are compared, and what was done twice is counted.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av

import rtseg
from rtseg.archive.batch import Progress, batch
from rtseg.archive.drive import DriveOptions

CODEC = "h264:preset=ultrafast"  # which makes the same bytes of the same pictures
OPTIONS = DriveOptions(model="road-fast", clips=False, codec=CODEC)
COMMAND = ("--model", "road-fast", "--codec", CODEC, "--no-clips", "--jobs", "1", "--resume", "--quiet")


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _make(folder / "in", options.files)
        began = time.perf_counter()
        batch(str(folder / "in"), folder / "whole", OPTIONS, jobs=1)
        figures: dict[str, Any] = {"files": options.files, "seconds_at_once": time.perf_counter() - began}
        wanted = outputs(folder / "whole")
        figures["killed"] = _killed(folder, options, figures["seconds_at_once"] / options.kills) | compare(
            folder / "killed", wanted
        )
        if options.cluster:
            figures["cluster"] = _on_cluster(folder) | compare(folder / "cluster", wanted)
    print(json.dumps(figures, indent=2))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    whole = all(part["same"] == part["wanted"] for part in figures.values() if isinstance(part, dict))
    killed = figures["killed"]
    return 0 if whole and killed["done_twice"] <= killed["kills"] and not killed["done_after_published"] else 1


def outputs(folder: Path) -> dict[str, Any]:
    """Every output: frames of videos, bytes of all else. The journal is none."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_file() or name == "journal.jsonl":
            continue
        found[name] = path.read_bytes()
        if path.suffix == ".mp4":
            with av.open(str(path)) as container:
                pictures = [(frame.pts, frame.to_ndarray().tobytes()) for frame in container.decode(video=0)]
            found[f"{name} frames"] = pictures
    return found


def compare(folder: Path, wanted: dict[str, Any]) -> dict[str, Any]:
    """How many outputs are the same, of how many; and which are not."""
    made = outputs(folder)
    different = sorted(name for name in wanted.keys() | made.keys() if wanted.get(name) != made.get(name))
    return {"same": len(wanted) - len(different), "wanted": len(wanted), "different": different}


def _make(folder: Path, count: int) -> None:
    folder.mkdir()
    for index in range(count):
        pattern = f"synthetic:testsrc2=size=320x180:rate=10:duration=1,hue=h={index * 7}"
        rtseg.run(pattern, folder / f"{index:03}.mp4", background="none", model="portrait-fast")


def _killed(folder: Path, options: argparse.Namespace, share: float) -> dict[str, Any]:
    """Kills so many times, at a moment within `share` seconds after a run began its first file."""
    chance, out = random.Random(options.seed), folder / "killed"
    command = [sys.executable, "-m", "rtseg", "batch", str(folder / "in"), "-o", str(out), *COMMAND]
    kills = 0
    began = time.perf_counter()
    while kills < options.kills:
        before = _lines(out)
        with subprocess.Popen(command) as run:
            try:
                end = time.monotonic() + 60
                while run.poll() is None and _lines(out) == before and time.monotonic() < end:
                    time.sleep(0.005)
                time.sleep(chance.uniform(0.0, share))
                alive = run.poll() is None
            finally:
                run.kill()
        if not alive:  # the archive was done before all kills
            break
        kills += 1
    subprocess.run(command, check=True, timeout=600)
    lines = [json.loads(line) for line in (out / "journal.jsonl").read_text().splitlines()]
    begun = Counter(line["file"] for line in lines if line["status"] == "begun")
    published: set[str] = set()
    again = 0
    for line in lines:
        again += line["status"] == "begun" and line["file"] in published
        if line["status"] == "done":
            published.add(line["file"])
    return {
        "kills": kills,
        "done_twice": sum(begun.values()) - len(begun),
        "done_after_published": again,
        "seconds": time.perf_counter() - began,
    }


def _lines(out: Path) -> int:
    path = out / "journal.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _on_cluster(folder: Path) -> dict[str, Any]:
    import ray
    from ray.cluster_utils import Cluster as Nodes

    small = {"object_store_memory": 80 * 1024 * 1024}
    nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **small})
    killed: list[int] = []
    began = time.perf_counter()
    try:
        both = [nodes.add_node(num_cpus=1, **small) for _ in range(2)]

        def kill_one(progress: Progress) -> None:
            if not killed and progress.finished * 3 >= progress.total and len(progress.running) == 2:
                killed.append(progress.finished)
                nodes.remove_node(both[1], allow_graceful=False)

        made = batch(str(folder / "in"), folder / "cluster", OPTIONS, cluster=nodes.address, progress=kill_one)
    finally:
        ray.shutdown()
        nodes.shutdown()
    return {"killed_after": killed, "done": made.counts["done"], "seconds": time.perf_counter() - began}


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    first, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.archive",
        description=first,
        epilog=rest,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--files", type=int, default=50)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    parser.add_argument("--cluster", action="store_true", help="also on two nodes of Ray")
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
