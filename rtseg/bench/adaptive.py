"""What `--adaptive` saves on a clip, and what it does to the masks: a program that prints JSON.

Two pipelines, one that asks the network for every frame, take each frame in turn; neither decode nor encode counts.
The masks of the sparing one are compared with the other's, which are the truth here: what the network itself gets
wrong is not its fault.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import time
from dataclasses import asdict, dataclass, replace
from itertools import islice

import cv2
import numpy as np

from rtseg.bench.job import Job, read_job
from rtseg.bench.whole import configured
from rtseg.build import build_pipeline, build_source
from rtseg.errors import SourceUnreadable
from rtseg.ops.arrays import U8
from rtseg.ops.matte_errors import change_error
from rtseg.ops.resize import enlarge
from rtseg.results import masks_of
from rtseg.types import Output, Segmentation


@dataclass(frozen=True, slots=True)
class Fidelity:
    """A clip with and without `--adaptive`.

    asked: the share of frames that the network saw. every_ms, adaptive_ms: CPU-ms a frame of the pipeline. iou, least:
    of the masks at half, mean and least of all frames. dtssd: how far the change from frame to frame is off, x100.
    """

    frames: int
    asked: float
    every_ms: float
    adaptive_ms: float
    iou: float
    least: float
    dtssd: float


class Comparison:
    """Grows by two results for one frame: the truth, and what stands for it."""

    def __init__(self) -> None:
        self.overlaps: list[float] = []
        self.changes: list[float] = []
        self._before: tuple[U8, U8] | None = None

    def add(self, truth: Segmentation, other: Segmentation) -> None:
        """Of the same names and frame size, at any resolution each."""
        first, second = _stacked(truth, other)
        self.overlaps.append(overlap(first, second))
        if self._before is not None:
            self.changes.append(change_error((self._before[0], first), (self._before[1], second)))
        self._before = first, second


def overlap(first: U8, second: U8) -> float:
    """Intersection over union of what is over half, of all masks together; 1 where both are empty."""
    one, other = first > 127, second > 127
    union = int(np.count_nonzero(one | other))
    return int(np.count_nonzero(one & other)) / union if union else 1.0


def _stacked(truth: Segmentation, other: Segmentation) -> tuple[U8, U8]:
    """The masks of every name that either has, at the truth's resolution, as two arrays NxHxW."""
    first, second = masks_of(truth), masks_of(other)
    shapes = [mask.shape for mask in (*first.values(), *second.values())]
    height, width = shapes[0] if shapes else (1, 1)
    empty = np.zeros((height, width), np.uint8)
    names = sorted({*first, *second}) or [""]
    pair = [
        np.stack([enlarge(masks[name], (width, height)) if name in masks else empty for name in names])
        for masks in (first, second)
    ]
    return pair[0], pair[1]


def compare(job: Job) -> Fidelity:
    """The job's configuration on the first frames of its clip."""
    config = configured(job)
    assert config.source is not None
    models = [config.model.model_copy(update={"adaptive": sparing, "fused": False}) for sparing in (False, True)]
    pipelines = [build_pipeline(config.model_copy(update={"model": model})) for model in models]
    times: tuple[list[float], list[float]] = ([], [])
    comparison, asked = Comparison(), 0
    with contextlib.closing(build_source(config.source)) as video:
        for number, frame in enumerate(islice(video, job.frames)):
            outputs: dict[int, Output] = {}
            for turn in (0, 1) if number % 2 else (1, 0):  # who is second finds the planes in the cache
                # Each gets a frame of its own, or the second would find what the first made of it.
                own = replace(frame)
                started = time.process_time()
                outputs[turn] = pipelines[turn](own)
                times[turn].append(time.process_time() - started)
            asked += outputs[1].inferred
            comparison.add(outputs[0].segmentation, outputs[1].segmentation)
    if not (count := len(comparison.overlaps)):
        raise SourceUnreadable(f"{job.clip} gives no frame: measure another input")
    return Fidelity(
        frames=count,
        asked=asked / count,
        every_ms=1e3 * statistics.mean(times[0]),
        adaptive_ms=1e3 * statistics.mean(times[1]),
        iou=statistics.mean(comparison.overlaps),
        least=min(comparison.overlaps),
        dtssd=statistics.mean(comparison.changes) if comparison.changes else 0.0,
    )


def main() -> None:
    """The job is the only argument."""
    cv2.setNumThreads(1)
    print(json.dumps(asdict(compare(read_job()))), flush=True)


if __name__ == "__main__":
    main()
