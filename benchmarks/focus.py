"""What `--focus` gives and what it costs: masks of labelled pictures, steadiness and CPU-ms on clips, with and without.

    python -m benchmarks.focus [--models portrait,portrait-fast] [--clips CLIP...] [--frames 150]

Pictures are held-back ones of `benchmarks/eval/portrait.toml` under RTSEG_SHARED, each on its own: the whole is looked
at and then the part. "far" are people of the fashion set at 30 % of the height of street pictures of nobody, 1280x720.
Clips: CPU-ms a frame of the pipeline (network, filters, blur; neither decode nor encode), frame by frame in turn;
flicker x1000 of the network's masks and of the filtered ones.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from benchmarks.measure import ROOT, machine
from rtseg import store
from rtseg.build import build_pipeline, build_source
from rtseg.cards import Card
from rtseg.config import Config, ModelOptions, VideoSource
from rtseg.datasets import DataSet
from rtseg.engines import build_segmenter
from rtseg.evaluate.flicker import FlickerTally
from rtseg.evaluate.plan import Options, make_plan
from rtseg.evaluate.scores import RegionTally
from rtseg.focus import Focus
from rtseg.frame import Frame
from rtseg.ops.arrays import U8, as_u8
from rtseg.pipeline import Pipeline
from rtseg.types import Output, Regions, Segmentation, Segmenter

FAR, TALL = (1280, 720), 0.3


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.focus", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--models", default="portrait,portrait-fast,portrait-studio")
    parser.add_argument("--clips", nargs="*", type=Path, help="default: all of clips/people")
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--limit", type=int, help="pictures a set, spread over all")
    options = parser.parse_args(arguments)
    os.environ.setdefault("RTSEG_SHARED", str(ROOT.parent / "shared"))
    cv2.setNumThreads(1)
    names = options.models.split(",")
    print("\n".join(pictures(names, options.limit)), "\n", flush=True)
    folder = Path(os.environ["RTSEG_SHARED"]) / "clips" / "people"
    print("| clip | model | parts | asked | flicker static | warp | filtered static | warp | CPU-ms | with | ratio |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    found: dict[str, list[list[float]]] = {name: [] for name in names}
    for clip in options.clips if options.clips is not None else sorted(folder.glob("*.m*")):
        for name in names:
            found[name].append(_clip(clip, name, options.frames))
            print(_row(clip.stem, name, found[name][-1]), flush=True)
    for name, clips in found.items():
        if clips:
            print(_row("mean", name, [float(value) for value in np.nanmean(clips, axis=0)]))
    print(f"\n{machine()['cpu']}, commit {machine()['commit'][:12]}")
    return 0


def pictures(names: Sequence[str], limit: int | None) -> list[str]:
    """IoU mean and boundary F of each set and model: without, with, and in how many pictures a part was chosen."""
    segmenters = [build_segmenter(ModelOptions(name=name), store.find_card(name)) for name in names]
    lines = [
        "| set | model | IoU | with focus | boundary F | with focus | parts |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for title, samples in _sets(limit):
        tallies = {(name, kind): RegionTally("person") for name in names for kind in ("whole", "part")}
        parts = dict.fromkeys(names, 0)
        many = 0
        for rgb, truth in samples:
            many += 1
            known = np.full_like(truth, 255)
            for name, segment in zip(names, segmenters, strict=True):
                focus = Focus(segment)
                for kind, found in (("whole", segment(Frame.from_rgb(rgb))), ("part", focus(Frame.from_rgb(rgb)))):
                    tallies[name, kind].add("", truth, _mask(found), known, Options())
                parts[name] += focus.part is not None
        for name in names:
            whole, part = tallies[name, "whole"].scores, tallies[name, "part"].scores
            lines.append(
                f"| {title} | {name} | {whole.iou_mean:.3f} | {part.iou_mean:.3f} | {whole.boundary_f:.3f} | "
                f"{part.boundary_f:.3f} | {parts[name] / many:.2f} |"
            )
    return lines


def _sets(limit: int | None) -> Iterator[tuple[str, Iterator[tuple[U8, U8]]]]:
    """Every set's title and its held-back pictures: RGB and the person's mask."""
    sets = {data.title: data for data in make_plan([ROOT / "benchmarks/eval/portrait.toml"], _cards("portrait")).data}
    for title, data in sets.items():
        yield title, _read(data, limit)
    yield "far", _far(sets["fashion"], limit)


def _read(data: DataSet, limit: int | None) -> Iterator[tuple[U8, U8]]:
    stems = data.stems("held_out")
    for stem in stems[:: max(1, len(stems) // (limit or len(stems)))]:
        sample = data.read(stem)
        yield sample.rgb, sample.planes["person"]


def _far(people: DataSet, limit: int | None) -> Iterator[tuple[U8, U8]]:
    roads = make_plan([ROOT / "benchmarks/eval/road.toml"], _cards("road")).data
    streets = next(data for data in roads if data.title == "idd")
    empty = [s for s in streets.stems("held_out") if not (streets.read(s).planes["vulnerable"] > 0).any()]
    for index, (rgb, mask) in enumerate(_read(people, limit)):
        scene = as_u8(cv2.resize(streets.read(empty[index % len(empty)]).rgb, FAR, interpolation=cv2.INTER_AREA))
        rows = np.flatnonzero((mask > 127).any(axis=1))
        scale = TALL * FAR[1] / (rows[-1] + 1 - rows[0])
        small, cut = (
            as_u8(cv2.resize(plane, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)) for plane in (rgb, mask)
        )
        height, width = cut.shape
        chance = np.random.default_rng([3, index])
        x, y = int(chance.integers(0, FAR[0] - width)), int(chance.integers(FAR[1] // 4, FAR[1] - height))
        place = np.s_[y : y + height, x : x + width]
        weight = cut[..., np.newaxis] / 255.0
        scene[place] = np.rint(scene[place] * (1 - weight) + small * weight).astype(np.uint8)
        truth = np.zeros(FAR[::-1], np.uint8)
        truth[place] = cut
        yield scene, truth


class _Counted:
    """A segmenter that counts how often it is asked and keeps what it gave last."""

    def __init__(self, segmenter: Segmenter) -> None:
        self.names, self.reset, self.empty = segmenter.names, segmenter.reset, segmenter.empty
        self.asked, self.last = 0, np.zeros((1, 1), np.uint8)
        self._segmenter = segmenter

    def __call__(self, frame: Frame) -> Segmentation:
        self.asked += 1
        found = self._segmenter(frame)
        self.last = _mask(found)
        return found


def _clip(clip: Path, name: str, frames: int) -> list[float]:
    """Shares, pairs of flicker without and with, and CPU-ms without and with."""
    plain, focused = (build_pipeline(Config(model=ModelOptions(name=name))) for _ in range(2))
    network = _Counted(focused.segmenter)
    focus = Focus(network)
    outer = _Counted(focus)
    plain.segmenter, focused.segmenter = _Counted(plain.segmenter), outer
    raw, filtered = (FlickerTally(), FlickerTally()), (FlickerTally(), FlickerTally())
    times: tuple[list[float], list[float]] = ([], [])
    parts = many = 0
    with contextlib.closing(build_source(VideoSource(path=clip))) as video:
        for frame in islice(video, frames):
            many += 1
            for index, pipeline in enumerate((plain, focused)):
                own = Frame(frame.planes, frame.colour, pts=frame.pts)
                output, took = _timed(pipeline, own)
                times[index].append(took)
                assert isinstance(pipeline.segmenter, _Counted)
                raw[index].add(own, pipeline.segmenter.last)
                filtered[index].add(own, _mask(output.segmentation))
            parts += focus.part is not None
    steady = [
        float("nan") if value is None else value
        for tallies in (raw, filtered)
        for what in ("static", "warp")
        for value in (getattr(tallies[0], what), getattr(tallies[1], what))
    ]
    return [parts / many, network.asked / many, *steady, *(1e3 * statistics.mean(part) for part in times)]


def _row(clip: str, name: str, values: Sequence[float]) -> str:
    parts, asked, *pairs, without, focused = values
    cells = [f"{before:.2f} → {after:.2f}" for before, after in zip(pairs[::2], pairs[1::2], strict=True)]
    return (
        f"| {clip} | {name} | {parts:.2f} | {asked:.2f} | {' | '.join(cells)} | {without:.2f} | {focused:.2f} | "
        f"{focused / without:.2f} |"
    )


def _timed(pipeline: Pipeline, frame: Frame) -> tuple[Output, float]:
    started = time.process_time()
    output = pipeline(frame)
    return output, time.process_time() - started


def _mask(found: Segmentation) -> U8:
    assert isinstance(found, Regions)
    return as_u8(found.probabilities[0])


def _cards(name: str) -> list[Card]:
    return [store.find_card(name)]


if __name__ == "__main__":
    sys.exit(main())
