"""Copies the input's audio, packet for packet, beside the video that is being written."""

from __future__ import annotations

import io
import logging
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
from av.audio.stream import AudioStream
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Discard

log = logging.getLogger(__name__)


class AudioCopy:
    """Reads the audio packets of a file in the order of decoding, in time with the video.

    start, end: seconds of the input's own time; packets that begin outside are left out (None: no limit).
    zero: what is taken off all times, in seconds. notes: one sentence for each thing that could not be kept.
    An input that cannot be opened, or has no audio, gives no packets.
    """

    def __init__(self, path: str, *, zero: Fraction = Fraction(0), end: Fraction | None = None) -> None:
        self.path = path
        self.start = zero if zero > 0 else None
        self.end = end
        self.zero = zero
        self.notes: list[str] = []
        self.packets = 0
        self._container: InputContainer | None = None
        self._targets: dict[int, AudioStream] = {}
        self._framings: dict[int, BitStreamFilterContext] = {}
        self._last: dict[int, int] = {}
        self._ahead: deque[Packet[Any]] = deque()
        self._source: Iterator[Packet[Any]] = iter(())
        try:
            self._container = av.open(path, timeout=(10.0, 10.0))
        except (OSError, av.error.FFmpegError, ValueError) as error:
            self._note(f"no audio: {path} cannot be opened a second time ({error})")

    @property
    def video_seconds(self) -> Fraction | None:
        """Where the input's video ends, in its own time, as far as the file says."""
        if self._container is None or not self._container.streams.video:
            return None
        video = self._container.streams.video[0]
        if video.duration and video.time_base:
            return (video.duration + (video.start_time or 0)) * video.time_base
        duration = self._container.duration
        return None if not duration else Fraction(duration + (self._container.start_time or 0), av.time_base)

    @property
    def time_bases(self) -> list[Fraction]:
        """Of each audio stream of the input."""
        return [] if self._container is None else [s.time_base for s in self._container.streams.audio if s.time_base]

    def attach(self, target: OutputContainer) -> None:
        """Give `target` a stream for each audio stream that it can hold; the others are noted."""
        if self._container is None:
            return
        for stream in self._container.streams:
            if not isinstance(stream, AudioStream):
                stream.discard = Discard.all
                continue
            if reason := _refusal(self.path, stream.index, target.format.name):
                self._note(f"audio stream {stream.index} is left out: {reason}; an output ending with .mkv holds most")
                stream.discard = Discard.all
                continue
            copy = target.add_stream_from_template(stream)
            copy.metadata.update(stream.metadata)
            self._targets[stream.index] = copy
            if (framing := _framing(stream, target.format.name)) is not None:
                self._framings[stream.index] = framing
        if self._targets:
            if self.start is not None and self.start > 1:
                self._seek(self.start)
            self._source = self._read()

    def until(self, seconds: Fraction | None) -> Iterator[Packet[Any]]:
        """The packets that are to be decoded before `seconds` of the output's time (None: all the rest)."""
        while self._ahead or self._pull():
            packet = self._ahead[0]
            if seconds is not None and packet.dts is not None and packet.dts * packet.time_base >= seconds:
                return
            self.packets += 1
            yield self._ahead.popleft()

    def drop(self, packet: Packet[Any], reason: object) -> None:
        """Give up the stream of a packet that the container refused."""
        for index, stream in list(self._targets.items()):
            if stream.index == packet.stream_index:
                del self._targets[index]
                self._ahead = deque(p for p in self._ahead if p.stream_index != stream.index)
                self._note(f"audio stream {index} ends early: the container refused a packet ({reason})")

    def detach(self) -> None:
        """Stop copying: nothing more comes."""
        self._targets.clear()
        self._ahead.clear()
        self._source = iter(())

    def close(self) -> None:
        """Close the input; notes and counts stay."""
        self.detach()
        if self._container is not None:
            self._container.close()
            self._container = None

    def _pull(self) -> bool:
        packet = next(self._source, None)
        if packet is None:
            return False
        self._ahead.append(packet)
        return True

    def _read(self) -> Iterator[Packet[Any]]:
        assert self._container is not None
        streams = [self._container.streams[index] for index in self._targets]
        packets = self._container.demux(streams)
        while self._targets:
            try:
                packet = next(packets, None)
            except av.error.FFmpegError as error:
                self._note(f"audio ends early: {self.path} is damaged ({error})")
                return
            if packet is None:
                return
            index = packet.stream_index
            if packet.dts is None or index not in self._targets:  # the last, empty packet of a stream
                continue
            time = (packet.pts if packet.pts is not None else packet.dts) * packet.time_base
            if self.start is not None and time < self.start:
                continue
            if self.end is not None and time >= self.end:
                continue
            for framed in [packet] if index not in self._framings else self._framings[index].filter(packet):
                self._shift(framed, index)
                framed.stream = self._targets[index]
                yield framed

    def _shift(self, packet: Packet[Any], index: int) -> None:
        ticks = round(self.zero / packet.time_base)
        assert packet.dts is not None
        dts = packet.dts - ticks
        if dts <= self._last.get(index, dts - 1):  # containers refuse times that do not grow
            dts = self._last[index] + 1
        self._last[index] = dts
        packet.pts = max(dts, (packet.pts if packet.pts is not None else packet.dts) - ticks)
        packet.dts = dts

    def _seek(self, seconds: Fraction) -> None:
        assert self._container is not None
        try:
            self._container.seek(int((seconds - 1) * av.time_base))
        except (OSError, av.error.FFmpegError):
            log.debug("%s cannot seek: its audio is read from the beginning", self.path)

    def _note(self, text: str) -> None:
        self.notes.append(text)
        log.warning("%s", text)


def _framing(stream: AudioStream, container: str) -> BitStreamFilterContext | None:
    """What turns AAC as in MPEG-TS, with a header on each packet, into AAC as in mp4."""
    plain = stream.codec_context.name != "aac" or stream.codec_context.extradata
    return None if plain or container not in ("mp4", "mov") else BitStreamFilterContext("aac_adtstoasc", stream)


def _refusal(path: str, index: int, container: str) -> str | None:
    """Why a container cannot hold an audio stream, by writing its first packet into one in memory; None: it can."""
    name = "it"
    try:
        with av.open(path, timeout=(10.0, 10.0)) as source:
            stream = source.streams[index]
            assert isinstance(stream, AudioStream)
            name = stream.codec_context.name
            options = {"movflags": "hybrid_fragmented+delay_moov"} if container in ("mp4", "mov") else {}
            with av.open(io.BytesIO(), "w", format=container, container_options=options) as trial:
                copy = trial.add_stream_from_template(stream)
                framing = _framing(stream, container)
                first = next((packet for packet in source.demux(stream) if packet.dts is not None), None)
                if first is None:
                    return "it holds nothing"
                for packet in [first] if framing is None else framing.filter(first):
                    packet.stream = copy
                    trial.mux_one(packet)
    except (AttributeError, TypeError, ValueError, OSError, av.error.FFmpegError) as error:
        log.debug("%s in %s: %s", name, container, error)
        return f"{container} cannot hold {name}"
    return None
