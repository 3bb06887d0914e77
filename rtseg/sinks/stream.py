"""A live video stream to a server or a viewer: RTMP, RTSP, and MPEG-TS over UDP and TCP."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol, Self

import av

from rtseg.errors import ConfigError, SinkFailed
from rtseg.places import redact
from rtseg.sinks.addresses import split_url
from rtseg.sinks.live import Encoded, LiveEncoder, live_codec
from rtseg.sinks.muxing import LiveMux, open_output
from rtseg.sinks.relay import Job, Relay
from rtseg.sinks.sockets import TcpOut, UdpOut
from rtseg.types import Frame, Output, Size

log = logging.getLogger(__name__)


class _Transport(Protocol):
    def write(self, packet: Encoded, /) -> None: ...
    def close(self) -> None: ...


class Stream:
    """Sends each output's picture as H.264 at the moment it is written.

    url: `rtmp://HOST/APP/KEY`, `rtmps://`, `rtsp://HOST/PATH` (published there: ANNOUNCE and RECORD, over TCP),
    `udp://HOST:PORT` or `tcp://HOST:PORT` (MPEG-TS; the peer listens). codec: text for `parse_codec`, of H.264.
    rate: frames a second, as far as known. silence: an audio track of silence, which some services ask for.
    timeout: seconds that the network may take for one step.

    The connection is made with the first frame, whose size the stream keeps: others are fitted into it with bars.
    Times are those of the clock, and always grow, whatever the frames say. A key frame comes every two seconds.

    Raises ConfigError for an address or a codec that cannot work, and SinkFailed, from then on for every frame, once
    the other end is gone or takes nothing for `timeout` seconds: make a new one to try again. Messages never have
    passwords or keys in them.
    """

    def __init__(
        self, url: str, *, codec: str = "h264", rate: float = 30.0, silence: bool = False, timeout: float = 5.0
    ) -> None:
        split_url(url)
        if not 0 < rate <= 240:
            raise ConfigError(f"rate {rate:g} is no number of frames a second: use 1 to 240, such as 30")
        if not 0 < timeout <= 600:
            raise ConfigError(f"timeout {timeout:g} is no number of seconds that makes sense: use 0.1 to 600")
        self._codec, self._choice = live_codec(codec)
        self._url, self._rate, self._silence, self._timeout = url, rate, silence, timeout
        self._shown = redact(url)
        self.frames = 0
        self._encoder: LiveEncoder | None = None
        self._transport: _Transport | None = None
        self._error: SinkFailed | None = None
        self._closed = False

    def write(self, output: Output, /) -> None:
        """Encode and send `output.picture`."""
        if self._error is not None or self._closed:
            raise self._error or SinkFailed(f"{self._shown} is closed: nothing more can be sent to it")
        self._guarded(lambda: self._send(output.picture))
        self.frames += 1

    def close(self) -> None:
        """Send what is held back and end the stream; SinkFailed where that did not arrive."""
        if self._closed:
            return
        self._closed = True
        transport, self._transport = self._transport, None
        if transport is None:
            return
        try:
            if self._error is None:
                self._guarded(lambda: self._finish(transport))
        finally:
            if self._error is None:
                self._guarded(transport.close)
            else:
                _abandon(transport)

    def _send(self, frame: Frame) -> None:
        if self._encoder is None:
            self._encoder = LiveEncoder(frame, self._codec, self._choice, rate=self._rate)
        packets = self._encoder(frame)
        if self._transport is None:
            self._transport = self._open(self._encoder.size)
        for packet in packets:
            self._transport.write(packet)

    def _finish(self, transport: _Transport) -> None:
        for packet in () if self._encoder is None else self._encoder.finish():
            transport.write(packet)

    def _open(self, size: Size) -> _Transport:
        parts = split_url(self._url)
        if parts.scheme in ("udp", "tcp"):
            assert parts.hostname is not None
            assert parts.port is not None
            out = (UdpOut if parts.scheme == "udp" else TcpOut)(parts.hostname, parts.port, timeout=self._timeout)
            return _TransportStream(out, size, self._rate, silence=self._silence)
        format, options = ("rtsp", {"rtsp_transport": "tcp"}) if parts.scheme == "rtsp" else ("flv", {})  # noqa: A001
        return Relay(Job(self._url, format, options, *size, self._rate, self._silence, self._timeout))

    def _guarded(self, action: Callable[[], object]) -> None:
        try:
            action()
        except (OSError, av.error.FFmpegError) as error:
            if isinstance(error, ConfigError):
                raise
            cause = str(getattr(error, "strerror", None) or error).replace(self._url, self._shown)
            self._error = SinkFailed(
                f"{self._shown} takes no more ({cause}): see whether the server runs and takes this stream"
            )
            transport, self._transport = self._transport, None
            if transport is not None:
                _abandon(transport)
            raise self._error from None  # the cause may name the address with its password

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _TransportStream:
    """MPEG-TS into a socket."""

    def __init__(self, out: UdpOut | TcpOut, size: Size, rate: float, *, silence: bool) -> None:
        self._out = out
        # Tables with every key frame and ten times a second, so that viewers who come later see something soon.
        container = open_output(out, "mpegts", mpegts_flags="+resend_headers+pat_pmt_at_frames", pat_period="0.1")
        self._mux = LiveMux(container, size=size, rate=rate, silence=silence)

    def write(self, packet: Encoded) -> None:
        self._mux.write(packet)
        self._out.flush()

    def close(self) -> None:
        try:
            self._mux.close()
        finally:
            self._out.close()


def _abandon(transport: _Transport) -> None:
    try:
        transport.close()
    except (OSError, av.error.FFmpegError) as error:
        log.debug("closing after an error: %s", type(error).__name__)
