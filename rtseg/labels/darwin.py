"""Darwin JSON of V7, a file a picture: what v7labs/covid-19-xray-dataset is written in.

Versions 1.0 and 2.0 of https://docs.v7labs.com/reference/darwin-json. Areas are polygons, or several paths of which a
pixel is in the area when an odd number holds it, so that paths in paths are holes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rtseg.errors import ConfigError
from rtseg.labels.folder import UNKNOWN, explained
from rtseg.labels.outlines import filled
from rtseg.labels.taking import UNKNOWN_NAMES, Taken, Taker, check_present, inside, pictures_folder, values_for
from rtseg.ops.runs import Hard

Coordinate: TypeAlias = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]


class _Loose(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Point(_Loose):
    """In pixels, (0, 0) is the corner of the picture."""

    x: Coordinate
    y: Coordinate


Line: TypeAlias = tuple[Point, ...]


class Polygon(_Loose):
    """path, and in some exports additional_paths, are of version 1.0; paths is of 2.0."""

    path: Line = ()
    additional_paths: tuple[Line, ...] = ()
    paths: tuple[Line, ...] = ()

    def all(self) -> Iterator[Line]:
        """Every path there is."""
        yield from (path for path in (self.path, *self.additional_paths, *self.paths) if path)


class ComplexPolygon(_Loose):
    """Version 1.0 has several paths under the name of one."""

    path: tuple[Line, ...] = ()

    def all(self) -> Iterator[Line]:
        """Every path there is."""
        yield from (path for path in self.path if path)


class Annotation(_Loose):
    """An area with a name; what is none (a tag of the picture, a box, a line) has neither polygon."""

    name: str
    polygon: Polygon | None = None
    complex_polygon: ComplexPolygon | None = None
    tag: dict[str, object] | None = None

    def paths(self) -> list[Line]:
        """Of its area."""
        return [path for polygon in (self.polygon, self.complex_polygon) if polygon for path in polygon.all()]


class Image(_Loose):
    """What version 1.0 says of the picture."""

    filename: str
    original_filename: str | None = None
    width: int | None = None
    height: int | None = None
    path: str | None = None


class Slot(_Loose):
    """The picture of an item of version 2.0."""

    width: int | None = None
    height: int | None = None


class Item(_Loose):
    """What version 2.0 says of the picture."""

    name: str
    path: str | None = None
    slots: tuple[Slot, ...] = ()


class Darwin(_Loose):
    """What is read of a file."""

    image: Image | None = None
    item: Item | None = None
    annotations: tuple[Annotation, ...]

    def names(self) -> list[str]:
        """What the picture may be called, likelier first, with the folder it had and without."""
        if self.item is not None:
            found, folder = [self.item.name], self.item.path
        else:
            assert self.image is not None
            found, folder = [self.image.filename, self.image.original_filename or ""], self.image.path
        there = (folder or "").strip("/")
        return [name for each in found if each for name in ([f"{there}/{each}"] if there else []) + [each]]

    def size(self) -> tuple[int, int] | None:
        """Width and height, where they are told."""
        shown = self.image if self.item is None else next(iter(self.item.slots), None)
        return None if shown is None or not shown.width or not shown.height else (shown.width, shown.height)


def read_darwin(
    source: Path,
    folder: Path,
    *,
    images: Path | None = None,
    regions: Sequence[str] | None = None,
    instances: bool = False,
    replace: bool = False,
) -> Taken:
    """Make `folder` of a folder of Darwin JSON files: index masks, or with `instances` numbers of one region's objects.

    images: the folder of the pictures, else `images` in the source or up to three folders above it, as `darwin dataset
    pull` leaves them. Pictures without an area of the regions are left out: nobody outlined anything in them (side
    views, CT slices). Areas called "ignore" (pacemakers and the like) lie over all others. Of others that overlap the
    later is seen. Raises ConfigError for what the files say wrongly, SourceError for pictures.
    """
    files = {path: parsed(path) for path in sorted(source.rglob("*.json"))}
    if not files:
        raise ConfigError(f"{source} has no Darwin JSON: give the folder of an unpacked export")
    names = dict.fromkeys(a.name for darwin in files.values() for a in darwin.annotations if a.paths())
    numbers = {name: i for i, name in enumerate((n for n in names if n.lower() not in UNKNOWN_NAMES), start=1)}
    values = values_for({**dict.fromkeys(names, UNKNOWN), **numbers}, wanted=regions, instances=instances)
    places = [place / "images" for place in (source, *source.resolve().parents[:3])]
    place = pictures_folder(images, source, places)
    shown = {
        path: darwin
        for path, darwin in files.items()
        if any(annotation.name in values and annotation.paths() for annotation in darwin.annotations)
    }
    pictures = {path: _picture(darwin, place, path) for path, darwin in shown.items()}
    if twice := [name for name, count in Counter(pictures.values()).items() if count > 1]:
        raise ConfigError(f"{source} has several files about {twice[0]}: keep one of them")
    check_present(list(pictures.values()), place, source)
    meaning: dict[str, tuple[int, ...]] = {name: () if instances else (value,) for name, value in values.items()}
    taker = Taker(folder, "instances" if instances else "index", meaning, images=place, replace=replace)
    for path, darwin in shown.items():
        name = pictures[path]
        if taker.wants(name):
            size = taker.size(name)
            if darwin.size() not in (None, size):
                raise ConfigError(f"{path} says that {name} is {darwin.size()}, but it is {size}: give other --images")
            taker.take(name, _mask(darwin, values, size, path, instances=instances))
    return taker.done(_notes(files, shown))


def parsed(path: Path) -> Darwin:
    """One file. Raises ConfigError."""
    try:
        darwin = Darwin.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValidationError as error:
        raise ConfigError(f"{path} is not Darwin JSON: {explained(error)}") from error
    if darwin.image is None and darwin.item is None:
        raise ConfigError(f"{path} is not Darwin JSON: it names neither an image (1.0) nor an item (2.0)")
    return darwin


def _picture(darwin: Darwin, place: Path, path: Path) -> str:
    """The name of the picture that is there; the first that could be where there is none."""
    names = [inside(name, origin=path) for name in darwin.names()]
    return next((name for name in names if (place / name).is_file()), names[0])


def _mask(
    darwin: Darwin, values: dict[str, int], size: tuple[int, int], path: Path, *, instances: bool
) -> NDArray[np.uint16]:
    mask = np.zeros((size[1], size[0]), np.uint16)
    areas = [(a.name, _area(a, size, path)) for a in darwin.annotations if a.paths()]
    for number, (name, area) in enumerate([each for each in areas if each[0] in values], start=1):
        mask[area] = number if instances else values[name]
    for name, area in areas:
        if name.lower() in UNKNOWN_NAMES and name not in values:
            mask[area] = 0 if instances else UNKNOWN
    return mask


def _area(annotation: Annotation, size: tuple[int, int], path: Path) -> Hard:
    mask = np.zeros((size[1], size[0]), np.bool_)
    for line in annotation.paths():
        if len(line) < 3:
            raise ConfigError(
                f"{path}: an area of {annotation.name!r} has a path of {len(line)} points: it takes three"
            )
        points = np.array([(point.x, point.y) for point in line])
        if (points.min(axis=0) >= size).any() or (points.max(axis=0) <= 0).any():
            raise ConfigError(
                f"{path}: an area of {annotation.name!r} lies outside its picture of {size[0]}x{size[1]} pixels: "
                "it belongs to another one"
            )
        mask ^= filled(points, size)
    return mask


def _notes(files: dict[Path, Darwin], shown: dict[Path, Darwin]) -> list[str]:
    every = [a for darwin in files.values() for a in darwin.annotations]
    tags = sum(a.tag is not None for a in every)
    others = sum(a.tag is None and not a.paths() for a in every)
    empty = len(files) - len(shown)
    return [
        f"{count} {what}"
        for count, what in (
            (empty, "pictures have no area of these regions and were left out"),
            (tags, "tags of whole pictures were left out"),
            (others, "annotations are no areas and were left out"),
        )
        if count
    ]
