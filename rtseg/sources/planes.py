"""What FFmpeg decoded, as the planes of a `Frame`: views where the format allows it, one conversion where not."""

from __future__ import annotations

from typing import Any, TypeAlias

import av
import cv2
import numpy as np
from av.sidedata.sidedata import Type
from av.video.reformatter import VideoReformatter

from rtseg.ops.arrays import U8, as_u8
from rtseg.types import Colour, Matrix

Planes: TypeAlias = tuple[U8, U8, U8]
Picture: TypeAlias = tuple[Planes, Colour, U8 | None]
"""Planes as in `rtseg.Frame`, their colour, and alpha or None."""
Orientation: TypeAlias = tuple[int, int, int, int]
"""A display matrix in whole numbers a, b, c, d: a pixel (x, y) is shown at (a x + c y, b x + d y)."""
UPRIGHT: Orientation = (1, 0, 0, 1)

_NATIVE = {f"yuv{mark}{kind}p" for mark in ("", "j", "a") for kind in ("420", "422", "444")}
# ISO/IEC 23091-2 (H.273) code points.
_MATRICES: dict[int, Matrix] = {1: "bt709", 4: "bt601", 5: "bt601", 6: "bt601", 7: "bt709", 9: "bt2020", 10: "bt2020"}
_RGB, _FULL, _PQ = 0, 2, 16
_HD = 720
# swscale's numbers (libswscale/swscale.h) of the same matrices.
_SWS: dict[Matrix, int] = {"bt601": 5, "bt709": 1, "bt2020": 9}
_SUBSAMPLED = {(1, 1): "444", (1, 2): "444", (2, 1): "422", (4, 1): "422"}
_OF_PICTURES = Colour("bt601", full_range=True)


class PlaneReader:
    """Turns decoded frames into planes, colour and alpha; keeps one converter, whatever the formats.

    8-bit planar 4:2:0, 4:2:2 and 4:4:4 are views of the decoder's memory. All else is converted: more bits are
    dithered to 8, other subsamplings go to the nearest of the three, RGB and palettes become full-range BT.601 4:4:4.
    PQ (HDR10) is mapped to the brightness of SDR; HLG is made to be shown as it is, and is.

    A frame that does not name its matrix has BT.709 from 720 lines on, else BT.601, as players assume.
    """

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> Picture:
        """The picture of a decoded frame, as it lies in the file."""
        colour = colour_of(frame)
        tone = _PQ_TO_SDR if frame.color_trc == _PQ and not frame.format.is_rgb else None
        name = frame.format.name
        if name not in _NATIVE or any(plane.line_size <= 0 for plane in frame.planes):
            frame = self._convert(frame, colour)
        planes = [_view(plane) for plane in frame.planes]
        alpha = planes[3] if len(planes) > 3 else None
        y, u, v = planes[:3]
        if tone is not None:
            y, u, v = _tone_mapped((y, u, v), tone)
        return (y, u, v), colour, alpha

    def _convert(self, frame: av.VideoFrame, colour: Colour) -> av.VideoFrame:
        rgb = _is_rgb(frame)
        return self._reformatter.reformat(
            frame,
            format=_nearest(frame.format),
            src_colorspace=None if rgb else _SWS[colour.matrix],
            dst_colorspace=_SWS[colour.matrix],
            src_color_range=2 if rgb or colour.full_range else 1,
            dst_color_range=2 if colour.full_range else 1,
            threads=1,
        )


def colour_of(frame: av.VideoFrame) -> Colour:
    """Matrix and range of a decoded frame, of what `PlaneReader` makes of it if it is RGB."""
    if _is_rgb(frame):
        return _OF_PICTURES
    matrix = _MATRICES.get(int(frame.colorspace)) or ("bt709" if frame.height >= _HD else "bt601")
    return Colour(matrix, full_range=frame.color_range == _FULL or frame.format.name.startswith("yuvj"))


def _is_rgb(frame: av.VideoFrame) -> bool:
    return frame.format.is_rgb or frame.format.has_palette or int(frame.colorspace) == _RGB


