"""Suppression, boxes and masks of detectors, by a loop over pairs and by hand; the layouts are in test_segmenter_*."""

from __future__ import annotations

import numpy as np
import pytest
from detected import iou

from rtseg.ops.detections import Candidates, box_masks, boxes_in_frame, prototype_masks, suppress
from rtseg.ops.tensors import Window


@pytest.mark.parametrize("seed", range(30))
def test_suppression_is_that_of_a_loop_over_pairs_in_float64(seed: int) -> None:
    """Boxes of four classes, some of them partly or wholly outside of the picture."""
    chance = np.random.default_rng(seed)
    count, overlap = int(chance.integers(1, 120)), float(chance.uniform(0.1, 0.9))
    centre, size = chance.uniform(-100, 740, (count, 2)), chance.uniform(5, 400, (count, 2))
    boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=1).astype(np.float32)
    labels, scores = chance.integers(0, 4, count), chance.uniform(0.1, 1, count).astype(np.float32)
    numbers = np.arange(count, dtype=np.float32)[:, None]
    exact = boxes.astype(np.float64)
    wanted: list[int] = []
    for one in np.argsort(-scores, kind="stable").tolist():
        if all(labels[one] != labels[better] or iou(exact[one], exact[better]) <= overlap for better in wanted):
            wanted.append(one)
    kept = suppress(Candidates(boxes, labels, scores, numbers), overlap=overlap)
    assert kept.coefficients[:, 0].tolist() == wanted
    np.testing.assert_array_equal(kept.boxes, boxes[wanted])
    np.testing.assert_array_equal(kept.labels, labels[wanted])
    np.testing.assert_array_equal(kept.scores, scores[wanted])


def test_boxes_leave_the_letterbox_and_stay_in_the_frame() -> None:
    boxes = np.array([[0, 140, 640, 500], [100, 0, 200, 141], [10.5, 200, 20.5, 210]], np.float32)
    found = boxes_in_frame(boxes, Window(0, 140, 640, 360), (1280, 720))
    np.testing.assert_array_equal(found, [[0, 0, 1280, 720], [200, 0, 400, 2], [21, 120, 41, 140]])


def test_a_mask_has_the_pixels_whose_centres_are_in_its_box_and_at_least_one() -> None:
    boxes = np.array([[1.5, 0.5, 3.5, 2.51], [1.51, 1.6, 1.7, 1.8], [7.9, 3.9, 8, 4], [-3, -3, 9, 9]], np.float32)
    masks = prototype_masks(np.ones((4, 2), np.float32), np.full((2, 4, 8), 9, np.float32), boxes)
    assert [list(zip(*np.nonzero(mask), strict=True)) for mask in masks[:3]] == [
        [(y, x) for y in (0, 1, 2) for x in (1, 2)],
        [(2, 2)],  # no centre is inside: the one that would be next
        [(3, 7)],
    ]
    assert (masks[3] == 255).all()


@pytest.mark.parametrize(("logit", "level"), [(-7, 0), (-6, 0), (-3, 64), (0, 128), (3, 191), (6, 255), (99, 255)])
def test_levels_are_a_straight_line_of_the_logits(logit: float, level: int) -> None:
    boxes = np.array([[0, 0, 1, 1]], np.float32)
    mask = prototype_masks(np.array([[2, -1]], np.float32), np.array([[[logit]], [[logit]]], np.float32), boxes)
    assert mask.tolist() == [[[level]]]


def test_filled_boxes_are_soft_where_they_cover_a_part_of_a_pixel() -> None:
    masks = box_masks(np.array([[0.5, 1, 3, 2.25], [-2, -2, 9, 9]], np.float32), (4, 3))
    np.testing.assert_array_equal(masks[0], [[0, 0, 0, 0], [128, 255, 255, 0], [32, 64, 64, 0]])
    assert (masks[1] == 255).all()
