"""One network that looks at a frame several times, and the mean of what it sees."""

from __future__ import annotations

from typing import Literal, TypeAlias

import cv2
import numpy as np

from rtseg.cards import Card
from rtseg.ops.arrays import U8, as_u8
from rtseg.ops.matte import finer_size
from rtseg.ops.resize import enlarge
from rtseg.parts import GUARD, LARGE, LOOSE, area, around, box_of, cut, one_subject, placed, touches
from rtseg.types import Box, Frame, Regions, Segmentation, Segmenter, Size

Number: TypeAlias = Literal[2, 4]


def takes_views(card: Card) -> bool:
    """Whether the network is one for `Views`: of one soft region, without a memory, and of whole RGB pictures."""
    return (
        card.family == "regions" and len(card.names) == 1 and card.input.colour == "rgb" and card.input.fit == "stretch"
    )


class Views:
    """A segmenter of one soft region that shows its network the whole frame and, larger, the part where the subject is.

    Where both look, their masks are averaged: what the network says of a place by chance, it does not say again at
    another size. Unlike with `rtseg.focus.Focus` the whole is looked at in every frame, so who enters is seen at once.
    The part is chosen by the mask of the frame before, and stays while the subject is well inside; where the subject
    fills the frame, there is none. number: 2 for these two, 4 for both seen mirrored too. size: of the network's
    picture.

    Gives `Regions` of the size that `rtseg.ops.matte.finer_size` names. Belongs to one stream; asks `segmenter`, which
    must remember nothing, up to `number` times a frame. ConfigError where that gives more than one region.
    """

    def __init__(self, segmenter: Segmenter, *, number: Number, size: tuple[int, int]) -> None:
        self.names = one_subject(segmenter, "views")
        self._segmenter, self._mirrored, self._network = segmenter, number == 4, size
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

    def empty(self, frame: Frame) -> Segmentation:
        """What the segmenter calls empty."""
        return self._segmenter.empty(frame)

    def __call__(self, frame: Frame) -> Segmentation:
        """The frame's region."""
        if frame.size != self._size:
            self.part, self._size = None, frame.size
        detail = Size(*finer_size(self._network, frame.size))
        mean = enlarge(self._seen(frame), detail, out=np.empty(detail[::-1], np.uint8))
        if self.part is not None:
            region, shown = placed(self._seen(cut(frame, self.part)), self.part, frame.size, detail)
            cv2.addWeighted(mean[region], 0.5, shown, 0.5, 0.0, dst=mean[region])
        self._choose(box_of(mean, (0, 0, *frame.size)), frame.size, detail)
        return Regions(mean[np.newaxis], self.names, frame.pts, frame.size)

    def _seen(self, frame: Frame) -> U8:
        mask = self._mask(frame)
        if not self._mirrored:
            return mask
        picture = np.ascontiguousarray(frame.resized(self._network)[:, ::-1])
        return as_u8(cv2.addWeighted(mask, 0.5, cv2.flip(self._mask(frame.with_resized(picture)), 1), 0.5, 0.0))

    def _mask(self, frame: Frame) -> U8:
        result = self._segmenter(frame)
        assert isinstance(result, Regions)
        return as_u8(result.probabilities[0])

    def _choose(self, box: Box | None, size: Size, detail: Size) -> None:
        """The part for the next frame."""
        part = self.part
        if box is None:
            self.part = None
            return
        best = around(box, size, self._network, detail, most=1.0)
        assert best is not None
        inside = part is not None and not touches(box, part, size, GUARD)
        if not (part is not None and inside and area(part) <= LOOSE * area(best)):
            self.part = best if area(best) <= LARGE * size.width * size.height else None
