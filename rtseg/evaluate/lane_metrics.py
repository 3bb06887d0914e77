"""Lane lines compared as their two benchmarks do: CULane by drawn lines, TuSimple row by row.

A line is float64 Nx2, u and v in pixels of the picture, whole numbers at the middles of pixels, as both benchmarks
count them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from rtseg.driving.ground import F64
from rtseg.evaluate.metrics import Bool

THICK, THICK_AT = 30.0, 1640
"""CULane's lines are drawn 30 pixels thick in pictures 1640 wide; in others in proportion."""
OVERLAP = 0.5
"""The IoU of drawn lines over which one is found."""
NEAR, NEAR_AT = 20.0, 1280
"""TuSimple's points are right within 20 pixels of 1280, across the line; in others in proportion."""
RIGHT = 0.85
"""The share of right points from which TuSimple takes a line for found."""
NOWHERE = -2.0
"""TuSimple's x for a row in which a line has no point."""
_FINE = 4


@dataclass(frozen=True, slots=True)
class RowScores:
    """TuSimple's figures of a picture, 0..1. accuracy: the share of right points of the true lines. false_positive: the
    share of the lines said that are none; false_negative: of the true ones that are not found."""

    accuracy: float
    false_positive: float
    false_negative: float


@dataclass(frozen=True, slots=True)
class LaneScores:
    """Over a set. found, said, truth: lines by CULane's measure; rows: TuSimple's, the mean over pictures, None where
    the truth is not given by rows."""

    found: int
    said: int
    truth: int
    rows: RowScores | None = None

    @property
    def precision(self) -> float:
        """The share of the lines said that are right; 1 where nothing is said."""
        return self.found / self.said if self.said else 1.0

    @property
    def recall(self) -> float:
        """The share of the true lines that are found; 1 where nothing is true."""
        return self.found / self.truth if self.truth else 1.0

    @property
    def f1(self) -> float:
        """2 x found / (said + true); 1 where there is nothing."""
        every = self.said + self.truth
        return 2 * self.found / every if every else 1.0


@dataclass(frozen=True, eq=False, slots=True)
class LaneFinds:
    """Which true lines of a picture were found, and which that were said are right, by CULane's measure."""

    truth: Bool
    said: Bool

    @property
    def f1(self) -> float:
        """Of this picture; 1 where there is nothing."""
        return LaneScores(int(self.truth.sum()), len(self.said), len(self.truth)).f1


@dataclass
class LaneTally:
    """Grows by pictures."""

    _counts: list[tuple[int, int, int]] = field(default_factory=list)
    _rows: list[RowScores] = field(default_factory=list)

    def add(
        self,
        truth: Sequence[F64],
        said: Sequence[F64],
        size: tuple[int, int],
        *,
        rows: F64 | None = None,
        lanes: Sequence[F64] = (),
    ) -> LaneFinds:
        """A picture of `size`, width and height. rows: the v at which TuSimple asks, None where the truth has none;
        lanes: the truth there, as in `by_rows`."""
        finds = find_lines(truth, said, size)
        self._counts.append((int(finds.truth.sum()), len(said), len(truth)))
        if rows is not None:
            told = [at_rows(line, rows) for line in said]
            self._rows.append(by_rows(lanes, told, rows, near=NEAR * size[0] / NEAR_AT))
        return finds

    @property
    def scores(self) -> LaneScores:
        """Of all pictures so far."""
        found, said, truth = (sum(column) for column in zip(*self._counts, strict=True)) if self._counts else (0, 0, 0)
        rows = None
        if self._rows:
            names = ("accuracy", "false_positive", "false_negative")
            rows = RowScores(*(float(np.mean([getattr(one, name) for one in self._rows])) for name in names))
        return LaneScores(found, said, truth, rows)


