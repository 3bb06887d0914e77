"""The drawn roads are where the truth says that they are."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from rtseg.driving.drives import random_traffic
from rtseg.driving.ground import to_image
from rtseg.driving.render import Drive, Excursion, Marking, Rendered, Rough, Vehicle, render

QUIET = Drive(seconds=0.2, wander=0.0, markings=(Marking(-1.8, None, "yellow"), Marking(1.8, (3.0, 9.0))))


def only(drive: Drive, *, pictures: bool = False) -> Rendered:
    return next(iter(render(drive, pictures=pictures)))


def test_a_line_is_drawn_where_its_clothoid_is_seen() -> None:
    drive = Drive(
        seconds=0.1, wander=0.0, curvature=((0.0, 2e-3), (100.0, -2e-3)), markings=(Marking(-1.8), Marking(1.8))
    )
    frame = only(drive)
    line = frame.lanes.line(1)
    assert line is not None
    assert line.coefficients == pytest.approx((1.8, 0.0, 2e-3, -4e-5))
    lane = frame.regions.probabilities[1].astype(float)
    for z in (6.0, 12.0, 25.0):
        u, v = to_image(frame.view, line.at(z), z)
        column, row = float(u) / 4, int(float(v) * 192 / 720)
        here = slice(int(column) - 8, int(column) + 9)
        weights = lane[row, here]
        middle = (weights * (np.arange(here.start, here.stop) + 0.5)).sum() / weights.sum()
        assert middle == pytest.approx(column, abs=0.6)  # rows are whole, and lines slanted


def test_pictures_have_the_colours_of_the_markings() -> None:
    frame = only(QUIET, pictures=True)
    rgb = frame.frame.rgb
    for place, expected in ((-1, (215, 170, 50)), (1, (225, 225, 220))):
        line = frame.lanes.line(place)
        assert line is not None
        z = 1.5 if place == -1 else 2.5
        u, v = to_image(frame.view, line.at(z), z)
        if v < 720 and 0 <= u < 1280:
            assert np.abs(rgb[int(v), int(u)].astype(int) - expected).max() < 12
    assert {line.colour for line in frame.lanes.lines} == {"yellow", "white"}


def test_a_vehicle_stands_where_its_distance_is_and_hides_lines() -> None:
    drive = Drive(seconds=1.1, rate=10, wander=0.0, vehicles=(Vehicle(30.0, 0.0, 20.0),), speed=25.0)
    first, *_, last = list(render(drive))
    obstacle = last.obstacles[0]
    assert obstacle.distance is not None
    assert obstacle.distance.value == pytest.approx(25.0)
    assert obstacle.ttc is not None
    assert obstacle.ttc.value == pytest.approx(5.0)
    x0, _, x1, y1 = obstacle.box
    assert y1 == pytest.approx(float(to_image(last.view, 0.0, 25.0)[1]), abs=1e-6)
    assert x1 - x0 == pytest.approx(1.8 / 25 * last.view.focal, rel=0.01)
    _, lane, vehicle, _ = last.regions.probabilities
    assert vehicle.any()
    assert not lane[vehicle == 255].any()
    assert first.obstacles[0].in_path


def test_a_long_vehicle_of_another_lane_shows_its_side() -> None:
    for across, sees in ((0.0, False), (3.6, True)):
        short, long = (only(replace(QUIET, vehicles=(Vehicle(20.0, across, length=length),))) for length in (0.0, 4.4))
        ((flat,), (deep,)) = short.obstacles, long.obstacles
        assert deep.distance == flat.distance
        assert deep.box[1::2] == flat.box[1::2]
        assert deep.box[2] == flat.box[2]
        assert (deep.box[0] < flat.box[0] - 5) is sees


def test_traffic_is_in_sight_until_the_end_and_the_same_for_a_number() -> None:
    for seed in range(30):
        drive = random_traffic(seed)
        assert drive == random_traffic(seed)
        for each in drive.vehicles:
            assert each.distance + (each.speed - drive.speed) * drive.seconds > 3.0
            assert each.speed >= 0.0
    assert random_traffic(1) != random_traffic(2)


def test_an_excursion_goes_out_rests_and_comes_back() -> None:
    out = Excursion(1.0, 2.0, seconds=2.0, rest=0.5)
    assert [out.at(t) for t in (0.5, 2.0, 3.0, 3.4, 4.5, 6.0)] == pytest.approx([0.0, 1.0, 2.0, 2.0, 1.0, 0.0])
    assert Excursion(1.0, 2.0, back=False).at(60.0) == 2.0


def test_truth_of_offset_heading_and_wheels_follows_the_way() -> None:
    drive = Drive(seconds=2.05, rate=20, wander=0.0, speed=20.0, excursions=(Excursion(0.0, 1.2, seconds=4.0),))
    last = list(render(drive))[-1]
    assert last.lanes.offset is not None
    assert last.lanes.offset.value == pytest.approx(0.6)
    steepest = 1.2 * math.pi / 2 / 4.0  # m/s, halfway
    assert last.lanes.heading is not None
    assert last.lanes.heading.value == pytest.approx(math.atan(steepest / 20), rel=1e-4)
    assert last.wheels == pytest.approx((0.9 - 2.4, 0.9 - 1.2))


def test_the_same_seed_gives_the_same_frames_and_another_does_not() -> None:
    rough = Rough(noise=0.2, specks=4, gaps=0.2, missed=0.2)
    first, again, other = (list(render(Drive(seconds=0.6, rough=rough, shake=0.004, seed=seed))) for seed in (5, 5, 6))
    assert [f.frame.pts for f in first] == [f.frame.pts for f in again]
    assert all(
        np.array_equal(a.regions.probabilities, b.regions.probabilities) for a, b in zip(first, again, strict=True)
    )
    assert not np.array_equal(first[0].regions.probabilities, other[0].regions.probabilities)


def test_missed_frames_leave_a_hole_in_the_times_and_blind_ones_have_no_lines() -> None:
    missed = list(render(Drive(seconds=2, rough=Rough(missed=0.3), seed=1)))
    gaps = np.diff([frame.frame.pts for frame in missed])
    assert 25 < len(missed) < 45
    assert gaps.min() == 3600
    assert gaps.max() >= 7200
    blind = only(Drive(rough=Rough(blind=1.0)))
    assert not blind.regions.probabilities[1].any()
    assert len(blind.lanes.lines) == 3
