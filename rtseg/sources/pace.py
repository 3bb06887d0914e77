"""Streams against the clock: what comes in bursts is given at its own pace, what falls behind skips to a key frame."""

from __future__ import annotations

_BEHIND = 1.5
"""Seconds of packets that may wait to be decoded."""
_LATE = 1.0
_LEAP = 10.0


class Backlog:
    """Whether a packet is to be left out, since a decoder that is too slow would show an ever older past.

    The least that packets ever lagged behind the clock is taken for no lag at all. Once they lag 1.5 s more, all are
    left out up to the next key frame. What lags there still is no backlog but a clock that runs otherwise than ours,
    or that leapt: it is the new least.
    """

    def __init__(self) -> None:
        self._least: float | None = None
        self._skipping = False

    def skips(self, seconds: float | None, *, key: bool, now: float) -> bool:
        """For a packet of that time by its own clock, at `now` of ours; None for a packet without a time."""
        if seconds is None:
            return self._skipping and not key
        lag = now - seconds
        if self._least is None or lag < self._least:
            self._least = lag
        if lag - self._least > _BEHIND:
            if key:
                if self._skipping:
                    self._least = lag
                self._skipping = False
            else:
                self._skipping = True
        elif key:
            self._skipping = False
        return self._skipping


class Pacer:
    """How long a frame is to be kept back, where whole segments arrive at once, as those of HLS.

    The first frame is given at once. One that comes more than a second too late, or is due in ten seconds, begins
    anew: playing goes on from there.
    """

    def __init__(self) -> None:
        self._begun: tuple[float, float] | None = None

    def wait(self, seconds: float, *, now: float) -> float:
        """Seconds from `now` until a frame of that time by its own clock is due."""
        if self._begun is not None:
            due = self._begun[1] + seconds - self._begun[0]
            if now - _LATE <= due <= now + _LEAP:
                return max(0.0, due - now)
        self._begun = (seconds, now)
        return 0.0
