"""Streams on several machines: each an actor of Ray, placed where there is room and begun again where there is some.

An actor is a process: what kills one stream's leaves the others alone, and what leaves a process that died is nothing.
It is begun anew with its options as they are by then, so that a scene that hides the room, or a slate, is hidden from
the first picture on. Networks are shared by the streams of a process only: each actor opens its own.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayError, RayTaskError

from rtseg.errors import ConfigError, InferenceTimeout, Overloaded, RtsegError
from rtseg.live.fleet import LocalFleet, Watch
from rtseg.live.options import StreamOptions
from rtseg.live.stream import StreamStatus
from rtseg.live.streamset import StreamSet
from rtseg.types import Output

log = logging.getLogger("rtseg")

_USUAL = 0.5
"""Cores that a stream is placed by until it was measured."""
_START, _ANSWER, _END = 60.0, 20.0, 10.0
"""Seconds that an actor may take to begin, to answer, and to end."""
_LOOK, _PATIENCE, _STRIKES = 0.5, 1.0, 4
"""Seconds between two looks, and for one of them; after so many without an answer the stream begins elsewhere."""
_SETTLED = 5.0
"""Seconds that Ray may take to give back the cores of a stream that has ended, and to count those of a cluster."""
_WATCHED = 3.0
"""Seconds after the last question for a picture until a stream is no longer watched."""


def connect(address: str) -> bool:
    """Join a Ray cluster, where this process is in none; whether it was in none. ConfigError where none answers."""
    if ray.is_initialized():
        return False
    try:
        if address != "auto":  # Ray itself would try for minutes
            host, _, port = address.rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
        ray.init(address=address, namespace="rtseg", log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError, RayError) as error:
        raise ConfigError(f"ray = {address!r}: no cluster answers there; begin one with `ray start --head`") from error
    return True


class Worker:
    """What runs in an actor: a set of one stream."""

    def __init__(self) -> None:
        self._fleet = LocalFleet(StreamSet(capacity=None))
        self._name = ""
        self._watches: dict[str, tuple[Watch, threading.Lock]] = {}
        self._asked: dict[str, float] = {}
        self._began, self._cpu = time.monotonic(), time.process_time()

    def begin(self, options: StreamOptions) -> StreamStatus:
        """Open the stream; raises what its parts raise."""
        self._fleet.add(options)
        self._name, self._began, self._cpu = options.name, time.monotonic(), time.process_time()
        return self.look()[0]

    def look(self) -> tuple[StreamStatus, float]:
        """How the stream is, and how many cores it has taken on average."""
        for viewer, asked in list(self._asked.items()):
            if time.monotonic() - asked > _WATCHED:
                self.leave(viewer)
        cores = (time.process_time() - self._cpu) / max(time.monotonic() - self._began, 1e-3)
        return self._fleet.list()[self._name], cores

    def change(self, values: Mapping[str, Any]) -> StreamOptions:
        """As `StreamSet.change`."""
        return self._fleet.change(self._name, values)

    def next(self, viewer: str, timeout: float) -> tuple[Output | None, int]:
        """The newest output for a viewer, and how many it has missed."""
        self._asked[viewer] = time.monotonic() + timeout
        if viewer not in self._watches:
            self._watches[viewer] = (self._fleet.watch(self._name), threading.Lock())
        watch, lock = self._watches[viewer]
        with lock:
            return watch.next(timeout), watch.skipped

    def leave(self, viewer: str) -> None:
        """The viewer looks away."""
        self._asked.pop(viewer, None)
        if (known := self._watches.pop(viewer, None)) is not None:
            known[0].close()

    def where(self) -> tuple[str, int]:
        """The node's id, and the process's."""
        return ray.get_runtime_context().get_node_id(), os.getpid()

    def end(self) -> None:
        """Close the stream and its outputs."""
        self._fleet.close()


@dataclass(eq=False)
class _Known:
    """A stream of the cluster. changing: held while it is changed or begun anew."""

    options: StreamOptions
    actor: Any
    status: StreamStatus
    cores: float = _USUAL
    strikes: int = 0
    lost: bool = False
    moves: int = 0
    changing: threading.Lock = field(default_factory=threading.Lock)


class Cluster:
    """The streams of a Ray cluster, as `rtseg.live.fleet.Fleet`. address: "auto", or HOST:PORT of its head.

    Options go to other machines: their paths must lead to the same there. Raises ConfigError where no cluster answers.
    """

    def __init__(self, address: str = "auto") -> None:
        self._ours = connect(address)
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}
        self._opening: set[str] = set()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="rtseg-cluster", daemon=True)
        self._thread.start()

    def add(self, options: StreamOptions) -> object:
        """Begin a stream where there is room; Overloaded where there is none, ConfigError for a name that is taken."""
        name = options.name
        with self._lock:
            if name in self._known or name in self._opening:
                raise ConfigError(f"there is a stream {name!r} already: give another name, or change that one")
            self._opening.add(name)
        try:
            actor, status = _begin(options, options.cpus or _USUAL)
            with self._lock:
                self._known[name] = _Known(options, actor, status, options.cpus or _USUAL)
            return actor
        finally:
            with self._lock:
                self._opening.discard(name)

    def options(self, name: str) -> StreamOptions:
        """What the stream was begun with, and what was changed since."""
        return self._known[name].options

    def list(self) -> dict[str, StreamStatus]:
        """How each was at the last look, half a second ago; "no signal" for one whose node is lost."""
        return {name: known.status for name, known in dict(self._known).items()}

    def change(self, name: str, values: Mapping[str, Any]) -> StreamOptions:
        """As `StreamSet.change`; waits for a stream that is being begun elsewhere."""
        known = self._known[name]
        with known.changing:
            known.options = _ask(known.actor.change.remote(dict(values)))
            known.status = _ask(known.actor.look.remote())[0]
            return known.options

    def remove(self, name: str) -> None:
        """End a stream."""
        with self._lock:
            known = self._known.pop(name)
        _end(known.actor)

    def watch(self, name: str) -> Watch:
        """Look on at a stream, wherever it is by then."""
        self._known[name]
        return _FarWatch(self, name)

    def close(self) -> None:
        """End all streams, and leave the cluster."""
        self._closing.set()
        self._thread.join()
        with self._lock:
            actors = [known.actor for known in self._known.values()]
            self._known.clear()
        threads = [threading.Thread(target=_end, args=(actor,), daemon=True) for actor in actors]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._ours:
            ray.shutdown()

    def actor(self, name: str) -> Any:
        """The actor of a stream; KeyError if there is none."""
        return self._known[name].actor

    def _work(self) -> None:
        while not self._closing.wait(_LOOK):
            known = dict(self._known)
            asked = {each.actor.look.remote(): (name, each) for name, each in known.items() if not each.lost}
            if not asked:
                continue
            ready, _ = ray.wait([*asked], num_returns=len(asked), timeout=_PATIENCE)
            for question, (name, each) in asked.items():
                self._judge(name, each, question if question in ready else None)

    def _judge(self, name: str, known: _Known, answer: Any) -> None:
        if answer is None:
            known.strikes += 1
            why = "it does not answer"
        else:
            try:
                known.status, cores = ray.get(answer)
            except RayActorError:
                known.strikes, why = _STRIKES, "its node or its process is lost"
            except RayError as error:
                known.strikes, why = known.strikes + 1, str(error)
            else:
                known.strikes = 0
                if known.options.cpus is None:
                    known.cores = round(min(max(cores * 1.2, 0.1), 8.0), 2)
                return
        if known.strikes >= _STRIKES:
            known.lost = True
            known.status = replace(known.status, state="no signal", link="lost", fps=0.0, error=why, sinks={})
            log.warning("stream %s: %s; it begins elsewhere", name, why)
            threading.Thread(target=self._move, args=(name, known), name=f"rtseg-move-{name}", daemon=True).start()

    def _move(self, name: str, known: _Known) -> None:
        """Begin the stream anew, until it runs or nobody wants it any more."""
        with known.changing:
            with contextlib.suppress(RayError):
                ray.kill(known.actor)  # one that only did not answer must not go on beside its successor
            while not self._closing.is_set() and self._known.get(name) is known:
                try:
                    known.actor, known.status = _begin(known.options, known.cores)
                except (RtsegError, RayError) as error:
                    known.status = replace(known.status, error=str(error))
                    self._closing.wait(1.0)
                else:
                    known.strikes, known.lost, known.moves = 0, False, known.moves + 1
                    break
            else:
                return
        if self._closing.is_set() or self._known.get(name) is not known:
            _end(known.actor)


class _FarWatch:
    """Asks the actor of a stream for its newest picture."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.skipped = 0
        self._cluster, self._name, self._viewer = cluster, name, os.urandom(8).hex()

    def next(self, timeout: float) -> Output | None:
        """The newest output that was not taken yet; None also while the stream is being begun elsewhere."""
        actor = self._cluster.actor(self._name)
        try:
            output, self.skipped = ray.get(actor.next.remote(self._viewer, timeout), timeout=timeout + _PATIENCE)
        except RayError:
            time.sleep(min(timeout, 0.1))
            return None
        found: Output | None = output
        return found

    def close(self) -> None:
        """Look away."""
        with contextlib.suppress(KeyError, RayError):
            self._cluster.actor(self._name).leave.remote(self._viewer)


