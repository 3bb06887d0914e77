"""Labels of other tools as a folder of ours: pictures copied, masks written, nothing taken from outside a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from numpy.typing import NDArray

from rtseg.datasets import DataSet, MaskKind
from rtseg.errors import ConfigError
from rtseg.labels.folder import (
    UNKNOWN,
    copy_picture,
    file_stem,
    mask_path,
    open_folder,
    pictures,
    read_upright_size,
    write_mask,
)
from rtseg.ops.arrays import U8
from rtseg.sinks.files import encode_image, write_whole

UNKNOWN_NAMES = frozenset({"ignore", "ignored", "void", "unknown"})
"""Labels of areas that say nothing; they become the value 255."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What an import left. made, kept: masks. notes: what was left out, a sentence each."""

    data: DataSet
    made: int
    kept: int
    notes: tuple[str, ...] = ()


class Taker:
    """Writes pictures with masks into a folder of labels; see `rtseg.labels.folder.open_folder` for its errors.

    images: the folder of the pictures. replace: also masks that are there already. group: see `DataSet`.
    """

    def __init__(
        self,
        folder: Path,
        kind: MaskKind,
        regions: Mapping[str, Sequence[int]],
        *,
        images: Path,
        replace: bool,
        group: str = ".+",
    ) -> None:
        self.data = open_folder(folder, kind, regions, group=group)
        self.images, self._replace = images, replace
        self._there = pictures(folder)
        self._taken: dict[str, str] = {}
        self.made = self.kept = 0

    def wants(self, name: str) -> bool:
        """Whether the mask of the picture `name` is to be written; those that are not are counted as kept."""
        stem = self._stem(name)
        if self._taken.setdefault(stem, name) != name:
            raise ConfigError(f"{self._taken[stem]} and {name} would both be called {stem!r}: rename one of them")
        if mask_path(self.data, stem).exists() and stem in self._there and not self._replace:
            self.kept += 1
            return False
        return True

    def size(self, name: str) -> tuple[int, int]:
        """Width and height of a picture. Raises SourceUnreadable."""
        return read_upright_size(self.images / name)

    def take(self, name: str, values: NDArray[Any]) -> None:
        """Copy a picture, unless it is there, and write its mask: values HxW."""
        stem = self._stem(name)
        if stem not in self._there:
            copy_picture(self.images / name, self.data.folder, stem)
        write_mask(self.data, stem, values)
        self.made += 1

    def put(self, name: str, bgr: U8, values: NDArray[Any]) -> None:
        """Write a picture that is no file yet, HxWx3, as PNG, unless it is there, and its mask: values HxW."""
        stem = self._stem(name)
        if stem not in self._there:
            path = self.data.folder / "images" / f"{stem}.png"
            write_whole(path, encode_image(bgr, path, ()))
        write_mask(self.data, stem, values)
        self.made += 1

    def done(self, notes: Sequence[str] = ()) -> Taken:
        """What it came to."""
        return Taken(self.data, self.made, self.kept, tuple(notes))

    @staticmethod
    def _stem(name: str) -> str:
        return file_stem("_".join(PurePosixPath(name).with_suffix("").parts))


def values_for(names: Mapping[str, int], *, wanted: Sequence[str] | None, instances: bool) -> dict[str, int]:
    """Region -> value in an index mask, of a tool's labels and their numbers; ConfigError for what cannot be.

    wanted: only these. Numbers are kept where masks can hold them all, or counted from 1 in their order.
    """
    if wanted is not None and (strangers := [name for name in wanted if name not in names]):
        raise ConfigError(f"no label is called {', '.join(map(repr, strangers))}: there are {', '.join(names)}")
    regions = [name for name in names if (wanted is None or name in wanted) and name.lower() not in UNKNOWN_NAMES]
    if not regions:
        raise ConfigError(f"no label is left of {', '.join(names) or 'an empty list'}: choose others with --regions")
    if instances and len(regions) > 1:
        raise ConfigError(f"instances have one region, not {', '.join(regions)}: choose one with --regions")
    if len(regions) >= UNKNOWN:
        raise ConfigError(f"an index mask holds up to 254 regions, not {len(regions)}: choose some with --regions")
    numbers = [names[name] for name in regions]
    if len(set(numbers)) == len(numbers) and all(0 < number < UNKNOWN for number in numbers):
        return dict(zip(regions, numbers, strict=True))
    return {name: number for number, name in enumerate(regions, start=1)}


def inside(name: str, *, origin: Path) -> str:
    """A relative name of a file as it may be opened in a folder; ConfigError for one that leads out of it."""
    path = PurePosixPath(name.replace("\\", "/"))
    parts = path.parts
    if path.is_absolute() or PureWindowsPath(name).drive or ".." in parts or "\0" in name or not parts:
        raise ConfigError(
            f"{origin} names the picture {name!r}, which leads out of the folder of pictures: "
            "only relative names without '..' are read"
        )
    return str(path)


def pictures_folder(given: Path | None, origin: Path, candidates: Sequence[Path]) -> Path:
    """The folder that was given, or the first candidate that there is."""
    if given is not None:
        if not given.is_dir():
            raise ConfigError(f"{given} is not a folder: give the one with the pictures of {origin}")
        return given
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise ConfigError(f"where are the pictures of {origin}? Say it with --images FOLDER")


def check_present(names: Sequence[str], images: Path, origin: Path) -> None:
    """Refuse labels whose pictures are not there, before anything is written."""
    if missing := [name for name in names if not (images / name).is_file()]:
        few = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise ConfigError(
            f"{len(missing)} of {len(names)} pictures of {origin} are not in {images}: {few}; "
            "give their folder with --images"
        )
