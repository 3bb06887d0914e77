"""Pixels and the flat road under them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rtseg.driving.ground import (
    birds_eye,
    ground_sigma,
    homography,
    horizon,
    jacobian,
    lens,
    scaled,
    to_ground,
    to_image,
)
from rtseg.driving.state import View

VIEW = View(900.0, (640.0, 360.0), 0.05, -0.03, 0.02, 1.4)
LEVEL = View(1000.0, (640.0, 360.0), 0.0, 0.0, 0.0, 1.5)


def test_a_level_camera_sees_the_ground_where_similar_triangles_put_it() -> None:
    u, v = to_image(LEVEL, 2.0, 10.0)
    assert (float(u), float(v)) == pytest.approx((840.0, 510.0))
    assert to_image(LEVEL, 2.0, 10.0, up=1.5)[1] == pytest.approx(360.0)


def test_positive_angles_look_down_to_the_right_and_lean_clockwise() -> None:
    straight_on = 0.0, 1e9
    assert to_image(View(1000, (0, 0), 0.1, 0, 0, 1), *straight_on)[1] == pytest.approx(-1000 * math.tan(0.1))
    assert to_image(View(1000, (0, 0), 0, 0.1, 0, 1), *straight_on)[0] == pytest.approx(-1000 * math.tan(0.1))
    left, right = horizon(View(1000, (500, 300), 0, 0, 0.1, 1), 1000)
    assert left[1] > 300 > right[1]  # a camera leaning to the right sees the right end higher


def test_ground_and_picture_are_inverse_to_each_other() -> None:
    x, z = np.meshgrid(np.linspace(-8, 8, 9), np.linspace(3, 80, 12))
    again = to_ground(VIEW, *to_image(VIEW, x, z))
    np.testing.assert_allclose(again, (x, z), rtol=1e-9, atol=1e-9)


def test_above_the_horizon_and_behind_the_camera_there_is_nothing() -> None:
    (_, left), (_, right) = horizon(VIEW, 1280)
    u = np.array([0.0, 0.0, 1280.0, 1280.0])
    _, z = to_ground(VIEW, u, np.array([left - 1, left + 1, right - 1, right + 1]))
    assert np.isnan(z).tolist() == [True, False, True, False]
    assert np.isnan(to_image(VIEW, 0.0, -5.0)).all()


def test_the_jacobian_of_a_level_camera_is_the_one_worked_out_by_hand() -> None:
    u, v = to_image(LEVEL, 3.0, 15.0)
    found = jacobian(LEVEL, u, v)
    # z = f h / (v - cy), x = (u - cx) z / f
    z_by_v = -(15.0**2) / (1000 * 1.5)
    expected = [[15 / 1000, 3 / 15 * z_by_v], [0, z_by_v]]
    np.testing.assert_allclose(found[:, :2], expected, atol=1e-6)
    np.testing.assert_allclose(found[1, 2], -(15.0**2) / 1.5 - 1.5, rtol=1e-6)  # pitch: -(z^2 + h^2) / h
    np.testing.assert_allclose(found[:, 4], [3 / 1.5, 15 / 1.5], rtol=1e-6)


def test_distances_are_known_worse_the_farther_they_are() -> None:
    view = View(900.0, (640.0, 360.0), 0.05, 0, 0, 1.4, pitch_sigma=0.002)
    u, v = to_image(view, [0.0, 0.0, 0.0], [10.0, 20.0, 40.0])
    sigma = ground_sigma(view, u, v, pixels=0.0)[:, 1]
    np.testing.assert_allclose(sigma, [(z * z + 1.4**2) / 1.4 * 0.002 for z in (10, 20, 40)], rtol=1e-5)


def test_the_homography_is_the_projection_of_the_ground() -> None:
    u, v, w = homography(VIEW) @ np.array([-2.0, 25.0, 1.0])
    np.testing.assert_allclose((u / w, v / w), to_image(VIEW, -2.0, 25.0))


def test_a_plan_has_the_camera_in_the_middle_and_far_at_the_top() -> None:
    plan = birds_eye(VIEW, (100, 200), across=20.0, ahead=(5.0, 45.0))

    def put(x: float, z: float) -> tuple[float, float]:
        u, v = to_image(VIEW, x, z)
        a, b, c = plan @ np.array([float(u), float(v), 1.0])
        return a / c, b / c

    assert put(0.0, 45.0) == pytest.approx((50.0, 0.0))
    assert put(10.0, 5.0) == pytest.approx((100.0, 200.0))


def test_a_stretched_mask_is_seen_by_the_same_camera() -> None:
    view, taller = scaled(VIEW, (1280, 720), (320, 192))
    u, v = to_image(VIEW, 2.0, 12.0)
    np.testing.assert_allclose(to_ground(view, u / 4, v * 192 / 720 * taller), (2.0, 12.0))


def test_a_lens_of_ninety_degrees_is_half_a_picture_long() -> None:
    assert lens((1280, 720), fov=math.pi / 2) == pytest.approx(640.0)
