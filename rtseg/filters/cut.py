"""Masks made solid, and what scores too little left out: what `rtseg.segment` calls its thresholds, in a stream."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rtseg.ops.arrays import U8
from rtseg.types import Frame, Instances, Regions, Segmentation


class Cut:
    """The last filter of a pipeline that was asked for `threshold` or `mask_threshold`, both 0..1.

    threshold: the least score; instances under it are taken out, and a region under it gets an empty mask and is no
    segment, since names are those of effects. mask_threshold: pixels over it are 255, others 0. Masks keep their
    resolution, so that where it is the picture's the segments are those of `rtseg.segment`; the scores are those of
    the masks before they were cut. Class maps and panoptic maps, which their network decides, pass as they are.
    """

    def __init__(self, *, threshold: float | None = None, mask_threshold: float | None = None) -> None:
        self._threshold, self._mask_threshold = threshold, mask_threshold

    def __call__(self, _frame: Frame, segmentation: Segmentation, /) -> Segmentation:
        """The same result, cut."""
        match segmentation:
            case Regions():
                return self._regions(segmentation)
            case Instances():
                return self._instances(segmentation)
            case _:
                return segmentation

    def reset(self) -> None:
        """Nothing is remembered."""

    def _regions(self, found: Regions) -> Regions:
        scores = [segment["score"] for segment in found.segments()]
        kept = [self._threshold is None or (score or 0.0) >= self._threshold for score in scores]
        masks = solid(found.probabilities, self._mask_threshold)
        if not all(kept):
            masks = masks * np.array(kept, np.uint8)[:, None, None]
        left = tuple(score if keep else None for score, keep in zip(scores, kept, strict=True))
        return replace(found, probabilities=masks, scores=left)

    def _instances(self, found: Instances) -> Instances:
        # In float64: a score as Python has it is compared, as `rtseg.segment` does.
        kept = found.scores.astype(np.float64) >= (0.0 if self._threshold is None else self._threshold)
        ids = found.track_ids
        return replace(
            found,
            masks=solid(found.masks[kept], self._mask_threshold),
            boxes=found.boxes[kept],
            labels=found.labels[kept],
            scores=found.scores[kept],
            track_ids=None if ids is None else ids[kept],
        )


def solid(masks: U8, mask_threshold: float | None) -> U8:
    """255 for what is over the threshold (0..1), 0 for the rest; the masks themselves where there is none."""
    if mask_threshold is None:
        return masks
    # Compared in float: no level stands for 0.5 of 255.
    return np.negative((masks > 255.0 * mask_threshold).view(np.uint8))
