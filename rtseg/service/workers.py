"""The workers as the event loop sees them: started, given jobs in turns, and started anew when one ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from rtseg import errors
from rtseg.errors import EngineError, RtsegError
from rtseg.service.jobs import Answer, Job, pack_job, pack_settings, read_answer, wait_for_answer
from rtseg.service.refusals import busy
from rtseg.service.settings import Settings
from rtseg.service.turns import FairQueue

log = logging.getLogger("rtseg.service")

_GRACE = 5.0
"""Seconds beyond a request's own time after which a worker is taken for stuck: its network ends itself in time."""
_DELAYS = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Before each attempt to start a worker again; the last goes on."""


@dataclass(frozen=True, eq=False, slots=True)
class Started:
    """A worker that is loading or has loaded. end: lets it finish what it does, or not, and waits for its end."""

    sock: socket.socket
    end: Callable[[bool], None]
    pid: int | None = None


Start: TypeAlias = Callable[[Settings], Started]


def start_process(settings: Settings) -> Started:
    """A worker as a process, which knows no token and has nothing of the service open but its socket."""
    ours, theirs = socket.socketpair()
    path = os.pathsep.join(str(Path(each).resolve()) for each in sys.path)
    environment = {name: value for name, value in os.environ.items() if name != "RTSEG_TOKEN"}
    with theirs:
        # -P: the working folder is no place for modules, unless it is one for this process too.
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "rtseg.service.worker", str(theirs.fileno())],
            env={**environment, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
        )
    with contextlib.suppress(OSError):
        ours.sendall(pack_settings(settings))

    def end(gently: bool) -> None:
        ours.close()
        if not gently:
            process.kill()
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    return Started(ours, end, process.pid)


@dataclass(frozen=True, eq=False, slots=True)
class _Ticket:
    """A job and who waits for its answer."""

    job: Job
    answer: asyncio.Future[Answer]


class Workers:
    """As many workers as the settings say, with their models loaded, and one queue in which clients take turns.

    The queue has no bound of its own: who asks counts (`guard.py`), and a job given up before its turn is skipped.
    A worker that ends, or does not answer in its time, is started anew; the job that it had is refused with 503.

    Raises what is wrong with the models: ModelError, EngineError, ConfigError.
    """

    def __init__(self, settings: Settings, start: Start = start_process) -> None:
        self.restarts = 0
        self._settings, self._start = settings, start
        self._queue: FairQueue[_Ticket] = FairQueue()
        self._queued: asyncio.Semaphore | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._alive: list[Started] = []
        self._open = True
        loading = [start(settings) for _ in range(settings.workers)]
        try:
            for started in loading:
                _loaded(started)
        except BaseException:
            for started in loading:
                started.end(False)
            raise
        self._alive.extend(loading)

    @property
    def waiting(self) -> int:
        """Jobs that no worker has begun."""
        return len(self._queue)

    @property
    def alive(self) -> int:
        """Workers that have their models."""
        return len(self._alive)

    @property
    def pids(self) -> list[int]:
        """Of the workers that are processes."""
        return [each.pid for each in self._alive if each.pid is not None]

    def attend(self) -> None:
        """Begin to give out jobs, in the loop that runs."""
        self._queued = asyncio.Semaphore(0)
        self._tasks = [asyncio.create_task(self._keep(started)) for started in self._alive]

    async def run(self, client: str, job: Job) -> Answer:
        """A job's answer; cancelling this before its turn leaves it out."""
        assert self._queued is not None, "attend first"
        ticket = _Ticket(job, asyncio.get_running_loop().create_future())
        self._queue.push(client, ticket)
        self._queued.release()
        return await ticket.answer

    def close(self) -> None:
        """End the workers, when the loop has ended."""
        self._open = False
        for started in self._alive:
            started.end(True)
        self._alive.clear()

    async def _keep(self, started: Started) -> None:
        """One worker for ever, and those that come after it."""
        while True:
            await self._attend(started)
            self._alive.remove(started)
            self.restarts += 1
            log.error("a worker ended and is started anew", extra={"fields": {"restarts": self.restarts}})
            await asyncio.to_thread(started.end, False)
            started = await self._again()

    async def _attend(self, started: Started) -> None:
        """Give it jobs until it ends or is stuck."""
        started.sock.setblocking(False)
        while await self._wanted(started):
            ticket = self._queue.pop()
            if ticket.answer.done():
                continue
            try:
                async with asyncio.timeout(self._settings.timeout + _GRACE):
                    await asyncio.get_running_loop().sock_sendall(started.sock, pack_job(ticket.job))
                    answer = await read_answer(started.sock)
            except (OSError, EOFError, ValueError, TypeError):  # TimeoutError is an OSError
                if not ticket.answer.done():
                    ticket.answer.set_exception(busy("the worker ended on this picture: try again, or another one"))
                return
            if not ticket.answer.done():
                ticket.answer.set_result(answer)

    async def _wanted(self, started: Started) -> bool:
        """Wait for a job; False when the worker ended before one came."""
        assert self._queued is not None
        loop = asyncio.get_running_loop()
        gone: asyncio.Future[None] = loop.create_future()
        loop.add_reader(started.sock, _finish, gone)  # an idle worker says nothing
        job = asyncio.ensure_future(self._queued.acquire())
        try:
            await asyncio.wait((job, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            loop.remove_reader(started.sock)
            if not job.done():
                job.cancel()
        if gone.done() and job.done() and not job.cancelled():
            self._queued.release()
        return not gone.done()

    async def _again(self) -> Started:
        for attempt in range(1_000_000):
            await asyncio.sleep(_DELAYS[min(attempt, len(_DELAYS) - 1)])
            started = self._start(self._settings)
            try:
                await asyncio.to_thread(_loaded, started)
            except Exception:
                log.exception("a worker does not start")
                await asyncio.to_thread(started.end, False)
            except BaseException:
                started.end(False)
                raise
            else:
                self._alive.append(started)
                return started
        raise AssertionError


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _loaded(started: Started) -> None:
    """Wait until its models are loaded; raise what is wrong with them."""
    try:
        answer = wait_for_answer(started.sock)
    except (OSError, EOFError, ValueError, TypeError) as error:
        raise EngineError("a worker ended while it loaded its models: the log has more") from error
    if answer.status == 200:
        return
    said = json.loads(answer.body)
    kind = getattr(errors, str(said["kind"]), None)
    if isinstance(kind, type) and issubclass(kind, RtsegError):
        raise kind(said["error"])
    raise RuntimeError(f"a worker could not load its models:\n{answer.trace}")
