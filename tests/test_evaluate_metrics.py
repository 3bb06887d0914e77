from __future__ import annotations

import numpy as np
import pytest

from rtseg.evaluate.metrics import Bool, Counts, LineCounts, boundary_f, contour, count, count_lines, matte_error

SIZE = (60, 80)
ALL = np.ones(SIZE, bool)


def box(top: int, left: int, height: int, width: int) -> Bool:
    mask = np.zeros(SIZE, bool)
    mask[top : top + height, left : left + width] = True
    return mask


def test_iou_of_two_squares_that_share_a_half() -> None:
    counts = count(box(10, 10, 20, 20), box(10, 20, 20, 20), ALL)
    assert counts == Counts(both=200, predicted=200, truth=200, neither=4800 - 600)
    assert counts.iou == 1 / 3
    assert counts.accuracy == 4400 / 4800
    assert counts.wrong == 400


def test_two_empty_masks_agree_and_one_empty_mask_does_not() -> None:
    none, some = np.zeros(SIZE, bool), box(10, 10, 5, 5)
    assert count(none, none, ALL).iou == boundary_f(none, none, ALL) == 1.0
    assert count(some, none, ALL).iou == boundary_f(some, none, ALL) == boundary_f(none, some, ALL) == 0.0
    assert count_lines(none, none, ALL, tolerance=5).f1 == 1.0
    assert count_lines(some, none, ALL, tolerance=5).f1 == count_lines(none, some, ALL, tolerance=5).f1 == 0.0


def test_pooled_counts_weigh_pixels_and_not_pictures() -> None:
    small, large = count(box(0, 0, 1, 1), box(5, 5, 1, 1), ALL), count(box(0, 0, 20, 20), box(0, 0, 20, 20), ALL)
    assert (small.iou, large.iou) == (0.0, 1.0)
    assert (small + large).iou == 400 / 402


def test_unknown_pixels_count_nowhere() -> None:
    known = ALL.copy()
    known[:, 20:] = False
    truth, predicted = box(10, 10, 20, 10), box(10, 10, 20, 40)
    assert count(truth, predicted, known) == Counts(both=200, neither=60 * 20 - 200)
    assert count(truth, predicted, np.zeros(SIZE, bool)).iou == 1.0
    assert count_lines(truth, predicted, known, tolerance=0).f1 == 1.0
    total, pixels = matte_error(np.zeros(SIZE, np.uint8), np.full(SIZE, 51, np.uint8), known)
    assert pixels == 1200
    assert total == pytest.approx(240.0)


def test_the_border_of_what_is_unknown_is_no_contour() -> None:
    known = ALL.copy()
    known[:, 40:] = False
    truth = box(10, 10, 20, 30)  # ends where the labels end
    predicted = box(10, 10, 20, 60)  # goes on behind it
    assert boundary_f(truth, predicted, known, tolerance=0.001) == 1.0


def test_a_contour_is_one_pixel_wide_and_not_along_the_edge_of_the_picture() -> None:
    assert not contour(ALL).any()
    assert np.count_nonzero(contour(box(0, 0, 60, 40))) == 60
    assert contour(box(0, 0, 60, 40))[:, 39].all()
    assert np.count_nonzero(contour(box(10, 10, 5, 5))) == 6 * 6 - 4 * 4


@pytest.mark.parametrize(("shift", "tolerance", "wanted"), [(0, 0.001, 1.0), (1, 0.01, 1.0), (2, 0.02, 1.0)])
def test_boundary_f_is_one_within_the_tolerance(shift: int, tolerance: float, wanted: float) -> None:
    assert boundary_f(box(10, 10, 30, 30), box(10, 10 + shift, 30, 30), ALL, tolerance=tolerance) == wanted


def test_boundary_f_of_a_square_shifted_beyond_the_tolerance() -> None:
    # The diagonal is 100 and the tolerance one pixel: rows above and below lie on each other, columns do not.
    truth, predicted = box(10, 10, 30, 30), box(10, 14, 30, 30)
    t, p = contour(truth), contour(predicted)
    near = sum(1 for y, x in np.argwhere(p) if (np.abs(np.argwhere(t) - (y, x)) ** 2).sum(axis=1).min() <= 1)
    share = near / np.count_nonzero(p)
    assert 0.4 < share < 0.5
    assert boundary_f(truth, predicted, ALL, tolerance=0.01) == pytest.approx(share)  # precision and recall are alike


def test_the_tolerance_is_rounded_up_to_pixels() -> None:
    truth, predicted = box(10, 10, 30, 30), box(10, 11, 30, 30)
    assert boundary_f(truth, predicted, ALL, tolerance=0.0001) == 1.0


def test_a_line_beside_a_line_is_found_within_the_tolerance() -> None:
    truth = box(0, 20, 60, 1)
    assert count_lines(truth, box(0, 25, 60, 1), ALL, tolerance=5) == LineCounts(60, 60, 60, 60)
    assert count_lines(truth, box(0, 26, 60, 1), ALL, tolerance=5).f1 == 0.0


def test_line_precision_and_recall_are_told_apart() -> None:
    truth, half, two = box(0, 20, 60, 1), box(0, 20, 30, 1), box(0, 20, 60, 1) | box(0, 60, 60, 1)
    found = count_lines(truth, half, ALL, tolerance=0)
    assert (found.precision, found.recall) == (1.0, 0.5)
    assert found.f1 == pytest.approx(2 / 3)
    found = count_lines(truth, two, ALL, tolerance=0)
    assert (found.precision, found.recall) == (0.5, 1.0)
    assert (found + count_lines(truth, half, ALL, tolerance=0)).precision == 90 / 150


def test_matte_error_is_the_mean_difference_of_soft_masks() -> None:
    total, pixels = matte_error(np.full(SIZE, 255, np.uint8), np.full(SIZE, 204, np.uint8), ALL)
    assert total / pixels == pytest.approx(0.2)
