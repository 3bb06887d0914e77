"""Lanes on drawn roads whose truth is known, and on real footage."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import rtseg
from rtseg.driving.drives import LaneErrors, random_drive
from rtseg.driving.ground import to_image
from rtseg.driving.lane_points import runs_of, vanishing_point
from rtseg.driving.lanes import LaneAnalyzer
from rtseg.driving.render import Drive, Excursion, Marking, Rendered, Rough, Vehicle, render
from rtseg.driving.state import Event, Scene
from rtseg.errors import ConfigError
from rtseg.frame import Size
from rtseg.sources.video import VideoFile
from rtseg.types import Regions

ROAD = (Marking(-5.4, None, "yellow"), Marking(-1.8, (3.0, 9.0)), Marking(1.8, (3.0, 9.0)), Marking(5.4))


def told(drive: Drive) -> LaneAnalyzer:
    """Knows the camera, but not what shakes it."""
    fov, pitch, yaw = (math.degrees(angle) for angle in (drive.fov, drive.pitch, drive.yaw))
    return LaneAnalyzer(height=drive.height, fov=fov, pitch=pitch, yaw=yaw)


def followed(
    drive: Drive, lanes: LaneAnalyzer | None = None, *, pictures: bool = False
) -> Iterator[tuple[Rendered, Scene]]:
    lanes = lanes or told(drive)
    for frame in render(drive, pictures=pictures):
        assert Scene.read(lanes(frame.frame, frame.regions)) == lanes.scene
        yield frame, lanes.scene


def begun(scenes: list[tuple[Rendered, Scene]], kind: str) -> list[tuple[float, Event]]:
    return [(t.time, e) for t, s in scenes for e in s.events if e.kind == kind and e.phase == "begin"]


def test_runs_are_found_between_pixels() -> None:
    mask = np.zeros((3, 12), np.uint8)
    mask[1, 4:7] = 255, 255, 255
    mask[2, 0:3] = 255  # touches the side: its middle is not known
    mask[2, 6:10] = 110, 255, 255, 55
    runs = runs_of(mask)
    assert runs.v.tolist() == [1.5, 2.5]
    # the level is crossed 145/255 of a pixel beyond the outer middles; then at the first, and 145/200 beyond the last
    assert runs.u == pytest.approx([5.5, (6.5 + 8.5 + 145 / 200) / 2])
    assert runs.width == pytest.approx([2 + 2 * 145 / 255, 2 + 145 / 200])


def test_lines_meet_where_the_camera_says_that_they_do() -> None:
    frame = next(iter(render(Drive(wander=0.0, pitch=0.05, yaw=0.02, markings=ROAD))))
    found = vanishing_point(frame.regions.probabilities[1])
    assert found is not None
    view = frame.view
    u, v = view.centre[0] - view.focal * math.tan(view.yaw), view.centre[1] - view.focal * math.tan(view.pitch)
    assert found[0] == pytest.approx(u / 4, abs=2.0)
    assert found[1] == pytest.approx(v * 192 / 720, abs=2.0)
    assert vanishing_point(np.zeros((192, 320), np.uint8)) is None


def test_a_clean_road_is_found_to_centimetres_with_all_its_lines() -> None:
    drive = Drive(seconds=3.5, curvature=((0.0, 0.0), (60.0, 1.5e-3)), markings=ROAD, shake=0.004, seed=2)
    pairs = list(followed(drive))
    errors = LaneErrors()
    errors.add(pairs, settled=0.5)
    assert max(errors.offset) < 0.06
    assert max(errors.lines) < 0.10
    assert max(errors.heading) < math.radians(0.5)
    truth, scene = pairs[-1]
    assert [line.place for line in scene.lanes.lines] == [-2, -1, 1, 2]
    assert scene.lanes.curvature is not None
    assert truth.lanes.curvature is not None
    assert scene.lanes.curvature.value == pytest.approx(truth.lanes.curvature.value, abs=4e-4)
    assert scene.view is not None
    assert scene.view.pitch == pytest.approx(truth.view.pitch, abs=0.004)


def test_kind_and_colour_are_those_of_the_markings() -> None:
    pairs = list(followed(Drive(seconds=2.0, markings=ROAD, seed=3), pictures=True))
    lines = pairs[-1][1].lanes.lines
    assert [(line.kind, line.colour) for line in lines] == [
        ("solid", "yellow"),
        ("dashed", "white"),
        ("dashed", "white"),
        ("solid", "white"),
    ]


@pytest.mark.parametrize("seed", [101, 104, 113, 118])
def test_rough_drives_are_read_within_the_limits(seed: int) -> None:
    errors = LaneErrors()
    errors.add(followed(random_drive(seed)))
    assert np.mean(errors.offset) < 0.05
    assert np.percentile(errors.offset, 95) < 0.10
    assert np.percentile(errors.heading, 95) < math.radians(0.5)
    assert errors.both == errors.frames
    assert (errors.departures.wrong, errors.departures.missed) == (0, 0)


def test_a_camera_of_which_nothing_is_known_is_found() -> None:
    drive = Drive(seconds=5.0, rate=15, height=1.5, pitch=0.05, yaw=0.015, fov=math.radians(60), markings=ROAD, seed=4)
    pairs = list(followed(drive, LaneAnalyzer()))
    view = pairs[-1][1].view
    assert view is not None
    assert view.source == "estimated"
    assert view.pitch == pytest.approx(0.05, abs=math.radians(0.25))
    assert view.height == pytest.approx(1.5, rel=0.05)
    assert view.yaw == pytest.approx(0.015, abs=math.radians(0.6))
    assert view.pitch_sigma is not None
    assert view.pitch_sigma < 0.006
    sigmas = [scene.view.yaw_sigma for _, scene in pairs[::15] if scene.view and scene.view.yaw_sigma]
    assert sigmas == sorted(sigmas, reverse=True)  # it is known better and better


def test_lines_are_carried_through_frames_without_any() -> None:
    drive = Drive(seconds=2.0, markings=ROAD, wander=0.0)
    lanes = told(drive)
    for number, frame in enumerate(render(drive)):
        if number >= 42:
            blind = replace(frame.regions, probabilities=frame.regions.probabilities * np.uint8(0))
            lanes(frame.frame, blind)
        else:
            lanes(frame.frame, frame.regions)
    assert [line.place for line in lanes.scene.lanes.lines] == [-2, -1, 1, 2]
    assert not any(line.seen for line in lanes.scene.lanes.lines)
    assert lanes.scene.lanes.offset is not None
    assert abs(lanes.scene.lanes.offset.value) < 0.1


def test_what_is_not_seen_for_long_is_no_longer_told() -> None:
    drive = Drive(seconds=4.0, rate=10, markings=ROAD, wander=0.0)
    lanes = told(drive)
    for number, frame in enumerate(render(drive)):
        dark = frame.regions.probabilities * np.uint8(number < 10)
        lanes(frame.frame, replace(frame.regions, probabilities=dark))
    assert lanes.scene.lanes.lines == ()
    assert lanes.scene.lanes.offset is None


def test_a_vehicle_ahead_hides_lines_and_moves_none() -> None:
    drive = Drive(seconds=3.0, rate=15, markings=ROAD, vehicles=(Vehicle(14.0, 0.0, 25.0), Vehicle(9.0, -3.6, 26.0)))
    errors = LaneErrors()
    errors.add(followed(drive))
    assert max(errors.offset) < 0.08
    assert errors.both == errors.frames


def test_a_wheel_beyond_a_line_is_one_departure_to_its_side() -> None:
    drive = Drive(seconds=7.0, rate=15, markings=ROAD, excursions=(Excursion(1.0, 1.3, 1.5),), wander=0.0)
    pairs = list(followed(drive))
    [(time, event)] = begun(pairs, "lane_departure")
    assert event.values["side"] == "right"
    assert event.severity == "warning"
    out = next(truth.time for truth, _ in pairs if truth.wheels[1] > 0)
    assert out + 0.1 < time < out + 0.5  # never from a single frame
    assert begun(pairs, "lane_change") == []
    phases = [e.phase for _, s in pairs for e in s.events]
    assert phases[0] == "begin"
    assert phases[-1] == "end"
    assert set(phases[1:-1]) == {"on"}


def test_staying_just_inside_is_no_event() -> None:
    drive = Drive(
        seconds=6.0, rate=15, markings=ROAD, excursions=(Excursion(1.0, -0.75, 1.5),), wander=0.0, shake=0.004
    )
    assert all(not scene.events for _, scene in followed(drive))


def test_crossing_a_line_for_good_is_a_lane_change_and_places_move_on() -> None:
    change = Excursion(1.0, -3.6, 3.0, back=False)
    drive = Drive(seconds=6.0, rate=15, markings=(*ROAD, Marking(-9.0)), excursions=(change,), wander=0.0)
    pairs = list(followed(drive))
    [(time, event)] = begun(pairs, "lane_change")
    assert event.values["side"] == "left"
    assert 2.2 < time < 3.2
    [(_, departure)] = begun(pairs, "lane_departure")
    assert departure.values["side"] == "left"
    ended = [truth.time for truth, scene in pairs for e in scene.events if e.phase == "end"]
    assert len(ended) == 2
    assert pairs[-1][1].events == ()
    before, after = pairs[5][1].lanes.line(-1), pairs[-1][1].lanes.line(1)
    assert before is not None
    assert after is not None
    assert before.id == after.id
    assert pairs[-1][1].lanes.offset is not None
    assert abs(pairs[-1][1].lanes.offset.value) < 0.1


def test_a_cut_begins_anew() -> None:
    drive = Drive(seconds=0.5, markings=ROAD)
    lanes = told(drive)
    frames = list(render(drive))
    for frame in frames:
        lanes(frame.frame, frame.regions)
    assert max(line.age for line in lanes.scene.lanes.lines) > 10
    lanes(frames[0].frame.at(epoch=1), frames[0].regions)
    assert {line.age for line in lanes.scene.lanes.lines} == {1}


def test_without_lines_nothing_is_told_and_specks_are_no_lane() -> None:
    lanes = LaneAnalyzer()
    for frame in render(Drive(seconds=1.0, rough=Rough(blind=1.0, specks=8, noise=0.1))):
        lanes(frame.frame, frame.regions)
        assert lanes.scene.lanes.offset is None
        assert lanes.scene.events == ()
    assert lanes.scene.view is not None
    assert lanes.scene.view.confidence < 0.3


def test_a_model_without_lanes_is_an_error() -> None:
    frame = next(iter(render(Drive()))).frame
    person = Regions(np.zeros((1, 4, 4), np.uint8), ("person",), 0, Size(1280, 720))
    with pytest.raises(ConfigError, match="use the model road"):
        LaneAnalyzer()(frame, person)


@pytest.mark.parametrize("clip", ["highway_white.mp4", "highway_dusk.mp4"])
def test_real_roads_have_both_lines_in_every_frame_and_none_that_jumps(clip: str, shared: Path) -> None:
    pipeline, lanes = rtseg.load_pipeline(model="road"), LaneAnalyzer()
    before: dict[int, float] = {}
    for frame in itertools.islice(VideoFile(shared / "clips" / "road" / clip), 45):
        lanes(frame, pipeline(frame).segmentation)
        found = lanes.scene.lanes
        now = {line.place: line.at(10.0) for line in found.lines}
        assert {-1, 1} <= now.keys()
        assert all(abs(now[place] - before[place]) < 0.3 for place in now.keys() & before.keys())
        assert lanes.scene.events == ()
        before = now
    assert lanes.scene.lanes.width is not None
    assert 3.2 < lanes.scene.lanes.width.value < 4.0


def test_two_lanes_are_not_taken_for_one_while_the_line_between_is_not_seen_yet() -> None:
    road = (Marking(-5.4), Marking(-1.8, (3.0, 9.0)), Marking(1.8))
    drive = Drive(seconds=2.0, rate=15, markings=road, height=1.5, fov=math.radians(60), wander=0.0)
    pairs = list(followed(drive, LaneAnalyzer()))
    assert all(scene.lanes.offset is None or abs(scene.lanes.offset.value) < 0.2 for _, scene in pairs)
    assert pairs[-1][1].lanes.width is not None
    assert pairs[-1][1].lanes.width.value == pytest.approx(3.6, abs=0.1)
    assert not any(scene.events for _, scene in pairs)


def test_specks_in_the_middle_of_a_lane_make_no_line_of_it() -> None:
    # In this drive specks lie in a row beside the middle for half a second, often enough to look like a line.
    drive = replace(random_drive(10), excursions=(Excursion(2.5, 3.782, 3.2, back=False),))
    pairs = list(followed(drive, LaneAnalyzer(height=drive.height, fov=math.degrees(drive.fov))))
    assert [event.values["side"] for _, event in begun(pairs, "lane_change")] == ["right"]
    assert [event.values["side"] for _, event in begun(pairs, "lane_departure")] == ["right"]


@pytest.mark.parametrize("shape", [(192, 320), (16, 16), (360, 640), (3, 3)])
def test_no_mask_is_too_odd(shape: tuple[int, int]) -> None:
    chance, lanes = np.random.default_rng(7), LaneAnalyzer()
    grey = next(iter(render(Drive()))).frame
    masks = [np.zeros(shape), np.full(shape, 255), chance.integers(0, 256, shape), np.eye(*shape) * 255]
    masks += [(chance.random(shape) < 0.02) * 255 for _ in range(12)]
    for index, mask in enumerate(masks):
        regions = Regions(mask.astype(np.uint8)[None], ("lane",), index * 3600, Size(1280, 720))
        lanes(grey.at(pts=index * 3600), regions)
        assert all(np.isfinite(line.coefficients).all() for line in lanes.scene.lanes.lines)


def test_times_that_stand_still_or_leap_do_no_harm() -> None:
    drive = Drive(seconds=0.6, markings=ROAD, wander=0.0)
    lanes = told(drive)
    for frame in render(drive):
        lanes(frame.frame.at(pts=0), frame.regions)
    lanes(frame.frame.at(pts=90000 * 3600), frame.regions)
    lanes(frame.frame.at(pts=5), frame.regions)
    assert [line.place for line in lanes.scene.lanes.lines] == [-2, -1, 1, 2]


def test_specks_in_a_frame_without_lines_move_none() -> None:
    drive = Drive(seconds=2.0, markings=ROAD, wander=0.0)
    lanes = told(drive)
    frames = list(render(drive))
    for frame in frames[:-1]:
        lanes(frame.frame, frame.regions)
    before = lanes.scene.lanes
    specks = np.zeros_like(frames[-1].regions.probabilities)
    for x, z in ((2.1, 6.0), (2.1, 6.6), (2.2, 14.0), (-1.5, 7.0), (-1.5, 8.0), (-1.4, 16.0)):
        u, v = to_image(frames[-1].view, x, z)
        specks[1, int(v * 192 / 720), int(u / 4) : int(u / 4) + 4] = 255
    lanes(frames[-1].frame, replace(frames[-1].regions, probabilities=specks))
    for line in lanes.scene.lanes.lines:
        same = before.line(line.place)
        assert same is not None
        assert line.at(10.0) == pytest.approx(same.at(10.0), abs=0.02)


def test_lines_are_followed_through_frames_whose_mask_is_an_earlier_one() -> None:
    """Every second frame with the mask before it: as exact, and as long in sight, as with a mask of its own."""
    drive = Drive(seconds=6.0, rate=30, seed=3, markings=ROAD)
    errors = {}
    for step in (1, 2):
        lanes, found = told(drive), []
        for number, each in enumerate(render(drive)):
            if number % step == 0:
                mask = each.regions
            lanes(each.frame, replace(mask, pts=each.frame.pts))
            if number >= 30:
                seen = lanes.scene.lanes
                assert seen.line(-1) is not None
                assert seen.line(1) is not None
                assert seen.offset is not None
                assert each.lanes.offset is not None
                found.append(abs(seen.offset.value - each.lanes.offset.value))
        errors[step] = float(np.mean(found))
    assert errors[2] < errors[1] + 0.01
    assert errors[2] < 0.05
