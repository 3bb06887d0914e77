"""Drawn drives as a set to measure on, and what is said of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from rtseg.errors import ConfigError
from rtseg.evaluate.boxes import TrackScores

_USUAL, _MOST = 20, 2000


class DriveSet(BaseModel):
    """Drives that are drawn at random, `count` from number `first` on: the same number gives the same drive."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    count: Annotated[int, Field(ge=1, le=_MOST)] = _USUAL
    first: Annotated[int, Field(ge=0)] = 0
    name: str = ""

    @property
    def title(self) -> str:
        """The set's name in tables: as given, or how many there are."""
        return self.name or f"rendered:{self.count}"

    @property
    def kind(self) -> str:
        """What the labels show."""
        return "drawn-drives"

    @property
    def regions(self) -> Mapping[str, bool]:
        """What a model is asked for."""
        return {"lane": True}


@dataclass(frozen=True, slots=True)
class Spread:
    """Absolute errors: the middle one, the mean, and the one that 95 % do not exceed; of how many."""

    median: float
    mean: float
    high: float
    many: int


@dataclass(frozen=True, slots=True)
class DrivenLanes:
    """Lanes on drawn drives, after the first second of each, as `LaneErrors` counts them.

    offset: of the vehicle from the lane's middle at 10 m, metres. heading: degrees. both: the share of frames with both
    lines of the own lane; withheld: with no offset. jump: metres at 10 m that a line moves from frame to frame beyond
    the truth, in all but a thousandth. precision, recall: of `departures`, those that truly happened.
    """

    frames: int
    offset: Spread | None
    heading: Spread | None
    both: float
    withheld: float
    jump: float
    precision: float
    recall: float
    departures: int


@dataclass(frozen=True, slots=True)
class DrivenObstacles:
    """Obstacles on drawn drives, from half a second after each was found.

    distance: relative errors to 40 m; ttc: of times to collision under 4 s. told: the share of those that were told at
    all. tracks: None where there was nothing.
    """

    frames: int
    distance: Spread | None
    distance_told: float | None
    ttc: Spread | None
    ttc_told: float | None
    tracks: TrackScores


def drive_set(place: Path) -> DriveSet | None:
    """What `--data rendered:N` means, None for other places; ConfigError for a number that is none."""
    found = re.fullmatch(r"rendered(?::(.*))?", str(place))
    if found is None or place.exists():
        return None
    text = found[1]
    if text is None:
        return DriveSet()
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= _MOST:
        raise ConfigError(f"{str(place)!r} is no number of drives: write rendered:1 to rendered:{_MOST}")
    return DriveSet(count=int(text))
