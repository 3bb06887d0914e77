"""How many paced streams at once a machine takes around one network.

1, 2, 3 ... streams of video files, each decoded on its own and paced by the clock as a camera would be: a frame arrives
at its moment, late or not, is then decoded, segmented, composited and handed to a sink that keeps nothing. A number of
streams is carried while the 99th percentile of the latency, from the moment of arrival until the output is written,
over all frames of all streams, stays under 33 ms and at most 1 % of the frames are dropped.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from rtseg import store
from rtseg.bench import clips
from rtseg.bench.machine import Load, watched
from rtseg.bench.paced import Paced
from rtseg.build import Job, build_pipeline
from rtseg.config import Config
from rtseg.inference.scheduler import Scheduler, StreamEngine
from rtseg.pipeline import Pipeline
from rtseg.sources.video import VideoFile
from rtseg.streams import StreamResult, open_scheduler, run_streams
from rtseg.types import Output

LATENCY_MS = 33.0
"""The p99 latency above which no more streams are added."""
DROPPED = 0.01
_GOLDEN = 0.618034


@dataclass(frozen=True)
class Level:
    """What was seen with so many streams; latencies in ms over all frames, cpu in cores, shares of frames."""

    streams: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    worst_ms: float
    dropped: float
    inferred: float
    cpu: float
    cpu_ms: float
    load: float
    foreign: float
    stolen: float

    @property
    def carried(self) -> bool:
        """Whether this many streams are in time."""
        return self.p99_ms < LATENCY_MS and self.dropped <= DROPPED


class Latencies:
    """A sink that keeps how long each frame took, in seconds, and nothing else."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def write(self, output: Output, /) -> None:
        """Look at the clock."""
        self.seconds.append(time.monotonic() - output.frame.arrived)

    def close(self) -> None:
        """Nothing to do."""


def level(
    scheduler: Scheduler,
    paths: Sequence[Path],
    streams: int,
    *,
    config: Config,
    seconds: float,
    rate: float = clips.RATE,
) -> Level:
    """Run so many streams beside each other; stream i takes file i, and begins at a moment of its own in a frame."""
    frames = round(seconds * rate)
    card = store.find_card(config.model.name)
    ready = [_ready(config, paths[place % len(paths)], scheduler, rate) for place in range(streams)]
    begin = time.monotonic() + 0.3
    sinks = [Latencies() for _ in ready]
    jobs = []
    for place, (pipeline, engine) in enumerate(ready):
        video = VideoFile(paths[place % len(paths)])
        source = Paced(video, rate=rate, frames=frames, begin=begin + place * _GOLDEN % 1 / rate)
        jobs.append(Job(source, pipeline, (sinks[place],), card, "latest", engine))
    loads: list[float] = []
    looking = threading.Timer(0.75 * seconds, lambda: loads.append(scheduler.load))
    looking.start()
    with watched() as seen:
        cpu = time.process_time()
        results = run_streams(jobs)
        cpu = time.process_time() - cpu
    looking.join()
    return _summary(sinks, results, cpu, seconds, loads[0] if loads else 0.0, seen)


def measure(
    paths: Sequence[Path],
    *,
    config: Config,
    seconds: float = 10.0,
    most: int = 12,
    only: int | None = None,
) -> list[Level]:
    """From one stream up until so many are not carried any more, or `only` that many; one scheduler for all."""
    levels: list[Level] = []
    card = store.find_card(config.model.name)
    with open_scheduler(config.model, card=card, capacity=None) as scheduler:
        for streams in range(1, most + 1) if only is None else (only,):
            levels.append(level(scheduler, paths, streams, config=config, seconds=seconds))
            if not levels[-1].carried:
                break
    return levels


def _ready(config: Config, path: Path, scheduler: Scheduler, rate: float) -> tuple[Pipeline, StreamEngine]:
    """A pipeline that has seen a few frames, so that no first call is measured."""
    engine = scheduler.stream(rate=rate)
    pipeline = build_pipeline(config, engine=engine)
    with contextlib.closing(VideoFile(path)) as warm:
        for frame in islice(warm, 3):
            pipeline(frame)
    pipeline.reset()
    return pipeline, engine


def _summary(
    sinks: Sequence[Latencies],
    results: Sequence[StreamResult],
    cpu: float,
    seconds: float,
    load: float,
    seen: Load,
) -> Level:
    for result in results:
        if result.error is not None:
            raise result.error
    stats = [result.stats for result in results if result.stats is not None]
    taken = np.concatenate([np.array(sink.seconds) for sink in sinks]) * 1e3
    read, out = sum(entry.frames_in for entry in stats), sum(entry.frames_out for entry in stats)
    p50, p95, p99, worst = (float(value) for value in np.percentile(taken, (50, 95, 99, 100)))
    return Level(
        streams=len(stats),
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        worst_ms=worst,
        dropped=1 - len(taken) / read,
        inferred=sum(entry.inferred for entry in stats) / out,
        cpu=cpu / seconds,
        cpu_ms=1e3 * cpu / len(taken),
        load=load,
        foreign=seen.foreign,
        stolen=seen.stolen,
    )
