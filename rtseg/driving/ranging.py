"""How far something is and how fast that changes: from where it stands on the road, and from how large it looks.

A track's filter is a Kalman filter over the logarithm of the distance, its rate (the speed over the distance, so that
the time to collision is minus its inverse), the logarithm of the thing's size, the error of the pitch that the view is
given with, and the acceleration over the distance. In these, both measurements are linear: the contact point says
ln z + (z / h) pitch, and the size in pixels says ln size - ln z. So a size that is known badly still tells the rate
well, and an error of the pitch, which is the same in all frames, is not averaged away. After modified polar coordinates
(Aidala and Hammel, 1983).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtseg.driving.state import Measure, View


class Size(NamedTuple):
    """A class's size in metres, across for vehicles (their width from behind) and upright for people."""

    metres: float
    sigma: float
    upright: bool = False


SIZES: Mapping[str, Size] = {
    "car": Size(1.82, 0.15),
    "van": Size(2.0, 0.2),
    "truck": Size(2.45, 0.3),
    "bus": Size(2.5, 0.2),
    "person": Size(1.7, 0.15, upright=True),
    "pedestrian": Size(1.7, 0.15, upright=True),
    "rider": Size(1.7, 0.15, upright=True),
    "cyclist": Size(1.75, 0.15, upright=True),
}
"""Of what has a size worth knowing; widths without mirrors."""
UNKNOWN = {"vehicle": Size(1.95, 0.35), "vulnerable": Size(1.65, 0.25, upright=True)}
"""Of what only the road model saw."""

_LEAST_PITCH = math.radians(0.05)
_FORGET = 8.0
"""Seconds over which an error of the pitch is forgotten."""
_BOUNCE = math.radians(0.08)
"""How far a car nods from frame to frame."""
_ACCELERATION, _HELD, _UNSTEADY = 1.5, 3.0, 0.4
"""Of things against each other, m/s^2, for how many seconds (Singer, 1970), and of what is no braking, m/s per root
second."""
_WORST = 0.3
"""Relative sigma of a time to collision that is still told; distances may have as much."""
FARTHEST = 120.0
"""Metres; beyond, the flat road of the pinhole says nothing."""


class Point(NamedTuple):
    """Where a pixel is on the ground, metres; slope: metres of z a pixel downwards, always positive."""

    x: float
    z: float
    slope: float


def ground_point(view: View, u: float, v: float) -> Point | None:
    """The point of a flat road that a pixel (u, v) of the frame shows; None at and over the horizon."""
    a, b = (u - view.centre[0]) / view.focal, (v - view.centre[1]) / view.focal
    cos, sin = math.cos(view.roll), math.sin(view.roll)
    a, b = a * cos - b * sin, a * sin + b * cos
    cos, sin = math.cos(view.pitch), math.sin(view.pitch)
    down, ahead = b * cos + sin, cos - b * sin
    if down <= 1e-4:
        return None
    scale = view.height / down
    across, ahead = a * scale, ahead * scale
    x = across * math.cos(view.yaw) + ahead * math.sin(view.yaw)
    z = ahead * math.cos(view.yaw) - across * math.sin(view.yaw)
    if z <= 0.1:
        return None
    return Point(x, z, scale * scale / (view.height * view.focal))


