"""MPEG-TS over TCP on the loopback: a server that can be silent, stop half-way, flood, change size or its clock."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache
from typing import Any

import av
import numpy as np

RATE = 25


@cache
def clip(
    frames: int = 50, *, size: tuple[int, int] = (160, 96), first: int = 0, gop: int = 10, shift: int = 0
) -> tuple[bytes, ...]:
    """The bytes of MPEG-TS by frame: number i is grey of level 40 + 3 * (first + i) % 200.

    shift: ticks of 1/90000 s on every timestamp.
    """
    pieces: list[bytes] = []
    buffer = io.BytesIO()
    options = {"flush_packets": "1", "pat_period": "0.2"}
    with av.open(buffer, "w", format="mpegts", options=options) as container:
        stream: Any = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.gop_size = gop
        stream.codec_context.options = {"preset": "ultrafast", "tune": "zerolatency", "x264-params": "scenecut=0"}
        stream.codec_context.time_base = Fraction(1, 90_000)
        told = 0
        for i in range(frames):
            picture = np.full((size[1] * 3 // 2, size[0]), 128, np.uint8)
            picture[: size[1]] = 40 + 3 * (first + i) % 200
            frame = av.VideoFrame.from_ndarray(picture, "yuv420p")
            frame.pts, frame.time_base = shift + (first + i) * 90_000 // RATE, Fraction(1, 90_000)
            for packet in stream.encode(frame):
                container.mux(packet)
            pieces.append(buffer.getvalue()[told:])
            told = buffer.tell()
        for packet in stream.encode(None):
            container.mux(packet)
    pieces.append(buffer.getvalue()[told:])
    return tuple(piece for piece in pieces if piece)


@contextlib.contextmanager
def serving(serve: Callable[[socket.socket], None], port: int = 0) -> Iterator[int]:
    """A listener at `port` (0: any) that hands every connection to `serve`, in a thread; the port it has."""
    listener = socket.create_server(("127.0.0.1", port))
    listener.settimeout(0.1)
    ending = threading.Event()
    open_ones: list[socket.socket] = []

    def accept() -> None:
        while not ending.is_set():
            with contextlib.suppress(TimeoutError, OSError):
                connection, _ = listener.accept()
                open_ones.append(connection)
                threading.Thread(target=one, args=(connection,), daemon=True).start()

    def one(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            serve(connection)

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        ending.set()
        thread.join(5)
        listener.close()
        for connection in open_ones:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


def paced(pieces: tuple[bytes, ...], *, rate: float = RATE) -> Callable[[socket.socket], None]:
    """Sends the pieces at that rate, then hangs up."""

    def serve(connection: socket.socket) -> None:
        started = time.monotonic()
        for number, piece in enumerate(pieces):
            time.sleep(max(0.0, started + number / rate - time.monotonic()))
            connection.sendall(piece)

    return serve
