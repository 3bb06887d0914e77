"""What is to be measured, as data: from TOML files and folders to sets, clips and tolerances."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rtseg.cards import Card
from rtseg.datasets import DataSet, MaskKind, place
from rtseg.errors import ConfigError
from rtseg.evaluate.coco import CocoSet, is_coco
from rtseg.evaluate.drive_set import DriveSet, drive_set
from rtseg.evaluate.footage import VIDEO_SUFFIXES, FootageSet, is_footage
from rtseg.evaluate.lane_files import LaneSet, is_lanes
from rtseg.evaluate.metrics import BOUNDARY
from rtseg.evaluate.track_files import TrackSet, is_tracks
from rtseg.evaluate.truth import ROAD_REGIONS, Task, task_of

_TRAINING_ONLY = {"data": ("scene", "derive"), "clips": ("name", "every", "weight", "scene")}
"""What a training recipe says in these tables besides, and evaluation does not need."""

_PLACES = {
    "data": ("folder",),
    "coco": ("file", "images", "masks"),
    "lanes": ("file", "images"),
    "drives": (),
    "tracks": ("folder",),
    "mattes": ("videos", "alphas"),
    "clips": ("path",),
}
"""What is a path in these tables."""


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
    the line F1. line_tolerance: in pixels of a picture that is `line_width` wide. conditions: name -> what the
    stems of its pictures match, such as night = "^night_"; what is measured of masks is also told of each.
    """

    boundary: Annotated[float, Field(gt=0.0, le=0.5)] = BOUNDARY
    lines: tuple[str, ...] = ("lane",)
    line_tolerance: Annotated[float, Field(ge=0.0)] = 5.0
    line_width: Annotated[int, Field(ge=16, le=8192)] = 640
    alias: tuple[Alias, ...] = ()
    conditions: Mapping[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _patterns(self) -> Self:
        for name, pattern in self.conditions.items():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(
                    f"the condition {name!r} has {pattern!r}, which is no regular expression: {error}"
                ) from error
        return self

    def names_for(self, region: str, card: Card) -> tuple[str, ...]:
        """What the card calls a region of the sets; empty where it does not know it."""
        for alias in self.alias:
            if alias.region == region and (card.name in alias.models or not alias.models):
                found = tuple(name for name in alias.names if name in card.names)
                if found:
                    return found
        return (region,) if region in card.names else ()


class Plan(_Table):
    """Sets and clips, and how they are measured. task: what is measured on all sets, None for what each is made for.

    coco: COCO files. mattes: videos with their alphas. lanes: labelled lane lines. drives: drawn ones. tracks: things
    that keep a number.
    """

    data: tuple[DataSet, ...] = ()
    coco: tuple[CocoSet, ...] = ()
    mattes: tuple[FootageSet, ...] = ()
    lanes: tuple[LaneSet, ...] = ()
    drives: tuple[DriveSet, ...] = ()
    tracks: tuple[TrackSet, ...] = ()
    task: Task | None = None
    clips: tuple[Clip, ...] = ()
    options: Options = Options()

    @model_validator(mode="after")
    def _titles(self) -> Self:
        titles = [data.title for data in (*self.sets, *self.mattes, *self.lanes, *self.drives, *self.tracks)]
        if twice := sorted({title for title in titles if titles.count(title) > 1}):
            raise ValueError(f'two sets are called {", ".join(twice)}: give each of them a name = "..." of its own')
        return self

    @property
    def sets(self) -> tuple[DataSet | CocoSet, ...]:
        """All sets of labelled pictures."""
        every: tuple[DataSet | CocoSet, ...] = (*self.data, *self.coco)
        region = ROAD_REGIONS.get(self.task) if self.task else None
        return tuple(data for data in every if region is None or region in data.regions)

    def check_tasks(self) -> None:
        """ConfigError where the labels of a set cannot tell what is to be measured."""
        for data in (*self.sets, *self.lanes, *self.drives, *self.tracks):
            task_of(data.title, data.kind, self.task)
        region = ROAD_REGIONS.get(self.task) if self.task else None
        if region and not (self.sets or self.lanes or self.drives):
            every: tuple[DataSet | CocoSet | FootageSet, ...] = (*self.data, *self.coco, *self.mattes)
            titles = ", ".join(repr(data.title) for data in every) or "the clips"
            raise ConfigError(
                f"nothing in {titles} labels {region!r}, so --task {self.task} cannot be measured: give other data, or "
                f"say in a TOML file which labels are it, regions = {{ {region} = [...] }}"
            )
        if self.mattes and self.task not in (None, "matte"):
            raise ConfigError(
                f"{self.mattes[0].title!r} has alphas of videos, so --task {self.task} cannot be measured with it: "
                "use --task matte"
            )


_FOLDER_KINDS: dict[Task, MaskKind] = {"instance": "instances", "matte": "alpha"}


def make_plan(
    places: Sequence[Path],
    cards: Sequence[Card],
    *,
    clips: Sequence[Path] = (),
    task: Task | None = None,
    **options: float | None,
) -> Plan:
    """Everything that `--data` and `--clips` name, in order; `options` that are not None go before the files'.

    A folder is a set of masks of the one region that all models give, "person" where they have it: binary ones,
    or what `task` needs; with `alpha` instead of `masks` soft ones, with `videos` and `alphas` footage. A JSON file is
    a COCO file, or TuSimple's lines, as is a folder of CULane's labels; one of MOTChallenge has
    tracks; "rendered:N" is drawn drives. Raises ConfigError for what is no plan, for labels that do not serve the task,
    and where there is nothing to measure.
    """
    data: list[Any] = []
    coco: list[Any] = []
    mattes: list[Any] = []
    lanes: list[Any] = []
    drives: list[Any] = []
    tracks: list[Any] = []
    footage: list[Any] = [{"path": clip} for clip in clips]
    settings: dict[str, Any] = {}
    for path in places:
        if path.suffix.lower() == ".toml":
            tables = read_tables(path)
            data += tables["data"]
            coco += tables["coco"]
            mattes += tables["mattes"]
            lanes += tables["lanes"]
            drives += tables["drives"]
            tracks += tables["tracks"]
            footage += tables["clips"]
            settings |= {**tables["eval"], "alias": [*settings.get("alias", ()), *tables["eval"].get("alias", ())]}
        elif (drawn := drive_set(path)) is not None:
            drives.append(drawn)
        elif is_footage(path):
            about = {"videos": path / "videos", "alphas": path / "alphas", "name": path.name}
            mattes.append({**about, "region": _common_region(cards, path)})
        elif is_tracks(path):
            tracks.append({"folder": path})
        elif is_lanes(path):
            lanes.append({"file": path})
        elif is_coco(path):
            coco.append({"file": path})
        else:
            _refuse_masks(path, task)
            region = ROAD_REGIONS.get(task) if task else None
            data.append(_folder(path, region or _common_region(cards, path), task))
    settings |= {key: value for key, value in options.items() if value is not None}
    if not any((data, coco, mattes, lanes, drives, tracks, footage)):
        raise ConfigError("nothing to measure: give --data with a folder or a TOML file, or --clips with videos")
    try:
        sets = {"data": data, "coco": coco, "mattes": mattes, "lanes": lanes, "drives": drives, "tracks": tracks}
        plan = Plan.model_validate({**sets, "clips": footage, "task": task, "options": settings})
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'plan'}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{', '.join(map(str, places)) or 'the options'} cannot be used: {problems}") from error
    plan.check_tasks()
    return plan


