"""One daemon thread for all engines that ends runs which went past their deadline."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from weakref import WeakSet

TICK = 0.1
"""Seconds between two looks of the thread, while any run is under way: what a deadline may be late by."""


class Deadline:
    """The time limit of one caller's runs, one run at a time: `start` before, `stop` after.

    `expire` is called from the watchdog's thread, once, when `seconds` have passed between the two. Both calls
    together cost about two microseconds: a look at the clock and uncontended locks.
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
        with self._lock:
            self._expired = False
            self._at = time.monotonic() + self._seconds
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
    def __init__(self) -> None:
        self._deadlines: WeakSet[Deadline] = WeakSet()
        self._lock = threading.Lock()
        self._busy = threading.Event()
        self._thread: threading.Thread | None = None

    def watch(self, deadline: Deadline) -> None:
        with self._lock:
            self._deadlines.add(deadline)

    def wake(self) -> None:
        if not self._busy.is_set():
            self._busy.set()
        if self._thread is None or not self._thread.is_alive():  # not alive: this process was forked
            self._begin()

    def _begin(self) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="rtseg-watchdog", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            self._busy.wait()
            self._busy.clear()
            while self._look():
                time.sleep(TICK)

    def _look(self) -> bool:
        with self._lock:
            deadlines = list(self._deadlines)
        now = time.monotonic()
        under_way = [deadline.look(now) for deadline in deadlines]
        return any(under_way)


_watchdog = _Watchdog()
