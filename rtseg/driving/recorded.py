"""What the records of a drive tell, put together for a report: curves, events, the way, and how good it all is."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rtseg.driving.state import Event, Scene, Severity
from rtseg.errors import SourceNotFound, SourceUnreadable
from rtseg.types import Observation

F64: TypeAlias = NDArray[np.float64]
CURVES = ("offset", "offset_sigma", "distance", "ttc", "confidence", "speed")
SEVERITIES: tuple[Severity, ...] = ("critical", "warning", "info")
TABLE = "frames.jsonl"
_BROKEN = (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError)
_GAP = 0.5  # seconds between two frames that count as lost
_EARTH = 6_371_008.8  # metres, the mean radius (IUGG)


@dataclass(frozen=True, slots=True)
class Told:
    """An event from its beginning to its end, in seconds of the drive; values: when it was worst,
    which is the most severe, and of that the nearest to a collision."""

    id: str
    kind: str
    severity: Severity
    start: float
    end: float
    values: Mapping[str, float | int | str | None]


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small JPEG of the drive at some seconds; luma: the mean of its Y, 0..255."""

    seconds: float
    jpeg: bytes
    luma: float


@dataclass(frozen=True, eq=False, slots=True)
class Drive:
    """A drive as its records tell it.

    times: of N frames, seconds. curves: N numbers each of `CURVES`, NaN where nothing is known. track: seconds,
    latitude and longitude, Mx3. held: frames with an earlier or empty mask. missing: frames that the numbering skips.
    gaps: (from, to) in seconds, where nothing is for half a second. broken: lines that are no record. summary: of
    the run, as found.
    """

    name: str
    folder: Path
    times: F64
    curves: Mapping[str, F64]
    events: tuple[Told, ...]
    track: F64
    held: int = 0
    missing: int = 0
    gaps: tuple[tuple[float, float], ...] = ()
    broken: int = 0
    views: Mapping[str, int] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """From the first frame to the last."""
        return float(self.times[-1] - self.times[0])

    @property
    def metres(self) -> float | None:
        """The way driven, along the track; None without one."""
        if len(self.track) < 2:
            return None
        latitude, longitude = np.radians(self.track[:, 1]), np.radians(self.track[:, 2])
        east = np.diff(longitude) * np.cos((latitude[1:] + latitude[:-1]) / 2)
        return float(_EARTH * np.hypot(east, np.diff(latitude)).sum())

    def count(self, severity: Severity) -> int:
        """Events of that severity."""
        return sum(event.severity == severity for event in self.events)


def records_in(folder: Path) -> Path | None:
    """The file of records in a folder: frames.jsonl of `rtseg drive`, records.jsonl, or the only JSON lines file that
    has observations."""  # fmt: skip
    for usual in (TABLE, "records.jsonl"):
        if (folder / usual).is_file():
            return folder / usual
    found = [path for path in sorted(folder.glob("*.jsonl")) if path.is_file() and _has_records(path)]
    return found[0] if len(found) == 1 else None


def read_drive(records: Path, *, name: str | None = None) -> Drive:
    """The drive that a file of JSON lines tells of: as `rtseg.sinks.records` writes it, or frames.jsonl of the tables
    of `rtseg drive`, with tracks.jsonl and events.jsonl; summary.json beside it.

    Lines that are no record are counted and passed over. Raises SourceNotFound, and SourceUnreadable where no line is
    a record.
    """
    gathered = _Gathered()
    table = records.name == TABLE
    leads = _leads(records.with_name("tracks.jsonl")) if table else {}
    try:
        with records.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                try:
                    if table:
                        _add_row(gathered, json.loads(line), leads)
                    else:
                        _add_record(gathered, json.loads(line))
                except _BROKEN:
                    gathered.broken += bool(line.strip())
    except FileNotFoundError as error:
        raise SourceNotFound(f"{records} does not exist: give a folder with records.jsonl in it") from error
    except OSError as error:
        raise SourceUnreadable(f"{records} cannot be read: {error.strerror or error}") from error
    if not gathered.times:
        raise SourceUnreadable(
            f"{records} has no record of a frame in its {gathered.broken} lines: write one with --records"
        )
    if table:
        for row in _rows(records.with_name("events.jsonl")):
            _add_event_row(gathered, row)
    return gathered.drive(name or records.parent.name, records.parent)


