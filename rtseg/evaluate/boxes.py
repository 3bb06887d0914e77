"""Boxes of obstacles: average precision as COCO counts it, and identities over time by the library trackers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rtseg import registry
from rtseg.driving.ground import F64
from rtseg.evaluate.instances import COCO_LIMIT, InstanceTally, Precision

Box: TypeAlias = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels of the picture."""
DRIVING = "driving"
"""The extra that brings the library trackers."""


@dataclass(frozen=True, slots=True)
class NamedBox:
    """A box of a class; score 0..1 of what is said, crowd and area (None for the box's own) of what is true."""

    name: str
    box: Box
    score: float = 1.0
    crowd: bool = False
    area: float | None = None


class BoxTally:
    """Grows by pictures; a picture's best 100 boxes count. Raises DependencyMissing without faster-coco-eval."""

    def __init__(self, names: Sequence[str]) -> None:
        self._tally = InstanceTally(names, limit=COCO_LIMIT, overlap="bbox")

    def add(self, truth: Sequence[NamedBox], said: Sequence[NamedBox], size: tuple[int, int]) -> None:
        """A picture of `size`, width and height."""
        rows = [{**self._row(each), "iscrowd": int(each.crowd)} for each in truth]
        self._tally.add_rows(rows, [{**self._row(each), "score": each.score} for each in said], (size[1], size[0]))

    @property
    def precision(self) -> Precision:
        """Over all pictures so far."""
        return self._tally.precision

    def _row(self, each: NamedBox) -> dict[str, Any]:
        x0, y0, x1, y1 = each.box
        wide, high = x1 - x0, y1 - y0
        area = wide * high if each.area is None else each.area
        return {"category_id": self._tally.names.index(each.name), "bbox": [x0, y0, wide, high], "area": area}


@dataclass(frozen=True, slots=True)
class TrackScores:
    """HOTA with its parts (Luiten et al., IJCV 2021), IDF1 (Ristani et al., 2016), and how often a thing's number
    changed, at an IoU of 0.5."""

    hota: float
    detection: float
    association: float
    idf1: float
    switches: int


@dataclass
class TrackTally:
    """Grows by sequences, of which each has numbers of its own."""

    _truth: list[NDArray[np.int64]] = field(default_factory=list)
    _said: list[NDArray[np.int64]] = field(default_factory=list)
    _overlaps: list[F64] = field(default_factory=list)
    _known: tuple[dict[tuple[int, int], int], dict[tuple[int, int], int]] = field(default_factory=lambda: ({}, {}))
    _sequence: int = 0

    def begin(self) -> None:
        """Another sequence."""
        self._sequence += 1

    def add(self, truth: dict[int, Box], said: dict[int, Box]) -> F64:
        """A frame: boxes by number. Their IoUs, one row for each true one."""
        for side, known, numbers in ((self._truth, self._known[0], truth), (self._said, self._known[1], said)):
            dense = [known.setdefault((self._sequence, number), len(known)) for number in numbers]
            side.append(np.array(dense, np.int64))
        self._overlaps.append(overlaps(list(truth.values()), list(said.values())))
        return self._overlaps[-1]

    @property
    def scores(self) -> TrackScores:
        """Of all sequences, as if they were one. Raises DependencyMissing without trackers."""
        given = self._truth, self._said, self._overlaps
        hota, identity, clear = (
            registry.import_target(f"trackers.eval.{module}:compute_{module}_metrics", extra=DRIVING)(*given)
            for module in ("hota", "identity", "clear")
        )
        whole, detection, association = (float(hota[name]) for name in ("HOTA", "DetA", "AssA"))
        return TrackScores(whole, detection, association, float(identity["IDF1"]), int(clear["IDSW"]))


def overlaps(boxes: Sequence[Box], others: Sequence[Box]) -> F64:
    """IoU, float64 NxM."""
    a, b = (np.array(side, np.float64).reshape(-1, 4) for side in (boxes, others))
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    both = np.prod(np.maximum(high - low, 0.0), axis=-1)
    areas = [np.prod(side[:, 2:] - side[:, :2], axis=-1) for side in (a, b)]
    union = areas[0][:, None] + areas[1][None] - both
    shares: F64 = np.divide(both, union, out=np.zeros_like(both), where=union > 0)
    return shares
