"""Events begin after a while, end after a while, and never come from a single frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from rtseg.driving.road_events import RoadEvents
from rtseg.driving.state import Event, Measure, Obstacle

CAR = Obstacle(1, "car", (600.0, 300.0, 700.0, 400.0), 0.9, distance=Measure(20.0, 0.5), in_path=True, lead=True)
MAN = Obstacle(2, "person", (600.0, 300.0, 630.0, 400.0), 0.9, distance=Measure(15.0, 0.5), in_path=True)
FAST, STILL = Measure(20.0, 0.2), Measure(0.0, 0.1)


def told(
    shown: Callable[[float], Sequence[Obstacle]], *, seconds: float = 3.0, rate: int = 30, speed: Measure | None = FAST
) -> list[tuple[float, Event]]:
    events = RoadEvents()
    times = [number / rate for number in range(round(seconds * rate))]
    return [(t, event) for t in times for event in events(t, round(t * 90000), shown(t), speed)]


def phases(found: list[tuple[float, Event]]) -> list[tuple[str, str, str]]:
    return [(event.kind, event.phase, event.severity) for _, event in found if event.phase != "on"]


def closing(ttc: float) -> Obstacle:
    return replace(CAR, ttc=Measure(ttc, 0.1))


def test_a_collision_ahead_is_told_until_it_is_over() -> None:
    found = told(lambda t: [closing(2.0)] if 0.5 < t < 1.5 else [CAR])
    assert phases(found) == [("forward_collision", "begin", "warning"), ("forward_collision", "end", "warning")]
    begin, *others, end = found
    assert begin[0] == pytest.approx(0.7, abs=0.05)
    assert end[0] == pytest.approx(2.0, abs=0.05)
    assert {event.id for _, event in found} == {f"forward_collision-{round(begin[0] * 90000)}"}
    assert end[1].seconds == pytest.approx(end[0] - begin[0])
    assert [event.phase for _, event in others] == ["on"] * len(others)
    assert begin[1].values["obstacle"] == 1
    assert begin[1].values["ttc"] == 2.0


@pytest.mark.parametrize("rate", [2, 30])
def test_a_single_frame_is_no_event(rate: int) -> None:
    assert told(lambda t: [closing(1.0)] if 1.0 <= t < 1.0 + 0.9 / rate else [CAR], rate=rate) == []


def test_two_frames_of_a_slow_video_are_no_event_either() -> None:
    assert told(lambda t: [closing(1.0)] if 1.0 <= t <= 1.5 else [CAR], rate=2) == []


def test_severity_rises_and_does_not_fall() -> None:
    found = told(lambda t: [closing(2.4 if t < 1.0 else 1.2 if t < 1.5 else 2.0)])
    severities = [event.severity for _, event in found]
    assert severities[0] == "warning"
    assert severities[-1] == "critical"
    assert severities == sorted(severities, key=["warning", "critical"].index)


def test_what_wavers_about_the_limit_is_one_event() -> None:
    found = told(lambda t: [closing(2.6 if t % 1.5 < 0.7 else 2.9)], seconds=4.0)
    assert phases(found) == [("forward_collision", "begin", "warning")]


def test_the_other_lane_collides_with_nobody() -> None:
    assert told(lambda t: [replace(closing(1.0), in_path=False)]) == []


@pytest.mark.parametrize(("headway", "severity"), [(0.8, "warning"), (0.4, "critical")])
def test_following_closely_for_a_second_is_told(headway: float, severity: str) -> None:
    found = told(lambda t: [replace(CAR, headway=Measure(headway, 0.05))])
    assert phases(found) == [("close_following", "begin", severity)]
    assert found[0][0] == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(("headway", "speed"), [(1.3, FAST), (0.5, Measure(3.0, 0.1)), (0.5, None)])
def test_distance_kept_a_jam_and_an_unknown_speed_are_not_following(headway: float, speed: Measure | None) -> None:
    assert told(lambda t: [replace(CAR, headway=Measure(headway, 0.05))], speed=speed) == []


def entering(t: float, *, near: float = 15.0, from_: float = 1.0) -> list[Obstacle]:
    return [replace(CAR, distance=Measure(near, 0.5), in_path=t > from_, lead=t > from_)]


def test_somebody_who_comes_into_the_path_close_ahead_cuts_in() -> None:
    found = told(entering, seconds=5.0)
    assert phases(found) == [("cut_in", "begin", "info"), ("cut_in", "end", "info")]
    assert found[0][0] == pytest.approx(1.23, abs=0.05)


def test_a_cut_in_with_less_than_a_seconds_room_is_a_warning() -> None:
    found = told(lambda t: [replace(each, headway=Measure(0.85, 0.05)) for each in entering(t)], seconds=1.9)
    assert phases(found) == [("cut_in", "begin", "warning")]


def test_somebody_far_ahead_or_there_from_the_start_cuts_nobody_off() -> None:
    assert told(lambda t: entering(t, near=40.0)) == []
    assert told(lambda t: entering(t, from_=-1.0)) == []
    assert told(lambda t: entering(t, from_=0.2)) == []  # seen beside for too short a time


def test_a_pedestrian_in_the_path_is_told() -> None:
    assert phases(told(lambda t: [MAN] if t < 1.0 else [])) == [
        ("pedestrian_in_path", "begin", "warning"),
        ("pedestrian_in_path", "end", "warning"),
    ]
    assert phases(told(lambda t: [MAN], speed=STILL)) == [("pedestrian_in_path", "begin", "info")]
    assert phases(told(lambda t: [replace(MAN, ttc=Measure(1.5, 0.1))])) == [
        ("pedestrian_in_path", "begin", "critical")
    ]


def test_a_pedestrian_beside_the_path_or_far_ahead_is_not() -> None:
    assert told(lambda t: [replace(MAN, in_path=False)]) == []
    assert told(lambda t: [replace(MAN, distance=Measure(60.0, 3.0))]) == []


def test_the_worst_of_several_decides() -> None:
    found = told(lambda t: [replace(closing(2.5), id=5), replace(closing(1.0), id=6)])
    assert found[0][1].severity == "critical"
    assert found[0][1].values["obstacle"] == 6
