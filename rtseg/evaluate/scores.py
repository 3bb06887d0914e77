"""The figures: a growing sum a region, and what is said of it in the end."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from rtseg.evaluate.boxes import TrackScores
from rtseg.evaluate.drive_set import DrivenLanes, DrivenObstacles
from rtseg.evaluate.instances import Precision
from rtseg.evaluate.lane_metrics import LaneScores
from rtseg.evaluate.mattes import MatteScores
from rtseg.evaluate.metrics import Bool, Counts, LineCounts, boundary_f, count, count_lines, matte_error
from rtseg.evaluate.panoptic import Quality
from rtseg.evaluate.plan import Options
from rtseg.evaluate.truth import Task
from rtseg.ops.arrays import U8
from rtseg.ops.resize import enlarge, resize


@dataclass(frozen=True, slots=True)
class PictureScore:
    """One region of one picture: score 0..1, the IoU or of lines the F1; wrong: pixels; empty: nothing there at all."""

    stem: str
    region: str
    score: float
    wrong: int
    empty: bool


@dataclass(frozen=True, slots=True)
class RegionScores:
    """A region over a set. iou_mean, iou_median, boundary_f: over pictures; all others: pooled.

    recall: of true pixels, the "class accuracy"; None where none is true. found, truth: the pixels that it is made
    of. occurs: in truth or prediction. precision: of predicted pixels. condition: that of all these pictures. None: not
    measured for such a region.
    """

    region: str
    iou_mean: float
    iou_median: float
    iou: float
    accuracy: float
    mad: float
    boundary_f: float | None = None
    line_precision: float | None = None
    line_recall: float | None = None
    line_f1: float | None = None
    recall: float | None = None
    found: int = 0
    truth: int = 0
    occurs: bool = True
    precision: float | None = None
    condition: str = ""


@dataclass(frozen=True, slots=True)
class SetScores:
    """A model on a set. miou: mean of the pooled IoU over all areas that occur, None where the model misses one.

    mean_accuracy: the mean of their recall. pixel_accuracy: the share of labelled pixels that are given their class.
    missing: what the set labels and the model does not give; it is left out of all figures. conditions: the
    regions once more, of the pictures of each. lanes: of labelled lines. boxes, tracks: of obstacles.
    driven_lanes, driven_obstacles: of drawn drives.
    """

    model: str
    data: str
    part: str
    kind: str
    pictures: int
    regions: tuple[RegionScores, ...]
    miou: float | None = None
    precision: Precision | None = None
    task: Task = "semantic"
    mean_accuracy: float | None = None
    pixel_accuracy: float | None = None
    panoptic: tuple[Quality, ...] = ()
    matte: MatteScores | None = None
    missing: tuple[str, ...] = ()
    worst: tuple[PictureScore, ...] = field(default=(), repr=False)
    conditions: tuple[RegionScores, ...] = ()
    lanes: LaneScores | None = None
    boxes: Precision | None = None
    tracks: TrackScores | None = None
    driven_lanes: DrivenLanes | None = None
    driven_obstacles: DrivenObstacles | None = None


@dataclass
class RegionTally:
    """Grows by pictures."""

    region: str
    is_line: bool = False
    pictures: list[PictureScore] = field(default_factory=list)
    _counts: list[Counts] = field(default_factory=list)
    _boundaries: list[float] = field(default_factory=list)
    _lines: list[LineCounts] = field(default_factory=list)
    _errors: list[tuple[float, int]] = field(default_factory=list)

    def add(self, stem: str, truth: U8, predicted: U8, known: U8, options: Options) -> None:
        """A picture: truth and known are uint8 HxW at its size, predicted uint8 at any."""
        height, width = truth.shape
        full = enlarge(predicted, (width, height))
        sure, t, p = known > 127, truth > 127, full > 127
        counts = count(t, p, sure)
        self._counts.append(counts)
        self._errors.append(matte_error(truth, full, sure))
        score = counts.iou
        if self.is_line:
            self._lines.append(lines_between(truth, predicted, known, options))
            score = self._lines[-1].f1
        else:
            self._boundaries.append(boundary_f(t, p, sure, tolerance=options.boundary))
        self.pictures.append(PictureScore(stem, self.region, score, counts.wrong, counts.both + counts.wrong == 0))

    @property
    def scores(self) -> RegionScores:
        """What there is so far; at least one picture."""
        return self._of(range(len(self.pictures)))

    def under(self, condition: str, stems: re.Pattern[str]) -> RegionScores | None:
        """The same of the pictures whose stems match, None where there are none."""
        chosen = [place for place, picture in enumerate(self.pictures) if stems.search(picture.stem)]
        return replace(self._of(chosen), condition=condition) if chosen else None

    def _of(self, chosen: Sequence[int]) -> RegionScores:
        counts = [self._counts[place] for place in chosen]
        pooled = sum(counts, Counts())
        lines = sum((self._lines[place] for place in chosen), LineCounts()) if self.is_line else None
        error, known = (sum(column) for column in zip(*(self._errors[place] for place in chosen), strict=True))
        return RegionScores(
            self.region,
            float(np.mean([one.iou for one in counts])),
            float(np.median([one.iou for one in counts])),
            pooled.iou,
            pooled.accuracy,
            error / known if known else 0.0,
            None if self.is_line else float(np.mean([self._boundaries[place] for place in chosen])),
            lines.precision if lines else None,
            lines.recall if lines else None,
            lines.f1 if lines else None,
            pooled.recall,
            pooled.both,
            pooled.both + pooled.truth,
            pooled.occurs,
            pooled.precision,
        )


def lines_between(truth: U8, predicted: U8, known: U8 | None, options: Options) -> LineCounts:
    """Two soft masks of a thin region at sizes of their own, uint8, brought to `line_width` first.

    The height is that of `truth`, in proportion.
    """
    height, width = truth.shape
    size = options.line_width, max(1, round(height * options.line_width / width))
    t, p = resize(truth, size) > 127, resize(predicted, size) > 127
    sure: Bool = np.ones_like(t) if known is None else resize(known, size) > 127
    return count_lines(t, p, sure, tolerance=options.line_tolerance)
