"""UDP and TCP as files that FFmpeg's muxers write to, with a time-out that holds.

FFmpeg's own protocols are not used: PyAV opens them for writing without a time-out, and holds the interpreter's lock
meanwhile, so that one silent peer would stop every thread of the process.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import sys

from rtseg.sinks.abandoned import within
from rtseg.sinks.addresses import DATAGRAM

_BUFFER = 256 * 1024
"""Bytes that the system may hold back: at 2 Mbit/s a second, so that a viewer who stalls is noticed soon."""


class UdpOut:
    """Sends what is written in datagrams of 1316 bytes; nobody need listen. `flush` sends the rest."""

    def __init__(self, host: str, port: int, *, timeout: float) -> None:
        self.name = f"udp://{host}:{port}"
        family, self._to = _resolve(host, port, socket.SOCK_DGRAM, timeout)
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.settimeout(timeout)
        self._kept = bytearray()
        if ipaddress.ip_address(self._to[0].partition("%")[0]).is_multicast and family == socket.AF_INET:
            self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)

    def write(self, data: bytes) -> int:
        """Send the whole datagrams of what is kept and `data`; OSError for an address that no route leads to."""
        self._kept += data
        while len(self._kept) >= DATAGRAM:
            self._send(DATAGRAM)
        return len(data)

    def flush(self) -> None:
        """Send what is kept."""
        if self._kept:
            self._send(len(self._kept))

    def close(self) -> None:
        """Send what is kept, and close."""
        try:
            self.flush()
        finally:
            self._socket.close()

    def _send(self, size: int) -> None:
        # Unconnected, the system does not report that nobody listens: a receiver may come later.
        self._socket.sendto(self._kept[:size], self._to)
        del self._kept[:size]


class TcpOut:
    """Sends what is written to a peer that listens; TimeoutError when it takes nothing for so many seconds."""

    def __init__(self, host: str, port: int, *, timeout: float) -> None:
        self.name = f"tcp://{host}:{port}"
        family, to = _resolve(host, port, socket.SOCK_STREAM, timeout)
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(timeout)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if sys.platform == "linux":  # a cut cable is noticed when so long nothing was acknowledged
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, max(1, int(timeout * 1000)))
            self._socket.connect(to)
        except BaseException:
            self._socket.close()
            raise

    def write(self, data: bytes) -> int:
        """Send all of `data`."""
        self._socket.sendall(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Say that this is the end, and close."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        self._socket.close()


def _resolve(
    host: str, port: int, kind: socket.SocketKind, timeout: float
) -> tuple[socket.AddressFamily, tuple[str, int]]:
    """The first address of a host; resolvers have time-outs of their own, which are too long."""
    family, _, _, _, address = within(timeout, lambda: socket.getaddrinfo(host, port, type=kind))[0]
    return family, address  # type: ignore[return-value]
