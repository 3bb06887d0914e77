"""A bounded queue between two threads that carries errors and counts what it drops."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, Literal, TypeVar

T = TypeVar("T")


class Closed(Exception):
    """The taker is gone: there is no point in putting more."""


class Channel(Generic[T]):
    """`size` items between a giver and a taker. "block" waits for room; "latest" drops the oldest and counts it.

    `stopping`, when set, wakes an idle taker and ends its iteration once the queue is empty; nothing is accepted after
    that. accepted: how many items were put; all of them are taken unless dropped or abandoned.
    """

    def __init__(
        self, size: int, *, policy: Literal["block", "latest"] = "block", stopping: threading.Event | None = None
    ) -> None:
        self._items: deque[T] = deque()
        self._size, self._policy, self._stopping = size, policy, stopping
        self._changed = threading.Condition()
        self._ended = False
        self._error: BaseException | None = None
        self.accepted = self.dropped = 0

    def put(self, item: T) -> None:
        """Add an item; raises Closed when nobody will take it."""
        with self._changed:
            if self._policy == "latest" and len(self._items) >= self._size:
                self._items.popleft()
                self.dropped += 1
            while len(self._items) >= self._size and not self._ended:
                self._changed.wait()
            if self._ended:
                raise Closed
            self._items.append(item)
            self.accepted += 1
            self._changed.notify_all()

    def end(self, error: BaseException | None = None) -> None:
        """No more items: what is queued is still given out, then `error`, if any, is raised to the taker."""
        with self._changed:
            if not self._ended:
                self._ended, self._error = True, error
            self._changed.notify_all()

    def abandon(self) -> None:
        """The taker leaves: what is queued is thrown away and whoever waits to put is told."""
        with self._changed:
            self._ended = True
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        while (item := self._take()) is not None:
            yield item

    def _take(self) -> T | None:
        with self._changed:
            while not self._items:
                if self._error is not None:
                    raise self._error
                if self._stopping is not None and self._stopping.is_set():
                    self._ended = True  # in one breath with the look at the queue, or an item put now would be lost
                if self._ended:
                    return None
                # Polling is only for `stopping`, which has no way to notify; items wake the taker at once.
                self._changed.wait(0.1 if self._stopping is not None else None)
            item = self._items.popleft()
            self._changed.notify_all()
            return item
