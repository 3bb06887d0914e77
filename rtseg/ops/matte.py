"""Soft masks of one subject: faint islands taken away, edges drawn to where the picture has them."""

from __future__ import annotations

import math
from typing import TypeAlias

import cv2
import numpy as np

from rtseg.ops import kernels
from rtseg.ops.arrays import F32, U8, as_f32, as_u8
from rtseg.ops.resize import halve

Part: TypeAlias = tuple[slice, slice]

_RING = np.ones((3, 3), np.uint8)
WINDOW = (7, 7)
PRIOR = 96.0**2
"""k: where subject and surroundings differ by 96 levels, luma and mask weigh the same."""
SLOPE = 2.0
"""Networks draw edges about twice as wide as they are, which lets a rim of the background through."""
UNSURE = (6, 249)

_levels = np.arange(256)
STEEP: U8 = np.clip((_levels - 127.5) * SLOPE + 127.5, 0.0, 255.0).astype(np.uint8)


def drop_islands(mask: U8, *, low: int, high: int) -> U8:
    """The mask, uint8 HxW, less the areas over `low` that nowhere reach `high`, and less what is under `low` and
    touches no area that stays: thresholds with hysteresis (Canny 1986) that leave soft edges as they are.

    Areas are looked for at half the resolution where that is whole, so that a lone pixel is no area.
    """  # fmt: skip
    height, width = mask.shape
    small = halve(mask) if width % 2 == height % 2 == 0 else mask
    areas = _at_least(low, small)
    count, labels = cv2.connectedComponents(areas, ltype=cv2.CV_16U)
    if count > 2:
        stays = np.zeros(count, np.uint8)
        stays[labels[small >= high]] = 255
        stays[0] = 0
        areas = stays[labels]
    if cv2.minMaxLoc(small, areas)[1] < high:  # also where no area is left: that gives 0
        return np.zeros_like(mask)
    # A soft edge runs out under `low`: one more pixel all around is left alone.
    support = cv2.dilate(areas, _RING)
    if small is not mask:
        support = cv2.resize(support, (width, height), interpolation=cv2.INTER_NEAREST)
    return as_u8(cv2.min(mask, support))


class EdgeModel:
    """Redraws a soft mask's edges where the luma has them, at a higher resolution; keeps its memory between calls.

    Around each unsure pixel the mean luma of the subject, F, and of what surrounds it, B, are taken in 7x7, weighted
    by the mask m. The luma Y alone says alpha = (Y - B) / (F - B). With the mask as its prior, the least-squares
    answer is alpha = ((Y - B) (F - B) + k m) / ((F - B)² + k): where subject and surroundings look alike, the mask
    decides. That is linear in Y, so it is fitted at the mask's resolution, and its two coefficients are enlarged and
    applied to a larger luma, as the fast guided filter does (He and Sun, arXiv:1505.00996), whose window statistics
    know nothing of subject and surroundings and blur the mask. Not safe to share between threads.
    """

    def __init__(self) -> None:
        self._kept: dict[str, F32] = {}

    def __call__(self, mask: U8, coarse: U8, fine: U8, *, out: U8) -> None:
        """mask: uint8 hxw; coarse: luma of that shape; fine: luma HxW; out: the alpha, uint8 HxW."""
        if kernels.COMPILED:
            kernels.redraw(out, mask, coarse, fine, prior=PRIOR, slope=SLOPE, unsure=UNSURE)
            return
        part = _unsure_part(mask, fine.shape)
        if part is None:
            out.fill(_sure(mask[0, 0]))
            return
        small, large = part
        _fill_around(large, out, mask, small)
        gain, offset = self._fit(mask[small], coarse[small])
        shape = fine[large].shape
        luma, slope, alpha = (self._scratch(name, shape) for name in ("luma", "slope", "alpha"))
        np.copyto(luma, fine[large])
        cv2.resize(gain, shape[::-1], dst=slope, interpolation=cv2.INTER_LINEAR)
        cv2.resize(offset, shape[::-1], dst=alpha, interpolation=cv2.INTER_LINEAR)
        cv2.accumulateProduct(slope, luma, alpha)
        cv2.threshold(alpha, 0.0, 0.0, cv2.THRESH_TOZERO, dst=alpha)
        cv2.convertScaleAbs(alpha, dst=out[large])

    def _fit(self, mask: U8, luma: U8) -> tuple[F32, F32]:
        """Gain and offset of each pixel, float32 hxw, for alpha = gain * luma + offset, 0..255 and beyond."""
        gain, offset = self._scratch("gain", mask.shape), self._scratch("offset", mask.shape)
        gain.fill(0.0)
        np.copyto(offset, cv2.LUT(mask, STEEP))
        low, high = UNSURE
        edge = np.flatnonzero(mask - np.uint8(low) <= high - low)  # what is below wraps around
        own = cv2.multiply(mask, luma, dst=self._scratch("own", mask.shape), scale=1 / 255, dtype=cv2.CV_32F)
        weight, subject, everything = (self._mean(plane)[edge] for plane in (mask, as_f32(own), luma))
        weight /= 255.0
        around = (everything - subject) / (1.001 - weight)
        contrast = subject / (weight + 0.001) - around
        scale = (255.0 * SLOPE) / (contrast * contrast + PRIOR)
        gain.reshape(-1)[edge] = contrast * scale
        prior = mask.reshape(-1)[edge] * np.float32(PRIOR / 255.0)
        offset.reshape(-1)[edge] = (prior - contrast * around) * scale + 127.5 * (1.0 - SLOPE)
        return gain, offset

    def _mean(self, plane: U8 | F32) -> F32:
        """Means in the window around each pixel, flat; the next call overwrites them."""
        return as_f32(cv2.boxFilter(plane, cv2.CV_32F, WINDOW, dst=self._scratch("mean", plane.shape))).reshape(-1)

    def _scratch(self, name: str, shape: tuple[int, ...]) -> F32:
        """Uninitialised memory of that shape, the same from call to call while it suffices."""
        size = shape[0] * shape[1]
        kept = self._kept.get(name)
        if kept is None or kept.size < size:
            kept = self._kept[name] = np.empty(size, np.float32)
        return kept[:size].reshape(shape)


