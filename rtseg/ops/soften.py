"""Soft masks made softer: around their edges, outward or inward, at a cost that does not grow with the width."""

from __future__ import annotations

import cv2

from rtseg.ops.arrays import U8, as_u8
from rtseg.ops.blur import reduction
from rtseg.ops.resize import enlarge, resize


def soften(mask: U8, sigma: float) -> U8:
    """The mask, uint8 HxW, under a Gaussian of `sigma` of its pixels; what leaves the picture goes on as it was there.

    Wide ones are made on a reduced mask, within five levels of a float64 Gaussian of an edge.
    """
    scale, small_sigma, taps = reduction(sigma)
    height, width = mask.shape
    small = resize(mask, (-(-width // scale), -(-height // scale)))
    blurred = cv2.GaussianBlur(small, (taps, taps), small_sigma, borderType=cv2.BORDER_REPLICATE)
    return enlarge(as_u8(blurred), (width, height))


def feather(mask: U8, width: float) -> U8:
    """The mask, uint8 HxW, with an edge that runs out over `width` of its pixels, outward, or inward where negative.

    The edge, where the mask is at a half, is where the slope begins: outward the mask stays whole up to there and falls
    beyond like a Gaussian of sigma width / 2. A straight edge moves, measured by area, by 0.4 width. Nothing of the
    mask is lost outward, so that single hairs stay, and nothing is won inward.
    """
    if width == 0.0:
        return mask
    if width < 0.0:
        return as_u8(cv2.bitwise_not(feather(as_u8(cv2.bitwise_not(mask)), -width)))
    return as_u8(cv2.max(mask, cv2.convertScaleAbs(soften(mask, width / 2), alpha=2.0)))
