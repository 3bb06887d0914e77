"""Video files, whatever FFmpeg decodes, damaged ones too: frames as decoded, and a count of what is lost."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.codec.context import CodecContext
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from rtseg.errors import ConfigError, SourceUnreadable
from rtseg.sources.damage import frames_cut_off
from rtseg.sources.hardware import Handover, device_picture, downloaded, format_on_device, open_on
from rtseg.sources.mirror import is_mirrored
from rtseg.sources.opening import check_refusal, check_size, decoder_options, video_of
from rtseg.sources.planes import UPRIGHT, Orientation, PlaneReader, colour_of, orientation_of, upright
from rtseg.sources.timestamps import Monotonic
from rtseg.types import Frame, StreamInfo

_log = logging.getLogger(__name__)

MAX_PIXELS = 8192 * 8192
_PATIENCE = 500
"""Errors in a row after which the rest of a file is given up."""
_RATES = 480
"""Frames a second above which a rate is a guess of FFmpeg's at the clock's ticks."""
_STEPS_BACK = (0, 2, 10)
"""Seconds before a start at which a key frame is looked for, before the whole file is read up to it."""


class VideoFile:
    """Frames of a local video file in presentation order, upright, with times that grow.

    start, end: seconds from the beginning of the file; frames from `start` on and before `end`. max_pixels: width x
    height above which a video is refused, before anything is decoded. threads: of the decoder; one costs least CPU.

    hardware: what decodes, "none" (software), "auto" (the first device that works) or a device of FFmpeg's such as
    "cuda". on_device: frames of "cuda" stay there (`Frame.device`), for a network on the same device; NV12 that is
    upright, all else comes to the host. A device that fails hands over to software.

    The display matrix (quarter turns, mirrors) is applied; the alpha of VP8 and VP9 is decoded. Playlists and other
    files that name further files are refused.

    `counts`: corrupt_packets, which were cut short or gave no frame; damaged_frames, shown with their damage;
    missing_frames, behind the end of a file that was cut off; repaired_timestamps; ignored_rotations, by other angles;
    hardware_failures; downloaded, frames of a device that somebody wanted on the host.

    Raises ConfigError for a cut that holds nothing and for unknown hardware, SourceError for hardware that was named
    and does not work, SourceNotFound, SourceUnreadable (no video, unknown codec, no
    frame), SourceTooLarge; all when it is made, since the first frame is decoded then, but SourceTooLarge also for
    frames that grow later.
    """

    live = False

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        start: float | None = None,
        end: float | None = None,
        max_pixels: int = MAX_PIXELS,
        threads: int = 1,
        hardware: str = "none",
        on_device: bool = False,
    ) -> None:
        if start is not None and end is not None and end <= start:
            raise ConfigError(f"end {end:g} s must be after start {start:g} s")
        self._path = Path(path)
        self._max_pixels, self._threads = max_pixels, threads
        self._hardware, self._on_device = hardware, on_device
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._closed = False
        self._planes = PlaneReader()
        self._turns: tuple[int, Orientation] = (0, UPRIGHT)
        self._passed = False
        self._open()
        try:
            self._info = self._describe(start, end)
            self._frames, first = self._begin()
            ratio = self._info.sample_aspect_ratio
            if ratio and self._turns[1][0] == 0:
                ratio = 1 / ratio
            self._info = replace(self._info, size=first.size, sample_aspect_ratio=ratio)
        except BaseException:
            self._close()
            raise
        self._first: Frame | None = first

    @property
    def info(self) -> StreamInfo:
        """What the file says of itself, the size as of the first frame."""
        return self._info

    @property
    def counts(self) -> Mapping[str, int]:
        """What was lost or repaired so far."""
        return {cause: number for cause, number in self._counts.copy().items() if number}

    def __iter__(self) -> Iterator[Frame]:
        try:
            while True:
                with self._lock:  # a container must not be closed while it is read
                    if self._closed:
                        return
                    frame = self._next()
                if frame is None or self._closed:
                    return
                yield frame
        finally:
            self.close()

    def close(self) -> None:
        """End the iteration at the next frame, from any thread."""
        self._closed = True
        if self._lock.acquire(blocking=False):
            self._first, self._frames = None, iter(())  # a generator that waits would keep all this alive
            self._close()
            self._lock.release()

    def _close(self) -> None:
        self._container.close()
        if self._software is not None:
            self._software.close()

    def _next(self) -> Frame | None:
        if self._first is None:
            return next(self._frames, None)
        first, self._first = self._first, None
        return first.arrived_at(time.monotonic())

    def _open(self) -> None:
        opened = open_on(self._path, self._hardware, max_pixels=self._max_pixels, on_device=self._on_device)
        self._container, self._software = opened.container, opened.software
        try:
            self._stream = stream = video_of(self._container, self._path)
            check_size(stream, self._path, self._max_pixels)
            self._decoder = self._decoder_of(stream, opened.device)
            iso = "mp4" in self._container.format.name.split(",")
            self._mirrored = iso and is_mirrored(self._path, stream.id)
            self._turns = (0, orientation_of(0, mirrored=self._mirrored))
        except BaseException:
            self._close()
            raise

    def _decoder_of(self, stream: VideoStream, device: str | None) -> VideoCodecContext | Handover:
        alpha = _decoder_with_alpha(stream)
        context = self._set(alpha or stream.codec_context)
        if device is None or self._software is None:
            return context
        if alpha is not None:
            _log.warning("%s has alpha, which %s leaves out: it is decoded in software", self._path, device)
            return context
        software = self._set(video_of(self._software, self._path).codec_context)
        return Handover(context, software, name=device, counts=self._counts)

    def _set(self, context: VideoCodecContext) -> VideoCodecContext:
        context.thread_count = self._threads
        context.thread_type = "NONE" if self._threads == 1 else "AUTO"
        context.options = decoder_options(self._max_pixels)
        return context

    def _describe(self, start: float | None, end: float | None) -> StreamInfo:
        stream, container = self._stream, self._container
        time_base = stream.time_base or Fraction(1, 90_000)
        rates = (rate for rate in (stream.average_rate, stream.guessed_rate) if rate and 0 < rate <= _RATES)
        seconds = float(stream.duration * time_base) if stream.duration else None
        if seconds is None and container.duration:
            seconds = container.duration / av.time_base
        if start is not None and seconds is not None and start >= seconds:
            raise ConfigError(f"start {start:g} s is past the end of {self._path}, which lasts {seconds:.2f} s")
        begins = (container.start_time or 0) / av.time_base
        return StreamInfo(
            name=self._path.name,
            rate=next(rates, None),
            frames=stream.frames or None,
            seconds=seconds,
            time_base=time_base,
            sample_aspect_ratio=stream.sample_aspect_ratio or None,
            audio=str(self._path.resolve()) if container.streams.audio else None,
            start=None if start is None else begins + start,
            end=None if end is None else begins + end,
        )

    def _begin(self) -> tuple[Iterator[Frame], Frame]:
        """The frames from the start on, and the first of them."""
        start = self._info.start
        if start:
            for back in _STEPS_BACK:
                self._counts.clear()
                try:
                    self._container.seek(math.floor((start - back) * av.time_base))
                except (av.error.FFmpegError, OSError):
                    break
                frames = self._read()
                first = next(frames, None)
                # A frame before the start was decoded, so that none after it was lost in looking for a key frame.
                if first is not None and (self._passed or first.time == start):
                    return frames, first
            self._close()
            self._open()
            self._counts.clear()
        frames = self._read()
        first = next(frames, None)
        if first is not None:
            return frames, first
        if self._passed:
            raise ConfigError(f"no frame of {self._path} is between start and end: choose others")
        damage = f" ({self._counts['corrupt_packets']} corrupt packets)" if self._counts["corrupt_packets"] else ""
        raise SourceUnreadable(
            f"{self._path} gives no frame{damage}: it is damaged, encrypted, or only the head of a video"
        )

    def _read(self) -> Iterator[Frame]:
        """Frames within the cut, from where the container stands."""
        info = self._info
        assert info.time_base is not None
        first, last = _tick(info.start, info.time_base), _tick(info.end, info.time_base)
        monotonic = Monotonic(info.time_base, info.rate)
        self._passed = False
        if isinstance(self._decoder, Handover):
            self._decoder.begin()
        index = epoch = repaired = 0
        size: tuple[int, int] | None = None
        for decoded in self._decode():
            duration = decoded.duration or 0
            pts = monotonic(decoded.pts, duration, decoded.dts)
            if last is not None and pts >= last:
                self._passed = True
                return
            if decoded.is_corrupt:  # before the start, too: what is shown may be built upon it
                self._counts["damaged_frames"] += 1
            if first is not None and pts < first:
                self._passed, repaired = True, monotonic.repaired
                continue
            if monotonic.repaired > repaired:
                self._counts["repaired_timestamps"] += monotonic.repaired - repaired
                repaired = monotonic.repaired
            orientation = self._orientation(decoded.rotation)
            shown = (decoded.height, decoded.width) if orientation[1] else (decoded.width, decoded.height)
            if shown != size:
                epoch += size is not None
                size = shown
            yield self._frame(
                decoded,
                orientation,
                index=index,
                pts=pts,
                time_base=info.time_base,
                epoch=epoch,
                duration=monotonic.step if decoded.pts is None else max(0, duration),
            )
            index += 1

    def _frame(self, decoded: av.VideoFrame, orientation: Orientation, **meta: Any) -> Frame:
        if self._on_device and orientation == UPRIGHT and (planes_format := format_on_device(decoded)) is not None:
            picture = device_picture(decoded, self._counts, format=planes_format)
            if picture is not None:
                return Frame.on_device(picture, colour_of(decoded), **meta)
        planes, colour, alpha = upright(self._planes(downloaded(decoded)), orientation)
        return Frame(planes, colour, alpha=alpha, **meta)

    def _decode(self) -> Iterator[av.VideoFrame]:
        """All frames; what cannot be demuxed or decoded is counted and passed over."""
        packets = self._container.demux(self._stream)
        errors = 0
        while errors < _PATIENCE:
            try:
                packet = next(packets, None)
                if packet is None:
                    break
                frames = self._decoder.decode(packet)
            except EOFError:
                break
            except (av.error.FFmpegError, OSError) as error:
                check_refusal(error, self._stream, self._path, self._max_pixels)
                self._counts["corrupt_packets"] += 1
                errors += 1
                packets = self._container.demux(self._stream)
                continue
            errors = 0
            if packet.is_corrupt:
                self._counts["corrupt_packets"] += 1
            for frame in frames:
                check_size(frame, self._path, self._max_pixels)
                yield frame
        if missing := frames_cut_off(self._path, self._container, self._stream, until=self._info.end):
            self._counts["missing_frames"] = missing

    def _orientation(self, angle: int) -> Orientation:
        if angle != self._turns[0]:
            try:
                self._turns = (angle, orientation_of(angle, mirrored=self._mirrored))
            except ValueError as error:
                if not self._counts["ignored_rotations"]:
                    _log.warning("%s: %s is no quarter turn and is ignored", self._path, error)
                self._counts["ignored_rotations"] += 1
                return UPRIGHT
        return self._turns[1]


def _decoder_with_alpha(stream: VideoStream) -> VideoCodecContext | None:
    """FFmpeg's own VP8 and VP9 decoders leave alpha out; libvpx does not."""
    name = stream.codec_context.name
    if stream.metadata.get("alpha_mode") != "1" or name not in ("vp8", "vp9"):
        return None
    return CodecContext.create("libvpx" if name == "vp8" else "libvpx-vp9", "r")


def _tick(seconds: float | None, time_base: Fraction) -> int | None:
    """The tick at or after a time, half a tick early at most."""
    return None if seconds is None else math.ceil(Fraction(seconds) / time_base - Fraction(1, 2))
