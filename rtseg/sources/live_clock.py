"""Times of a live stream that was cut, restarted or wrapped: one clock that only grows, gaps kept."""

from __future__ import annotations

from fractions import Fraction

TIME_BASE = Fraction(1, 90_000)
"""Of all live sources: a connection may have another after each return, what they give has one."""
_LEAP = 10.0
"""Seconds that timestamps may run ahead of the clock: segments of HLS come in bursts, no camera does."""


class LiveClock:
    """Strictly growing ticks of 1/90000 s for frames of connections that follow each other.

    Within a connection its own times count. Between two, and where a timestamp falls back or leaps ahead of the clock
    (a wrap of 2^33, a restart), the gap is what passed on the clock; the latter are counted in `repaired`.
    """

    def __init__(self) -> None:
        self.repaired = 0
        self._last: int | None = None
        self._claim: Fraction | None = None
        self._arrived = 0.0

    def __call__(self, pts: int, time_base: Fraction, *, arrived: float, anew: bool) -> int:
        """The ticks for a frame that claims `pts` and was there at `arrived`; anew: the first of its connection."""
        claim = pts * time_base
        passed = max(0.0, arrived - self._arrived)
        if self._last is None:
            ticks = 0
        else:
            step = passed
            if not anew and self._claim is not None:
                claimed = float(claim - self._claim)
                good = 0 < claimed <= passed + _LEAP
                self.repaired += not good
                step = claimed if good else passed
            ticks = self._last + max(1, round(step / TIME_BASE))
        self._last, self._claim, self._arrived = ticks, claim, arrived
        return ticks
