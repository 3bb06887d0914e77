"""GPX, the track points of a receiver in XML; what XML can do beyond elements is refused."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from xml.parsers import expat

from rtseg.driving.point import RECEIVER, Point

_DEEPEST = 64


def points_of_gpx(data: bytes) -> list[Point]:
    """Every `trkpt` that has a time, in the file's order; `hdop`, `speed` and `course` where they are there.

    Raises ValueError for XML that is damaged, has a document type (so no entity is ever expanded), or is no GPX.
    """
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = reader.begin, reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, UnicodeError) as error:
        raise ValueError(f"this is no whole XML file ({error}): export the track once more") from error
    if reader.timeless and not reader.points:
        raise ValueError(f"its {reader.timeless} track points have no time: export the track with times")
    return reader.points


def _refuse(*_: object) -> None:
    raise ValueError("a GPX file has no document type and no entities: this one is not read")


class _Reader:
    """Follows the elements; names without their namespace."""

    def __init__(self) -> None:
        self.points: list[Point] = []
        self.timeless = 0
        self._path: list[str] = []
        self._text: list[str] = []
        self._values: dict[str, str] = {}

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        local = name.rpartition(":")[2]
        if not self._path and local != "gpx":
            raise ValueError(f"this is XML of <{local}>, not <gpx>: give a GPX file")
        self._path.append(local)
        if len(self._path) > _DEEPEST:
            raise ValueError(f"elements lie more than {_DEEPEST} deep: this is no GPX that a receiver wrote")
        self._text = []
        if local == "trkpt":
            self._values = {key: attributes.get(key, "") for key in ("lat", "lon")}

    def text(self, text: str) -> None:
        self._text.append(text)

    def end(self, _: str) -> None:
        local = self._path.pop()
        if local == "trkpt":
            if "time" in self._values:
                self.points.append(_point(self._values))
            else:
                self.timeless += 1
        elif "trkpt" in self._path:
            self._values.setdefault(local, "".join(self._text).strip())


def _point(values: dict[str, str]) -> Point:
    utc = _utc(values["time"])
    hdop = _number(values, "hdop")
    course = _number(values, "course")
    latitude, longitude = _number(values, "lat"), _number(values, "lon")
    if latitude is None or longitude is None:
        raise ValueError(f"the track point of {values['time']} has no lat and lon: export the track once more")
    return Point(
        utc,
        latitude,
        longitude,
        RECEIVER if hdop is None else max(1.0, hdop) * RECEIVER,
        altitude=_number(values, "ele"),
        speed=_number(values, "speed"),
        course=None if course is None else math.radians(course),
        utc=utc,
    )


def _number(values: dict[str, str], key: str) -> float | None:
    text = values.get(key)
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{key} {text!r} is no number: mend the file, or export the track once more")
    return value


def _utc(text: str) -> float:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"time {text!r} is none: GPX has times such as 2026-05-01T12:00:00Z") from None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
