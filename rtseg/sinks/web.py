"""The HTTP of the sink `mjpeg`: a small server for two addresses, a thread a client, everything bounded."""

from __future__ import annotations

import contextlib
import hmac
import ipaddress
import select
import socket
import threading
import time
from collections.abc import Mapping
from typing import Protocol
from urllib.parse import parse_qs, urlsplit

from rtseg.errors import ConfigError

_HEAD = 8192
"""Bytes of a request at most."""
_BUFFER = 128 * 1024
"""Bytes that the system holds back for a client: one or two pictures, so that a slow one is never far behind."""
_WAITING = 4
"""Connections besides those that watch: requests that are being read, snapshots, refusals."""
_BOUNDARY = "rtseg-picture"


class Newest(Protocol):
    """The newest picture. Numbers begin with 1 and grow; 0 is none yet."""

    ended: bool

    def after(self, number: int, seconds: float) -> int:
        """The newest number, once it is over `number` or all has ended, or after so many seconds."""
        ...

    def jpeg(self) -> tuple[int, bytes]:
        """The newest picture's number and file."""
        ...


class _Refused(Exception):
    def __init__(self, status: str, words: str) -> None:
        super().__init__(words)
        self.status = status


def check_place(host: str, port: int, *, token: str | None, clients: int) -> None:
    """Raise ConfigError for a host that is open to others without a token, and for numbers that are none."""
    if not 0 <= port <= 65535:
        raise ConfigError(f"port {port} is none: use 1 to 65535, or 0 for a free one")
    if not 1 <= clients <= 1000:
        raise ConfigError(f"clients {clients} is no number of clients: use 1 to 1000")
    if token is None and not is_loopback(host):
        raise ConfigError(f"{host} can be reached from other machines: set a token, or serve 127.0.0.1")
    if token is not None and (len(token) < 8 or not token.isascii() or not token.isprintable()):
        raise ConfigError("the token is too short or has odd characters: use 8 or more letters and digits")


