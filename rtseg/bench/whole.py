"""rtseg itself, as a user runs it: a configuration with the job's clip as its source and a video as its sink."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path

import cv2

from rtseg import build
from rtseg.bench.job import Job, Meter, main
from rtseg.bench.paced import Paced
from rtseg.config import Config, VideoSink, VideoSource, parse_config
from rtseg.types import Frame, Output, Sink, Source, StreamInfo


class Timed:
    """Passes everything on to a sink and tells the meter when a frame is written."""

    def __init__(self, sink: Sink, meter: Meter, job: Job) -> None:
        self._sink, self._meter, self._job = sink, meter, job
        self._count = 0

    def write(self, output: Output) -> None:
        """See Sink."""
        self._sink.write(output)
        self._meter.frame(output.frame.arrived)
        if self._job.still and self._count == self._job.frames // 2:
            cv2.imwrite(self._job.still, output.picture.bgr)
        self._count += 1

    def close(self) -> None:
        """See Sink."""
        self._sink.close()


class Capture:
    """Keeps the composited planes as they are, for the floor to encode."""

    def __init__(self, path: str) -> None:
        self._file = Path(path).open("wb")  # noqa: SIM115 - closed by close

    def write(self, output: Output) -> None:
        """See Sink."""
        for plane in output.picture.planes:
            self._file.write(plane.tobytes())

    def close(self) -> None:
        """See Sink."""
        self._file.close()


class First:
    """The first frames of another source."""

    def __init__(self, source: Source, frames: int) -> None:
        self._source, self._frames = source, frames
        self.live = source.live

    @property
    def info(self) -> StreamInfo:
        """The other source's."""
        return self._source.info

    @property
    def counts(self) -> Mapping[str, int]:
        """The other source's."""
        return self._source.counts

    def __iter__(self) -> Iterator[Frame]:
        yield from islice(self._source, self._frames)

    def close(self) -> None:
        """End the iteration."""
        self._source.close()


def configured(job: Job) -> Config:
    """The job's configuration, with its clip and its output."""
    codec = "h264:" + ",".join(f"{key}={value}" for key, value in job.encoder.items())
    sink = VideoSink(path=Path(job.output), codec=codec, audio=False)
    source = VideoSource(path=Path(job.clip))
    return parse_config(job.config).model_copy(update={"source": source, "sinks": (sink,)})


def open_job(job: Job) -> build.Job:
    """Everything open and waiting: decoder, weights, warmed up, and the output."""
    config = configured(job)
    if job.capture:
        made = build.build(config.model_copy(update={"sinks": ()}), more_sinks=[Capture(job.composited)])
    else:
        made = build.build(config)
    source: Source = First(made.source, job.frames)
    return replace(made, source=Paced(source, rate=job.rate) if job.paced else source)


def run(job: Job, meter: Meter) -> None:
    """The whole run by `rtseg.runner.run`; counts what a paced run drops."""
    ready = open_job(job)
    ready = replace(ready, sinks=tuple(Timed(sink, meter, job) for sink in ready.sinks))
    meter.start()
    stats = ready.run()
    meter.dropped = stats.dropped


if __name__ == "__main__":
    main(run)
