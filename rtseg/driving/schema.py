"""The tables of a drive: their columns, and a frame's rows from what was observed in it.

Version 2 is documented, column by column, in docs/drive.md. A column may be added within a version; what changes its
meaning or goes makes another.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from rtseg.driving.state import OBSTACLE_MEASURES, SCHEMA, Event, Measure, Scene, Severity
from rtseg.types import Output

Type: TypeAlias = Literal["int", "float", "text", "bool"]
Row: TypeAlias = dict[str, float | int | str | bool | None]
TableName: TypeAlias = Literal["frames", "lanes", "tracks", "events"]

VERSION = 2
"""2 has the time to the vehicle ahead as it was analysed, `headway`, in place of a quotient, `following`, and an
event's values when it was worst, not at its end."""
_SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")
_FLOATS = ("c0", "c1", "c2", "c3", "near", "far", "sigma")
_MEASURES: dict[str, tuple[str, ...]] = {
    "lanes": ("offset", "heading", "curvature", "width"),
    "tracks": OBSTACLE_MEASURES,
}


def _spread(names: tuple[str, ...]) -> dict[str, Type]:
    return {column: "float" for name in names for column in (name, f"{name}_sigma")}


TABLES: Mapping[TableName, Mapping[str, Type]] = {
    "frames": {
        "stream": "text",
        "pts": "int",
        "index": "int",
        "time": "float",
        "held": "bool",
        "inferred": "bool",
        "latitude": "float",
        "longitude": "float",
        "position_sigma": "float",
        "altitude": "float",
        "vehicle_speed": "float",
        "vehicle_speed_sigma": "float",
        "course": "float",
        "utc": "float",
        **dict.fromkeys(("focal", "pitch", "yaw", "roll", "height", "confidence"), "float"),
        **dict.fromkeys(("cx", "cy", "pitch_sigma", "yaw_sigma"), "float"),
        "view": "text",
        **_spread(_MEASURES["lanes"]),
        "lines": "int",
        "obstacles": "int",
        "lead": "int",
    },
    "lanes": {
        "stream": "text",
        "pts": "int",
        "time": "float",
        "id": "int",
        "place": "int",
        **dict.fromkeys(_FLOATS, "float"),
        "kind": "text",
        "colour": "text",
        "seen": "bool",
        "age": "int",
    },
    "tracks": {
        "stream": "text",
        "pts": "int",
        "time": "float",
        "id": "int",
        "label": "text",
        **dict.fromkeys(("x0", "y0", "x1", "y1", "score"), "float"),
        **_spread(_MEASURES["tracks"]),
        "in_path": "bool",
        "lead": "bool",
        "seen": "bool",
        "age": "int",
    },
    "events": {
        "stream": "text",
        "id": "text",
        "kind": "text",
        "severity": "text",
        "start_pts": "int",
        "end_pts": "int",
        "start": "float",
        "end": "float",
        "seconds": "float",
        "frames": "int",
        "open": "bool",
        "values": "text",
    },
}
"""Every column in its order; all but stream, pts, id and the times may be null."""


def frame_rows(output: Output, scene: Scene, stream: str) -> dict[TableName, list[Row]]:
    """A frame's rows of all tables but events, in their columns' order; floats have nine digits, and no NaN."""
    frame = output.frame
    where: Row = {"stream": stream, "pts": frame.pts, "time": frame.time}
    fix, view, lanes = scene.fix, scene.view, scene.lanes
    row: Row = {
        **where,
        "index": frame.index,
        "held": output.held,
        "inferred": output.inferred,
        **_measured("vehicle_speed", None if fix is None else fix.speed),
        "position_sigma": None if fix is None else fix.sigma,
        "view": None if view is None else view.source,
        "lines": len(lanes.lines),
        "obstacles": len(scene.obstacles),
        "lead": next((each.id for each in scene.obstacles if each.lead), None),
    }
    for source, names in (
        (fix, ("latitude", "longitude", "altitude", "course", "utc")),
        (view, ("focal", "pitch", "yaw", "roll", "height", "confidence", "pitch_sigma", "yaw_sigma")),
    ):
        row |= {name: getattr(source, name, None) for name in names}
    row["cx"], row["cy"] = (None, None) if view is None else view.centre
    for name in _MEASURES["lanes"]:
        row |= _measured(name, getattr(lanes, name))
    lines = [
        {
            **where,
            **{name: getattr(line, name) for name in TABLES["lanes"] if hasattr(line, name)},
            **{f"c{place}": value for place, value in enumerate(line.coefficients)},
        }
        for line in lanes.lines
    ]
    tracks = []
    for each in scene.obstacles:
        track: Row = {**where, **{name: getattr(each, name) for name in TABLES["tracks"] if hasattr(each, name)}}
        track |= dict(zip(("x0", "y0", "x1", "y1"), each.box, strict=True))
        for name in _MEASURES["tracks"]:
            track |= _measured(name, getattr(each, name))
        tracks.append(track)
    return {
        "frames": [_plain("frames", row)],
        "lanes": [_plain("lanes", line) for line in lines],
        "tracks": [_plain("tracks", track) for track in tracks],
    }


