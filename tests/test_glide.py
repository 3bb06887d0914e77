"""How windows move: limits, the frame's borders, frame rates and rest."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rtseg.glide import WHOLE, Glide, Pace, View

PACE = Pace()


def path(*targets: tuple[float, View], rate: float = 120.0, start: View = WHOLE) -> np.ndarray:
    """x, y, width, height of every frame, going to each target for so many seconds."""
    glide = Glide(PACE)
    glide.jump(start)
    return np.array([glide(target, 1 / rate) for seconds, target in targets for _ in range(round(seconds * rate))])


THERE_AND_BACK = (
    (1.2, View(0.3, 0.7, 0.5, 0.5)),
    (0.4, View(0.75, 0.3, 0.5, 0.5)),
    (0.7, View(0.25, 0.25, 0.5, 0.5)),
    (1.0, View(0.6, 0.6, 0.8, 0.8)),
    (6.0, View(0.7, 0.5, 0.6, 0.6)),
)


def test_it_arrives_to_the_bit_and_never_moves_again() -> None:
    glide = Glide(PACE)
    target = View(0.3, 0.6, 0.5, 0.5)
    for _ in range(300):
        glide(target, 1 / 30)
    assert glide.arrived
    assert {glide(target, 1 / 30) for _ in range(100)} == {target}


@pytest.mark.parametrize("pace", [PACE, Pace(pan=0.02, widen=2.0)], ids=["usual", "wider than it pans"])
def test_it_never_shows_what_is_beyond_the_frame(pace: Pace) -> None:
    glide = Glide(pace)
    glide.jump(View(0.8, 0.2, 0.4, 0.4))
    views = np.array([glide(target, 1 / 30) for seconds, target in THERE_AND_BACK for _ in range(round(seconds * 30))])
    half = views[:, 2:] / 2
    assert (views[:, :2] - half).min() >= -1e-12
    assert (views[:, :2] + half).max() <= 1 + 1e-12


def test_speed_and_acceleration_keep_their_limits_and_nothing_jerks() -> None:
    rate = 120.0
    views = path(*THERE_AND_BACK, rate=rate, start=View(0.5, 0.5, 0.5, 0.5))
    speed = np.diff(views, axis=0) * rate
    assert np.abs(speed[:, :2]).max() <= PACE.pan + 1e-9
    assert speed[:, 2:].max() <= PACE.widen + 1e-9
    assert speed[:, 2:].min() >= -PACE.narrow - 1e-9
    acceleration = np.diff(speed, axis=0) * rate
    assert np.abs(acceleration[:, :2]).max() <= PACE.acceleration
    # 0.62 s^2 is the integral of |h''|; the last step of all is up to 2e-6, see `_THERE`.
    jerk = np.diff(acceleration, axis=0) * rate
    assert np.abs(jerk[:, :2]).max() <= 0.62 * PACE.softness**2 * PACE.pan * 1.05 + 2e-6 * rate**3
    assert np.abs(speed[:, 0]).max() > 0.8 * PACE.pan  # and it is no standing still that keeps them


def test_it_goes_straight_and_does_not_overshoot() -> None:
    views = path((5.0, View(0.75, 0.5, 0.5, 0.5)), start=View(0.25, 0.5, 0.5, 0.5))
    assert (np.diff(views[:, 0]) >= 0).all()
    assert views[:, 0].max() == 0.75
    assert (views[:, 1] == 0.5).all()


@pytest.mark.parametrize("rate", [10.0, 15.0, 24.0, 25.0, 60.0])
def test_paths_are_the_same_at_every_frame_rate(rate: float) -> None:
    """Each target holds for a multiple of all frames' times, so that only the glide's own steps differ."""
    targets = tuple((float(math.ceil(seconds)), view) for seconds, view in THERE_AND_BACK)
    fine, coarse = path(*targets, rate=600.0), path(*targets, rate=rate)
    at = np.round(np.arange(1, len(coarse) + 1) * 600 / rate).astype(int) - 1
    assert np.abs(fine[at] - coarse).max() < 0.003  # 4 pixels of 1280


def test_no_side_of_the_window_goes_to_and_fro_on_the_way_to_the_whole() -> None:
    views = path((5.0, WHOLE), start=View(0.7, 0.28, 0.5, 0.5))
    for axis in (0, 1):
        low, high = (views[:, axis] + sign * views[:, axis + 2] / 2 for sign in (-1, 1))
        assert (np.diff(low) <= 1e-12).all()
        assert (np.diff(high) >= -1e-12).all()
    assert tuple(views[-1]) == WHOLE


def test_no_time_is_no_movement() -> None:
    glide = Glide(PACE)
    assert glide(View(0.3, 0.3, 0.5, 0.5), 0.0) == WHOLE
    assert glide(View(0.3, 0.3, 0.5, 0.5), -1.0) == WHOLE
