"""Writes video files: frames encoded, the input's audio copied beside them, all times kept."""

from __future__ import annotations

import contextlib
import logging
import math
import os
from collections import deque
from collections.abc import Iterable
from fractions import Fraction
from typing import Any, Self, assert_never

import av
from av.codec.context import ThreadType
from av.packet import Packet
from av.video.frame import PictureType
from av.video.stream import VideoStream

from rtseg.errors import ConfigError, SinkError
from rtseg.inference.gate import GATE
from rtseg.sinks.audio import AudioCopy
from rtseg.sinks.codecs import Codec, CodecChoice, Container, choose, container_of, parse_codec
from rtseg.sinks.encoders import check_encoder, encoder_on, threads_for, uploader_of
from rtseg.sinks.files import PartFile
from rtseg.sinks.planes import FULL, H273, LIMITED, Converter
from rtseg.types import Colour, Frame, Output, StreamInfo

log = logging.getLogger(__name__)

# Seconds that a kill can cost, one second in all: held back by the encoder, in a fragment or cluster that is not yet
# on the disk, and in the muxer, which waits for packets of other streams.
_ENCODER, _FRAGMENT, _INTERLEAVE = Fraction(2, 5), Fraction(3, 10), Fraction(1, 10)
_FINEST = 1 << 24
"""Ticks a second at most; the 32 bits of an mp4's sample times overflow with nanoseconds."""
_LATEST = 60
"""A first frame later than so many seconds (a recorder's clock, say) is moved to the beginning."""


