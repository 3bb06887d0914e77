"""How steady masks are on footage that nobody labelled, and how far they agree with a better model's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from rtseg.errors import ConfigError
from rtseg.evaluate.metrics import Bool, LineCounts
from rtseg.evaluate.models import Model, known_regions, region_masks
from rtseg.evaluate.plan import Clip, Options
from rtseg.evaluate.runs import Progress
from rtseg.evaluate.scores import lines_between
from rtseg.ops.arrays import F32, U8, as_f32
from rtseg.ops.flow import FLOW_SIZE, Flow, warp
from rtseg.ops.resize import enlarge, resize
from rtseg.sources.video import VideoFile
from rtseg.types import Frame

SIZE = (256, 144)
"""Width and height at which masks of all models are compared from frame to frame."""

_STILL = 2.0
"""Levels of luma, 0..255, under which a pixel did not change."""


@dataclass(frozen=True, slots=True)
class ClipScores:
    """A model on a clip. warp, static: x1000, less is steadier; static is None where nothing stood still.

    agreement: the line F1, or of areas the pooled IoU, with the teacher; None without one.
    """

    model: str
    clip: str
    region: str
    frames: int
    warp: float | None = None
    static: float | None = None
    teacher: str = ""
    agreement: float | None = None


@dataclass
class FlickerTally:
    """Grows by frames of one clip and one region."""

    _flow: Flow = field(default_factory=Flow)
    _previous: tuple[U8, U8, U8] | None = None
    _warp: list[float] = field(default_factory=list)
    _static: list[float] = field(default_factory=list)
    frames: int = 0

    def add(self, frame: Frame, mask: U8) -> None:
        """A frame and its mask, uint8 HxW at any size."""
        current = frame.luma(FLOW_SIZE), frame.luma(SIZE), resize(mask, SIZE)
        self.frames += 1
        if self._previous is not None:
            small, luma, before = self._previous
            flow = _enlarged(self._flow(current[0], small))
            self._warp.append(float(cv2.absdiff(current[2], warp(before, flow)).mean()) / 255.0)
            still = unchanged(current[1], luma)
            if still.any():
                self._static.append(float(cv2.absdiff(current[2], before)[still].mean()) / 255.0)
        self._previous = current

    @property
    def warp(self) -> float | None:
        """What a mask changes beyond the picture's own motion, x1000; None for less than two frames.

        The mean of |m_t - moved(m_t-1)|, m in 0..1: the last mask is moved along the optical flow of
        the frames (the warping error of Lai et al., "Learning Blind Video Temporal Consistency", ECCV 2018, of masks,
        and without their test for occlusions).
        """
        return 1e3 * float(np.mean(self._warp)) if self._warp else None

    @property
    def static(self) -> float | None:
        """What a mask changes where the picture hardly does, x1000; None where nothing stands still.

        The mean of |m_t - m_t-1| over `unchanged` pixels, then over frames.
        """
        return 1e3 * float(np.mean(self._static)) if self._static else None


def unchanged(current: U8, previous: U8) -> Bool:
    """Where two luma planes HxW differ by less than two levels once blurred, at a pixel and all of its 5x5 around."""
    blurred = [cv2.GaussianBlur(plane.astype(np.float32), (5, 5), 0) for plane in (current, previous)]
    around = cv2.dilate(cv2.absdiff(*blurred), np.ones((5, 5), np.uint8))
    return np.asarray(around < _STILL)


def score_clip(models: Sequence[Model], clip: Clip, *, options: Options, progress: Progress) -> list[ClipScores]:
    """The flicker of every model on every video of a clip, by region."""
    scores = []
    for path in clip.files:
        tallies: dict[tuple[str, str], FlickerTally] = {}
        for done, frame in enumerate(_frames(path, clip.frames)):
            progress(path.name, done, clip.frames)
            for model in models:
                regions = [clip.region] if clip.region else list(model.card.names)
                masks = region_masks(model.segmenter(frame), known_regions(model.card, regions, options))
                for region, mask in masks.items():
                    tallies.setdefault((region, model.name), FlickerTally()).add(frame, mask)
        scores += [
            ClipScores(model, path.stem, region, tally.frames, tally.warp, tally.static)
            for (region, model), tally in tallies.items()
        ]
    return scores


def compare_clip(
    models: Sequence[Model], teacher: Model, clip: Clip, *, options: Options, progress: Progress
) -> list[ClipScores]:
    """How far every model agrees with the teacher on each `step`-th frame, pooled over a video."""
    if not known_regions(teacher.card, [clip.region], options):
        raise ConfigError(
            f"the teacher {teacher.name!r} has no {clip.region or 'region, since none is named'}: set region to one of "
            f"{', '.join(teacher.card.names)}"
        )
    scores = []
    for path in clip.files:
        sums: dict[str, LineCounts] = {}
        frames = 0
        for done, frame in enumerate(islice(_frames(path, clip.frames), 0, None, clip.step)):
            progress(path.name, done * clip.step, clip.frames)
            frames += 1
            truth = _mask(teacher, frame, clip.region, options)
            assert truth is not None
            for model in models:
                if model.name == teacher.name:
                    continue
                if (mask := _mask(model, frame, clip.region, options)) is not None:
                    counts = lines_between(truth, mask, None, options)
                    sums[model.name] = sums.get(model.name, LineCounts()) + counts
        scores += [
            ClipScores(name, path.stem, clip.region, frames, teacher=teacher.name, agreement=counts.f1)
            for name, counts in sums.items()
        ]
    return scores


def _mask(model: Model, frame: Frame, region: str, options: Options) -> U8 | None:
    """At the frame's own proportions, so that line widths are those of the picture."""
    names = known_regions(model.card, [region], options)
    return enlarge(region_masks(model.segmenter(frame), names)[region], frame.size) if names else None


def _frames(path: Path, many: int) -> Iterator[Frame]:
    with contextlib.closing(VideoFile(path)) as source:
        yield from islice(source, many)


def _enlarged(flow: F32) -> F32:
    """A flow of FLOW_SIZE as one of SIZE, in its pixels."""
    ratio = np.array([SIZE[0] / FLOW_SIZE[0], SIZE[1] / FLOW_SIZE[1]], np.float32)
    return as_f32(cv2.resize(flow, SIZE, interpolation=cv2.INTER_LINEAR)) * ratio
