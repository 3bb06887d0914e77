"""When a vehicle leaves its lane, and when it has changed to another: thresholds with hysteresis, never one frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rtseg.driving.state import Event, EventKind, Lanes, Severity

VEHICLE_WIDTH = 1.8
_BACK = 0.15
"""Metres that both wheels must be inside again until a departure is over."""
_CERTAIN, _OVER = 0.16, 0.4
"""Seconds that it must hold until it begins and ends."""
_TOLD = 1.0
"""Seconds that a lane change is told."""
_FRAMES = 3
_ENTERING = 4.0
"""Seconds that a vehicle may straddle a line after a change."""


@dataclass(slots=True)
class _Since:
    """How long something holds: since when (seconds, pts), in how many frames."""

    time: float | None = None
    pts: int = 0
    frames: int = 0

    def hold(self, true: bool, time: float, pts: int) -> float:
        """Seconds that it holds; 0 where it does not, or in too few frames."""
        if not true:
            self.time, self.frames = None, 0
            return 0.0
        if self.time is None:
            self.time, self.pts = time, pts
        self.frames += 1
        return round(time - self.time, 6) if self.frames >= _FRAMES else 0.0


@dataclass(slots=True)
class LaneEvents:
    """Events of lanes, frame by frame. width: of the vehicle, in metres; the camera is in its middle.

    "lane_departure" begins when a wheel has been beyond a line for 0.16 s and three frames and ends when the wheels
    have been 0.15 m inside for 0.4 s, or with a lane change: values "side" and "beyond", metres. "lane_change": the
    middle of the vehicle is 0.2 m beyond a line; value "side". Its wheels may then take four seconds to be inside. No
    lines, no events; an event goes on while they are out of sight.
    """

    width: float = VEHICLE_WIDTH
    _out: _Since = field(default_factory=_Since)
    _in: _Since = field(default_factory=_Since)
    _departure: tuple[str, int, float] | None = None  # side, pts and time of its begin
    _change: tuple[str, int, float] | None = None
    _sides: dict[int, int] = field(default_factory=dict)
    _entering: float | None = None  # since when the vehicle has not yet come into a new lane

    def reset(self) -> None:
        """A cut: nothing that was begun goes on."""
        self._out, self._in = _Since(), _Since()
        self._departure = self._change = None
        self._sides = {}
        self._entering = None

    def __call__(self, lanes: Lanes, time: float, pts: int) -> Sequence[Event]:
        """The events of a frame at `time` seconds."""
        return [*self._departing(lanes, time, pts), *self._changing(lanes, time, pts)]

    def _departing(self, lanes: Lanes, time: float, pts: int) -> list[Event]:
        left, right = lanes.line(-1), lanes.line(1)
        beyond = {
            side: self.width / 2 - sign * line.at(0.0)
            for side, sign, line in (("left", -1, left), ("right", 1, right))
            if line is not None
        }
        side = max(beyond, key=lambda name: beyond[name]) if beyond else ""
        known = lanes.offset is not None and bool(beyond)
        most = beyond[side] if side else 0.0
        changed = known and any(
            self._sides.get(line.id, line.place) * line.place < 0 for line in (left, right) if line is not None
        )
        if changed:
            self._entering = time
        elif self._entering is not None and ((known and most < 0) or time - self._entering > _ENTERING):
            self._entering = None
        if self._departure is None:
            if (
                self._out.hold(known and most > 0 and self._entering is None, time, pts) < _CERTAIN
                or self._out.time is None
            ):
                return []
            self._departure = side, self._out.pts, self._out.time
            return [self._departed("begin", time, most)]
        if self._in.hold(known and most < -_BACK, time, pts) >= _OVER or changed:
            ended = self._departed("end", time, most)
            self._departure, self._out, self._in = None, _Since(), _Since()
            return [ended]
        return [self._departed("on", time, most)]

    def _departed(self, phase: str, time: float, beyond: float) -> Event:
        assert self._departure is not None
        side, start, since = self._departure
        return _event("lane_departure", "warning", start, phase, time - since, {"side": side, "beyond": beyond})

    def _changing(self, lanes: Lanes, time: float, pts: int) -> list[Event]:
        events = []
        if self._change is not None:
            side, start, since = self._change
            over = time - since >= _TOLD
            phase = "end" if over else "on"
            events.append(_event("lane_change", "info", start, phase, time - since, {"side": side}))
            self._change = None if over else self._change
        for line in lanes.lines:
            before = self._sides.get(line.id, line.place)
            if before * line.place < 0 and abs(before) == 1 and self._change is None:
                side = "right" if before > 0 else "left"
                self._change = side, pts, time
                events.append(_event("lane_change", "info", pts, "begin", 0.0, {"side": side}))
        self._sides = {line.id: line.place for line in lanes.lines}
        return events


def _event(
    kind: EventKind,
    severity: Severity,
    start: int,
    phase: str,
    seconds: float,
    values: dict[str, float | int | str | None],
) -> Event:
    match phase:
        case "begin":
            return Event(kind, severity, start, "begin", seconds, values)
        case "on":
            return Event(kind, severity, start, "on", seconds, values)
        case _:
            return Event(kind, severity, start, "end", seconds, values)
