"""One connection to a stream or a device that PyAV opens: frames until it ends, and nothing about what comes after."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from rtseg.errors import ConfigError, SourceStalled, SourceUnreadable
from rtseg.sources.opening import check_refusal, check_size, decoder_options, video_of
from rtseg.sources.pace import Backlog, Pacer
from rtseg.sources.planes import UPRIGHT, Orientation, PlaneReader, orientation_of, upright
from rtseg.sources.timestamps import Monotonic
from rtseg.types import Frame, Size, StreamInfo

_SLACK = 0.5
"""Seconds that FFmpeg gets beyond a time-out: whoever reads the connection tells it, FFmpeg only lets go."""
_PATIENCE = 0.6
"""Share of the time for opening that a key frame is waited for; streams that refresh in strips have none."""
_RATES = 480


@dataclass(frozen=True, slots=True)
class Address:
    """What FFmpeg opens, its name without credentials, the format (None: what it finds), and FFmpeg's options.

    advice: what to say of an error, by its number. endless: whether what has an end is refused, since it would be
    read as fast as it comes and begun again.
    """

    url: str
    name: str
    format: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    advice: Mapping[int, str] = field(default_factory=dict)
    endless: bool = False


class Connection:
    """Frames of an address that is opened once. Raises SourceError, and ConfigError for a recording where there must
    be a stream; messages have no credentials."""

    live = True

    def __init__(
        self, address: Address, *, open_timeout: float, read_timeout: float, max_pixels: int, threads: int = 1
    ) -> None:
        self._address, self._name, self._max_pixels = address, address.name, max_pixels
        self._counts: Counter[str] = Counter()
        self._closed = threading.Event()
        self._patience = _PATIENCE * open_timeout
        self._planes = PlaneReader()
        try:
            self._container = av.open(
                address.url,
                format=address.format,
                options={**address.options, **decoder_options(max_pixels)},
                timeout=(open_timeout + _SLACK, read_timeout + _SLACK),
                metadata_errors="replace",
            )
        except (av.error.FFmpegError, OSError, ValueError, RuntimeError, MemoryError) as error:
            raise explained(error, address) from None
        try:
            _check_endless(address, self._container)
            self._stream = stream = video_of(self._container, address.name)
            check_size(stream, address.name, max_pixels)
            context = stream.codec_context
            context.thread_count, context.thread_type = threads, "NONE" if threads == 1 else "AUTO"
            context.options = decoder_options(max_pixels)
            self._pacer = Pacer() if self._container.format.name == "hls" else None
            rates = (rate for rate in (stream.average_rate, stream.guessed_rate) if rate and 0 < rate <= _RATES)
            self._time_base = stream.time_base or Fraction(1, 90_000)
            self._info = StreamInfo(
                name=address.name,
                size=Size(stream.width, stream.height) if stream.width else None,
                rate=next(rates, None),
                time_base=self._time_base,
                sample_aspect_ratio=stream.sample_aspect_ratio or None,
            )
        except BaseException:
            self._container.close()
            raise

    @property
    def info(self) -> StreamInfo:
        """What the stream says of itself."""
        return self._info

    @property
    def counts(self) -> Mapping[str, int]:
        """What was lost or repaired on this connection."""
        return {cause: number for cause, number in self._counts.copy().items() if number}

    def close(self) -> None:
        """End the iteration at the next packet; the reading thread closes what is open."""
        self._closed.set()

    def __iter__(self) -> Iterator[Frame]:
        with self._container:
            monotonic = Monotonic(self._time_base, self._info.rate)
            epoch = 0
            size: Size | None = None
            for index, decoded in enumerate(self._decode()):
                pts = monotonic(decoded.pts, decoded.duration or 0, decoded.dts)
                self._counts["repaired_timestamps"] = monotonic.repaired
                if self._pacer is not None:
                    self._closed.wait(self._pacer.wait(float(pts * self._time_base), now=time.monotonic()))
                planes, colour, alpha = upright(self._planes(decoded), _orientation(decoded.rotation))
                shown = Size(planes[0].shape[1], planes[0].shape[0])
                epoch += size not in (None, shown)
                size = shown
                yield Frame(
                    planes,
                    colour,
                    alpha=alpha,
                    index=index,
                    pts=pts,
                    time_base=self._time_base,
                    duration=max(0, decoded.duration or 0),
                    epoch=epoch,
                )

    def _decode(self) -> Iterator[av.VideoFrame]:
        for packet in self._packets():
            try:
                frames = self._stream.codec_context.decode(packet)
            except EOFError:
                return
            except (av.error.FFmpegError, OSError) as error:
                check_refusal(error, self._stream, self._name, self._max_pixels)
                self._counts["corrupt_packets"] += 1
                continue
            for frame in frames:
                check_size(frame, self._name, self._max_pixels)
                self._counts["damaged_frames"] += frame.is_corrupt
                yield frame

    def _packets(self) -> Iterator[Packet[VideoStream]]:
        """Packets from the first key frame on, but those that a slow decoder has no time for."""
        codec = self._stream.codec_context
        intra = codec.codec.intra_only or codec.name == "wrapped_avframe"
        begun, until = False, time.monotonic() + self._patience
        packets, backlog = self._container.demux(self._stream), Backlog()
        while not self._closed.is_set():
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, OSError) as error:
                raise explained(error, self._address) from None
            if packet is None or self._closed.is_set():
                return
            now, key = time.monotonic(), packet.is_keyframe or intra
            begun = begun or key or now > until
            at = None if packet.dts is None or self._pacer is not None else float(packet.dts * self._time_base)
            if not begun or backlog.skips(at, key=key, now=now):
                self._counts["skipped_packets"] += 1
            else:
                yield packet


def _check_endless(address: Address, container: InputContainer) -> None:
    if address.endless and container.duration:
        raise ConfigError(f"{address.name} is a recording, not a live stream: download it and give the file")


def explained(error: Exception, address: Address) -> SourceUnreadable | SourceStalled:
    """What FFmpeg said, without the address, which it repeats with its password."""
    if isinstance(error, av.error.ExitError):
        return SourceStalled(f"{address.name} did not answer in time: is it running and can it be reached?")
    number = getattr(error, "errno", None)
    reason = getattr(error, "strerror", None) or type(error).__name__
    return SourceUnreadable(f"{address.name} cannot be read: {address.advice.get(number or 0, reason)}")


def _orientation(angle: int) -> Orientation:
    try:
        return orientation_of(angle) if angle else UPRIGHT
    except ValueError:
        return UPRIGHT
