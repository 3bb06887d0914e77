"""Whether an mp4 or mov shows its picture mirrored, which PyAV does not say."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_BOXES = 10_000
"""Boxes that are looked at before a file is taken for hostile."""


def is_mirrored(path: Path, track: int) -> bool:
    """Whether the display matrix of `track` (FFmpeg's stream id) mirrors, as in ISO/IEC 14496-12, 6.2.2 and 8.3.2.

    PyAV gives the angle of a display matrix only: to ask for the matrix itself (`frame.side_data`) ties frames into
    cycles on which Python's garbage collection crashes.
    """
    movie, tracks = 1, {}
    with path.open("rb") as file:
        for kind, body, end in _boxes(file, path.stat().st_size):
            if kind not in (b"mvhd", b"tkhd"):
                continue
            file.seek(body)
            head = file.read(min(end - body, 96))
            try:
                long = head[0] == 1  # times of 64 bits
                if kind == b"mvhd":
                    movie = _hand(head, 48 if long else 36)
                else:
                    (number,) = struct.unpack_from(">I", head, 20 if long else 12)
                    tracks[number] = _hand(head, 52 if long else 40)
            except (struct.error, IndexError):  # a box that ends early
                continue
    return movie * tracks.get(track, 1) < 0


def _boxes(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int, int]]:
    """Type, begin and end of the boxes at the top, in moov and in trak."""
    waiting, seen = [(0, size)], 0
    while waiting:
        start, end = waiting.pop()
        while start + 8 <= end and seen < _BOXES:
            seen += 1
            file.seek(start)
            head = file.read(16)
            length, kind, body = int.from_bytes(head[:4], "big"), head[4:8], start + 8
            if length == 1:
                length, body = int.from_bytes(head[8:16], "big"), start + 16
            stop = end if length == 0 else min(start + length, end)
            if stop < body:
                break
            if kind in (b"moov", b"trak"):
                waiting.append((body, stop))
            else:
                yield kind, body, stop
            start = stop


def _hand(head: bytes, offset: int) -> int:
    """1 for a matrix a b u c d that turns, -1 for one that mirrors."""
    a, b, _, c, d = struct.unpack_from(">5i", head, offset)
    return -1 if a * d - b * c < 0 else 1
