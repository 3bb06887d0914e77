"""Subtitles in which dashcams and drones write their position; there is no standard, so the common ways are known."""

from __future__ import annotations

import math
import re

from rtseg.driving.point import Point

_TIMES = re.compile(
    r"(\d+):(\d\d):(\d\d)[,.](\d{1,3})\s*-->\s*\d+:\d\d:\d\d[,.]\d{1,3}[^\n]*\n(.*?)(?:\n\s*\n|\Z)", re.S
)
_NUMBER = r"([-+]?\d{1,3}(?:\.\d+)?)"
_NAMED = re.compile(rf"lat(?:itude)?\s*[:=]\s*{_NUMBER}.*?lon(?:g(?:i?tude)?)?\s*[:=]\s*{_NUMBER}", re.I | re.S)
_SIDES = re.compile(rf"\b([NS])\s*[:=]?\s*{_NUMBER}\D{{1,6}}?([EW])\s*[:=]?\s*{_NUMBER}")
_GPS = re.compile(rf"GPS\s*[:=]?\s*\(\s*{_NUMBER}\s*,\s*{_NUMBER}\s*(?:,\s*([-+]?\d+(?:\.\d+)?)\s*m?\s*)?\)", re.I)
_ALTITUDE = re.compile(r"(?:abs_)?alt(?:itude)?\s*[:=]\s*([-+]?\d+(?:\.\d+)?)", re.I)
_SPEED = re.compile(r"(\d+(?:\.\d+)?)\s*(km/h|kmh|kph|mph|m/s|kn(?:ots?)?)\b", re.I)
_LONGEST = 2000
"""Characters of a subtitle that are looked through."""
_UNITS = {"km/h": 1 / 3.6, "kmh": 1 / 3.6, "kph": 1 / 3.6, "mph": 0.44704, "m/s": 1.0}


def points_of_srt(text: str) -> list[Point]:
    """A point for each subtitle that has a position, at the time at which it is shown.

    Known are `latitude: 1.5 longitude: 2.5`, `N:1.5 E:2.5` and DJI's `GPS(longitude, latitude, altitude)`, each with
    `60 km/h`, `mph`, `m/s` or `kn` beside it. Subtitles without a position, and with the one that receivers write while
    they have none, 0 0, are left out. Raises ValueError for a position that is none.
    """
    points: list[Point] = []
    for found in _TIMES.finditer(text.replace("\r\n", "\n")):
        hours, minutes, seconds, thousandths, said = found.groups()
        said = said[:_LONGEST]
        place = _place(said)
        if place is None or place == (0.0, 0.0):
            continue
        altitude = _ALTITUDE.search(said) or ((gps := _GPS.search(said)) and gps[3] and gps)
        time = int(hours) * 3600 + int(minutes) * 60 + int(seconds) + int(thousandths.ljust(3, "0")) / 1000
        points.append(
            Point(
                time,
                *place,
                altitude=float(altitude[altitude.lastindex or 0]) if altitude else None,
                speed=_speed(said),
                own=True,
            )
        )
    return points


def _place(said: str) -> tuple[float, float] | None:
    if (named := _NAMED.search(said)) is not None:
        return float(named[1]), float(named[2])
    if (sides := _SIDES.search(said)) is not None:
        latitude, longitude = float(sides[2]), float(sides[4])
        return math.copysign(latitude, 1 if sides[1] == "N" else -1), math.copysign(
            longitude, 1 if sides[3] == "E" else -1
        )
    if (gps := _GPS.search(said)) is not None:
        return float(gps[2]), float(gps[1])
    return None


def _speed(said: str) -> float | None:
    if (found := _SPEED.search(said)) is None:
        return None
    return float(found[1]) * _UNITS.get(found[2].lower(), 1852 / 3600)
