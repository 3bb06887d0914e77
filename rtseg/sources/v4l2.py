"""What Linux says of its cameras: names and modes, by ioctl, so that listing them needs no program and no package.

Numbers and layouts are those of linux/videodev2.h (include/uapi), which never change.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

from rtseg.sources.modes import CameraInfo, Mode
from rtseg.types import Size

Ioctl = Callable[[int, int, bytearray], object]

QUERYCAP = 0x80685600
ENUM_FMT = 0xC0405602
ENUM_FRAMESIZES = 0xC02C564A
ENUM_FRAMEINTERVALS = 0xC034564B
_CAPTURE = 1
_CAPTURES, _OWN_CAPS, _META_ONLY = 0x1, 0x80000000, 0x00800000
_DISCRETE = 1
_MANY = 256
"""Entries of a list that are asked for before a driver is taken for broken."""
_USUAL = ((640, 360), (640, 480), (1280, 720), (1920, 1080))
"""Sizes that are tried where a camera takes any."""


def list_v4l2(*, devices: Path = Path("/dev"), ioctl: Ioctl | None = None) -> list[CameraInfo]:
    """The cameras among /dev/video*, by number; those that may not be opened have a note in place of modes."""
    ask = ioctl or _system_ioctl()
    found = []
    nodes = (path for path in devices.glob("video*") if path.name[5:].isdigit())
    for path in sorted(nodes, key=lambda path: int(path.name[5:])):
        try:
            handle = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        except OSError as error:
            found.append(CameraInfo(str(path), path.name, note=error.strerror or str(error)))
            continue
        try:
            camera = _described(handle, path, ask)
        except OSError:  # no V4L2 device, or one that was just pulled out
            continue
        finally:
            os.close(handle)
        if camera is not None:
            found.append(camera)
    return found


def _system_ioctl() -> Ioctl:
    from fcntl import ioctl  # not on every system

    return ioctl


def _described(handle: int, path: Path, ioctl: Ioctl) -> CameraInfo | None:
    """None for what gives no pictures: outputs, metadata of a camera."""
    answer = bytearray(104)
    ioctl(handle, QUERYCAP, answer)
    card, bus, _, capabilities, own = struct.unpack_from("=16x32s32sIII", answer)
    if capabilities & _OWN_CAPS:
        capabilities = own
    if not capabilities & _CAPTURES:
        return None
    modes = [
        Mode(fourcc, size, tuple(sorted(set(_rates(handle, fourcc, size, ioctl)), reverse=True)))
        for fourcc in _formats(handle, ioctl)
        for size in _sizes(handle, fourcc, ioctl)
    ]
    return CameraInfo(str(path), _text(card), tuple(modes), bus=_text(bus)) if modes else None


def _formats(handle: int, ioctl: Ioctl) -> Iterator[str]:
    for index in range(_MANY):
        request = bytearray(64)
        struct.pack_into("=II", request, 0, index, _CAPTURE)
        if not _answered(handle, ENUM_FMT, request, ioctl):
            return
        yield request[44:48].decode("ascii", "replace").rstrip()


def _sizes(handle: int, fourcc: str, ioctl: Ioctl) -> Iterator[Size]:
    for index in range(_MANY):
        request = bytearray(44)
        struct.pack_into("=I4s", request, 0, index, fourcc.ljust(4).encode("ascii", "replace"))
        if not _answered(handle, ENUM_FRAMESIZES, request, ioctl):
            return
        kind, *values = struct.unpack_from("=7I", request, 8)
        if kind == _DISCRETE:
            yield Size(values[0], values[1])
            continue
        least_w, most_w, _, least_h, most_h, _ = values
        usual = (Size(*size) for size in _USUAL)
        yield from (size for size in usual if least_w <= size.width <= most_w and least_h <= size.height <= most_h)
        yield Size(most_w, most_h)
        return


def _rates(handle: int, fourcc: str, size: Size, ioctl: Ioctl) -> Iterator[Fraction]:
    for index in range(_MANY):
        request = bytearray(52)
        struct.pack_into("=I4sII", request, 0, index, fourcc.ljust(4).encode("ascii", "replace"), *size)
        if not _answered(handle, ENUM_FRAMEINTERVALS, request, ioctl):
            return
        kind, numerator, denominator = struct.unpack_from("=3I", request, 16)
        if numerator and denominator:
            yield Fraction(denominator, numerator)
        if kind != _DISCRETE:  # the shortest interval comes first
            return


def _answered(handle: int, number: int, request: bytearray, ioctl: Ioctl) -> bool:
    try:
        ioctl(handle, number, request)
    except OSError:  # EINVAL: the end of the list; ENOTTY: there is no such list
        return False
    return True


def _text(raw: bytes) -> str:
    return raw.split(b"\0")[0].decode("utf-8", "replace").strip()
