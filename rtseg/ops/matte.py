"""Soft masks of one subject: faint islands taken away, edges drawn to where the picture has them."""

from __future__ import annotations

import cv2
import numpy as np

from rtseg.ops.arrays import F32, U8, as_f32, as_u8
from rtseg.ops.resize import halve

_RING = np.ones((3, 3), np.uint8)
_WINDOW = (9, 9)
_PRIOR = 80.0**2
"""k: where subject and surroundings differ by 80 levels, luma and mask weigh the same."""
_SLOPE = 2.0
"""Networks draw edges about twice as wide as they are, which lets a rim of the background through."""
_UNSURE = (6, 249)

_levels = np.arange(256, dtype=np.float32)
_STEEP: F32 = np.clip((_levels - 127.5) * _SLOPE + 127.5, 0.0, 255.0).astype(np.float32)


def drop_islands(mask: U8, *, low: int, high: int) -> U8:
    """The mask, uint8 HxW, less the areas over `low` that nowhere reach `high`, and less what is under `low` and
    touches no area that stays: thresholds with hysteresis (Canny 1986) that leave soft edges as they are.

    Areas are looked for at half the resolution where that is whole, so that a lone pixel is no area.
    """  # fmt: skip
    height, width = mask.shape
    small = halve(mask) if width % 2 == height % 2 == 0 else mask
    count, labels = cv2.connectedComponents(as_u8(cv2.compare(small, low, cv2.CMP_GE)), ltype=cv2.CV_16U)
    stays = np.zeros(count, np.uint8)
    stays[labels[small >= high]] = 255
    stays[0] = 0
    if not stays.any():
        return np.zeros_like(mask)
    # A soft edge runs out under `low`: one more pixel all around is left alone.
    support = cv2.dilate(stays[labels], _RING)
    if small is not mask:
        support = cv2.resize(support, (width, height), interpolation=cv2.INTER_NEAREST)
    return as_u8(cv2.min(mask, support))


class EdgeModel:
    """Redraws a soft mask's edges where the luma has them, at a higher resolution; keeps its memory between calls.

    Around each unsure pixel the mean luma of the subject, F, and of what surrounds it, B, are taken in 9x9, weighted
    by the mask m. The luma Y alone says alpha = (Y - B) / (F - B). With the mask as its prior, the least-squares
    answer is alpha = ((Y - B) (F - B) + k m) / ((F - B)² + k): where subject and surroundings look alike, the mask
    decides. That is linear in Y, so it is fitted at the mask's resolution, and its two coefficients are enlarged and
    applied to a larger luma, as the fast guided filter does (He and Sun, arXiv:1505.00996), whose window statistics
    know nothing of subject and surroundings and blur the mask. Not safe to share between threads.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[str, tuple[int, ...]], F32] = {}

    def __call__(self, mask: U8, coarse: U8, fine: U8, *, out: U8) -> None:
        """mask: uint8 hxw; coarse: luma of that shape; fine: luma HxW; out: the alpha, uint8 HxW."""
        gain, offset = self._fit(mask, coarse)
        size = fine.shape[1], fine.shape[0]
        alpha, shift = self._scratch("alpha", fine.shape), self._scratch("shift", fine.shape)
        cv2.resize(gain, size, dst=alpha, interpolation=cv2.INTER_LINEAR)
        cv2.resize(offset, size, dst=shift, interpolation=cv2.INTER_LINEAR)
        cv2.multiply(alpha, fine, dst=alpha, dtype=cv2.CV_32F)
        cv2.add(alpha, shift, dst=alpha)
        cv2.convertScaleAbs(cv2.max(alpha, 0.0, dst=alpha), dst=out)  # it takes absolute values

    def _fit(self, mask: U8, luma: U8) -> tuple[F32, F32]:
        """Gain and offset of each pixel, float32 hxw, for alpha = gain * luma + offset, 0..255 and beyond."""
        gain, offset = self._scratch("gain", mask.shape), self._scratch("offset", mask.shape)
        gain.fill(0.0)
        np.take(_STEEP, mask, out=offset)
        low, high = _UNSURE
        edge = np.flatnonzero(mask - np.uint8(low) <= high - low)  # what is below wraps around
        if edge.size == 0:
            return gain, offset
        own = cv2.multiply(mask, luma, dst=self._scratch("own", mask.shape), scale=1 / 255, dtype=cv2.CV_32F)
        prior = mask.reshape(-1)[edge].astype(np.float32)
        weight, subject, everything = (self._mean(plane)[edge] for plane in (mask, as_f32(own), luma))
        weight /= 255.0
        around = (everything - subject) / (1.001 - weight)
        contrast = subject / (weight + 0.001) - around
        scale = (255.0 * _SLOPE) / (contrast * contrast + _PRIOR)
        gain.reshape(-1)[edge] = contrast * scale
        offset.reshape(-1)[edge] = (prior * (_PRIOR / 255.0) - contrast * around) * scale + 127.5 * (1.0 - _SLOPE)
        return gain, offset

    def _mean(self, plane: U8 | F32) -> F32:
        """Means in the window around each pixel, flat; the next call overwrites them."""
        return as_f32(cv2.boxFilter(plane, cv2.CV_32F, _WINDOW, dst=self._scratch("mean", plane.shape))).reshape(-1)

    def _scratch(self, name: str, shape: tuple[int, ...]) -> F32:
        if len(self._kept) > 32:  # frames came in many sizes
            self._kept.clear()
        if (name, shape) not in self._kept:
            self._kept[name, shape] = np.empty(shape, np.float32)
        return self._kept[name, shape]
