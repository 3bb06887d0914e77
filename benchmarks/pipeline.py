"""A whole video through rtseg, and through what else one could use, against the work that nobody can avoid.

    python -m benchmarks.pipeline                          720p, a picture as background
    python -m benchmarks.pipeline --background blur --size 1080p --json out/bench.json

Every program is a process of its own; a round runs each once, and rounds follow each other, so that a slow minute of
the machine falls on all of them. CPU-ms a frame is user and system time of all threads of the process, from just
before the first frame is asked for until the output is closed: importing, loading weights and opening files is left
out, for all alike. The limit is the floor (decode and encode) plus the network alone. All decode and encode in one
thread each, which takes the least CPU: more threads would make the floor dearer and so the ratio better.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import clips
from benchmarks.environments import environment
from benchmarks.job import Job, Report
from benchmarks.measure import (
    ROOT,
    LoopFailed,
    Run,
    interleaved,
    machine,
    median_report,
    run_loop,
    watched,
)
from rtseg.bench.settings import ENCODER

MEDIAPIPE = ("mediapipe==0.10.21", "av>=15,<19")  # the PyAV of rtseg where numpy 1 allows it
ORDER = ("floor", "network", "rtseg", "naive", "mediapipe_sample")
# ratio -> (numerator, denominators that are added up, the most it may be with a picture, and with blur)
RATIOS: Mapping[str, tuple[str, tuple[str, ...], float, float]] = {
    "rtseg / (decode + encode + network)": ("rtseg", ("floor", "network"), 1.35, 1.5),
    "rtseg / MediaPipe sample": ("rtseg", ("mediapipe_sample",), 0.55, 0.5),
    "rtseg / naive": ("rtseg", ("naive",), 0.45, 0.45),
}


@dataclasses.dataclass(frozen=True)
class Ratio:
    """A quotient of CPU times and the target that it is judged by."""

    name: str
    value: float
    target: float


def compare(job: Job, *, rounds: int, names: Sequence[str], mediapipe_python: str | None) -> dict[str, list[Run]]:
    """Run every program once a round, in an order that turns."""

    def step(name: str) -> Run:
        python = mediapipe_python if name == "mediapipe_sample" and mediapipe_python else sys.executable
        return run_loop(name, job, python=python)

    return interleaved({name: functools.partial(step, name) for name in names}, rounds=rounds)


def ratios(reports: Mapping[str, Report], *, blur: bool) -> list[Ratio]:
    """Those quotients for which everything was measured."""
    return [
        Ratio(name, reports[top].cpu_ms / sum(reports[part].cpu_ms for part in parts), with_blur if blur else plain)
        for name, (top, parts, plain, with_blur) in RATIOS.items()
        if top in reports and all(part in reports for part in parts)
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    console = Console()
    size = clips.SIZES[options.size]
    folder = Path(options.folder)
    clip = clips.clip(folder, size, options.frames, options.input)
    blur = options.background == "blur"
    background = "blur" if blur else str(clips.picture(folder, size))
    skipped: dict[str, str] = {}
    names = [name for name in ORDER if name not in options.without]
    mediapipe_python = None
    if "mediapipe_sample" in names:
        try:
            mediapipe_python = options.mediapipe_python or environment(folder / "mediapipe", MEDIAPIPE)
        except (LoopFailed, OSError) as error:
            skipped["mediapipe_sample"] = str(error)
            names.remove("mediapipe_sample")

    with tempfile.TemporaryDirectory(dir=folder, prefix="run-") as scratch, watched() as load:
        job = Job(
            clip=str(clip),
            output=str(Path(scratch) / "output.mp4"),
            frames=options.frames,
            width=size[0],
            height=size[1],
            rate=clips.RATE,
            background=background,
            encoder=ENCODER | {"threads": str(options.threads)},
            model=str(ROOT / "models" / "rtseg_portrait.onnx"),
            composited=str(Path(scratch) / "composited.i420"),
        )
        run_loop("rtseg", dataclasses.replace(job, capture=True))
        runs = compare(job, rounds=options.rounds, names=names, mediapipe_python=mediapipe_python)

    reports = {name: median_report(of) for name, of in runs.items()}
    found = ratios(reports, blur=blur)
    title = (
        f"{options.size}, background {options.background}, {options.frames} frames, median of {options.rounds} rounds"
    )
    described = machine()
    console.print(_table(title, reports))
    console.print(_judgement(found))
    for name, reason in skipped.items():
        console.print(f"skipped {name}: {reason}", style="yellow", markup=False)
    if load.warning:
        console.print(load.warning, style="bold yellow", markup=False)
    console.print(", ".join(f"{key} {value}" for key, value in described.items()), style="dim", markup=False)
    if options.json:
        result = {
            "title": title,
            "machine": described,
            "load": dataclasses.asdict(load) | {"warning": load.warning},
            "encoder": job.encoder,
            "clip": options.input.name if options.input else "sample",
            "median": {name: dataclasses.asdict(report) for name, report in reports.items()},
            "rounds": {name: [dataclasses.asdict(run) for run in of] for name, of in runs.items()},
            "ratios": {r.name: {"value": r.value, "target": r.target} for r in found},
            "skipped": skipped,
        }
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    first, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pipeline",
        description=first,
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--size", choices=clips.SIZES, default="720p")
    parser.add_argument("--background", choices=("picture", "blur"), default="picture")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="of the encoder, for all programs (default: 1)")
    parser.add_argument("--input", type=Path, help="a video; scaled to --size once (default: the built-in sample)")
    parser.add_argument("--without", action="append", default=[], choices=ORDER, help="leave a program out")
    parser.add_argument("--mediapipe-python", help="a Python that has mediapipe 0.10.21 (default: made by pip)")
    parser.add_argument("--folder", type=Path, default=ROOT / "out" / "benchmarks", help="for clips and environments")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    return parser.parse_args(arguments)


def _table(title: str, reports: Mapping[str, Report]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("program")
    for heading in ("CPU-ms/frame", "fps", "p50 ms", "p99 ms", "peak MB"):
        table.add_column(heading, justify="right")
    for name, r in reports.items():
        table.add_row(name, f"{r.cpu_ms:.2f}", f"{r.fps:.0f}", f"{r.p50_ms:.1f}", f"{r.p99_ms:.1f}", f"{r.peak_mb:.0f}")
    return table


def _judgement(found: Sequence[Ratio]) -> Table:
    table = Table(box=None)
    for heading in ("ratio of CPU time", "measured", "at most", ""):
        table.add_column(heading, justify="left" if heading.startswith("ratio") else "right")
    for ratio in found:
        met = "met" if ratio.value <= ratio.target else "MISSED"
        table.add_row(ratio.name, f"{ratio.value:.2f}", f"{ratio.target:.2f}", met)
    return table


if __name__ == "__main__":
    sys.exit(main())
