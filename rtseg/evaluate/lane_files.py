"""Lane lines as labels: TuSimple's lines of JSON, and the `.lines.txt` beside CULane's pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rtseg.datasets import IMAGE_SUFFIXES, Part, read_rgb
from rtseg.driving.ground import F64
from rtseg.errors import ConfigError
from rtseg.evaluate.coco import inside
from rtseg.ops.arrays import U8

_ENDING = ".lines.txt"


class _Row(BaseModel):
    """A picture of TuSimple's file: of each lane its x in each of the rows `h_samples`, -2 where it has none."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)
    raw_file: Annotated[str, Field(min_length=1)]
    lanes: tuple[tuple[float, ...], ...]
    h_samples: Annotated[tuple[float, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if any(len(lane) != len(self.h_samples) for lane in self.lanes):
            raise ValueError(f"each lane must have {len(self.h_samples)} values, one for each of h_samples")
        return self


@dataclass(frozen=True, eq=False, slots=True)
class LanePicture:
    """A picture, RGB uint8 HxWx3, and its true lines as in `lane_metrics`.

    rows: TuSimple's, None for CULane's; lanes: of each line its u in each of them, negative for nowhere.
    """

    stem: str
    rgb: U8
    lines: tuple[F64, ...]
    rows: F64 | None = None
    lanes: tuple[F64, ...] = ()


class LaneSet(BaseModel):
    """Labelled lane lines.

    file: TuSimple's JSON lines (`raw_file`, `lanes`, `h_samples`), or a folder in which CULane's NAME.lines.txt lie
    beside their pictures, however deep. images: the folder that `raw_file` starts from, usually the file's own. split:
    the side that `--part` counts all of it to.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    file: Path
    images: Path | None = None
    name: str = ""
    split: Literal["train", "held_out"] = "held_out"

    @property
    def title(self) -> str:
        """The set's name in tables: as given, or its file's."""
        return self.name or self.file.stem

    @property
    def kind(self) -> str:
        """What the labels show."""
        return "lane-lines"

    @property
    def regions(self) -> Mapping[str, bool]:
        """What is labelled."""
        return {"lane": True}

    def stems(self, part: Part = "all") -> list[str]:
        """The pictures of one side of the split, by their file names without the ending."""
        return list(self._labels) if part in ("all", self.split) else []

    def read(self, stem: str) -> LanePicture:
        """A picture and its lines. Raises ConfigError for wrong labels, SourceUnreadable for the picture."""
        found = self._labels[stem]
        if isinstance(found, Path):
            return LanePicture(stem, read_rgb(_picture_of(found)), _culane(found))
        rows = np.array(found.h_samples, np.float64)
        lanes = tuple(np.array(lane, np.float64) for lane in found.lanes)
        lines = tuple(np.stack([lane, rows], axis=-1)[lane >= 0] for lane in lanes if (lane >= 0).any())
        rgb = read_rgb(inside(self.images or self.file.parent, found.raw_file, self.file))
        return LanePicture(stem, rgb, lines, rows, lanes)

    @cached_property
    def _labels(self) -> dict[str, _Row | Path]:
        if self.file.is_dir():
            found = {str(path.relative_to(self.file))[: -len(_ENDING)]: path for path in _line_files(self.file)}
            if not found:
                raise ConfigError(f"{self.file} has no NAME{_ENDING}: give the folder of CULane's pictures and labels")
            return dict(found)
        try:
            lines = self.file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{self.file} cannot be read as lines of JSON: {error}") from error
        labels: dict[str, _Row | Path] = {}
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = _Row.model_validate_json(line)
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(map(str, first["loc"])) or "the line"
                raise ConfigError(f"{self.file}, line {number}, is not TuSimple's: {where}: {first['msg']}") from error
            stem = str(Path(row.raw_file).with_suffix(""))
            if stem in labels:
                raise ConfigError(f"{self.file} has the picture {row.raw_file} twice: remove one of its lines")
            labels[stem] = row
        if not labels:
            raise ConfigError(f"{self.file} has no line: it takes one of JSON for each picture")
        return labels


def is_lanes(path: Path) -> bool:
    """Whether `--data` means labels of lane lines."""
    if path.is_dir():
        return not (path / "images").is_dir() and next(path.rglob(f"*{_ENDING}"), None) is not None
    if path.suffix.lower() not in (".json", ".jsonl"):
        return False
    try:
        with path.open(encoding="utf-8") as file:
            first = json.loads(file.readline(1 << 20))
    except (OSError, ValueError):
        return False
    return isinstance(first, dict) and "h_samples" in first


def _line_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob(f"*{_ENDING}"))


def _picture_of(labels: Path) -> Path:
    stem = labels.name[: -len(_ENDING)]
    for suffix in IMAGE_SUFFIXES:
        if (path := labels.with_name(stem + suffix)).is_file():
            return path
    raise ConfigError(f"{labels} has no picture beside it: put {stem}.jpg there, or remove the labels")


def _culane(path: Path) -> tuple[F64, ...]:
    """A line of text a lane: x and y in turn; those of one point are none."""
    lines: list[F64] = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            values = np.array([float(word) for word in text.split()], np.float64)
        except ValueError as error:
            raise ConfigError(f"{path}, line {number}, has a word that is no number: {error}") from error
        if len(values) % 2 or not np.isfinite(values).all():
            raise ConfigError(f"{path}, line {number}, must be pairs of x and y")
        if len(values) > 2:
            lines.append(values.reshape(-1, 2))
    return tuple(lines)
