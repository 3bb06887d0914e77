"""Who goes next: exact on the queue, and a simulated flood for the places."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from dataclasses import dataclass, field

import pytest

from rtseg.service.refusals import Refusal
from rtseg.service.turns import Admission, FairQueue, name_of


def order(pushed: str) -> str:
    """Who is served when, for clients of one letter that came in this order."""
    queue: FairQueue[str] = FairQueue()
    for client in pushed:
        queue.push(client, client)
    return "".join(queue.pop() for _ in pushed)


@pytest.mark.parametrize(
    ("pushed", "served"), [("abc", "abc"), ("aaab", "abaa"), ("aaabbc", "abcaba"), ("aabab", "ababa"), ("", "")]
)
def test_clients_take_turns(pushed: str, served: str) -> None:
    assert order(pushed) == served


def test_who_comes_later_is_not_behind_all_that_another_has_queued() -> None:
    queue: FairQueue[str] = FairQueue()
    for name in ("a1", "a2", "a3", "a4"):
        queue.push("a", name)
    assert [queue.pop(), queue.pop()] == ["a1", "a2"]
    queue.push("b", "b1")
    assert [queue.pop() for _ in range(3)] == ["b1", "a3", "a4"]
    assert len(queue) == 0
    with pytest.raises(IndexError):
        queue.pop()


@dataclass
class Flood:
    """Clients that ask again at once when served and wait when refused, as events in time."""

    clients: int
    workers: int = 2
    places: int = 18
    work: float = 0.01
    seconds: float = 20.0
    now: float = 0.0
    served: Counter[int] = field(default_factory=Counter)
    idle: float = 0.0

    def run(self) -> None:
        chance = random.Random(1)
        admission = Admission(places=self.places, workers=self.workers, clock=lambda: self.now)
        numbers = itertools.count()
        events = [(chance.uniform(0, 0.05), next(numbers), "asks", client, 0.0) for client in range(self.clients)]
        heapq.heapify(events)
        waiting: list[tuple[int, float]] = []
        free = self.workers

        def later(seconds: float, what: str, client: int, since: float = 0.0) -> None:
            heapq.heappush(events, (self.now + seconds, next(numbers), what, client, since))

        while events and events[0][0] < self.seconds:
            before, (self.now, _, what, client, since) = self.now, heapq.heappop(events)
            self.idle += free * (self.now - before)
            if what == "asks":
                try:
                    admission.enter(str(client))
                except Refusal as refusal:
                    later(float(refusal.headers["Retry-After"]) * chance.uniform(0.5, 1.5), "asks", client)
                else:
                    waiting.append((client, self.now))
            else:
                free += 1
                admission.leave(self.now - since)
                self.served[client] += 1
                later(0.002, "asks", client)
            while free and waiting:
                free -= 1
                client, since = waiting.pop(0)
                later(self.work * chance.uniform(0.7, 1.5), "done", client, since)


@pytest.mark.parametrize("work", [0.004, 0.01, 0.03, 0.06])
def test_nobody_gets_twice_what_another_gets_and_no_worker_waits(work: float) -> None:
    flood = Flood(clients=100, work=work)
    flood.run()
    counts = [flood.served[client] for client in range(100)]
    assert max(counts) <= 2 * min(counts)
    assert flood.idle < 0.05 * 2 * flood.seconds


def test_a_client_alone_has_all_the_places() -> None:
    admission = Admission(places=5, workers=1, clock=lambda: 0.0)
    for _ in range(5):
        admission.enter("a")
    with pytest.raises(Refusal, match="all places are taken"):
        admission.enter("a")
    assert admission.inside == 5
    admission.leave(0.1)
    admission.enter("a")


def sent_away(admission: Admission, client: str) -> bool:
    try:
        admission.enter(client)
    except Refusal:
        return True
    return False


def test_who_was_served_waits_for_who_was_sent_away_but_workers_do_not() -> None:
    admission = Admission(places=4, workers=1, clock=lambda: 0.0)
    for _ in range(4):
        admission.enter("a")
    assert sent_away(admission, "b")
    for _ in range(2):
        admission.leave(0.1)
    assert sent_away(admission, "a"), "one is at work and one waits: the places that are free are for b"
    admission.leave(0.1)
    admission.enter("a")  # the worker would be without work soon
    admission.enter("b")
    admission.enter("a")  # nobody else is expected now


def test_who_does_not_come_back_is_not_waited_for_long() -> None:
    now = 0.0
    admission = Admission(places=4, workers=1, clock=lambda: now)
    for _ in range(4):
        admission.enter("a")
    with pytest.raises(Refusal):
        admission.enter("b")
    admission.leave(0.1)
    with pytest.raises(Refusal):
        admission.enter("a")
    now = 2.1
    admission.enter("a")


def test_the_longer_the_queue_the_later_one_is_told_to_come() -> None:
    admission = Admission(places=2, workers=1, clock=lambda: 0.0)
    admission.enter("a")
    admission.leave(40.0)  # a running mean: 4 seconds
    for _ in range(2):
        admission.enter("a")
    told = []
    for client in range(40):
        with pytest.raises(Refusal) as refused:
            admission.enter(str(client))
        told.append(int(refused.value.headers["Retry-After"]))
    assert told[:4] == [2, 4, 6, 8]
    assert told[-1] == 30


def test_what_is_remembered_of_clients_has_an_end() -> None:
    admission = Admission(places=1, workers=1, clock=lambda: 0.0)
    for client in range(2000):
        admission.enter(str(client))
        with pytest.raises(Refusal):
            admission.enter(f"other {client}")
        admission.leave(0.1)
    assert len(admission._turns) <= 500
    assert len(admission._expected) <= 500


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("testclient", "testclient"),
        (None, ""),
    ],
)
def test_a_network_of_ipv6_is_one_client(address: str | None, name: str) -> None:
    assert name_of(address) == name
