"""NMEA 0183, the sentences of a receiver: RMC for time, place, speed and course, GGA for altitude and HDOP."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from datetime import UTC, datetime
from functools import reduce

from rtseg.driving.point import RECEIVER, Point

_SENTENCE = re.compile(r"\$(?P<body>[A-Z]{2}(?P<kind>RMC|GGA),[^*\r\n$]*)\*(?P<sum>[0-9A-Fa-f]{2})")
_KNOT = 1852 / 3600


def points_of_nmea(text: str) -> list[Point]:
    """A point for each valid RMC sentence, with what the GGA sentence of the same second adds.

    Sentences whose checksum is wrong are left out, as lines of serial ports are; what stands before a sentence in its
    line too. Raises ValueError where sentences are there and none is whole.
    """
    points: list[Point] = []
    more: dict[str, tuple[float | None, float]] = {}
    clock = ""  # of the newest RMC sentence
    damaged = whole = 0
    for found in _SENTENCE.finditer(text):
        if reduce(lambda sum_, char: sum_ ^ ord(char), found["body"], 0) & 0xFF != int(found["sum"], 16):
            damaged += 1
            continue
        whole += 1
        fields = found["body"].split(",")
        try:
            if found["kind"] == "GGA":
                more = {fields[1]: _gga(fields)}  # of this second alone: the next RMC's, or the last one's
                if points and fields[1] == clock:
                    points[-1] = _with(points[-1], more[clock])
            elif (point := _rmc(fields)) is not None:
                clock = fields[1]
                points.append(_with(point, more[fields[1]]) if fields[1] in more else point)
        except (ValueError, IndexError):
            damaged += 1
    if damaged and not points:
        raise ValueError(f"all {damaged + whole} sentences of place are damaged: check how the log was copied")
    return points


def _rmc(fields: list[str]) -> Point | None:
    if fields[2] != "A":
        return None
    day, month, year = (int(fields[9][i : i + 2]) for i in (0, 2, 4))
    hours, minutes, seconds = int(fields[1][:2]), int(fields[1][2:4]), float(fields[1][4:])
    start = datetime(2000 + year if year < 80 else 1900 + year, month, day, hours, minutes, tzinfo=UTC)
    utc = start.timestamp() + seconds
    return Point(
        utc,
        _degrees(fields[3], fields[4], "NS"),
        _degrees(fields[5], fields[6], "EW"),
        speed=float(fields[7]) * _KNOT if fields[7] else None,
        course=math.radians(float(fields[8])) if fields[8] else None,
        utc=utc,
    )


def _gga(fields: list[str]) -> tuple[float | None, float]:
    altitude = float(fields[9]) if fields[9] else None
    return altitude, max(1.0, float(fields[8])) * RECEIVER if fields[8] else RECEIVER


def _with(point: Point, more: tuple[float | None, float]) -> Point:
    return replace(point, altitude=more[0], sigma=more[1])


def _degrees(text: str, side: str, sides: str) -> float:
    """ddmm.mmmm as degrees; the second of `sides` is negative."""
    point = text.index(".") if "." in text else len(text)
    degrees = int(text[: point - 2]) + float(text[point - 2 :]) / 60
    if side not in sides or not side:
        raise ValueError(side)
    return -degrees if side == sides[1] else degrees
