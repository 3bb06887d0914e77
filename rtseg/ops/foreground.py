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

_SHARE = 1.25
"""How much more of an edge's pixel is made anew than is not the subject's: 1 would trust the mask to the letter, which
rings where a mask is softer than its edge; 2 would lose single hairs."""

_alphas = np.arange(256) / 255.0
_WEIGHTS: F32 = (_alphas**_SURE + _TRACE).astype(np.float32)
_ANEW: U8 = np.rint(255.0 * np.minimum(1.0, _SHARE * (1.0 - _alphas))).astype(np.uint8)
_OF_SUBJECT: F32 = ((1.0 - (1.0 - np.maximum(1, _ANEW) / 255.0) * _alphas) / (np.maximum(1, _ANEW) / 255.0)).astype(
    np.float32
)
_RING = np.ones((3, 3), np.uint8)


def foreground(planes: tuple[U8, U8, U8], alpha: U8, shown: U8 | None = None) -> tuple[tuple[U8, U8, U8], U8]:
    """Paint for a frame's edges, and an alpha for it, which together leave the subject's own colours there.

    planes: uint8, each of its own size. alpha: uint8 hxw, the subject's; shown: the one that it will be shown by,
    if that is another (feathered). Returns three small planes of one size, and uint8 hxw: 0 where alpha is 255, or
    where nothing is shown all around, since the background will cover that.

    A pixel of an edge is I = alpha F + (1 - alpha) B. F and B are first taken as means of what around it surely is
    subject and surroundings (normalised convolution), then F is corrected by what they leave unexplained of the pixel,
    as in the last step of Forte, "Approximate Fast Foreground Colour Estimation" (ICIP 2021): F + alpha (I - alpha F -
    (1 - alpha) B). That is alpha I + (1 - alpha) P with P = F + alpha (F - B): a paint as smooth as F and B are, so
    that it is made small, and the hair's own detail stays the frame's. Here a little more is made anew, w = 1.25 (1 -
    alpha), at most all: (1 - w) I + w P with P = B + (F - B) (1 - (1 - w) alpha) / w, which is F again where I is as
    expected. P beyond black or white is cut: of the hardest contrasts some is left.
    """
    height, width = alpha.shape
    while height > _ROWS:
        height, width = -(-height // 2), -(-width // 2)
    size = (width, height)
    small = resize(alpha, size)
    picture = as_f32(cv2.merge([resize(plane, size) for plane in planes]).astype(np.float32))
    subject = _mean(picture, as_f32(cv2.LUT(small, _WEIGHTS)))
    around = _mean(picture, as_f32(cv2.LUT(cv2.bitwise_not(small), _WEIGHTS)))
    of_subject = as_f32(cv2.LUT(small, _OF_SUBJECT))[..., None]
    paint = np.maximum(around + (subject - around) * of_subject, np.float32(0.0))
    y, u, v = (as_u8(plane) for plane in cv2.split(cv2.convertScaleAbs(paint)))
    edges = as_u8(cv2.copyTo(cv2.LUT(alpha, _ANEW), cv2.dilate(alpha if shown is None else shown, _RING)))
    return (y, u, v), edges


def _mean(picture: F32, weight: F32) -> F32:
    """Weighted means around each pixel of a picture, float32 hxwx3."""
    total = cv2.blur(weight, _WINDOW)
    return as_f32(cv2.blur(picture * weight[..., None], _WINDOW) / total[..., None])
