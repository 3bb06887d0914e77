"""Many classes tinted by one layer: colours are mixed at the masks' size, so that a frame is blended once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, assert_never

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.ops.arrays import U8, as_f32, as_u8
from rtseg.ops.colour import Colour, rgb_to_yuv
from rtseg.ops.palette import RGB
from rtseg.types import Instances, Layer, Panoptic, Semantic, Solid, Tints

_AROUND = np.ones((3, 3), np.uint8)
_BYTE = 256


class Tint(NamedTuple):
    """A class's colour, and 256 alphas by the level of its mask."""

    rgb: RGB
    alphas: U8


class Tinter:
    """All the tints of a result as one layer at its masks' resolution.

    names: of the model. tints: by name, those that are shown. colour: of the frames.

    Where classes do not meet, the frame is that of a layer each, to a level. Where two do, the picture shows through
    their common edge no more than through either of them; layers one over another let less of it through.
    """

    def __init__(self, names: Sequence[str], tints: Mapping[str, Tint], colour: Colour) -> None:
        places = {name: place for place, name in enumerate(names)}
        # Ranks count from 1, in the order of the tints; 0 is what has none.
        self._ranks = {places[name]: rank for rank, name in enumerate(tints, start=1) if name in places}
        self._shown = shown = [tints[name] for name in tints if name in places]
        self._type = np.uint8 if len(shown) < _BYTE else np.uint16
        colours = [(int(each.alphas[255]), *rgb_to_yuv(each.rgb, colour)) for each in shown]
        self._columns = np.array([(0, 0, 0, 0), *colours], np.uint8).T.copy()  # alpha, Y, U, V by rank
        self._alphas = [as_f32((each.alphas / 255.0).astype(np.float32)) for each in shown]
        self._by_label = self._table(self._ranks)

    def __call__(self, found: Semantic | Instances | Panoptic) -> Layer | None:
        """The layer; None where nothing that is shown is in sight."""
        match found:
            case Semantic():
                return self._mapped(_look_up(found.labels, self._by_label))
            case Panoptic():
                ranks = {s.id + 1: self._ranks[s.label] for s in found.segments_info if s.label in self._ranks}
                table = self._table(ranks)
                ids = found.ids + np.int32(1)
                small = len(table) <= _BYTE and int(ids.max()) < _BYTE
                return self._mapped(_look_up(ids.astype(np.uint8) if small else ids, table))
            case Instances():
                return self._folded(found)
            case _:
                assert_never(found)

    def _table(self, ranks: Mapping[int, int]) -> NDArray[Any]:
        """Ranks by value; 0 for values without one, and at the end for those beyond."""
        table = np.zeros(max(_BYTE, max(ranks, default=0) + 2), self._type)
        for value, rank in ranks.items():
            table[value] = rank
        return table

    def _mapped(self, ranks: NDArray[Any]) -> Layer | None:
        """A layer by the rank of each pixel, HxW."""
        least, most = cv2.minMaxLoc(ranks)[:2]
        if most == 0:
            return None
        alpha = _look_up(ranks, self._columns[0])
        if least == 0:  # enlarging reaches a pixel further: there is the colour of who is beside
            ranks = _filled(ranks, cv2.dilate(ranks, _AROUND), ranks)
        y, u, v = (_look_up(ranks, column) for column in self._columns[1:])
        return Layer(alpha, Tints((y, u, v)))

    def _folded(self, found: Instances) -> Layer | None:
        """Soft masks, which may overlap: each class over those before it, by Porter and Duff's "over"."""
        classes: dict[int, list[int]] = {}
        for place, label in enumerate(found.labels.tolist()):
            if label in self._ranks:
                classes.setdefault(self._ranks[label], []).append(place)
        if len(classes) < 2:  # nothing to mix
            return self._plain(found, *classes.popitem()) if classes else None
        height, width = found.masks.shape[1:]
        mixed = np.zeros((4, height, width), np.float32)  # coverage, and Y, U and V times coverage
        for rank, places in sorted(classes.items()):
            mask = _united(found, places)
            x, y, w, h = cv2.boundingRect(mask)
            part = mixed[:, y : y + h, x : x + w]
            alpha = self._alphas[rank - 1][mask[y : y + h, x : x + w]]
            paint = np.array((1, *self._columns[1:, rank]), np.float32)[:, None, None]
            part += alpha * (paint - part)
        coverage = mixed[0]
        x, y, w, h = cv2.boundingRect((coverage > 0).view(np.uint8))
        if w == 0:
            return None
        near = np.s_[max(0, y - 1) : y + h + 1, max(0, x - 1) : x + w + 1]  # as far as enlarging reaches
        covered = coverage[near] > 0
        straight = mixed[1:, *near] / np.where(covered, coverage[near], np.float32(1))
        planes = np.zeros((3, height, width), np.uint8)
        for plane, levels in zip(planes, np.rint(straight).astype(np.uint8), strict=True):
            plane[near] = _filled(levels, cv2.dilate(levels, _AROUND), covered.view(np.uint8))
        return Layer(np.rint(255 * coverage).astype(np.uint8), Tints((planes[0], planes[1], planes[2])))

    def _plain(self, found: Instances, rank: int, places: Sequence[int]) -> Layer | None:
        shown = self._shown[rank - 1]
        alpha = as_u8(cv2.LUT(_united(found, places), shown.alphas))
        return Layer(alpha, Solid(shown.rgb)) if alpha.any() else None


def _united(found: Instances, places: Sequence[int]) -> U8:
    return found.masks[places[0]] if len(places) == 1 else as_u8(found.masks[places].max(axis=0))


def _look_up(values: NDArray[Any], table: NDArray[Any]) -> NDArray[Any]:
    """table[values], by OpenCV where it can; values beyond the table take its last, which is 0."""
    if values.dtype == np.uint8 and table.dtype == np.uint8:
        return as_u8(cv2.LUT(values, np.pad(table, (0, max(0, _BYTE - len(table))))[:_BYTE]))
    return np.take(table, values, mode="clip")


def _filled(values: NDArray[Any], others: Any, known: NDArray[Any]) -> NDArray[Any]:
    """The values where `known` is not 0, and the others elsewhere."""
    return np.where(known == 0, others, values)
