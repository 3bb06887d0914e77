"""Steadies soft masks over time without dragging them behind what moves."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

import cv2
import numpy as np

from rtseg.ops import kernels
from rtseg.ops.arrays import F32, U8, as_f32, as_u8
from rtseg.ops.flow import FLOW_SIZE, OTHER, SAME, TRUST, Flow, pick, warp, warp_at
from rtseg.ops.matte import drop_islands
from rtseg.ops.resize import shrink
from rtseg.types import Frame, Instances, Panoptic, Regions, Segmentation, Semantic

_LOW, _HIGH = 48, 160
"""What a matte claims only below `_HIGH` is no subject, unless it joins one through pixels of at least `_LOW`."""

_SLOW, _FAST = 1.0, 2.0
"""Pixels of `FLOW_SIZE` a frame: up to the one the past counts, from the other not at all. Fast edges are blurred, and
a flow of so few pixels is off by more than they are wide."""

_NEIGHBOURS = np.ones((3, 3), np.uint8)


class TemporalSmooth:
    """Blends each soft mask with its past, moved along the optical flow of the luma.

    The past counts where the luma there is as it was, and only within what the new mask says in the 3x3 pixels
    around (history rectification: Karis, "High Quality Temporal Supersampling", SIGGRAPH 2014). So a mask
    neither lags nor leaves a ghost: where the new one is sure, nothing of the old one is left. A matte (one region)
    also loses the faint islands that join nothing: see `rtseg.ops.matte`.

    `Regions` only; everything else is passed through. The past is forgotten with another size or other names, and
    counts for nothing after a cut, where no luma is as it was.

    follow: along the flow; without it, what moves is not smoothed, as in a fused graph. tidy: whether a matte loses
    its islands, which no graph can tell.
    """

    def __init__(self, *, follow: bool = True, tidy: bool = True) -> None:
        self._follow, self._tidy = follow, tidy
        self._flow = Flow()
        self.reset()

    def reset(self) -> None:
        """Forget the frames before."""
        self._luma: U8 | None = None
        self._past: Regions | None = None

    def __call__(self, frame: Frame, segmentation: Segmentation) -> Segmentation:
        """The segmentation, steadied; its own masks are left as they are."""
        match segmentation:
            case Regions():
                return self._regions(frame, segmentation)
            case Semantic() | Instances() | Panoptic():
                return segmentation
            case _:
                assert_never(segmentation)

    def _regions(self, frame: Frame, regions: Regions) -> Regions:
        luma, masks = _flow_luma(frame, regions), regions.probabilities
        past, before = self._past, self._luma
        smoothed = masks.copy()
        if past is not None and before is not None and _alike(past, regions):
            self._blend(masks, past.probabilities, luma, before, out=smoothed)
        if len(masks) == 1 and self._tidy:
            smoothed = drop_islands(smoothed[0], low=_LOW, high=_HIGH)[np.newaxis]
        self._luma, self._past = luma, replace(regions, probabilities=smoothed)
        return self._past

    def _blend(self, masks: U8, past: U8, luma: U8, before: U8, *, out: U8) -> None:
        """Change `out`, which holds a copy of the masks, where the past counts."""
        flow, difference = self._motion(luma, before)
        trust = as_u8(cv2.LUT(difference, TRUST))
        if kernels.COMPILED:
            for mask, old, target in zip(masks, past, out, strict=True):
                kernels.steady(target, mask, old, trust, flow)
            return
        for mask, old, target in zip(masks, past, out, strict=True):
            low, high = cv2.erode(mask, _NEIGHBOURS), cv2.dilate(mask, _NEIGHBOURS)
            # Elsewhere the mask is flat, and nothing of the past is within its range.
            edge = np.flatnonzero(low != high)
            if edge.size:
                history = old.reshape(-1)[edge] if flow is None else warp_at(old, flow, edge)
                history = np.minimum(np.maximum(history, low.reshape(-1)[edge]), high.reshape(-1)[edge])
                target.reshape(-1)[edge] = _mix(mask.reshape(-1)[edge], history, pick(trust, edge, mask.shape))

    def _motion(self, luma: U8, before: U8) -> tuple[F32 | None, U8]:
        """The flow, None for none, and the difference of luma that it leaves; more than any where it is fast.

        DIS gives a little flow where nothing moves, which would make a still mask swim: where staying explains the
        picture as well, there is none.
        """
        still = as_u8(cv2.blur(cv2.absdiff(luma, before), (3, 3)))
        if not self._follow or cv2.minMaxLoc(still)[1] <= SAME:
            return None, still
        flow = self._flow(luma, before)
        moved = as_u8(cv2.blur(cv2.absdiff(luma, warp(before, flow)), (3, 3)))
        flow.view(np.complex64)[as_u8(cv2.subtract(still, moved)) <= 1] = 0.0
        speed = as_f32(cv2.magnitude(flow[..., 0], flow[..., 1]))
        np.maximum(speed, _SLOW, out=speed)
        gain = OTHER / (_FAST - _SLOW)
        too_fast = cv2.convertScaleAbs(speed, alpha=gain, beta=-gain * _SLOW)
        return flow, as_u8(cv2.add(cv2.min(still, moved), too_fast))


def _flow_luma(frame: Frame, regions: Regions) -> U8:
    """Luma of `FLOW_SIZE`, from the one that the segmenter had made of the frame where that is large enough."""
    height, width = regions.probabilities.shape[1:]
    if width >= FLOW_SIZE[0] and height >= FLOW_SIZE[1]:
        return shrink(frame.luma((width, height)), FLOW_SIZE)
    return frame.luma(FLOW_SIZE)


def _alike(past: Regions, regions: Regions) -> bool:
    return (
        past.probabilities.shape == regions.probabilities.shape
        and past.names == regions.names
        and past.size == regions.size
    )


def _mix(mask: U8, history: U8, trust: U8) -> U8:
    """Of each uint8 N: mask + (history - mask) * trust / 255."""
    kept = cv2.multiply(mask, np.uint8(255) - trust, scale=1 / 255)
    return as_u8(cv2.add(kept, cv2.multiply(history, trust, scale=1 / 255))).reshape(-1)
