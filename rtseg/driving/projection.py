"""Where points of the road stand in the picture, for drawing."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from rtseg.driving.state import View

F64 = NDArray[np.float64]


def project(view: View, x: F64, z: F64) -> F64:
    """Points of the flat ground, metres, as pixels, Nx2; NaN where they are behind the camera.

    A pinhole: the camera is turned by yaw, then pitched down, then rolled clockwise.
    """
    sin, cos = math.sin, math.cos
    ahead = x * sin(view.yaw) + z * cos(view.yaw)
    right = x * cos(view.yaw) - z * sin(view.yaw)
    down = view.height * cos(view.pitch) - ahead * sin(view.pitch)
    depth = view.height * sin(view.pitch) + ahead * cos(view.pitch)
    depth = np.where(depth > 0.1, depth, np.nan)
    u, v = right / depth, down / depth
    rolled = (u * cos(view.roll) + v * sin(view.roll), v * cos(view.roll) - u * sin(view.roll))
    return np.stack([view.centre[0] + view.focal * rolled[0], view.centre[1] + view.focal * rolled[1]], axis=-1)


def horizon(view: View, width: int) -> tuple[float, float]:
    """The rows where the horizon meets the picture's left and right side."""
    slope, middle = -math.tan(view.roll), -math.tan(view.pitch) * view.focal / math.cos(view.roll)
    at = [view.centre[1] + middle + slope * (x - view.centre[0]) for x in (0, width)]
    return at[0], at[1]
