"""A sink that never waits for its stream, nor its stream for it: the newest picture, the last one, or a slate."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from fractions import Fraction
from random import Random

import numpy as np

from rtseg.live.slate import slate
from rtseg.stats import Recorder, StageTimes
from rtseg.types import Frame, Output, Regions, Sink, Size

log = logging.getLogger("rtseg")

_CLOCK = Fraction(1, 90000)
_KEEP = 0.1
"""Seconds without a new picture after which the last is sent again, so that receivers do not give up."""
_HOLD = 1.0
"""Seconds that a last picture stands; after that it is a slate, so that nobody talks to a photograph."""
_FIRST, _FACTOR, _LONGEST = 0.25, 1.5, 15.0
"""Seconds until a sink that failed is opened again, growing."""


class SinkState(Enum):
    """waiting: for a picture to know its size; open; lost: failed, and will be opened again; closed."""

    WAITING = "waiting"
    OPEN = "open"
    LOST = "lost"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class SinkStatus:
    """written: pictures that the stream made. replaced: newer ones came before they were written. repeated: sent again,
    or a slate, since none came. latency: ms from a frame's arrival until it was written."""  # fmt: skip

    state: SinkState
    written: int
    replaced: int
    repeated: int
    opened: int
    error: str | None
    latency: StageTimes | None


class Paced:
    """Drives a sink from a thread of its own; `write` only leaves the picture there.

    open: gives the sink for pictures of that size; it is called again, with growing pauses, after the sink failed.
    text: of the slate, asked when one is shown. size: of a slate before the first picture; None to wait for it.
    fresh: a recorder, say, wants no repeated pictures and no slates.
    What goes to the sink has the clock of this computer: pts at 90 kHz from its first picture on, strictly increasing.
    `Output.frame` is the picture too, so that no sink can send a frame that was not composited.
    """

    def __init__(
        self,
        open: Callable[[Size], Sink],  # noqa: A002 - what it does
        *,
        name: str,
        text: Callable[[], str] = lambda: "rtseg: no picture",
        size: Size | None = None,
        fresh: bool = False,
        keep: float = _KEEP,
        hold: float = _HOLD,
    ) -> None:
        self.name = name
        self._open, self._text, self._size, self._fresh = open, text, size, fresh
        self._keep, self._hold = keep, hold
        self._changed = threading.Condition()
        self._newest: Output | None = None
        self._closing = False
        self._state = SinkState.WAITING
        self._error: str | None = None
        self._opened = self._replaced = self._written = self._repeated = 0
        self._recorder = Recorder()
        self._random = Random()
        self._sink: Sink | None = None
        self._thread = threading.Thread(target=self._work, name=f"rtseg-{name}", daemon=True)
        self._thread.start()

    @property
    def watched(self) -> bool:
        """Whether anybody looks: a sink that serves viewers says so itself (`watched`), others always are."""
        sink = self._sink
        return bool(getattr(sink, "watched", True))

    def write(self, output: Output) -> None:
        """Leave a picture; one that was not sent yet is replaced."""
        with self._changed:
            self._replaced += self._newest is not None
            self._newest = output
            self._changed.notify()

    def close(self, *, timeout: float = 5.0) -> None:
        """End the sink's thread, after the picture that it is sending."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout)
        if self._thread.is_alive():
            log.warning("%s does not end; it is left behind", self.name)

    def status(self) -> SinkStatus:
        """What has been sent so far."""
        latency = self._recorder.snapshot().stages.get("latency")
        return SinkStatus(
            self._state, self._written, self._replaced, self._repeated, self._opened, self._error, latency
        )

    def _work(self) -> None:
        failures = 0
        while not self._closing:
            try:
                size = self._first_size()
                if size is None:
                    break
                self._sink = sink = self._open(size)
                self._opened += 1
                self._state, self._error = SinkState.OPEN, None
                try:
                    for output in self._outputs(size):
                        sink.write(output)
                        failures = 0
                        if output.inferred or not output.held:
                            self._recorder.time("latency", (time.monotonic() - output.frame.arrived) * 1e3)
                finally:
                    self._sink = None
                    sink.close()
            except Exception as error:  # a sink is opened again whatever it died of, and the stream does not notice
                if failures == 0:
                    log.warning("%s: %s; it is opened again", self.name, error)
                self._state, self._error = SinkState.LOST, str(error) or type(error).__name__
                pause = min(_FIRST * _FACTOR**failures, _LONGEST) * self._random.uniform(0.8, 1.2)
                failures += 1
                with self._changed:
                    self._changed.wait_for(lambda: self._closing, pause)
        self._state = SinkState.CLOSED

    def _first_size(self) -> Size | None:
        """Of the first picture, or of slates where none comes; None to end."""
        with self._changed:
            patience = None if self._size is None else 2.0
            self._changed.wait_for(lambda: self._newest is not None or self._closing, patience)
            if self._newest is not None:
                return self._newest.picture.size
            return None if self._closing else self._size

    def _outputs(self, size: Size) -> Iterator[Output]:
        """What the sink gets, one at a time, until the end: new pictures at once, otherwise something to show."""
        began, pts = time.monotonic(), -1
        shown: Output | None = None
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._newest is not None or self._closing, self._keep)
                newest, self._newest = self._newest, None
            if newest is None and (self._closing or self._fresh):
                if self._closing:
                    return
                continue
            now = time.monotonic()
            if newest is not None:
                shown = newest
                self._written += 1
            else:
                self._repeated += 1
            if shown is None or now - shown.frame.arrived > self._hold:
                output = _plain(slate(size if shown is None else shown.picture.size, self._text()), now)
            else:
                output = replace(shown, frame=shown.picture) if newest is not None else _again(shown)
            pts = max(pts + 1, round((now - began) / _CLOCK))
            picture = replace(output.picture, pts=pts, time_base=_CLOCK, duration=0)
            yield replace(output, frame=picture, picture=picture)


def _again(output: Output) -> Output:
    return replace(output, frame=output.picture, held=True, inferred=False)


def _plain(picture: Frame, now: float) -> Output:
    nothing = Regions(np.zeros((1, 1, 1), np.uint8), ("person",), 0, picture.size)
    return Output(picture, nothing, (), replace(picture, arrived=now), held=True, inferred=False)
