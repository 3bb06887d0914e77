"""rtseg itself, as a user runs it: file source, portrait model, default filters, background, file sink, `run`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import onnxruntime as ort

from benchmarks.job import Job, Meter, main
from benchmarks.split import SplitMeter
from benchmarks.video import read_picture
from rtseg.engine import OrtEngine
from rtseg.pipeline import Pipeline
from rtseg.registry import load
from rtseg.runner import run as run_pipeline
from rtseg.store import find_card, weights
from rtseg.types import Blur, Frame, Output, Picture, Sink, Source


class Timed:
    """Passes everything on to a sink and tells the meter when a frame is written."""

    def __init__(self, sink: Sink, meter: Meter, job: Job) -> None:
        self._sink, self._meter, self._job = sink, meter, job
        self._count = 0

    def write(self, output: Output) -> None:  # noqa: D102 - see Sink
        self._sink.write(output)
        self._meter.frame(output.frame.arrived)
        if self._job.still and self._count == self._job.frames // 2:
            cv2.imwrite(self._job.still, output.picture.bgr)
        self._count += 1

    def close(self) -> None:  # noqa: D102
        self._sink.close()


class Capture:
    """Keeps the composited planes as they are, for the floor to encode."""

    def __init__(self, path: str) -> None:
        self._file = Path(path).open("wb")  # noqa: SIM115 - closed by close

    def write(self, output: Output) -> None:  # noqa: D102 - see Sink
        for plane in output.picture.planes:
            self._file.write(plane.tobytes())

    def close(self) -> None:  # noqa: D102
        self._file.close()


def paint_of(job: Job) -> Blur | Picture:
    """What stands behind the person."""
    if job.background == "blur":
        return Blur()
    return Picture(Frame.from_bgr(read_picture(job.background, job.width, job.height)))


def pipeline_of(job: Job) -> Pipeline:
    """The portrait model with its default filters, and the job's background."""
    card = find_card("portrait")
    segmenter = load("segmenter", card.family)(card, OrtEngine(weights(card)))
    filters = [load("filter", name)() for name in ("smooth", "refine")]
    return Pipeline(segmenter, filters=filters, effects=[load("effect", "background")(paint_of(job))])


def build(job: Job) -> tuple[Source, Pipeline, Sink]:
    """The parts of a run, by the names that the command line uses for them."""
    pipeline = pipeline_of(job)
    source: Source = load("source", "video")(job.clip)
    if job.capture:
        return source, pipeline, Capture(job.composited)
    codec = "h264:" + ",".join(f"{key}={value}" for key, value in job.encoder.items())
    sink: Sink = load("sink", "video")(job.output, codec=codec, info=source.info)
    return source, pipeline, sink


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


def run(job: Job, meter: Meter) -> None:
    source, pipeline, sink = build(job)
    meter.start()
    run_pipeline(source, pipeline, [Timed(sink, meter, job)])


if __name__ == "__main__":
    main(run)
