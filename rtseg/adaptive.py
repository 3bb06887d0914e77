"""Which frames need the network: what has not changed keeps its mask, what moved a little takes it along."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import cv2
import numpy as np

from rtseg.ops import kernels
from rtseg.ops.arrays import F32, U8, as_u8
from rtseg.ops.flow import FLOW_SIZE, Flow, pick, warp, warp_at
from rtseg.types import Frame, Regions, Segmentation

_STILL = 6
"""Levels that every place of a still picture stays within: noise, averaged over 3x3 pixels of `FLOW_SIZE`."""
_CHANGED, _LEFT = 8, 12
"""Levels from which a place has changed, and from which it has even after the flow is taken along."""
_MOST_CHANGED, _MOST_LEFT = 0.3, 0.16
"""Of the picture, and of the subject's area: above these shares the network is asked. A hand that comes up counts for
more where the person is small."""
_GAIN = 2
"""Levels that the flow must explain more than staying does: it is a little where nothing moves."""


class Sparing(Protocol):
    """What gives frames the segmentations of earlier ones. It belongs to one stream; `reset` forgets.

    kept: whether the last that was given is as it was after the filters.
    """

    kept: bool

    def __call__(self, frame: Frame, /) -> Segmentation | None:
        """An earlier segmentation for this frame; None where the network must be asked."""
        ...

    def made(self, frame: Frame, segmentation: Segmentation, *, filtered: Segmentation) -> None:
        """The network was asked, with this result, and this one after all filters."""
        ...

    def reset(self) -> None:
        """The next frame is the network's."""
        ...


class Every:
    """Asks for every `step`-th frame; those between have the result of the one before, the same arrays.

    Analyzers that see those again do not measure again but go on as things went, which is as exact where frames come
    thirty times a second. Frames that a live source drops count too.
    """

    def __init__(self, step: int) -> None:
        self._step = step
        self._last: Segmentation | None = None
        self._asked = 0
        self.kept = True

    def __call__(self, frame: Frame, /) -> Segmentation | None:
        """The last result for this frame, None where the network's turn has come."""
        last = self._last
        if last is None or last.size != frame.size or not 0 < frame.index - self._asked < self._step:
            return None
        return replace(last, pts=frame.pts)

    def made(self, frame: Frame, segmentation: Segmentation, *, filtered: Segmentation) -> None:
        """The network was asked."""
        del segmentation
        self._last, self._asked = filtered, frame.index

    def reset(self) -> None:
        """The next frame is the network's."""
        self._last, self._asked = None, 0


class Adaptive:
    """Gives a frame the segmentation of an earlier one where that is as good; None where the network must be asked.

    The luma, at `FLOW_SIZE`, is compared with that of the last frame that the network saw, so that slow changes add up.
    Where nothing changed the result is kept, for at most `still` frames. Where little did, soft masks (`Regions`) are
    moved along the optical flow, for at most `moving` frames, if the flow explains what changed. A cut, a fast
    movement, a light that is switched on: none of them is explained, and the network is asked.

    Belongs to one stream; `reset` forgets.
    """

    def __init__(self, *, still: int = 15, moving: int = 4) -> None:
        self._still, self._moving = still, moving
        self._flow = Flow()
        self.reset()

    def reset(self) -> None:
        """The next frame is the network's."""
        self._luma: U8 | None = None
        self._made: Segmentation | None = None
        self._filtered: Segmentation | None = None
        self._age, self._subject = 0, 0.0
        self.kept = False

    def made(self, frame: Frame, segmentation: Segmentation, *, filtered: Segmentation) -> None:
        """The network was asked: later frames are compared with this one. filtered: the same after all filters."""
        self._luma, self._made, self._filtered = frame.luma(FLOW_SIZE), segmentation, filtered
        self._age, self.kept = 0, False
        self._subject = _area(segmentation)

    def __call__(self, frame: Frame) -> Segmentation | None:
        """An earlier segmentation for this frame: moved, or as it was after filters (`kept` is then true)."""
        made, before = self._made, self._luma
        if made is None or before is None or made.size != frame.size:
            return None
        self._age += 1
        luma = frame.luma(FLOW_SIZE)
        change = as_u8(cv2.blur(cv2.absdiff(luma, before), (3, 3)))
        self.kept = cv2.minMaxLoc(change)[1] <= _STILL
        if self.kept:
            return replace(self._filtered or made, pts=frame.pts) if self._age <= self._still else None
        if self._age > self._moving or not isinstance(made, Regions) or _share(change, _CHANGED) > _MOST_CHANGED:
            return None
        flow = self._flow(luma, before)
        left = as_u8(cv2.blur(cv2.absdiff(luma, warp(before, flow)), (3, 3)))
        if _share(as_u8(cv2.min(left, change)), _LEFT) > _MOST_LEFT * self._subject:
            return None
        gain = as_u8(cv2.subtract(change, left))
        moved = np.empty_like(made.probabilities)
        for mask, target in zip(made.probabilities, moved, strict=True):
            _move(mask, flow, gain, out=target)
        return replace(made, probabilities=moved, pts=frame.pts)


def _move(mask: U8, flow: F32, gain: U8, *, out: U8) -> None:
    """The mask along the flow where that explains at least `_GAIN` levels more than staying."""
    if kernels.COMPILED:
        kernels.move(out, mask, flow, gain, least=_GAIN)
        return
    places = np.flatnonzero(pick(gain, np.arange(mask.size), mask.shape) >= _GAIN)
    np.copyto(out, mask)
    if places.size:
        out.reshape(-1)[places] = warp_at(mask, flow, places)


def _area(segmentation: Segmentation) -> float:
    """The share of the picture that any soft region takes."""
    if not isinstance(segmentation, Regions):
        return 0.0
    union, *others = segmentation.probabilities
    for other in others:
        union = as_u8(cv2.max(union, other))
    return cv2.mean(union)[0] / 255.0


def _share(plane: U8, level: int) -> float:
    """Of the pixels that are over a level."""
    return float(cv2.countNonZero(cv2.threshold(plane, level, 1, cv2.THRESH_BINARY)[1])) / plane.size
