"""Things on a rendered road, followed and measured, and the analyzer in a pipeline."""

from __future__ import annotations

import dataclasses
import logging
import math
import sys
from typing import Any

import numpy as np
import pytest
from fakes import plain_frame

from benchmarks.road_world import VIEW, Thing, World
from rtseg.errors import ConfigError, DependencyMissing, InferenceFailed
from rtseg.pipeline import Pipeline
from rtseg.registry import load
from rtseg.types import Analyzer, Frame, Instances, Observation, Regions, Segmentation, Size

pytest.importorskip("trackers", reason="rtseg[driving] is not installed")

from benchmarks.obstacles import KINDS, run
from rtseg.driving.obstacles import Obstacles
from rtseg.driving.render import Drive, Vehicle, render
from rtseg.driving.state import (
    Event,
    Fix,
    LaneLine,
    Lanes,
    Measure,
    Scene,
    observe_event,
    observe_fix,
    observe_lanes,
    observe_view,
)

LEVEL = dataclasses.replace(VIEW, pitch_sigma=math.radians(2.0))
"""A view whose pitch is hardly known, so that only sizes tell distances."""


def scenes(world: World, *, masks: bool = True, analyzer: Obstacles | None = None, **scene: Any) -> list[Scene]:
    analyzer = analyzer or Obstacles()
    known = Scene(**{"view": world.view, **scene})
    return [analyzer.read(frame, seen, known) for frame, seen, _ in world.frames(masks=masks)]


@pytest.mark.parametrize("masks", [True, False])
def test_distance_speed_and_time_on_a_rough_road(masks: bool) -> None:
    """Two thirds of the errors that `benchmarks/obstacles.py` has, which says how often what is met."""
    world = World([Thing(1, lambda t: 45 - 9 * t)], noise=1.0, missed=0.05, nod=5e-4, seconds=4.0, seed=2)
    found = scenes(world, masks=masks)
    told = [(45 - 9 * t, scene.obstacles[0]) for t, scene in zip(world.times(), found, strict=True) if t > 0.7]
    distances = [abs(each.distance.value / z - 1) for z, each in told if each.distance is not None]
    times = [abs(each.ttc.value / (z / 9) - 1) for z, each in told if each.ttc is not None]
    assert len(distances) == len(told)
    assert len(times) > 0.9 * len(told)
    assert np.percentile(distances, 95) < 0.05
    assert np.median(times) < 0.05
    assert np.percentile(times, 90) < 0.10


def test_a_lead_that_brakes_is_not_told_late() -> None:
    """From the same speed it brakes by 4 m/s^2; a filter without acceleration is a fifth behind."""
    world = World([Thing(1, lambda t: 40 - 2 * max(t - 1, 0) ** 2)], noise=1.0, missed=0.05, seconds=4.4)
    found = zip(world.times(), scenes(world, masks=False), strict=True)
    told = [(t, scene.obstacles[0].ttc) for t, scene in found if t > 3.0]
    off = [ttc.value * 4 * (t - 1) / (40 - 2 * (t - 1) ** 2) - 1 for t, ttc in told if ttc is not None]
    assert len(off) == len(told)
    assert abs(float(np.median(off))) < 0.12


@pytest.mark.slow
def test_random_drives_have_their_events_and_keep_their_numbers() -> None:
    """Two of each kind of scene of `benchmarks/obstacles.py`, which has the figures of two hundred."""
    tally = run(12, masks=True)
    assert tally.switches == 0
    assert {found for (_, found), count in tally.events.items() if count} == {"true"}
    assert {kind for kind, _ in tally.events} == set(KINDS)


def test_a_number_stays_through_missed_frames_and_behind_another() -> None:
    hidden = Thing(1, lambda t: 25.0, lambda t: -3.5, hidden=lambda t: 1.0 < t < 1.6)
    other = Thing(2, lambda t: 18.0 + t, lambda t: 3.5)
    found = scenes(World([hidden, other], missed=0.15, noise=1.0, seconds=3.0))
    numbers = {each.id for scene in found for each in scene.obstacles}
    assert len(numbers) == 2
    unseen = [each for scene in found for each in scene.obstacles if not each.seen]
    assert unseen
    assert all(each.distance is not None for each in unseen if each.age > 10)


def test_things_that_come_together_in_the_mask_stay_two() -> None:
    crossing = Thing(1, lambda t: 20.0, lambda t: -2.6 + 0.9 * min(t, 1.2))  # it ends behind the other's side
    still = Thing(2, lambda t: 20.0, lambda t: 0.2)
    last = scenes(World([crossing, still], seconds=2.0))[-1]
    assert sorted(each.id for each in last.obstacles if each.seen) == [1, 2]


