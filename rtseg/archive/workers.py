"""Files done by processes of this machine: each process does one after the other, and one that dies takes one file."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from rtseg.archive.tasks import DIED, Result, Task, work


@dataclass(frozen=True, slots=True)
class Finished:
    """A task with how it went; `task.folder` is where its outputs are."""

    task: Task
    result: Result


class Workers(Protocol):
    """Whoever does files: processes here, or a cluster."""

    @property
    def room(self) -> int:
        """How many more files may be begun now."""
        ...

    def begin(self, task: Task, /) -> None:
        """Begin a file."""

    def wait(self, seconds: float, /) -> list[Finished]:
        """What was finished; waits so long where nothing was."""
        ...

    def frames(self) -> dict[str, int]:
        """How many frames of each file that is being worked on are done."""
        ...

    def close(self) -> None:
        """End what runs, and give everything back."""


class LocalWorkers:
    """Processes, begun when first needed. do: what a process does with a task."""

    def __init__(self, count: int, *, do: Callable[..., Result] = work) -> None:
        self._count, self._do = count, do
        self._made: list[_Worker] = []

    @property
    def room(self) -> int:
        """How many more files may be begun."""
        return self._count - sum(worker.task is not None for worker in self._made)

    def begin(self, task: Task, /) -> None:
        """Give a file to a process that has none."""
        for worker in [worker for worker in self._made if worker.task is None and not worker.alive]:
            worker.end()
            self._made.remove(worker)
        free = next((worker for worker in self._made if worker.task is None), None)
        if free is None:
            free = _Worker(self._do)
            self._made.append(free)
        free.begin(task)

    def wait(self, seconds: float, /) -> list[Finished]:
        """What was finished, waited for so long; a process that died has failed with its file."""
        busy = {worker.ours: worker for worker in self._made if worker.task is not None}
        done: list[Finished] = []
        for ready in wait(list(busy), timeout=seconds):
            worker = busy[ready]  # type: ignore[index]
            task = worker.task
            assert task is not None
            result = worker.hear()
            if result is not None:
                done.append(Finished(task, result))
            if worker.dead:
                worker.end()
                self._made.remove(worker)
        return done

    def frames(self) -> dict[str, int]:
        """How many frames of each file that is being worked on are done."""
        return {worker.task.name: worker.frames for worker in self._made if worker.task is not None}

    def close(self) -> None:
        """End all processes at once."""
        for worker in self._made:
            worker.end()
        self._made.clear()


class _Worker:
    """A process, and our end of the line to it."""

    def __init__(self, do: Callable[..., Result]) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would have the threads' locks and not the threads
        self.ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, do), name="rtseg-batch", daemon=True)
        self._process.start()
        theirs.close()
        self.task: Task | None = None
        self.frames = 0
        self.dead = False

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def begin(self, task: Task) -> None:
        self.task, self.frames = task, 0
        with contextlib.suppress(OSError):  # it has just died: told by the next look
            self.ours.send(task)

    def hear(self) -> Result | None:
        """One message; the result of the task where it has one."""
        try:
            said = self.ours.recv()
        except (EOFError, OSError):
            self.dead, self.task = True, None
            return Result("failed", DIED, code=1)
        if isinstance(said, int):
            self.frames = said
            return None
        self.task = None
        return said  # type: ignore[no-any-return]

    def end(self) -> None:
        self._process.kill()
        self._process.join(10.0)
        self.ours.close()


def _serve(line: Connection[Any, Any], do: Callable[..., Result]) -> None:
    """What a process does until its parent hangs up or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a whole terminal: the parent decides
    logging.getLogger("rtseg").addHandler(logging.NullHandler())
    threading.Thread(target=_die_with_parent, daemon=True).start()
    while True:
        try:
            task = line.recv()
        except (EOFError, OSError):
            return
        line.send(do(task, line.send))


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