class _Gathered:
    """What was read so far; frames stay in the order of the file."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.curves: dict[str, list[float]] = {name: [] for name in CURVES}
        self.events: dict[str, Told] = {}
        self.track: list[tuple[float, float, float]] = []
        self.views: dict[str, int] = {}
        self.held = self.missing = self.broken = 0
        self.gaps: list[tuple[float, float]] = []
        self._index: int | None = None

    def frame(
        self, time: float, index: int, *, held: bool, curves: Mapping[str, Any], view: object, place: tuple[Any, Any]
    ) -> None:
        """What one frame tells; ValueError for a time that is none."""
        if not math.isfinite(time):
            raise ValueError(time)
        if self.times and time - self.times[-1] > _GAP:
            self.gaps.append((self.times[-1], time))
        if self._index is not None and index > self._index + 1:
            self.missing += index - self._index - 1
        self._index = index
        self.times.append(time)
        self.held += held
        for name in CURVES:
            self.curves[name].append(_number(curves.get(name)))
        if view is not None:
            self.views[str(view)] = self.views.get(str(view), 0) + 1
        latitude, longitude = map(_number, place)
        if abs(latitude) <= 90 and abs(longitude) <= 180:
            self.track.append((time, latitude, longitude))

    def drive(self, name: str, folder: Path) -> Drive:
        times = np.array(self.times)
        order = np.argsort(times, kind="stable")  # a source that was opened again may begin anew
        return Drive(
            name,
            folder,
            times[order],
            {curve: np.array(values)[order] for curve, values in self.curves.items()},
            tuple(sorted(self.events.values(), key=lambda event: (event.start, event.id))),
            np.array(self.track, np.float64).reshape(-1, 3),
            self.held,
            self.missing,
            tuple(self.gaps),
            self.broken,
            self.views,
            read_summary(folder),
        )


def _add_record(gathered: _Gathered, record: Any) -> None:
    """A line of the sink "records"."""
    time = float(record["time"])
    seen = [Observation(str(o["kind"]), int(o["pts"]), dict(o["values"])) for o in record["observations"]]
    scene = Scene.read(seen)
    lead = next((each for each in scene.obstacles if each.lead), None)
    offset, view = scene.lanes.offset, scene.view
    fix = next((each.values for each in seen if each.kind == "fix"), {})
    speeds = [_number(each.values.get("speed")) for each in seen if each.kind in ("motion", "fix")]
    curves = {
        "offset": None if offset is None else offset.value,
        "offset_sigma": None if offset is None else offset.sigma,
        "distance": None if lead is None or lead.distance is None else lead.distance.value,
        "ttc": None if lead is None or lead.ttc is None else lead.ttc.value,
        "confidence": None if view is None else view.confidence,
        "speed": next((speed for speed in speeds if math.isfinite(speed)), None),
    }
    gathered.frame(
        time,
        int(record["index"]),
        held=record.get("held") is True,
        curves=curves,
        view=None if view is None else view.source,
        place=(fix.get("latitude"), fix.get("longitude")),
    )
    for event in scene.events:
        _add_event(gathered, event, time, _fraction(record.get("time_base")))


def _add_event(gathered: _Gathered, event: Event, time: float, base: float) -> None:
    key, severity = str(event.id), _severity(event.severity)
    known = gathered.events.get(key)
    if known is None:
        start = min(time, _number(event.start) * base) if base > 0 else time
        start = max(start, gathered.times[0]) if math.isfinite(start) else time
        gathered.events[key] = Told(key, str(event.kind), severity, start, time, dict(event.values))
        return
    worse = SEVERITIES.index(severity) < SEVERITIES.index(known.severity)
    same = severity == known.severity and _number(event.values.get("ttc")) < _number(known.values.get("ttc"))
    values = dict(event.values) if worse or same else known.values
    worst = severity if worse else known.severity
    gathered.events[key] = Told(key, known.kind, worst, known.start, time, values)


def _add_row(gathered: _Gathered, row: Any, leads: Mapping[Any, Mapping[str, Any]]) -> None:
    """A line of frames.jsonl."""
    lead = leads.get(row["pts"], {})
    curves = {**row, "speed": row.get("vehicle_speed"), "distance": lead.get("distance"), "ttc": lead.get("ttc")}
    gathered.frame(
        float(row["time"]),
        int(row["index"]),
        held=row.get("held") is True,
        curves=curves,
        view=row.get("view"),
        place=(row.get("latitude"), row.get("longitude")),
    )


def _leads(path: Path) -> dict[Any, dict[str, Any]]:
    """Of tracks.jsonl what is said of vehicles ahead, by pts."""
    return {
        row["pts"]: {name: row.get(name) for name in ("distance", "ttc")}
        for row in _rows(path)
        if row.get("lead") is True and isinstance(row.get("pts"), int)
    }


def _add_event_row(gathered: _Gathered, row: dict[str, Any]) -> None:
    """A line of events.jsonl; one without times is passed over."""
    start, end = _number(row.get("start")), _number(row.get("end"))
    if not (math.isfinite(start) and math.isfinite(end)):
        gathered.broken += 1
        return
    try:
        values = json.loads(str(row.get("values") or "{}"))
    except (ValueError, RecursionError):
        values = {}
    told = dict(values) if isinstance(values, dict) else {}
    key = str(row.get("id"))
    gathered.events[key] = Told(key, str(row.get("kind")), _severity(row.get("severity")), start, max(start, end), told)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file of JSON lines, none where there is no file."""
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                with contextlib.suppress(ValueError, RecursionError):
                    if isinstance(row := json.loads(line), dict):
                        yield row
    except OSError:
        return


