from __future__ import annotations

import cv2
import numpy as np

from rtseg.ops.instances import separate


def disc(canvas: np.ndarray, x: int, y: int, radius: int) -> None:
    cv2.circle(canvas, (x, y), radius, 255, -1)


def test_what_touches_is_told_apart_along_the_border() -> None:
    interior, border = np.zeros((40, 60), np.uint8), np.zeros((40, 60), np.uint8)
    disc(interior, 20, 20, 10)
    disc(interior, 39, 20, 10)
    border[:, 29:31] = 255
    found = separate(interior, border)
    assert len(found.scores) == 2
    left, right = found.masks
    # Every pixel of the interior belongs to exactly one of them, those under the border to the nearer.
    np.testing.assert_array_equal(left.astype(int) + right, interior)
    assert left[20, 29] == 255
    assert right[20, 30] == 255
    np.testing.assert_array_equal(found.boxes, [[10, 10, 30, 31], [30, 10, 50, 31]])
    assert (found.scores > 0.95).all()  # cut discs are nearly convex


def test_without_a_border_what_touches_is_one() -> None:
    interior = np.zeros((40, 60), np.uint8)
    disc(interior, 20, 20, 10)
    disc(interior, 38, 20, 10)
    assert len(separate(interior, np.zeros_like(interior)).scores) == 1


def test_what_is_not_convex_scores_less() -> None:
    interior = np.zeros((40, 60), np.uint8)
    interior[5:26, 5:26] = 255  # a square of 21 pixels: 20 x 20 between the middles of its outer pixels
    interior[5:26, 35:56] = 255
    interior[16:26, 46:56] = 0  # an L: without a square of 10 x 10
    found = separate(interior, np.zeros_like(interior))
    contour, hull = 400 - 10 * 10 + 0.5, 400 - 10 * 10 / 2  # the contour cuts the inner corner
    np.testing.assert_allclose(found.scores, [1.0, contour / hull], rtol=1e-6)


def test_the_score_is_the_mean_probability_and_specks_are_dropped() -> None:
    interior = np.zeros((20, 20), np.uint8)
    interior[2:8, 2:8] = 204
    interior[15, 15] = 255
    found = separate(interior, np.zeros_like(interior))
    np.testing.assert_allclose(found.scores, [204 / 255])
    np.testing.assert_array_equal(found.boxes, [[2, 2, 8, 8]])


def test_nothing_gives_empty_arrays_of_the_right_shapes() -> None:
    found = separate(np.zeros((9, 16), np.uint8), np.zeros((9, 16), np.uint8))
    assert (found.masks.shape, found.boxes.shape, found.scores.shape) == ((0, 9, 16), (0, 4), (0,))


def test_a_hundred_objects_keep_their_own_pixels() -> None:
    interior = np.zeros((200, 200), np.uint8)
    for row in range(10):
        for column in range(10):
            interior[row * 20 + 4 : row * 20 + 16, column * 20 + 4 : column * 20 + 16] = 255
    found = separate(interior, np.zeros_like(interior))
    assert len(found.masks) == 100
    assert {int(mask.sum()) // 255 for mask in found.masks} == {144}
