from __future__ import annotations

import cv2
import numpy as np
import pytest

from rtseg.ops.arrays import U8, as_u8
from rtseg.ops.flow import FLOW_SIZE, Flow, pick, warp, warp_at

WIDTH, HEIGHT = FLOW_SIZE
STILL = np.zeros((HEIGHT, WIDTH, 2), np.float32)


def texture(seed: int = 1) -> U8:
    noise = np.random.default_rng(seed).integers(0, 256, (HEIGHT + 20, WIDTH + 20), dtype=np.uint8)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3.0)
    return as_u8(cv2.normalize(smooth, np.empty_like(noise), 0, 255, cv2.NORM_MINMAX))


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (3, 0), (-2, 4), (6, -5)])
def test_flow_finds_a_shift(dx: int, dy: int) -> None:
    scene = texture()
    previous = np.ascontiguousarray(scene[10 : 10 + HEIGHT, 10 : 10 + WIDTH])
    current = np.ascontiguousarray(scene[10 - dy : 10 - dy + HEIGHT, 10 - dx : 10 - dx + WIDTH])
    flow = Flow()(current, previous)
    inner = flow[8:-8, 8:-8]
    np.testing.assert_allclose(np.median(inner, axis=(0, 1)), (-dx, -dy), atol=0.2)
    assert np.abs(warp(previous, flow)[8:-8, 8:-8].astype(int) - current[8:-8, 8:-8]).mean() < 3


def test_flow_keeps_nothing_from_the_call_before() -> None:
    one, two = (np.ascontiguousarray(texture(seed)[:HEIGHT, :WIDTH]) for seed in (1, 2))
    shifted = np.roll(one, 3, axis=1)
    used = Flow()
    used(one, two)
    np.testing.assert_array_equal(used(shifted, one), Flow()(shifted, one))


@pytest.mark.parametrize("shape", [(HEIGHT, WIDTH), (144, 256), (97, 201), (1, 1)])
def test_no_flow_moves_nothing(shape: tuple[int, int]) -> None:
    plane = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    index = np.arange(plane.size)
    np.testing.assert_array_equal(warp_at(plane, STILL, index), plane.reshape(-1))


def test_a_flow_of_a_pixel_is_the_same_distance_in_a_larger_plane() -> None:
    plane = np.random.default_rng(0).integers(0, 256, (2 * HEIGHT, 3 * WIDTH), dtype=np.uint8)
    flow = np.full_like(STILL, (1.0, -2.0))
    moved = warp_at(plane, flow, np.arange(plane.size)).reshape(plane.shape)
    np.testing.assert_array_equal(moved[4:, :-3], plane[:-4, 3:])
    np.testing.assert_array_equal(moved[:4, :-3], np.broadcast_to(plane[0, 3:], (4, 3 * WIDTH - 3)))


def test_warp_at_takes_more_points_than_remap_takes_columns() -> None:
    plane = np.random.default_rng(0).integers(0, 256, (300, 400), dtype=np.uint8)
    index = np.arange(plane.size)[::-1]
    np.testing.assert_array_equal(warp_at(plane, STILL, index), plane.reshape(-1)[::-1])


def test_pick_takes_the_nearest() -> None:
    small = np.array([[1, 2], [3, 4]], np.uint8)
    picked = pick(small, np.arange(16), (4, 4)).reshape(4, 4)
    np.testing.assert_array_equal(picked, [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]])
