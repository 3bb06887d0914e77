"""What FFmpeg decoded, as the planes of a `Frame`: views where the format allows it, one conversion where not."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import TypeAlias

import av
import cv2
import numpy as np
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
_RGB, _LIMITED, _FULL, _PQ = 0, 1, 2, 16
_HD = 720
# swscale's numbers (libswscale/swscale.h) of the same matrices.
_SWS: dict[Matrix, int] = {"bt601": 5, "bt709": 1, "bt2020": 9}
_SUBSAMPLED = {(1, 1): "444", (1, 2): "444", (2, 1): "422", (4, 1): "422"}
# For lines that lie upside down in memory: swscale would hand its input back where the format stays.
_OTHER = {"yuv420p": "yuv422p", "yuv422p": "yuv444p", "yuv444p": "yuv422p"}
_PACKED = re.compile("(rgba|bgra|argb|abgr|ya)(8|16|64)?(le|be)?$")
_OF_PICTURES = Colour("bt601", full_range=True)


class PlaneReader:
    """Turns decoded frames into planes, colour and alpha; keeps one converter, whatever the formats.

    8-bit planar 4:2:0, 4:2:2 and 4:4:4 are views of the decoder's memory, and so is 8-bit grey, with neutral chroma.
    All else is converted: more bits are dithered to 8, other subsamplings go to the nearest of the three, RGB and
    palettes become full-range BT.601 4:4:4. PQ (HDR10) is mapped to the brightness of SDR; HLG is made to be shown
    as it is, and is. Primaries are not converted.

    A frame that does not name its matrix has BT.709 from 720 lines on, else BT.601, as players assume; one that does
    not name its range is limited, but grey is full, as FFmpeg has it.
    """

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> Picture:
        """The picture of a decoded frame, as it lies in the file."""
        name = frame.format.name
        colour = colour_of(frame)
        hdr = frame.color_trc == _PQ and not _is_rgb(frame)
        planes, alpha = frame.planes, None
        if planes[0].line_size <= 0 or (name not in _NATIVE and name != "gray"):
            planes, alpha = self._convert(frame, colour).planes, _exact_alpha(frame)
        views = [_view(plane) for plane in planes]
        if len(views) == 1:
            chroma = _neutral((views[0].shape[0] + 1) // 2, (views[0].shape[1] + 1) // 2)
            return (views[0], chroma, chroma), colour, None
        y, u, v = views[:3]
        if hdr:
            y, u, v = _tone_mapped((y, u, v), colour.full_range)
        if alpha is None and len(views) > 3:
            alpha = views[3]
        return (y, u, v), colour, alpha

    def _convert(self, frame: av.VideoFrame, colour: Colour) -> av.VideoFrame:
        nearest = _nearest(frame.format)
        # swscale takes grey for full range whatever it is told: what is full stays as it is, and so does the rest.
        full = colour.full_range or len(frame.format.components) < 3
        return self._reformatter.reformat(
            frame,
            format=_OTHER.get(nearest, nearest) if frame.format.name == nearest else nearest,
            src_colorspace=_SWS[colour.matrix],
            dst_colorspace=_SWS[colour.matrix],
            src_color_range=_FULL if full else _LIMITED,
            dst_color_range=_FULL if full else _LIMITED,
            threads=1,
        )


def colour_of(frame: av.VideoFrame) -> Colour:
    """Matrix and range of a decoded frame, or, if it is RGB, of what `PlaneReader` makes of it."""
    if _is_rgb(frame):
        return _OF_PICTURES
    matrix = _MATRICES.get(frame.colorspace) or ("bt709" if frame.height >= _HD else "bt601")
    name = frame.format.name
    assumed = _FULL if name.startswith(("yuvj", "gray", "ya", "mono")) else _LIMITED
    return _colour(matrix, (frame.color_range or assumed) == _FULL)


@cache
def _colour(matrix: Matrix, full_range: bool) -> Colour:
    return Colour(matrix, full_range)


@lru_cache(maxsize=4)
def _neutral(height: int, width: int) -> U8:
    return np.full((height, width), 128, np.uint8)


def _is_rgb(frame: av.VideoFrame) -> bool:
    return frame.colorspace == _RGB or frame.format.is_rgb or frame.format.has_palette


def _nearest(format: av.VideoFormat) -> str:  # noqa: A002 - PyAV's word
    alpha = "a" if format.has_palette or any(c.is_alpha for c in format.components) else ""
    if format.is_rgb or format.has_palette:
        return f"yuv{alpha}444p"
    if len(format.components) < 3:  # grey
        return f"yuv{alpha}420p"
    step = (4 // format.chroma_width(4), 4 // format.chroma_height(4))
    return f"yuv{alpha}{_SUBSAMPLED.get(step, '420')}p"


def _exact_alpha(frame: av.VideoFrame) -> U8 | None:
    """The upper 8 bits of alpha, which swscale rounds differently at its way to other planes."""
    name, planes = frame.format.name, frame.planes
    if planes[0].line_size <= 0 or not any(c.is_alpha and c.bits >= 8 for c in frame.format.components):
        return None
    depth = np.dtype((">" if name.endswith("be") else "<") + ("u1" if frame.format.components[-1].bits == 8 else "u2"))
    if len(planes) == 4:
        plane, step, first = planes[3], 1, 0
    elif (packed := _PACKED.match(name)) is not None:
        plane, step, first = planes[0], len(packed[1]), packed[1].index("a")
    else:
        return None
    lines = np.frombuffer(plane, depth).reshape(plane.height, -1)  # type: ignore[call-overload]
    values = lines[:, first : first + step * plane.width : step]
    bits = frame.format.components[-1].bits
    return np.ascontiguousarray(values >> (bits - 8) if bits > 8 else values, np.uint8)


def _view(plane: av.video.plane.VideoPlane) -> U8:
    """The pixels of a plane without the padding of its lines; keeps the decoder's frame alive."""
    view: U8 = np.ndarray((plane.height, plane.width), np.uint8, plane, 0, (plane.line_size, 1))  # type: ignore[arg-type]
    view.flags.writeable = False
    return view


