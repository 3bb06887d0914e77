"""Where things were a frame ago: dense optical flow on small planes, and masks moved along it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.ops.arrays import F32, U8, as_f32, as_u8

FLOW_SIZE = (128, 72)
"""Width and height of the planes that flow is taken of. Fixed, since DIS reads beyond its memory in thin pictures."""

_ROW = 512  # cv2.remap takes rows and columns below 32768 only: points are laid out in rows of this many


_HISTORY = 0.8
"""Weight of the past where it surely shows the same: white noise in a still mask keeps a ninth of its variance."""
SAME, OTHER = 4, 16
"""Differences of luma, in levels, up to which a place shows the same thing as before, and from which another one."""
_levels = np.arange(256, dtype=np.float64)
TRUST: U8 = np.rint(255 * _HISTORY * np.clip((OTHER - _levels) / (OTHER - SAME), 0, 1)).astype(np.uint8)
"""How far the past is trusted, 0..255, by how much the luma differs."""


class Flow:
    """Backward flow between two small planes. Keeps memory, no results; not safe to share between threads.

    DIS (Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016), whose finest level here is a
    quarter of the plane: it follows a head or an arm, not a finger, and takes a tenth of a millisecond.
    """

    def __init__(self) -> None:
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)

    def __call__(self, current: U8, previous: U8) -> F32:
        """What is at (x, y) in `current` was at (x, y) + flow[y, x] in `previous`: float32 HxWx2, in their pixels.

        Both planes are uint8 of `FLOW_SIZE`.
        """
        return as_f32(self._dis.calc(current, previous, None))  # type: ignore[call-overload]


def warp(plane: U8, flow: F32) -> U8:
    """A plane of the previous picture, uint8 HxW as the flow, with its things where they are in the current one.

    Bilinear, edges repeated.
    """
    places = flow + _grid(plane.shape).view(np.float32).reshape(flow.shape)
    return _remap(plane, places)


def warp_at(plane: U8, flow: F32, index: NDArray[np.intp]) -> U8:
    """The same for a plane of any size, at the pixels of a flat `index` only: uint8 of its shape, N.

    The flow, smooth as it is, is not interpolated.
    """
    (height, width), (rows, columns) = plane.shape, flow.shape[:2]
    ratio = (width / columns, height / rows, 0.0, 0.0)
    scaled = as_f32(cv2.multiply(flow, ratio))  # type: ignore[call-overload]  # the stubs do not know scalars
    places = np.zeros((-(-index.size // _ROW), _ROW, 2), np.float32)
    points = places.view(np.complex64).reshape(-1)[: index.size]
    np.add(_grid(plane.shape)[index], pick(scaled.view(np.complex64)[..., 0], index, plane.shape), out=points)
    return _remap(plane, places).reshape(-1)[: index.size]


def pick(plane: NDArray[Any], index: NDArray[np.intp], shape: tuple[int, ...]) -> NDArray[Any]:
    """What a plane hxw has at the pixels of a flat `index` into an array of `shape`, HxW: the nearest, N."""
    return plane.reshape(-1)[_nearest(plane.shape, shape)[index]]


def _remap(plane: U8, places: F32) -> U8:
    moved = cv2.remap(plane, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
    return as_u8(moved)


@lru_cache(maxsize=8)
def _grid(shape: tuple[int, ...]) -> NDArray[np.complex64]:
    """The x and y of each pixel, flat, as a complex number: two float32 that are looked up and added as one."""
    y, x = np.indices(shape, np.float32)
    return np.stack([x, y], axis=-1).view(np.complex64).reshape(-1)


@lru_cache(maxsize=8)
def _nearest(small: tuple[int, ...], large: tuple[int, ...]) -> NDArray[np.intp]:
    """For each pixel of `large`, flat, the flat index of the pixel of `small` at its place."""
    rows, columns = (
        ((np.arange(many) + 0.5) * few / many).astype(np.intp) for few, many in zip(small, large, strict=True)
    )
    return (rows[:, None] * small[1] + columns).reshape(-1)
