"""Pictures from addresses that somebody names: public ones only, looked up once and connected to as looked up.

What an address is is decided after its name was resolved, and the connection goes to that very number, so that a name
which answers differently the second time (DNS rebinding) leads nowhere. Every redirect is judged anew.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import SplitResult, urljoin, urlsplit

from rtseg.errors import ConfigError, SourceError, SourceNotFound, SourceStalled, SourceTooLarge, SourceUnreadable

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_GONE = frozenset({404, 410})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CHUNK = 65536
# Addresses that carry another one which routers or gateways may go to: NAT64 (RFC 6052, RFC 8215).
_CARRIERS = [ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48")]


def is_public(address: Address) -> bool:
    """Whether an address is one of the internet's: not private, loopback, link-local, multicast or reserved."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address.sixtofour or address.teredo or any(address in network for network in _CARRIERS):
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def anywhere(_: Address) -> bool:
    """Every address, also of this machine and its network: only for those who own both."""
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetcher:
    """Gets the bytes behind an http(s) address; all in all within `timeout` seconds and `max_bytes`.

    allowed: which resolved addresses may be connected to. redirects: how many are followed.
    """

    max_bytes: int
    timeout: float = 10.0
    redirects: int = 3
    allowed: Callable[[Address], bool] = is_public

    def __call__(self, url: str) -> bytes:
        """The body.

        Raises ConfigError for an address that may not be fetched, SourceTooLarge for too much, and for a failure there
        SourceNotFound, SourceStalled or SourceUnreadable.
        """
        deadline = time.monotonic() + self.timeout
        for _ in range(self.redirects + 1):
            parts = _split(url)
            try:
                answer = self._get(parts, deadline)
            except (ConfigError, SourceError):
                raise
            except TimeoutError as error:
                raise SourceStalled(f"{_host(parts)} could not be fetched from in {self.timeout:g} s") from error
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise SourceUnreadable(f"{_host(parts)} could not be fetched from") from error
            if isinstance(answer, bytes):
                return answer
            url = urljoin(url, answer)
        raise SourceUnreadable(f"the address redirects more than {self.redirects} times")

    def _get(self, parts: SplitResult, deadline: float) -> bytes | str:
        """The body, or where it has moved to."""
        host, port = _host(parts), parts.port or (443 if parts.scheme == "https" else 80)
        connection = http.client.HTTPConnection(host, port)
        connection.sock = sock = self._connect(host, port, deadline, tls=parts.scheme == "https")
        # A timeout of the socket begins anew with each byte; this one ends whoever drips.
        timer = threading.Timer(_left(deadline), _end, (sock,))
        timer.daemon = True
        timer.start()
        try:
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("GET", target, headers={"Accept": "image/*", "Accept-Encoding": "identity"})
            with connection.getresponse() as response:
                if response.status in _REDIRECTS and (location := response.headers.get("Location")):
                    return location
                if response.status != 200:
                    kind = SourceNotFound if response.status in _GONE else SourceUnreadable
                    raise kind(f"{host} answered {response.status}")
                body = self._read(response)
            _left(deadline)
            return body
        finally:
            timer.cancel()
            sock.close()
            connection.close()

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        if (response.length or 0) > self.max_bytes:
            raise SourceTooLarge(f"the picture has {response.length} bytes: allowed are {self.max_bytes}")
        taken = bytearray()
        while chunk := response.read1(_CHUNK):
            taken += chunk
            if len(taken) > self.max_bytes:
                raise SourceTooLarge(f"the picture has more bytes than the {self.max_bytes} allowed")
        if response.length:
            raise http.client.IncompleteRead(b"", response.length)
        return bytes(taken)

    def _connect(self, host: str, port: int, deadline: float, *, tls: bool) -> socket.socket:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        numbers = {str(entry[4][0]).partition("%")[0] for entry in found}
        if not numbers or not all(self.allowed(ipaddress.ip_address(number)) for number in numbers):
            raise ConfigError(f"{host} is no public address: allowed are http and https addresses of the internet")
        family, kind, protocol, _, address = found[0]
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(_left(deadline))
            sock.connect(address)
            return ssl.create_default_context().wrap_socket(sock, server_hostname=host) if tls else sock
        except BaseException:
            sock.close()
            raise


def _split(url: str) -> SplitResult:
    wrong = ConfigError("that is no address to fetch from: allowed are http:// and https:// without a password")
    if not url.isprintable() or not url.isascii() or " " in url or len(url) > 2048:
        raise wrong
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise wrong from error
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or port == 0:
        raise wrong
    return parts


def _host(parts: SplitResult) -> str:
    return parts.hostname or ""


def _left(deadline: float) -> float:
    if (left := deadline - time.monotonic()) <= 0:
        raise TimeoutError
    return left


def _end(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
