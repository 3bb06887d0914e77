"""Live streams beside each other for long: how old the newest picture is, whether memory grows, whether a room shows.

    python -m benchmarks.live [CLIP] [--streams 4] [--size 360p] [--rate 15] [--minutes 20] [--warm 10]

Each stream plays the clip at its own pace through the portrait model with a green background, on every frame. Each
picture that leaves is looked at: green must be in it, and its planes must not be those of the frame. Fails (exit 1)
where a picture shows the room, the 99th percentile of ages is over 200 ms, or memory grows by more than 1 MB an hour,
extrapolated from a line through the readings after the first minutes: threads that allocate beside each other fill
their pools for that long.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import clips
from benchmarks.measure import ROOT, machine
from rtseg.config import VideoSource
from rtseg.live.options import parse_stream
from rtseg.live.paced import Paced
from rtseg.live.streamset import StreamSet
from rtseg.ops.arrays import F32
from rtseg.types import Output

GREEN = "#00b140"
AGE_MS, GROWTH_MB = 200.0, 1.0


class Watch:
    """A sink that looks whether a picture hides the room, and keeps how old each was."""

    def __init__(self, most: int) -> None:
        self.leaked = self.seen = self.new = 0
        self._ages = np.ones(most, np.float32)  # touched now, so that it is no growth later

    def write(self, output: Output) -> None:
        """Count a picture; slates have no green and no room either."""
        self.seen += 1
        if output.held:
            return
        self._ages[self.new % len(self._ages)] = (time.monotonic() - output.frame.arrived) * 1e3
        self.new += 1
        _, u, v = output.picture.planes
        green = (np.abs(u.astype(np.int16) - 90) < 20) & (np.abs(v.astype(np.int16) - 50) < 25)
        self.leaked += bool(green.mean() < 0.05)

    @property
    def ages(self) -> F32:
        """In ms, of every picture that was no slate."""
        return self._ages[: self.new]

    def close(self) -> None:
        """Nothing is kept open."""


@dataclasses.dataclass(frozen=True)
class Figures:
    """ages in ms over all pictures of all streams; slope in MB an hour; cpu: cores that were busy."""

    streams: int
    minutes: float
    pictures: int
    leaked: int
    age_p50: float
    age_p95: float
    age_p99: float
    age_worst: float
    fps: tuple[float, ...]
    rungs: tuple[str, ...]
    left_out: int
    resident_mb: tuple[float, ...]
    slope_mb: float
    cpu: float
    threads: int

    @property
    def passed(self) -> bool:
        """Whether all limits are kept."""
        return self.leaked == 0 and self.age_p99 <= AGE_MS and self.slope_mb <= GROWTH_MB


def measure(clip: Path, *, streams: int, rate: float, minutes: float, warm: float) -> Figures:
    """Run them, and read memory every two seconds; `warm` minutes of readings say nothing."""
    made = StreamSet(capacity=None)
    watches = [Watch(round(minutes * 60 * rate * 1.5) + 100) for _ in range(streams)]
    source = VideoSource(path=clip).model_dump(exclude_unset=True)
    for place, watch in enumerate(watches):
        options = {"name": f"s{place}", "source": {**source, "type": "video"}, "loop": True, "rate": rate}
        live = made.add(parse_stream({**options, "scene": {"background": GREEN}}))
        live.add_sink("watch", Paced(lambda _size, watch=watch: watch, name="watch"))  # type: ignore[misc]
    began, cpu = time.monotonic(), time.process_time()
    readings: list[tuple[float, float]] = []
    while (passed := time.monotonic() - began) < 60 * minutes:
        time.sleep(2.0)
        readings.append((passed, _resident_mb()))
    cpu = (time.process_time() - cpu) / (time.monotonic() - began)
    statuses = made.list()
    threads = threading.active_count()
    made.close()
    gc.collect()
    judged = [(second, mb) for second, mb in readings if second > 60 * warm]
    slope = float(np.polyfit([second / 3600 for second, _ in judged], [mb for _, mb in judged], 1)[0])
    ages = np.concatenate([watch.ages for watch in watches])
    p50, p95, p99 = (float(value) for value in np.percentile(ages, (50, 95, 99)))
    return Figures(
        streams=streams,
        minutes=minutes,
        pictures=sum(watch.seen for watch in watches),
        leaked=sum(watch.leaked for watch in watches),
        age_p50=p50,
        age_p95=p95,
        age_p99=p99,
        age_worst=float(ages.max()),
        fps=tuple(round(status.frames_out / status.seconds, 2) for status in statuses.values()),
        rungs=tuple(status.rung for status in statuses.values()),
        left_out=sum(status.left_out for status in statuses.values()),
        resident_mb=tuple(round(mb, 1) for _, mb in readings[:: max(1, len(readings) // 20)]),
        slope_mb=slope,
        cpu=cpu,
        threads=threads,
    )


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.live", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("clip", type=Path, nargs="?", help="a video; scaled to --size once (default: the sample)")
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--size", choices=clips.SIZES, default="360p")
    parser.add_argument("--rate", type=float, default=15.0)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--warm", type=float, default=10.0, help="minutes before memory is judged")
    parser.add_argument("--folder", type=Path, default=ROOT / "out" / "benchmarks", help="for clips")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    options = parser.parse_args(arguments)
    if not 0 <= options.warm < options.minutes:
        parser.error("--warm must be less than --minutes")
    clip = clips.clip(options.folder, clips.SIZES[options.size], 300, options.clip)
    figures = measure(clip, streams=options.streams, rate=options.rate, minutes=options.minutes, warm=options.warm)
    print(
        f"{figures.streams} streams of {options.size} at {options.rate:g} fps for {figures.minutes:g} min: "
        f"{figures.pictures} pictures, {figures.leaked} showed the room; age p50 {figures.age_p50:.1f}, "
        f"p95 {figures.age_p95:.1f}, p99 {figures.age_p99:.1f}, worst {figures.age_worst:.0f} ms; fps {figures.fps}, "
        f"{figures.left_out} left out, rungs {figures.rungs}; {figures.slope_mb:+.2f} MB an hour "
        f"({figures.resident_mb[0]:.0f} to {figures.resident_mb[-1]:.0f} MB); {figures.cpu:.2f} cores; "
        f"{'passed' if figures.passed else 'FAILED'}"
    )
    said = machine()
    print(f"{said['cpu']}, commit {said['commit']}")
    if options.json:
        data = {"machine": said, **dataclasses.asdict(figures), "passed": figures.passed}
        options.json.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    return 0 if figures.passed else 1


if __name__ == "__main__":
    sys.exit(main())
