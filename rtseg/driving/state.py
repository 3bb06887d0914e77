"""What is known of a drive at one frame, as values, and as the flat observations that records, HUD and reports read.

Ground coordinates are those of a vehicle on a flat road, in metres: x to the right, z forward, the origin under the
camera. Angles are in radians. A measure carries the standard deviation that it is known with; what is known too badly
to be used is None.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self, TypeAlias, get_args

from rtseg.types import Observation

SCHEMA = 1
"""Of the observations below; grows when a field changes its meaning or goes."""

LineKind: TypeAlias = Literal["solid", "dashed"]
LineColour: TypeAlias = Literal["white", "yellow"]
EventKind: TypeAlias = Literal[
    "lane_departure",
    "lane_change",
    "forward_collision",
    "close_following",
    "cut_in",
    "pedestrian_in_path",
]
Severity: TypeAlias = Literal["info", "warning", "critical"]
EVENTS: tuple[EventKind, ...] = get_args(EventKind)
OBSTACLE_MEASURES = ("distance", "lateral", "speed", "ttc", "headway")


class Measure(NamedTuple):
    """A number and its standard deviation, in the same unit."""

    value: float
    sigma: float


@dataclass(frozen=True, slots=True)
class LaneLine:
    """A line on the road: x(z) = c0 + c1 z + c2 z^2 / 2 + c3 z^3 / 6, a clothoid's third order, from `near` to `far`.

    id: stays with the line while it is followed. place: -1 the ego lane's left line, 1 its right one, -2 and 2 those
    beyond. sigma: of x at 10 m. seen: in this frame, not only followed. age: frames since it was first seen.
    """

    id: int
    place: int
    coefficients: tuple[float, float, float, float]
    near: float
    far: float
    sigma: float
    kind: LineKind | None = None
    colour: LineColour | None = None
    seen: bool = True
    age: int = 1

    def at(self, z: float) -> float:
        """The line's x at a distance."""
        c0, c1, c2, c3 = self.coefficients
        return c0 + z * (c1 + z * (c2 / 2 + z * c3 / 6))


