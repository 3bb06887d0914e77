"""What is to be measured, as data: from TOML files and folders to sets, clips and tolerances."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rtseg.cards import Card
from rtseg.datasets import DataSet, place
from rtseg.errors import ConfigError
from rtseg.evaluate.metrics import BOUNDARY

VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov", ".webm", ".avi", ".m4v")

_TRAINING_ONLY = {"data": ("scene", "derive"), "clips": ("name", "every", "weight", "scene")}
"""What a training recipe says in these tables besides, and evaluation does not need."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Clip(_Table):
    """Unlabelled footage: masks should be steady on it, or agree with a better model.

    path: a video, or a folder whose videos are each taken. region: what is looked at, empty for all that a model
    gives. teacher: a card; with one, every `step`-th frame is compared with it, and flicker is not measured.
    frames: how many are read, from the first.
    """

    path: Path
    region: str = ""
    teacher: str = ""
    frames: Annotated[int, Field(ge=2)] = 300
    step: Annotated[int, Field(ge=1)] = 10

    @property
    def files(self) -> list[Path]:
        """The videos; ConfigError for a path that has none."""
        if self.path.is_file():
            return [self.path]
        found = sorted(path for path in self.path.glob("*") if path.suffix.lower() in VIDEO_SUFFIXES)
        if not found:
            raise ConfigError(
                f"{self.path} is no video and no folder of videos: they end with {', '.join(VIDEO_SUFFIXES)}"
            )
        return found


class Alias(_Table):
    """A region of the sets by the names that models give it: the union of those that a model has.

    models: cards for which this is meant, empty for all.
    """

    region: str
    names: Annotated[tuple[str, ...], Field(min_length=1)]
    models: tuple[str, ...] = ()


class Options(_Table):
    """How is measured.

    boundary: tolerance of the boundary F as a share of the diagonal. lines: regions that are thin and measured by
    the line F1. line_tolerance: in pixels of a picture that is `line_width` wide.
    """

    boundary: Annotated[float, Field(gt=0.0, le=0.5)] = BOUNDARY
    lines: tuple[str, ...] = ("lane",)
    line_tolerance: Annotated[float, Field(ge=0.0)] = 5.0
    line_width: Annotated[int, Field(ge=16, le=8192)] = 640
    alias: tuple[Alias, ...] = ()

    def names_for(self, region: str, card: Card) -> tuple[str, ...]:
        """What the card calls a region of the sets; empty where it does not know it."""
        for alias in self.alias:
            if alias.region == region and (card.name in alias.models or not alias.models):
                found = tuple(name for name in alias.names if name in card.names)
                if found:
                    return found
        return (region,) if region in card.names else ()


class Plan(_Table):
    """Sets and clips, and how they are measured."""

    data: tuple[DataSet, ...] = ()
    clips: tuple[Clip, ...] = ()
    options: Options = Options()

    @model_validator(mode="after")
    def _titles(self) -> Self:
        titles = [data.title for data in self.data]
        if twice := sorted({title for title in titles if titles.count(title) > 1}):
            raise ValueError(f'two sets are called {", ".join(twice)}: give each of them a name = "..." of its own')
        return self


def make_plan(
    places: Sequence[Path], cards: Sequence[Card], *, clips: Sequence[Path] = (), **options: float | None
) -> Plan:
    """Everything that `--data` and `--clips` name, in order; `options` that are not None go before the files'.

    A folder is a set of binary masks of the one region that all models give, "person" where they have it.
    Raises ConfigError for what is no plan, and where there is nothing to measure.
    """
    data: list[Any] = []
    footage: list[Any] = [{"path": clip} for clip in clips]
    settings: dict[str, Any] = {}
    for path in places:
        if path.suffix.lower() == ".toml":
            tables = read_tables(path)
            data += tables["data"]
            footage += tables["clips"]
            settings |= {**tables["eval"], "alias": [*settings.get("alias", ()), *tables["eval"].get("alias", ())]}
        else:
            data.append(DataSet(folder=path, regions={_common_region(cards, path): ()}))
    settings |= {key: value for key, value in options.items() if value is not None}
    if not data and not footage:
        raise ConfigError("nothing to measure: give --data with a folder or a TOML file, or --clips with videos")
    try:
        return Plan.model_validate({"data": data, "clips": footage, "options": settings})
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'plan'}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{', '.join(map(str, places)) or 'the options'} cannot be used: {problems}") from error


def read_tables(path: Path) -> dict[str, Any]:
    """The tables "data", "clips" and "eval" of a TOML file, ready for `Plan`; all others are left out.

    Relative paths start at the file's folder; ${NAME} in paths is the environment's.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"the file {path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not a TOML file: {error}") from error
    tables: dict[str, Any] = {"eval": values.get("eval", {})}
    if not isinstance(tables["eval"], dict):
        raise ConfigError(f"{path}: eval must be a table, [eval], not {tables['eval']!r}")
    for name, where in (("data", "folder"), ("clips", "path")):
        rows = values.get(name, [])
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ConfigError(f"{path}: {name} must be tables, [[{name}]], not {rows!r}")
        tables[name] = [
            {
                key: place(value, path) if key == where and isinstance(value, str) else value
                for key, value in row.items()
                if key not in _TRAINING_ONLY[name]
            }
            for row in rows
        ]
    return tables


def _common_region(cards: Sequence[Card], folder: Path) -> str:
    common = [name for name in cards[0].names if all(name in card.names for card in cards)]
    if "person" in common:
        return "person"
    if len(common) == 1:
        return common[0]
    raise ConfigError(
        f"{folder} does not say which region its masks show, and the models share {', '.join(common) or 'none'}: "
        'write a TOML file with [[data]] folder = "..." and regions = { NAME = [] }, and give that to --data'
    )