def _refuse_masks(path: Path, task: Task | None) -> None:
    if task == "obstacles":
        raise ConfigError(
            f"{path} is a folder of masks, which show no boxes of single obstacles: give --data a COCO "
            "file, or rendered:20"
        )
    if task == "panoptic":
        raise ConfigError(
            f"{path} is a folder of masks, which show no panoptic segments: give --data a COCO panoptic JSON file"
        )


def _folder(path: Path, region: str, task: Task | None) -> DataSet:
    soft = (path / "alpha").is_dir() and not (path / "masks").is_dir()
    kind = "alpha" if soft else _FOLDER_KINDS.get(task or "semantic", "binary")
    return DataSet(folder=path, kind=kind, masks="alpha" if soft else "masks", regions={region: ()})


def read_tables(path: Path) -> dict[str, Any]:
    """The tables that a `Plan` has, and "eval", of a TOML file, ready for it, and no others.

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
    for name, places in _PLACES.items():
        rows = values.get(name, [])
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ConfigError(f"{path}: {name} must be tables, [[{name}]], not {rows!r}")
        tables[name] = [
            {
                key: place(value, path) if key in places and isinstance(value, str) else value
                for key, value in row.items()
                if key not in _TRAINING_ONLY.get(name, ())
            }
            for row in rows
        ]
    return tables


def _common_region(cards: Sequence[Card], folder: Path) -> str:
    if not cards:
        raise ConfigError(f"nothing to measure on {folder}: give a --model; only rendered drives need none")
    common = [name for name in cards[0].names if all(name in card.names for card in cards)]
    if "person" in common:
        return "person"
    if len(common) == 1:
        return common[0]
    raise ConfigError(
        f"{folder} does not say which region its masks show, and the models share {', '.join(common) or 'none'}: "
        'write a TOML file with [[data]] folder = "..." and regions = { NAME = [] }, and give that to --data'
    )
