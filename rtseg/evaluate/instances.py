"""Average precision of countable things, as COCO counts it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rtseg.evaluate.metrics import Bool
from rtseg.ops.arrays import U8
from rtseg.ops.resize import enlarge
from rtseg.results import Instances

THRESHOLDS = tuple(float(t) for t in np.linspace(0.5, 0.95, 10))
"""The IoU from which an instance counts as found: the ten of COCO."""

_RECALLS = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True, slots=True)
class Precision:
    """Average precision at IoU 0.5, the mean over 0.5:0.05:0.95, and how many things there were and were said."""

    ap50: float
    ap: float
    truth: int
    predicted: int


@dataclass
class InstanceTally:
    """Grows by pictures: every prediction with its score, and at which thresholds it found something."""

    _scores: list[float] = field(default_factory=list)
    _hits: list[NDArray[np.bool_]] = field(default_factory=list)
    _truth: int = 0

    def add(self, ids: NDArray[np.uint16], predicted: Sequence[Bool], scores: Sequence[float]) -> None:
        """A picture: ids HxW, 0 nothing; predictions boolean HxW each, and their scores, all of which count.

        COCO itself takes the best 100 of a picture, which is less than the cells that one under a microscope shows.
        """
        order = np.argsort(-np.asarray(scores, float), kind="stable")
        overlaps = iou_matrix([predicted[i] for i in order], ids)
        hits = np.stack([match(overlaps, threshold) for threshold in THRESHOLDS], axis=1)
        self._scores += [float(scores[i]) for i in order]
        self._hits += list(hits)
        self._truth += overlaps.shape[1]

    @property
    def precision(self) -> Precision:
        """Over all pictures so far."""
        order = np.argsort(-np.asarray(self._scores), kind="stable")
        hits = np.array(self._hits, bool).reshape(-1, len(THRESHOLDS))[order]
        each = [average_precision(hits[:, i], self._truth) for i in range(len(THRESHOLDS))]
        return Precision(each[0], float(np.mean(each)), self._truth, len(order))


def match(overlaps: NDArray[np.float64], threshold: float) -> Bool:
    """Which predictions find a thing: N, for IoUs NxM of predictions, best score first, with the truth.

    Greedy: each prediction takes the thing that is still free and overlaps it most, if by at least `threshold`; of
    equal ones the last, as COCO does.
    """
    found = np.zeros(len(overlaps), bool)
    free = np.ones(overlaps.shape[1], bool)
    for row, ious in enumerate(overlaps):
        candidates = np.where(free, ious, -1.0)
        if candidates.size and candidates.max() >= min(threshold, 1 - 1e-10):
            free[candidates.size - 1 - int(np.argmax(candidates[::-1]))] = False
            found[row] = True
    return found


def average_precision(hits: Bool, truth: int) -> float:
    """The mean precision at 101 recalls, 0..1; hits: N, best score first; truth: how many things there are.

    The precision at a recall is the greatest at that or a greater one (Lin et al., "Microsoft COCO", ECCV 2014, and
    its evaluation code). Without things it is 1 where nothing is predicted, else 0.
    """
    if not truth:
        return float(len(hits) == 0)
    found = np.cumsum(hits)
    recall, precision = found / truth, found / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, _RECALLS, side="left")
    return float(np.append(envelope, 0.0)[np.minimum(places, len(hits))].mean())


def iou_matrix(predicted: Sequence[Bool], ids: NDArray[np.uint16]) -> NDArray[np.float64]:
    """Intersection over union of N boolean masks HxW with every id over 0 of HxW, ids in order: float64 NxM."""
    values, places, sizes = np.unique(ids, return_inverse=True, return_counts=True)
    things = values > 0
    places = places.ravel()
    ious = np.zeros((len(predicted), int(np.count_nonzero(things))))
    for row, mask in enumerate(predicted):
        inside = np.flatnonzero(mask)
        both = np.bincount(places[inside], minlength=len(values))[things]
        ious[row] = both / np.maximum(inside.size + sizes[things] - both, 1)
    return ious


def said_instances(result: Instances, names: Sequence[str], known: Bool) -> tuple[list[Bool], list[float]]:
    """Masks of the instances of those names at the size of `known`, and their scores."""
    height, width = known.shape
    chosen = [i for i, label in enumerate(result.labels) if result.names[label] in names]
    masks: list[U8] = [enlarge(result.masks[i], (width, height)) for i in chosen]
    return [(mask > 127) & known for mask in masks], [float(result.scores[i]) for i in chosen]
