"""What each stage of a frame costs by itself, on the same frames, in one thread.

    python -m benchmarks.stages --size 720p --json out/stages.json

CPU-ms a frame, median over the rounds. Decode and encode are timed as everything that the process spends (their
libraries have threads of their own), the rest as what the calling thread spends, with OpenCV at one thread. In a
pipeline the same stages cost somewhat more, since they share caches with decoder and encoder.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
from rich.console import Console
from rich.table import Table

from benchmarks import clips
from benchmarks.job import Job
from benchmarks.loops.rtseg import build, paint_of
from benchmarks.measure import ROOT, machine, watched
from benchmarks.pipeline import ENCODER
from rtseg.compositor import Compositor
from rtseg.effects.background import Background
from rtseg.engine import OrtEngine
from rtseg.ops.tensors import InputFormat
from rtseg.registry import load
from rtseg.store import find_card, weights
from rtseg.types import Frame, Output

_DISTINCT = 60
"""Frames kept in memory: enough that none is still in a cache when its turn comes again."""


def measure(clip: Path, *, size: tuple[int, int], background: str, rounds: int, scratch: Path) -> dict[str, float]:
    """CPU-ms a frame of every stage, each fed with what the stage before made of all frames."""
    job = Job(str(clip), str(scratch / "stages.mp4"), _DISTINCT, *size, clips.RATE, background, dict(ENCODER), "")
    frames = list(build(job)[0])[:_DISTINCT]
    card = find_card("portrait")
    engine = OrtEngine(weights(card))
    segmenter = load("segmenter", card.family)(card, engine)
    layout = InputFormat(**card.input.model_dump(exclude={"name", "matrix", "full_range"}))
    tensor: Any = engine.inputs[card.input.name]
    smooth, refine = load("filter", "smooth")(), load("filter", "refine")()
    effect, compositor = Background(paint_of(job)), Compositor()

    def preprocess(frame: Frame) -> None:
        layout.write(frame.resized(card.input.size), layout.window(frame.size), tensor)

    times: dict[str, list[float]] = {}
    for _ in range(rounds):
        fresh = [frame.with_planes(frame.planes) for frame in frames]  # a frame remembers its small copies

        def timed(stage: str, step: Callable[..., Any], *columns: Sequence[Any]) -> list[Any]:
            start = time.thread_time()
            made = [step(*row) for row in zip(*columns, strict=True)]
            times.setdefault(stage, []).append((time.thread_time() - start) / len(made) * 1e3)
            return made

        times.setdefault("decode", []).append(_decode(job))
        timed("preprocess", preprocess, fresh)
        timed("network", lambda _: engine.run(), fresh)
        masks = timed("segment (preprocess, network, postprocess)", segmenter, [f.with_planes(f.planes) for f in fresh])
        smoothed = timed("smooth", smooth, fresh, masks)
        refined = timed("refine", refine, fresh, smoothed)
        layers = timed("effect", lambda frame, mask: effect(frame, mask, ()), fresh, refined)
        pictures = timed("composite", compositor, fresh, layers)
        outputs = [Output(f, mask, (), picture) for f, mask, picture in zip(fresh, refined, pictures, strict=True)]
        times.setdefault("encode", []).append(_encode(job, outputs))
    return {stage: statistics.median(values) for stage, values in times.items()}


def _decode(job: Job) -> float:
    source = build(job)[0]
    start = time.process_time()
    count = sum(1 for _ in source)
    return (time.process_time() - start) / count * 1e3


def _encode(job: Job, outputs: Sequence[Output]) -> float:
    sink = build(job)[2]
    start = time.process_time()
    for output in outputs:
        sink.write(output)
    sink.close()
    return (time.process_time() - start) / len(outputs) * 1e3


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stages", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--size", choices=clips.SIZES, default="720p")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--input", type=Path, help="a video; scaled to --size once (default: the built-in sample)")
    parser.add_argument("--folder", type=Path, default=ROOT / "out" / "benchmarks", help="for clips")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    size = clips.SIZES[options.size]
    clip = clips.clip(options.folder, size, _DISTINCT, options.input)
    backgrounds = {"picture": str(clips.picture(options.folder, size)), "blur": "blur"}
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="run-") as scratch, watched() as load_:
        found = {
            name: measure(clip, size=size, background=background, rounds=options.rounds, scratch=Path(scratch))
            for name, background in backgrounds.items()
        }
    console = Console()
    console.print(_table(f"{options.size}, CPU-ms a frame", found))
    if load_.warning:
        console.print(load_.warning, style="bold yellow", markup=False)
    described = machine()
    console.print(", ".join(f"{key} {value}" for key, value in described.items()), style="dim", markup=False)
    if options.json:
        result = {"size": options.size, "machine": described, "load": load_.warning, "cpu_ms": found}
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    return 0


def _table(title: str, found: Mapping[str, Mapping[str, float]]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("stage")
    for background in found:
        table.add_column(background, justify="right")
    for stage in next(iter(found.values())):
        table.add_row(stage, *(f"{times[stage]:.2f}" for times in found.values()))
    return table


if __name__ == "__main__":
    sys.exit(main())
