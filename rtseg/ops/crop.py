"""A part of a plane at the size of the whole, as a camera that is pointed and zoomed would give it."""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2

from rtseg.ops.arrays import U8, Scratch, as_u8

Part = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels of a plane, of any fraction; pixel i lies from i to i + 1."""

_WHOLE_PIXELS = 1e-6
"""Parts that are so near to whole pixels lie on them: fractions of the frame are not exact in binary."""
_TRIED = 12
"""Pixels before the part that its enlargement may begin at."""


def crop(plane: U8, part: Part, *, out: U8 | None = None, scratch: Scratch | None = None) -> U8:
    """The part, enlarged bilinearly to HxW of the plane it is cut from: uint8, in `out` where that is given.

    Half-pixel centres: sample i of n shows x0 + (i + 0.5) * (x1 - x0) / n, so that all planes of a frame stay in
    register whatever their subsampling. What lies beyond the part or the plane repeats the edge. A part of whole
    pixels is OpenCV's resize of it. Any other is enlarged from a whole pixel on, chosen so that a sample comes to lie
    as near as possible to where one is wanted, and then shifted by the little that is left: places are exact, and edges
    hardly softer than by `cv2.warpAffine`, which takes two and a half times as long.
    """
    height, width = plane.shape
    x0, y0, x1, y1 = part
    left, top, right, bottom = (round(side) for side in part)
    if max(abs(side - near) for side, near in zip(part, (left, top, right, bottom), strict=True)) < _WHOLE_PIXELS:
        source = plane[top:bottom, left:right]
        return as_u8(cv2.resize(source, (width, height), dst=out, interpolation=cv2.INTER_LINEAR))
    across, down = _way(x0, x1, width), _way(y0, y1, height)
    source = plane[down.first : down.last, across.first : across.last]
    fx, fy = 1 / across.step, 1 / down.step
    size = round(source.shape[0] * fy), round(source.shape[1] * fx)  # as OpenCV rounds
    room = None if scratch is None else scratch("large", size)
    large = cv2.resize(source, None, dst=room, fx=fx, fy=fy, interpolation=cv2.INTER_LINEAR)
    centre = across.offset + (width - 1) / 2, down.offset + (height - 1) / 2
    return as_u8(cv2.getRectSubPix(large, (width, height), centre, out))


class _Way(NamedTuple):
    """Along one axis: the pixels that are enlarged, pixels a sample, and the sample at which the part begins."""

    first: int
    last: int
    step: float
    offset: float


def _way(start: float, stop: float, count: int) -> _Way:
    step = (stop - start) / count
    whole = max(0, math.floor(start))  # a part at the edge may begin at -1e-17

    def miss(first: int) -> float:
        offset = (start - first) / step
        return abs(offset - round(offset))

    first = min(range(max(0, whole - _TRIED), whole + 1), key=miss)
    return _Way(first, min(count, math.ceil(stop) + 2), step, (start - first) / step)
