"""What a subject holds: pixels beside a matte that move as the subject does."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from rtseg.ops.arrays import F32, U8, as_f32, as_u8
from rtseg.ops.flow import FLOW_SIZE, SAME, Flow, warp

_REACH = 25
"""Side of the window, in pixels of `FLOW_SIZE`, in which the subject's motion is taken: an object is no farther."""
_MOVES = 0.6
"""Pixels a frame that the subject must move against the background before anything can be told."""
_ALIKE = 0.5
"""Of that motion, how far an object's may be from it."""
_GAIN = 3
"""Levels that moving along must explain better than staying; flow runs out over edges, and explains nothing there."""
_RISE, _FALL, _FADE = 0.2, 0.3, 0.005
"""Of the evidence, a frame: for what moves along, for what stays behind, and where nothing is told."""
_FROM, _TO = 0.3, 0.6
"""Evidence under which a pixel is not held, and that an area must reach somewhere."""
_MOST = 0.3
"""Of the subject's area: more is not held but something that the flow mistook."""
_RIM = np.ones((5, 5), np.uint8)


class Held:
    """Evidence, over time, of what moves with the subject; as a soft mask, uint8 of `FLOW_SIZE`.

    A pixel beside the matte speaks for itself where the subject moves against the background, where the pixel's own
    flow is the subject's, and where moving explains the picture better than staying: so flat ground into which
    flow leaks says nothing. What the subject uncovers is left out. Evidence moves along the flow and fades: at once
    where something stays behind, in some seconds where nothing moves. What is thinner than four pixels is the
    matte's own edge and is left alone. Belongs to one stream.
    """

    def __init__(self) -> None:
        self._flow = Flow()
        self.reset()

    def reset(self) -> None:
        """Nothing is held."""
        self._luma: U8 | None = None
        self._matte: U8 | None = None
        self._evidence = np.zeros(FLOW_SIZE[::-1], np.float32)

    def turn(self) -> None:
        """The picture's left and right are exchanged from now on."""
        self._luma, self._matte = (
            None if plane is None else np.ascontiguousarray(plane[:, ::-1]) for plane in (self._luma, self._matte)
        )
        self._evidence = np.ascontiguousarray(self._evidence[:, ::-1])

    def __call__(self, matte: U8, luma: U8) -> U8 | None:
        """What joins the matte, None for nothing. matte, luma: uint8 of `FLOW_SIZE`."""
        before, past = self._luma, self._matte
        self._luma, self._matte = luma, matte
        if before is not None and past is not None:
            self._look(matte, past, luma, before)
        return self._joined(matte)

    def _look(self, matte: U8, past: U8, luma: U8, before: U8) -> None:
        still = as_u8(cv2.blur(cv2.absdiff(luma, before), (3, 3)))
        self._evidence -= np.float32(_FADE)
        if cv2.minMaxLoc(still)[1] > SAME:
            flow = self._flow(luma, before)
            self._weigh(flow, matte, past, still, as_u8(cv2.blur(cv2.absdiff(luma, warp(before, flow)), (3, 3))))
        np.clip(self._evidence, 0.0, 1.0, out=self._evidence)

    def _weigh(self, flow: F32, matte: U8, past: U8, still: U8, moved: U8) -> None:
        outside = matte < 48
        inside = (matte >= 128).astype(np.float32)
        share = as_f32(cv2.boxFilter(inside, cv2.CV_32F, (_REACH, _REACH)))
        subject = as_f32(cv2.boxFilter(flow * inside[..., None], cv2.CV_32F, (_REACH, _REACH)))
        subject /= np.maximum(share, 1e-3)[..., None]
        against = subject - _ground(flow, matte)
        speed = np.hypot(against[..., 0], against[..., 1])
        told = outside & (share > 0.02) & (speed > _MOVES)
        apart = flow - subject
        gain = still.astype(np.int16) - moved
        along = told & (np.hypot(apart[..., 0], apart[..., 1]) < _ALIKE * speed) & (gain >= _GAIN)
        along &= cv2.dilate(past, _RIM[1:4, 1:4]) < 48  # nothing of what was just uncovered
        behind = told & (gain <= -_GAIN)
        evidence = _along(self._evidence, flow, told)
        evidence[along] += _RISE
        evidence[behind] -= _FALL
        self._evidence = evidence

    def _joined(self, matte: U8) -> U8 | None:
        maybe = (self._evidence >= _FROM).astype(np.uint8)
        if not cv2.countNonZero(maybe):
            return None
        body = (matte >= 48).astype(np.uint8)
        maybe = as_u8(cv2.morphologyEx(maybe, cv2.MORPH_CLOSE, _RIM))
        maybe = as_u8(cv2.morphologyEx(maybe & (1 - body), cv2.MORPH_OPEN, _RIM[1:, 1:]))
        count, labels = cv2.connectedComponents(maybe, connectivity=8)
        touching = np.zeros(count, bool)
        touching[labels[cv2.dilate(body, _RIM) > 0]] = True
        sure = np.zeros(count, bool)
        sure[labels[self._evidence >= _TO]] = True
        kept = touching & sure
        kept[0] = False
        if not kept.any():
            return None
        held = np.where(kept, np.uint8(255), np.uint8(0))[labels]
        if cv2.countNonZero(held) > _MOST * cv2.countNonZero(body):
            return None
        # Closed to the body, so that no seam is left between them, and soft around.
        seam = cv2.morphologyEx(held | body * np.uint8(255), cv2.MORPH_CLOSE, _RIM)
        near = cv2.dilate(held, _RIM)
        return as_u8(cv2.blur(cv2.bitwise_and(seam, cv2.bitwise_or(held, cv2.bitwise_and(near, seam))), (3, 3)))


def _ground(flow: F32, matte: U8) -> Any:
    """The background's motion, as of a camera that is moved: the median far from the subject."""
    far = cv2.dilate(matte, np.ones((9, 9), np.uint8))[::4, ::4] < 48
    return np.median(flow[::4, ::4][far], axis=0) if far.sum() >= 16 else np.zeros(2, np.float32)


def _along(evidence: F32, flow: F32, told: Any) -> Any:
    """The evidence where its things are now; it stays where nothing was told."""
    plane = as_u8(cv2.convertScaleAbs(evidence, alpha=255.0))
    moved = warp(plane, flow).astype(np.float32) / 255.0
    return np.where(told, moved, evidence)
