"""Labelled pictures in folders, as training, evaluation and labelling read them.

A set is a folder with `images/` and `masks/`; files of one stem belong together. However its masks are written
(binary, class index, instance ids, soft alpha), what is read is the same: one soft plane a region, and where it
is known.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from rtseg.errors import ConfigError, SourceUnreadable
from rtseg.ops.arrays import U8, as_u8

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")

MaskKind = Literal["binary", "index", "instances", "alpha"]
Part = Literal["train", "held_out", "all"]


class DataSet(BaseModel):
    """Where labelled pictures are and what the values of their masks mean.

    folder: holds `images/` and `masks/` (PNG, one channel; of colour masks the first channel counts). masks: the
    name of that second folder.
    kind: "binary" (over 127 is the region), "alpha" (0..255 soft), "instances" (0 nothing, else an id) with one
    region each; "index" with the mask's values of every region in `regions`. ignore: values that say nothing of the
    pixel (for "index" and "instances"). Regions that a set does not name are unknown in it, not absent.
    split: "hash" holds back a fixed share of the pictures; "train" and "held_out" put the whole set on one side.
    group: a regular expression whose match in the stem names what must not be torn apart, such as a drive.
    held_out: stems that are held back whatever their hash, so that two sets of the same pictures agree.
    view: "head_to_chest" cuts pictures of whole people to what a webcam sees, 16:9; pictures without a person stay.
    weight: how often a picture of this set is drawn, relative to one of another.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    folder: Path
    name: str = ""
    masks: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = "masks"
    kind: MaskKind = "binary"
    regions: dict[str, tuple[Annotated[int, Field(ge=0, le=65535)], ...]]
    ignore: tuple[Annotated[int, Field(ge=0, le=65535)], ...] = ()
    split: Literal["hash", "train", "held_out"] = "hash"
    share: Annotated[float, Field(ge=0.0, le=1.0)] = 0.2
    group: str = ".+"
    held_out: tuple[str, ...] = ()
    view: Literal["whole", "head_to_chest"] = "whole"
    weight: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = 1.0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.regions:
            raise ValueError("regions must name at least one region")
        if self.kind != "index" and len(self.regions) != 1:
            raise ValueError(f"a set of kind {self.kind!r} has one region, not {sorted(self.regions)}")
        if self.kind == "index" and (empty := [name for name, values in self.regions.items() if not values]):
            raise ValueError(f"say which values of the masks are {', '.join(empty)}: regions = {{ {empty[0]} = [1] }}")
        try:
            re.compile(self.group)
        except re.error as error:
            raise ValueError(f"group {self.group!r} is not a regular expression: {error}") from error
        return self

    @property
    def title(self) -> str:
        """The set's name in tables: as given, or its folder's."""
        return self.name or self.folder.name

    @cached_property
    def files(self) -> Mapping[str, tuple[Path, Path]]:
        """Stem -> image and mask, by stem. Raises ConfigError for a folder without labelled pictures."""
        masks = {path.stem: path for path in sorted((self.folder / self.masks).glob("*.png"))}
        images = {
            path.stem: path
            for path in sorted((self.folder / "images").glob("*"))
            if path.suffix.lower() in IMAGE_SUFFIXES and path.stem in masks
        }
        if not images:
            raise ConfigError(
                f"{self.folder} has no labelled pictures: it needs images/NAME.jpg (also "
                f"{', '.join(IMAGE_SUFFIXES[1:])}) and {self.masks}/NAME.png of the same names"
            )
        return {stem: (images[stem], masks[stem]) for stem in sorted(images)}

    def stems(self, part: Part = "all") -> list[str]:
        """The pictures of one side of the split, sorted; both sides together are "all"."""
        if part == "all":
            return list(self.files)
        return [stem for stem in self.files if self.is_held_out(stem) == (part == "held_out")]

    def is_held_out(self, stem: str) -> bool:
        """Whether a picture is kept from training: by the set's side, by name, or by the hash of its group."""
        if self.split != "hash":
            return self.split == "held_out"
        if self.held_out and stem in self.held_out:
            return True
        match = re.search(self.group, stem)
        return hash_share(match.group() if match else stem) < self.share

    def read(self, stem: str) -> Sample:
        """A picture and its labels. Raises SourceUnreadable for files that cannot be decoded or do not fit."""
        image, mask = self.files[stem]
        rgb = read_rgb(image)
        values = read_mask(mask)
        if values.shape != rgb.shape[:2]:
            raise SourceUnreadable(
                f"{mask} is {values.shape[1]}x{values.shape[0]}, its picture {rgb.shape[1]}x{rgb.shape[0]}: "
                "masks must have the size of their pictures"
            )
        sample = Sample(stem, rgb, self._planes(values), *self._known(values))
        return head_to_chest(sample) if self.view == "head_to_chest" else sample

    def _planes(self, values: NDArray[np.uint16]) -> dict[str, U8]:
        match self.kind:
            case "alpha":
                return {name: values.astype(np.uint8) for name in self.regions}
            case "binary":
                return {name: _hard(values > 127) for name in self.regions}
            case "instances":
                return {name: _hard((values > 0) & ~np.isin(values, self.ignore)) for name in self.regions}
            case "index":
                return {name: _hard(np.isin(values, wanted)) for name, wanted in self.regions.items()}

    def _known(self, values: NDArray[np.uint16]) -> tuple[U8, NDArray[np.uint16] | None]:
        usual = self.kind in ("index", "instances") and bool(self.ignore)
        known = _hard(~np.isin(values, self.ignore)) if usual else np.full(values.shape, 255, np.uint8)
        return known, values if self.kind == "instances" else None


