"""A live source that never ends by itself: whatever becomes of the connection, it is opened again."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from rtseg.errors import ConfigError, DependencyMissing, SourceError, SourceStalled
from rtseg.sources.link import Backoff, Link, LinkChange, LinkState
from rtseg.sources.live_clock import TIME_BASE, LiveClock
from rtseg.types import Frame, Source, StreamInfo

__all__ = ["Backoff", "LinkChange", "LinkState", "Reconnecting"]

_log = logging.getLogger(__name__)

FINAL = (ConfigError, DependencyMissing)
"""Raised before there was any contact, so that waiting changes nothing; all else is tried again."""
_HANGING = 4
"""Threads that may hang in a call that nothing interrupts, before no further one is begun."""


@dataclass(eq=False)
class _Connection:
    """One opening and what it gives, in a thread of its own. `given_up` ones are heard no more."""

    thread: threading.Thread | None = None
    source: Source | None = None
    epoch: int | None = None
    begun: bool = False
    ended: bool = False
    error: Exception | None = None


class Reconnecting:
    """Frames of whatever `open` gives, again and again: the source of everything that is live.

    `open` makes a source, in a thread of its own, and is called again whenever the last one ended, failed, or gave no
    frame in time: `open_timeout` seconds for the first, `read_timeout` between two. Only ConfigError and
    DependencyMissing, which are raised before there is contact, end it; other errors say nothing about whether frames
    will come. A thread that hangs is left behind and counted, and no more than four are.

    Frames have one clock (1/90000 s) that only grows, with the gaps of an outage kept; `index` goes on, and `epoch`
    grows with each return and wherever the inner source's does. Only the newest frame is kept for the iterator.

    attempts: openings that may fail before there was a frame. They are waited for when it is made, and the last error
    is raised; None for ever, without waiting. changed: told each change of state, in order, from threads of this
    source; it should be quick.

    `counts`: those of the inner sources, dropped_by_source (frames that a newer one replaced), reconnects,
    repaired_timestamps, and hung_readers, the threads that were left behind and hang still.
    """

    live = True

    def __init__(
        self,
        open: Callable[[], Source],  # noqa: A002 - what it does
        *,
        name: str,
        open_timeout: float = 10.0,
        read_timeout: float = 5.0,
        backoff: Backoff | None = None,
        attempts: int | None = None,
        changed: Callable[[LinkChange], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        for what, value in (("open_timeout", open_timeout), ("read_timeout", read_timeout)):
            if not value > 0:
                raise ConfigError(f"{what} must be more than 0 seconds, not {value:g}")
        if attempts is not None and attempts < 1:
            raise ConfigError(f"attempts must be at least 1, or None for ever, not {attempts}")
        self._open, self._clock = open, clock
        self._link = Link(
            open_timeout=open_timeout,
            read_timeout=read_timeout,
            backoff=backoff or Backoff(),
            rng=rng or random.Random(),
        )
        self._attempts, self._changed = attempts, changed
        self._lock = threading.Lock()
        self._arrived, self._control = threading.Condition(self._lock), threading.Condition(self._lock)
        self._telling = threading.Lock()
        self._untold: deque[LinkChange] = deque()
        self._info = StreamInfo(name, time_base=TIME_BASE)
        self._counts: Counter[str] = Counter()
        self._ticks = LiveClock()
        self._index = self._epoch = -1
        self._newest: Frame | None = None
        self._connection: _Connection | None = None
        self._left: list[threading.Thread] = []
        self._closed = False
        self._failure: Exception | None = None
        self._supervisor: threading.Thread | None = None
        if attempts is not None:
            self._start()
            with self._lock:
                self._arrived.wait_for(lambda: self._failure or self._closed or self._index >= 0)
                failure: Exception | None = self._failure
            if failure is not None:
                self.close()
                raise failure

    @property
    def info(self) -> StreamInfo:
        """What is known so far: the name, and of the last connection size and rate."""
        return self._info

    @property
    def state(self) -> LinkState:
        """How things stand."""
        return self._link.state

    @property
    def counts(self) -> Mapping[str, int]:
        """What was lost or repaired so far, over all connections."""
        with self._lock:
            total = Counter(self._counts)
            connection = self._connection
            total["repaired_timestamps"] += self._ticks.repaired
            total["hung_readers"] = sum(thread.is_alive() for thread in self._left)
            if connection is not None and connection.source is not None:
                total.update(connection.source.counts)
        return {cause: number for cause, number in total.items() if number}

    def __iter__(self) -> Iterator[Frame]:
        self._start()
        try:
            while (frame := self._take()) is not None:
                yield frame
        finally:
            self.close()

    def close(self) -> None:
        """End the iteration at once, in whichever state, from any thread."""
        with self._lock:
            self._closed = True
            self._newest = None
            source = self._connection.source if self._connection else None
            self._wake()
        if source is not None:
            source.close()

    def _start(self) -> None:
        with self._lock:
            if self._supervisor is None and not self._closed:
                self._supervisor = threading.Thread(target=self._supervise, name="rtseg-link", daemon=True)
                self._supervisor.start()

    def _take(self) -> Frame | None:
        with self._lock:
            self._arrived.wait_for(lambda: self._newest or self._closed or self._failure)
            if self._failure is not None and not self._closed:
                raise self._failure
            frame, self._newest = self._newest, None
            return None if self._closed else frame

    def _wake(self) -> None:
        self._arrived.notify_all()
        self._control.notify_all()

    def _supervise(self) -> None:
        """Begins connections and ends them when they are late; the frames do not pass here."""
        while True:
            with self._lock:
                if self._closed or self._failure is not None:
                    return
                self._step()
                telling = bool(self._untold) and not self._telling.locked()
                if not telling and self._failure is None:
                    due = self._link.due
                    self._control.wait(None if due is None else max(0.0, due - self._clock()))
            if telling:
                self._tell()

    def _step(self) -> None:
        """Whatever is due, under the lock."""
        now, link, connection = self._clock(), self._link, self._connection
        if connection is not None and connection.ended:
            self._leave(connection)
            if isinstance(connection.error, FINAL):
                self._fail(connection.error)
                return
            reason = str(connection.error) if connection.error else "the stream ended"
            self._untold += link.ended(reason, now)
            self._check_attempts(connection.error or SourceError(f"{self._info.name} gives no frame: {reason}"))
        elif connection is not None and link.due is not None and now >= link.due:
            self._leave(connection)
            changes = link.late(now)
            self._untold += changes
            self._check_attempts(SourceStalled(f"{self._info.name} gives nothing: {changes[0].reason}"))
        elif connection is None and (link.due is None or now >= link.due):
            self._left = [thread for thread in self._left if thread.is_alive()]
            if len(self._left) >= _HANGING:
                link.due = now + 1.0
                return
            link.opening(now)
            self._connection = connection = _Connection()
            connection.thread = threading.Thread(
                target=self._read, args=(connection,), name="rtseg-connection", daemon=True
            )
            connection.thread.start()

    def _leave(self, connection: _Connection) -> None:
        """Hear a connection no more; its thread closes it, or is left behind."""
        self._connection = None
        if connection.source is not None:
            self._counts.update(connection.source.counts)
            connection.source.close()
        if not connection.ended and connection.thread is not None:
            self._left.append(connection.thread)

    def _check_attempts(self, error: Exception) -> None:
        if self._attempts is not None and self._index < 0 and self._link.attempt >= self._attempts:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._failure = error
        self._wake()

    def _read(self, connection: _Connection) -> None:
        """A connection's thread."""
        source = None
        failure: Exception | None = None
        try:
            source = self._open()
            with self._lock:
                wanted = self._connection is connection and not self._closed
                if wanted:
                    connection.source = source
                    info = source.info
                    self._info = replace(info, name=self._info.name, time_base=TIME_BASE, frames=None, seconds=None)
            for frame in source if wanted else ():
                if not self._put(connection, frame):
                    break
        except Exception as error:
            _log.debug("%s: %s", self._info.name, type(error).__name__)
            failure = error.with_traceback(None)  # which would keep frames alive
            failure.__cause__ = failure.__context__ = None
        try:
            if source is not None:
                source.close()
        finally:
            with self._lock:
                connection.ended, connection.error = True, failure
                self._control.notify_all()

    def _put(self, connection: _Connection, frame: Frame) -> bool:
        """Whether more frames of the connection are wanted."""
        with self._lock:
            if self._connection is not connection or self._closed:
                return False
            anew = not connection.begun
            if anew or frame.epoch != connection.epoch:
                self._epoch += 1
            if anew and self._index >= 0:
                self._counts["reconnects"] += 1
            connection.begun, connection.epoch = True, frame.epoch
            if changes := self._link.frame(self._clock()):
                self._untold += changes
                self._control.notify_all()  # what is due now may be sooner than what it waits for
            self._index += 1
            pts = self._ticks(frame.pts, frame.time_base, arrived=frame.arrived, anew=anew)
            self._counts["dropped_by_source"] += self._newest is not None
            if frame.size != self._info.size:
                self._info = replace(self._info, size=frame.size)
            duration = round(frame.duration * frame.time_base / TIME_BASE)
            moment = {"index": self._index, "pts": pts, "time_base": TIME_BASE, "epoch": self._epoch}
            self._newest = frame.at(**moment, duration=duration)
            self._arrived.notify_all()
        self._tell()
        return True

    def _tell(self) -> None:
        """Hand on what changed, in order and without a lock of ours that `changed` could want."""
        while self._untold and self._telling.acquire(blocking=False):
            try:
                while self._untold:
                    change = self._untold.popleft()
                    _log.info("%s is %s: %s", self._info.name, change.state.value, change.reason)
                    if self._changed is not None:
                        try:
                            self._changed(change)
                        except Exception:
                            _log.exception("whoever was told that %s is %s failed", self._info.name, change.state.value)
            finally:
                self._telling.release()
