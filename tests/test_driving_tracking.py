"""Numbers that stay, by the library trackers."""

from __future__ import annotations

import pytest

pytest.importorskip("trackers", reason="rtseg[driving] is not installed")

from rtseg.driving.detections import Detection, Group
from rtseg.driving.tracking import Track, Tracker


def seen(x: float, *, group: Group = "vehicle", score: float = 0.9, size: float = 80.0) -> Detection:
    return Detection(group, group, (x, 300.0, x + size, 300.0 + size), score)


def follow(
    tracker: Tracker, frames: list[list[Detection]], *, start: float = 0.0, step: float = 1 / 30
) -> list[list[Track]]:
    return [tracker(found, start + number * step) for number, found in enumerate(frames)]


def test_the_second_frame_gives_the_number() -> None:
    first, second = follow(Tracker(), [[seen(100.0)], [seen(104.0)]])
    assert first == []
    [track] = second
    assert track.id == 1
    assert track.detection is not None
    assert track.detection.box[0] == 104.0


def test_what_is_missed_is_followed_on_under_its_number() -> None:
    frames = [[seen(100.0 + 6 * n)] if n < 10 or n > 18 else [] for n in range(25)]
    tracks = follow(Tracker(), frames)
    assert [[track.id for track in each] for each in tracks[1:]] == [[1]] * 24
    assert tracks[14][0].detection is None
    assert tracks[14][0].box[0] == pytest.approx(100.0 + 6 * 14, abs=12.0)


def test_what_is_gone_for_longer_than_is_kept_comes_back_as_another() -> None:
    frames = [[seen(100.0)] if n < 10 or n > 45 else [] for n in range(50)]
    assert [track.id for track in follow(Tracker(keep=2.0), frames)[-1]] == [1]
    assert [track.id for track in follow(Tracker(keep=0.5), frames)[-1]] == [2]


def test_people_and_vehicles_never_take_each_others_numbers() -> None:
    frames = [[seen(100.0, group="vehicle"), seen(104.0, group="vulnerable")] for _ in range(4)]
    last = follow(Tracker(), frames)[-1]
    assert sorted((track.id, track.group) for track in last) == [(1, "vehicle"), (2, "vulnerable")]


def test_a_low_score_carries_a_track_on_and_begins_none() -> None:
    sure, unsure = [seen(100.0)], [seen(100.0, score=0.3)]
    assert [len(each) for each in follow(Tracker(), [unsure] * 4)] == [0] * 4
    last = follow(Tracker(), [sure, sure, unsure, unsure])[-1]
    assert last[0].detection is unsure[0]


def test_times_not_frames_say_how_far_things_move() -> None:
    tracker = Tracker()
    follow(tracker, [[seen(100.0 + 20 * n)] for n in range(8)])
    [track] = tracker([seen(100.0 + 20 * 20)], 20 / 30)  # twelve frames later, five times its own size away
    assert track.id == 1
    assert track.detection is not None


def test_a_reset_begins_anew() -> None:
    tracker = Tracker()
    follow(tracker, [[seen(100.0)]] * 3, start=100.0)
    tracker.reset()
    assert [track.id for track in follow(tracker, [[seen(500.0)]] * 3)[-1]] == [1]
