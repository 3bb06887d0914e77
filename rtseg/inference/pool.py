"""The engines of one device and the queue before them: first goes who waited longest, with whom it pays to take."""

from __future__ import annotations

import logging
import math
import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import EngineError, InferenceFailed, InferenceTimeout, ModelRejected, OutOfMemory
from rtseg.inference.batching import check_batch
from rtseg.segmenters import BoundEngine

log = logging.getLogger(__name__)

Opener: TypeAlias = Callable[[int], BoundEngine]
"""A batch to an engine for it, with buffers of its own at each call."""

Buffers: TypeAlias = Mapping[str, NDArray[Any]]

_PAYS = 0.97
"""A larger batch is kept when a frame in it costs less than this share of one in the next smaller."""
_TRIALS = 3
_SLOWLY = 0.05
"""The weight of a new run in the running mean of what runs cost."""
_CLOSED = "the stream is closed: open another with Scheduler.stream"
_MEMORY = 64
"""Requests of a stream whose times are kept."""


class Slot:
    """One stream in a pool: its buffers, its request, if it has one, and when it asked."""

    def __init__(self, turn: threading.Condition, inputs: Buffers, outputs: Buffers, asked: deque[float]) -> None:
        self.turn, self.inputs, self.outputs, self.asked = turn, inputs, outputs, asked
        self.engine: BoundEngine | None = None
        self.result: Buffers = outputs
        self.state: Literal["idle", "waiting", "running"] = "idle"
        self.error: Exception | None = None
        self.closed = False

    @property
    def busy(self) -> bool:
        """Whether a request waits or is under way."""
        return self.state != "idle"

    def due(self, now: float, until: float) -> bool:
        """Whether a request is to be expected by `until`, going by those before: no dead stream is waited for."""
        if self.closed or self.busy or len(self.asked) < 2:
            return False
        interval = (self.asked[-1] - self.asked[0]) / (len(self.asked) - 1)
        return self.asked[-1] + 0.75 * interval <= until and now < self.asked[-1] + 2 * interval


