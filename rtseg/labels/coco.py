"""COCO files, the format that labelling tools have in common: written from masks, and read back into them.

What masks leave open is a category called "ignore", so that nothing is lost on the way.
"""

from __future__ import annotations

import json
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rtseg import registry
from rtseg.datasets import DataSet
from rtseg.errors import ConfigError
from rtseg.labels.folder import UNKNOWN, explained, hard
from rtseg.labels.outlines import components, filled, outlines
from rtseg.labels.taking import UNKNOWN_NAMES, Taken, Taker, check_present, inside, pictures_folder, values_for
from rtseg.ops.runs import Hard, box_of, mask_of_runs, runs_of
from rtseg.sinks.files import PartFile

Form: TypeAlias = Literal["polygon", "rle"]
Coordinate: TypeAlias = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
Id: TypeAlias = int | str

_UNKNOWN_CATEGORY = "ignore"


class _Loose(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Runs(_Loose):
    """Height and width, and runs down the columns: lengths, or pycocotools' text of them."""

    size: tuple[int, int]
    counts: tuple[int, ...] | str


class Picture(_Loose):
    """One entry of `images`."""

    id: Id
    file_name: str
    width: Annotated[int, Field(gt=0)]
    height: Annotated[int, Field(gt=0)]


class Annotation(_Loose):
    """One entry of `annotations`; without a segmentation it is a box, which is no mask."""

    image_id: Id
    category_id: int
    segmentation: tuple[tuple[Coordinate, ...], ...] | Runs | None = None
    id: Id | None = None


class Category(_Loose):
    """One entry of `categories`."""

    id: int
    name: str


class Coco(_Loose):
    """What is read of a file."""

    images: tuple[Picture, ...]
    annotations: tuple[Annotation, ...] = ()
    categories: tuple[Category, ...]


def write_coco(data: DataSet, path: Path, *, segmentation: Form = "polygon") -> tuple[int, int]:
    """Write the masks of a set as a COCO file: how many pictures and annotations it has.

    One annotation for each connected part of each region, of instances for each number; soft masks are cut at a half.
    "polygon": areas with holes are runs all the same, since COCO's polygons have none. Raises ConfigError, SinkError
    and SourceUnreadable.
    """
    file = PartFile(path)
    categories = _category_ids(data)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (stem, (image, _)) in enumerate(data.files.items(), start=1):
        sample = data.read(stem)
        height, width = sample.known.shape
        images.append({"id": number, "file_name": image.name, "width": width, "height": height})
        for name, mask in _areas(data, sample.planes, sample.known, sample.ids):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": categories[name],
                    **_area(mask, segmentation),
                }
            )
    content = {
        "info": {"description": f"labels of {data.title}, written by rtseg"},
        "licenses": [],
        "categories": [{"id": value, "name": name, "supercategory": ""} for name, value in categories.items()],
        "images": images,
        "annotations": annotations,
    }
    try:
        file.part.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    except OSError as error:
        raise file.failure(error) from error
    file.publish()
    return len(images), len(annotations)


def read_coco(
    path: Path,
    folder: Path,
    *,
    images: Path | None = None,
    regions: Sequence[str] | None = None,
    instances: bool = False,
    replace: bool = False,
) -> Taken:
    """Make `folder` of a COCO file: index masks, or with `instances` numbers of one region's objects.

    images: the folder of the pictures, else `images` beside the file or beside its folder. Of areas that overlap the
    later is seen. Raises ConfigError for what the file says wrongly, SourceError for pictures, DependencyMissing for
    compressed runs without pycocotools.
    """
    coco = _parsed(path)
    names: dict[str, int] = {}
    for category in coco.categories:
        if names.setdefault(category.name, category.id) != category.id:
            raise ConfigError(f"{path} has two categories called {category.name!r}: rename one of them")
    by_id = {number: name for name, number in names.items()}
    values = values_for(names, wanted=regions, instances=instances)
    place = pictures_folder(images, path, (path.parent / "images", path.parent.parent / "images"))
    files: dict[Id, str] = {}
    seen: set[str] = set()
    for picture in coco.images:
        file = inside(picture.file_name, origin=path)
        if picture.id in files or file in seen:
            raise ConfigError(f"{path} has picture {picture.id}, {file}, twice: ids and names must differ")
        files[picture.id] = file
        seen.add(file)
    check_present(list(files.values()), place, path)
    areas: dict[Id, list[tuple[str, Annotation]]] = defaultdict(list)
    boxes = 0
    for annotation in coco.annotations:
        if annotation.image_id not in files:
            raise ConfigError(f"{_title(path, annotation)} is of image {annotation.image_id}, which is not in images")
        if (name := by_id.get(annotation.category_id)) is None:
            known = ", ".join(f"{number} {name}" for number, name in by_id.items())
            raise ConfigError(f"{_title(path, annotation)} is of category {annotation.category_id}: known are {known}")
        if not annotation.segmentation:
            boxes += 1
        elif name in values or name.lower() in UNKNOWN_NAMES:
            areas[annotation.image_id].append((name, annotation))
    if instances:
        taker = Taker(folder, "instances", dict.fromkeys(values, ()), images=place, replace=replace)
    else:
        taker = Taker(
            folder, "index", {name: (value,) for name, value in values.items()}, images=place, replace=replace
        )
    for picture in coco.images:
        file = files[picture.id]
        if not taker.wants(file):
            continue
        size = taker.size(file)
        if size != (picture.width, picture.height):
            raise ConfigError(
                f"{path} says that {file} is {picture.width}x{picture.height}, but it is {size[0]}x{size[1]}: "
                "give the pictures that were labelled with --images"
            )
        mask = np.zeros((size[1], size[0]), np.uint16)
        numbered = 0
        for region, annotation in areas[picture.id]:
            if region not in values:
                mask[_drawn(annotation, size, path)] = 0 if instances else UNKNOWN
                continue
            numbered += 1
            mask[_drawn(annotation, size, path)] = numbered if instances else values[region]
        taker.take(file, mask)
    return taker.done([f"{boxes} annotations are boxes without an area and were left out"] if boxes else [])


