"""Blurring only what a weight covers, at a cost that grows neither with the radius nor with the picture."""

from __future__ import annotations

import math

import cv2
import numpy as np

from rtseg.ops.arrays import U8, as_u8
from rtseg.ops.resize import resize

_SIGMA = 1.3
"""The Gaussian's sigma in pixels of the reduced planes: smaller, and bilinear enlarging would show their grid."""


def blur_covered(planes: tuple[U8, U8, U8], weight: U8, sigma: float) -> tuple[U8, U8, U8]:
    """Blur three planes (uint8, each of its own size) with a Gaussian of `sigma` luma pixels, weighted.

    Normalised convolution (Knutsson and Westin, 1993): blur(plane * weight) / blur(weight), so that pixels of
    weight 0 (a person) leave no trace around themselves. `weight` is uint8 of any size, 0..255. Returns planes of
    one reduced size, uint8, to be enlarged; where no weight is near, the plane itself, blurred.
    """
    height, width = planes[0].shape
    scale = max(1.0, sigma / _SIGMA)
    size = (max(1, round(width / scale)), max(1, round(height / scale)))
    # A reduced pixel that the person touches is person in part: it is left out, and so are its neighbours.
    inner = cv2.erode(resize(weight, size), np.ones((3, 3), np.uint8))
    # One hundredth of a level of weight everywhere: the division is defined, and a covered frame keeps its look.
    w = cv2.subtract(inner, np.full(1, 191.0)).astype(np.float32) + np.float32(0.01)
    # Reducing and enlarging blur as well: together like a variance of about a fifth of a reduced pixel.
    small_sigma = math.sqrt((sigma / scale) ** 2 - 0.2 * (1.0 - 1.0 / scale**2))
    taps = 2 * math.ceil(3.0 * small_sigma) + 1

    def blurred(plane: cv2.typing.MatLike) -> cv2.typing.MatLike:
        return cv2.GaussianBlur(plane, (taps, taps), small_sigma, borderType=cv2.BORDER_REFLECT_101)

    total = blurred(w)
    y, u, v = (
        cv2.convertScaleAbs(cv2.divide(blurred(cv2.multiply(resize(plane, size), w, dtype=cv2.CV_32F)), total))
        for plane in planes
    )
    return as_u8(y), as_u8(u), as_u8(v)
