"""What cameras can do, and which of it is taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from rtseg.types import Size

FFMPEG = {
    "YUYV": "yuyv422",
    "UYVY": "uyvy422",
    "NV12": "nv12",
    "YU12": "yuv420p",
    "MJPG": "mjpeg",
    "JPEG": "mjpeg",
    "H264": "h264",
    "RGB3": "rgb24",
    "BGR3": "bgr24",
    "GREY": "gray",
}
"""FFmpeg's names for the four letters of V4L2, best first: raw pictures cost no decoding and have no blocks."""

_ORDER = list(FFMPEG)
_USB2 = 40_000_000
"""Bytes a second that raw pictures get through USB 2.0, by which cameras deliver fewer than they promise."""


@dataclass(frozen=True, slots=True)
class Mode:
    """A size in a format (four letters, as V4L2 has them), and the rates a second that it comes in, fastest first."""

    format: str
    size: Size
    rates: tuple[Fraction, ...] = ()


@dataclass(frozen=True, slots=True)
class CameraInfo:
    """A camera: what opens it, its name, modes (none where the system does not say), and why it cannot be used."""

    device: str
    name: str
    modes: tuple[Mode, ...] = ()
    bus: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a camera is asked for. format: FFmpeg's name."""

    format: str
    size: Size
    rate: Fraction | None


def choose_mode(
    modes: Sequence[Mode],
    *,
    size: tuple[int, int],
    rate: float,
    format: str | None = None,  # noqa: A002 - FFmpeg's word
    bus: str = "",
) -> Choice | None:
    """The mode nearest to a size that reaches a rate; None where there is none that FFmpeg reads.

    Size goes before rate, and rate before format: of equals, raw pictures are taken, unless USB 2.0 would not carry
    them. format: FFmpeg's name or the four letters, and no other is taken.
    """
    wanted = FFMPEG.get(format.upper(), format) if format else None
    known = [m for m in modes if m.format in FFMPEG and wanted in (None, FFMPEG[m.format])]
    if not known:
        return None

    def cost(mode: Mode) -> tuple[float, float, bool, int]:
        off = abs(mode.size.width - size[0]) + abs(mode.size.height - size[1])
        reached = _nearest(mode.rates, rate) or Fraction(0)
        raw = FFMPEG[mode.format] not in ("mjpeg", "h264")
        bytes_a_second = 2 * mode.size.width * mode.size.height * float(reached)
        heavy = raw and bus.startswith("usb") and bytes_a_second > _USB2
        return off, max(0.0, rate - float(reached)) if mode.rates else 0.0, heavy, _ORDER.index(mode.format)

    best = min(known, key=cost)
    return Choice(FFMPEG[best.format], best.size, _nearest(best.rates, rate))


def _nearest(rates: Sequence[Fraction], wanted: float) -> Fraction | None:
    """The slowest rate that is fast enough, else the fastest; None where none is known."""
    enough = [rate for rate in rates if float(rate) >= wanted - 0.5]
    return min(enough) if enough else max(rates, default=None)