def test_the_lead_is_the_nearest_vehicle_in_the_path() -> None:
    things = [
        Thing(1, lambda t: 30.0),
        Thing(2, lambda t: 15.0, lambda t: 3.5),
        Thing(3, lambda t: 50.0),
        Thing(4, lambda t: 12.0, lambda t: 1.0, 0.5, 1.7, "vulnerable"),
    ]
    last = scenes(World(things, seconds=1.0), fix=Fix(52.0, 13.0, 3.0, speed=Measure(20.0, 0.5)))[-1]
    [lead] = [each for each in last.obstacles if each.lead]
    assert lead.distance is not None
    assert lead.distance.value == pytest.approx(30.0, rel=0.05)
    assert lead.headway is not None
    assert lead.headway.value == pytest.approx(1.5, rel=0.05)
    assert lead.headway.sigma > 0.0


def test_without_a_speed_there_is_no_headway() -> None:
    last = scenes(World([Thing(1, lambda t: 20.0)], seconds=1.0))[-1]
    assert last.obstacles[0].lead
    assert last.obstacles[0].headway is None


def test_the_path_follows_the_lines_of_the_lane() -> None:
    bend = Lanes(
        (
            LaneLine(1, -1, (-1.75, 0.0, 0.014, 0.0), 4.0, 40.0, 0.05),
            LaneLine(2, 1, (1.75, 0.0, 0.014, 0.0), 4.0, 40.0, 0.05),
        )
    )
    ahead, aside = Thing(1, lambda t: 30.0, lambda t: 6.3, length=4.4), Thing(2, lambda t: 30.0)
    straight = {round(o.lateral.value): o.in_path for o in scenes(World([ahead, aside]))[-1].obstacles if o.lateral}
    bent = {
        round(o.lateral.value): o.in_path for o in scenes(World([ahead, aside]), lanes=bend)[-1].obstacles if o.lateral
    }
    assert straight == {6: False, 0: True}
    assert bent == {6: True, 0: False}


def test_what_is_cut_by_the_frame_is_measured_by_what_is_left() -> None:
    """At 3 m the wheels are under the frame: its width alone says how far it is."""
    world = World([Thing(1, lambda t: 6.0 - t)], seconds=2.9)
    [last] = scenes(world)[-1].obstacles
    assert last.box[3] == pytest.approx(720, abs=4)
    assert last.distance is not None
    assert last.distance.value == pytest.approx(6.0 - world.times()[-1], rel=0.08)


@pytest.mark.parametrize("x", [-3.6, 3.6])
def test_the_side_that_a_vehicle_of_another_lane_shows_is_no_part_of_its_width(x: float) -> None:
    [last] = scenes(World([Thing(1, lambda t: 14.0, lambda t: x, length=4.4)]), view=LEVEL)[-1].obstacles
    assert last.distance is not None
    assert last.lateral is not None
    assert last.distance.value == pytest.approx(14.0, rel=0.03)
    assert last.lateral.value == pytest.approx(x, abs=0.15)


def test_what_only_its_own_place_keeps_apart_becomes_one() -> None:
    """A post before a car: two halves, that are two no more once it is passed."""
    halves = [Thing(n, lambda t: 12.0, lambda t, n=n: n * (0.6 if t < 1.0 else 0.49), 1.0) for n in (-1, 1)]  # type: ignore[misc]
    found = scenes(World(halves, seconds=4.0))
    assert [len(scene.obstacles) for scene in (found[20], found[60])] == [2, 2]
    [car] = [each for each in found[-1].obstacles if each.seen]
    assert car.box[2] - car.box[0] == pytest.approx(1980 / 12, rel=0.05)


def test_what_is_hidden_below_is_not_taken_for_far() -> None:
    """A car 16 m ahead ends, in the picture, at the roof of a low one at 12 m: as if it stood at 39 m."""
    boxes = np.array([[583.0, 360.0 - 12.5, 697.0, 393.0], [560.0, 393.0, 720.0, 468.0]], np.float32)
    analyzer = Obstacles()
    for number in range(30):
        seen = Instances(
            np.zeros((2, 1, 1), np.uint8),
            boxes,
            np.zeros(2, np.int64),
            np.full(2, 0.9, np.float32),
            ("car",),
            number,
            Size(1280, 720),
        )
        last = analyzer.read(World([]).frame(number), seen, Scene(view=VIEW))
    assert last.obstacles[1].distance is not None
    assert last.obstacles[1].distance.value == pytest.approx(16.0, rel=0.05)


