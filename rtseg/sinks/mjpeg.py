"""Pictures over HTTP, one JPEG after the other: what browsers, OBS and Home Assistant take without a plug-in."""

from __future__ import annotations

import logging
import threading
from typing import Self

from rtseg.errors import SinkFailed
from rtseg.sinks.jpeg import JpegEncoder
from rtseg.sinks.web import Newest, PictureServer, check_place
from rtseg.types import Frame, Output

log = logging.getLogger(__name__)


class Mjpeg:
    """Serves each output's picture at `http://HOST:PORT/` (multipart/x-mixed-replace) and `/snapshot.jpg`.

    Only the newest picture is kept, and whoever is slow misses pictures: `write` waits for nobody. A picture is
    encoded once for all, by the first who asks for it, and not at all while nobody does.

    host: an address of this machine; without a token one of loopback, where only programs of this machine and pages of
    its own are answered. token: what all others must send, as `?token=` or `Authorization: Bearer`. port: 0 for a
    free one, which `url` names. clients: how many may watch at once. quality: of JPEG, 1 to 100. timeout: seconds
    after which a client that takes nothing is dropped.

    Raises ConfigError for a place that must not be served, SinkFailed where the port is taken.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 8090,
        token: str | None = None,
        clients: int = 8,
        quality: int = 75,
        timeout: float = 5.0,
    ) -> None:
        check_place(host, port, token=token, clients=clients)
        self.frames = 0
        self._pictures = _Pictures(quality)
        try:
            self._server = PictureServer(
                self._pictures, host=host, port=port, token=token, clients=clients, timeout=timeout
            )
        except OSError as error:
            raise SinkFailed(
                f"{host}:{port} cannot be served ({error.strerror or error}): choose another port, or 0 for a free one"
            ) from error
        log.info("pictures are at %s", self.url)

    @property
    def url(self) -> str:
        """Where the pictures are, without the token."""
        return self._server.url

    @property
    def watching(self) -> int:
        """How many clients watch."""
        return self._server.watching

    @property
    def encoded(self) -> int:
        """How many pictures were encoded."""
        return self._pictures.encoded

    def write(self, output: Output, /) -> None:
        """Make `output.picture` the newest."""
        if self._pictures.ended:
            raise SinkFailed(f"{self.url} is closed: nothing more can be shown there")
        self._pictures.put(output.picture)
        self.frames += 1

    def close(self) -> None:
        """Tell all who watch that this is the end."""
        self._pictures.end()
        self._server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Pictures(Newest):
    """The newest frame, and its JPEG once somebody asked."""

    def __init__(self, quality: int) -> None:
        self.ended = False
        self.encoded = 0
        self._changed = threading.Condition()
        self._encoding = threading.Lock()
        self._encode = JpegEncoder(quality=quality)
        self._frame: Frame | None = None
        self._number = 0
        self._jpeg = (0, b"")

    def put(self, frame: Frame) -> None:
        with self._changed:
            self._frame = frame
            self._number += 1
            self._changed.notify_all()

    def end(self) -> None:
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def after(self, number: int, seconds: float) -> int:
        with self._changed:
            self._changed.wait_for(lambda: self.ended or self._number > number, seconds)
            return self._number

    def jpeg(self) -> tuple[int, bytes]:
        with self._encoding:
            with self._changed:
                frame, number = self._frame, self._number
            if frame is not None and self._jpeg[0] != number:
                self._jpeg = number, self._encode(frame)
                self.encoded += 1
            return self._jpeg
