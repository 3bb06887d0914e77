"""What a compared loop is told and what it reports: standard library only, since MediaPipe runs in another environment.

A loop is a module of `benchmarks.loops` with a function `run(job, meter)`. It gets ready (imports, weights, decoder,
encoder), calls `meter.start()`, handles all frames and closes its output; what happens before `start` is not counted.
"""

from __future__ import annotations

import dataclasses
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Job:
    """One task for any loop, JSON on the command line.

    clip, output: video files. frames, width, height, rate: of the clip. background: "blur" or a picture's path.
    encoder: options of libx264. model: path of the ONNX weights. composited: I420 frames, one after the other, that
    the floor encodes; where `capture` is true they are written there instead of being encoded. still: a PNG of the
    middle frame, if wanted. threads: of the network's library, 0 for its default. things: how many are in a frame.
    """

    clip: str
    output: str
    frames: int
    width: int
    height: int
    rate: int
    background: str
    encoder: dict[str, str]
    model: str
    composited: str = ""
    capture: bool = False
    still: str = ""
    threads: int = 1
    things: int = 0


@dataclasses.dataclass(frozen=True)
class Report:
    """What one run of a loop cost. cpu_ms: a frame, user and system time of all threads. p50_ms, p99_ms: from the
    moment a frame is decoded to the moment its packets are written. peak_mb: resident memory, start-up included.
    """  # fmt: skip

    cpu_ms: float
    fps: float
    p50_ms: float
    p99_ms: float
    peak_mb: float
    frames: int
    versions: dict[str, str]


class Meter:
    """Counts the CPU time of the whole process from `start` to `report`, and the latency of every frame."""

    def __init__(self) -> None:
        self._cpu = self._wall = 0.0
        self._excluded_cpu = self._excluded_wall = 0.0
        self._latencies: list[float] = []
        self.versions: dict[str, str] = {}

    def start(self) -> None:
        """Everything is loaded: count from here on."""
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def frame(self, arrived: float) -> None:
        """A frame is written that had been decoded at `arrived` (`time.monotonic()`)."""
        self._latencies.append(time.monotonic() - arrived)

    @contextmanager
    def excluded(self) -> Iterator[None]:
        """Leave out what the calling thread does inside; other threads go on being counted."""
        wall, cpu = time.perf_counter(), time.thread_time()
        yield
        self._excluded_wall += time.perf_counter() - wall
        self._excluded_cpu += time.thread_time() - cpu

    def report(self) -> Report:
        """The sums so far; a loop that lost frames must not look cheap, so the count is checked by the caller."""
        cpu = time.process_time() - self._cpu - self._excluded_cpu
        wall = time.perf_counter() - self._wall - self._excluded_wall
        count = len(self._latencies)
        ordered = sorted(self._latencies)
        return Report(
            cpu_ms=cpu / count * 1e3,
            fps=count / wall,
            p50_ms=ordered[count // 2] * 1e3,
            p99_ms=ordered[min(count - 1, count * 99 // 100)] * 1e3,
            peak_mb=peak_memory_mb(),
            frames=count,
            versions=self.versions,
        )


def peak_memory_mb() -> float:
    """Largest resident memory of this process since it was executed, in MB (10^6 bytes).

    `ru_maxrss` would do, but on Linux it also remembers the parent that the process was forked from.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def main(run: Callable[[Job, Meter], None]) -> None:
    """Run the loop as a program: the job is the only argument, the report the last line of standard output."""
    job = Job(**json.loads(sys.argv[1]))
    meter = Meter()
    run(job, meter)
    print(json.dumps(dataclasses.asdict(meter.report())), flush=True)
