"""What presets cost, in CPU-ms a frame over the bare mask of the same network, one thread.

    python -m benchmarks.presets [CLIP...] [--size 1280x720] [--frames 120] [--json out/presets.json]

The built-in sample where no clip is given; each is cropped and scaled to the size, and the first half of its frames is
not counted. Bare is preprocessing, network, effect and compositor with a blurred background. Presets are that
with views, filters and decontamination. All take turns at each frame; figures are medians of differences to bare in the
same frame. "expected" is what `--preset auto` would predict for masks and edges, which bare's blur is no part of.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path

import cv2

from benchmarks.measure import machine, watched
from rtseg import store
from rtseg.build import build_pipeline, build_source
from rtseg.config import BackgroundEffect, Config, ModelOptions, VideoSource
from rtseg.ops.fit import cover
from rtseg.pipeline import Pipeline
from rtseg.presets import PRESETS, measure
from rtseg.sources.sample import Sample
from rtseg.types import Frame, Size

LIMITS = {"balanced": 4.0, "studio": 9.0}
"""CPU-ms over bare at 1280x720 that were asked for."""


@dataclass(frozen=True, slots=True)
class Row:
    """CPU-ms a frame. over: of medians of single frames. expected: by `rtseg.presets.Costs`, None for bare."""

    clip: str
    name: str
    total: float
    over: float
    expected: float | None


def pipelines(model: str) -> dict[str, Pipeline]:
    """Bare and the presets around networks of one kind, with a blurred background."""
    made = {"bare": build_pipeline(_config(model, None).model_copy(update={"filters": ()}))}
    return made | {name: build_pipeline(_config(model, name)) for name in PRESETS}


def rows(clip: str, frames: Sequence[Frame], model: str) -> list[Row]:
    """The figures of a clip: all pipelines in turn at each frame."""
    made = pipelines(model)
    spent: dict[str, list[float]] = {name: [] for name in made}
    names = list(made)
    for index, frame in enumerate(frames):
        turn = index % len(names)
        for name in [*names[turn:], *names[:turn]]:
            fresh = replace(frame)
            began = time.thread_time()
            made[name](fresh)
            spent[name].append((time.thread_time() - began) * 1e3)
    kept = {name: times[len(times) // 2 :] for name, times in spent.items()}
    plain = build_pipeline(_config(model, None))
    costs = measure(plain.segmenter, plain.filters, store.find_card(model).input.size, Size(*frames[0].size))
    return [
        Row(
            clip,
            name,
            statistics.median(times),
            statistics.median(mine - bare for mine, bare in zip(times, kept["bare"], strict=True)),
            costs.of(PRESETS[name]) if name in PRESETS else None,
        )
        for name, times in kept.items()
    ]


def _config(model: str, preset: str | None) -> Config:
    options = ModelOptions.model_validate({"name": model, "preset": preset, "threads": 1})
    return Config(model=options, effects=(BackgroundEffect(paint="blur"),))


def read(clip: str, size: Size, most: int) -> list[Frame]:
    """So many frames, cropped and scaled to that size."""
    if clip == "sample":
        return list(islice(Sample(seconds=most / 30.0 + 0.1, size=(size.width, size.height), rate=30), most))
    chroma = Size(size.width // 2, size.height // 2)
    with contextlib.closing(build_source(VideoSource(path=Path(clip)))) as source:
        return [replace(frame, planes=cover(frame.planes, size, chroma)) for frame in islice(source, most)]


def table(found: Sequence[Row]) -> list[str]:
    """Lines of Markdown."""
    lines = ["| clip | preset | CPU-ms a frame | over bare | limit | expected |", "|---|---|---:|---:|---:|---:|"]
    for row in found:
        limit, expected = LIMITS.get(row.name), "" if row.expected is None else f"{row.expected:.1f}"
        lines.append(
            f"| {row.clip} | {row.name} | {row.total:.1f} | {row.over:.1f} | "
            f"{'' if limit is None else f'{limit:g}'} | {expected} |"
        )
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure every clip, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="*", default=["sample"])
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--model", default="portrait")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    size = Size(*map(int, options.size.split("x")))
    cv2.setNumThreads(1)
    found: list[Row] = []
    with watched() as load:
        for clip in options.clips:
            found += rows(Path(clip).stem, read(clip, size, options.frames), options.model)
    print("\n".join(table(found)))
    print(f"\n{machine()['cpu']}, commit {machine()['commit'][:12]}, {options.size}, {options.model}, one thread")
    if load.warning:
        print(load.warning)
    if options.json is not None:
        made = {"machine": machine(), "warning": load.warning, "size": options.size, "rows": [*map(asdict, found)]}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
