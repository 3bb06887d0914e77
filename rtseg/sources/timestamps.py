"""Timestamps that grow: encoders, containers and players refuse or misplace what has none, or an earlier one."""

from __future__ import annotations

from fractions import Fraction

_JUMP_BACK = 1.0
_JUMP_AHEAD = 36_000.0
_GUESS = Fraction(1, 25)


class Monotonic:
    """Makes presentation timestamps strictly increase and counts what it had to change.

    A missing one follows its predecessor by a step. One that repeats or falls back by less than a second is a
    glitch: it is put half a frame after its predecessor, so that the next one may still be right. A larger fall, or
    a leap of ten hours (clocks of 33 bits wrap round after 26), starts a new clock: that frame and all later ones are
    shifted to follow. Where presentation timestamps have been wrong more often than the decoder's (files that store
    them in the order of decoding), the latter are taken, as in libavcodec/decode.c, guess_correct_pts().

    step: ticks between frames where a frame does not know its duration.
    """

    def __init__(self, time_base: Fraction, rate: Fraction | None) -> None:
        self.repaired = 0
        self.step = max(1, round((1 / rate if rate else _GUESS) / time_base))
        self._back = max(1, round(_JUMP_BACK / float(time_base)))
        self._ahead = round(_JUMP_AHEAD / float(time_base))
        self._shift = 0
        self._last: int | None = None
        self._heard: int | None = None
        self._lasts = self.step
        self._claimed: tuple[int | None, int | None] = (None, None)
        self._wrong_pts = self._wrong_dts = 0

    def __call__(self, pts: int | None, duration: int = 0, dts: int | None = None) -> int:
        """The timestamp for a frame that claims `pts` and was decoded at `dts`; duration in ticks, 0 if unknown."""
        claim = self._better(pts, dts)
        if self._last is None:
            repaired = 0 if claim is None else claim
        elif claim is None:
            repaired = self._last + self._lasts
        else:
            repaired = claim + self._shift
            if self._heard is not None and not -self._back <= claim - self._heard <= self._ahead:
                repaired = self._last + self._lasts
                self._shift = repaired - claim
            elif repaired <= self._last:
                repaired = self._last + max(1, self._lasts // 2)
        self.repaired += repaired != pts
        self._last = repaired
        self._heard = self._heard if claim is None else claim
        # Without a timestamp there is seldom a duration: raw H.264 claims a single tick.
        self._lasts = duration if duration > 0 and pts is not None else self.step
        return repaired

    def _better(self, pts: int | None, dts: int | None) -> int | None:
        last_pts, last_dts = self._claimed
        self._wrong_pts += pts is not None and last_pts is not None and pts <= last_pts
        self._wrong_dts += dts is not None and last_dts is not None and dts <= last_dts
        self._claimed = (last_pts if pts is None else pts, last_dts if dts is None else dts)
        if pts is None or (dts is not None and self._wrong_pts > self._wrong_dts):
            return dts
        return pts
