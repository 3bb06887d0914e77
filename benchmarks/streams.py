"""How many paced streams of 720p at 30 frames a second this machine takes, around one network.

    python -m benchmarks.streams [CLIP...] [--background blur] [--seconds 10] [--most 12]

1, 2, 3 ... streams of H.264 files, each decoded on its own and paced by the clock as a camera would be: a frame arrives
at its moment, late or not, is then decoded, segmented, composited and handed to a sink that keeps nothing. A number of
streams is carried while the 99th percentile of the latency, from the moment of arrival until the output is written,
over all frames of all streams, stays under 33 ms and at most 1 % of the frames are dropped.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks import clips
from benchmarks.measure import ROOT, Load, machine, watched
from rtseg import store
from rtseg.build import Job, build_pipeline
from rtseg.config import BackgroundEffect, Config, ModelOptions
from rtseg.pipeline import Pipeline
from rtseg.scheduler import Scheduler, StreamEngine
from rtseg.sources.video import VideoFile
from rtseg.streams import StreamResult, open_scheduler, run_streams
from rtseg.types import Frame, Output, StreamInfo

LATENCY_MS = 33.0
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


class Paced:
    """A file as a camera: frame number i arrives at `begin` + i / rate, decoded only then; `arrived` is that moment."""

    live = True

    def __init__(self, path: Path, rate: float, frames: int, begin: float) -> None:
        self._file = VideoFile(path)
        self._rate, self._frames, self._begin = rate, frames, begin

    @property
    def info(self) -> StreamInfo:
        """Of the file."""
        return self._file.info

    @property
    def counts(self) -> Mapping[str, int]:
        """Of the file."""
        return self._file.counts

    def __iter__(self) -> Iterator[Frame]:
        frames = iter(self._file)
        for index in range(self._frames):
            due = self._begin + index / self._rate
            if (early := due - time.monotonic()) > 0:
                time.sleep(early)
            frame = next(frames, None)
            if frame is None:
                return
            yield replace(frame, arrived=due)

    def close(self) -> None:
        """End the iteration at the next frame."""
        self._file.close()


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
        source = Paced(paths[place % len(paths)], rate, frames, begin + place * _GOLDEN % 1 / rate)
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


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    size = clips.SIZES[options.size]
    frames = round((options.seconds + 1) * clips.RATE)
    sources = options.clips or [None]
    paths = [clips.clip(options.folder, size, frames, source) for source in sources]
    background = "blur" if options.background == "blur" else str(clips.picture(options.folder, size))
    config = Config(
        model=ModelOptions(name=options.model, adaptive=options.adaptive),
        effects=(BackgroundEffect(paint=background),),
    )
    levels = measure(paths, config=config, seconds=options.seconds, most=options.most, only=options.only)
    Console(width=120).print(_table(levels, options))
    carried = max((entry.streams for entry in levels if entry.carried), default=0)
    print(f"carried: {carried} streams; {machine()['cpu']}, commit {machine()['commit']}")
    if options.json:
        figures = [{**dataclasses.asdict(entry), "carried": entry.carried} for entry in levels]
        chosen = {key: str(value) for key, value in vars(options).items() if key not in ("json", "clips")}
        said = {"machine": machine(), "options": chosen, "clips": [path.name for path in options.clips]}
        options.json.write_text(json.dumps({**said, "levels": figures}, indent=2) + "\n", encoding="utf-8")
    return 0


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


def _table(levels: Sequence[Level], options: argparse.Namespace) -> Table:
    kind = "adaptive" if options.adaptive else "every frame"
    title = f"{options.size} at {clips.RATE} fps, {options.model}, {options.background}, {kind}, {options.seconds:g} s"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    headings = (
        "streams",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "worst",
        "dropped",
        "asked",
        "cores",
        "CPU-ms",
        "load",
        "others'",
    )
    for heading in headings:
        table.add_column(heading, justify="right")
    for entry in levels:
        table.add_row(
            str(entry.streams),
            *(f"{value:.1f}" for value in (entry.p50_ms, entry.p95_ms, entry.p99_ms, entry.worst_ms)),
            f"{100 * entry.dropped:.2f} %",
            f"{100 * entry.inferred:.0f} %",
            *(f"{value:.2f}" for value in (entry.cpu, entry.cpu_ms, entry.load, entry.foreign + entry.stolen)),
        )
    return table


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    first, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.streams",
        description=first,
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("clips", nargs="*", type=Path, help="videos; scaled to --size once (default: the sample)")
    parser.add_argument("--size", choices=clips.SIZES, default="720p")
    parser.add_argument("--model", default="portrait")
    parser.add_argument("--background", choices=("picture", "blur"), default="picture")
    parser.add_argument("--adaptive", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--most", type=int, default=12, help="streams to try at most")
    parser.add_argument("--only", type=int, help="measure this many streams alone")
    parser.add_argument("--folder", type=Path, default=ROOT / "out" / "benchmarks", help="for clips")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