class Pool:
    """Runs requests of many streams on engines of one device, several at once where that is cheaper.

    open_engine: called for every batch of `buckets` that pays, once a lane; lanes run beside each other. gather: the
    most seconds that a request waits for others; it waits no longer than what one more would save, nor for streams
    that are not due. The callers' own threads run the batches, so that a stream alone pays no change of threads.

    Batches that are wrong (`check_batch`), have no room or cost more are left out; `counts` and the log say which.
    Raises what the engine for one frame raises.
    """

    def __init__(
        self,
        open_engine: Opener,
        *,
        buckets: Sequence[int],
        lanes: int | None,
        gather: float,
        clock: Callable[[], float],
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._open_engine, self._gather, self._clock = open_engine, gather, clock
        self._lock = threading.Lock()
        self._waiting: deque[Slot] = deque()
        self._slots: list[Slot] = []
        self._over: str | None = None
        single = open_engine(1)
        self.providers = single.providers
        self._shapes = (single.inputs, single.run())
        self.costs = {1: self._cost(single)}
        first = {1: single, **self._larger(open_engine, single, [b for b in sorted(buckets) if b > 1])}
        self.lanes = usual_lanes(self.providers) if lanes is None else lanes
        self._free = [first, *({batch: open_engine(batch) for batch in first} for _ in range(self.lanes - 1))]
        self._drift = 1.0
        self._plan()

    def join(self, like: Slot | None = None) -> Slot:
        """A place for another stream, or for one of another pool of the same network, with the buffers that it has."""
        turn = threading.Condition(self._lock)
        if like is not None:
            slot = Slot(turn, like.inputs, like.outputs, like.asked)
        else:
            inputs, outputs = ({name: np.zeros_like(array) for name, array in part.items()} for part in self._shapes)
            engine = self._open_engine(1) if self.providers[0] == "cpu" else None  # where buffers cost next to nothing
            slot = Slot(turn, inputs if engine is None else engine.inputs, outputs, deque(maxlen=_MEMORY))
            slot.engine = engine
        with self._lock:
            self._slots.append(slot)
        return slot

    def leave(self, slot: Slot) -> None:
        """The stream goes; nobody waits for it, and a request of it that waits fails."""
        with self._lock:
            if slot in self._slots:
                self._slots.remove(slot)
            slot.closed = True
            self._drop(slot, _CLOSED)

    def dissolve(self, reason: str) -> None:
        """Fail whatever waits and comes, and give the engines back."""
        with self._lock:
            self._over = reason
            while self._waiting:
                self._drop(self._waiting[0], reason)
            self._free.clear()

    def milliseconds(self, streams: int) -> float:
        """What a frame costs, as lately measured, when so many streams ask."""
        count = max(1, min(streams, max(self.costs)))
        return 1e3 * self._drift * self._best[count][0] / count

    def run(self, slot: Slot) -> Buffers:
        """The outputs for the slot's inputs, made in this thread or that of a stream which asked before."""
        with self._lock:
            while slot.state == "running":  # an interrupted call left a request behind
                slot.turn.wait()
            if self._over is not None or slot.closed:
                raise InferenceFailed(self._over or _CLOSED)
            slot.asked.append(since := self._clock())
            slot.state, slot.error = "waiting", None
            self._waiting.append(slot)
            self._call_next()
            try:
                while slot.busy:
                    if not (self._free and self._waiting and self._waiting[0] is slot):
                        slot.turn.wait()
                    elif (patience := self._patience(since)) > 0:
                        slot.turn.wait(patience)
                    else:
                        self._lead()
            finally:
                if slot.state == "waiting":
                    self._waiting.remove(slot)
                    slot.state = "idle"
                    self._call_next()
        return _outcome(slot)

    def _patience(self, since: float) -> float:
        """Seconds for which the first in the queue should wait for others."""
        count = len(self._waiting)
        if count >= max(self.costs):
            return 0.0
        saved = self._best[count][0] + self._best[1][0] - self._best[count + 1][0]
        now = self._clock()
        until = since + min(self._gather, self._drift * saved)
        return until - now if any(other.due(now, until) for other in self._slots) else 0.0

    def _lead(self) -> None:
        """Run the first in the queue and whom it pays to take along; the lock is free meanwhile."""
        share = math.ceil(len(self._waiting) / len(self._free))
        lane = self._free.pop()
        taken = [self._waiting.popleft() for _ in range(self._choose(share)[1])]
        for slot in taken:
            slot.state = "running"
        self._call_next()
        done = False
        self._lock.release()
        try:
            self._execute(lane, taken)
            done = True
        finally:
            self._lock.acquire()
            if self._over is None:
                self._free.append(_without(lane, self.costs))
            for slot in reversed(taken):
                slot.state = "idle"
                if not done:  # this thread was interrupted: the others' frames are as they were
                    slot.state = "waiting"
                    self._waiting.appendleft(slot)
                    if reason := self._over or (_CLOSED if slot.closed else None):
                        self._drop(slot, reason)
                slot.turn.notify_all()
            self._call_next()

    def _execute(self, lane: dict[int, BoundEngine], slots: Sequence[Slot]) -> None:
        while slots:
            batch, count = self._choose(len(slots))
            self._run(lane, batch, slots[:count])
            slots = slots[count:]

    def _run(self, lane: dict[int, BoundEngine], batch: int, slots: Sequence[Slot]) -> None:
        started = self._clock()
        try:
            if batch == 1 and slots[0].engine is not None:
                slots[0].result = slots[0].engine.run()
            else:
                _run_together(lane[batch], batch, slots)
        except OutOfMemory as error:
            if batch == 1:
                slots[0].error = error
                return
            self._smaller(batch, error)
            self._execute(lane, slots)
        except Exception as error:
            if len(slots) == 1:
                slots[0].error = error
            elif isinstance(error, InferenceTimeout):  # by no frame's fault, and each would wait as long again
                for slot in slots:
                    slot.error = InferenceTimeout(str(error))
            else:
                with self._lock:
                    self.counts["retried_batches"] += 1
                for slot in slots:
                    self._run(lane, 1, [slot])
        else:
            with self._lock:
                self.counts["batched" if len(slots) > 1 else "alone"] += len(slots)
                if batch in self.costs:
                    self._drift += _SLOWLY * ((self._clock() - started) / self.costs[batch] - self._drift)

    def _smaller(self, batch: int, error: EngineError) -> None:
        """Give up this batch and larger ones; lanes that are at work lose them when they are done."""
        with self._lock:
            if batch not in self.costs:
                return
            self.costs = {kept: cost for kept, cost in self.costs.items() if kept < batch}
            self._plan()
            self._free = [_without(lane, self.costs) for lane in self._free]
            self.counts["smaller_batch"] += 1
        log.warning("no room for batches of %d, %d at most from here on: %s", batch, max(self.costs), str(error))

    def _choose(self, count: int) -> tuple[int, int]:
        """The batch to run first of `count` waiting frames, and how many of them are in it."""
        count = min(count, max(self.costs))
        batch = self._best[count][1]
        return batch, min(batch, count)

    def _plan(self) -> None:
        """For every number of frames the cheapest way to run them: seconds, and the batch to begin with."""
        best = {0: (0.0, 0), 1: (self.costs[1], 1)}
        for count in range(2, max(self.costs) + 1):
            ways = ((cost + best[max(0, count - batch)][0], -batch) for batch, cost in self.costs.items())
            seconds, batch = min(ways)
            best[count] = (seconds, -batch)
        self._best = best

    def _larger(self, open_engine: Opener, single: BoundEngine, buckets: Sequence[int]) -> dict[int, BoundEngine]:
        kept: dict[int, BoundEngine] = {}
        for batch in buckets:
            try:
                engine = open_engine(batch)
                check_batch(single, engine)
                cost = self._cost(engine)
            except (EngineError, ModelRejected) as error:
                self.counts["smaller_batch"] += isinstance(error, OutOfMemory)
                log.warning("no batches of %d and more: %s", batch, str(error))
                break
            smaller = max(self.costs)
            if cost / batch > _PAYS * self.costs[smaller] / smaller:
                log.info("batches of %d do not pay: %.2f ms a frame", batch, 1e3 * cost / batch)
                break
            kept[batch], self.costs[batch] = engine, cost
        return kept

    def _cost(self, engine: BoundEngine) -> float:
        """Seconds of a run, the least of some: whatever else the machine does only adds to it."""
        least = math.inf
        for _ in range(_TRIALS):
            started = self._clock()
            engine.run()
            least = min(least, self._clock() - started)
        return max(least, 1e-9)

    def _drop(self, slot: Slot, reason: str) -> None:
        if slot.state == "waiting":
            self._waiting.remove(slot)
            slot.state, slot.error = "idle", InferenceFailed(reason)
            slot.turn.notify_all()
            self._call_next()

    def _call_next(self) -> None:
        """Whoever is first looks whether to go."""
        if self._free and self._waiting:
            self._waiting[0].turn.notify_all()


def usual_lanes(providers: Sequence[str]) -> int:
    """How many runs beside each other: one a core on CPUs, where that beats every batch; one on a device."""
    if providers[0] != "cpu":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _outcome(slot: Slot) -> Buffers:
    error, slot.error = slot.error, None
    if error is not None:
        try:
            raise error
        finally:
            del error  # or it would keep the engine alive, by its traceback
    return slot.result


def _without(lane: dict[int, BoundEngine], costs: Mapping[int, float]) -> dict[int, BoundEngine]:
    return {batch: engine for batch, engine in lane.items() if batch in costs}


def _run_together(engine: BoundEngine, batch: int, slots: Sequence[Slot]) -> None:
    """Copy in, run, copy out; places that are left over repeat the last frame, so that no old one can do harm."""
    for place in range(batch):
        given = slots[min(place, len(slots) - 1)].inputs
        for name, buffer in engine.inputs.items():
            np.copyto(buffer[place : place + 1], given[name])
    outputs = engine.run()
    for place, slot in enumerate(slots):
        for name, array in slot.outputs.items():
            np.copyto(array, outputs[name][place : place + 1])
        slot.result = slot.outputs
