"""Timestamps that grow: encoders, containers and players refuse or misplace what has none, or an earlier one."""

from __future__ import annotations

from fractions import Fraction

_JUMP_BACK = 1.0
_JUMP_AHEAD = 36_000.0
_GUESS = Fraction(1, 25)


class Monotonic:
    """Makes presentation timestamps strictly increase and counts what it had to change.

    A missing one follows its predecessor by that frame's duration. One that repeats or falls back by less than a
    second is a glitch: it is put a tick after its predecessor. A larger fall, or a leap of ten hours (clocks of 33
    bits wrap round after 26), starts a new clock: that frame and all later ones are shifted to follow.

    step: ticks between frames where a frame does not know its duration.
    """

    def __init__(self, time_base: Fraction, rate: Fraction | None) -> None:
        self.repaired = 0
        self._step = max(1, round((1 / rate if rate else _GUESS) / time_base))
        self._back = round(_JUMP_BACK / float(time_base))
        self._ahead = round(_JUMP_AHEAD / float(time_base))
        self._shift = 0
        self._last: int | None = None
        self._lasts = self._step

    def __call__(self, pts: int | None, duration: int = 0) -> int:
        """The timestamp for a frame that claims `pts`; duration in ticks, 0 if unknown."""
        if self._last is None:
            repaired = 0 if pts is None else pts
            self.repaired += pts is None
        elif pts is None:
            repaired = self._last + self._lasts
            self.repaired += 1
        else:
            repaired = pts + self._shift
            if repaired <= self._last - self._back or repaired > self._last + self._ahead:
                self._shift = self._last + self._lasts - pts
                repaired = pts + self._shift
                self.repaired += 1
            elif repaired <= self._last:
                repaired = self._last + 1
                self.repaired += 1
        self._last = repaired
        self._lasts = duration if duration > 0 else self._step
        return repaired
