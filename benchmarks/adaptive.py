"""What `--adaptive` saves and what it costs: frames without the network, and their masks beside those with it.

    python -m benchmarks.adaptive CLIP... [--frames 300]

For each clip: the share of frames that the network saw, CPU-ms a frame of the pipeline (network, filters, blur; neither
decode nor encode) with and without, frame by frame in turn, and the IoU of the two masks.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from benchmarks.measure import machine
from rtseg import store
from rtseg.adaptive import Adaptive
from rtseg.build import build_pipeline, build_source
from rtseg.config import Config, ModelOptions, VideoSource
from rtseg.pipeline import Pipeline
from rtseg.types import Frame, Output, Regions


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.adaptive", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--model", default="portrait")
    parser.add_argument("--frames", type=int, default=300)
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    print("| clip | frames | network asked | CPU-ms every frame | adaptive | ratio | IoU mean | least |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for clip in options.clips:
        print(_row(clip, options.model, options.frames), flush=True)
    print(f"\n{machine()['cpu']}, commit {machine()['commit'][:12]}")
    return 0


def _row(clip: Path, model: str, frames: int) -> str:
    card = store.find_card(model)
    every = build_pipeline(Config(model=ModelOptions(name=model)), card=card)
    sparing = build_pipeline(Config(model=ModelOptions(name=model)), card=card)
    sparing.adaptive = Adaptive()
    times: tuple[list[float], list[float]] = ([], [])
    overlaps, asked = [], 0
    with contextlib.closing(build_source(VideoSource(path=clip))) as video:
        for frame in islice(video, frames):
            # Each gets a frame of its own, or the second would find what the first made of it.
            pair = [_timed(pipeline, Frame(frame.planes, frame.colour, pts=frame.pts)) for pipeline in (every, sparing)]
            for kept, (_, took) in zip(times, pair, strict=True):
                kept.append(took)
            asked += pair[1][0].inferred
            overlaps.append(_overlap(pair[0][0], pair[1][0]))
    means = [1e3 * statistics.mean(part) for part in times]
    return (
        f"| {clip.stem} | {len(overlaps)} | {asked / len(overlaps):.2f} | {means[0]:.2f} | {means[1]:.2f} | "
        f"{means[1] / means[0]:.2f} | {statistics.mean(overlaps):.4f} | {min(overlaps):.3f} |"
    )


def _timed(pipeline: Pipeline, frame: Frame) -> tuple[Output, float]:
    started = time.process_time()
    output = pipeline(frame)
    return output, time.process_time() - started


def _overlap(first: Output, second: Output) -> float:
    assert isinstance(first.segmentation, Regions)
    assert isinstance(second.segmentation, Regions)
    one, other = (s.probabilities > 127 for s in (first.segmentation, second.segmentation))
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 1.0


if __name__ == "__main__":
    sys.exit(main())
