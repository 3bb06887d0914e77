from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from rtseg.analyzers.measure import Measure
from rtseg.errors import ConfigError
from rtseg.types import (
    Analyzer,
    Frame,
    Instances,
    Observation,
    Panoptic,
    Regions,
    Segmentation,
    SegmentInfo,
    Semantic,
    Size,
)

SIZE = Size(16, 8)


def frame(*, spacing: tuple[float, float] | None = None) -> Frame:
    return Frame.from_rgb(np.zeros((8, 16, 3), np.uint8), pts=5, spacing=spacing)


def mask() -> NDArray[np.uint8]:
    """4x8, half the frame's size: a block of 2x3, one pixel that touches it by a corner, one apart."""
    made = np.zeros((4, 8), np.uint8)
    made[0:2, 0:3] = 255
    made[2, 3] = 128
    made[3, 7] = 255
    made[0, 7] = 127  # less likely than not
    return made


def instances() -> Instances:
    masks = np.zeros((3, 4, 8), np.uint8)
    masks[0, 0:2, 0:3] = masks[1, 0:2, 3:4] = 255
    return Instances(
        masks,
        np.zeros((3, 4), np.float32),
        np.zeros(3, np.int64),
        np.array([0.5, 0.25, 0.1], np.float32),
        ("cell",),
        5,
        SIZE,
    )


def seen(
    measure: Measure, segmentation: Segmentation, kind: str, *, spacing: tuple[float, float] | None = None
) -> list[Observation]:
    assert isinstance(measure, Analyzer)
    return [o for o in measure(frame(spacing=spacing), segmentation) if o.kind == kind]


def test_instances_that_touch_are_counted_one_by_one_in_pixels_of_the_frame() -> None:
    (count,) = seen(Measure(), instances(), "count", spacing=(0.5, 0.25))
    assert count.pts == 5
    assert count.values == {
        "label": "cell",
        "count": 2,  # the third has no pixel
        "area_px": 32.0,
        "coverage": 0.25,
        "mean_px": 16.0,
        "area_mm2": 4.0,
    }
    first, second = seen(Measure(), instances(), "area", spacing=(0.5, 0.25))
    assert first.values == {
        "label": "cell",
        "number": 1,
        "x": 3.0,
        "y": 2.0,
        "area_px": 24.0,
        "diameter_px": pytest.approx(2 * math.sqrt(24 / math.pi)),
        "score": 0.5,
        "area_mm2": 3.0,
    }
    assert (second.values["number"], second.values["x"], second.values["area_mm2"]) == (2, 7.0, 1.0)


def test_parts_of_a_region_are_its_objects() -> None:
    regions = Regions(np.stack([mask(), np.zeros((4, 8), np.uint8)]), ("lung", "heart"), 5, SIZE)
    lung, heart = seen(Measure(), regions, "count")
    assert (lung.values["count"], lung.values["area_px"], lung.values["area_mm2"]) == (2, 32.0, None)
    assert (heart.values["count"], heart.values["area_px"], heart.values["mean_px"]) == (0, 0, None)
    places = [(o.values["x"], o.values["y"], o.values["area_px"]) for o in seen(Measure(), regions, "area")]
    assert places[1] == (15.0, 7.0, 4.0)
    assert places[0][2] == 28.0


def test_classes_and_panoptic_ids_are_counted() -> None:
    labels = np.where(mask() >= 128, np.uint8(1), np.uint8(0))
    background, lung = seen(Measure(), Semantic(labels, ("background", "lung"), 5, SIZE), "count")
    assert (background.values["count"], lung.values["count"]) == (1, 2)
    ids = np.where(mask() >= 128, np.int32(4), np.int32(-1))
    panoptic = Panoptic(ids, (SegmentInfo(4, 0, 0.75),), ("lung",), 5, SIZE)
    (area,) = seen(Measure(), panoptic, "area")  # one id is one object, in however many parts
    assert (area.values["area_px"], area.values["score"]) == (32.0, 0.75)


def test_options_choose_names_sizes_and_what_is_said() -> None:
    regions = Regions(np.stack([mask(), mask()]), ("lung", "heart"), 5, SIZE)
    (count,) = Measure(names=["heart"], objects=False)(frame(), regions)
    assert count.values["label"] == "heart"
    assert [o.values["count"] for o in seen(Measure(smallest=5), regions, "count")] == [1, 1]
    (given, _) = seen(Measure(spacing=(2, 3)), regions, "count", spacing=(0.5, 0.25))
    assert given.values["area_mm2"] == 32 * 6


@pytest.mark.parametrize("spacing", [(0, 1), (1, -1), (math.inf, 1)])
def test_lengths_that_are_none_are_refused(spacing: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match="spacing must be two lengths over 0"):
        Measure(spacing=spacing)
