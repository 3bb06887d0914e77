"""What does not end by itself: events and records, pictures one after the other, for as long as a client reads them.

A client gets the newest and nothing older: what was made while it was still reading is left out, and counted. Reading
and encoding are done in threads; the event loop only passes bytes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from rtseg.live.fleet import Watch
from rtseg.live.slate import slate
from rtseg.places import redact
from rtseg.service.fleet import Streams
from rtseg.service.pictures import write_picture
from rtseg.service.refusals import Refusal, busy
from rtseg.sinks.records import record
from rtseg.types import Output, Size

T = TypeVar("T")
Part = tuple[Literal["event", "record"], str | None, dict[str, Any]]
"""What it is, its id if it has one, and what it says."""

CLIENTS = 24
"""Feeds at once; each may hold a thread."""
_LOOK = 0.2
"""Seconds between two looks whether there are events, or whether the service is leaving."""
_ALIVE = 5.0
"""Seconds of silence after which a client is told that the feed lives, so that a dead connection shows."""
_STUCK = 20.0
"""Seconds in which a client must take what was sent."""
_FIRST = 3.0
"""Seconds until a stream that slept must have given a picture."""
_BOUNDARY = "rtseg-frame"


class Feeds:
    """Feeds of a service's streams. leaving: whether they should end."""

    def __init__(self, streams: Streams, leaving: Callable[[], bool], *, most: int = CLIENTS) -> None:
        self.streams, self.leaving, self.most = streams, leaving, most
        self.clients = 0
        self._pool = ThreadPoolExecutor(most, "rtseg-feed")

    @contextmanager
    def place(self) -> Iterator[None]:
        """A client's place; Refusal 503 where there is none."""
        if self.clients >= self.most:
            raise busy(f"{self.most} clients are reading already, which is the most")
        self.clients += 1
        try:
            yield
        finally:
            self.clients -= 1

    async def call(self, work: Callable[..., T], *arguments: Any) -> T:
        """Blocking work of a feed, in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, functools.partial(work, *arguments))

    async def snapshot(self, name: str) -> bytes:
        """The stream's next picture as JPEG; Refusal 404, and 503 where it gives none."""
        with self.place():
            async with self._watching(name) as watch:
                try:
                    output = await self.call(watch.next, _FIRST)
                except KeyError as error:
                    raise _gone() from error
                if output is None:
                    raise busy("the stream gives no picture now")
                return await self.call(write_picture, output.picture, "jpeg")

    async def pictures(self, name: str, *, rate: float, limit: int | None) -> AsyncIterator[bytes]:
        """Parts of multipart/x-mixed-replace; a slate where no picture came for a second, never an old picture."""
        size, given, due = Size(640, 360), 0, 0.0
        async with self._watching(name) as watch:
            while not self.leaving() and (limit is None or given < limit):
                began = time.monotonic()
                try:
                    output = await self.call(watch.next, 1.0)
                except KeyError:  # the stream was removed
                    return
                if output is not None:
                    size, due = output.picture.size, 0.0
                    jpeg = await self.call(write_picture, output.picture, "jpeg")
                elif began >= due:
                    due = began + _ALIVE
                    jpeg = await self.call(lambda size=size: write_picture(slate(size, "rtseg: no picture"), "jpeg"))
                else:
                    continue
                given += 1
                head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                yield head.encode() + jpeg + b"\r\n"
                await asyncio.sleep(max(0.0, 1 / rate - (time.monotonic() - began)))

    async def parts(
        self, name: str, *, records: bool, rate: float, last: str | None, limit: int | None
    ) -> AsyncIterator[Part | None]:
        """Events after `last`, and records of the newest frames; None where the client should hear that it is alive."""
        journal, given, told, due = self.streams.journal, 0, time.monotonic(), 0.0
        last, counted = journal.last if last is None else last, 0
        async with contextlib.AsyncExitStack() as stack:
            watch = await stack.enter_async_context(self._watching(name)) if records else None
            while not self.leaving():
                fresh: list[Part] = []
                gone = False
                for event in journal.after(last, name):
                    last, gone = event.id, event.after == "removed"
                    fresh.append(("event", event.id, event.model_dump()))
                if watch is None or (early := due - time.monotonic()) > _LOOK:
                    await asyncio.sleep(_LOOK)
                else:
                    await asyncio.sleep(max(0.0, early))
                    if (output := await self._next(watch, _LOOK)) is not None:
                        due = time.monotonic() + 1 / rate
                        said = await self.call(record, output)
                        fresh.append(("record", None, {**said, "skipped": watch.skipped - counted}))
                        counted = watch.skipped
                for part in fresh:
                    yield part
                    told, given = time.monotonic(), given + 1
                    if given == limit:
                        return
                if gone:
                    return
                if time.monotonic() - told > _ALIVE:
                    told = time.monotonic()
                    yield None

    async def _next(self, watch: Watch, timeout: float) -> Output | None:
        try:
            return await self.call(watch.next, timeout)
        except KeyError:  # the stream was removed: its last event says so
            await asyncio.sleep(timeout)
            return None

    @contextlib.asynccontextmanager
    async def _watching(self, name: str) -> AsyncIterator[Watch]:
        try:
            watch = await self.call(self.streams.fleet.watch, name)
        except KeyError as error:
            raise _gone() from error
        try:
            yield watch
        finally:
            watch.close()


