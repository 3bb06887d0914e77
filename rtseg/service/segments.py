"""A segmentation as the list that `pipeline("image-segmentation")` gives, with its parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, assert_never

import numpy as np

from rtseg.errors import ConfigError
from rtseg.ops.arrays import U8
from rtseg.ops.resize import enlarge
from rtseg.results import Instances, Panoptic, Regions, Segment, Segmentation, Semantic, masks_of

Subtask: TypeAlias = Literal["semantic", "instance", "panoptic"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which segments, and how their masks are cut; 0..1 each, None: not asked for.

    threshold: the least score; segments without one stay. mask_threshold: probability from which a mask is 255,
    else 0; None leaves soft masks soft. overlap_mask_area_threshold: the share of its own area that a mask must keep
    where masks compete for pixels (each goes to the most probable), as of Mask2Former's post-processing.
    subtask: None for what the model gives.
    """

    threshold: float | None = None
    mask_threshold: float | None = None
    overlap_mask_area_threshold: float | None = None
    subtask: Subtask | None = None


def segments_of(segmentation: Segmentation, choice: Choice) -> Iterator[Segment]:
    """Segments with masks of the picture's size, made one by one; empty ones are left out.

    Classes and ids have hard masks, 0 and 255. Raises ConfigError for a subtask that the model has not.
    """
    segments = [s for s in _of_subtask(segmentation, choice.subtask) if bool(s["mask"].any())]
    if choice.threshold is not None:
        segments = [s for s in segments if s["score"] is None or s["score"] >= choice.threshold]
    if choice.overlap_mask_area_threshold is not None:
        segments = _disjoint(segments, choice)
    soft = isinstance(segmentation, Regions | Instances)
    threshold = 0.5 if choice.mask_threshold is None and not soft else choice.mask_threshold
    for segment in segments:
        mask = enlarge(segment["mask"], segmentation.size)
        if threshold is not None:
            mask = _cut(mask, threshold)
        if bool(mask.any()):
            yield {"label": segment["label"], "score": segment["score"], "mask": mask}


def _of_subtask(segmentation: Segmentation, subtask: Subtask | None) -> list[Segment]:
    match segmentation:
        case Regions() | Semantic():
            allowed: tuple[Subtask, ...] = ("semantic",)
        case Instances():
            allowed = ("instance", "semantic")
        case Panoptic():
            allowed = ("panoptic", "instance", "semantic")
        case _:
            assert_never(segmentation)
    if subtask is not None and subtask not in allowed:
        raise ConfigError(f"this model has no subtask {subtask!r}: use {' or '.join(allowed)}, or leave it out")
    if subtask == "semantic" and isinstance(segmentation, Instances | Panoptic):
        return [{"label": name, "score": None, "mask": mask} for name, mask in masks_of(segmentation).items()]
    return segmentation.segments()


def _disjoint(segments: Sequence[Segment], choice: Choice) -> list[Segment]:
    if not segments:
        return []
    masks = np.stack([segment["mask"] for segment in segments])
    winner = masks.argmax(axis=0)
    least = 255.0 * (0.5 if choice.mask_threshold is None else choice.mask_threshold)
    kept: list[Segment] = []
    for index, segment in enumerate(segments):
        own = (masks[index] >= least) & (masks[index] > 0)
        won = own & (winner == index)
        if own.any() and won.sum() / own.sum() > (choice.overlap_mask_area_threshold or 0.0):
            mask = np.where(winner == index, segment["mask"], np.uint8(0)).astype(np.uint8)
            kept.append({"label": segment["label"], "score": segment["score"], "mask": mask})
    return kept


def _cut(mask: U8, threshold: float) -> U8:
    inside = (mask >= 255.0 * threshold) & (mask > 0)
    return np.where(inside, np.uint8(255), np.uint8(0)).astype(np.uint8)