class VideoWriter:
    """Encodes each output's picture into a file, and keeps the input's audio, packet for packet.

    path: its ending decides the container: .mp4, .m4v, .mov, .mkv or .webm. codec: a choice, or text for
    `parse_codec`; "auto" goes by the container and by whether the first picture has alpha or is on a device whose own
    encoder works: there it stays, and `notes` say so where it has to leave. info: of the source, for
    the audio (none is copied without it), the cut, the rate and the shape of pixels.

    The file is made at the first frame, as `<path>.part`, and gets its name when closed; without a frame there is
    no file. Killed at any moment, the part can be played but for its last second. After an error it is left where
    something can be played, and removed otherwise.

    Times: every frame keeps its pts to the tick (.mkv and .webm count in milliseconds: rounded there, as are time
    bases finer than 2**-24 s), and the audio its own. All are moved by the same amount, so that the file begins at
    zero, where the source was cut at `info.start` (that moment becomes zero), and where the first frame is earlier
    than zero or later than a minute (that frame becomes zero). Audio ends with the video where the video ended
    early. A pts that does not grow is moved on by a tick.

    Sides are padded to even numbers by repeating the last column and row where the codec needs it (H.264, H.265, AV1);
    pictures of another size than the first are scaled into it with bars.

    Raises ConfigError for a name, codec or option that cannot work, SinkError or DiskFull for what happens later.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        info: StreamInfo | None = None,
        codec: CodecChoice | str = "auto",
        audio: bool = True,
    ) -> None:
        self.frames = 0
        self.notes: list[str] = []
        self._info = StreamInfo("") if info is None else info
        self._choice = parse_codec(codec) if isinstance(codec, str) else codec
        self._container = container_of(path)
        check_encoder(choose(self._choice, self._container))
        self._file = PartFile(path, inputs=(self._info.name, self._info.audio))
        self._with_audio = audio and self._info.audio is not None
        self._encoding: _Encoding | None = None
        self._error: SinkError | None = None
        self._closed = False

    def write(self, output: Output, /) -> None:
        """Encode `output.picture`."""
        if self._error is not None or self._closed:
            raise self._error or SinkError(f"{self._file.path} is closed: nothing more can be written to it")
        try:
            if self._encoding is None:
                self._begin(output.picture)
            else:
                self._encoding.write(output.picture)
        except (OSError, av.error.FFmpegError) as error:
            raise self._fail(error) from error
        self.frames += 1

    def close(self) -> None:
        """Write what the encoder holds back and the rest of the audio, and give the file its name."""
        if self._closed:
            return
        self._closed = True
        if self._encoding is None or self._error is not None:
            return
        try:
            self._encoding.finish()
            self._encoding.close()
        except (OSError, av.error.FFmpegError) as error:
            raise self._fail(error) from error
        self._file.publish()

    def _begin(self, first: Frame) -> None:
        """Write the first frame, by whatever encodes from here on."""
        device, left = first.device, ""
        if device is not None and self._choice.name == "auto":
            codec, left = encoder_on(device.device[0], self._choice, self._container)
            if codec is not None:
                try:
                    self._begin_with(codec, first)
                except (ConfigError, OSError, av.error.FFmpegError) as error:
                    if self._encoding is not None:
                        raise
                    left = f"{codec.name} fails ({error})"
                else:
                    log.info("pictures are encoded on their device, by %s", codec.name)
                    return
        codec = choose(self._choice, self._container, alpha=device is None and first.alpha is not None)
        self._begin_with(codec, first)
        if left:
            self.notes.append(f"pictures left their device to be encoded by {codec.encoder}: {left}")

    def _begin_with(self, codec: Codec, first: Frame) -> None:
        self._encoding = self._open(first, codec)
        try:
            self._encoding.write(first)
        except BaseException:
            if not self._encoding.begun:  # nothing can be played: as if it had never been opened
                self._encoding.abandon()
                self._encoding = None
                self._file.discard()
            raise

    def _open(self, first: Frame, codec: Codec) -> _Encoding:
        audio = None
        if self._with_audio and self._info.audio is not None:
            audio = AudioCopy(self._info.audio, zero=_zero(self._info, first), end=_fraction(self._info.end))
            self.notes = audio.notes
        try:
            return _Encoding(self._file, self._container, codec, self._choice, first, self._info, audio)
        except BaseException:
            if audio is not None:
                audio.close()
            self._file.discard()
            raise

    def _fail(self, error: Exception) -> SinkError:
        """End for good: the part stays where it holds frames."""
        if isinstance(error, SinkError):
            self._error = error
            return error
        if self._encoding is not None:
            self._encoding.abandon()
            if not self._encoding.muxed:
                self._file.discard()
        self._error = self._file.failure(error)
        return self._error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Encoding:
    """One open file: the encoder, the container and the audio, from the first frame to the end."""

    def __init__(
        self,
        file: PartFile,
        container: Container,
        codec: Codec,
        choice: CodecChoice,
        first: Frame,
        info: StreamInfo,
        audio: AudioCopy | None,
    ) -> None:
        self.muxed = 0
        self._tick = first.time_base if first.time_base.denominator <= _FINEST else Fraction(1, 1_000_000)
        self._zero = _zero(info, first)
        self._audio = audio
        self._last = -1
        self._gap = 0
        self._key: int | None = None
        self._durations: deque[tuple[int, int]] = deque()
        self.begun = False
        alpha = first.alpha is not None
        colour = first.colour if codec.full_range else Colour(first.colour.matrix)
        pixels = codec.alpha_format if alpha and codec.alpha_format else codec.format
        self._convert = Converter(first, pixels, even=codec.even, colour=colour, takes=codec.takes)
        if min(self._convert.size) < codec.least:
            raise ConfigError(
                f"{codec.name} needs sides of at least {codec.least} pixels, not {first.size.width}x"
                f"{first.size.height}: use the codec vp9 or h264"
            )
        scale = _movie_timescale(self._tick, () if audio is None else audio.time_bases)
        options = _container_options(container, seekable=not file.direct, movie_timescale=scale)
        self._out = av.open(str(file.part), "w", format=container, container_options=options)
        self._choice, self._codec = choice, codec
        self._gate = contextlib.nullcontext if codec.takes is None else GATE.working
        self._stream = self._add_stream(info, colour)
        if alpha and codec.name == "vp9":
            self._stream.metadata["alpha_mode"] = "1"
        if audio is not None:
            audio.attach(self._out)
        if not self._convert.on_device:
            self._start()

    def write(self, frame: Frame) -> None:
        """Encode and mux one frame, with the audio up to it."""
        picture = self._convert(frame)
        pts = round((frame.pts * frame.time_base - self._zero) / self._tick)
        if pts <= self._last:
            pts = self._last + 1
        if self._last >= 0:
            self._gap = pts - self._last
        duration = round(frame.duration * frame.time_base / self._tick)
        picture.pts, picture.time_base = pts, self._tick
        picture.duration = duration
        self._durations.append((pts, duration or self._gap))
        self._last = pts
        # The next frame, if it is as far away as the last one, would be too late.
        due = self._key is None or (pts + self._gap - self._key) * self._tick > 1
        picture.pict_type = PictureType.I if due else PictureType.NONE
        if due:
            self._key = pts
        with self._gate():
            packets = self._stream.codec_context.encode(picture) if self.begun else self._start(picture)
        self._mux(packets)

    def finish(self) -> None:
        """Write all that is held back."""
        self._mux(self._stream.codec_context.encode(None), last=True)
        if self._audio is not None:
            end = self._zero + (self._last + self._gap) * self._tick
            expected = self._audio.video_seconds
            if self._audio.end is not None:
                expected = self._audio.end if expected is None else min(expected, self._audio.end)
            early = expected is not None and end < expected - 1
            self._copy_audio(end - self._zero if early else None)

    def close(self) -> None:
        """Write the trailer."""
        if self._audio is not None:
            self._audio.close()
        self._out.close()

    def abandon(self) -> None:
        """Close as well as it goes after an error."""
        try:
            self.close()
        except (OSError, av.error.FFmpegError) as error:
            log.debug("closing after an error: %s", error)

    def _mux(self, packets: list[Packet[Any]], *, last: bool = False) -> None:
        end = max((pts + duration for pts, duration in self._durations), default=0)
        for number, packet in enumerate(packets, start=1):
            if packet.dts is not None:
                self._copy_audio(packet.dts * self._tick)
            for _ in range(len(self._durations)):
                pts, duration = self._durations[0]
                self._durations.rotate(-1)
                if pts == packet.pts:
                    self._durations.pop()
                    packet.duration = duration
                    break
            if last and number == len(packets) and packet.pts is not None:
                # FFmpeg ends the edit list with the last fragment, which may lack the picture that is shown last.
                packet.duration = max(packet.duration or 0, end - packet.pts)
            self._out.mux_one(packet)
            self.muxed += 1

    def _copy_audio(self, until: Fraction | None) -> None:
        if self._audio is None:
            return
        for packet in self._audio.until(until):
            try:
                self._out.mux_one(packet)
            except (ValueError, av.error.InvalidDataError) as error:
                self._audio.drop(packet, error)

    def _add_stream(self, info: StreamInfo, colour: Colour) -> VideoStream:
        codec, choice = self._codec, self._choice
        rate = info.rate if info.rate is not None and info.rate > 0 else Fraction(30)
        rate = rate.limit_denominator(1001)
        os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 writes its settings to standard error otherwise
        held_back = max(1, int(rate * _ENCODER))
        options = {**codec.options, **choice.options}
        options = {**codec.options, **codec.delay(held_back, options), **choice.options}
        threads = threads_for(options.pop("threads", None), options, self._convert.size)
        try:
            stream = self._out.add_stream(codec.encoder, rate=rate, options=options, hwaccel=uploader_of(codec))
        except (ValueError, NotImplementedError, av.error.FFmpegError) as error:
            raise ConfigError(f"{codec.name} is not in this FFmpeg ({error}): choose another codec") from error
        assert isinstance(stream, VideoStream)
        context = stream.codec_context
        context.width, context.height = self._convert.size
        context.pix_fmt = "nv12" if context.is_hwaccel else self._convert.pixels
        context.time_base = self._tick
        context.gop_size = max(1, math.ceil(rate))
        context.thread_count = threads
        context.thread_type = ThreadType.SLICE
        context.colorspace, context.color_primaries, context.color_trc = H273[colour.matrix]
        context.color_range = FULL if colour.full_range else LIMITED
        if info.sample_aspect_ratio:
            context.sample_aspect_ratio = info.sample_aspect_ratio
        stream.time_base = Fraction(1, self._tick.denominator)
        return stream

    def _start(self, first: av.VideoFrame | None = None) -> list[Packet[Any]]:
        """Open the encoder and the file; an encoder on a device learns from its first picture which device that is."""
        context, codec, choice = self._stream.codec_context, self._codec, self._choice
        options = dict(context.options)
        packets: list[Packet[Any]] = []
        try:
            if first is None:
                context.open()
            else:
                packets = context.encode(first)
        except (ValueError, av.error.FFmpegError) as error:
            raise ConfigError(f"the encoder {codec.encoder} refuses its options {options}: {error}") from error
        if unknown := [key for key in choice.options if key in context.options]:
            raise ConfigError(
                f"the encoder {codec.encoder} has no option {unknown[0]!r}: "
                f"leave it out (ffmpeg -h encoder={codec.encoder} lists them)"
            )
        self._out.start_encoding()
        self.begun = True
        return packets


def _container_options(container: Container, *, seekable: bool, movie_timescale: int) -> dict[str, str]:
    """What makes a file readable while it grows, and packets of unlike streams wait for each other briefly only."""
    # Audio may begin before zero, with what its decoder throws away: that must not move the video.
    options = {
        "avoid_negative_ts": "disabled",
        "flush_packets": "1",
        "max_interleave_delta": str(round(_INTERLEAVE * 1_000_000)),
    }
    match container:
        case "mp4" | "mov":
            # Fragments while it grows, and an ordinary file once closed. Without delay_moov the fragments have no
            # edit list, and the first pts is lost; edit lists count in ticks of the movie, by default milliseconds.
            flags = "hybrid_fragmented+delay_moov" if seekable else "frag_keyframe+delay_moov+default_base_moof"
            return {
                **options,
                "movflags": flags,
                "frag_duration": str(round(_FRAGMENT * 1_000_000)),
                "movie_timescale": str(movie_timescale),
            }
        case "matroska" | "webm":
            return {**options, "cluster_time_limit": str(round(_FRAGMENT * 1000))}
        case _:
            assert_never(container)


def _movie_timescale(tick: Fraction, others: Iterable[Fraction]) -> int:
    """Ticks a second that all streams can begin on, or the video's alone where that would be too many."""
    scale = tick.denominator
    while scale < 10_000:  # as FFmpeg makes it for the video
        scale *= 2
    shared = math.lcm(scale, *(base.denominator for base in others))
    return shared if shared <= _FINEST else scale


def _zero(info: StreamInfo, first: Frame) -> Fraction:
    """The moment of the input, in seconds, that becomes the file's beginning."""
    begins = first.pts * first.time_base
    if info.start is not None:
        ticks = round(Fraction(info.start) / first.time_base)
        return min(begins, ticks * first.time_base)
    return Fraction(0) if 0 <= begins <= _LATEST else begins


def _fraction(seconds: float | None) -> Fraction | None:
    return None if seconds is None else Fraction(seconds)
