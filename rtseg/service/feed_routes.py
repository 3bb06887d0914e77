"""Routes of feeds: events and records by server-sent events and WebSocket, and pictures."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

from fastapi import FastAPI, Header, Query, WebSocket
from starlette.responses import Response

from rtseg.service.feeds import Feed, Feeds, multipart, plain, sse, until_first
from rtseg.service.fleet import Streams
from rtseg.service.refusals import Refusal
from rtseg.service.streams import ANSWERS, StreamName

_Rate = Annotated[float, Query(gt=0, le=60, description="The most a second.")]
_Limit = Annotated[int | None, Query(ge=1, le=1_000_000, description="End after so many.")]
_Records = Annotated[bool, Query(description="Records of frames too, which keeps the stream awake.")]
_LAST = 64


def add_feeds(app: FastAPI, streams: Streams, leaving: Callable[[], bool]) -> None:
    """The routes around a service's streams."""
    feeds = Feeds(streams, leaving)

    async def check(name: str) -> None:
        await streams.run(streams.fleet.options, name, seconds=10.0, look=True)

    @app.get(
        "/v1/streams/{name}/events",
        tags=["streams"],
        response_class=Response,
        responses={**ANSWERS, 200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
    )
    async def events(
        name: StreamName,
        records: _Records = True,
        rate: _Rate = 10.0,
        limit: _Limit = None,
        last_event_id: Annotated[str | None, Header(max_length=_LAST)] = None,
    ) -> Response:
        """Events of a stream, and records of its newest frames, as server-sent events."""
        await check(name)
        parts = feeds.parts(name, records=records, rate=rate, last=last_event_id, limit=limit)
        return Feed(feeds, sse(parts), "text/event-stream")

    @app.websocket("/v1/streams/{name}/events")
    async def events_by_socket(
        socket: WebSocket,
        name: StreamName,
        records: _Records = True,
        rate: _Rate = 10.0,
        limit: _Limit = None,
        last_event_id: Annotated[str | None, Query(max_length=_LAST)] = None,
    ) -> None:
        try:
            await check(name)
            with feeds.place():
                await socket.accept()
                made = feeds.parts(name, records=records, rate=rate, last=last_event_id, limit=limit)
                async with contextlib.aclosing(made) as parts:  # type: ignore[type-var]
                    sending, gone = asyncio.ensure_future(_send(socket, parts)), asyncio.ensure_future(_gone(socket))
                    await until_first(sending, gone)
        except Refusal as refusal:
            await socket.close(1013 if refusal.status == 503 else 1008, refusal.message[:120])

    @app.get(
        "/v1/streams/{name}/snapshot.jpg",
        tags=["streams"],
        response_class=Response,
        responses={**ANSWERS, 200: {"content": {"image/jpeg": {}}}},
    )
    async def snapshot(name: StreamName) -> Response:
        """The stream's next picture; a stream that slept wakes for it."""
        return Response(await feeds.snapshot(name), media_type="image/jpeg")

    @app.get(
        "/v1/streams/{name}/stream.mjpeg",
        tags=["streams"],
        response_class=Response,
        responses={**ANSWERS, 200: {"content": {"multipart/x-mixed-replace": {}}}},
    )
    async def pictures(name: StreamName, rate: _Rate = 15.0, limit: _Limit = None) -> Response:
        """The stream's pictures, as <img> shows them; it works for as long as somebody looks."""
        await check(name)
        return Feed(feeds, feeds.pictures(name, rate=rate, limit=limit), multipart())


async def _send(socket: WebSocket, parts: AsyncIterator[Any]) -> None:
    async for part in parts:
        async with asyncio.timeout(20):
            if part is None:
                await socket.send_text('{"type":"alive"}')
            else:
                kind, _, said = part
                await socket.send_text(plain({"type": kind, **said}))
    await socket.close()


async def _gone(socket: WebSocket) -> None:
    while (await socket.receive())["type"] != "websocket.disconnect":
        continue
