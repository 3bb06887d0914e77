"""A file at the pace of its own timestamps, as if it came from a camera."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from rtseg.types import Frame, Source, StreamInfo

_JUMP = 2.0
"""Seconds between two timestamps that are no pace but a cut."""


class Playback:
    """Gives each frame of the source when it is due, and leaves out those that would come late.

    open: gives the source from its start; called now, and again for each round where `loop` is set. Timestamps go on
    over the rounds, each of which is an epoch of its own. `counts`: those of the source, and frames that were left out
    ("dropped_by_source").
    """

    live = True

    def __init__(self, open: Callable[[], Source], *, loop: bool = False) -> None:  # noqa: A002 - what it does
        self._open, self._loop = open, loop
        self._source = open()
        self._closed = threading.Event()
        self._late = 0

    @property
    def info(self) -> StreamInfo:
        """Of the file."""
        return self._source.info

    @property
    def counts(self) -> Mapping[str, int]:
        """Of the round that plays, and what came late in all of them."""
        return {**self._source.counts, **({"dropped_by_source": self._late} if self._late else {})}

    def close(self) -> None:
        """End, also while it waits for a frame's time."""
        self._closed.set()
        self._source.close()

    def __iter__(self) -> Iterator[Frame]:
        began, shift, index, rounds = time.monotonic(), 0.0, 0, 0
        while True:
            frame, last = None, shift
            for frame in self._source:
                due = began + shift + self._seconds(frame)
                pause = due - time.monotonic()
                if abs(pause) > _JUMP:
                    began -= pause
                    pause = 0.0
                if pause > 0 and self._closed.wait(pause):
                    return
                last = shift + self._seconds(frame) + self._interval
                index += 1
                if pause < -self._interval:
                    self._late += 1
                    continue
                ticks = round(shift / frame.time_base)
                yield replace(
                    frame,
                    index=index - 1,
                    pts=frame.pts + ticks,
                    epoch=frame.epoch + rounds,
                    arrived=time.monotonic(),
                )
            self._source.close()
            if frame is None or not self._loop or self._closed.is_set():
                return
            shift, rounds = last, rounds + frame.epoch + 1
            self._source = self._open()

    @property
    def _interval(self) -> float:
        rate = self._source.info.rate
        return float(1 / rate) if rate else 1 / 30

    @staticmethod
    def _seconds(frame: Frame) -> float:
        return float(frame.pts * frame.time_base)
