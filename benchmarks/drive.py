"""What a drive with everything on costs beside decoding and encoding alone.

python -m benchmarks.drive [VIDEO] [--frames 300] [--rounds 3] [--preset ultrafast] [--detector NAME] [--json FILE]

Lanes, obstacles, display, tables, clips, summary and report of a video scaled to 1280x720 (the built-in sample without
one), by H.264. The floor decodes the same clip and encodes the same finished pictures. Each program is a process of its
own, and they take turns; the floor's decoder and encoder have one thread each, a drive has the machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import interleaved, machine
from rtseg.bench import clips
from rtseg.bench.job import Job
from rtseg.bench.measure import Run, run_program
from rtseg.bench.settings import ENCODER
from rtseg.config import VideoSource

SIZE = (1280, 720)
TARGETS = {"ratio": 3.0, "fps": 30.0, "analyse": 6.0}
"""At most so many times the floor's CPU-ms, at least so many frames a second, at most so many CPU-ms of analyzers."""


def measure(job: Job, rounds: int, more: dict[str, Any]) -> dict[str, Any]:
    """Medians over the rounds; the first run, which keeps the pictures for the floor, does not count."""
    drive, floor = dataclasses.replace(job, config=more), dataclasses.replace(job, output=job.output + ".floor.mp4")
    run_program("benchmarks.loops.rtseg_drive", dataclasses.replace(drive, capture=True))
    analysed: list[float] = []

    def driven() -> Run:
        run = run_program("benchmarks.loops.rtseg_drive", drive)
        times = json.loads((Path(job.output).parent / "times.json").read_text(encoding="utf-8"))
        analysed.append(times["analyse"])
        figures["stages"] = times["stages"]
        return run

    figures: dict[str, Any] = {}
    runs = interleaved({"floor": lambda: run_program("rtseg.bench.floor", floor), "drive": driven}, rounds=rounds)
    for name, found in runs.items():
        for field in ("cpu_ms", "fps", "peak_mb"):
            figures[f"{name}_{field}"] = statistics.median(getattr(run.report, field) for run in found)
    pairs = zip(runs["drive"], runs["floor"], strict=True)
    ratios = [ours.report.cpu_ms / least.report.cpu_ms for ours, least in pairs]
    return figures | {"ratio": statistics.median(ratios), "analyse": statistics.median(analysed)}


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = None if options.video is None else VideoSource(path=options.video)
        job = Job(
            clip=str(clips.clip(folder, SIZE, options.frames, source)),
            output=str(folder / "drive" / "annotated.mp4"),
            frames=options.frames,
            width=SIZE[0],
            height=SIZE[1],
            rate=clips.RATE,
            background="",
            encoder=(ENCODER if options.preset == "ultrafast" else {"preset": options.preset}) | {"threads": "1"},
            model="",
            composited=str(folder / "composited.i420"),
        )
        (folder / "drive").mkdir()
        more = {"model": options.model, "detector": options.detector}
        figures = measure(job, options.rounds, {key: value for key, value in more.items() if value is not None})
    print(json.dumps(figures | {"machine": machine()}, indent=2, default=str))
    print(
        f"{figures['drive_cpu_ms']:.1f} CPU-ms a frame, {figures['ratio']:.2f} x the floor's "
        f"{figures['floor_cpu_ms']:.1f}; {figures['drive_fps']:.0f} frames a second; analyzers {figures['analyse']:.2f}"
    )
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2, default=str) + "\n", encoding="utf-8")
    return 0 if kept(figures) else 1


def kept(figures: dict[str, Any]) -> bool:
    """Whether the targets were met."""
    return bool(
        figures["ratio"] <= TARGETS["ratio"]
        and figures["drive_fps"] >= TARGETS["fps"]
        and figures["analyse"] <= TARGETS["analyse"]
    )


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    first, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.drive",
        description=first,
        epilog=rest,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("video", type=Path, nargs="?")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--preset", default="ultrafast", help="of x264, in both programs")
    parser.add_argument("--model", default="road")
    parser.add_argument("--detector", metavar="NAME")
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
