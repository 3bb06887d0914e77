"""Where the camera travels to: the point that everything at rest flows away from.

Corners are followed over a few frames (Shi and Tomasi; Lucas and Kanade in pyramids, there and back). Dense flow of
small planes, `rtseg.ops.flow`, is too coarse for it: far ahead things move by a tenth of a pixel, and its focus
wandered by a quarter of the picture where corners keep to a hundredth.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from rtseg.driving.ground import F64
from rtseg.ops.arrays import F32, U8, as_f32
from rtseg.ops.resize import resize
from rtseg.types import Frame

PLANE = (480, 270)
"""Width and height of what is looked at."""
_EVERY, _APART = 0.6, 0.1  # seconds from look to look, and between the two pictures of a look
_CORNERS, _ENOUGH = 200, 30
_TURNS = 8
_WINDOW = (15, 15)


class Focus(NamedTuple):
    """The focus of expansion and its standard deviations, in pixels."""

    u: float
    v: float
    u_sigma: float
    v_sigma: float


def focus_of(points: F64, flow: F64, guess: tuple[float, float]) -> Focus | None:
    """Where N points come from that moved by `flow`, both Nx2 in pixels; None where they do not agree.

    A camera that moves ahead and turns a little has at p the flow s(p) (p - focus) + r, with s unknown and r the same
    everywhere to first order in the angles (Longuet-Higgins and Prazdny, 1980). So (flow - r) x (p - focus) = 0 is
    solved for focus and r by Gauss and Newton with Cauchy's weights; r is held to be small.
    """
    if len(points) < _ENOUGH:
        return None
    focus, turned = np.array(guess, np.float64), np.zeros(2)
    small = 0.02 * len(points)
    for _ in range(_TURNS):
        away, left = points - focus, flow - turned
        far = np.maximum(np.hypot(away[:, 0], away[:, 1]), 5.0)
        error = (left[:, 0] * away[:, 1] - left[:, 1] * away[:, 0]) / far
        weight = 1 / (1 + np.square(error / 0.3))
        rows = np.stack([left[:, 1], -left[:, 0], -away[:, 1], away[:, 0]], axis=-1) / far[:, None]
        squares = (rows * weight[:, None]).T @ rows + np.diag([1e-4, 1e-4, small, small])
        wrong = -(rows * weight[:, None]).T @ error
        wrong[2:] -= small * turned
        step = np.linalg.solve(squares, wrong)
        focus, turned = focus + np.clip(step[:2], -40, 40), turned + step[2:]
    spread = float((weight * error**2).sum() / weight.sum())
    sigma = np.sqrt(np.diag(np.linalg.inv(squares)) * max(spread, 0.01))
    if weight.mean() < 0.4 or max(sigma[:2]) > 15:
        return None
    return Focus(float(focus[0]), float(focus[1]), float(sigma[0]), float(sigma[1]))


class Travel:
    """Looks now and then; the two pictures of a look are taken in different calls, and so is the work."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """A cut."""
        self._before: U8 | None = None
        self._corners: F32 | None = None
        self._since = 0.0

    def __call__(self, frame: Frame, moving: U8 | None, elapsed: float, guess: tuple[float, float]) -> Focus | None:
        """A focus in pixels of the frame, where this frame ends a look. moving: what may move by itself, uint8 hxw."""
        self._since += elapsed
        if self._corners is None:
            if self._since >= _EVERY:
                self._begin(frame.luma(PLANE), moving)
            return None
        if self._since < _APART or self._before is None:
            return None
        across, down = frame.size.width / PLANE[0], frame.size.height / PLANE[1]
        points, flow = self._followed(self._before, self._corners, frame.luma(PLANE))
        self.reset()
        found = focus_of(points, flow, (guess[0] / across, guess[1] / down))
        if found is None:
            return None
        return Focus(found.u * across, found.v * down, found.u_sigma * across, found.v_sigma * down)

    def _begin(self, luma: U8, moving: U8 | None) -> None:
        mask = np.full(luma.shape, 255, np.uint8)
        if moving is not None:
            mask[resize(moving, PLANE) > 30] = 0
        mask[: PLANE[1] // 32] = 0
        mask[-PLANE[1] // 9 :] = 0  # a bonnet
        found = cv2.goodFeaturesToTrack(luma, _CORNERS, 0.01, 7, mask=mask)
        self._since = 0.0
        if found is not None and len(found) >= _ENOUGH:
            self._before, self._corners = luma, as_f32(found)

    def _followed(self, before: U8, corners: F32, luma: U8) -> tuple[F64, F64]:
        there = _follow(before, luma, corners)
        back = _follow(luma, before, there)
        same = np.hypot(*(back - corners).reshape(-1, 2).T) < 0.5
        start, end = corners.reshape(-1, 2)[same], there.reshape(-1, 2)[same]
        return start.astype(np.float64), (end - start).astype(np.float64)


def _follow(first: U8, second: U8, points: F32) -> F32:
    """Where points are in the second picture; far away where they were lost."""
    found, ok, _ = cv2.calcOpticalFlowPyrLK(first, second, points, None, winSize=_WINDOW, maxLevel=2)  # type: ignore[call-overload]
    return as_f32(np.where(ok.reshape(-1, 1, 1) > 0, found, np.float32(-1e4)))