def _severity(given: Any) -> Severity:
    """What is none counts as the least."""
    return next((each for each in SEVERITIES if each == given), "info")


def read_summary(folder: Path, name: str = "summary.json") -> dict[str, Any]:
    """An object of JSON in a folder; empty where there is none that can be read."""
    try:
        found = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def clips_of(drive: Drive) -> Iterator[tuple[Told, Path]]:
    """The events that have a clip of their own: a video in clips/ that is named by the event's id."""
    for event in drive.events:
        if Path(event.id).name == event.id:
            for suffix in (".mp4", ".webm", ".mov", ".mkv"):
                if (path := drive.folder / "clips" / f"{event.id}{suffix}").is_file():
                    yield event, path
                    break


def beginnings_of(drive: Drive) -> dict[str, float]:
    """Seconds of their clips at which events begin, by the events' ids, where the summary says them."""
    listed = drive.summary.get("event_list")
    found: dict[str, float] = {}
    for each in listed if isinstance(listed, list) else ():
        clip = each.get("clip") if isinstance(each, dict) else None
        at = _number(clip.get("event_at")) if isinstance(clip, dict) else math.nan
        if math.isfinite(at):
            found[str(each.get("id"))] = at
    return found


def _has_records(path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace") as lines:
        return '"observations"' in lines.readline()


def _fraction(text: Any) -> float:
    above, _, below = str(text).partition("/")
    try:
        return float(above) / float(below or 1)
    except (ValueError, ZeroDivisionError):
        return 0.0


def _number(value: Any) -> float:
    """A number of JSON; NaN for anything else."""
    if isinstance(value, float):
        return value
    whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63
    return float(value) if whole else math.nan