def _begin(options: StreamOptions, cores: float) -> tuple[Any, StreamStatus]:
    if (free := _free(cores)) < cores:
        raise Overloaded(f"stream {options.name!r} needs {cores:g} cores: the cluster has {free:g} left; add a node")
    actor = ray.remote(Worker).options(num_cpus=cores, max_concurrency=32, max_restarts=0).remote()
    try:
        return actor, _ask(actor.begin.remote(options), seconds=_START)
    except BaseException as error:
        ray.kill(actor)
        if isinstance(error, InferenceTimeout):
            raise Overloaded(
                f"no node began stream {options.name!r} within {_START:g} s: it needs {cores:g} cores on one"
            ) from error
        raise


def _free(cores: float) -> float:
    """How many cores the cluster has left; waits a while for those of a stream that has just ended to be given back."""
    end = time.monotonic() + _SETTLED
    while (free := float(ray.available_resources().get("CPU", 0.0))) < cores and time.monotonic() < end:
        time.sleep(0.1)
    return free


def _ask(question: Any, *, seconds: float = _ANSWER) -> Any:
    """An actor's answer; what the stream raised there is raised here."""
    try:
        return ray.get(question, timeout=seconds)
    except GetTimeoutError as error:
        raise InferenceTimeout(f"the stream's node did not answer within {seconds:g} s") from error
    except RayTaskError as error:
        raise error.cause from None
    except RayActorError as error:
        raise InferenceTimeout("the stream's node is lost: it begins on another, ask again") from error


def _end(actor: Any) -> None:
    with contextlib.suppress(RayError):
        ray.get(actor.end.remote(), timeout=_END)
    with contextlib.suppress(RayError):
        ray.kill(actor)
