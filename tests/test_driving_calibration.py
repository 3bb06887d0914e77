"""Where the camera looks: told, found out, and how well it is known."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from rtseg.driving.calibration import Calibration, Camera, Estimate
from rtseg.errors import ConfigError

SIZE = (1280, 720)


def test_a_file_says_all_and_nothing_is_unsure(tmp_path: Path) -> None:
    path = tmp_path / "camera.toml"
    path.write_text(
        "size = [1920, 1080]\nfocal = 1500\ncentre = [950, 540]\nheight = 1.4\npitch = 3\nyaw = -1\nroll = 0.5\n"
    )
    view = Calibration(Camera.read(path), file=True).view(SIZE)
    assert (view.focal, *view.centre) == pytest.approx((1000.0, 950 * 2 / 3, 360))
    assert (view.pitch, view.yaw, view.roll) == pytest.approx(tuple(math.radians(a) for a in (3, -1, 0.5)))
    assert (view.height, view.confidence) == pytest.approx((1.4, 1.0))
    assert view.source == "file"
    assert view.pitch_sigma is None
    assert view.yaw_sigma is None


def test_json_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "camera.json"
    path.write_text('{"fov": 90, "height": 1.2}')
    view = Calibration(Camera.read(path)).view(SIZE)
    assert view.focal == pytest.approx(640.0)
    assert view.source == "lens"
    assert view.pitch_sigma is not None
    assert view.confidence < 0.3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("height = -1", "camera.toml: height"),
        ("hieght = 1.2", "hieght"),
        ("focal = 900", "need size"),
        ("height = ", "neither TOML nor JSON"),
    ],
)
def test_a_wrong_file_is_one_clear_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "camera.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=says):
        Camera.read(path)
    with pytest.raises(ConfigError, match=r"cannot be read: No such file"):
        Camera.read(tmp_path / "none.toml")


def test_an_estimate_is_the_mean_weighted_by_information() -> None:
    estimate = Estimate(0.0, 1.0, seconds=1.0)
    estimate.learn(3.0, 0.5, elapsed=1.0)
    assert estimate.value == pytest.approx((0 * 1 + 3 * 4) / 5)
    assert estimate.sigma == pytest.approx(5**-0.5)


def test_measurements_that_err_together_count_by_time_not_by_number() -> None:
    once, often = Estimate(0.0, 1.0, seconds=1.0), Estimate(0.0, 1.0, seconds=1.0)
    once.learn(1.0, 0.5, elapsed=1.0)
    for _ in range(10):
        often.learn(1.0, 0.5, elapsed=0.1)
    assert often.sigma == pytest.approx(once.sigma)
    assert often.value == pytest.approx(once.value)


def test_what_was_given_never_changes() -> None:
    calibration = Calibration(Camera(fov=60, height=1.3, pitch=2, yaw=0))
    before = calibration.view(SIZE)
    assert calibration.size_up(5.0) is None
    assert calibration.refine(elapsed=1.0, pitch=(0.1, 0.001), yaw=(0.1, 0.001), width=(3.0, 0.01)) == (0.0, 0.0, 1.0)
    assert calibration.view(SIZE) == before


def test_the_camera_is_aimed_at_where_the_lines_meet() -> None:
    calibration = Calibration(Camera(fov=60))
    view = calibration.view(SIZE)
    assert calibration.begin(view, (700.0, 300.0, 2.0))
    aimed = calibration.view(SIZE)
    assert aimed.pitch == pytest.approx(math.atan(60 / view.focal))
    assert aimed.yaw == pytest.approx(-math.atan(60 / view.focal))
    assert aimed.confidence > view.confidence
    assert not calibration.begin(view, (700.0, -900.0, 2.0))  # no camera looks so far down


def test_height_follows_from_the_first_lane_but_never_better_than_lanes_are_alike() -> None:
    calibration = Calibration(Camera(fov=60))
    assert calibration.size_up(7.2) is None  # two lanes: no camera is 0.65 m high
    assert not calibration.sized
    assert calibration.size_up(2.4) == pytest.approx(1.5)
    assert calibration.view(SIZE).height == pytest.approx(1.95)
    for _ in range(2000):
        calibration.refine(elapsed=0.1, width=(3.6, 0.05))
    assert calibration.height_sigma() >= 0.1 / 3.6
    assert calibration.view(SIZE).source == "estimated"


def test_a_cut_forgets_what_was_found() -> None:
    calibration = Calibration(Camera(fov=60))
    before = calibration.view(SIZE)
    calibration.begin(before, (700.0, 300.0, 2.0))
    calibration.size_up(3.0)
    calibration.reset()
    assert calibration.view(SIZE) == before


def test_the_camera_looks_where_it_travels_to_as_seen_from_its_own_axes() -> None:
    calibration = Calibration(Camera(fov=60, height=1.3))
    view = calibration.view(SIZE)
    for _ in range(20):
        calibration.travelled(view, (680.0, 330.0, 1.0, 1.0), elapsed=2.0)
    aimed = calibration.view(SIZE)
    assert (aimed.yaw, aimed.pitch) == pytest.approx(
        (-math.atan(40 / view.focal), math.atan(30 / view.focal)), abs=1e-3
    )
    assert calibration.travelled(view, (-4000.0, 330.0, 1.0, 1.0), elapsed=2.0) == (0.0, 0.0, 1.0)
