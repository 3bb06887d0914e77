"""Masks by name, whatever kind of result they come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, assert_never

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.errors import ConfigError
from rtseg.ops.arrays import U8
from rtseg.types import Instances, Panoptic, Regions, Segmentation, Semantic, masks_of

_FEW = 3
"""Comparing a map with so many classes costs less than counting all of them."""


def check_names(wanted: Sequence[str], names: Sequence[str]) -> None:
    """ConfigError if a wanted name is not among those of the model."""
    if unknown := [name for name in wanted if name not in names]:
        raise ConfigError(f"the model has no {', '.join(map(repr, unknown))}: choose from {', '.join(names)}")


def select(segmentation: Segmentation, wanted: Sequence[str]) -> dict[str, U8]:
    """The masks of the wanted names that are present, in that order, uint8 at the result's own resolution, 0..255."""
    match segmentation:
        case Semantic():
            # Only the wanted classes are compared: a street has 19, a background needs one. Of many, most are absent.
            named = {name: index for index, name in enumerate(segmentation.names)}
            labels = segmentation.labels
            if len(wanted) > _FEW:
                seen = _seen(labels)
                wanted = [name for name in wanted if named[name] in seen]
            masks = {name: np.negative((labels == named[name]).view(np.uint8)) for name in wanted}
        case Regions() | Instances() | Panoptic():
            present = masks_of(segmentation)
            masks = {name: present[name] for name in wanted if name in present}
        case _:
            assert_never(segmentation)
    return {name: mask for name, mask in masks.items() if mask.any()}


def _seen(labels: NDArray[np.uint8] | NDArray[np.uint16]) -> frozenset[int]:
    """The numbers that are somewhere in HxW."""
    if labels.dtype == np.uint8:  # OpenCV counts bytes several times faster than numpy
        counts: NDArray[Any] = cv2.calcHist([labels], [0], None, [256], [0, 256])
    else:
        counts = np.bincount(labels.ravel())
    return frozenset(np.flatnonzero(counts).tolist())
