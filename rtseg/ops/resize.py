"""Making planes small without aliasing, and masks large, with pixel centres kept where they are.

Everything here uses the half-pixel convention: the centre of sample i lies at (i + 0.5) / n of the picture.
"""

from __future__ import annotations

import cv2
import numpy as np

from rtseg.ops.arrays import U8, as_u8


def halve(plane: U8, *, rows: bool = True, columns: bool = True) -> U8:
    """HxW to HxW/2 by 2x2 averages, or one way only; sides that are halved must be even."""
    height, width = plane.shape
    smaller = (width // 2 if columns else width, height // 2 if rows else height)
    return as_u8(cv2.resize(plane, smaller, interpolation=cv2.INTER_AREA))


def shrink(plane: U8, size: tuple[int, int]) -> U8:
    """HxW to `size` (width, height), each way halved while that stays above the target, then bilinear.

    Halving is exact and five times cheaper than an area resize by a fraction; the last step is a factor
    under two, where bilinear does not alias. Odd sides stop the halving and fall back to an area resize.
    """
    width, height = size
    while True:
        rows, columns = plane.shape[0] >= 2 * height, plane.shape[1] >= 2 * width
        if not (rows or columns):
            break
        if (rows and plane.shape[0] % 2) or (columns and plane.shape[1] % 2):
            return as_u8(cv2.resize(plane, size, interpolation=cv2.INTER_AREA))
        plane = halve(plane, rows=rows, columns=columns)
    if plane.shape == (height, width):
        return plane
    return as_u8(cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR))


def enlarge(mask: U8, size: tuple[int, int], *, out: U8 | None = None) -> U8:
    """A soft mask HxW (any scale, up or down) to `size` (width, height), bilinear, edges repeated."""
    width, height = size
    if mask.shape == (height, width):
        if out is None:
            return mask
        np.copyto(out, mask)
        return out
    return as_u8(cv2.resize(mask, size, dst=out, interpolation=cv2.INTER_LINEAR))


def resize(plane: U8, size: tuple[int, int]) -> U8:
    """A plane to `size` (width, height) without aliasing, whichever way that is."""
    smaller = plane.shape[1] > size[0] or plane.shape[0] > size[1]
    return shrink(plane, size) if smaller else enlarge(plane, size)
