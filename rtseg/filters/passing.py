"""Where two people who touch would be if they only walked on: what tells them apart when they look alike."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from rtseg.ops.arrays import U8

_STEADY = 0.5
"""Weight of the newest look in a velocity."""
_RIGHT = 0.5
"""Of the distance between two parts, how far both may be from where they should be together, to believe it."""


class Passing:
    """Follows the middles of two masks while they are apart, and says who is who after they touched.

    They passed each other where walking on takes them to where the parts are; whoever only touched and went back, or
    stood together for long, is nowhere near that, and nothing is said.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget both."""
        self._middles = np.zeros((2, 2))
        self._velocity = np.zeros((2, 2))
        self._frames = self._looks = 0
        self._since = self._elapsed = 0.0

    def apart(self, mine: U8, others: U8, elapsed: float) -> None:
        """A frame in which they are apart, uint8 of 0 and 255, of one size; every third is looked at."""
        if self._since or not cv2.countNonZero(others):
            self.reset()
            return
        self._elapsed += elapsed
        self._frames += 1
        if self._frames % 3 != 1:
            return
        middles = np.array([_middle(mine), _middle(others)])
        if self._looks:
            self._velocity += _STEADY * ((middles - self._middles) / self._elapsed - self._velocity)
        self._middles, self._elapsed = middles, 0.0
        self._looks += 1

    def touching(self, elapsed: float) -> None:
        """A frame in which they cannot be told apart."""
        self._since += elapsed

    def first_of(self, places: Sequence[tuple[float, float]]) -> int | None:
        """Which of the places is that of the first of both; None where it cannot be told."""
        if self._looks < 3 or not self._since:
            return None
        expected = self._middles + self._velocity * (self._elapsed + self._since)
        where = np.array(places)
        wrong = np.linalg.norm(where[:, None] - expected, axis=2)
        first = int(wrong[:, 0].argmin())
        rest = np.arange(len(where)) != first
        second = int(np.where(rest, wrong[:, 1], np.inf).argmin())
        between = float(np.linalg.norm(where[first] - where[second]))
        return first if wrong[first, 0] + wrong[second, 1] < _RIGHT * between else None


def _middle(mask: U8) -> tuple[float, float]:
    moments = cv2.moments(mask, binaryImage=True)
    area = max(1.0, moments["m00"])
    return moments["m10"] / area, moments["m01"] / area
