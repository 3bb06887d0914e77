"""How masks are compared with those of every frame."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rtseg.bench.adaptive import Comparison, overlap
from rtseg.ops.arrays import U8
from rtseg.ops.matte_errors import change_error
from rtseg.types import Regions, Semantic, Size

NAMES = ("person",)


def mask(*levels: int) -> U8:
    return np.array([levels], np.uint8)


def test_overlap_is_of_what_is_over_half() -> None:
    assert overlap(mask(255, 255, 128, 0), mask(255, 127, 200, 255)) == 2 / 4
    assert overlap(mask(0, 127), mask(10, 0)) == 1.0
    assert overlap(mask(255, 0), mask(0, 255)) == 0.0


def test_the_error_of_changes_is_the_root_of_their_mean_square() -> None:
    truth = mask(0, 0, 0, 0), mask(255, 255, 0, 0)
    other = mask(0, 0, 0, 0), mask(255, 0, 0, 255)
    assert change_error(truth, other) == pytest.approx(100 * math.sqrt(2 / 4))


def test_masks_that_are_wrong_alike_change_alike() -> None:
    truth = mask(0, 0), mask(255, 0)
    assert change_error(truth, (mask(0, 51), mask(255, 51))) == 0.0


def regions(*levels: int) -> Regions:
    return Regions(np.array([[levels]], np.uint8), NAMES, 0, Size(4, 1))


def test_the_first_frame_has_no_change() -> None:
    comparison = Comparison()
    comparison.add(regions(0, 0, 255, 255), regions(0, 0, 255, 0))
    assert comparison.overlaps == [0.5]
    assert comparison.changes == []
    comparison.add(regions(0, 255, 255, 255), regions(0, 0, 255, 0))
    assert comparison.overlaps == [0.5, 1 / 3]
    assert comparison.changes == [pytest.approx(100 * math.sqrt(1 / 4))]


def test_a_class_that_only_one_of_them_has_counts() -> None:
    comparison = Comparison()
    one, other = (np.array([labels], np.uint8) for labels in ((0, 0, 0, 0), (0, 0, 1, 1)))
    names = ("road", "person")
    comparison.add(Semantic(one, names, 0, Size(4, 1)), Semantic(other, names, 0, Size(4, 1)))
    assert comparison.overlaps == [2 / 6]


def test_masks_of_another_resolution_are_brought_to_that_of_the_truth() -> None:
    comparison = Comparison()
    small = Regions(np.array([[[0, 255]]], np.uint8), NAMES, 0, Size(4, 1))
    comparison.add(regions(0, 0, 255, 255), small)
    assert comparison.overlaps == [1.0]
