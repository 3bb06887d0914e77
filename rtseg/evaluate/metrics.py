"""What masks are compared by: pure functions of boolean arrays, each with its formula and where it comes from.

`known` is where the labels mean something: all other pixels count nowhere. Where truth and prediction are both
empty they agree, which counts as 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.ops.arrays import U8

Bool: TypeAlias = NDArray[np.bool_]

BOUNDARY = 0.008
"""How far contours may be apart, as a share of the picture's diagonal: that of DAVIS."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Pixels by truth and prediction; the sum of two is that of both pictures, which is what pooled figures are."""

    both: int = 0
    predicted: int = 0
    truth: int = 0
    neither: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.both + other.both,
            self.predicted + other.predicted,
            self.truth + other.truth,
            self.neither + other.neither,
        )

    @property
    def iou(self) -> float:
        """Intersection over union (Jaccard 1912): both / (both + only predicted + only truth)."""
        union = self.both + self.predicted + self.truth
        return self.both / union if union else 1.0

    @property
    def accuracy(self) -> float:
        """Share of pixels where prediction and truth say the same: (both + neither) / all; 1 of no pixel."""
        every = self.both + self.predicted + self.truth + self.neither
        return (self.both + self.neither) / every if every else 1.0

    @property
    def recall(self) -> float | None:
        """The share of true pixels that are predicted, which is called class accuracy; None where none is true."""
        true = self.both + self.truth
        return self.both / true if true else None

    @property
    def precision(self) -> float | None:
        """The share of predicted pixels that are true; None where none is predicted."""
        said = self.both + self.predicted
        return self.both / said if said else None

    @property
    def occurs(self) -> bool:
        """Whether truth or prediction has a pixel at all."""
        return self.both + self.wrong > 0

    @property
    def wrong(self) -> int:
        """How many pixels are only predicted or only true."""
        return self.predicted + self.truth


def count(truth: Bool, predicted: Bool, known: Bool) -> Counts:
    """Pixels of both, only predicted, only truth, neither; all three arrays are boolean HxW."""
    t, p = truth & known, predicted & known
    both = int(np.count_nonzero(t & p))
    only_predicted, only_truth = int(np.count_nonzero(p)) - both, int(np.count_nonzero(t)) - both
    return Counts(both, only_predicted, only_truth, int(np.count_nonzero(known)) - both - only_predicted - only_truth)


def matte_error(truth: U8, predicted: U8, known: Bool) -> tuple[float, int]:
    """The sum of |truth - predicted| / 255 over known pixels, and their number; uint8 HxW both.

    Their quotient is the MAD of matting (Xu et al., "Deep Image Matting", CVPR 2017), here over whole pictures.
    """
    difference = cv2.absdiff(truth, predicted)
    return float(difference[known].sum(dtype=np.int64)) / 255.0, int(np.count_nonzero(known))


def boundary_f(truth: Bool, predicted: Bool, known: Bool, *, tolerance: float = BOUNDARY) -> float:
    """How well contours agree, 0..1: F = 2 P R / (P + R), boolean HxW all three.

    P is the share of the prediction's contour pixels that are at most `tolerance` x the diagonal, rounded up to
    pixels, from the truth's contour; R the same the other way (Perazzi et al., "A Benchmark Dataset and Evaluation
    Methodology for Video Object Segmentation", CVPR 2016, in the form of the DAVIS evaluation code). A contour pixel
    differs from its neighbour to the right, below, or both; the picture's edges and unknown pixels are none.
    """
    judged = known.copy()
    judged[:, :-1] &= known[:, 1:]
    judged[:-1] &= known[1:]
    judged[:-1, :-1] &= known[1:, 1:]
    t, p = contour(truth) & judged, contour(predicted) & judged
    if not (any_t := bool(t.any())) or not p.any():
        return float(any_t == bool(p.any()))
    return _f(*_near_shares(t, p, float(math.ceil(tolerance * math.hypot(*truth.shape)))))


def contour(mask: Bool) -> Bool:
    """Pixels of a boolean HxW that differ from the one to the right, below, or below to the right."""
    edge = np.zeros_like(mask)
    edge[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    edge[:-1] |= mask[:-1] != mask[1:]
    edge[:-1, :-1] |= mask[:-1, :-1] != mask[1:, 1:]
    return edge


@dataclass(frozen=True, slots=True)
class LineCounts:
    """Pixels of thin regions: how many are predicted or true, and how many of these are near the other."""

    predicted_near: int = 0
    predicted: int = 0
    truth_near: int = 0
    truth: int = 0

    def __add__(self, other: LineCounts) -> LineCounts:
        return LineCounts(
            self.predicted_near + other.predicted_near,
            self.predicted + other.predicted,
            self.truth_near + other.truth_near,
            self.truth + other.truth,
        )

    @property
    def precision(self) -> float:
        """The share of predicted pixels that are near the truth; 1 where nothing is predicted."""
        return self.predicted_near / self.predicted if self.predicted else 1.0

    @property
    def recall(self) -> float:
        """The share of true pixels that are near the prediction; 1 where nothing is true."""
        return self.truth_near / self.truth if self.truth else 1.0

    @property
    def f1(self) -> float:
        """2 P R / (P + R)."""
        return _f(self.precision, self.recall)


def count_lines(truth: Bool, predicted: Bool, known: Bool, *, tolerance: float) -> LineCounts:
    """For lanes and other thin regions, where a shift of two pixels would halve the IoU; boolean HxW all three.

    A pixel is near when one of the other mask is at most `tolerance` pixels away (the relaxed precision and recall of
    Mnih and Hinton, "Learning to Detect Roads in High-Resolution Aerial Images", ECCV 2010).
    """
    t, p = truth & known, predicted & known
    totals = int(np.count_nonzero(p)), int(np.count_nonzero(t))
    if not all(totals):
        return LineCounts(0, totals[0], 0, totals[1])
    near_p, near_t = (round(share * total) for share, total in zip(_near_shares(t, p, tolerance), totals, strict=True))
    return LineCounts(near_p, totals[0], near_t, totals[1])


def _near_shares(truth: Bool, predicted: Bool, tolerance: float) -> tuple[float, float]:
    """Precision and recall of two sets of pixels, neither of them empty."""
    return float((_distance(truth)[predicted] <= tolerance).mean()), float(
        (_distance(predicted)[truth] <= tolerance).mean()
    )


def _distance(mask: Bool) -> NDArray[np.float32]:
    """Of each pixel to the nearest of the mask, exact to a hundredth of a pixel."""
    away = np.where(mask, np.uint8(0), np.uint8(1))
    distance = cv2.distanceTransform(away, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.round(distance, 2).astype(np.float32)


def _f(precision: float, recall: float) -> float:
    return 2.0 * precision * recall / (precision + recall) if precision + recall else 0.0
