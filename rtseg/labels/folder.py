"""A folder of labelled pictures as it is written: images/, masks/ and the data.toml that says what they mean."""

from __future__ import annotations

import contextlib
import io
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

from rtseg.build import build_source
from rtseg.config import ImageSource
from rtseg.datasets import IMAGE_SUFFIXES, DataSet, MaskKind
from rtseg.errors import ConfigError, SourceUnreadable
from rtseg.ops.arrays import U8
from rtseg.ops.palette import RGB, palette_for
from rtseg.sinks.files import encode_image, make_folder, write_whole
from rtseg.types import Frame

UNKNOWN = 255
"""The value of pixels of which an index mask says nothing; no region can have it."""

_SINGLE: RGB = (255, 46, 196)
_UNKNOWN_COLOUR: RGB = (224, 224, 192)
_PLAIN = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
_ORIENTATION = 274  # of EXIF
_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 95)


def open_folder(
    folder: Path,
    kind: MaskKind,
    regions: Mapping[str, Sequence[int]],
    *,
    origin: str = "these labels",
    group: str = ".+",
) -> DataSet:
    """The set in `folder`, which is begun where there is none. ConfigError where the one there means other things.

    group: see `DataSet`.
    """
    check_names(regions)
    wanted = {name: tuple(values) for name, values in regions.items()}
    ignore = (UNKNOWN,) if kind == "index" else ()
    made = DataSet(folder=folder, name=folder.resolve().name, kind=kind, regions=wanted, ignore=ignore, group=group)
    path = folder / "data.toml"
    if path.exists():
        data = read_set(folder)
        if (data.kind, data.regions) != (kind, wanted):
            raise ConfigError(
                f"{path} is about {_meaning(data)}, but {origin} would be about {_meaning(made)}: "
                "choose another folder, or the same regions and kind"
            )
        return data
    for part in ("images", "masks"):
        make_folder(folder / part)
    write_whole(path, _toml(made).encode())
    return made


def read_set(folder: Path) -> DataSet:
    """The set that `folder`, or a data.toml itself, describes. Raises ConfigError."""
    path = folder / "data.toml" if folder.is_dir() else folder
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8")).get("data")
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read ({error.strerror or error}): give a folder that `rtseg label` made"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not a TOML file: {error}") from error
    if not isinstance(tables, list) or len(tables) != 1 or not isinstance(tables[0], dict):
        raise ConfigError(f"{path} must have one [[data]] table, with folder, kind and regions")
    try:
        table = {key: value for key, value in tables[0].items() if key in DataSet.model_fields}
        data = DataSet.model_validate(table)
    except ValidationError as error:
        raise ConfigError(f"{path}: {explained(error)}") from error
    return data.model_copy(update={"folder": path.parent / data.folder})


def explained(error: ValidationError) -> str:
    """The first thing that is wrong with data, and where."""
    problem = error.errors()[0]
    where = ".".join(map(str, problem["loc"])) or "it"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{where}: {problem['msg'][0].lower()}{problem['msg'][1:]}{more}"


def check_names(names: Mapping[str, Any] | Sequence[str]) -> None:
    """Refuse names of regions that no file can hold."""
    for name in names:
        if not name.strip() or not name.isprintable():
            raise ConfigError(f"{name!r} is no name for a region: use letters, digits and signs on one line")


def pictures(folder: Path) -> dict[str, Path]:
    """Stem -> picture in `folder`/images, in order."""
    found = sorted((folder / "images").glob("*"))
    return {path.stem: path for path in found if path.suffix.lower() in IMAGE_SUFFIXES}


def mask_path(data: DataSet, stem: str) -> Path:
    """Where the mask of a picture is, or will be."""
    return data.folder / data.masks / f"{stem}.png"


def write_frame(frame: Frame, folder: Path, stem: str) -> Path:
    """A frame as JPEG of quality 95 in images/; the path."""
    path = folder / "images" / f"{stem}.jpg"
    write_whole(path, encode_image(frame.bgr, path, _JPEG))
    return path


