"""YUV and RGB: which of the matrices and ranges a plane is in, and how to get from one to the other.

The matrices follow ITU-R BT.601-7, BT.709-6 and BT.2020-2 (non-constant luminance): with Kr and Kb given,
Y = Kr R + (1 - Kr - Kb) G + Kb B, U = (B - Y) / (2 (1 - Kb)), V = (R - Y) / (2 (1 - Kr)).
Limited range puts Y in 16..235 and U, V in 16..240; full range uses 0..255 for all; U and V are centred on 128.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.ops.arrays import F32, U8, as_u8

Matrix: TypeAlias = Literal["bt601", "bt709", "bt2020"]

_KR_KB: dict[Matrix, tuple[float, float]] = {
    "bt601": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
    "bt2020": (0.2627, 0.0593),
}


@dataclass(frozen=True, slots=True)
class Colour:
    """What the numbers in the planes mean; a wrong guess here is the green or washed-out picture users report.

    `matrix` names the YUV matrix; `full_range` is true for 0..255 (most webcams, JPEG), false for 16..235.
    """

    matrix: Matrix = "bt709"
    full_range: bool = False

    def __post_init__(self) -> None:
        if self.matrix not in _KR_KB:
            raise ValueError(f"unknown matrix {self.matrix!r}: use one of {', '.join(_KR_KB)}")


@lru_cache(maxsize=16)
def yuv_to_rgb_matrix(colour: Colour) -> F32:
    """3x4 float32: RGB (0..255) = M @ (Y, U, V, 1), all in 0..255 numbers."""
    inverse = np.linalg.inv(_rgb_to_yuv(colour))
    return np.ascontiguousarray(inverse[:3], dtype=np.float32)


@lru_cache(maxsize=16)
def rgb_to_yuv_matrix(colour: Colour) -> F32:
    """3x4 float32: (Y, U, V) = M @ (R, G, B, 1), all in 0..255 numbers."""
    return np.ascontiguousarray(_rgb_to_yuv(colour)[:3], dtype=np.float32)


def _rgb_to_yuv(colour: Colour) -> NDArray[np.float64]:
    kr, kb = _KR_KB[colour.matrix]
    kg = 1.0 - kr - kb
    luma = np.array([kr, kg, kb])
    u = (np.array([0.0, 0.0, 1.0]) - luma) / (2.0 * (1.0 - kb))
    v = (np.array([1.0, 0.0, 0.0]) - luma) / (2.0 * (1.0 - kr))
    y_scale, c_scale, y_offset = (1.0, 1.0, 0.0) if colour.full_range else (219 / 255, 224 / 255, 16.0)
    matrix = np.eye(4)
    matrix[0, :3], matrix[1, :3], matrix[2, :3] = y_scale * luma, c_scale * u, c_scale * v
    matrix[:3, 3] = y_offset, 128.0, 128.0
    return matrix


@lru_cache(maxsize=1024)
def rgb_to_yuv(rgb: tuple[int, int, int], colour: Colour) -> tuple[int, int, int]:
    """One RGB colour (0..255 each) as the Y, U, V numbers of `colour`, rounded to the nearest."""
    y, u, v = np.clip(np.rint(_rgb_to_yuv(colour)[:3] @ np.array([*rgb, 1.0])), 0, 255)
    return int(y), int(u), int(v)


def merge_rgb(y: U8, u: U8, v: U8, colour: Colour, *, out: U8 | None = None) -> U8:
    """Y, U and V planes of one size HxW to RGB uint8 HxWx3, within one level of the float64 formula."""
    return as_u8(cv2.transform(cv2.merge([y, u, v]), yuv_to_rgb_matrix(colour), dst=out))


def rgb_to_planes(rgb: U8, colour: Colour, *, subsample: tuple[int, int] = (2, 2)) -> tuple[U8, U8, U8]:
    """RGB uint8 HxWx3 to Y (HxW) and U, V (divided by `subsample` (x, y), rounded up), area-averaged."""
    yuv = cv2.transform(rgb, rgb_to_yuv_matrix(colour))
    y, u, v = cv2.split(yuv)
    step_x, step_y = subsample
    height, width = y.shape
    small = (-(-width // step_x), -(-height // step_y))
    if small != (width, height):
        odd = (small[1] * step_y - height, small[0] * step_x - width)
        if any(odd):  # an odd edge is averaged with itself, as encoders do
            u, v = (cv2.copyMakeBorder(c, 0, odd[0], 0, odd[1], cv2.BORDER_REPLICATE) for c in (u, v))
        u, v = (cv2.resize(c, small, interpolation=cv2.INTER_AREA) for c in (u, v))
    return as_u8(y), as_u8(u), as_u8(v)
