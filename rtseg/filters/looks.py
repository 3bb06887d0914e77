"""What somebody looks like: a histogram of colours, to know people by after they touched or left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.ops.arrays import F32, U8, as_f32, as_u8
from rtseg.ops.flow import FLOW_SIZE

_BINS = 4 * 8 * 8


def bins_of(luma: U8, colours: tuple[U8, U8]) -> NDArray[np.uint8]:
    """Of each pixel the bin of its colour, uint8 of `FLOW_SIZE`: 4 of luma, 8 of U and of V between 64 and 192."""
    u, v = (
        np.clip(as_u8(cv2.resize(plane, FLOW_SIZE, interpolation=cv2.INTER_NEAREST)), 64, 191) - np.uint8(64) >> 4
        for plane in colours
    )
    return as_u8((luma >> 6) * np.uint8(64) + u * np.uint8(8) + v)


@dataclass(frozen=True, eq=False, slots=True)
class Look:
    """Shares of the bins, float32, sum 1."""

    shares: F32

    @classmethod
    def of(cls, bins: U8, where: NDArray[np.bool_]) -> Look:
        """Of the pixels that are told."""
        counts = np.bincount(bins[where], minlength=_BINS).astype(np.float32)
        return cls(counts / max(1.0, float(counts.sum())))

    def after(self, earlier: Look | None, share: float) -> Look:
        """The earlier look with that share of this one."""
        return self if earlier is None else Look(earlier.shares + np.float32(share) * (self.shares - earlier.shares))

    def like(self, other: Look) -> float:
        """0..1: the intersection of both (Swain and Ballard, "Color Indexing", IJCV 1991)."""
        return float(np.minimum(self.shares, other.shares).sum())


def likelier(one: Look, other: Look, bins: U8, area: U8) -> Any:
    """How much likelier a pixel's surroundings are of the first look, -2..2, float32 HxW; 0 outside the area."""
    table = np.clip(np.log((one.shares + 1e-3) / (other.shares + 1e-3)), -2.0, 2.0).astype(np.float32)
    inside = (area > 0).astype(np.float32)
    told = as_f32(cv2.boxFilter(table[bins] * inside, cv2.CV_32F, (7, 7)))
    return told / np.maximum(as_f32(cv2.boxFilter(inside, cv2.CV_32F, (7, 7))), 0.02)
