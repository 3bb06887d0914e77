"""Lanes where the road's network sees only some of the frames, beside lanes where it sees all.

    python -m benchmarks.every CLIP... [--drawn 4] [--model road] [--most 300]

Frames between are given the last mask as it is, which tells analyzers to follow the lines ("followed", what
a drive does), a copy of it, which they measure again ("kept"), or the same moved along the optical flow ("moved"); the
network sees every second to fourth. "adaptive" is what --adaptive does. Each
way has a pipeline of its own, and all take a frame before the next one, so that CPU milliseconds (of the network,
filters and lanes; medians, and means below) are of one run. Drawn drives leave their lane, and their truth is exact.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as with_
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np

from benchmarks.measure import machine
from rtseg.adaptive import Adaptive
from rtseg.build import build_pipeline
from rtseg.driving.render import Drive, Excursion, render
from rtseg.driving.state import Scene
from rtseg.ops.arrays import U8
from rtseg.ops.flow import FLOW_SIZE, warp_at
from rtseg.options import configure
from rtseg.pipeline import Pipeline
from rtseg.sources.video import VideoFile
from rtseg.types import Frame, Regions, Segmentation

Between: TypeAlias = Literal["followed", "kept", "moved"]
BETWEEN: tuple[Between, ...] = get_args(Between)


class Every(Adaptive):
    """Asks for every `step`-th frame, whatever happens between."""

    def __init__(self, step: int, between: Between) -> None:
        super().__init__()
        self._step, self._between = step, between

    def __call__(self, frame: Frame) -> Segmentation | None:
        """The last mask for this frame, None where the network's turn has come."""
        made, before = self._made, self._luma
        self._age += 1
        self.kept = False
        if made is None or before is None or self._age >= self._step or not isinstance(made, Regions):
            return None
        match self._between:
            case "followed":
                self.kept = True
                return with_(self._filtered or made, pts=frame.pts)
            case "kept":
                return with_(made, probabilities=made.probabilities.copy(), pts=frame.pts)
            case "moved":
                return with_(made, probabilities=self._moved(frame, made, before), pts=frame.pts)

    def _moved(self, frame: Frame, made: Regions, before: U8) -> U8:
        flow = self._flow(frame.luma(FLOW_SIZE), before)
        every = np.arange(made.probabilities[0].size)
        return np.stack([warp_at(mask, flow, every).reshape(mask.shape) for mask in made.probabilities])


@dataclass
class Way:
    """How often the network is asked, and what came of it."""

    name: str
    pipeline: Pipeline
    offsets: list[float] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    events: list[tuple[str, float]] = field(default_factory=list)
    asked: int = 0

    def take(self, frame: Frame) -> None:
        """A frame; the offset is NaN where it is not known."""
        began = time.thread_time()
        output = self.pipeline(frame)
        self.times.append((time.thread_time() - began) * 1e3)
        scene = Scene.read(output.observations)
        self.offsets.append(np.nan if scene.lanes.offset is None else scene.lanes.offset.value)
        self.events += [(event.kind, frame.time) for event in scene.events if event.phase == "begin"]
        self.asked += output.inferred


def ways(model: str) -> list[Way]:
    """All of them, new."""
    kinds: dict[str, Adaptive | None] = {"all": None, "all, not smoothed": None, "adaptive": Adaptive()}
    for step in (2, 3, 4):
        kinds |= {f"{step}, {between}": Every(step, between) for between in BETWEEN}
    config = configure("road.mp4", model=model, overlay="none", threads=1)
    config = config.model_copy(
        update={"analyzers": type(config).model_validate({"analyzers": [{"type": "lanes"}]}).analyzers}
    )
    made = []
    for name, adaptive in kinds.items():
        pipeline = build_pipeline(config, pictures=False)
        pipeline.adaptive = adaptive
        if name == "all, not smoothed":
            pipeline.filters = ()
        made.append(Way(name, pipeline))
    return made


def drawn(seed: int) -> Iterator[tuple[Frame, float]]:
    """Frames and true offsets of a drive that leaves its lane for a moment."""
    drive = Drive(seconds=8.0, seed=seed, excursions=(Excursion(3.0, 1.4 if seed % 2 else -1.4),), shake=1e-3)
    for each in render(drive, pictures=True):
        yield each.frame, np.nan if each.lanes.offset is None else each.lanes.offset.value


def report(name: str, made: Sequence[Way], truth: Sequence[float] | None) -> None:
    """A row a way."""
    print(f"\n## {name}, {len(made[0].offsets)} frames\n")
    true = " | error m, median, 95 %" if truth else ""
    print(
        f"| network sees | asked | CPU-ms | with lane | from all m, median, 95 %, most | jump m, most{true} | events |"
    )
    print(f"|---|---|---|---|---|---{'|---' if truth else ''}|---|")
    usual = np.array(made[0].offsets)
    for way in made:
        offsets = np.array(way.offsets)
        off = _known(np.abs(offsets - usual))
        jump = _known(np.abs(np.diff(offsets)))
        cells = [way.name, f"{way.asked / len(offsets):.2f}", f"{statistics.median(way.times):.2f}"]
        cells += [
            f"{np.isfinite(offsets).mean():.3f}",
            f"{np.median(off):.3f}, {np.percentile(off, 95):.3f}, {off.max():.3f}",
        ]
        cells.append(f"{jump.max():.3f}")
        if truth:
            error = _known(np.abs(offsets - np.array(truth))[25:])
            cells.append(f"{np.median(error):.3f}, {np.percentile(error, 95):.3f}")
        cells.append(", ".join(f"{kind} {at:.2f} s" for kind, at in way.events) or "none")
        print(f"| {' | '.join(cells)} |")
    mean = [f"{way.name} {statistics.fmean(way.times):.2f}" for way in made]
    print(f"\nCPU-ms, mean: {'; '.join(mean)}")


def _known(
    values: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    found = values[np.isfinite(values)]
    return found if found.size else np.array([np.nan])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="*", type=Path)
    parser.add_argument("--drawn", type=int, default=4)
    parser.add_argument("--model", default="road")
    parser.add_argument("--most", type=int, default=300)
    options = parser.parse_args()
    print(f"{machine()}, model {options.model}")
    for clip in options.clips:
        made = ways(options.model)
        for frame, _ in zip(VideoFile(clip), range(options.most), strict=False):
            for way in made:
                way.take(frame)
        report(clip.stem, made, None)
    for seed in range(options.drawn):
        made, truth = ways(options.model), []
        for frame, true in drawn(seed):
            truth.append(true)
            for way in made:
                way.take(frame)
        report(f"drawn {seed}", made, truth)


if __name__ == "__main__":
    main()