def _category_ids(data: DataSet) -> dict[str, int]:
    """A number for each region: its value in the masks, where each has one of its own."""
    firsts = [values[0] if values else 0 for values in data.regions.values()]
    own = data.kind == "index" and len(set(firsts)) == len(firsts) and all(0 < value < UNKNOWN for value in firsts)
    numbers = firsts if own else list(range(1, len(firsts) + 1))
    return {**dict(zip(data.regions, numbers, strict=True)), **({_UNKNOWN_CATEGORY: UNKNOWN} if data.ignore else {})}


def _areas(data: DataSet, planes: Any, known: Any, ids: NDArray[np.uint16] | None) -> Iterator[tuple[str, Hard]]:
    if ids is not None:
        name = next(iter(data.regions))
        for number in np.unique(ids):
            if number and number not in data.ignore:
                yield name, ids == number
    else:
        for name, plane in planes.items():
            yield from ((name, part) for part in components(hard(plane)))
    if data.ignore:
        yield from ((_UNKNOWN_CATEGORY, part) for part in components(known == 0))


def _area(mask: Hard, form: Form) -> dict[str, Any]:
    polygons = outlines(mask) if form == "polygon" else None
    runs = {"size": list(mask.shape), "counts": runs_of(mask)} if polygons is None else None
    return {
        "segmentation": polygons if runs is None else runs,
        "area": int(mask.sum()),
        "bbox": list(box_of(mask)),
        "iscrowd": 0 if runs is None else 1,  # in COCO's own terms: this one is made of runs
    }


def _parsed(path: Path) -> Coco:
    try:
        return Coco.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}; give a COCO file") from error
    except ValidationError as error:
        hint = ": unpack the archive first" if path.suffix.lower() == ".zip" else ""
        raise ConfigError(f"{path} is not a COCO file: {explained(error)}{hint}") from error


def _drawn(annotation: Annotation, size: tuple[int, int], path: Path) -> Hard:
    """The area of an annotation in a picture of `size` (width, height)."""
    title = _title(path, annotation)
    match annotation.segmentation:
        case Runs(size=(height, width), counts=counts):
            if (width, height) != size:
                raise ConfigError(f"{title} has runs for {width}x{height} pixels, its picture {size[0]}x{size[1]}")
            try:
                return mask_of_runs(counts, size) if isinstance(counts, tuple) else _decompressed(counts, size)
            except ValueError as error:
                raise ConfigError(f"{title} is broken: {error}") from error
        case polygons:
            mask = np.zeros((size[1], size[0]), np.bool_)
            for polygon in polygons or ():
                if len(polygon) < 6 or len(polygon) % 2:
                    raise ConfigError(
                        f"{title} has a polygon of {len(polygon)} numbers: it takes x and y of three points at least"
                    )
                points = np.array(polygon).reshape(-1, 2)
                if (points.min(axis=0) >= size).any() or (points.max(axis=0) <= 0).any():
                    raise ConfigError(
                        f"{title} has a polygon outside its picture of {size[0]}x{size[1]} pixels: "
                        "it belongs to another one, or its coordinates are not in pixels"
                    )
                mask |= filled(points, size)
            return mask


def _decompressed(counts: str, size: tuple[int, int]) -> Hard:
    decode = registry.import_target("pycocotools.mask:decode", extra="labels")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pycocotools 2.0.11 with NumPy 2, of its own doing
        decoded: Hard = np.asarray(decode({"size": [size[1], size[0]], "counts": counts.encode()})) == 1
    return decoded


def _title(path: Path, annotation: Annotation) -> str:
    return f"{path}: annotation {annotation.id if annotation.id is not None else '(without id)'}"
