"""Video files, whatever FFmpeg decodes, damaged ones too: frames as the decoder made them, and a count of what is lost."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from rtseg.errors import ConfigError, SourceError, SourceNotFound, SourceTooLarge, SourceUnreadable
from rtseg.ops.arrays import U8
from rtseg.sources.planes import PlaneReader, orientation_of, oriented, to_444
from rtseg.sources.timestamps import Monotonic
from rtseg.types import Frame, Size, StreamInfo

_log = logging.getLogger(__name__)

MAX_PIXELS = 8192 * 8192
# Demuxers that open other files and addresses: a video that was sent by somebody must not choose what is read.
_REFERRING = {"concat", "dash", "hls", "imf", "lavfi", "sdp", "rtsp", "webm_dash_manifest", "applehttp", "vapoursynth"}
_PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"<MPD", b"v=0", b"[playlist]", b"<ASX", b"<smil")
_PATIENCE = 500
"""Errors in a row after which the rest of a file is given up."""


class VideoFile:
    """Frames of a local video file in presentation order, upright, with times that grow.

    start, end: seconds from the beginning of the file; frames from `start` on and before `end`. max_pixels: width x
    height above which a video is refused, before anything is decoded. threads: of the decoder; one costs least CPU.

    The display matrix (quarter turns, mirrors) is applied. `counts`: corrupt_packets, skipped; missing_frames, which
    the file's index promises but its data ends before; repaired_timestamps; ignored_rotations, by other angles.
    Playlists and other files that name further files are refused.

    Raises ConfigError for a cut that holds nothing, SourceNotFound, SourceUnreadable (no video, unknown codec, no frame),
    SourceTooLarge; all but errors in mid-file when it is made, since the first frame is decoded then.
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
        self._max_pixels = max_pixels
        self._container = _open(self._path)
        try:
            self._stream = _video_of(self._container, self._path)
            self._check_size()
            context = self._stream.codec_context
            context.thread_count = threads
            context.thread_type = "NONE" if threads == 1 else "AUTO"
            context.options = {"max_pixels": str(max_pixels)}
            self._planes = PlaneReader()
            self._info = self._describe(start, end)
            self._seek(start)
            self._frames = self._read()
            first = next(self._frames, None)
            if first is None:
                raise self._nothing(start, end)
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

    def _check_size(self) -> None:
        context = self._stream.codec_context
        if context.width * context.height > self._max_pixels:
            raise SourceTooLarge(
                f"{self._path} is {context.width}x{context.height}: allowed are {self._max_pixels} pixels a frame; "
                "scale it down, or raise max_pixels"
            )

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

    def _nothing(self, start: float | None, end: float | None) -> SourceError | ConfigError:
        if start is not None or end is not None:
            return ConfigError(f"no frame of {self._path} is between start {start or 0:g} s and end {end} s")
        damage = f" ({self._counts['corrupt_packets']} corrupt packets)" if self._counts["corrupt_packets"] else ""
        return SourceUnreadable(
            f"{self._path} gives no frame{damage}: it is damaged, encrypted, or only the head of a video"
        )

    def _read(self) -> Iterator[Frame]:
        info = self._info
        assert info.time_base is not None
        half = float(info.time_base) / 2
        monotonic = Monotonic(info.time_base, info.rate)
        index, epoch = 0, 0
        size: Size | None = None
        for decoded in self._decode():
            if self._closed:
                return
            seconds = None if decoded.pts is None else float(decoded.pts * info.time_base)
            if info.start is not None and seconds is not None and seconds < info.start - half:
                continue
            if info.end is not None and seconds is not None and seconds >= info.end - half:
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

    def _upright(self, decoded: av.VideoFrame) -> tuple[tuple[U8, U8, U8], Any, U8 | None]:
        planes, colour, alpha = self._planes(decoded)
        try:
            matrix = orientation_of(decoded)
        except ValueError as error:
            if not self._counts["ignored_rotations"]:
                _log.warning("%s: %s is neither a quarter turn nor a mirror and is ignored", self._path, error)
            self._counts["ignored_rotations"] += 1
            matrix = (1, 0, 0, 1)
        self._turned = matrix[1] != 0
        if matrix == (1, 0, 0, 1):
            return planes, colour, alpha
        y, u, v = planes
        square = u.shape[0] * 2 == y.shape[0] and u.shape[1] * 2 == y.shape[1]
        if not square and u.shape != y.shape:
            y, u, v = to_444(planes)
        turned = (oriented(y, matrix), oriented(u, matrix), oriented(v, matrix))
        return turned, colour, None if alpha is None else oriented(alpha, matrix)

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
            self._check_size()

    def _count_missing(self, seen: int) -> None:
        """An mp4's index lists all its packets: fewer mean that the data was cut off."""
        whole = self._info.start is None and self._info.end is None
        declared = self._stream.frames
        if whole and declared > seen and "mp4" in self._container.format.name.split(","):
            self._counts["missing_frames"] = declared - seen


def _open(path: Path) -> InputContainer:
    if not path.exists():
        raise SourceNotFound(f"{path} does not exist: give the path of a video file")
    if not path.is_file():
        raise SourceUnreadable(f"{path} is no regular file: give the path of a video file")
    try:
        with path.open("rb") as file:
            head = file.read(512).lstrip(b"\xef\xbb\xbf \t\r\n")
    except OSError as error:
        raise SourceUnreadable(f"{path} cannot be read: {error.strerror or error}") from error
    if not head and not path.stat().st_size:
        raise SourceUnreadable(f"{path} is empty: give the path of a video file")
    if head.startswith(_PLAYLISTS) or b"<MPD" in head:
        raise SourceUnreadable(f"{path} is a playlist, which names other files: give the video itself")
    allowed = ",".join(sorted(av.formats_available - _REFERRING))
    try:
        # "file:" keeps a name with a colon from being taken for a protocol.
        return av.open(
            f"file:{path.resolve()}",
            options={"protocol_whitelist": "file,crypto,data", "format_whitelist": allowed},
            metadata_errors="replace",
        )
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SourceUnreadable(f"{path} is no video that FFmpeg can read: {reason}") from error
    except MemoryError as error:
        raise SourceTooLarge(f"{path} asks for more memory than there is") from error


def _video_of(container: InputContainer, path: Path) -> VideoStream:
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        held = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise SourceUnreadable(f"{path} has no video, only {held}: give a file with a video stream")
    best = max(streams, key=lambda s: (bool(s.disposition & Disposition.default), -s.index))
    if best.codec_context is None:
        raise SourceUnreadable(f"{path} has a video of a codec that FFmpeg does not know: convert it to H.264")
    return best
