"""Blurring only what a weight covers, at a cost that does not depend on the radius."""

from __future__ import annotations

import cv2
import numpy as np

from rtseg.ops.arrays import U8, as_f32
from rtseg.ops.resize import resize

_FINEST_SIGMA = 2.0
"""Below this sigma (in small pixels) bilinear enlarging would show its grid; a step of reduction halves it."""


def blur_scale(sigma: float) -> int:
    """By how much (1, 2, 4, 8, ...) planes can be reduced before a Gaussian of `sigma` pixels is taken."""
    scale = 1
    while sigma / (2 * scale) >= _FINEST_SIGMA and scale < 64:
        scale *= 2
    return scale


def blur_covered(planes: tuple[U8, U8, U8], weight: U8, sigma: float) -> tuple[U8, U8, U8]:
    """Blur three planes (uint8, each of its own size) with a Gaussian of `sigma` luma pixels, weighted.

    Normalised convolution (Knutsson and Westin, 1993): blur(plane * weight) / blur(weight), so that pixels of
    weight 0 (a person) leave no trace around themselves. `weight` is uint8 of any size, 0..255. Returns planes of
    one reduced size, uint8, to be enlarged; where no weight is near, the plane itself.
    """
    height, width = planes[0].shape
    scale = blur_scale(sigma)
    size = (max(1, round(width / scale)), max(1, round(height / scale)))
    small = cv2.merge([resize(plane, size) for plane in planes])
    # One hundredth of a level of weight everywhere: the division is defined, and a covered frame keeps its look.
    w = resize(weight, size).astype(np.float32) + np.float32(0.01)
    merged = cv2.merge([*cv2.split(small * w[..., None]), w])
    blurred = cv2.GaussianBlur(merged, (0, 0), sigma / scale, borderType=cv2.BORDER_REFLECT_101)
    y, u, v, total = cv2.split(as_f32(blurred))
    out = (cv2.divide(c, total, dtype=cv2.CV_32F) for c in (y, u, v))
    y8, u8, v8 = (cv2.convertScaleAbs(c) for c in out)
    return y8, u8, v8  # type: ignore[return-value]
