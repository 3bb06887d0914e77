"""The network sees the part of the frame where the subject is, so that the subject gets more of its pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

from rtseg.errors import ConfigError
from rtseg.ops.arrays import U8
from rtseg.ops.boxes import large_areas
from rtseg.ops.matte import finer_size
from rtseg.ops.resize import halve
from rtseg.types import Box, Frame, Regions, Segmentation, Segmenter, Size

_LEAST = 0.0008
"""Share of the network's picture under which an area is no subject."""
_MARGIN, _GUARD = 0.2, 0.07
"""Of the subject's longer side: what is left around it, and what must stay of that before the part moves."""
_LARGE, _TOO_LARGE = 0.8, 0.9
"""Shares of the frame: a new part is smaller than the first, one that was chosen may grow to the second."""
_LOOSE = 1.6
"""A part that has at most so many times the pixels of the one that fits best stays when the whole is looked at."""
_REST = 8
"""Frames that are left alone after a part in which the network did not find what it had found in the whole."""
_GRID = 16
"""Parts begin and end on such pixels of the frame: whole chroma samples, and planes that halve well."""


class Focus:
    """A segmenter of one soft region that shows its network the subject and not the frame around it.

    The whole frame is looked at first, after a reset, every `every` frames, and as soon as the subject is lost or
    reaches the border of the part. In between the network sees the box around the subject and a margin, as views of the
    planes; no part is chosen where the subject fills the frame, and all is as without. A part stays as it is while the
    subject is well inside, so that still pictures have still masks. Who enters elsewhere is found at the next look,
    and is nobody until then. With `every` 1 each frame stands alone.

    Gives the network's `Regions` for whole frames, and for parts a mask of the frame, 0 outside the part, of the size
    that `rtseg.ops.matte.finer_size` names, whatever the part. Belongs to one stream; asks `segmenter`, which
    must remember nothing, up to three times a frame. ConfigError where that gives more than one region.
    """

    def __init__(self, segmenter: Segmenter, *, every: int = 30) -> None:
        if len(segmenter.names) != 1:
            raise ConfigError(
                f"focus follows one subject, and this model gives {', '.join(segmenter.names)}: leave it out, or use "
                "--model portrait"
            )
        self.names = segmenter.names
        self._segmenter, self.every = segmenter, every
        self.reset()

    @property
    def providers(self) -> tuple[str, ...]:
        """Where the network runs, best first."""
        return getattr(self._segmenter, "providers", ("cpu",))

    def reset(self) -> None:
        """The next frame is looked at whole."""
        self._segmenter.reset()
        self.part: Box | None = None
        self._size: Size | None = None
        self._asked = self._looked = self._rest = 0

    def empty(self, frame: Frame) -> Segmentation:
        """What the segmenter calls empty."""
        return self._segmenter.empty(frame)

    def __call__(self, frame: Frame) -> Segmentation:
        """The frame's region."""
        if frame.size != self._size:
            self.part, self._size, self._rest = None, frame.size, 0
        part = self.part
        if part is None or self.every <= 1:
            self.part = None
            return self._look(frame, None)
        seen = self._see(frame, part)
        if not isinstance(seen, _Seen):
            return seen
        self._asked += 1
        # Live sources drop frames, and an adaptive pipeline asks for few: both kinds count.
        due = max(self._asked, frame.index - self._looked) >= self.every
        if due or seen.box is None or _touches(seen.box, part, frame.size, 0):
            return self._look(frame, seen)
        if _touches(seen.box, part, frame.size, _GUARD):
            self.part = self._around(seen.box, _TOO_LARGE)
        return seen.regions

    def _look(self, frame: Frame, seen: _Seen | None) -> Segmentation:
        """Ask for the whole frame, choose the part, and give what is seen in it, or the whole where there is none."""
        whole = self._segmenter(frame)
        if not isinstance(whole, Regions):
            return whole
        self._asked, self._looked = 0, frame.index
        self._network = whole.probabilities.shape[2], whole.probabilities.shape[1]
        if self._rest:
            self._rest -= 1
            return whole
        box = _union(_box_of(whole.probabilities[0], (0, 0, *frame.size)), None if seen is None else seen.box)
        if seen is not None and self.part is not None and box is not None and self._holds(self.part, box):
            return seen.regions
        self.part = None if box is None else self._around(box, _LARGE if self.part is None else _TOO_LARGE)
        if self.part is None:
            return whole
        again = self._see(frame, self.part)
        if isinstance(again, _Seen) and again.box is not None and not _touches(again.box, self.part, frame.size, 0):
            return again.regions
        # The network says one thing of the whole and another of the part: it is left alone for a while.
        self.part, self._rest = None, _REST
        return whole

    def _see(self, frame: Frame, part: Box) -> _Seen | Segmentation:
        result = self._segmenter(_cut(frame, part))
        if not isinstance(result, Regions):
            return result
        mask = result.probabilities[0]
        full = _put(mask, part, frame.size, self._detail())
        return _Seen(Regions(full[np.newaxis], self.names, frame.pts, frame.size), _box_of(mask, part))

    def _detail(self) -> Size:
        """The size of masks of parts: that to which edges are redrawn, which is all that a compositor needs."""
        assert self._size is not None
        return Size(*finer_size(self._network, self._size))

    def _around(self, box: Box, most: float) -> Box | None:
        """The part that fits a subject best; None where that is more than a share of the frame."""
        assert self._size is not None
        detail = self._detail()
        margin = _MARGIN * max(box[2] - box[0], box[3] - box[1])
        sides = []
        for axis in (0, 1):
            whole = self._size[axis]
            least = self._network[axis] * whole / detail[axis] / 2
            length = min(whole, math.ceil(max(box[axis + 2] - box[axis] + 2 * margin, least) / _GRID) * _GRID)
            start = (box[axis] + box[axis + 2] - length) / 2
            first = max(0, min(round(start / _GRID) * _GRID, (whole - length) // 2 * 2))
            last = first + length
            sides.append((first, whole if whole - last < 2 else last))  # no odd line is left out at the end
        (left, right), (top, bottom) = sides
        part = left, top, right, bottom
        return part if _area(part) <= most * self._size.width * self._size.height else None

    def _holds(self, part: Box, box: Box) -> bool:
        """Whether a subject is inside of a part that is not much too large for it."""
        best = self._around(box, 1.0)
        inside = part[0] <= box[0] and part[1] <= box[1] and box[2] <= part[2] and box[3] <= part[3]
        return inside and best is not None and _area(part) <= _LOOSE * _area(best)


@dataclass(frozen=True, eq=False, slots=True)
class _Seen:
    """What a part shows: the frame's mask, and the box around the subject, None for nobody."""

    regions: Regions
    box: Box | None


def _box_of(mask: U8, part: Box) -> Box | None:
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


def _cut(frame: Frame, part: Box) -> Frame:
    """The part as a frame of its own, whose planes are views."""
    x0, y0, x1, y1 = part
    luma, u, v = frame.planes
    step_y, step_x = -(-luma.shape[0] // u.shape[0]), -(-luma.shape[1] // u.shape[1])
    small = np.s_[y0 // step_y : -(-y1 // step_y), x0 // step_x : -(-x1 // step_x)]
    alpha = None if frame.alpha is None else frame.alpha[y0:y1, x0:x1]
    return replace(frame, planes=(luma[y0:y1, x0:x1], u[small], v[small]), alpha=alpha)


def _put(mask: U8, part: Box, frame: Size, size: Size) -> U8:
    """A mask of a part as one of the frame, of `size`, 0 around the part."""
    scale = size.width / frame.width, size.height / frame.height
    x0, x1 = part[0] * scale[0], part[2] * scale[0]
    y0, y1 = part[1] * scale[1], part[3] * scale[1]
    full = np.zeros((size.height, size.width), np.uint8)
    left, right, top, bottom = round(x0), round(x1), round(y0), round(y1)
    target = full[top:bottom, left:right]
    if all(edge.is_integer() for edge in (x0, x1, y0, y1)):
        cv2.resize(mask, target.shape[::-1], dst=target, interpolation=cv2.INTER_LINEAR)
        return full
    ratio_x, ratio_y = mask.shape[1] / (x1 - x0), mask.shape[0] / (y1 - y0)
    # Pixel i of the target has its centre at (left + i + 0.5 - x0) * ratio of the mask, whose own are at + 0.5.
    place = np.array(
        [
            [ratio_x, 0.0, (left + 0.5 - x0) * ratio_x - 0.5],
            [0.0, ratio_y, (top + 0.5 - y0) * ratio_y - 0.5],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    target[:] = cv2.warpAffine(mask, place, target.shape[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return full


def _touches(box: Box, part: Box, frame: Size, share: float) -> bool:
    """Whether a subject comes nearer to a side of its part, other than the frame's own, than a share of its length."""
    near = 1 + share * max(box[2] - box[0], box[3] - box[1])
    limits = 0, 0, *frame
    return any(
        part[side] != limits[side] and (box[side] - part[side]) * (1 if side < 2 else -1) < near for side in range(4)
    )


def _union(one: Box | None, other: Box | None) -> Box | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3])


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])
