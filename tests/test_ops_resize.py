from __future__ import annotations

import numpy as np
import pytest

from rtseg.ops.resize import enlarge, halve, resize, shrink


def test_halving_averages_two_by_two() -> None:
    plane = np.array([[0, 4, 8, 8], [4, 8, 8, 8]], np.uint8)
    np.testing.assert_array_equal(halve(plane), [[4, 8]])


@pytest.mark.parametrize("size", [(256, 144), (320, 180), (100, 77), (640, 360), (1280, 720)])
def test_shrinking_keeps_pixel_centres(size: tuple[int, int]) -> None:
    xs = (np.arange(1280) + 0.5) / 1280 * 250
    plane = np.tile(xs.astype(np.uint8), (720, 1))
    expected = (np.arange(size[0]) + 0.5) / size[0] * 250
    # A level for the truncation of the ramp, a half for rounding; the outermost columns see the repeated edge.
    np.testing.assert_allclose(shrink(plane, size)[0, 1:-1], expected[1:-1] - 0.5, atol=1.5)


def test_shrinking_averages_what_it_drops() -> None:
    checkerboard = (np.indices((720, 1280)).sum(axis=0) % 2 * 255).astype(np.uint8)
    small = shrink(checkerboard, (256, 144))
    assert np.abs(small.astype(int) - 128).max() <= 1


def test_a_side_that_shrinks_more_than_the_other_is_averaged_too() -> None:
    stripes = np.zeros((600, 400), np.uint8)
    stripes[::2] = 200  # every second row: a tall picture, made wide, must show their mean and none of them
    for size in ((256, 144), (300, 100), (400, 75)):
        np.testing.assert_allclose(shrink(stripes, size), 100, atol=1)


def test_enlarging_is_bilinear_between_pixel_centres() -> None:
    mask = np.array([[0, 100]], np.uint8)
    np.testing.assert_array_equal(enlarge(mask, (4, 1)), [[0, 25, 75, 100]])


def test_enlarging_to_the_same_size_costs_nothing() -> None:
    mask = np.zeros((3, 4), np.uint8)
    assert enlarge(mask, (4, 3)) is mask
    out = np.ones_like(mask)
    assert enlarge(mask, (4, 3), out=out) is out
    assert not out.any()


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (721, 1281)])
def test_resize_takes_any_size(shape: tuple[int, int]) -> None:
    assert resize(np.zeros(shape, np.uint8), (33, 17)).shape == (17, 33)
