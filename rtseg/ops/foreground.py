"""The colour that a subject has where its edge lets the old background through."""

from __future__ import annotations

import cv2
import numpy as np

from rtseg.ops.arrays import F32, U8, as_f32, as_u8
from rtseg.ops.resize import resize

_ROWS = 96
"""The most that colours are estimated in: they change little across an edge, and an edge is few pixels wide."""
_WINDOW = (7, 7)
"""There: 3 to 6 % of the height to each side, more than a strand of hair is long beyond what is sure."""
_SURE = 6
"""How steeply a pixel's weight falls with alpha: at a half it counts a sixty-fourth."""
_TRACE = 1e-5
"""Weight that is everywhere, so that there is a mean even where nothing is sure."""

_alphas = np.arange(256) / 255.0
_WEIGHTS: F32 = (_alphas**_SURE + _TRACE).astype(np.float32)
_RING = np.ones((3, 3), np.uint8)


def foreground(planes: tuple[U8, U8, U8], alpha: U8) -> tuple[tuple[U8, U8, U8], U8]:
    """Paint for a frame's edges, and an alpha for it, which together leave the subject's own colours there.

    planes: uint8, each of its own size. alpha: uint8 hxw, the subject's. Returns three small planes of one size, and
    uint8 hxw: 255 - alpha, but 0 where alpha is 0 all around, since the background will cover that.

    A pixel of an edge is I = alpha F + (1 - alpha) B. F and B are first taken as means of what around it surely is
    subject and surroundings (normalised convolution), then F is corrected by what they leave unexplained of the pixel:
    F + alpha (I - alpha F - (1 - alpha) B), the last step of Forte, "Approximate Fast Foreground Colour Estimation"
    (ICIP 2021). That is alpha I + (1 - alpha) P with P = F + alpha (F - B): a paint that is as smooth as F and B are,
    so that it is made small, and the hair's own detail stays the frame's. P beyond black or white is cut: of the
    hardest contrasts a quarter is left.
    """
    height, width = alpha.shape
    while height > _ROWS:
        height, width = -(-height // 2), -(-width // 2)
    size = (width, height)
    small = resize(alpha, size)
    picture = as_f32(cv2.merge([resize(plane, size) for plane in planes]).astype(np.float32))
    subject = _mean(picture, as_f32(cv2.LUT(small, _WEIGHTS)))
    around = _mean(picture, as_f32(cv2.LUT(cv2.bitwise_not(small), _WEIGHTS)))
    over = (small.astype(np.float32) / np.float32(255.0))[..., None]
    paint = np.maximum(subject + over * (subject - around), np.float32(0.0))
    y, u, v = (as_u8(plane) for plane in cv2.split(cv2.convertScaleAbs(paint)))
    edges = as_u8(cv2.copyTo(cv2.bitwise_not(alpha), cv2.dilate(alpha, _RING)))
    return (y, u, v), edges


def _mean(picture: F32, weight: F32) -> F32:
    """Weighted means around each pixel of a picture, float32 hxwx3."""
    total = cv2.blur(weight, _WINDOW)
    return as_f32(cv2.blur(picture * weight[..., None], _WINDOW) / total[..., None])