class Range:
    """The filter of one track; metres and seconds.

    view: at the first measurement; its pitch_sigma is how far it may be wrong. size: of the class.
    """

    def __init__(self, view: View, size: Size) -> None:
        self._size = size
        self._begin(view)

    def _begin(self, view: View) -> None:
        """Know nothing but the class's size."""
        size = self._size
        pitch = max(view.pitch_sigma or 0.0, _LEAST_PITCH)
        self._x: NDArray[np.float64] = np.array([math.log(25.0), 0.0, math.log(size.metres), 0.0, 0.0])
        self._p: NDArray[np.float64] = np.diag(
            [4.0, 1.0, (size.sigma / size.metres) ** 2, pitch**2, (_ACCELERATION / 25.0) ** 2]
        )
        self._across: NDArray[np.float64] = np.array([0.0, 0.0])
        self._q: NDArray[np.float64] = np.diag([400.0, 4.0])
        self.measured = 0

    def predict(self, dt: float, view: View) -> None:
        """So many seconds later: the speed stays, but for accelerations, and the pitch is as wrong as the view says.

        Views learn, so an old error of theirs is forgotten over `_FORGET`.
        """
        if dt <= 0 or not self.measured:
            return
        log, rate, pull = float(self._x[0]), float(self._x[1]), float(self._x[4])
        growth = 1.0 + rate * dt + pull * dt * dt / 2
        if not 0.5 < growth < 2.0 or self._p[0, 0] > 4.0 or not -20.0 < log < 20.0:
            self._begin(view)  # it would be here, or twice as far: what was measured means nothing any more
            return
        held = math.exp(-dt / _HELD)
        self._x[0], self._x[1], self._x[4] = log + math.log(growth), (rate + pull * dt) / growth, held * pull / growth
        f = np.eye(5)
        f[0, 1], f[0, 4] = dt / growth, dt * dt / 2 / growth
        f[1, 1], f[1, 4] = (1 - pull * dt * dt / 2) / growth**2, dt * (1 + rate * dt / 2) / growth**2
        f[4, 1], f[4, 4] = -held * pull * dt / growth**2, held * (1 + rate * dt) / growth**2
        self._p = f @ self._p @ f.T
        z = max(math.exp(float(self._x[0])), 2.0)
        self._p[:2, :2] += (_UNSTEADY / z) ** 2 * np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]])
        self._p[4, 4] += (1 - held**2) * (_ACCELERATION / z) ** 2
        self._p[2, 2] += 1e-4 * dt
        kept = math.exp(-dt / _FORGET)
        self._x[3] *= kept
        self._p[3, :] *= kept
        self._p[:, 3] *= kept
        self._p[3, 3] += (1 - kept**2) * max(view.pitch_sigma or 0.0, _LEAST_PITCH) ** 2
        step = np.array([[1.0, dt], [0.0, 1.0]])
        self._across = step @ self._across
        self._q = step @ self._q @ step.T + 0.5 * np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]])

    def contact(self, view: View, point: Point, sigma: float) -> None:
        """The contact point of a frame; sigma: of its line, in pixels."""
        noise = math.hypot(sigma, view.focal * _BOUNCE) * point.slope / point.z
        if not self.measured:
            self._x[0], self._p[0, 0] = math.log(point.z), 4.0
        # A camera that looks farther down than believed sees the road higher in the picture: things look farther.
        self._update(np.array([1.0, 0.0, 0.0, point.z / view.height, 0.0]), math.log(point.z), noise)
        self.measured += 1

    def looks(self, view: View, pixels: float, sigma: float) -> None:
        """The size in a frame, in pixels of the class's side."""
        if pixels < 2.0:
            return
        seen = math.log(pixels / view.focal)
        if not self.measured:
            self._x[0] = self._x[2] - seen
        self._update(np.array([-1.0, 0.0, 1.0, 0.0, 0.0]), seen, sigma / pixels)
        self.measured += 1

    def beside(self, x: float, sigma: float) -> None:
        """The middle's place across, metres."""
        h = np.array([1.0, 0.0])
        gain = self._q @ h / (self._q[0, 0] + sigma**2)
        self._across = self._across + gain * (x - self._across[0])
        self._q = self._q - np.outer(gain, h @ self._q)

    def of_class(self, size: Size) -> None:
        """What it is came out later: its size is known better, or is another."""
        if size == self._size:
            return
        if size.upright != self._size.upright:
            self._x[2], self._p[2, :], self._p[:, 2] = math.log(size.metres), 0.0, 0.0
            self._p[2, 2] = (size.sigma / size.metres) ** 2
        elif size.sigma / size.metres < self._size.sigma / self._size.metres:
            self._update(np.array([0.0, 0.0, 1.0, 0.0, 0.0]), math.log(size.metres), size.sigma / size.metres)
        self._size = size

    @property
    def log(self) -> float:
        """The logarithm of the distance, however well it is known."""
        return float(self._x[0])

    @property
    def distance(self) -> Measure | None:
        """Forward, None where it is known too badly."""
        z, sigma = math.exp(float(self._x[0])), math.sqrt(float(self._p[0, 0]))
        return Measure(z, z * sigma) if self.measured and sigma < _WORST and z < FARTHEST else None

    @property
    def speed(self) -> Measure | None:
        """Of the distance, m/s."""
        if (distance := self.distance) is None:
            return None
        z, rate, p = distance.value, float(self._x[1]), self._p
        variance = z * z * (rate * rate * float(p[0, 0]) + float(p[1, 1]) + 2 * rate * float(p[0, 1]))
        sigma = math.sqrt(max(variance, 0.0))
        return Measure(z * rate, sigma) if sigma < 4.0 else None

    @property
    def ttc(self) -> Measure | None:
        """Seconds until it is reached; None where it does not come nearer, or that is not sure."""
        rate, sigma = float(self._x[1]), math.sqrt(float(self._p[1, 1]))
        if self.measured < 4 or sigma > -_WORST * rate or self.distance is None:
            return None
        return Measure(-1.0 / rate, sigma / rate**2)

    @property
    def lateral(self) -> Measure | None:
        """Of its middle across, metres to the right."""
        sigma = math.sqrt(float(self._q[0, 0]))
        return Measure(float(self._across[0]), sigma) if sigma < 2.0 else None

    @property
    def drift(self) -> Measure:
        """How fast it moves across, m/s to the right."""
        return Measure(float(self._across[1]), math.sqrt(float(self._q[1, 1])))

    def _update(self, h: NDArray[np.float64], seen: float, sigma: float) -> None:
        """One scalar measurement; one that is far off counts as much as it can be believed (Huber's weights)."""
        ph = self._p @ h
        innovation = seen - float(h @ self._x)
        expected = float(h @ ph) + sigma**2
        surprise = abs(innovation) / math.sqrt(expected)
        if surprise > 3.0 and self.measured:
            expected += sigma**2 * ((surprise / 3.0) ** 2 - 1.0) * 4.0
        gain = ph / expected
        self._x = self._x + gain * innovation
        self._p = self._p - np.outer(gain, ph)
