"""What a run cost and what it lost: stage times as percentiles, frames in, out, dropped, held and repaired."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np

Status: TypeAlias = Literal["running", "done", "partial", "stopped"]

_WINDOW = 4096
"""Percentiles look back over this many frames, so that memory does not grow with a stream's age."""


@dataclass(frozen=True, slots=True)
class StageTimes:
    """Wall milliseconds of one stage; percentiles over the newest frames, mean over all `count` of them."""

    count: int
    mean: float
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class Stats:
    """One picture of a run.

    frames_in: read from the source and accepted. frames_out: handed to sinks. dropped: accepted but replaced by a
    newer one (live sources only). held: shown with an earlier or empty mask because the network failed. inferred:
    frames that the network saw; the others took an earlier mask. counts: what the source lost or repaired, by cause.
    stages: read, segment, filter, effect, composite, framing, write, and latency, the time from a frame's arrival until
    all sinks had it. status: "partial" when something was lost on the way in.
    """

    frames_in: int
    frames_out: int
    dropped: int
    held: int
    inferred: int
    seconds: float
    status: Status
    counts: Mapping[str, int] = field(default_factory=dict)
    stages: Mapping[str, StageTimes] = field(default_factory=dict)

    @property
    def fps(self) -> float:
        """Frames out for each second of wall time."""
        return self.frames_out / self.seconds if self.seconds > 0 else 0.0

    def __str__(self) -> str:
        lost = "".join(f", {count} {cause.replace('_', ' ')}" for cause, count in self.counts.items() if count)
        spared = f", network asked for {self.inferred}" if self.inferred < self.frames_out else ""
        return (
            f"{self.status}: {self.frames_out} of {self.frames_in} frames in {self.seconds:.1f} s "
            f"({self.fps:.1f} fps), {self.dropped} dropped, {self.held} held{spared}{lost}"
        )


LOSSES = frozenset({"corrupt_packets", "damaged_frames", "missing_frames", "broken_images"})
"""Counts that mean input was lost; others (repaired timestamps) were made good."""


class Recorder:
    """Collects from several threads; `snapshot` may be called at any time from any of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._frames: Counter[str] = Counter()
        self._stages: dict[str, _Ring] = {}

    def count(self, what: str, number: int = 1) -> None:
        """Add to frames "out", "held" or "inferred"."""
        with self._lock:
            self._frames[what] += number

    def time(self, stage: str, milliseconds: float) -> None:
        """Add one duration to a stage."""
        with self._lock:
            self._stages.setdefault(stage, _Ring()).add(milliseconds)

    def snapshot(
        self,
        status: Status = "running",
        *,
        frames_in: int = 0,
        dropped: int = 0,
        counts: Mapping[str, int] | None = None,
    ) -> Stats:
        """Everything so far, as values."""
        with self._lock:
            stages = {stage: ring.times() for stage, ring in self._stages.items()}
            frames = dict(self._frames)
        return Stats(
            frames_in=frames_in,
            frames_out=frames.get("out", 0),
            dropped=dropped,
            held=frames.get("held", 0),
            inferred=frames.get("inferred", 0),
            seconds=time.monotonic() - self._started,
            status=status,
            counts=dict(counts or {}),
            stages=stages,
        )


class _Ring:
    """The newest durations of a stage, and the sum and number of all."""

    def __init__(self) -> None:
        self._values = np.zeros(_WINDOW, np.float32)
        self._count, self._sum = 0, 0.0

    def add(self, milliseconds: float) -> None:
        self._values[self._count % _WINDOW] = milliseconds
        self._count += 1
        self._sum += milliseconds

    def times(self) -> StageTimes:
        p50, p95, p99 = np.percentile(self._values[: min(self._count, _WINDOW)], (50, 95, 99))
        return StageTimes(self._count, self._sum / self._count, float(p50), float(p95), float(p99))
