"""What a subject holds: pixels beside a matte that move as the subject does."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.ops.arrays import F32, U8, as_f32, as_u8
from rtseg.ops.flow import FLOW_SIZE, Flow, warp

_EVERY, _LONGEST = 3, 12
"""Frames from one look to the next: over three a slow hand moves enough to tell, over twelve nothing looks the same."""
_NEAR, _FAR = (13, 13), (33, 33)
"""Windows, in pixels of `FLOW_SIZE`, in which the subject's motion is taken: the hand's, else the arm's."""
_MOVES = 1.0
"""Pixels from look to look that the subject must move against the ground before anything can be told."""
_GAIN = 5
"""Levels that one of two motions must explain better than the other."""
_WELL = 12
"""Levels that it may leave unexplained."""
_SPAN = 5.0
"""Pixels that the subject may move from look to look: what moves faster is looked at sooner."""
_RISE, _FALL, _DOUBT, _BEYOND, _FADE = 0.28, 0.5, 0.15, 0.5, 0.005
"""Of the evidence: a look, for what moves along, what stays behind, what may be either, what is out of reach of all
that moves; and a frame, for all."""
_FROM, _TO = 0.3, 0.6
"""Evidence under which a pixel is not held, and that an area must reach somewhere."""
_MOST = 0.35
"""Of the subject's area: more is not held but a mistake."""
_BODY, _SURE = 48, 128
_REACH = np.ones(_FAR, np.uint8)
_RING, _FOUR, _RIM, _MIDDLE = (np.ones((side, side), np.uint8) for side in (3, 4, 5, 9))


class Held:
    """Evidence, over time, of what moves with the subject; as a soft mask, uint8 of `FLOW_SIZE`.

    Every third frame a pixel beside the matte is asked by which motion it is as it was: the subject's, that of the
    part of it that moves nearby, or the ground's. Where neither explains it clearly better, as on flat ground, it says
    nothing. What the subject uncovers is left out. In between the evidence moves on with the subject. It fades in some
    seconds where nothing moves, and at once where something stays behind. What is thinner than four pixels is the
    matte's own edge and left alone. Belongs to one stream.
    """

    def __init__(self) -> None:
        self._flow = Flow()
        self.reset()

    def reset(self) -> None:
        """Nothing is held."""
        self._luma: U8 | None = None
        self._matte: U8 | None = None
        self._evidence = np.zeros(FLOW_SIZE[::-1], np.float32)
        self._step: F32 | None = None
        self._age, self._every = 0, _EVERY

    def turn(self) -> None:
        """The picture's left and right are exchanged from now on: all begins anew."""
        self.reset()

    def __call__(self, matte: U8, luma: U8) -> U8 | None:
        """What joins the matte, None for nothing. matte, luma: uint8 of `FLOW_SIZE`."""
        self._age += 1
        if self._luma is None:
            self._begin(matte, luma)
        elif self._age >= self._every:
            self._look(matte, luma)
        np.maximum(self._evidence - np.float32(_FADE), 0.0, out=self._evidence)
        if cv2.minMaxLoc(self._evidence)[1] < _TO:
            return None
        evidence = self._evidence
        if self._step is not None and self._age:
            evidence = _moved(evidence, self._step * np.float32(self._age))
        return _joined(evidence, matte)

    def _begin(self, matte: U8, luma: U8) -> None:
        self._luma, self._matte, self._age = luma, matte, 0

    def _look(self, matte: U8, luma: U8) -> None:
        before, past = self._luma, self._matte
        assert before is not None
        assert past is not None
        flow = self._flow(luma, before)
        ground = _ground(flow, matte)
        along, told = _motion(flow, ground, matte)
        told &= matte < _BODY
        if not told.any():
            self._step = None
            if self._age >= _LONGEST:
                self._begin(matte, luma)
            return
        by_ground = cv2.absdiff(luma, warp(before, np.broadcast_to(ground, flow.shape).copy()))
        by_subject = cv2.absdiff(luma, warp(before, along))
        ground_left, subject_left = (as_u8(cv2.blur(left, (3, 3))) for left in (by_ground, by_subject))
        gain = ground_left.astype(np.int16) - subject_left
        # Where it was something must have changed too: ground that was uncovered was not there before.
        came = warp(ground_left, along) >= _GAIN
        evidence = _moved(self._evidence, along)
        evidence[cv2.dilate(matte, _REACH) < _SURE] -= _BEYOND
        told &= cv2.dilate(past, _RING) < _BODY  # what the subject uncovered may be anything
        holds = told & (gain >= _GAIN) & (subject_left <= _WELL) & came
        # The flat middle of an object goes with its edges.
        along_with = cv2.morphologyEx(holds.astype(np.uint8), cv2.MORPH_CLOSE, _MIDDLE) > 0
        evidence[told] += np.where(along_with[told] & (gain[told] > -_GAIN), np.float32(_RISE), np.float32(-_DOUBT))
        evidence[told & (gain <= -_GAIN) & (ground_left <= _WELL)] -= _FALL
        self._evidence = np.clip(evidence, 0.0, 1.0)
        self._step = along / np.float32(self._age)
        self._every = int(np.clip(_SPAN / np.abs(self._step[told]).max(initial=1.0), 1, _EVERY))
        self._begin(matte, luma)


