"""Auto-framing: the picture is cropped to a window that follows the subject as a calm camera operator would."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.aim import Aim, Box
from rtseg.effects.selection import select
from rtseg.glide import WHOLE, Glide, Pace, View
from rtseg.ops.arrays import U8, Scratch, as_u8, empty_planes
from rtseg.ops.boxes import large_areas
from rtseg.ops.crop import crop
from rtseg.ops.flow import FLOW_SIZE
from rtseg.ops.resize import halve
from rtseg.types import Frame, Output, Segmentation, Size

Look: TypeAlias = Literal["body", "head"]

_LEAST, _OF_LARGEST = 0.002, 0.04
"""Areas under the first share of the picture, or the second of the largest area, are specks and no people."""
_HEAD = 1.1
"""Head and shoulders are so high, by the side of a square of the subject's area: 1.9 heads of who sits at a desk, and
the upper half of who stands."""
_CUT = 25
"""Levels that the luma differs by on average, its own mean left out, where a film cuts to another scene."""


class Framing:
    """Gives outputs whose picture shows the window around the subject, at the frame's size.

    look: "body" shows all of the subject, "head" head and shoulders. max_zoom: how many times a picture is enlarged
    at most. glide: the window moves there; without it every frame has the one that fits, as single pictures want it.

    Of the output only `picture` changes (its alpha too), and `window` says what it shows: masks, observations and
    `frame` stay those of the whole frame. A window that is the whole leaves the picture as it is, on its device if it
    is on one; any other brings it to the host. Cuts are not seen in frames on a device.

    The first frame, one of another epoch or size, and a cut get their window at once; the rest is a `Glide` by the
    frames' times, so that neither their rate nor those that were dropped change its path. Belongs to one stream.
    """

    def __init__(
        self, *, look: Look = "body", max_zoom: float = 2.0, glide: bool = True, pace: Pace | None = None
    ) -> None:
        self._look, self._zoom, self._glides = look, max_zoom, glide
        self._glide = Glide(pace or Pace())
        self._scratch = Scratch()
        self.reset()

    def reset(self) -> None:
        """The next frame gets its window at once."""
        self._aim = Aim(max_zoom=self._zoom)
        self._kind: tuple[Size, int] | None = None
        self._time = 0.0
        self._luma: U8 | None = None

    def __call__(self, output: Output) -> Output:
        """The output with its picture framed; FrameError never, whatever the masks are."""
        started = time.perf_counter()
        frame = output.frame
        view = self._view(frame, output.segmentation, held=output.held)
        width, height = frame.size
        x0, y0, x1, y1 = view.box
        window = x0 * width, y0 * height, x1 * width, y1 * height
        picture = output.picture if view == WHOLE else framed(output.picture, view, self._scratch)
        times = {**output.times, "framing": (time.perf_counter() - started) * 1e3}
        return replace(output, picture=picture, window=window, times=times)

    def _view(self, frame: Frame, segmentation: Segmentation, *, held: bool) -> View:
        kind = frame.size, frame.epoch
        fresh = self._kind != kind or not self._glides
        if fresh:
            self.reset()
        seconds = 0.0 if fresh else min(1.0, max(0.0, frame.time - self._time))
        fresh = self._is_cut(frame) or fresh
        self._kind, self._time = kind, frame.time
        if held:  # the network failed: no news of the subject
            return self._glide(self._aim.target, seconds)
        target = self._aim(subject_box(segmentation, self._look), seconds, frame.size, at_once=fresh)
        if fresh:
            self._glide.jump(target)
        return self._glide(target, seconds)

    def _is_cut(self, frame: Frame) -> bool:
        if not self._glides or frame.device is not None:  # from a device the picture would be brought for nothing else
            return False
        before, self._luma = self._luma, frame.luma(FLOW_SIZE)
        if before is None:
            return False
        change = self._luma.astype(np.float32) - before
        # A lamp that is switched on moves all levels alike, and is no cut.
        return float(np.abs(change - change.mean()).mean()) > _CUT


def framed(picture: Frame, view: View, scratch: Scratch | None = None) -> Frame:
    """What a window of a picture shows, at the picture's size: each plane and alpha on their own."""
    x0, y0, x1, y1 = view.box
    planes = picture.planes if picture.alpha is None else (*picture.planes, picture.alpha)
    made = empty_planes([plane.shape for plane in planes])
    for plane, out in zip(planes, made, strict=True):
        height, width = plane.shape
        crop(plane, (x0 * width, y0 * height, x1 * width, y1 * height), out=out, scratch=scratch)
    luma, u, v, *alpha = made
    return picture.with_planes((luma, u, v), alpha=alpha[0] if alpha else None)


def subject_box(segmentation: Segmentation, look: Look = "body") -> Box | None:
    """What is to be seen of all people, or of all that is found where the model knows none; None for nobody.

    Specks do not count: areas of less than 0.2 % of the picture, or 4 % of the largest.
    """
    mask = _subject(segmentation)
    if mask is None:
        return None
    while mask.shape[1] >= 320 and mask.shape[0] % 2 == mask.shape[1] % 2 == 0:
        mask = halve(mask)
    height, width = mask.shape
    areas = large_areas(mask, least=_LEAST, of_largest=_OF_LARGEST)
    if not len(areas):
        return None
    x0, y0, x1, y1 = _around(areas)
    if look == "head":
        pixels = float(areas[:, cv2.CC_STAT_AREA].sum()) * height / width * segmentation.size[0] / segmentation.size[1]
        below = min(y1, y0 + round(_HEAD * math.sqrt(pixels)))
        upper = large_areas(mask[y0:below], least=_LEAST, of_largest=_OF_LARGEST)
        if below < y1 and len(upper):
            x0, _, x1, _ = _around(upper)
            return Box(x0 / width, y0 / height, x1 / width, below / height, goes_on=True)
    return Box(x0 / width, y0 / height, x1 / width, y1 / height)


def _subject(segmentation: Segmentation) -> U8 | None:
    """The union of the masks of people, or of all where the model knows none."""
    names = ("person",) if "person" in segmentation.names else segmentation.names
    union: U8 | None = None
    for mask in select(segmentation, names).values():
        union = mask if union is None else as_u8(cv2.max(union, mask))
    return union


def _around(areas: NDArray[np.int32]) -> tuple[int, int, int, int]:
    left, top = areas[:, cv2.CC_STAT_LEFT], areas[:, cv2.CC_STAT_TOP]
    right, bottom = left + areas[:, cv2.CC_STAT_WIDTH], top + areas[:, cv2.CC_STAT_HEIGHT]
    return int(left.min()), int(top.min()), int(right.max()), int(bottom.max())
