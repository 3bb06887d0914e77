"""Names and scores beside the instances of a result, none over another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from rtseg.ops.arrays import F32, U8, as_f32, as_u8
from rtseg.ops.palette import RGB
from rtseg.ops.text import LEAST_ROWS, rounded_box_alpha, shortened, text_alpha
from rtseg.types import Box, Frame, Instances, Layer, Size, Solid

MOST = 20
"""Tags in a picture: more hide what they name, and each is two layers."""

Side: TypeAlias = Literal["above", "below", "inside", "right"]
SIDES: tuple[Side, ...] = ("above", "below", "inside", "right")
"""Where a tag may stand, the usual place first."""

_OPACITY = 0.85
_INK: RGB = (255, 255, 255)
_DARK: RGB = (16, 18, 20)
# What had a tag in the frame before counts as if it scored so much more, and a newcomer must be so many pixels away.
_CALM = 0.1
_GAP = 2
_SAME = 0.5


class _Shown(NamedTuple):
    """A tag of the frame before: of which instance, and where it stood."""

    label: int
    box: F32
    track: int | None
    side: Side


class _Tag(NamedTuple):
    letters: U8
    rgb: RGB
    box: Box
    pad: int


class Tags:
    """Two layers for each of the `MOST` best instances that have a colour, "car 85 %" on it, the best on top.

    A tag stands above its box at the left, or below, inside or right of it where it would cover another or leave the
    frame; the best choose first, and whoever finds no room goes without. Text is 2.5 percent of the frame's height, 11
    rows at least; a frame that is too small for a tag goes without it.

    So that tags do not jump when scores waver, an instance that had one in the frame before keeps its place where that
    is free, and its turn up to a tenth of score. Nothing else is remembered, and that only of frames of the same size.
    """

    def __init__(self) -> None:
        self._before: list[_Shown] = []
        self._key: object = None

    def __call__(self, frame: Frame, found: Instances, colours: Mapping[str, RGB]) -> list[Layer]:
        """The layers, each in its box."""
        if (key := (frame.size, found.names)) != self._key:
            self._key, self._before = key, []
        named = [i for i, label in enumerate(found.labels.tolist()) if found.names[label] in colours]
        former = self._former(found, named)
        scores = found.scores.tolist()
        turns = sorted(named, key=lambda i: (-scores[i] - (_CALM if i in former else 0.0), i))[:MOST]
        text = max(LEAST_ROWS, round(0.025 * frame.size.height))
        tags: list[_Tag] = []
        shown: list[_Shown] = []
        for index in turns:
            name = found.names[found.labels[index]]
            letters, pad = text_alpha(f"{shortened(name)} {100 * scores[index]:.0f} %", text), round(0.35 * text)
            size = (letters.shape[1] + 2 * pad, text + pad)
            taken = [tag.box for tag in tags]
            for side, box in _places(found.boxes[index], size, frame.size, former.get(index)):
                if _is_free(box, taken, gap=0 if index in former else _GAP):
                    tags.append(_Tag(letters, colours[name], box, pad))
                    track = None if found.track_ids is None else int(found.track_ids[index])
                    shown.append(_Shown(int(found.labels[index]), found.boxes[index].copy(), track, side))
                    break
        self._before = shown
        return [layer for tag in reversed(tags) for layer in _drawn(tag, text)]

    def _former(self, found: Instances, named: Sequence[int]) -> dict[int, Side]:
        """Where each instance's tag stood in the frame before, if it had one: by its track, or the box it overlaps."""
        sides: dict[int, Side] = {}
        if not self._before or not named:
            return sides
        overlaps = _overlaps(found.boxes[named], np.stack([each.box for each in self._before]))
        free = set(range(len(self._before)))
        for row in np.argsort(-overlaps.max(axis=1), kind="stable").tolist():
            index = named[row]
            for place in np.argsort(-overlaps[row], kind="stable").tolist():
                each = self._before[place]
                if found.track_ids is not None and each.track is not None:
                    same = each.track == int(found.track_ids[index])
                else:
                    same = each.label == found.labels[index] and overlaps[row, place] > _SAME
                if same and place in free:
                    free.discard(place)
                    sides[index] = each.side
                    break
        return sides


def _places(box: F32, size: tuple[int, int], frame: Size, first: Side | None) -> Iterator[tuple[Side, Box]]:
    """Every place in the frame for a tag of `size` (width, height) beside a box, the one it had `first`."""
    width, height = size
    if width > frame.width or height > frame.height:
        return
    left, top, right, bottom = box.round().astype(int).tolist()
    x, y = min(max(left, 0), frame.width - width), min(max(top, 0), frame.height - height)
    corners = {
        "above": (x, min(top, frame.height) - height),
        "below": (x, bottom),
        "inside": (x, min(y + _GAP, frame.height - height)),
        "right": (right, y),
    }
    for side in sorted(SIDES, key=lambda side: side != first):
        x, y = corners[side]
        if x >= 0 and y >= 0 and x + width <= frame.width and y + height <= frame.height:
            yield side, (x, y, x + width, y + height)


def _is_free(box: Box, taken: Sequence[Box], *, gap: int) -> bool:
    x0, y0, x1, y1 = box
    return all(x1 + gap <= a0 or a1 + gap <= x0 or y1 + gap <= b0 or b1 + gap <= y0 for a0, b0, a1, b1 in taken)


def _overlaps(boxes: F32, others: F32) -> F32:
    """IoU of each of N boxes with each of M, NxM."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas, theirs = ((each[:, 2:] - each[:, :2]).prod(axis=1) for each in (boxes, others))
    return as_f32(shared / np.maximum(areas[:, None] + theirs[None] - shared, np.float32(1e-6)))


def _drawn(tag: _Tag, text: int) -> tuple[Layer, Layer]:
    x0, y0, x1, y1 = tag.box
    ground = as_u8(np.rint(rounded_box_alpha((x1 - x0, y1 - y0), 0.3 * text) * _OPACITY).astype(np.uint8))
    x, y = x0 + tag.pad, y0 + tag.pad // 2
    ink = Layer(tag.letters, Solid(_ink_on(tag.rgb)), (x, y, x + tag.letters.shape[1], y + text))
    return Layer(ground, Solid(tag.rgb), tag.box), ink


def _ink_on(rgb: RGB) -> RGB:
    """White, or nearly black on light colours (luma of BT.601)."""
    return _DARK if 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2] > 140 else _INK