@dataclass(frozen=True, eq=False, slots=True)
class Sample:
    """A labelled picture. rgb: uint8 HxWx3. planes: region -> uint8 HxW, 0..255 soft. known: uint8 HxW, 255 where the
    labels mean something, else 0. ids: uint16 HxW, 0 nothing, for sets of instances.
    """

    stem: str
    rgb: U8
    planes: Mapping[str, U8]
    known: U8
    ids: NDArray[np.uint16] | None = field(default=None)


def head_to_chest(sample: Sample, *, share: float = 0.38, aspect: float = 16 / 9) -> Sample:
    """The part of a picture of a standing person that a webcam would show: from over the head down to the chest.

    share: of the person's height. The cut is `aspect` wide, about the middle of the head, and stays in the picture.
    """
    region = next(iter(sample.planes.values()))
    rows = np.flatnonzero((region > 127).any(axis=1))
    if not len(rows):
        return sample
    height, width = region.shape
    tall = min(max(round(share * (rows[-1] + 1 - rows[0]) * 1.12), 16), round(width / aspect), height)
    wide = min(round(tall * aspect), width)
    head = np.flatnonzero((region[rows[0] : rows[0] + max(tall // 3, 1)] > 127).any(axis=0))
    x = min(max(round(float(head.mean()) - wide / 2), 0), width - wide)
    y = min(max(int(rows[0]) - round(0.12 * tall), 0), height - tall)
    cut = np.s_[y : y + tall, x : x + wide]
    planes = {name: np.ascontiguousarray(plane[cut]) for name, plane in sample.planes.items()}
    ids = None if sample.ids is None else sample.ids[cut]
    return Sample(sample.stem, np.ascontiguousarray(sample.rgb[cut]), planes, sample.known[cut], ids)


def hash_share(text: str) -> float:
    """A number 0..1 that depends on the text alone: the same on every machine, in every year."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def place(text: str, file: Path) -> str:
    """A path as a TOML file says it: ${NAME} is the environment's, and relative paths start at the file's folder.

    Raises ConfigError for a variable that is not set.
    """

    def value(match: re.Match[str]) -> str:
        if (found := os.environ.get(match[1])) is None:
            raise ConfigError(f"{file} uses ${{{match[1]}}}, which is not set: export {match[1]}=/a/folder")
        return found

    expanded = re.sub(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", value, text)
    return str(file.resolve().parent / Path(expanded).expanduser())


def read_rgb(path: Path) -> U8:
    """A picture as uint8 HxWx3, RGB, upright; SourceUnreadable where it cannot be decoded."""
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise SourceUnreadable(f"{path} cannot be read as a picture: replace or remove it")
    return as_u8(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))


def read_mask(path: Path) -> NDArray[np.uint16]:
    """The values of a mask, uint16 HxW, of a palette its indices; SourceUnreadable where it cannot be decoded."""
    from PIL import Image, UnidentifiedImageError  # OpenCV would turn the indices of a palette into colours

    try:
        with Image.open(path) as picture:
            values = np.asarray(picture.convert("L") if picture.mode in ("1", "LA") else picture)
    except (OSError, UnidentifiedImageError) as error:
        raise SourceUnreadable(
            f"{path} cannot be read as a mask: it should be a PNG of 8 or 16 bits a pixel"
        ) from error
    return (values if values.ndim == 2 else values[..., 0]).astype(np.uint16)


def _hard(where: NDArray[np.bool_]) -> U8:
    return np.where(where, np.uint8(255), np.uint8(0))
