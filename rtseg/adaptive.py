"""Which frames need the network: what has not changed keeps its mask, what moved a little takes it along."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from rtseg.ops.arrays import U8, as_f32, as_u8
from rtseg.ops.flow import FLOW_SIZE, Flow, warp
from rtseg.types import Frame, Regions, Segmentation

_STILL = 6
"""Levels that every place of a still picture stays within: noise, averaged over 3x3 pixels of `FLOW_SIZE`."""
_CHANGED, _LEFT = 8, 12
"""Levels from which a place has changed, and from which it has even after the flow is taken along."""
_MOST_CHANGED, _MOST_LEFT = 0.2, 0.03
"""Shares of the picture: above them the network is asked."""


class Adaptive:
    """Gives a frame the segmentation of an earlier one where that is as good; None where the network must be asked.

    The luma, at `FLOW_SIZE`, is compared with that of the last frame that the network saw, so that slow changes add up.
    Where nothing changed the result is kept, for at most `still` frames. Where little did, soft masks (`Regions`) are
    moved along the optical flow, for at most `moving` frames, if the flow explains what changed. A cut, a fast
    movement, a light that is switched on: none of them is explained, and the network is asked.

    Belongs to one stream; `reset` forgets.
    """

    def __init__(self, *, still: int = 15, moving: int = 2) -> None:
        self._still, self._moving = still, moving
        self._flow = Flow()
        self.reset()

    def reset(self) -> None:
        """The next frame is the network's."""
        self._luma: U8 | None = None
        self._made: Segmentation | None = None
        self._filtered: Segmentation | None = None
        self._age = 0
        self.kept = False

    def made(self, frame: Frame, segmentation: Segmentation, *, filtered: Segmentation) -> None:
        """The network was asked: later frames are compared with this one. filtered: the same after all filters."""
        self._luma, self._made, self._filtered = frame.luma(FLOW_SIZE), segmentation, filtered
        self._age, self.kept = 0, False

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
        if _share(as_u8(cv2.min(left, change)), _LEFT) > _MOST_LEFT:
            return None
        flow.view(np.complex64)[as_u8(cv2.subtract(change, left)) <= 1] = 0.0  # where staying explains as much
        height, width = made.probabilities.shape[1:]
        large = as_f32(cv2.resize(flow, (width, height), interpolation=cv2.INTER_LINEAR))
        large *= np.array([width / FLOW_SIZE[0], height / FLOW_SIZE[1]], np.float32)
        moved = np.stack([warp(mask, large) for mask in made.probabilities])
        return replace(made, probabilities=moved, pts=frame.pts)


def _share(plane: U8, level: int) -> float:
    """Of the pixels that are over a level."""
    return float(cv2.countNonZero(cv2.threshold(plane, level, 1, cv2.THRESH_BINARY)[1])) / plane.size
