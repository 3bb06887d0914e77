"""The errors of a model's mattes, as benchmarks of matting give them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from rtseg.evaluate.metrics import Bool
from rtseg.ops.arrays import U8
from rtseg.ops.matte_errors import (
    change_error,
    connectivity_error,
    gradient_error,
    mean_absolute_error,
    mean_squared_error,
)


@dataclass(frozen=True, slots=True)
class MatteScores:
    """Means over pictures or frames, less is better. mad, mse: x1000. grad, conn: /1000. dtssd: x100, only of videos.

    dtssd is the mean over each clip's changes, then over clips.
    """

    region: str
    mad: float
    mse: float
    grad: float
    conn: float
    dtssd: float | None = None
    clips: int = 0


@dataclass
class MatteTally:
    """Grows by pictures, or by the frames of clips."""

    region: str
    _errors: list[tuple[float, float, float, float]] = field(default_factory=list)
    _clips: list[list[float]] = field(default_factory=list)
    _before: tuple[U8, U8] | None = None

    def begin_clip(self) -> None:
        """What comes now are frames of one clip, in order."""
        self._clips.append([])
        self._before = None

    def add(self, truth: U8, predicted: U8, known: Bool) -> float:
        """Two alphas uint8 HxW of one size; the MAD of this picture, 0..1."""
        mad = mean_absolute_error(truth, predicted, known)
        self._errors.append(
            (
                1e3 * mad,
                1e3 * mean_squared_error(truth, predicted, known),
                1e-3 * gradient_error(truth, predicted, known),
                1e-3 * connectivity_error(truth, predicted, known),
            )
        )
        if self._clips:
            if self._before is not None:
                change = (self._before[0], truth), (self._before[1], predicted)
                self._clips[-1].append(change_error(*change, known))
            self._before = truth.copy(), predicted.copy()
        return mad

    @property
    def scores(self) -> MatteScores:
        """What there is so far; at least one picture."""
        mad, mse, grad, conn = (float(value) for value in np.mean(self._errors, axis=0))
        return MatteScores(self.region, mad, mse, grad, conn, _mean_of_means(self._clips), len(self._clips))


def _mean_of_means(clips: Sequence[Sequence[float]]) -> float | None:
    means = [float(np.mean(clip)) for clip in clips if clip]
    return float(np.mean(means)) if means else None