def test_without_a_view_there_are_times_and_no_metres() -> None:
    analyzer = Obstacles()
    world = World([Thing(1, lambda t: 40 - 10 * t)], seconds=3.0)
    last: list[Observation] = []
    for frame, seen, _ in world.frames(masks=True):
        last = list(analyzer(frame, seen))
    [obstacle] = Scene.read(last).obstacles
    assert (obstacle.distance, obstacle.lateral, obstacle.speed) == (None, None, None)
    assert obstacle.ttc is not None
    assert obstacle.ttc.value == pytest.approx((40 - 10 * world.times()[-1]) / 10, rel=0.1)
    assert obstacle.in_path


def test_a_view_that_is_hardly_believed_tells_no_metres() -> None:
    unsure = dataclasses.replace(VIEW, confidence=0.05)
    last = scenes(World([Thing(1, lambda t: 20.0)], seconds=1.0), view=unsure)[-1]
    assert last.obstacles[0].distance is None
    assert last.obstacles[0].lead


def test_a_lens_and_a_height_are_a_view() -> None:
    analyzer = Obstacles(fov=math.degrees(2 * math.atan(0.64)), height=1.3, pitch=0.0)
    last = scenes(World([Thing(1, lambda t: 25.0)]), analyzer=analyzer, view=None)[-1]
    assert last.obstacles[0].distance is not None
    assert last.obstacles[0].distance.value == pytest.approx(25.0, rel=0.03)


def test_another_analyzers_view_lanes_and_speed_are_heard() -> None:
    class Knowing:
        def __call__(self, frame: Frame, segmentation: Segmentation) -> list[Observation]:
            return [
                observe_view(VIEW, frame.pts),
                *observe_lanes(Lanes(), frame.pts),
                observe_fix(Fix(52.0, 13.0, 3.0, speed=Measure(10.0, 0.1)), frame.pts),
            ]

        def reset(self) -> None: ...

    class Drawn:
        names = ("vehicle", "vulnerable")

        def __init__(self, seen: list[Regions]) -> None:
            self._seen = iter(seen)

        def __call__(self, frame: Frame) -> Segmentation:
            return next(self._seen)

        def empty(self, frame: Frame) -> Segmentation:
            raise NotImplementedError

        def reset(self) -> None: ...

    frames = [(frame, seen) for frame, seen, _ in World([Thing(1, lambda t: 20.0)], seconds=0.5).frames(masks=True)]
    drawn = Drawn([seen for _, seen in frames if isinstance(seen, Regions)])
    pipeline = Pipeline(drawn, analyzers=[Knowing(), Obstacles()])
    last = [pipeline(frame) for frame, _ in frames][-1]
    assert [each.kind for each in last.observations] == ["view", "lane", "fix", "obstacle"]
    [obstacle] = Scene.read(last.observations).obstacles
    assert obstacle.headway is not None
    assert obstacle.headway.value == pytest.approx(2.0, rel=0.05)


class Seeing:
    """A detector that always sees one car, or fails."""

    names = ("car",)

    def __init__(self, *, fails: bool = False) -> None:
        self.asked: list[int] = []
        self._fails = fails

    def __call__(self, frame: Frame) -> Segmentation:
        self.asked.append(frame.index)
        if self._fails:
            raise InferenceFailed("asked to fail")
        boxes = np.array([[600.0, 350.0, 680.0, 420.0]], np.float32)
        one = np.ones(1, np.float32)
        return Instances(np.zeros((1, 1, 1), np.uint8), boxes, np.zeros(1, np.int64), one, ("car",), 0, Size(1280, 720))

    def empty(self, frame: Frame) -> Segmentation:
        raise NotImplementedError

    def reset(self) -> None: ...


def test_a_detector_is_asked_every_few_frames_and_names_what_masks_find() -> None:
    detector = Seeing()
    world = World([Thing(1, lambda t: 22.75)], seconds=0.4)  # 80 pixels wide
    last = scenes(world, analyzer=Obstacles(detector=detector, every=4))[-1]
    assert detector.asked == [0, 4, 8]
    assert [each.label for each in last.obstacles] == ["car"]


def road_alone(seen: Segmentation) -> Regions:
    return Regions(np.zeros((1, 192, 320), np.uint8), ("drivable",), seen.pts, seen.size)


