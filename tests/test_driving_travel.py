"""Where the camera travels to."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from rtseg.driving.ground import lens
from rtseg.driving.travel import PLANE, Travel, focus_of
from rtseg.frame import Frame
from rtseg.ops.arrays import U8, as_u8


def points() -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return np.random.default_rng(3).uniform((0, 0), PLANE, (120, 2))


def test_points_come_from_the_focus_though_the_camera_turns_and_some_move_by_themselves() -> None:
    chance = np.random.default_rng(4)
    p = points()
    flow = (p - (200.0, 150.0)) * chance.uniform(0.005, 0.05, (120, 1)) + (0.4, -0.3)
    flow += chance.normal(0, 0.05, flow.shape)
    flow[:18] = chance.uniform(-8, 8, (18, 2))
    found = focus_of(p, flow, (240.0, 130.0))
    assert found is not None
    assert (found.u, found.v) == pytest.approx((200.0, 150.0), abs=4.0)
    assert abs(found.u - 200) < 4 * found.u_sigma
    assert abs(found.v - 150) < 4 * found.v_sigma


def test_few_points_and_points_that_do_not_agree_say_nothing() -> None:
    p = points()
    assert focus_of(p[:20], p[:20] * 0.01, (240.0, 130.0)) is None
    assert focus_of(p, np.random.default_rng(1).uniform(-9, 9, p.shape), (240.0, 130.0)) is None


def wall(distance: float, *, towards: tuple[float, float]) -> U8:
    """What a camera sees of a wall of blots, 100 m away at first, on its way to a pixel of it."""
    chance = np.random.default_rng(9)
    blots = as_u8(cv2.resize(chance.integers(0, 256, (68, 120), np.uint8), PLANE, interpolation=cv2.INTER_CUBIC))
    scale = 100 / distance
    u, v = towards
    return as_u8(cv2.warpAffine(blots, np.array([[scale, 0, u * (1 - scale)], [0, scale, v * (1 - scale)]]), PLANE))


def test_pictures_of_a_wall_that_comes_nearer_tell_where_to() -> None:
    travel, towards = Travel(), (260.0, 120.0)
    found = None
    for number in range(40):
        rgb = cv2.cvtColor(wall(100 - 0.8 * number, towards=towards), cv2.COLOR_GRAY2RGB)
        focus = travel(Frame.from_rgb(as_u8(rgb)), None, 0.04, (240.0, 135.0))
        found = focus or found
    assert found is not None
    assert (found.u, found.v) == pytest.approx(towards, abs=0.01 * lens(PLANE, fov=math.radians(60)))


def test_a_blank_picture_has_no_corners_and_what_moves_is_left_out() -> None:
    travel = Travel()
    grey = Frame.from_rgb(np.full((270, 480, 3), 90, np.uint8))
    assert all(travel(grey, None, 0.1, (240.0, 135.0)) is None for _ in range(20))
    rgb = as_u8(cv2.cvtColor(wall(100, towards=(0, 0)), cv2.COLOR_GRAY2RGB))
    everything = np.full((20, 30), 255, np.uint8)
    assert all(travel(Frame.from_rgb(rgb), everything, 0.1, (240.0, 135.0)) is None for _ in range(20))
