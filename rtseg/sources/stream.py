"""Live video of the network: RTSP, RTMP, HTTP, HLS, and MPEG-TS over UDP and TCP, opened again for ever."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from rtseg.errors import ConfigError
from rtseg.places import redact
from rtseg.sources.connection import Address, Connection
from rtseg.sources.reconnect import Backoff, LinkChange, Reconnecting

Transport: TypeAlias = Literal["tcp", "udp"]

_MAX_PIXELS = 8192 * 8192
_WEB = "hls,mpegts,mpjpeg,mjpeg,flv,live_flv,mov,matroska,webm,aac,mp3,ac3,eac3,webvtt"
"""What may be in an HTTP stream: no format that names files of this machine."""
_BRIEF = {"analyzeduration": "1"}
"""Look at a stream no longer than it takes to know its codecs. `nobuffer`, which is recommended against delay, throws
away what was looked at, and with it the first key frame."""

SCHEMES: Mapping[str, tuple[str, str, str | None]] = {
    "rtsp": ("rtsp,rtp,udp,tcp", "rtsp", "rtsp"),
    "rtsps": ("rtsps,rtsp,tls,tcp,rtp,srtp,udp", "rtsp", "rtsp"),
    "rtmp": ("rtmp,tcp", "flv,live_flv", "flv"),
    "rtmps": ("rtmps,tls,tcp", "flv,live_flv", "flv"),
    "http": ("http,tcp,crypto", _WEB, None),
    "https": ("https,http,tls,tcp,crypto", _WEB, None),
    "udp": ("udp", "mpegts", "mpegts"),
    "tcp": ("tcp", "mpegts", "mpegts"),
}
"""By scheme: the protocols and the formats that FFmpeg may use, and the format where only one is possible."""


class LiveVideo(Reconnecting):
    """Frames of a network stream, the newest first of all, whatever becomes of the server.

    url: rtsp, rtsps, rtmp, rtmps, http, https (HLS, MJPEG, MPEG-TS), udp or tcp (MPEG-TS). transport: of RTSP's
    media. listen: wait at a tcp address for somebody who sends. max_pixels: width x height above which a stream is
    refused. threads: of the decoder; more delay pictures. The rest is that of `Reconnecting`.

    FFmpeg is held to the protocols and formats of the scheme, and follows no redirect. Names, messages and logs have
    no credentials. Streams that begin in the middle are shown from their first key frame on.

    `counts` has also corrupt_packets, damaged_frames, repaired_timestamps and skipped_packets, before key frames.
    Raises ConfigError for a scheme that there is not, and for a recording (an MP4 on a web server).
    """

    def __init__(
        self,
        url: str,
        *,
        transport: Transport = "tcp",
        listen: bool = False,
        open_timeout: float = 10.0,
        read_timeout: float = 5.0,
        backoff: Backoff | None = None,
        attempts: int | None = None,
        max_pixels: int = _MAX_PIXELS,
        threads: int = 1,
        changed: Callable[[LinkChange], None] | None = None,
    ) -> None:
        address = address_of(url, transport=transport, listen=listen)
        super().__init__(
            partial(
                Connection,
                address,
                open_timeout=open_timeout,
                read_timeout=read_timeout,
                max_pixels=max_pixels,
                threads=threads,
            ),
            name=address.name,
            open_timeout=open_timeout,
            read_timeout=read_timeout,
            backoff=backoff,
            attempts=attempts,
            changed=changed,
        )


def address_of(url: str, *, transport: Transport = "tcp", listen: bool = False) -> Address:
    """What FFmpeg is told about an address; ConfigError for one that it cannot or may not open."""
    scheme, name = url.partition("://")[0].lower(), redact(url)
    if scheme == "srt":
        raise ConfigError(
            f"{name}: SRT is not in this FFmpeg. Let another program take it, as in srt-live-transmit "
            "'srt://...' udp://127.0.0.1:5000, and give udp://127.0.0.1:5000"
        )
    if "://" not in url or scheme not in SCHEMES:
        raise ConfigError(f"{name!r} is no address of a stream: use {', '.join(SCHEMES)}, as in rtsp://HOST/PATH")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigError(f"{name} has a host or port that is none: write {scheme}://HOST:PORT/PATH") from None
    if port is None and scheme in ("udp", "tcp"):
        raise ConfigError(f"{name} has no port: write {scheme}://HOST:PORT")
    if transport not in ("tcp", "udp"):
        raise ConfigError(f"transport must be tcp or udp, not {transport!r}")
    if listen and scheme != "tcp":
        raise ConfigError(f"{name}: only tcp addresses can be listened at; leave listen out")
    protocols, formats, only = SCHEMES[scheme]
    options = {"protocol_whitelist": protocols, "format_whitelist": formats, **_BRIEF}
    match scheme:
        case "rtsp" | "rtsps":
            # The description that comes first says what the codec is: nothing need be looked at.
            options |= {"probesize": "32", "rtsp_transport": transport, "allowed_media_types": "video"}
        case "http" | "https":
            options |= {"max_redirects": "0"}
        case "tcp" if listen:
            url += ("&" if parts.query else "?") + "listen=1"
        case "udp":
            options |= {"overrun_nonfatal": "1", "fifo_size": "50000"}
        case _:
            pass
    return Address(url, name, only, options, endless=scheme in ("http", "https"))
