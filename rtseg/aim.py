"""Where a window should be for a subject, and when it is better left where it is."""

from __future__ import annotations

from typing import NamedTuple

from rtseg.glide import WHOLE, View


class Box(NamedTuple):
    """Around what is to be seen of the subject, in shares of the frame. goes_on: there is more of him below."""

    x0: float
    y0: float
    x1: float
    y1: float
    goes_on: bool = False


class Margins(NamedTuple):
    """Around the subject, in shares of the window."""

    above: float
    side: float
    below: float


_GOOD, _LEAST = Margins(0.10, 0.08, 0.05), Margins(0.03, 0.02, 0.0)
"""What a new window leaves around the subject, and what he must keep of it before it becomes wider."""
_EYES = 0.25, 0.3
"""Eyes are so far below the top: of the subject's width, and of what is shown of his height at most."""
_DEAD = 0.12
"""Share of the window that the subject may move by before it follows."""
_STILL, _REST = 0.03, 0.5
"""A window stops following once the subject stayed within such a share of it for so many seconds."""
_NARROWER, _PATIENCE = 0.8, 2.0
"""A window becomes narrower where so much of it would do for so many seconds."""
_LOST = 1.0
"""Seconds until a subject that is not seen any more is gone."""
_WIDE = 0.92
"""From this share of the frame on the window is all of it."""
_EDGE = 0.985
"""Subjects that reach so far down are cut by the frame's edge: nothing is below them to be shown."""


class Aim:
    """Decides on the window for a subject, frame by frame: a value of its memory and of times, never of pixels.

    The window rests while the subject stays near the place that it was made for, follows from when he leaves it until
    he has been still for a moment, becomes wider at once where he needs it, and narrower after he has needed less for
    two seconds. Who is lost is waited for, then the whole is shown. A window that rests lies on whole, even pixels.
    """

    def __init__(self, *, max_zoom: float = 2.0) -> None:
        self._zoom = max_zoom
        self.target = WHOLE
        self._follows = False
        self._anchor = WHOLE
        self._still = self._lost = 0.0
        self._length = 1.0
        self._less, self._less_for = 0.0, 0.0

    def __call__(self, box: Box | None, seconds: float, size: tuple[int, int], *, at_once: bool = False) -> View:
        """The window to go to, for a subject seen `seconds` after the last call; None for nobody.

        size: of the frame, width and height. at_once: it is another scene, in which nobody is waited for.
        """
        if box is None:
            self._lost += seconds
            if at_once or self._lost >= _LOST:
                self.target, self._length, self._less_for, self._follows = WHOLE, 1.0, 0.0, False
            return self.target
        self._lost = 0.0
        length = self._fitting(box, _GOOD) if at_once else self._longer_or_shorter(box, seconds)
        ideal = placed(box, length, size[0] / size[1])
        begins = length != self._length or self._leaves(box, ideal)
        self._length = length
        if at_once:
            self.target, self._less_for, self._follows = on_pixels(ideal, size), 0.0, False
            return self.target
        if begins and not self._follows:
            self._follows, self._anchor, self._still = True, ideal, 0.0
        if self._follows:
            self._follow(ideal, seconds, size)
        return self.target

    def _longer_or_shorter(self, box: Box, seconds: float) -> float:
        """The share of the frame's sides that the window takes from now on."""
        wanted = self._fitting(box, _GOOD)
        if self._fitting(box, _LEAST) > self._length:
            self._less_for = 0.0
            return wanted
        if wanted >= _NARROWER * self._length:
            self._less_for = 0.0
            return self._length
        self._less = max(self._less, wanted) if self._less_for > 0.0 else wanted
        self._less_for += seconds
        if self._less_for < _PATIENCE:
            return self._length
        self._less_for = 0.0
        return self._less

    def _fitting(self, box: Box, margins: Margins) -> float:
        below = 0.0 if box.goes_on or box.y1 > _EDGE else margins.below
        length = max(
            (box.y1 - box.y0) / (1 - margins.above - below),
            (box.x1 - box.x0) / (1 - 2 * margins.side),
            1 / self._zoom,
        )
        return length if length < _WIDE else 1.0

    def _leaves(self, box: Box, ideal: View) -> bool:
        """Whether the subject is too far from the place that the window was made for, or is nearly cut by its sides."""
        x0, y0, x1, y1 = self.target.box
        dead = _DEAD * self.target.width
        away = max(abs(ideal.x - self.target.x), abs(ideal.y - self.target.y)) > dead
        cut = box.y0 < y0 + _LEAST.above * (y1 - y0) and ideal.box[1] < y0
        return away or cut or box.x0 < min(x0, ideal.box[0]) or box.x1 > max(x1, ideal.box[2])

    def _follow(self, ideal: View, seconds: float, size: tuple[int, int]) -> None:
        self.target = ideal
        if max(abs(ideal.x - self._anchor.x), abs(ideal.y - self._anchor.y)) > _STILL * ideal.width:
            self._anchor, self._still = ideal, 0.0
            return
        self._still += seconds
        if self._still >= _REST:
            self._follows = False
            self.target = on_pixels(ideal, size)


def placed(box: Box, length: float, aspect: float) -> View:
    """The window of that size in which the subject stands best, inside of the frame.

    His middle is in its middle, and his eyes are a third below its top where that leaves room above his head and
    below his feet.
    """
    width, height = (box.x1 - box.x0) * aspect, box.y1 - box.y0
    eyes = box.y0 + min(_EYES[0] * width, _EYES[1] * height)
    lowest = box.y0 - _GOOD.above * length
    highest = box.y1 + (0.0 if box.goes_on else _GOOD.below * length) - length
    top = min(max(eyes - length / 3, highest), lowest)
    return View((box.x0 + box.x1) / 2, top + length / 2, length, length).inside()


def on_pixels(view: View, size: tuple[int, int]) -> View:
    """The window on whole pixels of planes of 4:2:0: even ones of the frame, which change its aspect by a pixel."""
    if view == WHOLE:
        return view
    sides = []
    for centre, length, pixels in ((view.x, view.width, size[0]), (view.y, view.height, size[1])):
        count = min(max(2, 2 * round(length * pixels / 2)), pixels)
        first = min(max(0, 2 * round((centre * pixels - count / 2) / 2)), pixels - count)
        sides.append(((first + count / 2) / pixels, count / pixels))
    (x, width), (y, height) = sides
    return View(x, y, width, height)
