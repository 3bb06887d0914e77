"""Making the planes of one picture fit those of another: crop, size, subsampling, matrix and range.

Everything happens plane by plane; no picture becomes RGB on the way.
"""

from __future__ import annotations

from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.ops.arrays import U8, as_u8
from rtseg.ops.colour import Colour, rgb_to_yuv_matrix, yuv_to_rgb_matrix
from rtseg.ops.resize import enlarge, shrink

Planes: TypeAlias = tuple[U8, U8, U8]
Size: TypeAlias = tuple[int, int]


def cover_box(size: Size, target: Size, *, step: Size = (1, 1)) -> tuple[int, int, int, int]:
    """The largest centred part of a picture of `size` that has the aspect of `target`: x0, y0, x1, y1.

    Sizes are (width, height). x0, y0, width and height are multiples of `step` where they cut, for subsampled planes.
    """
    width, height = size
    x0, x1 = _centred(width, height * target[0] / target[1], step[0])
    y0, y1 = _centred(height, width * target[1] / target[0], step[1])
    return x0, y0, x1, y1


def contain_box(size: Size, target: Size, *, step: Size = (1, 1)) -> tuple[int, int, int, int]:
    """Where in `target` a picture of `size` lies whole, centred and in its aspect: x0, y0, x1, y1, as `cover_box`."""
    return cover_box(target, size, step=step)


def cover(planes: Planes, size: Size, chroma: Size) -> Planes:
    """Planes cropped about the centre and resized to `size`, U and V to `chroma` (width, height each); aspect kept.

    Read only what is returned: planes that already fit are given back as they are.
    """
    luma, u, v = planes
    step = (2 if luma.shape[1] > u.shape[1] else 1, 2 if luma.shape[0] > u.shape[0] else 1)
    x0, y0, x1, y1 = cover_box((luma.shape[1], luma.shape[0]), size, step=step)
    part = np.s_[y0 // step[1] : -(-y1 // step[1]), x0 // step[0] : -(-x1 // step[0])]
    return _resized(luma[y0:y1, x0:x1], size), _resized(u[part], chroma), _resized(v[part], chroma)


def contain(planes: Planes, size: Size, chroma: Size, *, pad: tuple[int, int, int]) -> Planes:
    """Planes resized whole into `size`, U and V into `chroma`, centred on a ground of `pad` (Y, U, V); aspect kept."""
    step = (2 if size[0] > chroma[0] else 1, 2 if size[1] > chroma[1] else 1)
    luma = planes[0]
    x0, y0, x1, y1 = contain_box((luma.shape[1], luma.shape[0]), size, step=step)
    part = (x0 // step[0], y0 // step[1], -(-x1 // step[0]), -(-y1 // step[1]))
    fitted = []
    for plane, whole, box, ground in zip(
        planes, (size, chroma, chroma), ((x0, y0, x1, y1), part, part), pad, strict=True
    ):
        canvas = np.full(whole[::-1], ground, np.uint8)
        canvas[box[1] : box[3], box[0] : box[2]] = _resized(plane, (box[2] - box[0], box[3] - box[1]))
        fitted.append(canvas)
    return fitted[0], fitted[1], fitted[2]


def convert(planes: Planes, have: Colour, want: Colour) -> Planes:
    """Planes of colour `have` as planes of colour `want`, of the same shapes, within 2 levels of the float64 formula.

    Grey stays grey in every matrix, so U and V never depend on Y: chroma is turned at its own size, and luma
    gains a correction that is made there too and enlarged.
    """
    if have == want:
        return planes
    matrix = _square(rgb_to_yuv_matrix(want)) @ _square(yuv_to_rgb_matrix(have))
    luma, u, v = planes
    gain, offset = float(matrix[0, 0]), float(matrix[0, 3])
    both = cv2.merge([u, v])
    new_u, new_v = cv2.split(cv2.transform(both, matrix[1:3, 1:].copy()))
    if have.matrix == want.matrix:
        ramp = np.clip(np.rint(gain * np.arange(256) + offset), 0, 255).astype(np.uint8)
        return as_u8(cv2.LUT(luma, ramp)), as_u8(new_u), as_u8(new_v)
    # Twice the correction, about 128: it lies within +-64 for every pair of matrices, and halves the rounding.
    centre = 128.0 - 256.0 * float(matrix[0, 1] + matrix[0, 2])
    tint = np.array([[2 * matrix[0, 1], 2 * matrix[0, 2], centre]])
    correction = enlarge(as_u8(cv2.transform(both, tint)), (luma.shape[1], luma.shape[0]))
    shift = offset + 128.0 * float(matrix[0, 1] + matrix[0, 2]) - 64.0
    return as_u8(cv2.addWeighted(luma, gain, correction, 0.5, shift)), as_u8(new_u), as_u8(new_v)


def _centred(length: int, wanted: float, step: int) -> tuple[int, int]:
    if wanted >= length:
        return 0, length
    part = min(max(round(wanted / step) * step, step), length)
    start = (length - part) // 2 // step * step
    return start, start + part


def _resized(plane: U8, size: Size) -> U8:
    return np.ascontiguousarray(shrink(plane, size))


def _square(matrix: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.vstack([matrix.astype(np.float64), [0.0, 0.0, 0.0, 1.0]])
