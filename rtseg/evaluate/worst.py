"""The worst pictures of segments and mattes, kept while they are measured: of a video there is no second look."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from rtseg.evaluate.metrics import Bool
from rtseg.evaluate.sheet import PANEL, centred, lay_out, tile_of
from rtseg.evaluate.truth import SaidSegment, TrueSegment
from rtseg.ops.arrays import U8, as_u8
from rtseg.ops.palette import RGB, palette_for
from rtseg.ops.resize import resize

MANY = 24

_RIGHT: RGB = (255, 255, 255)
_WRONG: RGB = (255, 32, 32)


@dataclass
class WorstPictures:
    """Keeps the panels of the `many` pictures with the least scores; of equal ones the first.

    legend: what the panels are, from left to right. once: of one group, such as a clip, only the worst is kept.
    """

    legend: str
    many: int = MANY
    once: bool = False
    _kept: list[tuple[float, str, str, list[U8]]] = field(default_factory=list)

    def add(self, score: float, caption: str, panels: Callable[[], list[U8]], *, group: str = "") -> None:
        """A picture: panels RGB uint8, drawn only if they are kept."""
        if self.once:
            if any(one[1] == group and one[0] <= score for one in self._kept):
                return
            self._kept = [one for one in self._kept if one[1] != group]
        if len(self._kept) == self.many and score >= self._kept[-1][0]:
            return
        self._kept.append((score, group, caption, panels()))
        self._kept.sort(key=lambda one: one[0])
        del self._kept[self.many :]

    @property
    def captions(self) -> list[str]:
        """Of what is kept, worst first."""
        return [caption for _, _, caption, _ in self._kept]

    def write(self, title: str, path: Path) -> Path | None:
        """One sheet of all; None where nothing was kept. Raises SinkError."""
        if not self._kept:
            return None
        tiles = [tile_of(panels, caption) for _, _, caption, panels in self._kept]
        return lay_out(tiles, f"{title}, worst first: {self.legend}", (), path)


def segment_panels(
    rgb: U8,
    truth: Sequence[TrueSegment],
    said: Sequence[SaidSegment],
    *,
    found: Bool,
    right: Bool,
    names: Collection[str],
) -> list[U8]:
    """The picture, what is true and what is said, each class in its colour.

    Outlines are white around what has its match on the other side, red around what has none.
    """
    colours = palette_for(sorted(names))
    plain = small(rgb)
    sides = [
        _drawn(plain, [(segment.name, segment.mask) for segment in side], matched, colours)
        for side, matched in ((truth, found), (said, right))
    ]
    return [centred(panel) for panel in (plain, *sides)]


def matte_panels(rgb: U8, truth: U8, predicted: U8) -> list[U8]:
    """The picture, the true alpha, the predicted one, and where they differ: red too much, blue too little."""
    plain = small(rgb)
    size = plain.shape[1], plain.shape[0]
    mattes = [resize(matte, size) for matte in (truth, predicted)]
    shown = [np.dstack([matte] * 3) for matte in mattes]
    more, less = cv2.subtract(mattes[1], mattes[0]), cv2.subtract(mattes[0], mattes[1])
    difference = as_u8(np.dstack([255 - less, 255 - cv2.max(more, less), 255 - more]))
    return [centred(panel) for panel in (plain, *shown, difference)]


def small(rgb: U8) -> U8:
    """As large as fits a panel."""
    height, width = rgb.shape[:2]
    ratio = min(PANEL[0] / width, PANEL[1] / height)
    size = max(1, round(width * ratio)), max(1, round(height * ratio))
    return np.dstack([resize(np.ascontiguousarray(rgb[..., i]), size) for i in range(3)])


def _drawn(plain: U8, segments: Sequence[tuple[str, Bool]], matched: Bool, colours: dict[str, RGB]) -> U8:
    size = plain.shape[1], plain.shape[0]
    shown = cv2.cvtColor(cv2.cvtColor(plain, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB).astype(np.float32) * 0.6
    masks = [resize(np.where(mask, np.uint8(255), np.uint8(0)), size) > 127 for _, mask in segments]
    for (name, _), mask in zip(segments, masks, strict=True):
        shown[mask] = 0.5 * shown[mask] + 0.5 * np.array(colours[name], np.float32)
    drawn = as_u8(np.rint(shown).astype(np.uint8))
    for wanted, colour in ((True, _RIGHT), (False, _WRONG)):  # errors on top
        for mask, good in zip(masks, matched, strict=True):
            if bool(good) == wanted:
                outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
                cv2.drawContours(drawn, outlines, -1, colour, 1)
    return drawn
