"""Where a live output goes, as people write it: one address for each `--to`, read into a table of `[[sinks]]`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from rtseg.errors import ConfigError
from rtseg.places import redact
from rtseg.sinks.codecs import CONTAINERS

STREAMS = ("rtmp", "rtmps", "rtsp", "udp", "tcp")
"""Schemes that the sink "stream" sends to."""
DATAGRAM = 1316
"""Bytes of a datagram: seven packets of MPEG-TS, as all receivers expect, and less than an Ethernet frame."""
_PORTS = {"rtmp": 1935, "rtmps": 443, "rtsp": 554}
_DEVICE = re.compile(r"/dev/video\d+")
_ALLOWED = (
    "rtmp://HOST/APP/KEY, rtsp://HOST/PATH, udp://HOST:PORT, tcp://HOST:PORT, mjpeg:PORT, http://127.0.0.1:PORT/, "
    "camera, /dev/videoN, window, or a file that ends with " + ", ".join(CONTAINERS)
)


def parse_address(text: str) -> dict[str, Any]:
    """The table of `[[sinks]]` that an address stands for, such as {"type": "stream", "url": "udp://..."}.

    Raises ConfigError for what is none, with what there is; passwords are not repeated.
    """
    text = text.strip()
    scheme, colon, rest = text.partition(":")
    if text == "window":
        return {"type": "window"}
    if text == "camera":
        return {"type": "virtual_camera"}
    if _DEVICE.fullmatch(text):
        return {"type": "virtual_camera", "device": text}
    if colon and scheme == "mjpeg":
        return {"type": "mjpeg", "port": _port(rest, text)}
    if "://" in text:
        return _network(text)
    if Path(text).suffix.lower() in CONTAINERS:
        return {"type": "video", "path": text}
    raise ConfigError(f"{text!r} is no output: write {_ALLOWED}")


def split_url(url: str) -> SplitResult:
    """The parts of a stream's address; ConfigError where it has no host, or no port that its scheme needs."""
    shown = redact(url)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"{shown!r} is no address ({error}): write {_ALLOWED}") from error
    if parts.scheme not in STREAMS:
        raise ConfigError(f"{shown!r} begins with {parts.scheme!r}: streams go to {', '.join(STREAMS)}")
    if not parts.hostname:
        raise ConfigError(f"{shown!r} names no host: write for instance {parts.scheme}://127.0.0.1:5000")
    if port is None and parts.scheme not in _PORTS:
        raise ConfigError(f"{shown!r} names no port: write for instance {parts.scheme}://{parts.hostname}:5000")
    if parts.scheme in ("udp", "tcp") and (parts.path or parts.query not in ("", f"pkt_size={DATAGRAM}")):
        raise ConfigError(
            f"{shown!r} has more than a host and a port: FFmpeg's options are not taken, and the other end listens"
        )
    if any(ord(character) <= 32 for character in url):
        raise ConfigError(f"{shown!r} has a space or a control character: write it as %20")
    return parts


def _network(url: str) -> dict[str, Any]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"{redact(url)!r} is no address ({error}): write {_ALLOWED}") from error
    if parts.scheme == "http":
        if parts.path not in ("", "/") or parts.query or not parts.hostname or parts.username is not None:
            raise ConfigError(f"{redact(url)!r} is no MJPEG output: write for instance http://127.0.0.1:8090/")
        return {"type": "mjpeg", "host": parts.hostname, "port": 80 if port is None else port}
    if parts.scheme not in STREAMS:
        raise ConfigError(f"{redact(url)!r} is no output: write {_ALLOWED}")
    split_url(url)
    return {"type": "stream", "url": url}


def _port(digits: str, text: str) -> int:
    if not digits.isascii() or not digits.isdecimal() or int(digits) > 65535:
        raise ConfigError(f"{text!r} names no port: write a number up to 65535, such as mjpeg:8090")
    return int(digits)
