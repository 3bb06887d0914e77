"""Packets of one live video stream into a container, with a silent audio track where a service asks for one."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
from av.audio.frame import AudioFrame
from av.container import OutputContainer
from av.packet import Packet

from rtseg.sinks.live import TICK, Encoded
from rtseg.types import Size

_SOUND, _SAMPLES = 44_100, 1024
"""Samples a second, and in a frame of AAC; FLV has no other rate that all services take."""


class LiveMux:
    """Writes `Encoded` packets into an open container, each at once."""

    def __init__(self, container: OutputContainer, *, size: Size, rate: float, silence: bool) -> None:
        self._container = container
        fps = Fraction(rate).limit_denominator(1001)
        self._video: Any = container.add_mux_stream("h264", fps, width=size.width, height=size.height)
        self._video.time_base = TICK
        self._audio: Any = None
        self._samples = 0
        if silence:
            self._audio = container.add_stream("aac", rate=_SOUND)
            self._audio.codec_context.layout = "stereo"

    def write(self, packet: Encoded) -> None:
        """Write one packet, and silence up to its time."""
        muxed: Packet[Any] = Packet(packet.data)
        muxed.pts, muxed.dts, muxed.time_base, muxed.is_keyframe = packet.pts, packet.dts, TICK, packet.key
        muxed.stream = self._video
        self._container.mux_one(muxed)
        if self._audio is not None:
            self._silence_until(round(packet.pts * TICK * _SOUND))

    def close(self) -> None:
        """Write the trailer."""
        self._container.close()

    def _silence_until(self, samples: int) -> None:
        while self._samples <= samples:
            frame = AudioFrame(format="fltp", layout="stereo", samples=_SAMPLES)
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            frame.sample_rate, frame.pts, frame.time_base = _SOUND, self._samples, Fraction(1, _SOUND)
            self._samples += _SAMPLES
            for packet in self._audio.encode(frame):
                self._container.mux_one(packet)


def open_output(target: Any, format: str, **options: str) -> OutputContainer:  # noqa: A002
    """A container that hands over each packet at once, to an address or to an object with `write`."""
    return av.open(target, "w", format=format, container_options={"flush_packets": "1", **options})
