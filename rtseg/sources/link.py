"""The state of a connection that comes and goes, as a pure machine: told what happened, it says what is due."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum


class LinkState(Enum):
    """opening: never had a frame. live: frames come. stalled: open, but none came in time. lost: ended or failed.

    reconnecting: waiting to try again, or trying.
    """

    OPENING = "opening"
    LIVE = "live"
    STALLED = "stalled"
    LOST = "lost"
    RECONNECTING = "reconnecting"


@dataclass(frozen=True, slots=True)
class LinkChange:
    """A change of state. at: of the link's clock, in seconds. attempt: openings since there was a frame, from 1."""

    state: LinkState
    previous: LinkState
    reason: str
    at: float
    attempt: int


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds to wait before the next opening: first * factor^n up to `longest`, and less by a share up to `jitter`.

    Jitter keeps many readers of one server, which all lost it at once, from all coming back at once.
    """

    first: float = 0.25
    factor: float = 1.5
    longest: float = 15.0
    jitter: float = 0.2

    def delay(self, failures: int, rng: random.Random) -> float:
        """Before the next opening, after `failures` in a row, at least one."""
        exponent = min(failures - 1, 200)  # 1.5^1750 is more than a float holds
        return min(self.first * self.factor**exponent, self.longest) * (1 - self.jitter * rng.random())


class Link:
    """Decides by frames and time-outs alone: an error's class says nothing about whether frames will come.

    An opening has `open_timeout` seconds until its first frame, a live link `read_timeout` between two. Each of the
    three reports gives back the changes that it caused, in order. Not for several threads at once.

    due: when `late` is to be called, None while nothing is waited for. waiting: whether the next opening is due then.
    """

    def __init__(self, *, open_timeout: float, read_timeout: float, backoff: Backoff, rng: random.Random) -> None:
        self.state = LinkState.OPENING
        self.attempt = 0
        self.due: float | None = None
        self.waiting = True
        self._open_timeout, self._read_timeout = open_timeout, read_timeout
        self._backoff, self._rng = backoff, rng

    def opening(self, now: float) -> None:
        """An attempt begins."""
        self.attempt += 1
        self.waiting, self.due = False, now + self._open_timeout

    def frame(self, now: float) -> list[LinkChange]:
        """A frame came."""
        self.due = now + self._read_timeout
        if self.state is LinkState.LIVE:
            return []
        reason = "the first frame" if self.state is LinkState.OPENING else "frames again"
        changes = [self._become(LinkState.LIVE, reason, now)]
        self.attempt = 0
        return changes

    def ended(self, reason: str, now: float) -> list[LinkChange]:
        """The connection ended or failed."""
        return self._give_up(LinkState.LOST, reason, now)

    def late(self, now: float) -> list[LinkChange]:
        """Nothing came in time: the connection is to be given up."""
        seconds = self._read_timeout if self.state is LinkState.LIVE else self._open_timeout
        return self._give_up(LinkState.STALLED, f"no frame for {seconds:g} s", now)

    def _give_up(self, state: LinkState, reason: str, now: float) -> list[LinkChange]:
        self.waiting, self.due = True, now + self._backoff.delay(max(1, self.attempt), self._rng)
        return [self._become(state, reason, now), self._become(LinkState.RECONNECTING, reason, now)]

    def _become(self, state: LinkState, reason: str, now: float) -> LinkChange:
        change = LinkChange(state, self.state, reason, now, self.attempt)
        self.state = state
        return change