def test_where_masks_know_no_obstacles_the_detector_is_asked_for_each_frame() -> None:
    detector = Seeing()
    analyzer = Obstacles(detector=detector, every=4)
    frames = list(World([], seconds=0.2).frames(masks=True))
    last = [analyzer.read(frame, road_alone(seen), Scene(view=VIEW)) for frame, seen, _ in frames][-1]
    assert detector.asked == [0, 1, 2, 3, 4, 5]
    assert [(each.label, each.seen) for each in last.obstacles] == [("car", True)]


def test_where_nobody_knows_obstacles_it_is_said() -> None:
    frame, seen, _ = next(iter(World([], seconds=0.1).frames(masks=True)))
    with pytest.raises(ConfigError, match="the model has drivable; give a detector"):
        Obstacles()(frame, road_alone(seen))


def test_where_the_detector_fails_masks_do_alone_and_it_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "rtseg"):
        last = scenes(World([Thing(1, lambda t: 20.0)], seconds=0.4), analyzer=Obstacles(detector=Seeing(fails=True)))[
            -1
        ]
    assert [each.label for each in last.obstacles] == ["vehicle"]
    assert [record.message for record in caplog.records] == ["obstacles come from masks alone: asked to fail"]


def test_a_time_before_the_last_forgets() -> None:
    analyzer = Obstacles()
    frames = [(frame, seen) for frame, seen, _ in World([Thing(1, lambda t: 20.0)], seconds=0.3).frames(masks=True)]
    for frame, seen in frames:
        before = analyzer.read(frame, seen, Scene(view=VIEW))
    assert len(before.obstacles) == 1
    assert analyzer.read(*frames[0], Scene(view=VIEW)).obstacles == ()
    assert [each.age for each in analyzer.read(*frames[1], Scene(view=VIEW)).obstacles] == [1]


def test_the_same_frame_twice_is_told_the_same() -> None:
    analyzer = Obstacles()
    told = [
        [each.obstacles for each in (analyzer.read(frame, seen, Scene(view=VIEW)) for _ in range(2))]
        for frame, seen, _ in World([Thing(1, lambda t: 30 - 5 * t)], seconds=0.3).frames(masks=True)
    ]
    assert all(first == second for first, second in told)


@pytest.mark.parametrize(
    "options", [{"fov": 60.0}, {"fov": 5.0, "height": 1.3}, {"fov": 60.0, "height": 9.0}, {"every": 0}, {"keep": -1.0}]
)
def test_what_no_camera_has_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Obstacles(**options)


def test_the_registry_has_it() -> None:
    made = load("analyzer", "obstacles")(fov=60.0, height=1.3)
    assert isinstance(made, Analyzer)
    assert list(made(plain_frame(), Regions(np.zeros((1, 2, 2), np.uint8), ("vehicle",), 0, Size(32, 18)))) == []


def test_without_the_library_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("rtseg.driving.obstacles", "rtseg.driving.tracking"):
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "trackers", None)
    with pytest.raises(DependencyMissing, match=r"pip install 'rtseg\[driving\]'"):
        load("analyzer", "obstacles")


def test_events_of_analyzers_before_are_not_told_again() -> None:
    world = World([Thing(1, lambda _: 20.0)], seconds=0.2)
    frame, seen, _ = next(iter(world.frames(masks=True)))
    known = observe_event(Event("lane_departure", "warning", frame.pts, "on", 0.5, {}), frame.pts)
    assert [each for each in Obstacles().after(frame, seen, [known]) if each.kind == "event"] == []


def test_what_is_on_the_road_goes_on_through_frames_whose_mask_is_an_earlier_one() -> None:
    drive = Drive(seconds=4.0, rate=30, wander=0.0, speed=22.0, vehicles=(Vehicle(40.0, 0.0, 18.0),))
    obstacles = Obstacles(fov=math.degrees(drive.fov), height=drive.height, pitch=math.degrees(drive.pitch))
    distances, numbers = [], set()
    for number, each in enumerate(render(drive)):
        if number % 2 == 0:
            mask = each.regions
        scene = obstacles.read(each.frame, dataclasses.replace(mask, pts=each.frame.pts), Scene())
        if number < 45:
            continue
        [found] = scene.obstacles
        [true] = each.obstacles
        assert found.seen
        assert found.distance is not None
        assert true.distance is not None
        distances.append(found.distance.value / true.distance.value - 1)
        numbers.add(found.id)
    assert len(numbers) == 1
    assert float(np.abs(distances).max()) < 0.05
    assert float(np.ptp(distances[-30:])) < 0.02  # and none of it stands still for a frame
