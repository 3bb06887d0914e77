"""The size of a picture, read off its first bytes: what is too large is refused before a decoder sees it.

From the formats' own specifications: PNG (W3C, IHDR), JPEG (ITU T.81, B.2.2), GIF89a, BMP (BITMAPINFOHEADER and
BITMAPCOREHEADER), WebP (RFC 9649).
"""

from __future__ import annotations

import struct
from typing import Literal, TypeAlias

from rtseg.errors import SourceTooLarge, SourceUnreadable
from rtseg.frame import Size

Format: TypeAlias = Literal["PNG", "JPEG", "GIF", "BMP", "WEBP"]

MAX_SCANS = 100
"""Of a progressive JPEG. Each costs a pass over the whole picture, so that of large ones fewer are taken."""
_PASSES = 20

_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def check_header(data: bytes, *, max_pixels: int) -> tuple[Format, Size]:
    """The format and size that the header declares.

    Raises SourceUnreadable for what is no PNG, JPEG, GIF, BMP or WebP, and SourceTooLarge over `max_pixels`.
    """
    kind = _format(data)
    try:
        width, height = _size(kind, data)
    except (struct.error, IndexError):
        width = height = 0
    if width <= 0 or height <= 0:
        raise SourceUnreadable(f"the picture is damaged: its {kind} header names no size")
    size = Size(width, height)
    check_size(size, max_pixels)
    if kind == "JPEG":
        scans, allowed = data.count(b"\xff\xda"), min(MAX_SCANS, _PASSES * max_pixels // (width * height))
        if scans > allowed:
            raise SourceTooLarge(f"the picture has {scans} scans: allowed are {allowed}; save it as a baseline JPEG")
    return kind, size


def check_size(size: Size, max_pixels: int) -> None:
    """SourceTooLarge over `max_pixels`."""
    if size.width * size.height > max_pixels:
        raise SourceTooLarge(
            f"the picture is {size.width}x{size.height}: allowed are {max_pixels} pixels; scale it down"
        )


def _format(data: bytes) -> Format:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith(b"BM"):
        return "BMP"
    what = "is empty" if not data else "is none of JPEG, PNG, WebP, GIF and BMP"
    raise SourceUnreadable(f"the picture {what}: send one of those formats")


def _size(kind: Format, data: bytes) -> tuple[int, int]:
    match kind:
        case "PNG":
            return struct.unpack_from(">II", data, 16) if data[12:16] == b"IHDR" else (0, 0)
        case "GIF":
            return struct.unpack_from("<HH", data, 6)
        case "BMP":
            core = struct.unpack_from("<I", data, 14)[0] == 12
            width, height = struct.unpack_from("<HH" if core else "<ii", data, 18)
            return width, abs(height)
        case "WEBP":
            return _webp(data)
        case "JPEG":
            return _jpeg(data)


def _webp(data: bytes) -> tuple[int, int]:
    match data[12:16]:
        case b"VP8X":
            return _u24(data, 24) + 1, _u24(data, 27) + 1
        case b"VP8L":
            bits = struct.unpack_from("<I", data, 21)[0]
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 ":
            width, height = struct.unpack_from("<HH", data, 26)
            return width & 0x3FFF, height & 0x3FFF
        case _:
            return 0, 0


def _u24(data: bytes, at: int) -> int:
    return data[at] | data[at + 1] << 8 | data[at + 2] << 16


def _jpeg(data: bytes) -> tuple[int, int]:
    at = 2
    while data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill bytes may stand before a marker
            at += 1
        elif marker in _FRAME_MARKERS:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        elif marker == 0x01 or 0xD0 <= marker <= 0xD9:
            at += 2
        else:
            at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    return 0, 0
