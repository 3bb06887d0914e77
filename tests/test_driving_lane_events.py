"""When a departure and a lane change begin and end, to the frame."""

from __future__ import annotations

from collections.abc import Iterable

from rtseg.driving.lane_events import LaneEvents
from rtseg.driving.state import LaneLine, Lanes, Measure

RATE = 25


def lanes(offset: float, *, width: float = 3.6, known: bool = True) -> Lanes:
    """A lane seen from `offset` metres right of its middle."""
    sides = ((1, -1, -width / 2 - offset), (2, 1, width / 2 - offset))
    lines = tuple(LaneLine(number, place, (x, 0.0, 0.0, 0.0), 2.0, 40.0, 0.05) for number, place, x in sides)
    return Lanes(lines, Measure(offset, 0.05) if known else None)


def told(offsets: Iterable[float | None], events: LaneEvents | None = None) -> list[str]:
    """For each frame the phases of its events, such as "begin right"; None: no lanes."""
    events = events or LaneEvents()
    said = []
    for frame, offset in enumerate(offsets):
        found = Lanes() if offset is None else lanes(offset)
        out = events(found, frame / RATE, frame * 10)
        said.append(", ".join(f"{event.phase} {event.values['side']}" for event in out))
    return said


def test_a_wheel_must_be_beyond_the_line_for_a_while() -> None:
    # 0.9 m to the right a wheel is on the line; 0.16 s of 25 frames a second are four frames after the first.
    assert told([0.85] * 20) == [""] * 20
    assert told([0.95] * 6) == ["", "", "", "", "begin right", "on right"]
    assert told([0.95] * 4 + [0.8] * 6) == [""] * 10
    assert told([-0.95] * 5)[-1] == "begin left"


def test_it_ends_when_the_wheels_have_been_well_inside_for_a_while() -> None:
    back = told([1.0] * 5 + [0.8] * 20 + [0.7] * 11)
    assert back[4:25] == ["begin right"] + ["on right"] * 20  # 0.8: inside, but not by 0.15 m
    assert back[25:] == ["on right"] * 10 + ["end right"]


def test_a_frame_at_a_second_is_no_departure_of_three() -> None:
    events = LaneEvents()
    out = [events(lanes(1.0), float(second), second) for second in range(3)]
    assert [len(each) for each in out] == [0, 0, 1]


def test_its_id_and_time_are_those_of_when_the_wheel_crossed() -> None:
    events = LaneEvents()
    for frame in range(5):
        out = events(lanes(0.5 if frame == 0 else 1.0), frame * 0.1, frame * 100)
    [event] = out
    assert (event.id, event.seconds, event.phase) == ("lane_departure-100", 0.4 - 0.1, "on")
    assert event.values["beyond"] == 1.0 - 0.9


def test_it_goes_on_while_lines_are_out_of_sight_and_is_forgotten_at_a_cut() -> None:
    events = LaneEvents()
    assert told([1.0] * 6 + [None] * 3, events)[-3:] == ["on right"] * 3
    events.reset()
    assert told([1.0, None], events) == ["", ""]


def test_an_offset_that_is_not_known_begins_nothing() -> None:
    events = LaneEvents()
    assert all(not events(lanes(1.2, known=False), frame / RATE, frame) for frame in range(30))


def test_a_wide_vehicle_departs_earlier() -> None:
    assert told([0.7] * 6, LaneEvents(width=2.4))[-1] == "on right"


def test_a_line_that_changes_sides_is_a_lane_change_and_ends_the_departure() -> None:
    events = LaneEvents()
    told([1.0] * 6, events)
    line = LaneLine(2, -1, (-0.3, 0.0, 0.0, 0.0), 2.0, 40.0, 0.05)
    right = LaneLine(3, 1, (3.3, 0.0, 0.0, 0.0), 2.0, 40.0, 0.05)
    changed = Lanes((line, right), Measure(-1.5, 0.05))
    said = [(e.kind, e.phase) for frame in range(6, 40) for e in events(changed, frame / RATE, frame * 10)]
    assert said[:2] == [("lane_departure", "end"), ("lane_change", "begin")]
    assert said[2:-1] == [("lane_change", "on")] * (len(said) - 3)
    assert said[-1] == ("lane_change", "end")  # and the wheel that is still on the line is no new departure
