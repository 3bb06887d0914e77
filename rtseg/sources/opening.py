"""Opening local media: typed refusals, a cap on the size before anything is decoded, and no way out to other files."""

from __future__ import annotations

from pathlib import Path

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from rtseg.errors import SourceError, SourceNotFound, SourceTooLarge, SourceUnreadable

# Demuxers that open other files and addresses: a video that was sent by somebody must not choose what is read.
_REFERRING = {"concat", "dash", "hls", "imf", "lavfi", "sdp", "rtsp", "webm_dash_manifest", "vapoursynth"}
# Demuxers that take any text for a picture of text.
_TEXT = {"tty", "bin", "xbin", "adf", "idf"}
_ALLOWED = ",".join(sorted(av.formats_available - _REFERRING - _TEXT))
_PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"<MPD", b"v=0", b"[playlist]", b"<ASX", b"<asx", b"<smil")


def open_media(path: Path, *, max_pixels: int, hardware: HWAccel | None = None) -> InputContainer:
    """A local file as a container; streams over `max_pixels` are not looked into and tell no size.

    hardware: what decodes its streams, where it can; what it raises is SourceUnreadable too.
    Raises SourceNotFound, SourceUnreadable, SourceTooLarge.
    """
    try:
        if not path.exists():
            raise SourceNotFound(f"{path} does not exist: give the path of a file")
        if not path.is_file():
            raise SourceUnreadable(f"{path} is no regular file: give the path of a file")
        with path.open("rb") as file:
            head = file.read(512).lstrip(b"\xef\xbb\xbf \t\r\n")
    except SourceError:
        raise
    except OSError as error:
        raise SourceUnreadable(f"{path} cannot be read: {error.strerror or error}") from error
    if not head and not path.stat().st_size:
        raise SourceUnreadable(f"{path} is empty: give another file")
    if head.startswith(_PLAYLISTS) or b"<MPD" in head:
        raise SourceUnreadable(f"{path} is a playlist, which names other files: give the video itself")
    try:
        return av.open(
            f"file:{path.resolve()}",  # the prefix keeps a name with a colon from being taken for a protocol
            # PyAV hands these to decoders that look into a stream, too: there max_pixels works.
            options={
                "protocol_whitelist": "file,crypto,data",
                "format_whitelist": _ALLOWED,
                "pattern_type": "none",
                **decoder_options(max_pixels),
            },
            metadata_errors="replace",
            hwaccel=hardware,
        )
    except (av.error.FFmpegError, OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SourceUnreadable(f"{path} is nothing that FFmpeg can read: {reason}") from error
    except MemoryError as error:
        raise SourceTooLarge(f"{path} asks for more memory than there is") from error


def video_of(container: InputContainer, path: Path | str) -> VideoStream:
    """The stream that players would show; cover art is none. SourceUnreadable where there is none."""
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        held = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise SourceUnreadable(f"{path} has no video, only {held}: give a file with a video stream")
    best = max(streams, key=lambda s: (bool(s.disposition & Disposition.default), -s.index))
    if best.codec_context is None:
        raise SourceUnreadable(f"{path} has a video of a codec that FFmpeg does not know: convert it to H.264")
    return best


def check_size(shown: VideoStream | av.VideoFrame, path: Path | str, max_pixels: int) -> None:
    """SourceTooLarge where a stream's header or a frame says so."""
    if shown.width * shown.height > max_pixels:
        raise _too_large(path, max_pixels, f"{shown.width}x{shown.height}")


def check_refusal(error: Exception, stream: VideoStream, path: Path | str, max_pixels: int) -> None:
    """SourceTooLarge where a decoder's error means that the size was over `decoder_options`."""
    if isinstance(error, av.error.ArgumentError) and not stream.width:
        raise _too_large(path, max_pixels, "larger than that") from error


def decoder_options(max_pixels: int) -> dict[str, str]:
    """What keeps FFmpeg's decoders from making room for too large a picture; they round lines up to 64 pixels."""
    return {"max_pixels": str(max_pixels)}


def _too_large(path: Path | str, max_pixels: int, size: str) -> SourceTooLarge:
    return SourceTooLarge(
        f"{path} is {size}: allowed are {max_pixels} pixels a picture; scale it down, or raise max_pixels"
    )
