"""How far a matte is from the true one: the four errors of matting benchmarks, and one of how mattes change.

All take alphas as uint8 HxW, 0..255, and count in units of 0..1. `known` is boolean HxW: other pixels count nowhere.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.ops.arrays import F32, U8

Bool: TypeAlias = NDArray[np.bool_]

SIGMA = 1.4
"""Of the derivative of a Gaussian that gradients are taken with."""

THETA = 15
"""Hundredths from which a pixel is apart from what hangs together."""

_STEPS = 10
_EPSILON = 1e-2  # a filter is as wide as the Gaussian is over this


def mean_absolute_error(truth: U8, predicted: U8, known: Bool) -> float:
    """MAD: the mean of |a - t|, 0..1; 0 where nothing is known."""
    difference = cv2.absdiff(truth, predicted)[known]
    return float(difference.mean(dtype=np.float64)) / 255.0 if difference.size else 0.0


def mean_squared_error(truth: U8, predicted: U8, known: Bool) -> float:
    """MSE: the mean of (a - t)^2, 0..1; 0 where nothing is known."""
    difference = cv2.absdiff(truth, predicted)[known].astype(np.float64)
    return float(np.square(difference).mean()) / 255.0**2 if difference.size else 0.0


def gradient_error(truth: U8, predicted: U8, known: Bool) -> float:
    """Grad: the sum of (|grad a| - |grad t|)^2, by derivatives of a Gaussian of sigma 1.4, edges repeated.

    Rhemann et al., "A Perceptually Motivated Online Benchmark for Image Matting", CVPR 2009, with the filters of its
    evaluation code: 9x9, of unit L2 norm. That code stretches each matte to 0..1 first, which changes nothing where
    both reach 0 and 255 and would hide an error elsewhere; here none is stretched. Tables give it divided by 1000.
    """
    difference = _gradient(predicted) - _gradient(truth)
    return float(np.square(difference[known], dtype=np.float64).sum())


def connectivity_error(truth: U8, predicted: U8, known: Bool) -> float:
    """Conn: the sum of |phi(a) - phi(t)|, where phi says how far a pixel hangs together with the largest part.

    With l the last of the levels 0, 0.1 .. 1 at which a pixel belongs to the largest 4-connected part of what both
    mattes have at that level, and d = a - l: phi = 1 - d where d is at least 0.15, else 1 (Rhemann et al., CVPR 2009,
    in the form of its evaluation code). Tables give it divided by 1000.
    """
    least = np.minimum(truth, predicted).astype(np.int32)
    level = np.full(truth.shape, _STEPS, np.int32)
    inside = np.ones(truth.shape, bool)
    for step in range(1, _STEPS + 1):
        common = _largest(least * _STEPS >= 255 * step)
        level[inside & ~common] = step - 1
        inside &= common
    apart = [_apart(matte, level) for matte in (truth, predicted)]
    return float(np.abs(apart[0] - apart[1])[known].sum())


def change_error(truth: tuple[U8, U8], other: tuple[U8, U8], known: Bool | None = None) -> float:
    """The dtSSD of two frames, x100: the root of the mean over pixels of ((b_t - b_t-1) - (a_t - a_t-1))^2, in 0..1.

    Erofeev et al., "Perceptually Motivated Benchmark for Video Matting", BMVC 2015, in the form of the published
    evaluation code of RobustVideoMatting. truth, other: the frame before and the frame, of one shape of any number of
    dimensions. 0 where nothing is known.
    """
    (a, b), (c, d) = ([mask.astype(np.float32) / 255.0 for mask in pair] for pair in (truth, other))
    squares = np.square((d - c) - (b - a))
    counted = squares if known is None else squares[known]
    return 100.0 * math.sqrt(float(np.mean(counted))) if counted.size else 0.0


def _gradient(matte: U8) -> F32:
    half = math.ceil(SIGMA * math.sqrt(-2.0 * math.log(math.sqrt(2.0 * math.pi) * SIGMA * _EPSILON)))
    x = np.arange(-half, half + 1, dtype=np.float64)
    smooth = np.exp(-(x**2) / (2.0 * SIGMA**2)) / (SIGMA * math.sqrt(2.0 * math.pi))
    slope = -x * smooth / SIGMA**2
    slope /= math.sqrt(float(np.square(smooth).sum() * np.square(slope).sum()))
    plane = matte.astype(np.float64) / 255.0
    across = cv2.sepFilter2D(plane, cv2.CV_64F, slope, smooth, borderType=cv2.BORDER_REPLICATE)
    down = cv2.sepFilter2D(plane, cv2.CV_64F, smooth, slope, borderType=cv2.BORDER_REPLICATE)
    return np.hypot(across, down).astype(np.float32)


def _largest(mask: Bool) -> Bool:
    """The largest 4-connected part; of equal ones the first."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    if count == 1:
        return np.zeros_like(mask)
    return np.asarray(labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA])))


def _apart(matte: U8, level: NDArray[np.int32]) -> NDArray[np.float64]:
    """1 - phi; compared in whole numbers, since 0.1 has no exact float."""
    tenths = matte.astype(np.int32) * 100 - 255 * (100 // _STEPS) * level
    return np.where(tenths >= 255 * THETA, tenths / 25500.0, 0.0)