def copy_picture(path: Path, folder: Path, stem: str) -> Frame:
    """Copy a picture to images/; the picture. Raises SourceError for one that cannot be read.

    Byte for byte, but for rare formats and for pictures that EXIF turns, which half of all editors show unturned:
    they become upright JPEG.
    """
    with contextlib.closing(build_source(ImageSource(paths=(path,)))) as source:
        frame = next(iter(source), None)
    if frame is None:
        raise SourceUnreadable(f"{path} holds no picture")
    if path.suffix.lower() not in _PLAIN or _is_turned(path):
        write_frame(frame, folder, stem)
    else:
        write_whole(folder / "images" / f"{stem}{path.suffix.lower()}", path.read_bytes())
    return frame


def write_mask(data: DataSet, stem: str, values: NDArray[Any]) -> None:
    """Values HxW as masks/STEM.png: with colours for index and few instances, grey for the others."""
    path = mask_path(data, stem)
    if int(values.max()) > 255:
        write_whole(path, encode_image(values.astype(np.uint16), path, ()))
        return
    image = Image.fromarray(values.astype(np.uint8))
    if data.kind in ("index", "instances"):
        image.putpalette(bytes(value for rgb in colours_of(data) for value in rgb))
    held = io.BytesIO()
    image.save(held, "PNG")
    write_whole(path, held.getbuffer())


def colours_of(data: DataSet) -> list[RGB]:
    """A colour for each value 0..255 of the set's masks; black for none."""
    colours: list[RGB] = [(0, 0, 0)] * 256
    if data.kind == "instances":
        several = list(palette_for([str(number) for number in range(1, 22)]).values())
        return [(0, 0, 0), *(several[number % len(several)] for number in range(255))]
    for name, colour in region_colours(data).items():
        for value in data.regions[name]:
            if value < 256:
                colours[value] = colour
    for value in data.ignore:
        if value < 256:
            colours[value] = _UNKNOWN_COLOUR
    return colours


def region_colours(data: DataSet) -> dict[str, RGB]:
    """A colour for each region, the same in masks and in the overlay; of a single one, what no room is painted in."""
    return palette_for(list(data.regions), {} if len(data.regions) > 1 else {next(iter(data.regions)): _SINGLE})


def file_stem(text: str) -> str:
    """A name as part of a file's: what is odd in file names becomes a dash."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-.") or "picture"


def read_upright_size(path: Path) -> tuple[int, int]:
    """Width and height of a picture, as it is shown. Raises SourceUnreadable."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            return (height, width) if image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8) else (width, height)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise SourceUnreadable(f"{path} cannot be read as a picture: replace or remove it") from error


def hard(plane: U8) -> NDArray[np.bool_]:
    """Where a soft plane is over a half."""
    return plane > 127


def _is_turned(path: Path) -> bool:
    with contextlib.suppress(OSError, ValueError, SyntaxError), Image.open(path) as image:
        return bool(image.getexif().get(_ORIENTATION, 1) != 1)
    return True


def _toml(data: DataSet) -> str:
    regions = ", ".join(f"{_key(name)} = {list(values)}" for name, values in data.regions.items())
    group = f"group = {_quoted(data.group)}  # pictures whose names agree in it stay together\n"
    ignore = f"ignore = {list(data.ignore)}  # pixels of this value are left out: paint what you cannot tell\n"
    return (
        "# Labelled pictures for `rtseg train` and `rtseg eval`; paths start at this file's folder.\n"
        "# What else can be said (split, share, group, weight, ...): docs/label.md.\n"
        "[[data]]\n"
        'folder = "."\n'
        f"name = {_quoted(data.name)}\n"
        f'kind = "{data.kind}"\n'
        f"regions = {{ {regions} }}\n{ignore if data.ignore else ''}"
        f"{'' if data.group == '.+' else group}"
    )


def _key(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z0-9_-]+", text) else _quoted(text)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _meaning(data: DataSet) -> str:
    regions = ", ".join(f"{name} {list(values)}" for name, values in data.regions.items())
    return f"{data.kind} masks of {regions}"
