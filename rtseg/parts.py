"""Parts of frames: which shows a subject best, and masks of parts as masks of frames."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TypeAlias

import cv2
import numpy as np

from rtseg.errors import ConfigError
from rtseg.ops.arrays import U8, as_u8
from rtseg.ops.boxes import large_areas
from rtseg.ops.resize import halve
from rtseg.types import Box, Frame, Segmenter, Size

Region: TypeAlias = tuple[slice, slice]

_LEAST = 0.0008
"""Share of the network's picture under which an area is no subject."""
_MARGIN = 0.2
"""Of the subject's longer side: what is left around it."""
GUARD = 0.07
"""The same: what must stay of that before the part moves."""
LARGE = 0.8
"""Share of the frame from which a part shows hardly more than the whole."""
LOOSE = 1.6
"""A part that has at most so many times the pixels of the one that fits best stays as it is."""
_GRID = 16
"""Parts begin and end on such pixels of the frame: whole chroma samples, and planes that halve well."""


def one_subject(segmenter: Segmenter, option: str) -> tuple[str, ...]:
    """The segmenter's one name; ConfigError, which names the option, where it gives several."""
    if len(segmenter.names) != 1:
        raise ConfigError(
            f"{option} is of one subject, and this model gives {', '.join(segmenter.names)}: leave it out, or use "
            "--model portrait"
        )
    return segmenter.names


def around(box: Box, frame: Size, network: tuple[int, int], detail: Size, *, most: float) -> Box | None:
    """The part that fits a subject best; None where that is more than a share of the frame.

    network: size of the network's picture, detail: of masks of the frame: less than half as many pixels gain nothing.
    """
    margin = _MARGIN * max(box[2] - box[0], box[3] - box[1])
    sides = []
    for axis in (0, 1):
        whole = frame[axis]
        least = network[axis] * whole / detail[axis] / 2
        length = min(whole, math.ceil(max(box[axis + 2] - box[axis] + 2 * margin, least) / _GRID) * _GRID)
        start = (box[axis] + box[axis + 2] - length) / 2
        first = max(0, min(round(start / _GRID) * _GRID, (whole - length) // 2 * 2))
        last = first + length
        sides.append((first, whole if whole - last < 2 else last))  # no odd line is left out at the end
    (left, right), (top, bottom) = sides
    part = left, top, right, bottom
    return part if area(part) <= most * frame.width * frame.height else None


def box_of(mask: U8, part: Box) -> Box | None:
    """The box, in the frame, around all that a mask of the part surely shows; None for nothing but specks.

    Looked for at half the mask's resolution, which costs a quarter and is exact enough for a box with a margin.
    """
    if mask.shape[0] % 2 == mask.shape[1] % 2 == 0:
        mask = halve(mask)
    large = large_areas(mask, least=_LEAST)
    if not len(large):
        return None
    x0, y0 = large[:, 0].min(), large[:, 1].min()
    x1, y1 = (large[:, 0] + large[:, 2]).max(), (large[:, 1] + large[:, 3]).max()
    step_x, step_y = (part[2] - part[0]) / mask.shape[1], (part[3] - part[1]) / mask.shape[0]
    return (
        part[0] + math.floor(x0 * step_x),
        part[1] + math.floor(y0 * step_y),
        part[0] + math.ceil(x1 * step_x),
        part[1] + math.ceil(y1 * step_y),
    )


def cut(frame: Frame, part: Box) -> Frame:
    """The part as a frame of its own, whose planes are views."""
    x0, y0, x1, y1 = part
    luma, u, v = frame.planes
    step_y, step_x = -(-luma.shape[0] // u.shape[0]), -(-luma.shape[1] // u.shape[1])
    small = np.s_[y0 // step_y : -(-y1 // step_y), x0 // step_x : -(-x1 // step_x)]
    alpha = None if frame.alpha is None else frame.alpha[y0:y1, x0:x1]
    return replace(frame, planes=(luma[y0:y1, x0:x1], u[small], v[small]), alpha=alpha)


def placed(mask: U8, part: Box, frame: Size, size: Size) -> tuple[Region, U8]:
    """A mask of a part as one of the frame, of `size`: where in that it is, and what is there."""
    scale = size.width / frame.width, size.height / frame.height
    x0, x1 = part[0] * scale[0], part[2] * scale[0]
    y0, y1 = part[1] * scale[1], part[3] * scale[1]
    left, right, top, bottom = round(x0), round(x1), round(y0), round(y1)
    region, shape = (slice(top, bottom), slice(left, right)), (right - left, bottom - top)
    if all(edge.is_integer() for edge in (x0, x1, y0, y1)):
        return region, as_u8(cv2.resize(mask, shape, interpolation=cv2.INTER_LINEAR))
    ratio_x, ratio_y = mask.shape[1] / (x1 - x0), mask.shape[0] / (y1 - y0)
    # Pixel i of the target has its centre at (left + i + 0.5 - x0) * ratio of the mask, whose own are at + 0.5.
    place = np.array(
        [
            [ratio_x, 0.0, (left + 0.5 - x0) * ratio_x - 0.5],
            [0.0, ratio_y, (top + 0.5 - y0) * ratio_y - 0.5],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return region, as_u8(cv2.warpAffine(mask, place, shape, flags=flags, borderMode=cv2.BORDER_REPLICATE))


def touches(box: Box, part: Box, frame: Size, share: float) -> bool:
    """Whether a subject comes nearer to a side of its part, other than the frame's own, than a share of its length."""
    near = 1 + share * max(box[2] - box[0], box[3] - box[1])
    limits = 0, 0, *frame
    return any(
        part[side] != limits[side] and (box[side] - part[side]) * (1 if side < 2 else -1) < near for side in range(4)
    )


def union(one: Box | None, other: Box | None) -> Box | None:
    """The box around both, as far as there are two."""
    if one is None or other is None:
        return other if one is None else one
    return min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3])


def area(box: Box) -> int:
    """Pixels of a box."""
    return (box[2] - box[0]) * (box[3] - box[1])
