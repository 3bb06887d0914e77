"""What a method's mattes are judged by, frame by frame: see `FrameScores` for each figure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.quality_scenes import CHECKED, Shot
from rtseg.evaluate.metrics import boundary_f
from rtseg.ops.arrays import F32, U8, as_f32
from rtseg.ops.matte_errors import (
    change_error,
    connectivity_error,
    gradient_error,
    mean_absolute_error,
    mean_squared_error,
)

SPEEDS = (4.0, 10.0, 20.0, 30.0, 45.0)
"""Bins of speed: from each to the next, pixels a frame at 1280 wide."""
HALO = 6.0
"""Pixels outside of the edge in which composites are compared."""
BOUNDARY = 0.004
"""How far contours may be apart for boundary F, as a share of the diagonal: half of what DAVIS allows."""
GREEN = (0, 177, 64)
_OPAQUE = 128
_CLEAR = 5
_JUST_LEFT = 2  # frames


@dataclass(frozen=True, slots=True)
class Scores:
    """Means over frames, then over scenes; less is better but for boundary. None: there was nothing to measure.

    mad, mse (x1000), grad, conn (/1000), dtssd (x100): `rtseg.ops.matte_errors`. boundary: the boundary F at half of
    DAVIS' tolerance. flicker: mean |a_t - a_t-1| x1000 where neither subject nor backdrop changed. trail: mean error
    x1000 of the alpha where the subject was within the last two frames and is no more, over all speeds and by speed.
    miss: the same where the subject is and just was not. halo_green, halo_blur: mean difference in levels, over R, G
    and B, from the true composite within six pixels outside of the edge; halo_plain: with a blur of the whole frame.
    """

    mad: float | None = None
    mse: float | None = None
    grad: float | None = None
    conn: float | None = None
    boundary: float | None = None
    dtssd: float | None = None
    flicker: float | None = None
    trail: float | None = None
    miss: float | None = None
    halo_green: float | None = None
    halo_blur: float | None = None
    halo_plain: float | None = None
    trail_speeds: tuple[float | None, ...] = ()
    miss_speeds: tuple[float | None, ...] = ()


FIGURES = tuple(each.name for each in fields(Scores) if not each.name.endswith("_speeds"))


@dataclass
class _Mean:
    """A mean of what comes in parts."""

    total: float = 0.0
    count: float = 0.0

    def add(self, total: float, count: float = 1.0) -> None:
        self.total += total
        self.count += count

    @property
    def value(self) -> float | None:
        return self.total / self.count if self.count else None


@dataclass
class Tally:
    """Grows by the frames of one shot, in order."""

    shot: Shot
    _means: dict[str, _Mean] = field(default_factory=lambda: {name: _Mean() for name in FIGURES})
    _trails: list[_Mean] = field(default_factory=lambda: [_Mean() for _ in SPEEDS[1:]])
    _misses: list[_Mean] = field(default_factory=lambda: [_Mean() for _ in SPEEDS[1:]])
    _before: U8 | None = None

    def add(self, index: int, alpha: U8, *, slow: bool = True) -> None:
        """The alpha of a frame, uint8 HxW of its size. slow: also what takes long, of each `CHECKED`-th frame."""
        truth = self.shot.alphas[index]
        known = np.ones(truth.shape, bool)
        self._means["mad"].add(1e3 * mean_absolute_error(truth, alpha, known))
        self._means["mse"].add(1e3 * mean_squared_error(truth, alpha, known))
        if self._before is not None:
            self._means["dtssd"].add(change_error((self.shot.alphas[index - 1], truth), (self._before, alpha)))
            still = self.shot.still[index]
            changed = cv2.absdiff(alpha, self._before)[still]
            self._means["flicker"].add(1e3 / 255.0 * float(changed.sum(dtype=np.int64)), changed.size)
            self._moved(index, alpha)
        self._before = alpha.copy()
        if slow and index % CHECKED == 0:
            self._means["grad"].add(1e-3 * gradient_error(truth, alpha, known))
            self._means["conn"].add(1e-3 * connectivity_error(truth, alpha, known))
            edges = truth >= _OPAQUE, alpha >= _OPAQUE
            self._means["boundary"].add(boundary_f(*edges, known, tolerance=BOUNDARY))

    def add_halo(self, name: str, index: int, composite: U8, truth: U8) -> None:
        """A composite of a frame and the true one, RGB uint8 HxWx3; name: "halo_green" and so on."""
        band = halo_band(self.shot.alphas[index])
        if band.any():
            self._means[name].add(float(cv2.absdiff(composite, truth)[band].mean(dtype=np.float64)))

    @property
    def scores(self) -> Scores:
        """What there is so far."""
        found: dict[str, Any] = {name: mean.value for name, mean in self._means.items()}
        found["trail_speeds"] = tuple(mean.value for mean in self._trails)
        found["miss_speeds"] = tuple(mean.value for mean in self._misses)
        return Scores(**found)

    def _moved(self, index: int, alpha: U8) -> None:
        """What is left where the subject was, and what is missing where it has come, by the speed there."""
        past = self.shot.alphas[max(0, index - _JUST_LEFT) : index]
        truth = self.shot.alphas[index]
        left = (past.max(axis=0) >= _OPAQUE) & (truth <= _CLEAR)
        come = (past.min(axis=0) <= _CLEAR) & (truth >= 255 - _CLEAR)
        if not (left.any() or come.any()):
            return
        height, width = truth.shape
        speed = cv2.resize(self.shot.speeds[index], (width, height), interpolation=cv2.INTER_NEAREST)
        error = cv2.absdiff(truth, alpha)
        for where, name, bins in ((left, "trail", self._trails), (come, "miss", self._misses)):
            fast, wrong = speed[where], error[where]
            moving = fast >= SPEEDS[0]
            self._means[name].add(1e3 / 255.0 * float(wrong[moving].sum(dtype=np.int64)), int(moving.sum()))
            for mean, low, high in zip(bins, SPEEDS[:-1], SPEEDS[1:], strict=True):
                those = (fast >= low) & (fast < high)
                mean.add(1e3 / 255.0 * float(wrong[those].sum(dtype=np.int64)), int(those.sum()))


def halo_band(truth: U8) -> NDArray[np.bool_]:
    """Where an alpha, uint8 HxW, is under a half, at most `HALO` pixels from where it is not."""
    outside = (truth < _OPAQUE).astype(np.uint8)
    if outside.all():
        return np.zeros(truth.shape, bool)
    away = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray((away > 0) & (away <= HALO))


def true_composite(shot: Shot, index: int, behind: U8) -> U8:
    """P + (1 - a) of another background, RGB uint8 HxWx3; index: of a frame that is checked."""
    alpha = shot.alphas[index].astype(np.float32)[..., None] / 255.0
    mixed = shot.subjects[index // CHECKED].astype(np.float32) + (1.0 - alpha) * behind.astype(np.float32)
    return np.asarray(np.clip(np.rint(mixed), 0.0, 255.0).astype(np.uint8))


def blurred_around(behind: U8, alpha: U8, sigma: float) -> U8:
    """A backdrop RGB uint8 HxWx3 blurred by a Gaussian of `sigma` pixels, of what can be seen of it only.

    Blur of (1 - a) B over that of 1 - a, in float32: what is hidden behind the subject, nobody can blur.
    """
    seen = as_f32((255 - alpha).astype(np.float32)[..., None] / 255.0 + 1e-6)
    total = cv2.GaussianBlur(np.dstack([behind.astype(np.float32) * seen, seen]), (0, 0), sigma)
    return np.asarray(np.clip(np.rint(total[..., :3] / total[..., 3:]), 0.0, 255.0).astype(np.uint8))


def plain_composite(rgb: U8, alpha: U8, behind: U8) -> U8:
    """A I + (1 - a) of another background, RGB uint8 HxWx3: what every program does that knows no true colours."""
    share = as_f32(alpha.astype(np.float32)[..., None] / 255.0)
    mixed: F32 = share * rgb.astype(np.float32) + (1.0 - share) * behind.astype(np.float32)
    return np.asarray(np.clip(np.rint(mixed), 0.0, 255.0).astype(np.uint8))


def mean_scores(each: Iterable[Scores]) -> Scores:
    """The mean over scenes of every figure that they have."""
    found = list(each)

    def middle(values: Iterable[float | None]) -> float | None:
        there = [value for value in values if value is not None]
        return float(np.mean(there)) if there else None

    means: dict[str, Any] = {name: middle([getattr(scores, name) for scores in found]) for name in FIGURES}
    for name in ("trail_speeds", "miss_speeds"):
        rows = [getattr(scores, name) for scores in found]
        means[name] = tuple(middle(column) for column in zip(*rows, strict=True))
    return Scores(**means)
