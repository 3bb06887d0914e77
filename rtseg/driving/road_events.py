"""What obstacles mean: events that begin after a while, end after a while, and never come from a single frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from rtseg.driving.detections import GROUPS
from rtseg.driving.state import Event, EventKind, Measure, Obstacle, Severity

_ORDER: tuple[Severity, ...] = ("info", "warning", "critical")
FRAMES = 3
"""That something must be so before it is an event, however slow the video."""

COLLISION = {"critical": 1.4, "warning": 2.7}
"""Seconds to a collision; 2.0 to 2.7 are what forward collision warnings are tested with (NHTSA's NCAP)."""
FOLLOWING = {"critical": 0.5, "warning": 0.9}
"""Seconds to the lead; two are taught."""
CUT_IN_NEAR, CUT_IN_HEADWAY = 25.0, 1.5
"""Metres, and seconds where the own speed is known, within which somebody who comes into the path cuts in."""
PEDESTRIAN_NEAR = 40.0
_OUTSIDE = 0.5
"""Seconds that somebody must have been beside the path, to come into it."""


class Sign(NamedTuple):
    """What speaks for an event in one frame. severity: None where it only goes on, if it is one."""

    severity: Severity | None
    values: Mapping[str, float | int | str | None]


@dataclass
class _Watch:
    """One kind of event. begin, end: seconds that there must be, or not be, a sign."""

    kind: EventKind
    begin: float
    end: float
    _since: float | None = None
    _frames: int = 0
    _last: float = 0.0
    _event: Event | None = None
    _began: float = 0.0

    def __call__(self, now: float, pts: int, sign: Sign | None) -> Event | None:
        if self._event is None:
            return self._wait(now, pts, sign)
        if sign is not None:
            self._last = now
        over = now - self._last >= self.end and sign is None
        severity = self._event.severity
        if sign is not None and sign.severity is not None:
            severity = max(severity, sign.severity, key=_ORDER.index)
        values = self._event.values if sign is None else sign.values
        event = Event(self.kind, severity, self._event.start, "end" if over else "on", now - self._began, values)
        self._event = None if over else event
        return event

    def _wait(self, now: float, pts: int, sign: Sign | None) -> Event | None:
        if sign is None or sign.severity is None:
            self._since, self._frames = None, 0
            return None
        self._since = now if self._since is None else self._since
        self._frames += 1
        if now - self._since < self.begin or self._frames < FRAMES:
            return None
        self._began, self._last, self._since, self._frames = now, now, None, 0
        self._event = Event(self.kind, sign.severity, pts, "begin", 0.0, sign.values)
        return self._event


@dataclass
class RoadEvents:
    """The events of one stream's obstacles; called once a frame, in order of time.

    An event's severity only rises. A hysteresis of a third keeps it from ending and beginning again.
    """

    _watches: dict[EventKind, _Watch] = field(
        default_factory=lambda: {
            "forward_collision": _Watch("forward_collision", 0.15, 0.5),
            "close_following": _Watch("close_following", 1.0, 0.7),
            "cut_in": _Watch("cut_in", 0.2, 1.0),
            "pedestrian_in_path": _Watch("pedestrian_in_path", 0.2, 0.7),
        }
    )
    _outside: dict[int, float] = field(default_factory=dict)
    _entered: dict[int, float] = field(default_factory=dict)

    def __call__(self, now: float, pts: int, obstacles: Sequence[Obstacle], speed: Measure | None) -> list[Event]:
        """What begins, goes on or ends at `now`, seconds; speed: of the own vehicle, where known."""
        self._remember(now, obstacles)
        signs: Mapping[EventKind, Sign | None] = {
            "forward_collision": _first(obstacles, lambda each: self._collision(each)),
            "close_following": _first(obstacles, lambda each: self._following(each, speed)),
            "cut_in": _first(obstacles, lambda each: self._cut_in(each, now)),
            "pedestrian_in_path": _first(obstacles, lambda each: self._pedestrian(each, speed)),
        }
        found = (self._watches[kind](now, pts, sign) for kind, sign in signs.items())
        return [event for event in found if event is not None]

    def _remember(self, now: float, obstacles: Sequence[Obstacle]) -> None:
        """Since when each is beside the path, and when it came into it."""
        present = {each.id for each in obstacles}
        self._outside = {number: since for number, since in self._outside.items() if number in present}
        self._entered = {number: since for number, since in self._entered.items() if number in present}
        for each in obstacles:
            if not each.in_path:
                self._outside.setdefault(each.id, now)
                self._entered.pop(each.id, None)
            elif (since := self._outside.pop(each.id, None)) is not None and now - since >= _OUTSIDE:
                self._entered[each.id] = now

    def _collision(self, each: Obstacle) -> Sign | None:
        if not each.in_path or each.ttc is None or GROUPS.get(each.label) == "vulnerable":
            return None
        return _graded(each.ttc, COLLISION, _values(each))

    def _following(self, each: Obstacle, speed: Measure | None) -> Sign | None:
        if not each.lead or each.headway is None or speed is None or speed.value < 5.0:
            return None
        return _graded(each.headway, FOLLOWING, _values(each))

    def _cut_in(self, each: Obstacle, now: float) -> Sign | None:
        since = self._entered.get(each.id)
        if since is None or now - since > 2.0 or not each.in_path or GROUPS.get(each.label) == "vulnerable":
            return None
        near = each.headway.value < CUT_IN_HEADWAY if each.headway is not None else _nearer(each, CUT_IN_NEAR)
        if not near and (each.ttc is None or each.ttc.value > 4.0):
            return None
        soon = 99.0 if each.ttc is None else each.ttc.value
        tight = soon < 4.0 or (each.headway is not None and each.headway.value < FOLLOWING["warning"])
        return Sign("critical" if soon < 2.0 else "warning" if tight else "info", _values(each))

    def _pedestrian(self, each: Obstacle, speed: Measure | None) -> Sign | None:
        if not each.in_path or GROUPS.get(each.label) != "vulnerable":
            return None
        soon = 99.0 if each.ttc is None else each.ttc.value
        if soon >= 4.0 and not _nearer(each, PEDESTRIAN_NEAR):
            return None
        standing = speed is not None and speed.value < 1.0
        return Sign("critical" if soon < 2.0 else "info" if standing else "warning", _values(each))


def _first(obstacles: Sequence[Obstacle], judge: Callable[[Obstacle], Sign | None]) -> Sign | None:
    """The worst sign of all, the nearest of equals."""
    signs = [sign for each in obstacles if (sign := judge(each)) is not None]
    return max(signs, key=lambda sign: -1 if sign.severity is None else _ORDER.index(sign.severity), default=None)


def _graded(
    measure: Measure, limits: Mapping[str, float], values: Mapping[str, float | int | str | None]
) -> Sign | None:
    """By the limits that it is under; within a third over the outer one an event only goes on."""
    for severity in ("critical", "warning"):
        if measure.value < limits[severity]:
            return Sign("critical" if severity == "critical" else "warning", values)
    return Sign(None, values) if measure.value < limits["warning"] * 4 / 3 else None


def _nearer(each: Obstacle, metres: float) -> bool:
    return each.distance is not None and each.distance.value < metres


def _values(each: Obstacle) -> dict[str, float | int | str | None]:
    measures = {"ttc": each.ttc, "distance": each.distance, "headway": each.headway, "speed": each.speed}
    told = {name: None if measure is None else measure.value for name, measure in measures.items()}
    return {"obstacle": each.id, "label": each.label, **told}
