"""rtseg frame by frame, for the loops that time what is outside of the network; whole runs are `rtseg.bench.whole`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import cv2
import onnxruntime as ort

from benchmarks.job import Job
from benchmarks.measure import portrait_config
from benchmarks.split import SplitMeter
from rtseg.build import build_pipeline
from rtseg.config import parse_config
from rtseg.pipeline import Pipeline
from rtseg.registry import load
from rtseg.types import Frame


def pipeline_of(job: Job) -> Pipeline:
    """The portrait model with its default filters, and the job's background."""
    return build_pipeline(parse_config(portrait_config(job.background)))


def read_frames(job: Job) -> Iterator[tuple[int, Frame]]:
    """As `benchmarks.video.read_frames`, by rtseg's source; each frame anew, since it remembers small copies."""
    kept = list(islice(load("source", "video")(job.clip), min(job.frames, 10)))
    for index in range(-2, job.frames):
        frame = kept[index % len(kept)]
        yield index, frame.with_planes(frame.planes)


def split(pipeline: Pipeline, meter: SplitMeter) -> None:
    """Time the network where ONNX Runtime is called, so that the engine's checks are outside of it, and the effects.

    As in `rtseg.runner`, OpenCV runs in one thread.
    """
    cv2.setNumThreads(1)
    session: Any = ort.InferenceSession
    session.run_with_iobinding = meter.timed(session.run_with_iobinding)
    parts: Any = pipeline
    parts.effects = tuple(meter.timed(effect, "effect") for effect in pipeline.effects)
    parts._compositor = meter.timed(parts._compositor, "composite")