def _gone() -> Refusal:
    return Refusal(404, "there is no stream of that name")


class Feed(Response):
    """A response that ends when its parts do, when the client leaves, or when it takes nothing for twenty seconds."""

    def __init__(self, feeds: Feeds, parts: AsyncIterator[bytes], media_type: str) -> None:
        super().__init__(media_type=media_type)
        del self.headers["content-length"]
        self._feeds, self._parts = feeds, parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as ASGI has it
        """Send part by part."""
        with self._feeds.place():
            async with contextlib.aclosing(self._parts) as parts:  # type: ignore[type-var]
                first = await anext(parts, b"")  # what is wrong is raised before the answer begins
                sending = asyncio.ensure_future(self._send(first, parts, send))
                await until_first(sending, asyncio.ensure_future(_left(receive)))

    async def _send(self, first: bytes, parts: AsyncIterator[bytes], send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": first, "more_body": True})
        async for part in parts:
            async with asyncio.timeout(_STUCK):
                await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def multipart() -> str:
    """The media type of `Feeds.pictures`."""
    return f"multipart/x-mixed-replace; boundary={_BOUNDARY}"


async def sse(parts: AsyncIterator[Part | None]) -> AsyncIterator[bytes]:
    """As server-sent events, beginning with a comment, so that the client hears at once that it is heard."""
    yield b": rtseg\n\n"
    async with contextlib.aclosing(parts) as others:  # type: ignore[type-var]
        async for part in others:
            yield b": alive\n\n" if part is None else _sse(*part)


def _sse(kind: str, number: str | None, said: dict[str, Any]) -> bytes:
    head = "" if number is None else f"id: {number}\n"
    return f"{head}event: {kind}\ndata: {plain(said)}\n\n".encode()


def plain(said: dict[str, Any]) -> str:
    """JSON on one line, without what may be secret in addresses."""
    return json.dumps(_without_secrets(said), separators=(",", ":"), allow_nan=False)


def _without_secrets(value: Any) -> Any:
    match value:
        case str():
            return redact(value)
        case dict():
            return {key: _without_secrets(inner) for key, inner in value.items()}
        case list():
            return [_without_secrets(inner) for inner in value]
        case _:
            return value


async def until_first(*tasks: asyncio.Future[Any]) -> None:
    """Until one of them ends; the others are ended. Raises what the first raised."""
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for result in ended:
        if isinstance(result, Exception) and not isinstance(result, TimeoutError | OSError):
            raise result


async def _left(receive: Callable[[], Awaitable[Any]]) -> None:
    while (await receive())["type"] not in ("http.disconnect", "websocket.disconnect"):
        continue
