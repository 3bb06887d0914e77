"""`rtseg drive` with everything on, as a user runs it; beside its output, what its analyzers took of each frame."""

from __future__ import annotations

import dataclasses
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rtseg.archive.drive import DriveOptions, open_drive
from rtseg.bench.job import Job, Meter, main
from rtseg.bench.whole import Capture
from rtseg.pipeline import observe
from rtseg.types import Analyzer, Frame, Observation, Output, Segmentation


class Told:
    """The last sink: tells the meter when a frame is written."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def write(self, output: Output) -> None:
        """See Sink."""
        self._meter.frame(output.frame.arrived)

    def close(self) -> None:
        """See Sink."""


class Clocked:
    """All analyzers as one, with the CPU time that each frame took of its thread, in ms."""

    def __init__(self, analyzers: Sequence[Analyzer]) -> None:
        self._analyzers = analyzers
        self.times: list[float] = []

    def __call__(self, frame: Frame, segmentation: Segmentation) -> Sequence[Observation]:
        """See Analyzer."""
        start = time.thread_time()
        found = observe(self._analyzers, frame, segmentation)
        self.times.append((time.thread_time() - start) * 1e3)
        return found

    def reset(self) -> None:
        """See Analyzer."""
        for analyzer in self._analyzers:
            analyzer.reset()


def run(job: Job, meter: Meter) -> None:
    """The whole drive; where the job says `capture`, its pictures are kept for the floor too."""
    folder = Path(job.output).parent
    codec = "h264:" + ",".join(f"{key}={value}" for key, value in job.encoder.items())
    options = DriveOptions(codec=codec, threads=job.threads, **_options(job.config))
    more = [Capture(job.composited)] if job.capture else []
    opened = open_drive(job.clip, folder, options, more_sinks=[*more, Told(meter)])
    pipeline: Any = opened.job.pipeline
    clocked = Clocked(pipeline.analyzers)
    pipeline.analyzers = (clocked,)
    meter.start()
    stats, _ = opened.run()
    meter.dropped = stats.dropped
    stages = {name: round(stage.p50, 2) for name, stage in stats.stages.items()}
    times = {"analyse": statistics.median(clocked.times), "stages": stages}
    (folder / "times.json").write_text(json.dumps(times), encoding="utf-8")


def _options(config: dict[str, Any]) -> dict[str, Any]:
    known = {field.name: field for field in dataclasses.fields(DriveOptions)}
    convert: dict[str, Callable[[Any], Any]] = {"calibration": Path, "analyzers": tuple}
    return {key: convert.get(key, lambda value: value)(value) for key, value in config.items() if key in known}


if __name__ == "__main__":
    main(run)
