"""What each stage of a frame costs by itself, on the same frames, in one thread: a program that prints JSON.

CPU-ms a frame, median over the rounds. Decode and encode are timed as everything that the process spends (their
libraries have threads of their own), the rest as what the calling thread spends, with OpenCV at one thread. In a
pipeline the same stages cost somewhat more, since they share caches with decoder and encoder.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

import cv2

from rtseg.bench.job import Job, read_job
from rtseg.bench.network import open_engine
from rtseg.bench.whole import configured
from rtseg.build import build_pipeline, build_sink, build_source, default_filters
from rtseg.compositor import Compositor
from rtseg.config import Config
from rtseg.ops.colour import Colour
from rtseg.ops.tensors import InputFormat
from rtseg.types import Frame, Output

_DISTINCT = 60
"""Frames kept in memory: enough that none is still in a cache when its turn comes again."""
_BYTES = 300_000_000
UNAVOIDABLE = frozenset({"decode", "network", "encode"})
PARTS = frozenset({"preprocess", "network", "postprocess"})
"""What the stage "segment" is made of."""


def overhead(stages: Mapping[str, float]) -> float:
    """CPU-ms a frame of all that is not decode, encode or network; parts of the segmenter count once."""
    return sum(ms for stage, ms in stages.items() if stage not in UNAVOIDABLE | {"segment"})


def measure(job: Job, *, rounds: int) -> dict[str, float]:
    """CPU-ms a frame of every stage, each fed with what the stage before made of all frames."""
    config = configured(job)
    card, engine = open_engine(job)
    count = max(2, min(_DISTINCT, job.frames, _BYTES // (job.width * job.height * 3 // 2)))
    assert config.source is not None
    frames = list(islice(build_source(config.source), count))
    pipeline = build_pipeline(config, card=card)
    names = [options.type for options in (default_filters(card) if config.filters is None else config.filters)]
    layout = InputFormat(**card.input.model_dump(exclude={"name", "matrix", "full_range"}))
    tensor: Any = engine.inputs[card.input.name]
    compositor = Compositor()

    def preprocess(frame: Frame) -> None:
        window = layout.window(frame.size)
        size = (window.width, window.height)
        colour = Colour(card.input.matrix, card.input.full_range)
        layout.write(
            frame.resized_yuv(size, colour) if card.input.colour == "yuv" else frame.resized(size), window, tensor
        )

    times: dict[str, list[float]] = {}

    def timed(stage: str, step: Callable[..., Any], *columns: Sequence[Any]) -> list[Any]:
        start = time.thread_time()
        made = [step(*row) for row in zip(*columns, strict=True)]
        times.setdefault(stage, []).append((time.thread_time() - start) / len(made) * 1e3)
        return made

    for _ in range(rounds):
        fresh = [frame.with_planes(frame.planes) for frame in frames]  # a frame remembers its small copies
        times.setdefault("decode", []).append(_decode(config))
        timed("preprocess", preprocess, fresh)
        timed("network", lambda _: engine.run(), fresh)
        masks = timed("segment", pipeline.segmenter, [frame.with_planes(frame.planes) for frame in fresh])
        parts = times["preprocess"][-1] + times["network"][-1]
        times.setdefault("postprocess", []).append(max(0.0, times["segment"][-1] - parts))
        for name, stage in zip(names, pipeline.filters, strict=True):
            masks = timed(name, stage, fresh, masks)
        pictures = fresh
        if pipeline.effects:
            layers = timed(
                "effect",
                lambda frame, mask: [layer for effect in pipeline.effects for layer in effect(frame, mask, ())],
                fresh,
                masks,
            )
            pictures = timed("composite", compositor, fresh, layers)
        outputs = [Output(f, mask, (), picture) for f, mask, picture in zip(fresh, masks, pictures, strict=True)]
        times.setdefault("encode", []).append(_encode(config, outputs))
    return {stage: statistics.median(values) for stage, values in times.items()}


def _decode(config: Config) -> float:
    assert config.source is not None
    source = build_source(config.source)
    start = time.process_time()
    count = sum(1 for _ in source)
    return (time.process_time() - start) / count * 1e3


def _encode(config: Config, outputs: Sequence[Output]) -> float:
    assert config.source is not None
    source = build_source(config.source)
    sink = build_sink(config.sinks[0], source)
    source.close()
    start = time.process_time()
    for output in outputs:
        sink.write(output)
    sink.close()
    return (time.process_time() - start) / len(outputs) * 1e3


def main() -> None:
    """The job and the rounds are the arguments."""
    cv2.setNumThreads(1)
    print(json.dumps(measure(read_job(), rounds=int(sys.argv[2]))), flush=True)


if __name__ == "__main__":
    main()
