"""Many streams on one network: who may come in, where each of them runs, and what gives way when memory is short."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import ConfigError, EngineError, InferenceFailed, OutOfMemory, Overloaded, RtsegError
from rtseg.inference.pool import Opener, Pool

__all__ = ["Opener", "Scheduler", "StreamEngine"]

log = logging.getLogger(__name__)

BUCKETS = (1, 2, 4, 8)
GATHER = 0.0025
_KNOWN_AFTER = 1.0
"""Seconds after which a stream's use is measured; before, it counts with what it declared."""


class Scheduler:
    """Owns the engines of one network and hands each stream one that looks like its own (`stream`).

    open_engine: a batch size to an engine for it, with buffers of its own at each call. fallback: the same on the CPU,
    for when the device has no room. buckets: batch sizes to try. gather: the most seconds a frame waits for others.
    parallel: runs beside each other; None for one a core on the CPU and one on a device. capacity: the share of the
    time of these runs that streams may take; None for no limit.

    The thread of the stream that has waited longest runs the batch. When the device has no room, batches get
    smaller, then the newer half of the streams moves to `fallback`, again and again, then all: `counts` and the log
    tell every step (smaller_batch, streams_moved, all_on_cpu, streams_refused, retried_batches).
    """

    def __init__(
        self,
        open_engine: Opener,
        *,
        fallback: Opener | None = None,
        buckets: Sequence[int] = BUCKETS,
        gather: float = GATHER,
        parallel: int | None = None,
        capacity: float | None = 0.85,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if 1 not in buckets or min(buckets) < 1:
            raise ConfigError(f"buckets must be batch sizes with 1 among them, such as (1, 2, 4, 8), not {buckets}")
        if not 0 <= gather <= 1:
            raise ConfigError(f"gather must be 0 to 1 seconds, not {gather:g}: 0.0025 is usual")
        if parallel is not None and parallel < 1:
            raise ConfigError(f"parallel must be at least 1, or None for what suits the device, not {parallel}")
        if capacity is not None and not 0 < capacity <= 1:
            raise ConfigError(f"capacity must be above 0 and at most 1, or None for no limit, not {capacity:g}")
        self.capacity = capacity
        self._fallback, self._buckets, self._gather, self._parallel = fallback, buckets, gather, parallel
        self._clock = clock
        self._lock = threading.RLock()
        self._counts: Counter[str] = Counter()
        self._streams: list[StreamEngine] = []
        self._closed = False
        self._full: str | None = None
        self._spare: Pool | None = None
        try:
            self._pool = self._open(open_engine)
        except OutOfMemory as error:
            if fallback is None:
                raise
            self._counts["all_on_cpu"] += 1
            log.warning("no room for the network on its device, all streams run on the CPU: %s", str(error))
            self._pool = self._spare = self._open(fallback)

    @property
    def providers(self) -> tuple[str, ...]:
        """Where streams run that come now, best first."""
        return self._place().providers

    @property
    def batches(self) -> tuple[int, ...]:
        """The batch sizes in use: those that have room and pay."""
        return tuple(sorted(self._pool.costs))

    @property
    def counts(self) -> Mapping[str, int]:
        """What was run and what gave way, by name."""
        with self._lock:
            pools = {id(pool): pool for pool in (self._pool, self._spare) if pool is not None}
            return sum((pool.counts for pool in pools.values()), self._counts.copy())

    @property
    def load(self) -> float:
        """The share of its time, on the busier device, that the network is at work: measured requests times cost."""
        with self._lock:
            return max(self._load(pool) for pool in (self._pool, self._spare) if pool is not None)

    def stream(self, *, rate: float | None = 30.0) -> StreamEngine:
        """An engine for one more stream, to be closed when the stream ends.

        rate: frames a second that it will ask for at most; None for one without a pace, such as a file, which takes
        what is left. Of adaptive streams a part of the frames is asked for: the share that streams here were seen
        to ask for counts for new ones. Raises Overloaded where the measured capacity would be exceeded.
        """
        if rate is not None and not 0 < rate <= 1000:
            raise ConfigError(f"rate must be above 0 and at most 1000 frames a second, or None, not {rate:g}")
        with self._lock:
            if self._closed:
                raise EngineError("the scheduler is closed: make another")
            pool = self._place()
            self._check_room()
            if rate is not None and self.capacity is not None:
                self._admit(pool, rate, self.capacity)
            stream = StreamEngine(self, pool, rate, self._clock())
            self._streams.append(stream)
        return stream

    def close(self) -> None:
        """Give the engines back; what still waits fails."""
        with self._lock:
            self._closed = True
            for stream in list(self._streams):
                stream.close()
            for pool in (self._pool, self._spare):
                if pool is not None:
                    pool.dissolve("the scheduler was closed: make another")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def forget(self, stream: StreamEngine) -> None:
        """The stream is closed: its part of the capacity is free."""
        with self._lock:
            if stream in self._streams:
                self._streams.remove(stream)
                if self._spare is None:  # there may be room again
                    self._full = None

    def make_room(self, stream: StreamEngine, pool: Pool, error: OutOfMemory) -> bool:
        """After a frame had no room alone: fewer streams on the device. False where nothing is left to be done."""
        with self._lock:
            if stream.pool is not pool:
                return True
            if pool is self._spare:
                return False
            self._full = str(error)  # the error itself would keep the engine alive
            if self._fallback is None:
                log.warning("the device has no room, no streams are taken on any more: %s", str(error))
                return False
            here = [other for other in self._streams if other.pool is pool]
            if self._spare is None:
                try:
                    self._spare = self._open(self._fallback)
                except RtsegError as failure:
                    log.warning("the device has no room, and the CPU cannot take its streams: %s", failure)
                    return False
            moved = here[len(here) - max(1, len(here) // 2) :]
            for other in moved:
                other.move(self._spare)
            self._counts["streams_moved"] += len(moved)
            if len(moved) == len(here):
                self._counts["all_on_cpu"] += 1
                log.warning("the device has no room for a single stream, all run on the CPU: %s", str(error))
                self._counts += pool.counts
                self._pool = self._spare
            else:
                log.warning(
                    "the device has no room, %d of %d streams go on on the CPU: %s", len(moved), len(here), str(error)
                )
        return True

    def _open(self, opener: Opener) -> Pool:
        return Pool(opener, buckets=self._buckets, lanes=self._parallel, gather=self._gather, clock=self._clock)

    def _place(self) -> Pool:
        """The pool that new streams come to."""
        return self._spare if self._full is not None and self._spare is not None else self._pool

    def _check_room(self) -> None:
        if self._full is not None and self._spare is None:
            self._counts["streams_refused"] += 1
            raise Overloaded(
                f"no more streams: the device ran out of memory ({self._full}); close a stream, use a smaller model, "
                "or give the scheduler a fallback on the CPU"
            )

    def _admit(self, pool: Pool, rate: float, capacity: float) -> None:
        here = [stream for stream in self._streams if stream.pool is pool]
        shares = [share for stream in here if (share := stream.share(self._clock())) is not None]
        share = sum(shares) / len(shares) if shares else 1.0
        cost = pool.milliseconds(len(here) + 1)
        load, more = self._load(pool, len(here) + 1), rate * share * cost / 1e3 / pool.lanes
        if load + more > capacity:
            self._counts["streams_refused"] += 1
            raise Overloaded(
                f"a stream of {rate:g} frames a second is too much: it takes {more:.2f} of the network's time "
                f"({100 * share:.0f} % of its frames, {cost:.1f} ms each), {load:.2f} of {capacity:g} is taken; "
                "close a stream, lower the rate, infer adaptively, or use a faster model"
            )

    def _load(self, pool: Pool, streams: int | None = None) -> float:
        now = self._clock()
        here = [stream for stream in self._streams if stream.pool is pool]
        shares = [share for stream in here if (share := stream.share(now)) is not None]
        usual = sum(shares) / len(shares) if shares else 1.0
        asked = sum(stream.rate(now, usual) for stream in here)
        return asked * pool.milliseconds(streams or len(here)) / 1e3 / pool.lanes


class StreamEngine:
    """One stream's engine at a `Scheduler`: a `BoundEngine` whose buffers are its own. Belongs to one thread."""

    def __init__(self, scheduler: Scheduler, pool: Pool, declared: float | None, opened: float) -> None:
        self._scheduler, self._declared, self._opened = scheduler, declared, opened
        slot = pool.join()
        self._place = (pool, slot)  # always exchanged together
        self._asked = slot.asked
        self._inputs = slot.inputs

    @property
    def pool(self) -> Pool:
        """Where it runs now."""
        return self._place[0]

    @property
    def providers(self) -> tuple[str, ...]:
        """Where this stream runs now, best first: it may have been moved to the CPU."""
        return self.pool.providers

    @property
    def inputs(self) -> Mapping[str, NDArray[Any]]:
        """The stream's input buffers, to be written in place before `run()`; they stay the same."""
        return self._inputs

    def __call__(self, inputs: Mapping[str, NDArray[Any]], /) -> Mapping[str, NDArray[Any]]:
        """Copy `inputs` (name -> array of the buffer's shape) and run."""
        if inputs.keys() != self._inputs.keys():
            raise InferenceFailed(f"the network takes the inputs {sorted(self._inputs)}, not {sorted(inputs)}")
        for name, buffer in self._inputs.items():
            if inputs[name].shape != buffer.shape:
                raise InferenceFailed(f"input {name!r} must be of shape {buffer.shape}, not {inputs[name].shape}")
            np.copyto(buffer, inputs[name], casting="same_kind")
        return self.run()

    def run(self) -> Mapping[str, NDArray[Any]]:
        """The outputs for what the inputs hold, made in a batch or alone; the next run overwrites them."""
        while True:
            pool, slot = place = self._place
            try:
                return pool.run(slot)
            except InferenceFailed as error:
                moved = self._place is not place
                if not moved and not (isinstance(error, OutOfMemory) and self._scheduler.make_room(self, pool, error)):
                    raise

    def close(self) -> None:
        """The stream ends: nobody waits for it any more."""
        self._scheduler.forget(self)
        pool, slot = self._place
        pool.leave(slot)

    def move(self, pool: Pool) -> None:
        """Go on in another pool with the same buffers; a request that waits is made again there."""
        before, slot = self._place
        self._place = (pool, pool.join(slot))
        before.leave(slot)

    def share(self, now: float) -> float | None:
        """Requests for each declared frame, as measured; None before it is known, or where nothing was declared."""
        if self._declared is None or now - self._opened < _KNOWN_AFTER:
            return None
        return min(1.0, self.rate(now, 1.0) / self._declared)

    def rate(self, now: float, usual: float) -> float:
        """Requests a second: measured, or declared times the usual share where the stream is too young."""
        if now - self._opened < _KNOWN_AFTER and self._declared is not None:
            return self._declared * usual
        asked = self._asked
        if len(asked) < 2:
            return 0.0
        return len(asked) / max(now - (asked[0] if len(asked) == asked.maxlen else self._opened), 1e-3)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
