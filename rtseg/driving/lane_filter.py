"""All lines of a road in one Kalman filter: they bend together, and only their distances to the side are their own.

So a line that is worn, dashed or hidden is carried by the others; and the pitch of the moment, by which all lines
spread or close like a fan, is one more thing that the lines tell.

State: [v, e, c1, c2, c3, c0 of each line]: v sideways speed of the lines in m/s, e what the camera looks down more
than was thought, c1..c3 the shape of `LaneLine`. A point that was taken for (x, z) is seen of a line L at
x = L(z) + e (x z - L'(z) z^2) / h to first order in e.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtseg.driving.ground import F64, as_f64
from rtseg.driving.lane_points import LanePoints

SHARED = 5
V, E, C1, C2, C3 = range(SHARED)
_START = np.array([0.7, 0.008, 0.05, 0.003, 3e-5])
"""Standard deviations before anything was seen."""
_DRIFT = np.array([1.2, 0.0, 0.06, 1e-3, 3e-5])
"""The same for what a second adds, as of random walks."""
SHAKE, _SHAKE_SECONDS = 0.006, 0.2
_OWN = 0.10  # metres that a line moves against the others in a second
_UNKNOWN = 1.0


class RoadFilter:
    """Mean and covariance of the state; units are metres, seconds, radians."""

    def __init__(self) -> None:
        self.mean: F64 = np.zeros(SHARED)
        self.covariance: F64 = np.diag(_START**2)

    @property
    def count(self) -> int:
        """How many lines there are."""
        return len(self.mean) - SHARED

    def add(self, across: float) -> None:
        """One more line, at x = `across` for z = 0."""
        size = len(self.mean) + 1
        covariance = np.zeros((size, size))
        covariance[:-1, :-1] = self.covariance
        covariance[-1, -1] = _UNKNOWN**2
        self.mean, self.covariance = np.append(self.mean, across), covariance

    def remove(self, line: int) -> None:
        """Forget a line."""
        self.mean = np.delete(self.mean, SHARED + line)
        self.covariance = np.delete(np.delete(self.covariance, SHARED + line, 0), SHARED + line, 1)

    def predict(self, seconds: float) -> None:
        """Let time pass."""
        size = len(self.mean)
        step = np.eye(size)
        step[SHARED:, V] = seconds
        step[V, V] = np.exp(-seconds / 2.0)
        step[C3, C3] = np.exp(-seconds / 1.0)  # bends change for a second or two, then stay
        step[E, E] = forget = np.exp(-seconds / _SHAKE_SECONDS)
        self.mean = step @ self.mean
        self.covariance = step @ self.covariance @ step.T
        grown = np.full(size, _OWN**2 * seconds)
        grown[:SHARED] = _DRIFT**2 * seconds
        grown[E] = (1 - forget**2) * SHAKE**2
        self.covariance[np.diag_indices(size)] += grown

    def at(self, z: F64) -> F64:
        """What all lines have in common: x at distances, without the lines' own c0."""
        c1, c2, c3 = self.mean[C1 : C3 + 1]
        x: F64 = z * (c1 + z * (c2 / 2 + z * c3 / 6))
        return x

    def spread(self, x: F64, z: F64, height: float) -> F64:
        """By how much a point's x grows with e, metres a radian."""
        c1, c2, c3 = self.mean[C1 : C3 + 1]
        slope = c1 + z * (c2 + z * c3 / 2)
        grown: F64 = z * (x - slope * z) / height
        return grown

    def across(self, points: LanePoints, height: float) -> F64:
        """The c0 that a line through each point would have."""
        x: F64 = points.x - self.at(points.z) - self.spread(points.x, points.z, height) * self.mean[E]
        return x

    def update(self, points: LanePoints, line: NDArray[np.intp], height: float) -> None:
        """Take points into account, each of its line; outliers count little (Huber's, then Tukey's weights)."""
        rows = np.zeros((len(points), len(self.mean)))
        z = points.z
        rows[:, E] = self.spread(self.mean[SHARED + line] + self.at(z), z, height)  # not of x, which may be wrong
        rows[:, C1], rows[:, C2], rows[:, C3] = z, z * z / 2, z**3 / 6
        rows[np.arange(len(points)), SHARED + line] = 1.0
        before = np.linalg.inv(self.covariance)
        start, mean = before @ self.mean, self.mean
        for turn in range(3):
            far = np.abs(points.x - rows @ mean) / points.sigma
            weight: F64 = (
                1 / np.maximum(far / 1.5, 1) if turn == 0 else np.square(np.clip(1 - np.square(far / 4.5), 0, 1))
            )
            weighted = rows * (weight / points.sigma**2)[:, None]
            after = before + weighted.T @ rows
            mean = as_f64(np.linalg.solve(after, start + weighted.T @ points.x))
        self.mean = mean
        covariance = np.linalg.inv(after)
        self.covariance = (covariance + covariance.T) / 2

    def turn(self, *, pitch: float = 0.0, yaw: float = 0.0) -> None:
        """The view was corrected by these angles: the same road as it is seen with the new one."""
        self.mean[E] -= pitch
        self.mean[C1] += yaw

    def grow(self, scale: float) -> None:
        """The camera's height was corrected by this factor."""
        factor = np.full(len(self.mean), scale)
        factor[[E, C1, C2, C3]] = 1.0, 1.0, 1 / scale, 1 / scale**2
        self.mean = self.mean * factor
        self.covariance = self.covariance * np.outer(factor, factor)
