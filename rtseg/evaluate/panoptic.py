"""Panoptic quality: whether things and stuff are found, and how well those that are."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtseg.evaluate.metrics import Bool
from rtseg.evaluate.truth import SaidSegment, TrueSegment


@dataclass(frozen=True, slots=True)
class Quality:
    """PQ = SQ x RQ, 0..1. name: of a class, or "all", "things", "stuff". Counts: found, made up, missed.

    classes: how many the mean is of; 1 for a class itself.
    """

    name: str
    pq: float
    sq: float
    rq: float
    found: int
    made_up: int
    missed: int
    classes: int = 1
    thing: bool | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Matches:
    """A picture compared. overlap: of each true segment with its match, 0 without; truth, said: which have one.

    missed, made_up: which count as errors: neither crowds, nor what lies mostly where nothing is known.
    """

    overlap: NDArray[np.float64]
    truth: Bool
    said: Bool
    missed: Bool
    made_up: Bool

    @property
    def quality(self) -> float:
        """The PQ of the picture, all classes together; 1 where there is nothing."""
        found = int(self.truth.sum())
        errors = int(self.missed.sum()) + int(self.made_up.sum())
        return float(self.overlap.sum()) / (found + errors / 2) if found or errors else 1.0


def match_segments(truth: Sequence[TrueSegment], said: Sequence[SaidSegment]) -> Matches:
    """Pair the segments of one picture, none of which overlaps another of its side.

    A pair has one class and an IoU over 0.5, so there is no choice. Pixels of no true segment are void: they are left
    out of unions, and what lies there, or on a crowd of its class, by more than half is not made up (Kirillov et al.,
    "Panoptic Segmentation", CVPR 2019, in the form of the COCO evaluation code).
    """
    none = np.zeros(0, bool)
    if not truth and not said:
        return Matches(np.zeros(0), none, none, none, none)
    shape = (truth[0].mask if truth else said[0].mask).shape
    rows, columns = _ids([s.mask for s in truth], shape), _ids([s.mask for s in said], shape)
    wide = len(said) + 1
    table = np.bincount(rows * wide + columns, minlength=(len(truth) + 1) * wide).reshape(-1, wide)
    both = table[1:, 1:].astype(np.float64)
    of_truth, of_said, void = table[1:].sum(axis=1), table[:, 1:].sum(axis=0), table[0, 1:]
    union = of_truth[:, None] + of_said[None] - both - void[None]
    ious = both / np.maximum(union, 1)
    names = np.array([s.name for s in truth], object)[:, None] == np.array([s.name for s in said], object)[None]
    crowd = np.array([s.crowd for s in truth], bool)
    pairs = (ious > 0.5) & names & ~crowd[:, None]
    found, hit = pairs.any(axis=1), pairs.any(axis=0)
    ignored = void + np.where(names & crowd[:, None], both, 0.0).sum(axis=0)
    missed = ~found & ~crowd & (of_truth > 0)
    made_up = ~hit & (of_said > 0) & (ignored <= 0.5 * of_said)
    return Matches(np.where(pairs, ious, 0.0).sum(axis=1), found, hit, missed, made_up)


class PanopticTally:
    """Grows by pictures; `names` are the classes that are judged, `things` those of them that are countable."""

    def __init__(self, names: Sequence[str], things: Collection[str]) -> None:
        self._number = {name: number for number, name in enumerate(names)}
        self._things = np.array([name in things for name in names], bool)
        self._overlap = np.zeros(len(names))
        self._counts = np.zeros((3, len(names)), np.int64)

    def add(self, truth: Sequence[TrueSegment], said: Sequence[SaidSegment]) -> Matches:
        """A picture. Segments of other names stand in the way of those that are judged, and count nowhere else."""
        every = match_segments(truth, said)
        true, made = (np.array([self._number.get(s.name, -1) for s in side], np.int64) for side in (truth, said))
        judged = true >= 0
        matches = Matches(
            np.where(judged, every.overlap, 0.0),
            every.truth & judged,
            every.said & (made >= 0),
            every.missed & judged,
            every.made_up & (made >= 0),
        )
        np.add.at(self._overlap, true, matches.overlap)  # of what is not judged, nothing is added anywhere
        for row, numbers, which in ((0, true, matches.truth), (1, made, matches.made_up), (2, true, matches.missed)):
            np.add.at(self._counts[row], numbers, which)
        return matches

    @property
    def qualities(self) -> tuple[Quality, ...]:
        """Means over classes (all, things, stuff, as far as there are any), then the classes that occurred.

        PQ = sum of IoU / (found + made up / 2 + missed / 2), SQ = sum of IoU / found, RQ = found / the same divisor.
        """
        found, made_up, missed = self._counts
        divisor = found + made_up / 2 + missed / 2
        occurred = divisor > 0
        sq = self._overlap / np.maximum(found, 1)
        rq = found / np.where(occurred, divisor, 1.0)
        pq = sq * rq

        def quality(name: str, which: NDArray[np.intp], thing: bool | None) -> Quality:
            mean_pq, mean_sq, mean_rq = (float(values[which].mean()) for values in (pq, sq, rq))
            hits, extra, lost = (int(values[which].sum()) for values in (found, made_up, missed))
            return Quality(name, mean_pq, mean_sq, mean_rq, hits, extra, lost, len(which), thing)

        groups = (("all", occurred, None), ("things", occurred & self._things, True))
        means = [
            quality(name, np.flatnonzero(which), thing)
            for name, which, thing in (*groups, ("stuff", occurred & ~self._things, False))
            if which.any()
        ]
        each = [quality(name, np.array([i]), bool(self._things[i])) for name, i in self._number.items() if occurred[i]]
        return (*means, *each)


def _ids(masks: Sequence[Bool], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Numbers from 1 in the order of the masks, 0 elsewhere, as one row."""
    ids = np.zeros(shape, np.int64)
    for number, mask in enumerate(masks, start=1):
        ids[mask] = number
    return ids.ravel()