class Events:
    """Puts an event's frames together to one row, given when it has ended."""

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._open: dict[str, Row] = {}
        self._worst: dict[str, tuple[int, float]] = {}

    def __call__(self, output: Output, scene: Scene) -> list[Row]:
        """The rows of events that ended with this frame: the worst severity, and the values when it was worst."""
        ended = []
        for event in scene.events:
            row = self._open.setdefault(event.id, self._begun(output, event))
            row["end_pts"], row["end"] = output.frame.pts, output.frame.time
            row["seconds"], row["frames"] = event.seconds, int(row["frames"] or 0) + 1
            row["severity"] = max(str(row["severity"]), event.severity, key=_SEVERITIES.index)
            badness = _badness(event)
            if event.id not in self._worst or badness > self._worst[event.id]:
                self._worst[event.id] = badness
                values = {name: _finite(value) for name, value in sorted(event.values.items())}
                row["values"] = json.dumps(values, separators=(",", ":"))
            if event.phase == "end":
                row["open"] = False
                del self._worst[event.id]
                ended.append(_plain("events", self._open.pop(event.id)))
        return ended

    def rest(self) -> list[Row]:
        """Those that were still going on at the drive's end: `open`."""
        rows = [_plain("events", row) for row in self._open.values()]
        self._open.clear()
        self._worst.clear()
        return rows

    def _begun(self, output: Output, event: Event) -> Row:
        frame = output.frame
        return {
            "stream": self._stream,
            "id": event.id,
            "kind": event.kind,
            "severity": event.severity,
            "start_pts": event.start,
            "start": float(event.start * frame.time_base),
            "frames": 0,
            "open": True,
        }


def _badness(event: Event) -> tuple[int, float]:
    """Greater is worse: by severity, and of that by how far beyond the line, or how near to what is ahead."""
    names: tuple[str, ...]
    match event.kind:
        case "lane_departure" | "lane_change":
            names, sign = ("beyond",), 1.0
        case "close_following":
            names, sign = ("headway", "distance"), -1.0
        case _:
            names, sign = ("ttc", "distance"), -1.0
    known = [float(value) for name in names if isinstance(value := _finite(event.values.get(name)), float)]
    return _SEVERITIES.index(event.severity), sign * known[0] if known else -math.inf


def message(output: Output, scene: Scene, stream: str) -> dict[str, Any]:
    """All of a frame in one object, for those who get frames one by one: its rows, and its events as they stand."""
    rows = frame_rows(output, scene, stream)
    events = [
        {
            "id": event.id,
            "kind": event.kind,
            "severity": event.severity,
            "phase": event.phase,
            "start_pts": event.start,
            "seconds": _finite(event.seconds),
            "values": {name: _finite(value) for name, value in sorted(event.values.items())},
        }
        for event in scene.events
    ]
    return {
        "schema": VERSION,
        "observations": SCHEMA,
        "id": [stream, output.frame.pts],
        "frame": rows["frames"][0],
        "lanes": rows["lanes"],
        "tracks": rows["tracks"],
        "events": events,
    }


def _measured(name: str, measure: Measure | None) -> Row:
    if measure is None:
        return {name: None, f"{name}_sigma": None}
    return {name: measure.value, f"{name}_sigma": measure.sigma}


def _plain(table: TableName, row: Mapping[str, Any]) -> Row:
    """In the columns' order and types."""
    return {column: _typed(row.get(column), type_) for column, type_ in TABLES[table].items()}


def _typed(value: Any, type_: Type) -> float | int | str | bool | None:
    if value is None:
        return None
    match type_:
        case "int":
            return int(value)
        case "float":
            number: float | None = _finite(float(value))
            return number
        case "bool":
            return bool(value)
        case "text":
            return str(value)


def _finite(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return None
    return (
        round(value, 3) if abs(value) >= 1e6 else float(f"{value:.9g}")
    )  # the clock's seconds have ten before the point
