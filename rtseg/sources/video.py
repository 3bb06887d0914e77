"""Video files, whatever FFmpeg decodes, damaged ones too: frames as decoded, and a count of what is lost."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av

from rtseg.errors import ConfigError, SourceUnreadable
from rtseg.sources.opening import check_size, open_media, video_of
from rtseg.sources.planes import Picture, PlaneReader, orientation_of, upright
from rtseg.sources.timestamps import Monotonic
from rtseg.types import Frame, Size, StreamInfo

_log = logging.getLogger(__name__)

MAX_PIXELS = 8192 * 8192
_PATIENCE = 500
"""Errors in a row after which the rest of a file is given up."""


class VideoFile:
    """Frames of a local video file in presentation order, upright, with times that grow.

    start, end: seconds from the beginning of the file; frames from `start` on and before `end`. max_pixels: width x
    height above which a video is refused, before anything is decoded. threads: of the decoder; one costs least CPU.

    The display matrix (quarter turns, mirrors) is applied. `counts`: corrupt_packets, skipped; missing_frames, which
    the file's index promises but its data ends before; repaired_timestamps; ignored_rotations, by other angles.
    Playlists and other files that name further files are refused.

    Raises ConfigError for a cut that holds nothing, SourceNotFound, SourceUnreadable (no video, unknown codec, no
    frame), SourceTooLarge; all but errors in mid-file when it is made, since the first frame is decoded then.
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
    ) -> None:
        if start is not None and end is not None and end <= start:
            raise ConfigError(f"end {end:g} s must be after start {start:g} s")
        self._path = Path(path)
        self._counts: Counter[str] = Counter()
        self._closed = False
        self._turned = False
        self._max_pixels = max_pixels
        self._container = open_media(self._path, max_pixels=max_pixels)
        try:
            self._stream = video_of(self._container, self._path)
            check_size(self._stream, self._path, max_pixels)
            context = self._stream.codec_context
            context.thread_count = threads
            context.thread_type = "NONE" if threads == 1 else "AUTO"
            context.options = {"max_pixels": str(max_pixels)}
            self._planes = PlaneReader()
            self._info = self._describe(start, end)
            self._seek(start)
            self._frames = self._read()
            first = self._begin(start, end)
        except BaseException:
            self._container.close()
            raise
        self._first: Frame | None = first
        ratio = self._info.sample_aspect_ratio
        if self._turned and ratio:
            ratio = 1 / ratio
        self._info = replace(self._info, size=first.size, sample_aspect_ratio=ratio)

    @property
    def info(self) -> StreamInfo:
        """What the file says of itself, the size as of the first frame."""
        return self._info

    @property
    def counts(self) -> Mapping[str, int]:
        """What was lost or repaired so far."""
        return dict(self._counts)

    def __iter__(self) -> Iterator[Frame]:
        first, self._first = self._first, None
        try:
            if first is not None and not self._closed:
                yield replace(first, arrived=time.monotonic())
            yield from self._frames
        finally:
            self._container.close()

    def close(self) -> None:
        """End the iteration at the next frame. What never was iterated is released at once."""
        self._closed = True
        if self._first is not None:
            self._first = None
            self._container.close()

    def _describe(self, start: float | None, end: float | None) -> StreamInfo:
        stream, container = self._stream, self._container
        time_base = stream.time_base or Fraction(1, 90_000)
        rate = stream.average_rate or stream.guessed_rate or None
        seconds = float(stream.duration * time_base) if stream.duration else None
        if seconds is None and container.duration:
            seconds = container.duration / av.time_base
        if start is not None and seconds is not None and start >= seconds:
            raise ConfigError(f"start {start:g} s is past the end of {self._path}, which lasts {seconds:.2f} s")
        begins = (container.start_time or 0) / av.time_base
        return StreamInfo(
            name=self._path.name,
            rate=Fraction(rate) if rate else None,
            frames=stream.frames or None,
            seconds=seconds,
            time_base=time_base,
            sample_aspect_ratio=stream.sample_aspect_ratio or None,
            audio=str(self._path.resolve()) if container.streams.audio else None,
            start=None if start is None else begins + start,
            end=None if end is None else begins + end,
        )

    def _seek(self, start: float | None) -> None:
        if not start or self._info.start is None or self._info.time_base is None:
            return
        try:
            self._container.seek(int(self._info.start / self._info.time_base), stream=self._stream)
        except (av.error.FFmpegError, OSError):
            _log.info("%s cannot seek: it is read from its beginning", self._path)

    def _begin(self, start: float | None, end: float | None) -> Frame:
        if (first := next(self._frames, None)) is not None:
            return first
        if start is not None or end is not None:
            raise ConfigError(f"no frame of {self._path} is between start {start or 0:g} s and end {end} s")
        damage = f" ({self._counts['corrupt_packets']} corrupt packets)" if self._counts["corrupt_packets"] else ""
        raise SourceUnreadable(
            f"{self._path} gives no frame{damage}: it is damaged, encrypted, or only the head of a video"
        )

    def _read(self) -> Iterator[Frame]:
        info = self._info
        assert info.time_base is not None
        tick = float(info.time_base)
        monotonic = Monotonic(info.time_base, info.rate)
        index, epoch = 0, 0
        size: Size | None = None
        for decoded in self._decode():
            if self._closed:
                return
            seconds = None if decoded.pts is None else decoded.pts * tick
            if info.start is not None and seconds is not None and seconds < info.start - tick / 2:
                continue
            if info.end is not None and seconds is not None and seconds >= info.end - tick / 2:
                return
            pts = monotonic(decoded.pts, decoded.duration or 0)
            self._counts["repaired_timestamps"] = monotonic.repaired
            planes, colour, alpha = self._upright(decoded)
            frame = Frame(
                planes,
                colour,
                index=index,
                pts=pts,
                time_base=info.time_base,
                epoch=epoch,
                duration=max(0, decoded.duration or 0),
                alpha=alpha,
            )
            if size is not None and frame.size != size:
                epoch += 1
                frame = replace(frame, epoch=epoch)
            size = frame.size
            index += 1
            yield frame

    def _upright(self, decoded: av.VideoFrame) -> Picture:
        picture = self._planes(decoded)
        try:
            matrix = orientation_of(decoded)
        except ValueError as error:
            if not self._counts["ignored_rotations"]:
                _log.warning("%s: %s is neither a quarter turn nor a mirror and is ignored", self._path, error)
            self._counts["ignored_rotations"] += 1
            return picture
        self._turned = matrix[1] != 0
        return upright(picture, matrix)

    def _decode(self) -> Iterator[av.VideoFrame]:
        """All frames; what cannot be demuxed or decoded is counted and passed over."""
        context = self._stream.codec_context
        packets = self._container.demux(self._stream)
        seen, in_a_row = 0, 0
        while in_a_row < _PATIENCE and not self._closed:
            try:
                packet = next(packets, None)
                if packet is None:
                    break
                seen += packet.size > 0
                frames = context.decode(packet)
                in_a_row = 0
            except EOFError:
                break
            except (av.error.FFmpegError, OSError) as error:
                self._refuse_growth(error)
                self._counts["corrupt_packets"] += 1
                in_a_row += 1
                packets = self._container.demux(self._stream)
                continue
            yield from frames
        self._count_missing(seen)

    def _refuse_growth(self, error: Exception) -> None:
        """A size that grew over the cap in mid-stream is refused by the decoder, as an invalid argument."""
        if isinstance(error, av.error.ArgumentError):
            check_size(self._stream, self._path, self._max_pixels)

    def _count_missing(self, seen: int) -> None:
        """An mp4's index lists all its packets: fewer mean that the data was cut off."""
        whole = self._info.start is None and self._info.end is None
        declared = self._stream.frames
        if whole and declared > seen and "mp4" in self._container.format.name.split(","):
            self._counts["missing_frames"] = declared - seen
