"""What a service is told, and what it refuses to be told."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field

from rtseg.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where the service listens, what it serves, and how much of it.

    models: names or card files; the first answers where a request names none. token: what clients send as
    `Authorization: Bearer TOKEN`; None only on a loopback address. workers: processes, a picture at a time each;
    queue: requests that wait (all others are answered 503 at once). max_bytes, max_pixels: of a picture, before it is
    decoded. timeout: seconds from a request's last byte to its answer; upload_timeout: seconds for its bytes, and for
    its headers. fetch: whether pictures are fetched from public addresses. studio: whether there is the studio
    page, with WebRTC in and out. cameras: that may come by WebRTC at once, at most; fewer where there is no room.

    Raises ConfigError for values that cannot be served.
    """

    models: tuple[str, ...] = ("portrait",)
    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = field(default=None, repr=False)
    workers: int = field(default_factory=lambda: min(4, os.cpu_count() or 1))
    queue: int = 16
    max_bytes: int = 20_000_000
    max_pixels: int = 50_000_000
    timeout: float = 30.0
    upload_timeout: float = 10.0
    fetch: bool = False
    providers: tuple[str, ...] | None = None
    threads: int | None = None
    studio: bool = False
    cameras: int = 8

    def __post_init__(self) -> None:
        if not self.models:
            raise ConfigError("a service needs a model: give --model NAME")
        if not self.token and not self.local:
            raise ConfigError(
                f"--host {self.host} can be reached by others, who then need a token: give --token, or RTSEG_TOKEN in "
                "the environment, or stay on 127.0.0.1"
            )
        if self.token is not None and (len(self.token) < 16 or not self.token.isascii() or " " in self.token):
            raise ConfigError("a token must be 16 or more ASCII characters without spaces: try `openssl rand -hex 24`")
        for name, least in (("workers", 1), ("queue", 0), ("max_bytes", 1), ("max_pixels", 1), ("cameras", 1)):
            if (value := getattr(self, name)) < least:
                raise ConfigError(f"{name} must be {least} or more, not {value}")
        for name in ("timeout", "upload_timeout"):
            if not (value := getattr(self, name)) > 0:
                raise ConfigError(f"{name} must be over 0 seconds, not {value}")

    @property
    def local(self) -> bool:
        """Whether only this machine can reach the service."""
        return is_loopback(self.host)

    @property
    def slots(self) -> int:
        """Requests that may be inside at once, uploads included."""
        return self.workers + self.queue


def is_loopback(host: str) -> bool:
    """Whether a host, as of a URL or a header without its port, is this machine itself by name or number."""
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