def is_loopback(host: str) -> bool:
    """Whether a name or number is this machine and no other; names are not looked up."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class PictureServer:
    """Listens from the moment it is made until `close`; OSError where the port is taken."""

    def __init__(
        self, pictures: Newest, *, host: str, port: int, token: str | None, clients: int, timeout: float
    ) -> None:
        self.watching = 0
        self._pictures, self._token, self._clients, self._timeout = pictures, token, clients, timeout
        self._lock = threading.Lock()
        self._open: dict[socket.socket, threading.Thread] = {}
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=16)
        place, number = self._listener.getsockname()[:2]
        self.url = f"http://[{place}]:{number}/" if family == socket.AF_INET6 else f"http://{place}:{number}/"
        self._accepting = threading.Thread(target=self._accept, name="rtseg-mjpeg", daemon=True)
        self._accepting.start()

    def close(self) -> None:
        """Close all connections and wait a moment for their threads; the pictures must have ended before."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join(2)
        with self._lock:
            clients = list(self._open.items())
        deadline = time.monotonic() + 2
        for client, thread in clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            thread.join(max(0.0, deadline - time.monotonic()))

    def _accept(self) -> None:
        while not self._pictures.ended:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,), name="rtseg-mjpeg-client", daemon=True)
            with self._lock:
                if full := len(self._open) >= self._clients + _WAITING:
                    client.close()  # not even an answer: who floods would get a thread for it
                else:
                    self._open[client] = thread
            if not full:
                thread.start()

    def _serve(self, client: socket.socket) -> None:
        try:
            client.settimeout(self._timeout)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._answer(client)
        except OSError:
            pass  # gone, or too slow: nobody is left to be told
        finally:
            with self._lock:
                self._open.pop(client, None)
            client.close()

    def _answer(self, client: socket.socket) -> None:
        try:
            method, target, headers = _request(client, time.monotonic() + self._timeout)
            self._check(target, headers)
            self._show(client, urlsplit(target).path, head_only=method == "HEAD")
        except _Refused as refusal:
            _send(client, refusal.status, "text/plain; charset=utf-8", f"{refusal}\n".encode())

    def _show(self, client: socket.socket, path: str, *, head_only: bool) -> None:
        match path:
            case "/" | "/stream.mjpg":
                self._stream(client, head_only=head_only)
            case "/snapshot.jpg":
                number, data = self._pictures.jpeg()
                if number == 0:
                    raise _Refused("503 Service Unavailable", "there is no picture yet: try again in a second")
                _send(client, "200 OK", "image/jpeg", data, head_only=head_only)
            case _:
                raise _Refused("404 Not Found", "there are / and /snapshot.jpg")

    def _check(self, target: str, headers: Mapping[str, str]) -> None:
        if self._token is not None:
            scheme, _, given = headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer":
                given = parse_qs(urlsplit(target).query).get("token", [""])[0]
            if not hmac.compare_digest(given.strip().encode(), self._token.encode()):
                raise _Refused("401 Unauthorized", "send the token, as ?token=TOKEN or Authorization: Bearer TOKEN")
            return
        # Without a token a page of somebody else, also one that made its name mean this machine, must see nothing.
        if not is_loopback(_host_of(f"//{headers.get('host', '')}")):
            raise _Refused("403 Forbidden", "this server answers only to localhost and its numbers")
        origin = headers.get("origin")
        if (origin is not None and not is_loopback(_host_of(origin))) or headers.get("sec-fetch-site") == "cross-site":
            raise _Refused("403 Forbidden", "pages of other origins may not see this without a token")

    def _stream(self, client: socket.socket, *, head_only: bool) -> None:
        head = _head("200 OK", f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
        if head_only:
            client.sendall(head + b"\r\n")
            return
        with self._lock:
            if self.watching >= self._clients:
                raise _Refused("503 Service Unavailable", f"{self._clients} watch already: try again later")
            self.watching += 1
        try:
            client.sendall(head + f"\r\n--{_BOUNDARY}\r\n".encode())
            self._parts(client)
        finally:
            with self._lock:
                self.watching -= 1

    def _parts(self, client: socket.socket) -> None:
        shown = 0
        while not self._pictures.ended and not _left(client):
            if self._pictures.after(shown, 0.5) <= shown or self._pictures.ended:
                continue
            shown, data = self._pictures.jpeg()
            head = f"Content-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n".encode()
            # The next boundary at once: browsers show a part only when they have seen its end.
            client.sendall(head + data + f"\r\n--{_BOUNDARY}\r\n".encode())


def _request(client: socket.socket, deadline: float) -> tuple[str, str, dict[str, str]]:
    """Method, target and headers; one deadline for all of it, so that no client can trickle."""
    data = b""
    while b"\r\n\r\n" not in data:
        if len(data) > _HEAD:
            raise _Refused("431 Request Header Fields Too Large", f"send at most {_HEAD} bytes")
        left = deadline - time.monotonic()
        if left <= 0 or not select.select((client,), (), (), left)[0]:
            raise _Refused("408 Request Timeout", "the request did not come in time")
        if not (piece := client.recv(_HEAD)):
            raise ConnectionError("gone before it asked")
        data += piece
    first, *lines = data.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[1].startswith("/") or not words[2].startswith("HTTP/1."):
        raise _Refused("400 Bad Request", "this is no request of HTTP/1.1")
    if words[0] not in ("GET", "HEAD"):
        raise _Refused("405 Method Not Allowed", "use GET")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return words[0], words[1], headers


def _left(client: socket.socket) -> bool:
    if not select.select((client,), (), (), 0)[0]:
        return False
    return not client.recv(4096)


def _host_of(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _head(status: str, kind: str) -> bytes:
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nConnection: close\r\nCache-Control: no-store\r\n"
        "X-Content-Type-Options: nosniff\r\nCross-Origin-Resource-Policy: same-site\r\n"
    ).encode()


def _send(client: socket.socket, status: str, kind: str, body: bytes, *, head_only: bool = False) -> None:
    client.sendall(_head(status, kind) + f"Content-Length: {len(body)}\r\n\r\n".encode() + (b"" if head_only else body))