@dataclass(frozen=True, slots=True)
class Lanes:
    """The lines in sight, and the vehicle in its lane.

    offset: of the vehicle's middle from the lane's, to the right. heading: of the vehicle against the lane, to the
    right. curvature: of the lane, 1/m, to the right.
    """

    lines: tuple[LaneLine, ...] = ()
    offset: Measure | None = None
    heading: Measure | None = None
    curvature: Measure | None = None
    width: Measure | None = None

    def line(self, place: int) -> LaneLine | None:
        """The line of a place, such as -1."""
        return next((line for line in self.lines if line.place == place), None)


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Something on the road, followed under an id. box: x0, y0, x1, y1 in pixels of the frame.

    distance: forward to its nearest point; lateral: x of its middle; speed: of the distance, m/s, negative while it
    comes nearer; ttc: seconds until it is reached at that speed. in_path: within the ego lane ahead. lead: the
    nearest vehicle in path. age: frames. headway: of the lead, seconds until the own vehicle is where it is now. seen:
    in this frame, not only followed.
    """

    id: int
    label: str
    box: tuple[float, float, float, float]
    score: float
    distance: Measure | None = None
    lateral: Measure | None = None
    speed: Measure | None = None
    ttc: Measure | None = None
    in_path: bool = False
    lead: bool = False
    age: int = 1
    headway: Measure | None = None
    seen: bool = True


@dataclass(frozen=True, slots=True)
class Event:
    """Something worth telling, never from a single frame. phase: it begins, goes on, or ended with this frame.

    id: kind and the pts that it began with. seconds: since it began. values: what it was judged by, such as "ttc".
    """

    kind: EventKind
    severity: Severity
    start: int
    phase: Literal["begin", "on", "end"]
    seconds: float
    values: Mapping[str, float | int | str | None]

    @property
    def id(self) -> str:
        """The same for all frames of an event."""
        return f"{self.kind}-{self.start}"


@dataclass(frozen=True, slots=True)
class View:
    """How the camera looks at the road: a pinhole `height` metres over a flat ground.

    focal: in pixels; centre: of the picture; pitch: down, yaw: to the right, roll: clockwise. source: where it is from.
    sigmas are None where a value was given. confidence: 0..1, how far distances may be believed.
    """

    focal: float
    centre: tuple[float, float]
    pitch: float
    yaw: float
    roll: float
    height: float
    pitch_sigma: float | None = None
    yaw_sigma: float | None = None
    source: Literal["file", "lens", "estimated"] = "estimated"
    confidence: float = 1.0


@dataclass(frozen=True, slots=True)
class Fix:
    """Where the vehicle is and how fast it goes over the ground, from a log beside the video.

    latitude, longitude: degrees, WGS 84; sigma: of the position, in metres. altitude: metres. speed: m/s. course: from
    north, clockwise. utc: seconds since 1970 where the log says them.
    """

    latitude: float
    longitude: float
    sigma: float
    altitude: float | None = None
    speed: Measure | None = None
    course: float | None = None
    utc: float | None = None


def observe_view(view: View, pts: int) -> Observation:
    """As an observation of kind "view"."""
    return _observed("view", pts, _fields(view, skip=("centre",)), cx=view.centre[0], cy=view.centre[1])


def observe_lanes(lanes: Lanes, pts: int) -> list[Observation]:
    """As one observation "lane", the vehicle in its lane, and one "line" for each line."""
    measures = {name: getattr(lanes, name) for name in ("offset", "heading", "curvature", "width")}
    lines = [
        _observed(
            "line",
            pts,
            _fields(line, skip=("coefficients",)),
            **{f"c{place}": value for place, value in enumerate(line.coefficients)},
        )
        for line in lanes.lines
    ]
    return [_observed("lane", pts, _spread(measures)), *lines]


def observe_obstacle(obstacle: Obstacle, pts: int) -> Observation:
    """As an observation of kind "obstacle"."""
    measures = {name: getattr(obstacle, name) for name in OBSTACLE_MEASURES}
    box = dict(zip(("x0", "y0", "x1", "y1"), obstacle.box, strict=True))
    return _observed("obstacle", pts, _fields(obstacle, skip=("box", *measures)), **box, **_spread(measures))


def observe_event(event: Event, pts: int) -> Observation:
    """As an observation of kind "event"; its own values after "value_"."""
    own = {f"value_{name}": value for name, value in event.values.items()}
    return _observed("event", pts, _fields(event, skip=("values",)), id=event.id, **own)


def observe_fix(fix: Fix, pts: int) -> Observation:
    """As an observation of kind "fix"."""
    return _observed("fix", pts, _fields(fix, skip=("speed",)), **_spread({"speed": fix.speed}))


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything about one frame."""

    view: View | None = None
    lanes: Lanes = Lanes()
    obstacles: tuple[Obstacle, ...] = ()
    events: tuple[Event, ...] = ()
    fix: Fix | None = None

    @classmethod
    def read(cls, observations: Any) -> Self:
        """The scene that observations of one frame tell of; other kinds are passed over."""
        view: View | None = None
        fix: Fix | None = None
        lanes: dict[str, Any] = {}
        lines: list[LaneLine] = []
        obstacles: list[Obstacle] = []
        events: list[Event] = []
        for each in observations:
            values = dict(each.values)
            match each.kind:
                case "view":
                    view = View(centre=(values.pop("cx"), values.pop("cy")), **values)
                case "fix":
                    speed = _gathered(values, ("speed",))["speed"]
                    fix = Fix(speed=speed, **values)
                case "lane":
                    lanes = _gathered(values, ("offset", "heading", "curvature", "width"))
                case "line":
                    c = tuple(values.pop(f"c{place}") for place in range(4))
                    lines.append(LaneLine(coefficients=c, **values))
                case "obstacle":
                    box = tuple(values.pop(side) for side in ("x0", "y0", "x1", "y1"))
                    measures = _gathered(values, OBSTACLE_MEASURES)
                    obstacles.append(Obstacle(box=box, **{**values, **measures}))
                case "event":
                    values.pop("id")
                    own = {
                        name.removeprefix("value_"): values.pop(name) for name in list(values) if name[:6] == "value_"
                    }
                    events.append(Event(values=own, **values))
        return cls(view, Lanes(tuple(lines), **lanes), tuple(obstacles), tuple(events), fix)


def _observed(kind: str, pts: int, values: Mapping[str, Any], **more: Any) -> Observation:
    return Observation(kind, pts, {**values, **more})


def _fields(value: Any, *, skip: tuple[str, ...] = ()) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__ if name not in skip}


def _spread(measures: Mapping[str, Measure | None]) -> dict[str, float | None]:
    """A measure as two numbers, "offset" and "offset_sigma"."""
    flat: dict[str, float | None] = {}
    for name, measure in measures.items():
        flat[name] = None if measure is None else measure.value
        flat[f"{name}_sigma"] = None if measure is None else measure.sigma
    return flat


def _gathered(values: dict[str, Any], names: tuple[str, ...]) -> dict[str, Measure | None]:
    """The other way round; takes the numbers out of `values`."""
    pairs = {name: (values.pop(name, None), values.pop(f"{name}_sigma", None)) for name in names}
    return {name: None if value is None else Measure(value, sigma or 0.0) for name, (value, sigma) in pairs.items()}
