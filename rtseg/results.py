"""The four kinds of result, a closed union: consumers `match` and end with `assert_never`.

A mask covers exactly its frame, whatever its own resolution: letterboxes and crops are undone by the segmenter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypedDict, assert_never

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import FrameError
from rtseg.frame import Size, shapes_of
from rtseg.ops.arrays import F32, U8


class Segment(TypedDict):
    """One segment of a result, in the shape known from `pipeline("image-segmentation")`; score None: not given.

    mask: uint8 at the result's own resolution, 0..255 soft or 0 and 255 hard.
    """

    label: str
    score: float | None
    mask: U8


@dataclass(frozen=True, eq=False, slots=True)
class Regions:
    """Soft areas that may overlap: a matte, drivable + lane, one per text prompt.

    probabilities: uint8 CxHxW, 0..255; names: C names; pts of the frame they were made from; size of that frame.
    scores: of masks that were cut since, C of them, None for a region that is no segment; None for those of the masks.
    """

    probabilities: U8
    names: tuple[str, ...]
    pts: int
    size: Size
    scores: tuple[float | None, ...] | None = None

    def __post_init__(self) -> None:
        p = self.probabilities
        if p.ndim != 3 or p.dtype != np.uint8 or 0 in p.shape or p.shape[0] != len(self.names):
            raise FrameError(f"probabilities must be uint8 of shape {len(self.names)}xHxW, not {shapes_of((p,))}")

    def segments(self) -> list[Segment]:
        """One segment a region; the score is the mean probability where it is at least a half."""
        scores = self.scores if self.scores is not None else map(_mean_over_half, self.probabilities)
        return [
            {"label": name, "score": score, "mask": mask}
            for name, score, mask in zip(self.names, scores, self.probabilities, strict=True)
            if score is not None
        ]


@dataclass(frozen=True, eq=False, slots=True)
class Semantic:
    """One class a pixel. labels: uint8 or uint16 HxW, indices into names; 255 (or 65535) is no class."""

    labels: NDArray[np.uint8] | NDArray[np.uint16]
    names: tuple[str, ...]
    pts: int
    size: Size

    def __post_init__(self) -> None:
        if self.labels.ndim != 2 or self.labels.dtype not in (np.uint8, np.uint16) or 0 in self.labels.shape:
            raise FrameError(f"labels must be uint8 or uint16 of shape HxW, not {shapes_of((self.labels,))}")

    def segments(self) -> list[Segment]:
        """One segment for each class that is present; no score, since the argmax kept none."""
        present = np.flatnonzero(np.bincount(self.labels.ravel(), minlength=len(self.names))[: len(self.names)])
        return [
            {
                "label": self.names[i],
                "score": None,
                "mask": np.where(self.labels == i, np.uint8(255), np.uint8(0)),
            }
            for i in present
        ]


@dataclass(frozen=True, eq=False, slots=True)
class Instances:
    """Countable things. masks: uint8 NxHxW, 0..255; boxes: float32 Nx4 in frame pixels; labels: N indices into
    names; scores: float32 N, 0..1; track_ids: N, stable over time, or None."""  # fmt: skip

    masks: U8
    boxes: F32
    labels: NDArray[np.int64]
    scores: F32
    names: tuple[str, ...]
    pts: int
    size: Size
    track_ids: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        count = self.masks.shape[0]
        if (
            self.masks.ndim != 3
            or self.boxes.shape != (count, 4)
            or not self.labels.shape == self.scores.shape == (count,)
        ):
            arrays = (self.masks, self.boxes, self.labels, self.scores)
            raise FrameError(f"masks, boxes, labels and scores must agree on N, not {shapes_of(arrays)}")

    def segments(self) -> list[Segment]:
        """One segment an instance, in the order of the arrays."""
        return [
            {"label": self.names[label], "score": float(score), "mask": mask}
            for label, score, mask in zip(self.labels, self.scores, self.masks, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class SegmentInfo:
    """What a panoptic id stands for: `label` indexes names; `score` 0..1 or None."""

    id: int
    label: int
    score: float | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Panoptic:
    """Each pixel belongs to one thing or stuff. ids: int32 HxW, -1 for none; segments_info: one for each id, or several
    where a network named a segment more than once and they were fused."""  # fmt: skip

    ids: NDArray[np.int32]
    segments_info: tuple[SegmentInfo, ...]
    names: tuple[str, ...]
    pts: int
    size: Size

    def segments(self) -> list[Segment]:
        """One segment for each entry of segments_info."""
        return [
            {
                "label": self.names[s.label],
                "score": s.score,
                "mask": np.where(self.ids == s.id, np.uint8(255), np.uint8(0)),
            }
            for s in self.segments_info
        ]


Segmentation: TypeAlias = Regions | Semantic | Instances | Panoptic


def shape_of(segmentation: Segmentation) -> tuple[int, int]:
    """Height and width of the result's masks."""
    match segmentation:
        case Regions():
            height, width = segmentation.probabilities.shape[1:]
        case Semantic():
            height, width = segmentation.labels.shape
        case Instances():
            height, width = segmentation.masks.shape[1:]
        case Panoptic():
            height, width = segmentation.ids.shape
        case _:
            assert_never(segmentation)
    return height, width


def array_of(segmentation: Segmentation) -> NDArray[Any]:
    """The array that holds the masks: two segmentations that have the same one are one result at two times."""
    match segmentation:
        case Regions():
            return segmentation.probabilities
        case Semantic():
            return segmentation.labels
        case Instances():
            return segmentation.masks
        case Panoptic():
            return segmentation.ids
        case _:
            assert_never(segmentation)


def masks_of(segmentation: Segmentation) -> Mapping[str, U8]:
    """Every name that is present with its mask at the result's own resolution, uint8; instances of a class united."""
    match segmentation:
        case Regions():
            return dict(zip(segmentation.names, segmentation.probabilities, strict=True))
        case Semantic() | Instances() | Panoptic():
            united: dict[str, U8] = {}
            for segment in segmentation.segments():
                label, mask = segment["label"], segment["mask"]
                united[label] = np.maximum(united[label], mask) if label in united else mask
            return united
        case _:
            assert_never(segmentation)


def _mean_over_half(mask: U8) -> float:
    inside = mask[mask >= 128]
    return float(inside.mean()) / 255.0 if inside.size else 0.0
