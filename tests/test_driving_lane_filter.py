"""One state for all lines."""

from __future__ import annotations

import numpy as np
import pytest

from rtseg.driving.ground import to_ground, to_image
from rtseg.driving.lane_filter import C1, SHARED, E, RoadFilter, V
from rtseg.driving.lane_points import LanePoints
from rtseg.driving.state import View

HEIGHT = 1.4


def points(
    x: np.ndarray[tuple[int], np.dtype[np.float64]], z: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> LanePoints:
    rows = np.arange(len(x))
    return LanePoints(x, z, np.full(len(x), 0.05), x * 0, x * 0, rows)


def road(*across: float) -> RoadFilter:
    made = RoadFilter()
    for x in across:
        made.add(x)
    return made


def test_a_wrong_pitch_is_found_from_the_fan_that_it_makes_of_parallel_lines() -> None:
    truth = View(900.0, (640.0, 360.0), 0.034, 0.0, 0.0, HEIGHT)
    thought = View(900.0, (640.0, 360.0), 0.030, 0.0, 0.0, HEIGHT)
    z = np.linspace(5, 35, 40)
    seen = [to_ground(thought, *to_image(truth, x + 0.01 * z, z)) for x in (-5.4, -1.8, 1.8)]
    state = road(-5.4, -1.8, 1.8)
    state.covariance[E, E] = 0.02**2
    for _ in range(3):
        state.update(
            points(np.concatenate([x for x, _ in seen]), np.concatenate([far for _, far in seen])),
            np.repeat(np.arange(3), 40),
            HEIGHT,
        )
    assert state.mean[E] == pytest.approx(0.004, abs=6e-4)  # first order in e: a tenth at 35 m
    assert state.mean[C1] == pytest.approx(0.01, abs=2e-3)
    assert state.mean[SHARED:] == pytest.approx([-5.4, -1.8, 1.8], abs=0.05)


def test_a_line_without_points_moves_with_the_others() -> None:
    state = road(-1.8, 1.8)
    state.covariance[-1, -1] = 0.05**2
    z = np.linspace(4, 25, 30)
    for step in range(1, 40):
        state.predict(0.04)
        state.update(points(np.full(30, -1.8 - 0.02 * step), z), np.zeros(30, np.intp), HEIGHT)
    assert state.mean[V] == pytest.approx(-0.5, abs=0.1)
    assert state.mean[SHARED + 1] == pytest.approx(1.8 - 0.02 * 39, abs=0.15)
    assert state.covariance[-1, -1] > 4 * state.covariance[-2, -2]  # and is known worse


def test_a_third_of_outliers_moves_a_line_by_a_few_centimetres_at_most() -> None:
    state = road(1.8)
    z = np.linspace(4, 30, 60)
    x = np.full(60, 1.8)
    x[::3] += 0.6
    state.covariance[-1, -1] = 0.1**2
    state.update(points(x, z), np.zeros(60, np.intp), HEIGHT)
    assert float(state.mean[-1] + state.at(np.array(12.0))) == pytest.approx(1.8, abs=0.04)


def test_lines_come_and_go_without_the_others_noticing() -> None:
    state = road(-1.8, 1.8, 5.4)
    before = state.mean.copy()
    state.remove(1)
    assert state.count == 2
    assert state.mean.tolist() == np.delete(before, SHARED + 1).tolist()
    assert state.covariance.shape == (SHARED + 2, SHARED + 2)


def test_a_corrected_view_sees_the_same_road() -> None:
    state = road(2.0)
    state.mean[C1] = 0.01
    state.turn(pitch=0.002, yaw=0.003)
    assert state.mean[[E, C1]] == pytest.approx([-0.002, 0.013])
    state.grow(1.1)
    assert state.mean[SHARED] == pytest.approx(2.2)
    assert state.covariance[-1, -1] == pytest.approx(1.21)
