"""One daemon thread for all engines that ends runs which went past their deadline."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable
from weakref import WeakSet

TICK = 0.1
"""Seconds between two looks of the thread, while any run is under way: what a deadline may be late by."""


class Deadline:
    """The time limit of one caller's runs, one run at a time: `start` before, `stop` after.

    `expire` is called from the watchdog's thread, once, when `seconds` have passed between the two. Both calls
    together cost about a microsecond.
    """

    def __init__(self, seconds: float, expire: Callable[[], None]) -> None:
        self._seconds = seconds
        self._expire = expire
        self._at = math.inf
        self._expired = False
        self._lock = threading.Lock()
        _watchdog.watch(self)

    def start(self) -> None:
        """The run begins now."""
        self._expired = False
        self._at = time.monotonic() + self._seconds
        _watchdog.called = True
        if not _watchdog.awake:
            _watchdog.wake()

    def stop(self) -> bool:
        """The run is over; true if the watchdog ended it. After this `expire` is not called."""
        with self._lock:
            self._at = math.inf
            return self._expired

    def look(self, now: float) -> bool:
        """Expire if it is time; true while a run is under way."""
        with self._lock:  # held over expire(), so that it never hits the run after the one that was late
            if now >= self._at and not self._expired:
                self._expired = True
                self._expire()
            return self._at < math.inf


class _Watchdog:
    """Sleeps on an event until a run begins, and then between looks until none has begun for a whole tick.

    A stream's runs take a part of its time, and waking a thread takes longer than they do: so it stays awake.
    """

    def __init__(self) -> None:
        self.awake = self.called = False
        self._deadlines: WeakSet[Deadline] = WeakSet()
        self._lock = threading.Lock()
        self._bell = threading.Event()
        self._thread: threading.Thread | None = None

    def watch(self, deadline: Deadline) -> None:
        with self._lock:
            self._deadlines.add(deadline)

    def wake(self) -> None:
        with self._lock:
            self.awake = True
            self._bell.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="rtseg-watchdog", daemon=True)
                self._thread.start()

    def after_fork(self) -> None:
        """A forked process has neither the thread nor whoever held the lock."""
        self.awake, self._lock, self._bell, self._thread = False, threading.Lock(), threading.Event(), None

    def _run(self) -> None:
        while True:
            self._bell.wait()
            self._bell.clear()
            self.awake = True
            while self.awake:
                time.sleep(TICK)
                called, self.called = self.called, False
                if not (self._look() or called):
                    self.awake = False  # before the last question: whoever begins from here on wakes it again
                    self.awake = self.called

    def _look(self) -> bool:
        with self._lock:
            deadlines = list(self._deadlines)
        now = time.monotonic()
        under_way = [deadline.look(now) for deadline in deadlines]
        return any(under_way)


_watchdog = _Watchdog()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_watchdog.after_fork)
