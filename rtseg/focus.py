"""The network sees the part of the frame where the subject is, so that the subject gets more of its pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rtseg.ops.matte import finer_size
from rtseg.parts import GUARD, LARGE, LOOSE, area, around, box_of, cut, one_subject, placed, touches, union
from rtseg.types import Box, Frame, Regions, Segmentation, Segmenter, Size

_TOO_LARGE = 0.9
"""Share of the frame that a part that was chosen may grow to."""
_REST = 8
"""Frames that are left alone after a part in which the network did not find what it had found in the whole."""


class Focus:
    """A segmenter of one soft region that shows its network the subject and not the frame around it.

    The whole frame is looked at first, after a reset, every `every` frames, and as soon as the subject is lost or
    reaches the border of the part. In between the network sees the box around the subject and a margin, as views of the
    planes; no part is chosen where the subject fills the frame, and all is as without. A part stays as it is while the
    subject is well inside, so that still pictures have still masks. Who enters elsewhere is found at the next look,
    and is nobody until then. With `every` 1 each frame stands alone.

    Gives the network's `Regions` for whole frames, and for parts a mask of the frame, 0 outside the part, of the size
    that `rtseg.ops.matte.finer_size` names, whatever the part. Belongs to one stream; asks `segmenter`, which
    must remember nothing, up to three times a frame. ConfigError where that gives more than one region.
    """

    def __init__(self, segmenter: Segmenter, *, every: int = 30) -> None:
        self.names = one_subject(segmenter, "focus")
        self._segmenter, self.every = segmenter, every
        self.reset()

    @property
    def providers(self) -> tuple[str, ...]:
        """Where the network runs, best first."""
        return getattr(self._segmenter, "providers", ("cpu",))

    def reset(self) -> None:
        """The next frame is looked at whole."""
        self._segmenter.reset()
        self.part: Box | None = None
        self._size: Size | None = None
        self._asked = self._looked = self._rest = 0

    def empty(self, frame: Frame) -> Segmentation:
        """What the segmenter calls empty."""
        return self._segmenter.empty(frame)

    def __call__(self, frame: Frame) -> Segmentation:
        """The frame's region."""
        if frame.size != self._size:
            self.part, self._size, self._rest = None, frame.size, 0
        part = self.part
        if part is None or self.every <= 1:
            self.part = None
            return self._look(frame, None)
        seen = self._see(frame, part)
        if not isinstance(seen, _Seen):
            return seen
        self._asked += 1
        # Live sources drop frames, and an adaptive pipeline asks for few: both kinds count.
        due = max(self._asked, frame.index - self._looked) >= self.every
        if due or seen.box is None or touches(seen.box, part, frame.size, 0):
            return self._look(frame, seen)
        if touches(seen.box, part, frame.size, GUARD):
            self.part = self._around(seen.box, _TOO_LARGE)
        return seen.regions

    def _look(self, frame: Frame, seen: _Seen | None) -> Segmentation:
        """Ask for the whole frame, choose the part, and give what is seen in it, or the whole where there is none."""
        whole = self._segmenter(frame)
        if not isinstance(whole, Regions):
            return whole
        self._asked, self._looked = 0, frame.index
        self._network = whole.probabilities.shape[2], whole.probabilities.shape[1]
        if self._rest:
            self._rest -= 1
            return whole
        box = union(box_of(whole.probabilities[0], (0, 0, *frame.size)), None if seen is None else seen.box)
        if seen is not None and self.part is not None and box is not None and self._holds(self.part, box):
            return seen.regions
        self.part = None if box is None else self._around(box, LARGE if self.part is None else _TOO_LARGE)
        if self.part is None:
            return whole
        again = self._see(frame, self.part)
        if isinstance(again, _Seen) and again.box is not None and not touches(again.box, self.part, frame.size, 0):
            return again.regions
        # The network says one thing of the whole and another of the part: it is left alone for a while.
        self.part, self._rest = None, _REST
        return whole

    def _see(self, frame: Frame, part: Box) -> _Seen | Segmentation:
        result = self._segmenter(cut(frame, part))
        if not isinstance(result, Regions):
            return result
        mask = result.probabilities[0]
        detail = self._detail()
        full = np.zeros((detail.height, detail.width), np.uint8)
        region, shown = placed(mask, part, frame.size, detail)
        full[region] = shown
        return _Seen(Regions(full[np.newaxis], self.names, frame.pts, frame.size), box_of(mask, part))

    def _detail(self) -> Size:
        """The size of masks of parts: that to which edges are redrawn, which is all that a compositor needs."""
        assert self._size is not None
        return Size(*finer_size(self._network, self._size))

    def _around(self, box: Box, most: float) -> Box | None:
        """The part that fits a subject best; None where that is more than a share of the frame."""
        assert self._size is not None
        return around(box, self._size, self._network, self._detail(), most=most)

    def _holds(self, part: Box, box: Box) -> bool:
        """Whether a subject is inside of a part that is not much too large for it."""
        best = self._around(box, 1.0)
        inside = part[0] <= box[0] and part[1] <= box[1] and box[2] <= part[2] and box[3] <= part[3]
        return inside and best is not None and area(part) <= LOOSE * area(best)


@dataclass(frozen=True, eq=False, slots=True)
class _Seen:
    """What a part shows: the frame's mask, and the box around the subject, None for nobody."""

    regions: Regions
    box: Box | None