def find_lines(truth: Sequence[F64], said: Sequence[F64], size: tuple[int, int]) -> LaneFinds:
    """CULane's measure (Pan et al., "Spatial As Deep", AAAI 2018): lines are drawn thick, and of the pairs whose sum of
    IoUs is greatest those are found whose own is over a half.

    Truth is drawn as straight pieces, not as a spline through its points, which lie ten rows apart there.
    """
    width, height = size
    thick = max(1, round(THICK * width / THICK_AT))
    drawn = [[drawn_line(line, (width, height), thick) for line in side] for side in (truth, said)]
    overlaps = np.zeros((len(said), len(truth)))
    for row, one in enumerate(drawn[1]):
        for column, other in enumerate(drawn[0]):
            union = np.count_nonzero(one | other)
            overlaps[row, column] = np.count_nonzero(one & other) / union if union else 0.0
    found, right = np.zeros(len(truth), bool), np.zeros(len(said), bool)
    for row, column in best_pairs(overlaps):
        found[column] = right[row] = overlaps[row, column] > OVERLAP
    return LaneFinds(found, right)


def drawn_line(line: F64, size: tuple[int, int], thick: int) -> Bool:
    """Where a line of `thick` pixels is in a picture of `size`, boolean HxW."""
    made = np.zeros((size[1], size[0]), np.uint8)
    if len(line) > 1:
        points = np.rint(line * (1 << _FINE)).clip(-(2**24), 2**24).astype(np.int32)
        cv2.polylines(made, [points], False, (1,), thick, cv2.LINE_8, _FINE)
    return made > 0


def best_pairs(scores: F64) -> list[tuple[int, int]]:
    """Rows and columns, each at most once, whose scores NxM of at least 0 have the greatest sum.

    Over all subsets of the shorter side, which takes 2^n steps: lines of a picture are few. Pairs of 0 are left out.
    """
    if scores.shape[0] < scores.shape[1]:
        return [(row, column) for column, row in best_pairs(scores.T)]
    best: dict[int, tuple[float, list[tuple[int, int]]]] = {0: (0.0, [])}
    for row in range(scores.shape[0]):
        for taken, (total, pairs) in list(best.items()):
            for column in np.flatnonzero(scores[row] > 0).tolist():
                if not taken & (1 << column):
                    more = total + float(scores[row, column])
                    if more > best.get(taken | 1 << column, (-1.0, []))[0]:
                        best[taken | 1 << column] = (more, [*pairs, (row, column)])
    return max(best.values(), key=lambda one: one[0])[1]


def at_rows(line: F64, rows: F64) -> F64:
    """The line's u in each row, `NOWHERE` beyond its ends and to the left of the picture."""
    order = np.argsort(line[:, 1], kind="stable")
    u: F64 = np.interp(rows, line[order, 1], line[order, 0], left=NOWHERE, right=NOWHERE)
    return np.where(u >= 0, u, NOWHERE)


def by_rows(truth: Sequence[F64], said: Sequence[F64], rows: F64, *, near: float = NEAR) -> RowScores:
    """TuSimple's measure of one picture, as `evaluate/lane.py` of its benchmark has it.

    truth, said: of each line its u in each of `rows`, negative for nowhere. A point is right within `near` pixels,
    divided by the cosine of the true line's angle. Rows where both are nowhere are right too. A picture with over two
    lines more than are true counts as missed, and of more than four true lines the worst is left out.
    """
    many = len(truth)
    if many + 2 < len(said):
        return RowScores(0.0, 0.0, 1.0)
    shares = [
        max((_share(np.asarray(line), np.asarray(one), rows, near) for one in said), default=0.0) for line in truth
    ]
    found = sum(share >= RIGHT for share in shares)
    missed = many - found
    total = sum(shares)
    if many > 4:
        missed, total = max(missed - 1, 0), total - min(shares)
    counted = max(min(many, 4), 1)
    return RowScores(total / counted, (len(said) - found) / len(said) if len(said) else 0.0, missed / counted)


def _share(truth: F64, said: F64, rows: F64, near: float) -> float:
    there = truth >= 0
    slope = float(np.polyfit(rows[there], truth[there], 1)[0]) if np.count_nonzero(there) > 1 else 0.0
    limit = near / math.cos(math.atan(slope))
    apart = np.abs(np.where(there, truth, -100.0) - np.where(said >= 0, said, -100.0))
    return float((apart < limit).mean())
