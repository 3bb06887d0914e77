"""Parts of masks and boxes as things on the road."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.road_world import HD, MASKS, draw
from rtseg.driving.detections import Detection, detections_of, instances_of
from rtseg.types import Instances, Regions, Semantic, Size

NAMES = ("drivable", "lane", "vehicle", "vulnerable")


def regions(*boxes: tuple[str, tuple[float, float, float, float]]) -> Regions:
    drawn = np.zeros((4, MASKS[1], MASKS[0]), np.uint8)
    for name, box in boxes:
        draw(drawn[NAMES.index(name)], box)
    return Regions(drawn, NAMES, 7, Size(*HD))


def boxes_of(*found: tuple[str, tuple[float, float, float, float], float]) -> Instances:
    names = ("car", "person", "truck", "bicycle", "bench")
    return Instances(
        np.zeros((len(found), 1, 1), np.uint8),
        np.array([box for _, box, _ in found], np.float32).reshape(-1, 4),
        np.array([names.index(name) for name, _, _ in found], np.int64),
        np.array([score for _, _, score in found], np.float32),
        names,
        7,
        Size(*HD),
    )


def labels(found: list[Detection]) -> list[str]:
    return [each.label for each in found]


def test_parts_of_the_masks_are_things_with_sides_to_fractions_of_a_mask_pixel() -> None:
    car, man = (401.0, 300.0, 499.0, 393.0), (801.0, 280.0, 830.0, 371.0)
    found = detections_of(regions(("vehicle", car), ("vulnerable", man)))
    assert labels(found) == ["vehicle", "vulnerable"]
    assert found[0].box == pytest.approx(car, abs=1.0)  # a pixel of the mask is 4 of the frame
    assert found[1].box == pytest.approx(man, abs=1.0)
    assert found[0].score > 0.9


def test_what_is_too_small_is_nothing() -> None:
    assert detections_of(regions(("vehicle", (400.0, 300.0, 412.0, 308.0)))) == []


def test_lanes_and_road_are_no_obstacles() -> None:
    assert (
        detections_of(regions(("drivable", (0.0, 400.0, 1280.0, 720.0)), ("lane", (600.0, 400.0, 620.0, 720.0)))) == []
    )


def test_a_box_at_the_frames_end_is_known_to_be_cut() -> None:
    [found] = detections_of(regions(("vehicle", (1100.0, 500.0, 1280.0, 720.0))))
    assert found.cut == (False, True, True)


TWO = (("vehicle", (400.0, 300.0, 500.0, 390.0)), ("vehicle", (490.0, 310.0, 590.0, 380.0)))


def test_boxes_split_what_a_mask_joins_and_name_it() -> None:
    seen = boxes_of(("car", TWO[0][1], 0.8), ("truck", TWO[1][1], 0.7))
    joined = detections_of(regions(*TWO))
    split = detections_of(regions(*TWO), boxes=seen)
    assert labels(joined) == ["vehicle"]
    assert labels(split) == ["car", "truck"]
    assert [each.box for each in split] == [pytest.approx(box, abs=6.0) for _, box in TWO]
    assert [each.score for each in split] == pytest.approx([0.8, 0.7])


def test_hints_split_too_and_say_so() -> None:
    hints = [("vehicle", box) for _, box in TWO]
    split = detections_of(regions(*TWO), hints=hints)  # type: ignore[arg-type]
    assert [each.box for each in split] == [pytest.approx(box, abs=6.0) for _, box in TWO]
    assert all(each.split for each in split)


def test_a_hint_behind_a_nearer_one_splits_nothing() -> None:
    hints = [("vehicle", (400.0, 300.0, 500.0, 390.0)), ("vehicle", (420.0, 320.0, 470.0, 370.0))]
    [whole] = detections_of(regions(TWO[0]), hints=hints)  # type: ignore[arg-type]
    assert whole.box == pytest.approx(TWO[0][1], abs=1.0)


def test_sides_are_those_of_the_mask_where_a_detector_draws_them_otherwise() -> None:
    seen = boxes_of(("car", (398.0, 298.0, 505.0, 405.0), 0.9))  # with its shadow
    [found] = detections_of(regions(TWO[0]), boxes=seen)
    assert found.label == "car"
    assert found.box == pytest.approx(TWO[0][1], abs=1.0)


def test_what_only_the_detector_sees_is_taken_as_it_is() -> None:
    far = ("car", (640.0, 350.0, 660.0, 366.0), 0.6)
    [found] = detections_of(regions(), boxes=boxes_of(far))
    assert found.box == pytest.approx(far[1])
    assert found.mask is None


def test_a_car_that_is_called_a_truck_too_is_one_thing() -> None:
    seen = boxes_of(("truck", (402.0, 301.0, 500.0, 390.0), 0.5), ("car", (400.0, 300.0, 500.0, 390.0), 0.8))
    assert labels(detections_of(regions(), boxes=seen)) == ["car"]


def test_a_detector_overrules_whom_the_mask_takes_it_for() -> None:
    taken = regions(("vulnerable", (640.0, 330.0, 680.0, 370.0)))
    seen = boxes_of(("truck", (638.0, 329.0, 681.0, 371.0), 0.6))
    assert labels(detections_of(taken, boxes=seen)) == ["truck"]
    assert detections_of(taken, hints=[("vehicle", (638.0, 329.0, 681.0, 371.0))]) == []


def test_a_pedestrian_before_a_car_stays_one() -> None:
    taken = regions(("vehicle", (400.0, 300.0, 500.0, 390.0)), ("vulnerable", (440.0, 320.0, 462.0, 395.0)))
    seen = boxes_of(("car", (400.0, 300.0, 500.0, 390.0), 0.9))
    assert labels(detections_of(taken, boxes=seen)) == ["car", "vulnerable"]


def test_a_bicycle_under_a_rider_and_a_bench_are_no_things_of_their_own() -> None:
    seen = boxes_of(
        ("person", (500.0, 300.0, 540.0, 400.0), 0.8),
        ("bicycle", (495.0, 350.0, 545.0, 420.0), 0.7),
        ("bench", (100.0, 300.0, 200.0, 350.0), 0.9),
    )
    assert labels(detections_of(regions(), boxes=seen)) == ["person"]


def test_a_part_too_wide_for_one_vehicle_begins_no_track() -> None:
    [found] = detections_of(regions(("vehicle", (300.0, 300.0, 600.0, 360.0))))
    assert found.score <= 0.4


def test_hard_masks_have_whole_sides() -> None:
    classes: NDArray[np.uint8] = np.zeros((72, 128), np.uint8)
    classes[30:40, 50:62] = 1
    [found] = detections_of(Semantic(classes, ("road", "car"), 7, Size(*HD)))
    assert found.box == (500.0, 300.0, 620.0, 400.0)


def test_instances_have_the_masks_of_the_parts() -> None:
    segmentation = regions(*TWO)
    found = detections_of(segmentation, boxes=boxes_of(("car", TWO[0][1], 0.8), ("truck", TWO[1][1], 0.7)))
    made = instances_of(found, segmentation)
    assert made.names == ("car", "truck")
    assert made.masks.shape == (2, MASKS[1], MASKS[0])
    union = (made.masks > 0).any(axis=0)
    assert np.count_nonzero(union != (segmentation.probabilities[2] >= 128)) == 0
