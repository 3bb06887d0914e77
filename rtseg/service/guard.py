"""What stands before every route: who may ask, how many at once, how long, and a line in the log for each.

Plain ASGI, so that a request is refused before anything of its body was read.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rtseg.service.intake import CountedBody, body_limit, drain, too_long
from rtseg.service.logs import log_failure, log_request
from rtseg.service.metrics import Metrics
from rtseg.service.refusals import Refusal, busy, refusal_of
from rtseg.service.settings import Settings, is_loopback
from rtseg.service.turns import Admission, name_of

_OPEN = frozenset({"/health", "/ready"})


@dataclass(eq=False, slots=True)
class _Answer:
    """What was sent, for the log."""

    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    status: int = 0
    size: int = 0


class Guard:
    """Wraps an application.

    Refuses with 403 foreign hosts and origins (without a token a page in a browser must not reach the service,
    also not by DNS rebinding), with 401 what lacks the token (but `/health` and `/ready`), with 503 at once what
    finds no place free, with 413 and 408 bodies that are too long or too slow, and ends what lasts too long.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings, metrics: Metrics) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics
        self._admission = Admission(places=settings.slots, workers=settings.workers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the application's start and end."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._request(scope, receive, send)
        else:
            await self._websocket(scope, receive, send)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The same callers as elsewhere; a handshake that is refused is answered with 403."""
        started, answer = time.perf_counter(), _Answer(status=101)
        try:
            self._check_caller(scope["path"], Headers(scope=scope))
            await self._app(scope, receive, send)
        except Refusal as refusal:
            answer.status = refusal.status
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        finally:
            self._note({**scope, "method": "WEBSOCKET"}, answer, time.perf_counter() - started)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        answer = _Answer()
        scope["state"] = {**scope.get("state", {}), "id": answer.id}

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), *_headers(answer.id)]}
            else:
                answer.size += len(message.get("body", b""))
            await send(message)

        try:
            await self._admit(scope, receive, sending)
        except Exception as error:
            refusal = refusal_of(error)
            if refusal.status == 500:
                log_failure(error, id=answer.id)
            if not answer.status:
                await drain(receive)
                await _refuse(refusal, sending)
        finally:
            self._note(scope, answer, time.perf_counter() - started)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        self._check_caller(scope["path"], headers)
        if scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise Refusal(415, "compressed bodies are not taken: send the picture as it is")
        limit = body_limit(headers.get("content-type", ""), self._settings.max_bytes)
        if (declared := headers.get("content-length", "")).isdecimal() and int(declared) > limit:
            raise too_long(limit)
        try:
            self._admission.enter(client_of(scope))
        except Refusal:
            self._metrics.refused.labels("busy").inc()
            raise
        entered = time.perf_counter()
        self._metrics.inside.set(self._admission.inside)
        body = CountedBody(receive, limit=limit, seconds=self._settings.upload_timeout)
        try:
            # The application has limits of its own for body and work; this one is for who does not read the answer.
            async with asyncio.timeout(2 * self._settings.upload_timeout + self._settings.timeout):
                await self._app(scope, body, send)
        except TimeoutError as error:
            raise busy("the request took too long: try again") from error
        finally:
            self._admission.leave(time.perf_counter() - entered)
            self._metrics.inside.set(self._admission.inside)

    def _check_caller(self, path: str, headers: Headers) -> None:
        settings = self._settings
        if settings.token is None:
            host = _host_of(f"//{headers.get('host', '')}")
            origin = headers.get("origin")
            if host is None or not is_loopback(host):
                self._metrics.refused.labels("host").inc()
                raise Refusal(403, "this service answers only to localhost and its numbers")
            if origin is not None and not is_loopback(_host_of(origin) or ""):
                self._metrics.refused.labels("origin").inc()
                raise Refusal(403, "pages of other origins may not use this service without a token")
        elif path not in _OPEN and not f"{path}/".startswith("/studio/"):  # the page itself asks for the token
            scheme, _, given = headers.get("authorization", "").partition(" ")
            right = hmac.compare_digest(given.strip().encode("latin-1", "replace"), settings.token.encode())
            if scheme.lower() != "bearer" or not right:
                self._metrics.refused.labels("token").inc()
                raise Refusal(401, "send the token as Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"})

    def _note(self, scope: Scope, answer: _Answer, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "other")
        self._metrics.requests.labels(route, _method(scope["method"]), str(answer.status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        client = scope.get("client")
        log_request(
            id=answer.id,
            client=client[0] if client else None,
            method=scope["method"],
            path=scope["path"][:200],  # the query may hold addresses with passwords
            status=answer.status,
            milliseconds=round(1e3 * seconds, 1),
            bytes=answer.size,
        )


def client_of(scope: Scope) -> str:
    """Under which name a request's turns are counted."""
    client = scope.get("client")
    return name_of(client[0] if client else None)


def _headers(number: str) -> Iterable[tuple[bytes, bytes]]:
    yield b"x-request-id", number.encode()
    yield b"x-content-type-options", b"nosniff"
    yield b"cache-control", b"no-store"


def _host_of(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


def _method(name: str) -> str:
    return name if name in ("GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH") else "other"


async def _refuse(refusal: Refusal, send: Send) -> None:
    body = json.dumps(refusal.body).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *((name.lower().encode(), value.encode()) for name, value in refusal.headers.items()),
    ]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