def _motion(flow: F32, ground: F32, matte: U8) -> tuple[F32, NDArray[np.bool_]]:
    """The motion of the subject around each pixel, float32 HxWx2, where it can be told; the ground's elsewhere.

    What of the subject moves most counts most: a hand before a chest that rests.
    """
    against = flow - ground
    weight = _squared(against) * (matte >= _SURE)
    moved = against * weight[..., None]
    along = np.zeros_like(flow)
    told = np.zeros(weight.shape, bool)
    for window in (_FAR, _NEAR):
        total = as_f32(cv2.boxFilter(weight, cv2.CV_32F, window, normalize=False))
        mean = as_f32(cv2.boxFilter(moved, cv2.CV_32F, window, normalize=False)) / np.maximum(total, 1e-3)[..., None]
        enough = (total > 8 * _MOVES**2) & (_squared(mean) > _MOVES**2)
        along[enough] = mean[enough]
        told |= enough
    return as_f32(along + ground), told


def _squared(flow: NDArray[Any]) -> Any:
    """Squared lengths; NumPy's sums over an axis of two take ten times as long."""
    x, y = flow[..., 0], flow[..., 1]
    return x * x + y * y


def _joined(evidence: F32, matte: U8) -> U8 | None:
    """The areas of enough evidence that touch the body, softly; None for none."""
    body = as_u8(cv2.threshold(matte, _BODY - 1, 255, cv2.THRESH_BINARY)[1])
    maybe = cv2.morphologyEx((evidence >= _FROM).astype(np.uint8) * np.uint8(255), cv2.MORPH_CLOSE, _RIM)
    maybe = cv2.morphologyEx(cv2.bitwise_and(maybe, cv2.bitwise_not(body)), cv2.MORPH_OPEN, _FOUR)
    count, labels = cv2.connectedComponents(maybe, connectivity=8)
    kept, sure = np.zeros(count, bool), np.zeros(count, bool)
    kept[labels[cv2.dilate(body, _RIM) > 0]] = True
    sure[labels[evidence >= _TO]] = True
    kept &= sure
    kept[0] = False
    if not kept.any():
        return None
    held = np.where(kept, np.uint8(255), np.uint8(0))[labels]
    if cv2.countNonZero(held) > _MOST * cv2.countNonZero(body):
        return None
    # Closed to the body, so that no seam is left between them, and soft around.
    closed = cv2.morphologyEx(cv2.bitwise_or(held, body), cv2.MORPH_CLOSE, _RIM)
    near = cv2.bitwise_and(closed, cv2.dilate(held, _RIM))
    return as_u8(cv2.blur(near, (3, 3)))


def _ground(flow: F32, matte: U8) -> F32:
    """The background's motion, as of a camera that is moved: the median far from the subject, float32 of 2."""
    far = cv2.dilate(matte, np.ones((9, 9), np.uint8))[::4, ::4] < _BODY
    return np.median(flow[::4, ::4][far], axis=0) if far.sum() >= 16 else np.zeros(2, np.float32)


def _moved(evidence: F32, flow: Any) -> F32:
    """Evidence where its things are now."""
    return warp(as_u8(cv2.convertScaleAbs(evidence, alpha=255.0)), as_f32(flow)) * np.float32(1 / 255)
