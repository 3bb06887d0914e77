"""Blurring only what a weight covers, at a cost that does not grow with the radius."""

from __future__ import annotations

import math

import cv2
import numpy as np

from rtseg.ops.arrays import F32, U8, as_f32, as_u8
from rtseg.ops.resize import enlarge, resize

_FINEST_SIGMA = 1.5
"""In pixels of the reduced planes: below it, bilinear enlarging would show their grid."""
_FASTEST = 16
"""Compiled loops enlarge by up to that at no cost, and by more slowly: some more taps cost less, up to this sigma."""
_WIDEST_SIGMA = 8.0

_MARGIN = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def blur_covered(
    planes: tuple[U8, U8, U8], weight: U8, sigma: float, *, shape: tuple[int, ...] | None = None
) -> tuple[U8, U8, U8]:
    """Blur three planes (uint8, each of its own size) with a Gaussian of `sigma` luma pixels, weighted.

    shape: of the luma, if what is given is a half of it, which spares halving it.

    Normalised convolution (Knutsson and Westin, 1993): blur(plane * weight) / blur(weight), so that pixels of
    weight 0 (a person) leave no trace around themselves. `weight` is uint8 of any size, 0..255. Returns planes of
    one reduced size, uint8, to be enlarged; where no weight is near, the plane itself, blurred.
    """
    height, width = shape or planes[0].shape
    scale, small_sigma, taps = reduction(sigma)
    size = (-(-width // scale), -(-height // scale))
    w = covered(weight, size)

    def blurred(plane: cv2.typing.MatLike) -> cv2.typing.MatLike:
        return cv2.GaussianBlur(plane, (taps, taps), small_sigma, borderType=cv2.BORDER_REFLECT_101)

    total = blurred(w)
    y, u, v = (
        cv2.convertScaleAbs(cv2.divide(blurred(cv2.multiply(reduced(plane, size), w, dtype=cv2.CV_32F)), total))
        for plane in planes
    )
    return as_u8(y), as_u8(u), as_u8(v)


def reduction(sigma: float) -> tuple[int, float, int]:
    """How a blur of `sigma` pixels is made on reduced planes: the reduction, the sigma there, and its taps."""
    scale = 1 << max(0, math.floor(math.log2(sigma / _FINEST_SIGMA)))
    if sigma <= _WIDEST_SIGMA * _FASTEST:
        scale = min(scale, _FASTEST)
    # Reducing and enlarging blur as well: together like a variance of about a fifth of a reduced pixel.
    small_sigma = math.sqrt((sigma / scale) ** 2 - 0.2 * (1.0 - 1.0 / scale**2))
    return scale, small_sigma, 2 * math.ceil(4.0 * small_sigma) + 1


def covered(weight: U8, size: tuple[int, int]) -> F32:
    """The weight, uint8 of any size, of each reduced pixel, float32: of those that are wholly covered, and a trace."""
    # A reduced pixel that the person touches is person in part, and left out; masks are tight by a pixel of theirs.
    inner = resize(as_u8(cv2.erode(weight, _MARGIN)), size)
    # A trace of weight everywhere keeps the division defined, and gives a picture without background a blur at all.
    return as_f32(cv2.subtract(inner, np.full(1, 239.0)).astype(np.float32) + np.float32(1e-6))


def reduced(plane: U8, size: tuple[int, int]) -> U8:
    """The plane at `size` (width, height), halved again and again: a spot of light weighs the same wherever it falls.

    An odd side is halved to the next whole number, so that each step takes averages of two, or all but.
    """
    while plane.shape[0] > size[1] or plane.shape[1] > size[0]:
        half = (max(size[0], (plane.shape[1] + 1) // 2), max(size[1], (plane.shape[0] + 1) // 2))
        plane = as_u8(cv2.resize(plane, half, interpolation=cv2.INTER_LINEAR))
    return enlarge(plane, size)
