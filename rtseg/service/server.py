"""The service on a socket: listening, and leaving when it is told to with everything done that it had taken."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket
from typing import TYPE_CHECKING, Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from rtseg.errors import ConfigError
from rtseg.service.app import Service
from rtseg.service.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger("rtseg.service")

CONNECTIONS = 1000
"""All that may be open at once, idle ones included."""


class _Patience(H11Protocol):
    """uvicorn's protocol, but whoever does not send the whole head of a request in time is hung up on."""

    seconds = 10.0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop()
        elif self._deadline is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(self.seconds, self._hang_up)

    def _stop(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _hang_up(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self.transport.abort()


def listen(settings: Settings) -> socket.socket:
    """A listening socket; port 0 takes a free one. ConfigError for an address that cannot be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((settings.host.strip("[]"), settings.port))
        sock.listen(256)
    except (OSError, OverflowError) as error:
        sock.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"cannot listen on {settings.host}:{settings.port}: {reason}; choose another port") from error
    return sock


def serve(service: Service, sock: socket.socket, *, started: Callable[[], None] = lambda: None) -> None:
    """Answer on `sock` until SIGTERM or SIGINT; what was taken is finished, for as long as a request may last."""
    server = make_server(service)
    server.started_callback = started
    gc.collect()
    gc.freeze()  # what is there now stays: a full collection would stop the loop for its sake
    with contextlib.closing(sock), contextlib.closing(service):
        server.run(sockets=[sock])


class Server(uvicorn.Server):
    """uvicorn's, which tells when it answers, and the service when it leaves."""

    service: Service
    started_callback: Callable[[], None]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        self.service.workers.attend()
        await super().startup(sockets)
        self.started_callback()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take nothing more, finish the rest."""
        self.service.leaving = True
        _log.info("leaving: finishing what was taken")
        if self.service.peers is not None:
            await self.service.peers.close()
        await super().shutdown(sockets)


def make_server(service: Service) -> Server:
    """A server for one service, without a log of its own."""
    settings = service.settings
    patience = type("Patience", (_Patience,), {"seconds": settings.upload_timeout})
    config = uvicorn.Config(
        service.application,
        http=patience,
        ws="websockets-sansio",
        ws_max_size=4096,  # clients say nothing
        ws_max_queue=4,
        ws_ping_interval=10.0,
        ws_ping_timeout=10.0,
        lifespan="off",
        loop="asyncio",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=CONNECTIONS,
        backlog=256,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=int(settings.timeout + settings.upload_timeout) + 1,
        h11_max_incomplete_event_size=16384,
    )
    server = Server(config)
    server.service = service
    server.started_callback = lambda: None
    return server
