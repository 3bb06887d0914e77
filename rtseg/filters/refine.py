"""Draws soft masks to the edges that the picture has."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

import numpy as np

from rtseg.ops.arrays import U8
from rtseg.ops.matte import EdgeModel, finer_size
from rtseg.types import Frame, Instances, Panoptic, Regions, Segmentation, Semantic


class EdgeRefine:
    """Enlarges soft masks against the frame's luma, to twice their size and at most half the frame's.

    How: `rtseg.ops.matte.EdgeModel`. `Regions` only; everything else is passed through.
    """

    def __init__(self) -> None:
        self._model = EdgeModel()

    def __call__(self, frame: Frame, segmentation: Segmentation) -> Segmentation:
        """The segmentation with finer masks; its own masks are left as they are."""
        match segmentation:
            case Regions():
                return replace(segmentation, probabilities=self._refined(frame, segmentation.probabilities))
            case Semantic() | Instances() | Panoptic():
                return segmentation
            case _:
                assert_never(segmentation)

    def reset(self) -> None:
        """Nothing is remembered."""

    def _refined(self, frame: Frame, masks: U8) -> U8:
        height, width = masks.shape[1:]
        size = finer_size((width, height), frame.size)
        coarse, fine = frame.luma((width, height)), frame.luma(size)
        refined = np.empty((len(masks), *fine.shape), np.uint8)
        for mask, target in zip(masks, refined, strict=True):
            self._model(mask, coarse, fine, out=target)
        return refined
