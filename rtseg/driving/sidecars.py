"""Logs of position beside a video, GPX, NMEA or a dashcam's SRT, brought to the video's time.

What a file is, its beginning says and not its name. Times of GPX and NMEA are the clock's: the first point is taken for
the video's zero unless an offset says otherwise. Times of SRT are the video's own.
"""

from __future__ import annotations

import math
import os
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rtseg.driving.gpx import points_of_gpx
from rtseg.driving.nmea import points_of_nmea
from rtseg.driving.point import Point
from rtseg.driving.srt import points_of_srt
from rtseg.driving.state import Fix, Measure, observe_fix
from rtseg.errors import SourceNotFound, SourceUnreadable
from rtseg.types import Frame, Observation, Segmentation

SUFFIXES = (".gpx", ".nmea", ".srt")
GAP = 5.0
"""Seconds between two points over which nothing is said."""
EARTH = 6_371_008.8
"""Mean radius in metres (IUGG)."""
_ACCELERATION = 3.0
"""m/s^2 that a vehicle hardly exceeds: what may have happened between two points."""
_SPEED_SIGMA = 0.5
"""m/s of receivers that measure speed by Doppler shift."""
_LARGEST = 64 * 1024 * 1024


class Gps:
    """Says for each frame where the vehicle is: an analyzer that reads a log and not the picture.

    path: of the log. offset: seconds of the video's time at which the log begins, or, for SRT, that are added.
    Raises SourceNotFound and SourceUnreadable.
    """

    def __init__(self, path: str | os.PathLike[str], *, offset: float = 0.0) -> None:
        self.log = read_log(path, offset=offset)

    def __call__(self, frame: Frame, _: Segmentation, /) -> Sequence[Observation]:
        """One observation "fix", or none where the log says nothing."""
        fix = self.log.at(frame.time)
        return () if fix is None else (observe_fix(fix, frame.pts),)

    def reset(self) -> None:
        """Nothing is remembered."""


@dataclass(frozen=True, slots=True)
class Log:
    """Points in order of the video's time, no two at one time."""

    points: tuple[Point, ...]

    def at(self, seconds: float) -> Fix | None:
        """Interpolated between the two points around; None before, after, and in a gap of more than 5 s.

        The uncertainty is the points' own, and what an acceleration of 3 m/s^2 can have done between them: at most
        a t (T - t) / 2 of the way, a min(t, T - t) of the speed.
        """
        place = bisect_right(self.points, seconds, key=lambda point: point.time)
        if place == 0:
            return None
        before = self.points[place - 1]
        if before.time == seconds:
            return _fix(before, before, 0.0)
        if place == len(self.points) or (after := self.points[place]).time - before.time > GAP:
            return None
        return _fix(before, after, seconds - before.time)


def read_log(path: str | os.PathLike[str], *, offset: float = 0.0) -> Log:
    """A log of any of the three kinds; speeds that it lacks are made from the positions.

    Raises SourceNotFound, and SourceUnreadable for what is none, is damaged, or has no position.
    """
    file = Path(path)
    try:
        if file.stat().st_size > _LARGEST:
            raise SourceUnreadable(f"{file} is over {_LARGEST >> 20} MB: no log of positions is so long; cut it")
        data = file.read_bytes()
    except FileNotFoundError as error:
        raise SourceNotFound(f"{file} does not exist: give the path of a GPX, NMEA or SRT file") from error
    except OSError as error:
        if isinstance(error, SourceUnreadable):
            raise
        raise SourceUnreadable(f"{file} cannot be read: {error.strerror or error}") from error
    try:
        points = _points(data)
    except ValueError as error:
        raise SourceUnreadable(f"{file}: {error}") from error
    points = _in_order(points)
    if not points:
        raise SourceUnreadable(f"{file} has no position: give a log that a receiver wrote while it had one")
    zero = 0.0 if points[0].utc is None or points[0].own else points[0].time
    return Log(tuple(_with_speeds([replace(point, time=point.time - zero + offset) for point in points])))


