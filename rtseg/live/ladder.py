"""What gives way when a stream is more than the machine can do, in which order, and when it comes back."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

_WINDOW = 1.0
"""Seconds that are looked at together."""
_FULL, _MISSED = 0.9, 0.1
"""A window is too much if the worker is busy for more of it than this, or misses more than this share of frames."""
_ROOM, _CALM = 0.55, 4.0
"""A step is taken back after so many seconds that were all less busy than this."""
_LONGEST_CALM = 64.0


class Rung(IntEnum):
    """The steps, each with those before it: masks of unchanged frames are kept and small movements warped; a lighter
    network, where the model has one; every second frame only."""  # fmt: skip

    FULL = 0
    ADAPTIVE = 1
    LIGHTER = 2
    HALF_RATE = 3


@dataclass(slots=True)
class _Window:
    began: float
    busy: float = 0.0
    frames: int = 0
    missed: int = 0


class Ladder:
    """Steps down at once when frames come too late, and up again when there was room for a while.

    A step up that was soon followed by one down doubles the time until the next is tried, up to a minute, so that a
    machine on the edge does not go up and down.
    """

    def __init__(self, *, lowest: Rung = Rung.HALF_RATE, lighter: bool = True) -> None:
        self.rung = Rung.FULL
        self._rungs = [rung for rung in Rung if rung <= lowest and (lighter or rung is not Rung.LIGHTER)]
        self._window: _Window | None = None
        self._calm_since: float | None = None
        self._calm = _CALM
        self._raised = float("-inf")

    def observe(self, now: float, *, busy: float, missed: int) -> Rung:
        """A frame was taken: how many seconds it kept the worker busy, and how many before it were dropped unseen.

        Gives the rung for the next frame.
        """
        window = self._window
        if window is None:
            window = self._window = _Window(now - busy)
        window.busy += busy
        window.frames += 1
        window.missed += missed
        if now - window.began >= _WINDOW:
            self._judge(now, window)
            self._window = None
        return self.rung

    def _judge(self, now: float, window: _Window) -> None:
        load = window.busy / (now - window.began)
        missed = window.missed / (window.frames + window.missed)
        if self.rung is Rung.HALF_RATE:  # what is left out on purpose is not missed, and the worker has time for it
            load, missed = 2 * load, 0.0
        if load > _FULL or missed > _MISSED:
            self._calm_since = None
            if now - self._raised < 2 * self._calm:
                self._calm = min(2 * self._calm, _LONGEST_CALM)
            self._step(+1)
        elif load < _ROOM:
            self._calm_since = window.began if self._calm_since is None else self._calm_since
            if now - self._calm_since >= self._calm and self.rung is not Rung.FULL:
                self._calm_since, self._raised = None, now
                self._step(-1)
        else:
            self._calm_since = None

    def _step(self, by: int) -> None:
        place = self._rungs.index(self.rung) + by
        self.rung = self._rungs[min(max(place, 0), len(self._rungs) - 1)]
