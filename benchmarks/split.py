"""What a frame costs inside the network and outside of it: standard library only, as `benchmarks.job`.

A loop of `benchmarks.peers` keeps its frames in memory and times each from what a decoder gives to what an encoder
takes. The network is timed where it is called, in the same run: a difference of two runs would drown what is outside.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.job import Job, peak_memory_mb


@dataclasses.dataclass(frozen=True)
class Split:
    """CPU-ms a frame, user and system time of all threads, medians over the frames of a run.

    total: decoded planes to planes for the encoder. network: of that, inside the network. parts: of the rest, by name.
    outside: of the rest, without "unpack" and "pack", the ways to the picture that a program works on and back.
    planes: all of the rest. wall: milliseconds a frame.
    """

    frames: int
    total: float
    network: float
    outside: float
    planes: float
    parts: dict[str, float]
    wall: float
    peak_mb: float
    versions: dict[str, str]


class SplitMeter:
    """Times frames one after the other; `network` and `part` belong inside a `frame`."""

    def __init__(self) -> None:
        self.versions: dict[str, str] = {}
        self._rows: list[defaultdict[str, float]] = []
        self._row: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def frame(self, *, counted: bool = True) -> Iterator[None]:
        """One frame; those that only warm up are not counted."""
        self._row = defaultdict(float)
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self._row["total"] = time.process_time() - cpu
        self._row["wall"] = time.perf_counter() - wall
        if counted:
            self._rows.append(self._row)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """A named part of a frame; its pieces are added up."""
        cpu = time.process_time()
        yield
        self._row[name] += time.process_time() - cpu

    def timed(self, call: Callable[..., Any], name: str = "network") -> Callable[..., Any]:
        """A function that does what `call` does, as a part of the frame."""

        def run(*arguments: Any, **more: Any) -> Any:
            with self.part(name):
                return call(*arguments, **more)

        return run

    def report(self, *, network: bool = True) -> Split:
        """The medians; ValueError where a program that has a network never went through it, and so looks cheap."""
        if network and not all(row["network"] > 0 for row in self._rows):
            raise ValueError("a frame spent no time in the network: is it still called where it is timed?")

        def middle(of: Callable[[defaultdict[str, float]], float]) -> float:
            return statistics.median(of(row) for row in self._rows) * 1e3

        names = sorted({name for row in self._rows for name in row} - {"total", "wall", "network"})
        return Split(
            frames=len(self._rows),
            total=middle(lambda row: row["total"]),
            network=middle(lambda row: row["network"]),
            outside=middle(lambda row: row["total"] - row["network"] - row["unpack"] - row["pack"]),
            planes=middle(lambda row: row["total"] - row["network"]),
            parts={name: statistics.median(row[name] for row in self._rows) * 1e3 for name in names},
            wall=middle(lambda row: row["wall"]),
            peak_mb=peak_memory_mb(),
            versions=self.versions,
        )


def main(run: Callable[[Job, SplitMeter], None], *, network: bool = True) -> None:
    """Run the loop as a program: the job is the only argument, the report the last line of standard output."""
    job = Job(**json.loads(sys.argv[1]))
    meter = SplitMeter()
    run(job, meter)
    print(json.dumps(dataclasses.asdict(meter.report(network=network))), flush=True)