def finer_size(mask: tuple[int, int], frame: tuple[int, int]) -> tuple[int, int]:
    """Where edges are redrawn: the frame halved until it is about twice the mask; never less than the mask.

    Sizes are (width, height). The luma of such sizes is there already, and a compositor needs no more than doubling to
    make alpha of it.
    """
    step = 2
    while frame[0] * frame[1] > (3 * step) ** 2 * mask[0] * mask[1]:
        step *= 2
    return max(mask[0], frame[0] // step), max(mask[1], frame[1] // step)


def _unsure_part(mask: U8, shape: tuple[int, ...]) -> tuple[Part, Part] | None:
    """The box around all that is neither surely in nor surely out, or borders on the other, in the mask and exactly
    the same in a plane of `shape`; None where all is sure."""  # fmt: skip
    unsure = cv2.min(cv2.dilate(mask, _RING), cv2.bitwise_not(cv2.erode(mask, _RING)))
    left, top, width, height = cv2.boundingRect(_at_least(UNSURE[0], as_u8(unsure)))
    if width == 0:
        return None
    sides = [
        _stretch(start, length, few, many)
        for start, length, few, many in zip((top, left), (height, width), mask.shape, shape, strict=True)
    ]
    (small_y, large_y), (small_x, large_x) = sides
    return (small_y, small_x), (large_y, large_x)


def _stretch(start: int, length: int, few: int, many: int) -> tuple[slice, slice]:
    """A stretch of `few` pixels, grown by the window and to where a pixel of `many` begins, and the same of those."""
    step = few // math.gcd(few, many)
    margin = WINDOW[0] // 2
    first = max(0, start - margin) // step * step
    last = min(few, -(-(start + length + margin) // step) * step)
    return slice(first, last), slice(first * many // few, last * many // few)


def _fill_around(large: Part, out: U8, mask: U8, small: Part) -> None:
    """Fill what lies above, below, left and right of the part, where the mask is sure and so of one mind."""
    rows, columns = large
    row = small[0].start
    out[: rows.start] = _sure(mask[0, 0])
    out[rows.stop :] = _sure(mask[-1, 0])
    out[rows, : columns.start] = _sure(mask[row, 0])
    out[rows, columns.stop :] = _sure(mask[row, -1])


def _sure(level: np.uint8) -> int:
    return 255 if level >= 128 else 0


def _at_least(level: int, plane: U8) -> U8:
    """255 where the plane is at least `level`, 0 elsewhere."""
    return as_u8(cv2.threshold(plane, level - 1, 255, cv2.THRESH_BINARY)[1])
