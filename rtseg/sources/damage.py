"""How much of a video its file promises but does not hold: what players pass over in silence."""

from __future__ import annotations

from pathlib import Path

from av.container import InputContainer
from av.video.stream import VideoStream

_EBML, _SEGMENT = 0x1A45DFA3, 0x18538067


def frames_cut_off(path: Path, container: InputContainer, stream: VideoStream, *, until: float | None) -> int:
    """Frames before `until` seconds that lie behind the end of the file; 0 where nothing tells.

    mp4 and its kin list the place of every frame. Matroska only says how long it should be: then it is at least 1.
    Numbers of frames in headers are no proof: edit lists leave frames out, and some headers are wrong.
    """
    names = container.format.name.split(",")
    if "mp4" in names:
        size = path.stat().st_size
        last = None if until is None or not stream.time_base else until / stream.time_base
        entries = (e for e in stream.index_entries if e.pos + e.size > size)
        return sum(last is None or entry.timestamp < last for entry in entries)
    if "matroska" in names and until is None:
        return int(_is_short(path))
    return 0


def _is_short(path: Path) -> bool:
    """Whether a Matroska file ends before its segment does (RFC 9559, 4; RFC 8794, 4 and 5)."""
    with path.open("rb") as file:
        head = file.read(4096)
    if int.from_bytes(head[:4], "big") != _EBML:
        return False
    begin, length = _size_at(head, 4)
    segment = begin + (length or 0)
    if int.from_bytes(head[segment : segment + 4], "big") != _SEGMENT:
        return False
    begin, length = _size_at(head, segment + 4)
    return length is not None and begin + length > path.stat().st_size


def _size_at(head: bytes, at: int) -> tuple[int, int | None]:
    """Where the content of an element begins and its length; None if that is unknown, as in live recordings."""
    if at >= len(head) or head[at] == 0:
        return at, None
    octets = 9 - head[at].bit_length()
    value = int.from_bytes(head[at : at + octets], "big") - (1 << 7 * octets)
    return at + octets, None if value == (1 << 7 * octets) - 1 else value
