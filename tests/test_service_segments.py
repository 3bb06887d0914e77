from __future__ import annotations

import numpy as np
import pytest

from rtseg.errors import ConfigError
from rtseg.results import Instances, Panoptic, Regions, Segmentation, SegmentInfo, Semantic
from rtseg.service.segments import Choice, segments_of
from rtseg.types import Size

SIZE = Size(8, 4)


def regions(*levels: int) -> Regions:
    masks = np.stack([np.full((2, 4), level, np.uint8) for level in levels])
    return Regions(masks, tuple("abc"[: len(levels)]), 0, SIZE)


def instances() -> Instances:
    """Two of one class: the second covers three quarters of the first more surely."""
    masks = np.zeros((2, 4, 8), np.uint8)
    masks[0, :, :4] = 150
    masks[1, :3, :4] = 200
    boxes = np.zeros((2, 4), np.float32)
    return Instances(masks, boxes, np.array([0, 0]), np.array([0.4, 0.9], np.float32), ("cell",), 0, SIZE)


def labels(result: Segmentation, **choice: object) -> list[str]:
    return [s["label"] for s in segments_of(result, Choice(**choice))]  # type: ignore[arg-type]


def test_masks_have_the_size_of_the_picture_and_stay_soft() -> None:
    (segment,) = segments_of(regions(90), Choice())
    assert np.array_equal(segment["mask"], np.full((4, 8), 90))


def test_a_mask_threshold_makes_them_hard_and_leaves_out_what_is_then_empty() -> None:
    assert labels(regions(90, 200), mask_threshold=0.5) == ["b"]
    (segment,) = segments_of(regions(128), Choice(mask_threshold=0.5))
    assert np.array_equal(segment["mask"], np.full((4, 8), 255))
    assert not list(segments_of(regions(0), Choice(mask_threshold=0.0)))


def test_classes_are_hard_at_any_size() -> None:
    result = Semantic(np.array([[0, 0, 1, 1]], np.uint8), ("a", "b"), 0, Size(13, 5))
    for segment in segments_of(result, Choice()):
        assert segment["score"] is None
        assert set(np.unique(segment["mask"])) == {0, 255}


def test_segments_under_the_threshold_are_left_out_and_those_without_a_score_stay() -> None:
    assert len(labels(instances(), threshold=0.5)) == 1
    assert labels(Semantic(np.zeros((2, 2), np.uint8), ("a",), 0, SIZE), threshold=1.0) == ["a"]


def test_where_masks_compete_the_more_probable_one_has_the_pixel() -> None:
    kept = list(segments_of(instances(), Choice(overlap_mask_area_threshold=0.2)))
    assert [int((s["mask"] > 0).sum()) for s in kept] == [4, 12]
    kept = list(segments_of(instances(), Choice(overlap_mask_area_threshold=0.25)))
    assert [s["score"] for s in kept] == [pytest.approx(0.9)]


def test_instances_are_united_where_classes_are_asked_for() -> None:
    (segment,) = segments_of(instances(), Choice(subtask="semantic"))
    assert int((segment["mask"] > 0).sum()) == 16


@pytest.mark.parametrize("subtask", ["instance", "panoptic"])
def test_a_subtask_that_the_model_has_not_is_refused(subtask: str) -> None:
    with pytest.raises(ConfigError, match="use semantic"):
        labels(regions(200), subtask=subtask)


def test_panoptic_results_have_every_subtask() -> None:
    ids = np.array([[0, 0, 1, -1]], np.int32)
    result = Panoptic(ids, (SegmentInfo(0, 0, 0.5), SegmentInfo(1, 0, None)), ("a",), 0, SIZE)
    assert labels(result) == labels(result, subtask="panoptic") == ["a", "a"]
    assert labels(result, subtask="semantic") == ["a"]
