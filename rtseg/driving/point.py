"""A point of a log of positions, and the checks that all kinds of log share."""

from __future__ import annotations

import math
from dataclasses import dataclass

RECEIVER = 5.0
"""Metres that a receiver's position is known with where the log does not say; also for each unit of its HDOP."""


@dataclass(frozen=True, slots=True)
class Point:
    """time: seconds, of the log's own clock. own: that clock is the video's. The rest as in `Fix`."""

    time: float
    latitude: float
    longitude: float
    sigma: float = RECEIVER
    altitude: float | None = None
    speed: float | None = None
    speed_sigma: float | None = None
    course: float | None = None
    utc: float | None = None
    own: bool = False

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) for value in (self.time, self.sigma, self.altitude or 0.0, self.speed or 0.0)):
            raise ValueError(f"a point of {self.time:g} s has a value that is no number: mend the file")
        if not (-90 <= self.latitude <= 90 and -180 <= self.longitude <= 180):
            raise ValueError(
                f"{self.latitude:g}, {self.longitude:g} is no place: latitudes are -90 to 90, longitudes -180 to 180"
            )
