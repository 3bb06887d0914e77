"""Pictures as frames: files and folders of them, in natural order, one broken one not stopping the rest."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from rtseg.errors import ConfigError, SourceNotFound, SourceUnreadable
from rtseg.sources.exif import orientation_in
from rtseg.sources.opening import check_refusal, check_size, decoder_options, open_media, video_of
from rtseg.sources.passing import Passing
from rtseg.sources.planes import UPRIGHT, Orientation, PlaneReader, orientation_of, upright
from rtseg.types import Frame, StreamInfo

_log = logging.getLogger(__name__)

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".gif", ".ppm", ".pgm", ".jp2", ".tga"}
)
"""What is taken from a folder; a file named by itself may end with anything."""

MAX_PIXELS = 50_000_000


class ImageFiles:
    """Frames from picture files; of moving pictures the first.

    paths: files, and folders whose pictures (by `SUFFIXES`, not in subfolders) are taken in natural order: 2 before 10.
    rate: pictures a second, for their timestamps. max_pixels: width x height above which a picture is refused,
    before it is decoded. The orientation of EXIF is applied. Alpha is kept where any pixel is not opaque.

    `frame.index` points into `paths`; files that cannot be used are passed over, counted as broken_images and
    explained in `failures`. A picture of another size begins a new epoch.

    Raises SourceNotFound, ConfigError for folders without pictures, and, in the end, the one file's error, or
    SourceUnreadable, when no picture could be read.
    """

    live = False

    def __init__(
        self, paths: Sequence[str | os.PathLike[str]], *, rate: float = 25, max_pixels: int = MAX_PIXELS
    ) -> None:
        if rate <= 0:
            raise ConfigError(f"rate must be over 0 pictures a second, not {rate}")
        self.paths = picture_files(paths)
        self._rate = Fraction(rate).limit_denominator(1001)
        self._passing = Passing(self._rate)
        self._max_pixels = max_pixels
        self._planes = PlaneReader()

    @property
    def info(self) -> StreamInfo:
        """The number of files and the rate; sizes are not known beforehand."""
        count = len(self.paths)
        return StreamInfo(
            name=self.paths[0].name if count == 1 else f"{count} pictures",
            rate=self._rate,
            frames=count,
            seconds=float(count / self._rate),
            time_base=1 / self._rate,
        )

    @property
    def failures(self) -> dict[Path, str]:
        """The files that could not be used so far, each with the reason."""
        return self._passing.failures

    @property
    def counts(self) -> Mapping[str, int]:
        """Pictures that could not be read so far."""
        return self._passing.counts

    def __iter__(self) -> Iterator[Frame]:
        return self._passing.frames(self.paths, lambda path: path, self.read)

    def close(self) -> None:
        """End the iteration at the next picture."""
        self._passing.closed = True

    def read(self, path: Path) -> Frame:
        """One picture, upright; raises SourceNotFound, SourceUnreadable or SourceTooLarge."""
        with open_media(path, max_pixels=self._max_pixels) as container:
            stream = video_of(container, path)
            check_size(stream, path, self._max_pixels)
            decoded = self._decode(container, stream, path)
            orientation = self._orientation(path, stream.codec_context.name, decoded.rotation)
            planes, colour, alpha = upright(self._planes(decoded), orientation)
        opaque = alpha is None or bool((alpha == 255).all())
        return Frame(planes, colour, alpha=None if opaque else alpha)

    def _decode(self, container: InputContainer, stream: VideoStream, path: Path) -> av.VideoFrame:
        context = stream.codec_context
        context.thread_count = 1
        # What FFmpeg makes of half a JPEG is half green; its TIFF decoder, though, takes good files for bad.
        strict = {"err_detect": "explode"} if context.name == "mjpeg" else {}
        context.options = {**decoder_options(self._max_pixels), **strict}
        try:
            decoded = next(iter(container.decode(stream)), None)
        except (av.error.FFmpegError, OSError, MemoryError) as error:
            check_refusal(error, stream, path, self._max_pixels)
            reason = getattr(error, "strerror", None) or str(error)
            raise SourceUnreadable(f"{path} is a damaged picture: {reason}") from error
        if decoded is None:
            raise SourceUnreadable(f"{path} holds no picture")
        check_size(decoded, path, self._max_pixels)
        return decoded

    def _orientation(self, path: Path, codec: str, angle: int) -> Orientation:
        found = orientation_in(path, codec)
        if found is not None:
            return found
        try:
            return orientation_of(angle)
        except ValueError as error:
            _log.warning("%s: %s is no quarter turn and is ignored", path, error)
            return UPRIGHT


def picture_files(paths: Sequence[str | os.PathLike[str]]) -> tuple[Path, ...]:
    """Files as they are, and the pictures of folders in natural order; ConfigError where there is none."""
    found = tuple(file for path in paths for file in _files(Path(path)))
    if not found:
        folders = ", ".join(map(str, paths)) or "an empty list"
        raise ConfigError(f"no picture in {folders}: pictures end with {', '.join(sorted(SUFFIXES))}")
    return found


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        if not path.exists():
            raise SourceNotFound(f"{path} does not exist: give the path of a picture or a folder of pictures")
        return [path]
    found = (file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
    return sorted(found, key=_natural)


def _natural(path: Path) -> list[tuple[int, str]]:
    """Numbers in names by their value, the rest as text."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if part.isdigit() else (-1, part.lower()) for part in parts]
