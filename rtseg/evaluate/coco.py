"""COCO files as sets to measure on: panoptic ones with their PNGs, and those of instances."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rtseg import registry
from rtseg.datasets import Part, Sample, read_rgb
from rtseg.errors import ConfigError, SourceUnreadable
from rtseg.evaluate.boxes import NamedBox
from rtseg.evaluate.instances import EXTRA
from rtseg.evaluate.metrics import Bool
from rtseg.evaluate.truth import TrueSegment
from rtseg.ops.arrays import U8

Id: TypeAlias = int | str


class _Loose(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Picture(_Loose):
    id: Id
    file_name: str
    width: Annotated[int, Field(gt=0)]
    height: Annotated[int, Field(gt=0)]


class _Category(_Loose):
    id: int
    name: str
    isthing: bool = True


class _Runs(_Loose):
    size: tuple[int, int]
    counts: tuple[int, ...] | str


class _Segment(_Loose):
    id: Annotated[int, Field(ge=1, lt=1 << 24)]
    category_id: int
    iscrowd: bool = False


class _Annotation(_Loose):
    image_id: Id
    category_id: int | None = None
    segmentation: tuple[tuple[float, ...], ...] | _Runs | None = None
    iscrowd: bool = False
    area: float | None = None
    bbox: tuple[float, float, float, float] | None = None
    file_name: str | None = None
    segments_info: tuple[_Segment, ...] | None = None


class _File(_Loose):
    images: Annotated[tuple[_Picture, ...], Field(min_length=1)]
    annotations: tuple[_Annotation, ...]
    categories: Annotated[tuple[_Category, ...], Field(min_length=1)]


@dataclass(frozen=True, eq=False, slots=True)
class CocoPicture:
    """A picture and what is true of it; pixels of no segment are unknown in panoptic files."""

    sample: Sample
    segments: tuple[TrueSegment, ...]


class CocoSet(BaseModel):
    """A COCO file with its pictures.

    file: of instances (polygons or runs) or panoptic (with `segments_info`). images: the folder of the pictures,
    usually `images` beside the file. masks: the folder of the PNGs of a panoptic file, usually that of the file's own
    name beside it; their colours are ids, R + 256 G + 65536 B. split: the side that `--part` counts all of it to.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    file: Path
    images: Path | None = None
    masks: Path | None = None
    name: str = ""
    split: Literal["train", "held_out"] = "held_out"

    @property
    def title(self) -> str:
        """The set's name in tables: as given, or its file's."""
        return self.name or self.file.stem

    @property
    def kind(self) -> str:
        """What the labels show: "coco-panoptic" or "coco-instances"."""
        return "coco-panoptic" if self._is_panoptic else "coco-instances"

    @cached_property
    def regions(self) -> Mapping[str, bool]:
        """Names of the categories, in order -> whether they are things. Raises ConfigError for two of one name."""
        names = [category.name for category in self._content.categories]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError(f"{self.file} has two categories called {', '.join(twice)}: rename one of them")
        return {category.name: category.isthing for category in self._content.categories}

    def stems(self, part: Part = "all") -> list[str]:
        """The pictures of one side of the split, by their file names without the ending."""
        return list(self._pictures) if part in ("all", self.split) else []

    def read(self, stem: str) -> Sample:
        """A picture with a plane for each category. Raises what `truth` raises."""
        return self.truth(stem).sample

    def truth(self, stem: str, *, planes: bool = True) -> CocoPicture:
        """A picture and its segments; planes: whether the sample has those of every category, which takes memory.

        Raises ConfigError for what the file says wrongly, SourceUnreadable for pictures that cannot be read or do not
        fit, DependencyMissing for instances without faster-coco-eval.
        """
        picture = self._pictures[stem]
        rgb = self._rgb(picture)
        height, width = rgb.shape[:2]
        annotations = self._annotations[picture.id]
        if self._is_panoptic:
            segments = self._read_segments(annotations, picture)
            known = np.zeros((height, width), bool)
            for segment in segments:
                known |= segment.mask
        else:
            drawn = (self._instance(annotation, picture) for annotation in annotations)
            segments = tuple(segment for segment in drawn if segment is not None)
            known = np.ones((height, width), bool)
        united: dict[str, U8] = {}
        if planes:
            united = {name: np.zeros((height, width), np.uint8) for name in self.regions}
            for segment in segments:
                united[segment.name][segment.mask] = 255
        return CocoPicture(Sample(stem, rgb, united, np.where(known, np.uint8(255), np.uint8(0))), segments)

    def boxes(self, stem: str) -> tuple[U8, tuple[NamedBox, ...]]:
        """A picture, RGB uint8 HxWx3, and the boxes of its things, of segments those around their pixels.

        Raises what `truth` raises; boxes alone need no library.
        """
        picture = self._pictures[stem]
        rgb = self._rgb(picture)
        annotations = self._annotations[picture.id]
        found = []
        if self._is_panoptic:
            found = [_around(segment) for segment in self._read_segments(annotations, picture) if segment.mask.any()]
        for annotation in () if self._is_panoptic else annotations:
            name = self._name(annotation.category_id)
            if annotation.bbox is not None:
                x, y, wide, high = annotation.bbox
                if min(wide, high) < 0:
                    raise ConfigError(f"{self.file} has a box on {picture.file_name} of {wide:g}x{high:g}: correct it")
                found.append(NamedBox(name, (x, y, x + wide, y + high), 1.0, annotation.iscrowd, annotation.area))
            elif (segment := self._instance(annotation, picture)) is not None and segment.mask.any():
                found.append(_around(segment))
        return rgb, tuple(found)

    def _rgb(self, picture: _Picture) -> U8:
        rgb = read_rgb(inside(self._folder, picture.file_name, self.file))
        height, width = rgb.shape[:2]
        if (width, height) != (picture.width, picture.height):
            raise SourceUnreadable(
                f"{self.file} says that {picture.file_name} is {picture.width}x{picture.height}, but it is "
                f"{width}x{height}: give the pictures that were labelled"
            )
        return rgb

    @cached_property
    def _content(self) -> _File:
        try:
            return _File.model_validate_json(self.file.read_bytes())
        except OSError as error:
            raise ConfigError(f"{self.file} cannot be read: {error.strerror or error}; give a COCO file") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            raise ConfigError(f"{self.file} is not a COCO file: {where}: {first['msg']}") from error

    @cached_property
    def _is_panoptic(self) -> bool:
        kinds = {annotation.segments_info is not None for annotation in self._content.annotations}
        if len(kinds) != 1:
            what = "both instances and panoptic segments" if kinds else "no annotation"
            raise ConfigError(f"{self.file} has {what}: it takes annotations of one kind")
        return kinds.pop()

    @cached_property
    def _folder(self) -> Path:
        folder = self.images or self.file.parent / "images"
        if not folder.is_dir():
            raise ConfigError(
                f"{self.file}: the folder {folder} of its pictures does not exist; write a TOML file with [[coco]] "
                'file = "..." and images = "...", and give that to --data'
            )
        return folder

    @cached_property
    def _pictures(self) -> dict[str, _Picture]:
        found: dict[str, _Picture] = {}
        for picture in self._content.images:
            stem = str(Path(picture.file_name).with_suffix(""))
            if stem in found:
                raise ConfigError(f"{self.file} has the picture {picture.file_name} twice: names must differ")
            found[stem] = picture
        return found

    @cached_property
    def _annotations(self) -> Mapping[Id, list[_Annotation]]:
        known = {picture.id for picture in self._content.images}
        found: dict[Id, list[_Annotation]] = defaultdict(list)
        for annotation in self._content.annotations:
            if annotation.image_id not in known:
                raise ConfigError(
                    f"{self.file} has an annotation of image {annotation.image_id}, which is not in images: remove it"
                )
            found[annotation.image_id].append(annotation)
        return found

    @cached_property
    def _names(self) -> dict[int, str]:
        return {category.id: category.name for category in self._content.categories}

    def _name(self, category: int | None) -> str:
        if category is None or (name := self._names.get(category)) is None:
            known = ", ".join(f"{number} {name}" for number, name in self._names.items())
            raise ConfigError(f"{self.file} has an annotation of category {category}: known are {known}")
        return name

    def _read_segments(self, annotations: list[_Annotation], picture: _Picture) -> tuple[TrueSegment, ...]:
        if len(annotations) != 1:
            raise ConfigError(
                f"{self.file} has {len(annotations)} annotations of {picture.file_name}: a panoptic file has one each"
            )
        annotation = annotations[0]
        file = annotation.file_name or f"{Path(picture.file_name).stem}.png"
        path = inside(self.masks or self.file.with_suffix(""), file, self.file)
        rgb = read_rgb(path).astype(np.int32)
        if rgb.shape[:2] != (picture.height, picture.width):
            raise SourceUnreadable(
                f"{path} is {rgb.shape[1]}x{rgb.shape[0]}, its picture {picture.width}x{picture.height}: "
                "masks must have the size of their pictures"
            )
        ids = rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2]
        infos = annotation.segments_info or ()
        if strangers := sorted({int(i) for i in np.unique(ids)} - {0, *(info.id for info in infos)}):
            raise ConfigError(f"{path} has the id {strangers[0]}, which segments_info of {self.file} does not list")
        return tuple(TrueSegment(self._name(i.category_id), ids == i.id, i.iscrowd) for i in infos)

    def _instance(self, annotation: _Annotation, picture: _Picture) -> TrueSegment | None:
        """An annotation's area; None for one that is only a box."""
        if not annotation.segmentation:
            return None
        runs: Any = registry.import_target("faster_coco_eval.core:mask", extra=EXTRA)
        size = picture.height, picture.width
        match annotation.segmentation:
            case _Runs(size=said) if said != size:
                raise ConfigError(
                    f"{self.file} has runs for {said[1]}x{said[0]} pixels, their picture {picture.file_name} is "
                    f"{size[1]}x{size[0]}: correct the file"
                )
            case _Runs(counts=str(text)):
                coded = {"size": list(size), "counts": text.encode()}
            case _Runs(counts=tuple(counts)):
                if sum(counts) != size[0] * size[1] or min(counts) < 0:
                    raise ConfigError(
                        f"{self.file} has runs over {sum(counts)} pixels for {picture.file_name} of "
                        f"{size[0] * size[1]}: correct the file"
                    )
                coded = runs.frPyObjects({"size": list(size), "counts": list(counts)}, *size)
            case polygons:
                if any(len(polygon) < 6 or len(polygon) % 2 for polygon in polygons):
                    raise ConfigError(
                        f"{self.file} has a polygon on {picture.file_name} of under three points, or of an odd number "
                        "of coordinates: correct the file"
                    )
                coded = runs.merge(runs.frPyObjects([list(polygon) for polygon in polygons], *size))
        mask: Bool = np.asarray(runs.decode(coded)).reshape(size) > 0
        return TrueSegment(self._name(annotation.category_id), mask, annotation.iscrowd, annotation.area)


def is_coco(path: Path) -> bool:
    """Whether `--data` means a COCO file."""
    return path.suffix.lower() == ".json"


def labels_png(ids: NDArray[np.int32]) -> U8:
    """Ids HxW, 0 for none, as the RGB that a panoptic PNG has: uint8 HxWx3."""
    return np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)


def _around(segment: TrueSegment) -> NamedBox:
    rows, columns = (np.flatnonzero(segment.mask.any(axis=axis)).tolist() for axis in (1, 0))
    box = (float(columns[0]), float(rows[0]), columns[-1] + 1.0, rows[-1] + 1.0)
    return NamedBox(segment.name, box, 1.0, segment.crowd, segment.area)


def inside(folder: Path, name: str, file: Path) -> Path:
    """A file of the folder; ConfigError for a name that leads out of it, or to nothing."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(f"{file} names {name!r}, which is outside {folder}: names must stay in their folder")
    if not path.is_file():
        raise ConfigError(f"{file} names {name!r}, which is not in {folder}: put it there, or remove it from the file")
    return path