def _nearest(format: av.VideoFormat) -> str:  # noqa: A002 - PyAV's word
    alpha = "a" if format.has_palette or any(c.is_alpha for c in format.components) else ""
    if format.is_rgb or format.has_palette:
        return f"yuv{alpha}444p"
    if len(format.components) < 3:  # grey
        return f"yuv{alpha}420p"
    step = (4 // format.chroma_width(4), 4 // format.chroma_height(4))
    return f"yuv{alpha}{_SUBSAMPLED.get(step, '420')}p"


def _view(plane: Any) -> U8:
    lines = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    return lines[: plane.height, : plane.width]


def orientation_of(frame: av.VideoFrame) -> Orientation:
    """How a decoded frame is to be shown; ValueError for what is no quarter turn or mirror."""
    try:
        matrix = frame.side_data.get(Type.DISPLAYMATRIX)  # type: ignore[call-overload]
    except ValueError:  # one kind of data that PyAV does not know (EXIF) hides all others: only the angle can be had
        if frame.rotation % 90:
            raise ValueError(f"rotation by {frame.rotation} degrees") from None
        return _TURNS[frame.rotation % 360]
    if matrix is None:
        return UPRIGHT
    numbers = np.frombuffer(bytes(matrix), np.int32)[[0, 1, 3, 4]] / 65536
    a, b, c, d = (int(n) for n in np.rint(numbers))
    quarter = sorted((abs(a), abs(d))) in ([0, 0], [1, 1]) and (abs(b), abs(c)) == (1 - abs(a), 1 - abs(a))
    if not quarter or np.abs(numbers - (a, b, c, d)).max() > 0.01:
        raise ValueError(f"display matrix {numbers.round(3).tolist()}")
    return a, b, c, d


_TURNS: dict[int, Orientation] = {0: UPRIGHT, 90: (0, -1, 1, 0), 180: (-1, 0, 0, -1), 270: (0, 1, -1, 0)}


def upright(picture: Picture, orientation: Orientation) -> Picture:
    """A picture turned and mirrored as it is to be shown; itself where there is nothing to turn."""
    if orientation == UPRIGHT:
        return picture
    (y, u, v), colour, alpha = picture
    halved = (2 * u.shape[0], 2 * u.shape[1]) == y.shape
    if not halved and u.shape != y.shape:
        # Turned, 4:2:2 would be 4:4:0, and an odd side would begin with half a sample.
        size = (y.shape[1], y.shape[0])
        u, v = (as_u8(cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR)) for plane in (u, v))
    planes = (_turned(y, orientation), _turned(u, orientation), _turned(v, orientation))
    return planes, colour, None if alpha is None else _turned(alpha, orientation)


def _turned(plane: U8, orientation: Orientation) -> U8:
    a, b, c, d = orientation
    if b != 0:
        plane = as_u8(cv2.transpose(plane))
    mirrored, upside_down = (c < 0, b < 0) if b != 0 else (a < 0, d < 0)
    if mirrored or upside_down:
        plane = as_u8(cv2.flip(plane, -1 if mirrored and upside_down else int(mirrored)))
    return plane


def _pq_to_sdr() -> U8:
    """Limited-range PQ luma to limited-range SDR luma: SMPTE ST 2084, then a curve that keeps 203 nits at 75 %.

    203 nits is where BT.2408 puts diffuse white; what is above is compressed (x / (1 + x) in light) up to 4000.
    """
    code = np.clip((np.arange(256) - 16) / 219, 0, 1)
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    power = code ** (1 / m2)
    nits = 10_000 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)
    light = np.minimum(nits, 4000) / 203
    white = 4000 / 203
    mapped = light * (1 + light / white**2) / (1 + light)
    return np.asarray(np.rint(16 + 219 * np.clip(mapped, 0, 1) ** (1 / 2.4)), np.uint8)


_PQ_TO_SDR: U8 = _pq_to_sdr()


def _tone_mapped(planes: Planes, curve: U8) -> Planes:
    """Luma through `curve`; chroma scaled by what became of the luma there, so that hues stay. Limited range."""
    y, u, v = planes
    mapped = as_u8(cv2.LUT(y, curve))
    small = (u.shape[1], u.shape[0])
    before = cv2.resize(y, small, interpolation=cv2.INTER_AREA).astype(np.float32)
    after = cv2.resize(mapped, small, interpolation=cv2.INTER_AREA).astype(np.float32)
    gain = np.clip((after - 16) / np.maximum(before - 16, 1), 0, 4)
    u, v = (np.clip(np.rint((p - np.float32(128)) * gain + 128), 16, 240).astype(np.uint8) for p in (u, v))
    return mapped, u, v
