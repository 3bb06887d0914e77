"""Who goes next, and who may come in when there are more who want to: no client by taking the turns of others."""

from __future__ import annotations

import heapq
import ipaddress
import itertools
import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from rtseg.service.refusals import Refusal, busy

T = TypeVar("T")

_HALF_LIFE = 20.0
"""Seconds after which a turn that was had counts half."""
_KNOWN = 500
"""Clients that are remembered, those that were not seen for longest forgotten first."""
_LONGEST = 30
"""Seconds that a client is told to wait at most."""
_NEWEST = 0.1
"""The weight of a new stay in the running mean of stays."""


class FairQueue(Generic[T]):
    """A queue in which clients take turns: the second of a client comes after the first of each other."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, str, T]] = []
        self._ahead: Counter[str] = Counter()
        self._last: dict[str, int] = {}
        self._round = 0
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return len(self._heap)

    def push(self, client: str, item: T) -> None:
        """Put an item behind the client's own, and beside those of others."""
        turn = self._last[client] + 1 if self._ahead[client] else self._round
        self._ahead[client] += 1
        self._last[client] = turn
        heapq.heappush(self._heap, (turn, next(self._numbers), client, item))

    def pop(self) -> T:
        """The next item; IndexError where there is none."""
        self._round, _, client, item = heapq.heappop(self._heap)
        self._ahead[client] -= 1
        if not self._ahead[client]:
            del self._ahead[client], self._last[client]
        return item


class Admission:
    """Places, and who gets one.

    A client is refused where no place is free. While others were sent away and are expected back, the places it may
    have are fewer the more turns it had lately than they: all where it had a fifth less, and where it had a fifth more
    those that keep the workers at work, with one request waiting. Else whoever was just served would be first at the
    place that it left, again and again.

    clock: seconds. Raises Refusal 503, which tells each client when its turn may come.
    """

    def __init__(self, *, places: int, workers: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._places, self._workers, self._clock = places, workers, clock
        self._turns: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._expected: OrderedDict[str, float] = OrderedDict()
        self._stay = 0.0
        self.inside = 0

    def enter(self, client: str) -> None:
        """Take a place; `leave` gives it back."""
        now = self._clock()
        own = self._had(client, now)
        if self.inside >= self._places or (
            self.inside > self._workers and self.inside >= self._limit(client, own, now)
        ):
            raise self._refused(client, now)
        self._expected.pop(client, None)
        self._turns[client] = (own + 1, now)
        self._turns.move_to_end(client)
        if len(self._turns) > _KNOWN:
            self._turns.popitem(last=False)
        self.inside += 1

    def _limit(self, client: str, own: float, now: float) -> int:
        """From how many inside on a client that had so many turns is refused."""
        others = [self._had(other, now) for other in self._others(client, now)]
        if not others:
            return self._places
        usual = sum(others) / len(others)
        ahead = (own - usual) / max(1.0, usual / 5)
        least = self._workers + 1
        return max(least, min(self._places, round(self._places - (self._places - least) * (ahead + 1) / 2)))

    def leave(self, seconds: float) -> None:
        """Give a place back after so many seconds."""
        self.inside -= 1
        self._stay += _NEWEST * (seconds - self._stay)

    def _had(self, client: str, now: float) -> float:
        """Turns of a client, older ones counting less."""
        count, when = self._turns.get(client, (0.0, now))
        return count * float(0.5 ** ((now - when) / _HALF_LIFE))

    def _others(self, client: str, now: float) -> list[str]:
        """Who was sent away and is expected back."""
        while self._expected and next(iter(self._expected.values())) < now:
            self._expected.popitem(last=False)
        return [other for other in self._expected if other != client]

    def _refused(self, client: str, now: float) -> Refusal:
        """What to tell a client: to come back when all who were sent away before may have had a turn."""
        self._others(client, now)
        a_second = self.inside / self._stay if self._stay else math.inf  # Little's law: turns that end in one
        seconds = max(1, min(_LONGEST, round((len(self._expected) + 1) / a_second)))
        self._expected[client] = now + 2.0 * seconds
        self._expected.move_to_end(client)
        if len(self._expected) > _KNOWN:
            self._expected.popitem(last=False)
        return busy("all places are taken: try again when Retry-After says", seconds)


def name_of(address: str | None) -> str:
    """Under which name turns are counted: an address, of IPv6 its network, since a client has all of that."""
    try:
        number = ipaddress.ip_address(address or "")
    except ValueError:
        return address or ""
    if isinstance(number, ipaddress.IPv6Address):
        if number.ipv4_mapped is not None:
            return str(number.ipv4_mapped)
        return str(ipaddress.ip_network((int(number) >> 64 << 64, 64)))
    return str(number)
