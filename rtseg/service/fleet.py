"""Streams as the service has them: what clients wish, held to what they may, done beside the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from rtseg.config import SinkOptions
from rtseg.errors import ConfigError, DependencyMissing, ModelError, Overloaded, RtsegError
from rtseg.live.fleet import Fleet
from rtseg.live.options import StreamOptions
from rtseg.live.scene import Scene
from rtseg.live.stream import StreamStatus
from rtseg.live.streamset import sink_key
from rtseg.places import redact
from rtseg.sections import ModelOptions
from rtseg.service.allow import Allowed
from rtseg.service.journal import Journal, public_name, public_text
from rtseg.service.refusals import Refusal, busy, refusal_of
from rtseg.service.stream_schemas import (
    SceneAnswer,
    SceneChange,
    SinkAnswer,
    StreamAnswer,
    StreamChange,
    StreamList,
    StreamRequest,
    Times,
)
from rtseg.subject import in_words

T = TypeVar("T")
_OPENING = 6
_MOST = 64
"""Streams at once, whoever added them: each has threads, and labels in the metrics."""


class Streams:
    """Streams behind routes. Everything but `run` blocks, and is for threads; it raises Refusal."""

    def __init__(self, fleet: Fleet, allowed: Allowed, *, most: int = _MOST) -> None:
        self.fleet, self.allowed, self.most = fleet, allowed, most
        self.journal = Journal(fleet)
        self._changing: dict[str, threading.Lock] = {}
        # What opens something may take long: so much at once and no more, and looks have threads of their own.
        self._opening = threading.BoundedSemaphore(_OPENING)
        self._pool, self._looks = ThreadPoolExecutor(16, "rtseg-streams"), ThreadPoolExecutor(4, "rtseg-looks")

    async def run(self, work: Callable[..., T], *arguments: Any, seconds: float, look: bool = False) -> T:
        """The work's result from a thread; Refusal 503 where it takes too long, which does not end it.

        look: it only reads, and waits for nothing that changes something.
        """
        pool = self._looks if look else self._pool
        future = asyncio.get_running_loop().run_in_executor(pool, _refusing, work, arguments)
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(future)
        except TimeoutError as error:
            if future.done():
                raise
            future.add_done_callback(lambda done: done.exception())  # nobody else asks for it any more
            raise busy(f"not done within {seconds:g} seconds, and still being done: ask again later") from error

    @property
    def degraded(self) -> bool:
        """Whether a stream has no signal, is closed to view or has failed."""
        return any(status.state in ("no signal", "closed to view", "failed") for status in self.fleet.list().values())

    def close(self) -> None:
        """End all streams: outputs are closed, files whole."""
        self.fleet.close()
        self.journal.close()
        self._pool.shutdown(wait=False)
        self._looks.shutdown(wait=False)

    def all(self) -> StreamList:
        """Every stream."""
        return StreamList(streams=[self._answer(name, status) for name, status in sorted(self.fleet.list().items())])

    def one(self, name: str) -> StreamAnswer:
        """A stream by name."""
        return self._answer(name, self.fleet.list()[name])

    def add(self, wish: StreamRequest) -> StreamAnswer:
        """Begin a stream."""
        self.allowed.adding()
        known = self.fleet.list()
        if wish.name in known:
            raise _taken(wish.name)
        if len(known) >= self.most:
            raise busy(f"there are {self.most} streams already, which is the most")
        sinks = tuple(self._new_sink(to) for to in wish.sinks)
        _once(sinks)
        scene = None if wish.scene is None else Scene(**self._parts(wish.scene))
        model = self.allowed.model(wish.model)
        options = StreamOptions(
            name=wish.name,
            source=self.allowed.source(wish.source),
            loop=wish.loop,
            model=model if wish.preset is None else ModelOptions(name=model, preset=wish.preset),
            scene=scene,
            sinks=sinks,
            rate=wish.rate,
            lowest=wish.lowest,
        )
        try:
            with self._place():
                self.fleet.add(options)
        except ConfigError as error:
            if wish.name in self.fleet.list() and "already" in str(error):
                raise _taken(wish.name) from error
            raise
        return self.one(wish.name)

    def change(self, name: str, wish: StreamChange) -> StreamAnswer:
        """Change parts of a stream."""
        values: dict[str, Any] = wish.model_dump(include=wish.model_fields_set - {"scene"})
        values = {key: value for key, value in values.items() if value is not None or key == "rate"}
        if values:
            self.allowed.adding()
        if "source" in values:
            values["source"] = self.allowed.source(values["source"])
        if "model" in values:
            values["model"] = self.allowed.model(values["model"])
        with self._alone(name):
            if wish.scene is not None:
                scene = self.fleet.list()[name].scene.changed(self._parts(wish.scene))
                values["scene"] = scene.model_dump()
            with self._place() if values.keys() - {"scene"} else contextlib.nullcontext():
                if values:
                    self.fleet.change(name, values)
        return self.one(name)

    def remove(self, name: str) -> None:
        """End a stream."""
        self.allowed.adding()
        self.fleet.remove(name)
        self._changing.pop(name, None)

    def add_sink(self, name: str, to: str) -> StreamAnswer:
        """One more output of a stream."""
        self.allowed.adding()
        fresh = self._new_sink(to)
        with self._alone(name):
            sinks = (*self.fleet.options(name).sinks, fresh)
            _once(sinks)
            if len(sinks) > 8:
                raise Refusal(422, "a stream has at most 8 outputs")
            self.fleet.change(name, {"sinks": sinks})
        return self.one(name)

    def remove_sink(self, name: str, sink: str) -> StreamAnswer:
        """An output less."""
        self.allowed.adding()
        with self._alone(name):
            sinks = self.fleet.options(name).sinks
            kept = tuple(where for where in sinks if _id(sink_key(where)) != sink)
            if len(kept) == len(sinks):
                raise Refusal(404, "the stream has no such output")
            self.fleet.change(name, {"sinks": kept})
        return self.one(name)

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        """A place for what may take long, so that there are always threads for a scene, or a slate."""
        if not self._opening.acquire(blocking=False):
            raise busy(f"{_OPENING} streams are being opened already: try again")
        try:
            yield
        finally:
            self._opening.release()

    def _alone(self, name: str) -> threading.Lock:
        """So that what one client reads and changes is not changed by another in between."""
        self.fleet.options(name)
        return self._changing.setdefault(name, threading.Lock())

    def _parts(self, wish: SceneChange) -> dict[str, Any]:
        parts = wish.model_dump(include=wish.model_fields_set)
        if "background" in parts:
            parts["background"] = self.allowed.background(parts["background"])
        return parts

    def _new_sink(self, to: str) -> str | SinkOptions:
        sink = self.allowed.sink(to)
        for name in self.fleet.list():
            if sink_key(sink) in map(sink_key, self.fleet.options(name).sinks):
                raise Refusal(409, f"the stream {name!r} goes there already")
        return sink

    def _answer(self, name: str, status: StreamStatus) -> StreamAnswer:
        options = self.fleet.options(name)
        scene = status.scene.model_dump()
        shown = self.allowed.shown(scene["background"])
        return StreamAnswer(
            name=name,
            source=_shown_source(options),
            state=status.state,
            link=status.link,
            model=status.model,
            scene=SceneAnswer(**{**scene, "background": shown, "subject": in_words(scene["subject"])}),
            rung=status.rung,
            fps=round(status.fps, 2),
            seconds=round(status.seconds, 3),
            frames_in=status.frames_in,
            frames_out=status.frames_out,
            left_out=status.left_out,
            held=status.held,
            inferred=status.inferred,
            error=None if status.error is None else public_text(status.error),
            counts=dict(status.counts),
            stages={stage: _times(times) for stage, times in status.stages.items()},
            sinks=[
                SinkAnswer(
                    id=_id(key),
                    name=public_name(key),
                    state=sink.state.value,
                    written=sink.written,
                    replaced=sink.replaced,
                    repeated=sink.repeated,
                    opened=sink.opened,
                    error=None if sink.error is None else public_text(sink.error),
                    latency=None if sink.latency is None else _times(sink.latency),
                )
                for key, sink in status.sinks.items()
            ],
        )


def _refusing(work: Callable[..., T], arguments: Iterable[Any]) -> T:
    try:
        return work(*arguments)
    except KeyError as error:
        raise Refusal(404, "there is no stream of that name") from error
    except Overloaded as error:
        raise busy(f"the machine has no room for that stream: {error}") from error
    except (ModelError, DependencyMissing) as error:
        raise Refusal(422, public_text(str(error))) from error
    except RtsegError as error:
        refusal = refusal_of(error)
        raise Refusal(refusal.status, public_text(refusal.message), refusal.headers) from error


def _taken(name: str) -> Refusal:
    return Refusal(409, f"there is a stream {name!r} already: give another name, or change that one")


def _once(sinks: Iterable[str | SinkOptions]) -> None:
    keys = [sink_key(sink) for sink in sinks]
    if len(set(keys)) < len(keys):
        raise Refusal(422, "two outputs go to the same place: name each once")


def _id(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:12]


def _shown_source(options: StreamOptions) -> str:
    source = options.source
    if isinstance(source, str):
        return redact(source) if "://" in source else source.rpartition("/")[2]
    return source.type


def _times(times: Any) -> Times:
    return Times(
        count=times.count,
        mean=round(times.mean, 3),
        p50=round(times.p50, 3),
        p95=round(times.p95, 3),
        p99=round(times.p99, 3),
    )
