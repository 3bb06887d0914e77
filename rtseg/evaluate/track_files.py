"""Things followed through pictures, as labels: the folders of MOTChallenge."""

from __future__ import annotations

import configparser
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from rtseg.datasets import IMAGE_SUFFIXES
from rtseg.driving.detections import Group
from rtseg.errors import ConfigError
from rtseg.evaluate.boxes import Box

_USUAL: dict[Group, tuple[int, ...]] = {"vehicle": (3,), "vulnerable": (1, 2, 7)}
"""MOT's numbers of cars, and of people on foot, on vehicles, and standing."""


@dataclass(frozen=True, slots=True)
class TrackFrame:
    """A picture's file, its number from 1 on, and what is true of it: boxes by number of each group.

    ignored: boxes of what counts neither as found nor as made up.
    """

    path: Path
    number: int
    truth: Mapping[Group, Mapping[int, Box]] = field(default_factory=dict)
    ignored: tuple[Box, ...] = ()


class TrackSet(BaseModel):
    """Sequences of pictures in which things keep a number.

    folder: one of MOTChallenge, with `img1/` and `gt/gt.txt`, or a folder of such. classes: the numbers of classes in
    the file, by group; what is of no group, or is marked with 0, is ignored. rate: frames a second, 0 for what
    `seqinfo.ini` says, or 30.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    folder: Path
    name: str = ""
    classes: dict[Group, tuple[int, ...]] = Field(default_factory=lambda: dict(_USUAL))
    rate: Annotated[float, Field(ge=0.0, le=1000.0, allow_inf_nan=False)] = 0.0

    @property
    def title(self) -> str:
        """The set's name in tables: as given, or its folder's."""
        return self.name or self.folder.name

    @property
    def kind(self) -> str:
        """What the labels show."""
        return "tracks"

    @property
    def sequences(self) -> list[Path]:
        """The folders of sequences. Raises ConfigError where there is none."""
        found = [self.folder] if _labels(self.folder).is_file() else _sequences(self.folder)
        if not found:
            raise ConfigError(f"{self.folder} has no gt/gt.txt: give a folder of MOTChallenge, or one of such folders")
        return found

    def frames(self, sequence: Path) -> tuple[list[TrackFrame], float]:
        """The frames of a sequence in order, and how many there are a second. Raises ConfigError for wrong labels."""
        truth: dict[int, dict[Group, dict[int, Box]]] = defaultdict(lambda: {group: {} for group in self.classes})
        ignored: dict[int, list[Box]] = defaultdict(list)
        groups = {number: group for group, numbers in self.classes.items() for number in numbers}
        path = _labels(sequence)
        for line, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if not text.strip():
                continue
            frame, number, box, marked, kind = _row(text, path, line)
            group = groups.get(kind)
            if group is None or not marked:
                ignored[frame].append(box)
            elif truth[frame][group].setdefault(number, box) is not box:
                raise ConfigError(f"{path}, line {line}: the number {number} is in frame {frame} twice, correct it")
        pictures = _pictures(sequence)
        if strange := sorted({*truth, *ignored} - pictures.keys()):
            raise ConfigError(f"{path} has boxes in frame {strange[0]}, and {sequence / 'img1'} no such picture")
        frames = [
            TrackFrame(file, number, truth[number], tuple(ignored[number])) for number, file in sorted(pictures.items())
        ]
        return frames, self.rate or _rate(sequence)


def is_tracks(folder: Path) -> bool:
    """Whether `--data` means a folder of MOTChallenge, or one of such folders."""
    return _labels(folder).is_file() or (folder.is_dir() and bool(_sequences(folder)))


def _labels(folder: Path) -> Path:
    return folder / "gt" / "gt.txt"


def _sequences(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if _labels(path).is_file()) if folder.is_dir() else []


def _pictures(sequence: Path) -> dict[int, Path]:
    files = (path for path in (sequence / "img1").glob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    found = {int(path.stem): path for path in files if path.stem.isdecimal()}
    if not found:
        raise ConfigError(f"{sequence / 'img1'} has no picture whose name is a number, such as 000001.jpg")
    return found


def _rate(sequence: Path) -> float:
    about = configparser.ConfigParser()
    try:
        about.read(sequence / "seqinfo.ini", encoding="utf-8")
        rate = about.getfloat("Sequence", "frameRate", fallback=30.0)
    except (configparser.Error, ValueError, OSError) as error:
        raise ConfigError(f"{sequence / 'seqinfo.ini'} says no frameRate: {error}") from error
    if not 0 < rate <= 1000:
        raise ConfigError(f"{sequence / 'seqinfo.ini'} says a frameRate of {rate:g}: it must be up to 1000")
    return rate


def _row(text: str, path: Path, line: int) -> tuple[int, int, Box, bool, int]:
    """frame, number, left, top, width, height, whether it counts, class; classes and marks may be left out."""
    try:
        values = [float(word) for word in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"{path}, line {line}, has a word that is no number: {error}") from error
    if len(values) < 6 or not all(map(math.isfinite, values)) or min(values[4:6]) <= 0:
        raise ConfigError(f"{path}, line {line}, must be frame, number, left, top, width, height, mark, class")
    x, y = values[2] - 1.0, values[3] - 1.0  # counted from 1 there
    marked = len(values) < 7 or values[6] != 0
    kind = int(values[7]) if len(values) > 7 else 1
    return int(values[0]), int(values[1]), (x, y, x + values[4], y + values[5]), marked, kind