def orientation_of(angle: int, *, mirrored: bool = False) -> Orientation:
    """The orientation of a display matrix whose `av.VideoFrame.rotation` is `angle`, in degrees anticlockwise.

    Raises ValueError for an angle that is no quarter turn.
    """
    quarters = round(angle / 90)
    if abs(angle - 90 * quarters) > 1 or abs(quarters) > 2:
        raise ValueError(f"a turn by {angle} degrees")
    a, b = ((1, 0), (0, -1), (-1, 0), (0, 1))[quarters % 4]
    return (a, b, b, -a) if mirrored else (a, b, -b, a)


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


@cache
def _pq_to_sdr(full_range: bool) -> U8:
    """PQ luma to SDR luma of the same range: SMPTE ST 2084, then a curve that keeps 203 nits at about 75 %.

    203 nits is where ITU-R BT.2408 puts diffuse white. Light x, in units of it, becomes x (1 + x / w^2) / (1 + x)
    (Reinhard et al. 2002, eq. 4), which reaches 1 at w, 4000 nits.
    """
    black, span = (0, 255) if full_range else (16, 219)
    code = np.clip((np.arange(256) - black) / span, 0, 1)
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    power = code ** (1 / m2)
    nits = 10_000 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)
    light, white = np.minimum(nits, 4000) / 203, 4000 / 203
    mapped = light * (1 + light / white**2) / (1 + light)
    return np.asarray(np.rint(black + span * np.clip(mapped, 0, 1) ** (1 / 2.4)), np.uint8)


def _tone_mapped(planes: Planes, full_range: bool) -> Planes:
    """Luma through `_pq_to_sdr`; chroma scaled by what became of the luma there, so that hues stay."""
    y, u, v = planes
    black = 0 if full_range else 16
    mapped = as_u8(cv2.LUT(y, _pq_to_sdr(full_range)))
    small = (u.shape[1], u.shape[0])
    before = cv2.resize(y, small, interpolation=cv2.INTER_AREA).astype(np.float32)
    after = cv2.resize(mapped, small, interpolation=cv2.INTER_AREA).astype(np.float32)
    gain = np.clip((after - black) / np.maximum(before - black, 1), 0, 4)
    u, v = (np.clip(np.rint((p - np.float32(128)) * gain + 128), black, 255 - black).astype(np.uint8) for p in (u, v))
    return mapped, u, v
