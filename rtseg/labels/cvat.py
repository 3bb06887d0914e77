"""CVAT's "Segmentation mask 1.1": masks in colours, and a labelmap.txt that says which colour is what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rtseg.datasets import IMAGE_SUFFIXES
from rtseg.errors import ConfigError, SourceUnreadable
from rtseg.labels.folder import UNKNOWN
from rtseg.labels.taking import UNKNOWN_NAMES, Taken, Taker, check_present, pictures_folder, values_for
from rtseg.ops.palette import RGB

BACKGROUND = "background"


def read_colour_masks(
    export: Path,
    folder: Path,
    *,
    images: Path | None = None,
    regions: Sequence[str] | None = None,
    instances: bool = False,
    replace: bool = False,
) -> Taken:
    """Make `folder` of an unpacked export: of SegmentationClass, or with `instances` of SegmentationObject.

    images: the folder of the pictures, else JPEGImages in the export, which has it when images were saved with it.
    Raises ConfigError for colours without a name and for masks of another size, SourceUnreadable.
    """
    labels = read_labelmap(export / "labelmap.txt")
    names = {name: number for number, name in enumerate(_foreground(labels), start=1)}
    values = values_for(names, wanted=regions, instances=instances)
    masks = export / ("SegmentationObject" if instances else "SegmentationClass")
    found = {path.relative_to(masks).with_suffix("").as_posix(): path for path in sorted(masks.rglob("*.png"))}
    if not found:
        raise ConfigError(f"{masks} has no masks: export 'Segmentation mask 1.1' from CVAT and unpack it")
    if instances and (others := [name for name in names if name not in values]):
        raise ConfigError(
            f"objects of {', '.join(others)} cannot be told from the others in {masks}: "
            "export COCO from CVAT to import instances of one label among several"
        )
    place = pictures_folder(images, export, (export / "JPEGImages", export / "images"))
    pictures = {stem: _picture(place, stem) for stem in found}
    check_present(list(pictures.values()), place, export)
    table = {
        rgb: 0 if name == BACKGROUND else UNKNOWN if name.lower() in UNKNOWN_NAMES else values.get(name, 0)
        for name, rgb in labels.items()
    }
    if instances:
        taker = Taker(folder, "instances", dict.fromkeys(values, ()), images=place, replace=replace)
    else:
        taker = Taker(
            folder, "index", {name: (value,) for name, value in values.items()}, images=place, replace=replace
        )
    background = labels.get(BACKGROUND, (0, 0, 0))
    for stem, path in found.items():
        if not taker.wants(pictures[stem]):
            continue
        codes = _codes(path, list(labels.values()))
        size = taker.size(pictures[stem])
        if codes.shape != (size[1], size[0]):
            raise ConfigError(
                f"{path} is {codes.shape[1]}x{codes.shape[0]}, its picture {size[0]}x{size[1]}: "
                "give the pictures that were labelled with --images"
            )
        taker.take(pictures[stem], _numbered(codes, background) if instances else _valued(codes, table, path))
    return taker.done()


def read_labelmap(path: Path) -> dict[str, RGB]:
    """Name -> colour, of lines "name:r,g,b:parts:actions". Raises ConfigError."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} cannot be read: give the unpacked folder of CVAT's 'Segmentation mask 1.1'"
        ) from error
    labels: dict[str, RGB] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        try:
            red, green, blue = (int(part) for part in rest.split(":")[0].split(","))
        except ValueError as error:
            raise ConfigError(f"{path}, line {number}: {line!r} is not name:r,g,b::") from error
        if not all(0 <= part <= 255 for part in (red, green, blue)):
            raise ConfigError(f"{path}, line {number}: colours are 0 to 255, not {red},{green},{blue}")
        if (red, green, blue) in labels.values() or name in labels:
            raise ConfigError(f"{path}, line {number}: {name!r} or its colour was there before: give each its own")
        labels[name] = (red, green, blue)
    if not _foreground(labels):
        raise ConfigError(f"{path} names no label but the background")
    return labels


def _foreground(labels: Mapping[str, RGB]) -> list[str]:
    return [name for name in labels if name != BACKGROUND]


def _picture(images: Path, stem: str) -> str:
    """The name of the picture of that stem; the first that could be where there is none."""
    names = [f"{stem}{suffix}" for each in IMAGE_SUFFIXES for suffix in (each, each.upper())]
    return next((name for name in names if (images / name).is_file()), names[0])


def _codes(path: Path, colours: Sequence[RGB]) -> NDArray[np.uint32]:
    """The colours of a mask as red * 65536 + green * 256 + blue, HxW; grey masks hold places in the labelmap."""
    try:
        with Image.open(path) as image:
            if image.mode == "L":
                places = np.asarray(image)
                if places.max() < len(colours):
                    return np.array([_code(rgb) for rgb in colours], np.uint32).take(places)
            planes = np.asarray(image.convert("RGB")).astype(np.uint32)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise SourceUnreadable(f"{path} cannot be read as a mask: export it again") from error
    codes: NDArray[np.uint32] = planes @ np.array([65536, 256, 1], np.uint32)
    return codes


def _code(rgb: RGB) -> int:
    return rgb[0] << 16 | rgb[1] << 8 | rgb[2]


def _valued(codes: NDArray[np.uint32], table: Mapping[RGB, int], path: Path) -> NDArray[np.uint8]:
    mask = np.zeros(codes.shape, np.uint8)
    named: NDArray[np.bool_] = codes == 0  # black is nothing, whether or not labelmap.txt says so
    for rgb, value in table.items():
        here = codes == _code(rgb)
        mask[here] = value
        named |= here
    if not named.all():
        code = int(codes[~named][0])
        colour = f"{code >> 16},{code >> 8 & 255},{code & 255}"
        raise ConfigError(
            f"{path} has {int((~named).sum())} pixels of colours that labelmap.txt does not name, such as {colour}: "
            "add a line for it, or export the mask again"
        )
    return mask


def _numbered(codes: NDArray[np.uint32], background: RGB) -> NDArray[np.uint16]:
    mask = np.zeros(codes.shape, np.uint16)
    objects = [code for code in np.unique(codes) if code not in (0, _code(background))]
    for number, code in enumerate(objects, start=1):
        mask[codes == code] = number
    return mask
