"""Counts and areas of what was found, in pixels and, where a pixel's size is known, in square millimetres."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.errors import ConfigError
from rtseg.results import shape_of
from rtseg.types import Frame, Instances, Observation, Panoptic, Segmentation


class _Object(NamedTuple):
    """An object's name, its pixels in the mask, its middle there (x, y), and its score."""

    label: str
    pixels: int
    middle: tuple[float, float]
    score: float | None


class Measure:
    """For each name a "count" of its objects with their total area, and for each object its "area".

    Objects are instances; where a model gives none, the connected parts of its masks (8-connected, at least as likely
    as not). Masks are counted at their own resolution, so areas are only as fine as that.

    names: which; None for all that a frame can have. spacing: width and height of a pixel in mm; None for
    `Frame.spacing`. smallest: objects of fewer pixels of the frame are left out. objects: whether there is an
    observation for each object.

    "count": label, count, area_px, coverage (0..1), mean_px, area_mm2. "area": label, number (from 1), x, y (pixels of
    the frame, from its top left corner), area_px, diameter_px (of a circle of that area), score, area_mm2. What is
    in mm2 is None where no spacing is known. Nothing is kept between frames. Raises ConfigError.
    """

    def __init__(
        self,
        *,
        names: Sequence[str] | None = None,
        spacing: tuple[float, float] | None = None,
        smallest: int = 1,
        objects: bool = True,
    ) -> None:
        if spacing is not None and not (min(spacing) > 0 and math.isfinite(sum(spacing))):
            raise ConfigError(f"spacing must be two lengths over 0 in mm, not {list(spacing)}")
        self._names = None if names is None else frozenset(names)
        self._spacing, self._smallest, self._objects = spacing, smallest, objects

    def __call__(self, frame: Frame, segmentation: Segmentation, /) -> Sequence[Observation]:
        """What one frame has."""
        height, width = shape_of(segmentation)
        across, down = frame.size.width / width, frame.size.height / height
        spacing = self._spacing or frame.spacing
        square = None if spacing is None else spacing[0] * spacing[1]
        found = [each for each in _objects(segmentation) if each.pixels * across * down >= self._smallest]
        counts: list[Observation] = []
        areas: list[Observation] = []
        for name in segmentation.names:
            if self._names is not None and name not in self._names:
                continue
            own = [each for each in found if each.label == name]
            total = sum(each.pixels for each in own) * across * down
            counts.append(
                Observation(
                    "count",
                    frame.pts,
                    {
                        "label": name,
                        "count": len(own),
                        "area_px": total,
                        "coverage": total / (frame.size.width * frame.size.height),
                        "mean_px": total / len(own) if own else None,
                        "area_mm2": None if square is None else total * square,
                    },
                )
            )
            for number, each in enumerate(own if self._objects else (), start=1):
                area = each.pixels * across * down
                areas.append(
                    Observation(
                        "area",
                        frame.pts,
                        {
                            "label": name,
                            "number": number,
                            "x": each.middle[0] * across,
                            "y": each.middle[1] * down,
                            "area_px": area,
                            "diameter_px": 2 * math.sqrt(area / math.pi),
                            "score": each.score,
                            "area_mm2": None if square is None else area * square,
                        },
                    )
                )
        return [*counts, *areas]

    def reset(self) -> None:
        """Nothing is remembered."""


def _objects(segmentation: Segmentation) -> Iterator[_Object]:
    for segment in segmentation.segments():
        inside = segment["mask"] >= 128
        if isinstance(segmentation, Instances | Panoptic):
            if inside.any():
                yield _Object(segment["label"], int(np.count_nonzero(inside)), _middle(inside), segment["score"])
            continue
        yield from _parts(segment["label"], inside)


def _parts(label: str, inside: NDArray[np.bool_]) -> Iterator[_Object]:
    """The connected parts of a mask, from the top; parts have no score of their own."""
    count, _, stats, middles = cv2.connectedComponentsWithStats(inside.view(np.uint8), connectivity=8)
    for number in range(1, count):
        x, y = (float(place) + 0.5 for place in middles[number])
        yield _Object(label, int(stats[number, cv2.CC_STAT_AREA]), (x, y), None)


def _middle(inside: NDArray[np.bool_]) -> tuple[float, float]:
    moments = cv2.moments(inside.view(np.uint8), binaryImage=True)
    return moments["m10"] / moments["m00"] + 0.5, moments["m01"] / moments["m00"] + 0.5
