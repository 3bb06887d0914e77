"""An engine of a few lines that doubles what it is given, on a clock of its own, with a gate and with little room."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import InferenceFailed, InferenceTimeout, OutOfMemory

GPU = {1: 3.0, 2: 3.5, 4: 4.5, 8: 6.0}
"""Milliseconds a batch, as a device has them: more at once is cheaper for each."""
POISON, LATE, INTERRUPT = 666.0, 667.0, 668.0
"""Inputs that make a run fail, run too long, or be interrupted."""


class Machine:
    """A device: its clock, which only its runs and tests move, its runs so far, and how large a batch it has room for.

    With `gated` set, every run waits for a `step`.
    """

    def __init__(
        self, costs: Mapping[int, float] = GPU, *, provider: str = "device", room: Callable[[], int] = lambda: 99
    ) -> None:
        self.now, self.costs, self.provider, self.room = 100.0, costs, provider, room
        self.runs: list[list[float]] = []
        self.opened: list[int] = []
        self.alive: WeakSet[DoublingEngine] = WeakSet()
        self.gated = False
        self._steps = threading.Semaphore(0)

    def clock(self) -> float:
        return self.now

    def open(self, batch: int) -> DoublingEngine:
        if batch > self.room():
            raise OutOfMemory(f"no room for {batch}")
        self.opened.append(batch)
        return DoublingEngine(self, batch)

    def batches(self) -> list[int]:
        """The batches of the engines that still hold memory."""
        return sorted(len(engine.inputs["x"]) for engine in self.alive)

    def step(self, runs: int = 1) -> None:
        self._steps.release(runs)

    def use(self, batch: int, values: list[float]) -> None:
        if self.gated:
            assert self._steps.acquire(timeout=10)
        self.runs.append(values)
        self.now += self.costs[batch] / 1e3
        if batch > self.room():
            raise OutOfMemory(f"no room for {batch}")
        if LATE in values:
            raise InferenceTimeout("too long")
        if POISON in values:
            raise InferenceFailed("poisoned")
        if INTERRUPT in values:
            raise KeyboardInterrupt


class DoublingEngine:
    """y = 2 x, one number a frame."""

    def __init__(self, machine: Machine, batch: int) -> None:
        self.providers = (machine.provider,)
        self.inputs: Mapping[str, NDArray[Any]] = {"x": np.zeros((batch, 1), np.float32)}
        self._outputs = {"y": np.zeros((batch, 1), np.float32)}
        self._machine = machine
        machine.alive.add(self)

    def run(self) -> Mapping[str, NDArray[Any]]:
        x = self.inputs["x"]
        self._machine.use(len(x), [float(value) for value in x[:, 0]])
        np.multiply(x, 2, out=self._outputs["y"])
        return self._outputs

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        np.copyto(self.inputs["x"], inputs["x"])
        return self.run()


class Caller(threading.Thread):
    """A stream's thread: asks for each value in turn, and keeps what it got or what was raised."""

    def __init__(self, run: Callable[[float], float], *values: float) -> None:
        super().__init__(daemon=True)
        self.results: list[float] = []
        self.error: BaseException | None = None
        self._run_one, self._values = run, values
        self.start()

    def run(self) -> None:
        try:
            for value in self._values:
                self.results.append(self._run_one(value))
        except BaseException as error:
            self.error = error

    def done(self) -> list[float]:
        self.join(10)
        assert not self.is_alive(), "the stream waits for ever"
        return self.results


def until(true: Callable[[], bool]) -> None:
    """Wait for what other threads are about to bring about."""
    limit = time.monotonic() + 10
    while not true():
        assert time.monotonic() < limit, "it did not come about"
        time.sleep(0.0005)
