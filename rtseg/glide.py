"""How a window moves when it has somewhere to go: slowly, smoothly, and the same at every frame rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple


class View(NamedTuple):
    """A window in shares of the frame: its centre, its width, its height."""

    x: float = 0.5
    y: float = 0.5
    width: float = 1.0
    height: float = 1.0

    @property
    def box(self) -> tuple[float, float, float, float]:
        """x0, y0, x1, y1 in shares of the frame."""
        return (
            self.x - self.width / 2,
            self.y - self.height / 2,
            self.x + self.width / 2,
            self.y + self.height / 2,
        )

    def inside(self) -> View:
        """The nearest window of that size that shows nothing beyond the frame."""
        return self._replace(x=_within(self.x, self.width), y=_within(self.y, self.height))


WHOLE = View()


@dataclass(frozen=True, slots=True)
class Pace:
    """Limits of a glide: pan, widen and narrow in frame widths (heights) a second, and how soft it is, in 1/s.

    A window lags behind a target that moves evenly by 3 / softness seconds.
    """

    pan: float = 0.5
    widen: float = 0.4
    narrow: float = 0.15
    softness: float = 7.0

    @property
    def acceleration(self) -> float:
        """The most that the centre's speed changes a second, in frame widths: see `Glide`."""
        return 2 * self.pan * self.softness * 2 * math.exp(-2)


_STEP = 1 / 120
"""Seconds of the longest step."""
_THERE = 2e-6
"""Share of the frame at which a window has arrived: a four-hundredth of a pixel of 1280."""


class Glide:
    """A window on its way to a target.

    A point goes straight for the target, no faster than the pace allows, and three equal low passes follow it, each
    the one before: a critically damped system of the third order. Its impulse response, s^3 t^2 e^(-st) / 2, is
    positive and of unit mass. So the window is at each moment a mean of where the point was, from which all else
    follows: it never overshoots, is never faster than the point, its acceleration is continuous and under
    pan * (total variation of the response) = `Pace.acceleration`, and since windows inside of the frame are a convex
    set, it stays inside as the point does. Nothing moves once it has arrived, to the bit.
    """

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self.jump(WHOLE)

    @property
    def view(self) -> View:
        """The window now."""
        return self._stages[-1]

    @property
    def arrived(self) -> bool:
        """Whether nothing moves."""
        return all(stage == self._point for stage in self._stages)

    def jump(self, view: View) -> None:
        """Be there at once, and at rest."""
        self._point = view
        self._stages = [view] * 3

    def __call__(self, target: View, seconds: float) -> View:
        """The window after so many seconds more on the way to the target, which is inside of the frame."""
        if self._point == target and self.arrived:
            return target
        steps = max(1, math.ceil(seconds / _STEP - 1e-6))
        step = max(0.0, seconds) / steps
        share = -math.expm1(-self._pace.softness * step)
        for _ in range(steps):
            old, new = self._point, self._moved(target, step)
            self._point = new
            for i, stage in enumerate(self._stages):
                # Towards the mean of where the one before was and is, or coarser steps would be ahead of finer ones.
                new = View(*(a + ((b + c) / 2 - a) * share for a, b, c in zip(stage, old, new, strict=True)))
                old, self._stages[i] = stage, new
        if self._point == target and all(_near(stage, target) for stage in self._stages):
            self.jump(target)
        return self.view

    def _moved(self, target: View, seconds: float) -> View:
        """The point after a step, inside of the frame."""
        pan, widen, narrow = (speed * seconds for speed in (self._pace.pan, self._pace.widen, self._pace.narrow))
        now = self._point
        width = now.width + min(widen, max(-narrow, target.width - now.width))
        height = now.height + min(widen, max(-narrow, target.height - now.height))
        # On the way to the whole it only widens: panned to the middle besides, a side would go to and fro.
        goal = now if target == WHOLE else target
        x = now.x + min(pan, max(-pan, _within(goal.x, width) - now.x))
        y = now.y + min(pan, max(-pan, _within(goal.y, height) - now.y))
        moved = View(x, y, width, height).inside()
        return target if _near(moved, target, 1e-12) else moved


def _within(centre: float, length: float) -> float:
    return min(max(centre, length / 2), 1 - length / 2)


def _near(one: View, other: View, distance: float = _THERE) -> bool:
    return all(abs(a - b) <= distance for a, b in zip(one, other, strict=True))
