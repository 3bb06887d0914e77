"""Average precision of countable things, as COCO counts it, by faster-coco-eval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rtseg import registry
from rtseg.evaluate.metrics import Bool
from rtseg.evaluate.truth import SaidSegment, TrueSegment

EXTRA = "eval"
COCO_LIMIT = 100
"""How many predictions of a picture count in COCO, best first."""

_NO_LIMIT = 1_000_000


@dataclass(frozen=True, slots=True)
class Precision:
    """Of a class, or the mean over classes: AP over IoU 0.5:0.05:0.95, AP at 0.5 and 0.75, the mean recall (AR).

    small, medium, large: the AP of things under 32x32 pixels, up to 96x96, and over. truth, predicted: how many
    things there were and were said. None: there was no such thing. classes: those of the mean, none in one of them.
    """

    ap50: float | None
    ap: float | None
    truth: int
    predicted: int
    ap75: float | None = None
    ar: float | None = None
    small: float | None = None
    medium: float | None = None
    large: float | None = None
    name: str = ""
    classes: tuple[Precision, ...] = ()


class InstanceTally:
    """Grows by pictures: what is true and what is said, as runs. names: the classes that are judged.

    limit: predictions of a picture that count, best first; None for all, since a picture under a microscope shows
    more cells than COCO's 100. overlap: whether masks are compared, or boxes. Raises DependencyMissing without
    faster-coco-eval.
    """

    def __init__(
        self, names: Sequence[str], *, limit: int | None = None, overlap: Literal["segm", "bbox"] = "segm"
    ) -> None:
        self.names = tuple(names)
        self._overlap = overlap
        self._limit = limit or _NO_LIMIT
        self._coco = registry.import_target("faster_coco_eval:COCO", extra=EXTRA)
        self._evaluation = registry.import_target("faster_coco_eval:COCOeval_faster", extra=EXTRA)
        self._runs = registry.import_target("faster_coco_eval.core:mask", extra=EXTRA)
        self._images: list[dict[str, Any]] = []
        self._truth: list[dict[str, Any]] = []
        self._said: list[dict[str, Any]] = []

    def add(self, truth: Sequence[TrueSegment], said: Sequence[SaidSegment], shape: tuple[int, int]) -> Finds:
        """A picture of `shape`, height and width, with segments of `names` only; which were found at an IoU of 0.5."""
        rows, made = ([self._row(segment) for segment in side] for side in (truth, said))
        for row, true in zip(rows, truth, strict=True):
            row |= {"iscrowd": int(true.crowd), "area": row["area"] if true.area is None else true.area}
        self.add_rows(rows, [{**row, "score": segment.score} for row, segment in zip(made, said, strict=True)], shape)
        return self._finds(truth, said, [row["segmentation"] for row in rows], [row["segmentation"] for row in made])

    def add_rows(self, truth: Sequence[dict[str, Any]], said: Sequence[dict[str, Any]], shape: tuple[int, int]) -> None:
        """A picture as COCO's annotations and results, without ids; their categories are indices into `names`."""
        image = len(self._images) + 1
        self._images.append({"id": image, "height": shape[0], "width": shape[1]})
        self._truth += [
            {**row, "image_id": image, "id": number} for number, row in enumerate(truth, start=len(self._truth) + 1)
        ]
        self._said += [{**row, "image_id": image} for row in said]

    @property
    def precision(self) -> Precision:
        """Over all pictures so far, the mean over classes that occurred, and each of them."""
        if not self._truth or not self._said:
            return self._without()
        truth = self._coco(
            {
                "images": self._images,
                "annotations": self._truth,
                "categories": [{"id": number, "name": name} for number, name in enumerate(self.names)],
                "info": {},
            }
        )
        evaluation = self._evaluation(truth, truth.loadRes(self._said), iouType=self._overlap)
        evaluation.params.maxDets = [self._limit]
        evaluation.evaluate()
        evaluation.accumulate()
        precision = np.asarray(evaluation.eval["precision"])[..., -1]  # IoU x recall x class x area
        recall = np.asarray(evaluation.eval["recall"])[..., -1]  # IoU x class x area
        each = [self._of(name, precision[:, :, [i]], recall[:, [i]]) for i, name in enumerate(self.names)]
        return self._of("", precision, recall, tuple(one for one in each if one.truth or one.predicted))

    def _of(
        self,
        name: str,
        precision: NDArray[np.float64],
        recall: NDArray[np.float64],
        classes: tuple[Precision, ...] = (),
    ) -> Precision:
        small, medium, large = (_mean(precision[..., i]) for i in (1, 2, 3))
        true, said = self._counts(name)
        return Precision(
            _mean(precision[0, ..., 0]),
            _mean(precision[..., 0]),
            true,
            said,
            _mean(precision[5, ..., 0]),
            _mean(recall[..., 0]),
            small,
            medium,
            large,
            name,
            classes,
        )

    def _without(self) -> Precision:
        """Where one side is empty, which the library does not take."""

        def figures(name: str, classes: tuple[Precision, ...] = ()) -> Precision:
            true, said = self._counts(name)
            value = 0.0 if true else None
            return Precision(value, value, true, said, value, value, name=name, classes=classes)

        each = [figures(name) for name in self.names]
        return figures("", tuple(one for one in each if one.truth or one.predicted))

    def _counts(self, name: str) -> tuple[int, int]:
        """Things that are true, without crowds, and said; of all classes where no name is given."""
        number = self.names.index(name) if name else None
        true = (r for r in self._truth if not r["iscrowd"] and number in (None, r["category_id"]))
        return sum(1 for _ in true), sum(number in (None, row["category_id"]) for row in self._said)

    def _row(self, segment: TrueSegment | SaidSegment) -> dict[str, Any]:
        runs = self._runs.encode(np.asfortranarray(segment.mask.astype(np.uint8)))
        return {
            "category_id": self.names.index(segment.name),
            "segmentation": runs,
            "area": float(np.count_nonzero(segment.mask)),
            "bbox": [float(value) for value in self._runs.toBbox(runs)],
        }

    def _finds(
        self, truth: Sequence[TrueSegment], said: Sequence[SaidSegment], true_runs: list[Any], said_runs: list[Any]
    ) -> Finds:
        overlaps = np.zeros((len(said), len(truth)))
        if truth and said:
            overlaps[:] = self._runs.iou(said_runs, true_runs, [segment.crowd for segment in truth])
        for row, segment in enumerate(said):
            overlaps[row, [true.name != segment.name for true in truth]] = 0.0
        crowd = np.array([segment.crowd for segment in truth], bool)
        on_crowd = (overlaps[:, crowd] >= 0.5).any(axis=1)
        overlaps[:, crowd] = 0.0
        taken = match(overlaps, 0.5)
        found = np.isin(np.arange(len(truth)), taken)
        return Finds(found | crowd, (taken >= 0) | on_crowd)


@dataclass(frozen=True, eq=False, slots=True)
class Finds:
    """Which true things of a picture were found, and which that were said are right; crowds are no errors."""

    truth: Bool
    said: Bool

    @property
    def f1(self) -> float:
        """2 x found / (true + said); 1 where there is nothing."""
        every = len(self.truth) + len(self.said)
        return (int(self.truth.sum()) + int(self.said.sum())) / every if every else 1.0


def match(overlaps: NDArray[np.float64], threshold: float) -> NDArray[np.int64]:
    """Which thing each prediction finds, -1 for none: N, for IoUs NxM of predictions, best score first, with the truth.

    Greedy: each prediction takes the thing that is still free and overlaps it most, if by at least `threshold`.
    """
    taken = np.full(len(overlaps), -1, np.int64)
    free = np.ones(overlaps.shape[1], bool)
    for row, ious in enumerate(overlaps):
        candidates = np.where(free, ious, -1.0)
        if candidates.size and candidates.max() >= threshold:
            taken[row] = int(np.argmax(candidates))
            free[taken[row]] = False
    return taken


def _mean(values: NDArray[np.float64]) -> float | None:
    """Of those over -1, which stands for a class that does not occur."""
    known = values[values > -1]
    return float(known.mean()) if known.size else None
