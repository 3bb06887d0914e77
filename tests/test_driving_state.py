"""What is known of a drive goes into flat observations and comes back whole."""

from __future__ import annotations

import json

import pytest

from rtseg.driving.state import (
    Event,
    LaneLine,
    Lanes,
    Measure,
    Obstacle,
    Scene,
    View,
    observe_event,
    observe_lanes,
    observe_obstacle,
    observe_view,
)
from rtseg.types import Observation

SCENE = Scene(
    View(900.0, (640.0, 360.0), 0.02, -0.01, 0.0, 1.3, 0.004, None, "lens", 0.8),
    Lanes(
        (
            LaneLine(1, -1, (-1.8, 0.01, 1e-4, 0.0), 4.0, 40.0, 0.05, "dashed", "white"),
            LaneLine(2, 1, (1.8, 0, 0, 0), 4, 30, 0.1),
        ),
        offset=Measure(0.2, 0.05),
        curvature=Measure(1e-4, 1e-5),
    ),
    (Obstacle(7, "vehicle", (10.0, 20.0, 60.0, 70.0), 0.9, Measure(22.0, 1.0), ttc=None, in_path=True, lead=True),),
    (Event("lane_departure", "warning", 3000, "begin", 0.4, {"offset": 0.9, "side": "left"}),),
)


def observations(scene: Scene, pts: int) -> list[Observation]:
    assert scene.view is not None
    return [
        observe_view(scene.view, pts),
        *observe_lanes(scene.lanes, pts),
        *(observe_obstacle(each, pts) for each in scene.obstacles),
        *(observe_event(each, pts) for each in scene.events),
    ]


def test_a_scene_is_read_back_from_its_observations() -> None:
    found = observations(SCENE, 9000)
    assert Scene.read(found) == SCENE
    assert {each.pts for each in found} == {9000}


def test_observations_are_flat_and_go_through_json() -> None:
    found = observations(SCENE, 9000)
    again = [Observation(each.kind, each.pts, json.loads(json.dumps(dict(each.values)))) for each in found]
    assert Scene.read(again) == SCENE
    for each in found:
        assert all(value is None or isinstance(value, float | int | str | bool) for value in each.values.values())


def test_other_kinds_are_passed_over() -> None:
    assert Scene.read([Observation("count", 0, {"label": "cell", "count": 3})]) == Scene()


def test_a_line_is_a_polynomial_of_the_distance() -> None:
    line = LaneLine(1, -1, (-1.5, 0.1, 0.02, 0.006), 0.0, 50.0, 0.1)
    assert line.at(10.0) == pytest.approx(-1.5 + 1.0 + 1.0 + 1.0)
    assert SCENE.lanes.line(1) == SCENE.lanes.lines[1]
    assert SCENE.lanes.line(2) is None
