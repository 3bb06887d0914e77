"""Pictures that are recorded as they come: at the time of the clock, whatever the frames say."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Self

from rtseg.types import Output, Sink

_TICK = Fraction(1, 90_000)


class ByClock:
    """Hands each output to `sink` with the seconds since the first as its picture's time, in ticks of 1/90000 s.

    For live input: a camera that comes back begins its times anew, one that is gone leaves a gap, and a picture that
    is written twice has one time. Times always grow. clock: seconds. All else is the sink's own.
    """

    def __init__(self, sink: Sink, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.sink = sink
        self._clock = clock
        self._start: float | None = None
        self._last = -1

    @property
    def notes(self) -> list[str]:
        """What the sink has to say."""
        return list(getattr(self.sink, "notes", ()))

    def write(self, output: Output, /) -> None:
        """Hand over `output`, a moment after the one before."""
        now = self._clock()
        if self._start is None:
            self._start = now
        self._last = max(self._last + 1, round((now - self._start) / _TICK))
        self.sink.write(replace(output, picture=output.picture.shown_at(self._last, _TICK)))

    def close(self) -> None:
        """Close the sink."""
        self.sink.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
