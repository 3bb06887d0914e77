"""Distances from where things stand and how large they look, against a pinhole that sees known points."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.road_world import pixel
from rtseg.driving.ranging import SIZES, UNKNOWN, Range, Size, ground_point
from rtseg.driving.state import View

VIEW = View(1000.0, (640.0, 360.0), 0.0, 0.0, 0.0, 1.3)
TURNED = View(900.0, (650.0, 340.0), 0.03, -0.02, 0.04, 1.5)


@pytest.mark.parametrize("view", [VIEW, TURNED])
@pytest.mark.parametrize("place", [(0.0, 8.0), (-3.5, 20.0), (2.0, 60.0)])
def test_a_pixel_of_the_road_is_where_the_point_was(view: View, place: tuple[float, float]) -> None:
    u, v = pixel(view, place[0], 0.0, place[1])
    point = ground_point(view, u, v)
    assert point is not None
    assert (point.x, point.z) == pytest.approx(place, rel=1e-9, abs=1e-9)


def test_a_pixel_over_the_horizon_is_nowhere() -> None:
    assert ground_point(VIEW, 640.0, 360.0) is None
    assert ground_point(VIEW, 640.0, 100.0) is None
    assert ground_point(VIEW, 640.0, 361.0) is not None


def test_slope_is_how_far_a_pixel_reaches() -> None:
    point, below = (ground_point(VIEW, 640.0, v) for v in (425.0, 424.99))
    assert point is not None
    assert below is not None
    assert point.slope == pytest.approx((below.z - point.z) / 0.01, rel=1e-3)


def approach(
    seen_by: View,
    *,
    size: Size = SIZES["car"],
    width: float = 1.82,
    z: float = 40.0,
    speed: float = -8.0,
    seconds: float = 3.0,
    noise: float = 0.0,
    contact: bool = True,
) -> tuple[Range, float]:
    """A filter that believes `VIEW` (with the pitch_sigma of `seen_by`) and was shown a car; the true distance."""
    random = np.random.default_rng(3)
    believed = View(VIEW.focal, VIEW.centre, 0.0, 0.0, 0.0, VIEW.height, pitch_sigma=seen_by.pitch_sigma)
    found = Range(believed, size)
    for number in range(round(seconds * 30)):
        now = z + speed * number / 30
        found.predict(0.0 if number == 0 else 1 / 30, believed)
        u, v = pixel(seen_by, 0.0, 0.0, now)
        point = ground_point(believed, u, v + noise * random.standard_normal())
        if contact and point is not None:
            found.contact(believed, point, max(noise, 0.5))
        found.looks(believed, VIEW.focal * width / now + noise * random.standard_normal(), 1.4 * max(noise, 0.5))
    return found, now


def test_distance_speed_and_time_of_a_car_that_comes_nearer() -> None:
    found, z = approach(VIEW, noise=1.0)
    assert found.distance is not None
    assert found.speed is not None
    assert found.ttc is not None
    assert found.distance.value == pytest.approx(z, rel=0.02)
    assert found.speed.value == pytest.approx(-8.0, abs=0.8)
    assert found.ttc.value == pytest.approx(z / 8.0, rel=0.1)


def test_the_time_to_collision_needs_no_size_and_no_view() -> None:
    found, z = approach(VIEW, size=UNKNOWN["vehicle"], width=2.6, contact=False)
    assert found.ttc is not None
    assert found.ttc.value == pytest.approx(z / 8.0, rel=0.08)


def test_a_wrong_pitch_is_outvoted_by_the_size_and_not_averaged_away() -> None:
    off = math.radians(0.5)  # the road alone would say 40 % too much at 40 m
    seen_by = View(1000.0, (640.0, 360.0), off, 0.0, 0.0, 1.3, pitch_sigma=math.radians(0.5))
    found, z = approach(seen_by, speed=0.0)
    assert found.distance is not None
    assert found.distance.value == pytest.approx(z, rel=0.1)
    assert found.distance.sigma > 0.03 * z


def test_what_is_sure_of_its_pitch_is_surer_of_its_distance() -> None:
    sure, _ = approach(VIEW, speed=0.0)
    unsure, _ = approach(View(1000.0, (640.0, 360.0), 0.0, 0.0, 0.0, 1.3, pitch_sigma=math.radians(1.0)), speed=0.0)
    assert sure.distance is not None
    assert unsure.distance is not None
    assert sure.distance.sigma < 0.6 * unsure.distance.sigma


@pytest.mark.parametrize("speed", [0.0, 4.0])
def test_there_is_no_time_to_collision_with_what_keeps_its_distance(speed: float) -> None:
    found, _ = approach(VIEW, speed=speed, z=20.0, noise=1.0)
    assert found.ttc is None


def test_a_size_of_two_pixels_and_less_says_nothing() -> None:
    found = Range(VIEW, SIZES["car"])
    found.looks(VIEW, 1.9, 1.0)
    assert found.measured == 0
    assert found.distance is None


def test_one_wild_box_does_not_throw_the_distance() -> None:
    found, z = approach(VIEW, speed=0.0, z=30.0)
    found.predict(1 / 30, VIEW)
    found.looks(VIEW, 200.0, 1.0)  # a car of 60 pixels, grown together with its neighbours
    assert found.distance is not None
    assert found.distance.value == pytest.approx(z, rel=0.05)


def test_whatever_boxes_say_numbers_stay_finite() -> None:
    random = np.random.default_rng(9)
    unsure = View(1000.0, (640.0, 360.0), 0.0, 0.0, 0.0, 1.3, pitch_sigma=0.05)
    for _ in range(60):
        found = Range(unsure, SIZES["car"])
        for _ in range(60):
            found.predict(float(random.choice([0.0, 1 / 30, 0.2, 1.0])), unsure)
            point = ground_point(unsure, 640.0, float(random.uniform(360.2, 720.0)))
            if point is not None and random.random() < 0.3:
                found.contact(unsure, point, 2.0)
            if random.random() < 0.3:
                found.looks(unsure, float(np.exp(random.uniform(0.7, 7.0))), 2.0)
            assert math.isfinite(found.log)
            for measure in (found.distance, found.speed, found.ttc):
                assert measure is None or (math.isfinite(measure.value) and measure.sigma >= 0.0)


def test_the_truth_lies_within_the_sigmas_that_are_told() -> None:
    """Of 60 filters about two thirds are within one sigma, and nearly all within three."""
    random = np.random.default_rng(5)
    off = []
    for _ in range(60):
        width, pitch = random.normal(1.82, 0.15), random.normal(0.0, math.radians(0.3))
        seen_by = View(1000.0, (640.0, 360.0), pitch, 0.0, 0.0, 1.3, pitch_sigma=math.radians(0.3))
        found, z = approach(seen_by, width=width, speed=0.0, z=float(random.uniform(15, 40)), seconds=1.0)
        assert found.distance is not None
        off.append(abs(found.distance.value - z) / found.distance.sigma)
    within = [sum(each < sigmas for each in off) / len(off) for sigmas in (1, 3)]
    assert 0.5 < within[0] < 0.9
    assert within[1] > 0.97
