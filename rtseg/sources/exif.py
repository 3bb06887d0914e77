"""The one entry of EXIF that changes what a picture shows: which way up the camera was held.

FFmpeg applies none of it, and PyAV cannot hand over what FFmpeg read.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path

from rtseg.sources.planes import UPRIGHT, Orientation

# EXIF 2.32, tag 274: what 1 to 8 mean for pixels. 2: mirrored; 3: upside down; 6: turn clockwise; 8: anticlockwise.
_ORIENTATIONS: dict[int, Orientation] = {
    1: UPRIGHT,
    2: (-1, 0, 0, 1),
    3: (-1, 0, 0, -1),
    4: (1, 0, 0, -1),
    5: (0, 1, 1, 0),
    6: (0, 1, -1, 0),
    7: (0, -1, -1, 0),
    8: (0, -1, 1, 0),
}
_TAG = 0x0112
_MARKERS = {"mjpeg": b"Exif\0\0", "png": b"eXIf", "webp": b"EXIF", "tiff": b""}
_HEADER = re.compile(rb"II\*\0|MM\0\*")


def orientation_in(path: Path, codec: str) -> Orientation | None:
    """What EXIF says in a file of FFmpeg's `codec`; None where it says nothing, or nonsense."""
    marker = _MARKERS.get(codec)
    if marker is None:
        return None
    data = path.read_bytes()
    found = data.find(marker)
    header = _HEADER.search(data, found, found + 24) if found >= 0 else None
    if header is None:
        return None
    try:
        return _ORIENTATIONS.get(_value(data[header.start() :]))
    except struct.error:  # offsets that lead out of the file
        return None


def _value(tiff: bytes) -> int:
    """Tag 274 of the first directory of a TIFF structure, 0 where it is not there."""
    order = "<" if tiff[:2] == b"II" else ">"
    (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
    (entries,) = struct.unpack_from(f"{order}H", tiff, directory)
    for entry in range(entries):
        tag, _, _, value = struct.unpack_from(f"{order}HHIH", tiff, directory + 2 + 12 * entry)
        if tag == _TAG:
            return int(value)
    return 0