def log_beside(video: Path) -> Path | None:
    """The log of a video's stem in its folder; the first of .gpx, .nmea and .srt."""
    for suffix in SUFFIXES:
        for name in (suffix, suffix.upper()):
            if (file := video.with_suffix(name)).is_file():
                return file
    return None


def distance(a: Point, b: Point) -> float:
    """Metres between two points of the globe, by the haversine formula."""
    north, south = math.radians(a.latitude), math.radians(b.latitude)
    half = math.sin((south - north) / 2) ** 2
    half += math.cos(north) * math.cos(south) * math.sin(math.radians(b.longitude - a.longitude) / 2) ** 2
    return 2 * EARTH * math.asin(min(1.0, math.sqrt(half)))


def _points(data: bytes) -> list[Point]:
    head = data[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith(b"<"):
        return points_of_gpx(data)
    text = data.decode("utf-8-sig", errors="replace")
    if "-->" in text[:4096]:
        return points_of_srt(text)
    if head.startswith((b"$", b"!")) or b"\n$G" in data[:65536]:
        return points_of_nmea(text)
    raise ValueError("this is neither GPX nor NMEA nor SRT: give one of them")


def _in_order(points: Sequence[Point]) -> list[Point]:
    """Sorted, of several at one time the first; times that run back by a little are receivers', and no error."""
    ordered: list[Point] = []
    for point in sorted(points, key=lambda point: point.time):
        if not ordered or point.time > ordered[-1].time:
            ordered.append(point)
    return ordered


def _with_speeds(points: Sequence[Point]) -> list[Point]:
    """Speeds where there are none: the way to the neighbours by the time for it."""
    made: list[Point] = []
    for place, point in enumerate(points):
        if point.speed is not None:
            made.append(replace(point, speed_sigma=point.speed_sigma or _SPEED_SIGMA))
            continue
        a, b = points[max(0, place - 1)], points[min(len(points) - 1, place + 1)]
        if a is b or b.time - a.time > 2 * GAP:
            made.append(point)
            continue
        seconds = b.time - a.time
        # Neighbouring errors of a receiver are alike; half of them is what stays in a difference.
        sigma = math.hypot(math.hypot(a.sigma, b.sigma) / 2 / seconds, _ACCELERATION * seconds / 4)
        made.append(replace(point, speed=distance(a, b) / seconds, speed_sigma=sigma))
    return made


def _fix(a: Point, b: Point, after: float) -> Fix:
    whole = b.time - a.time
    share = after / whole if whole else 0.0
    turn = (b.longitude - a.longitude + 540.0) % 360.0 - 180.0  # the short way round, also over 180 degrees
    speed = None
    if a.speed is not None and b.speed is not None:
        spread = _mixed(a.speed_sigma or _SPEED_SIGMA, b.speed_sigma or _SPEED_SIGMA, share)
        doubt = _ACCELERATION * min(after, whole - after) / 2
        speed = Measure(_mixed(a.speed, b.speed, share), math.hypot(spread, doubt))
    course = None
    if a.course is not None and b.course is not None:
        angle = (b.course - a.course + 3 * math.pi) % (2 * math.pi) - math.pi
        course = (a.course + angle * share) % (2 * math.pi)
    return Fix(
        _mixed(a.latitude, b.latitude, share),
        (a.longitude + turn * share + 540.0) % 360.0 - 180.0 if turn else a.longitude,
        math.hypot(_mixed(a.sigma, b.sigma, share), _ACCELERATION * after * (whole - after) / 2),
        None if a.altitude is None or b.altitude is None else _mixed(a.altitude, b.altitude, share),
        speed,
        course,
        None if a.utc is None or b.utc is None else _mixed(a.utc, b.utc, share),
    )


def _mixed(a: float, b: float, share: float) -> float:
    return a + (b - a) * share
