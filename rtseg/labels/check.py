"""What is wrong with a folder of labelled pictures, before a training of hours finds out, and its contact sheet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from rtseg.datasets import DataSet, read_mask
from rtseg.errors import SourceError
from rtseg.labels.folder import hard, mask_path, pictures
from rtseg.labels.sheet import Sheet, shown
from rtseg.ops.arrays import U8


@dataclass(frozen=True, slots=True)
class Checked:
    """pictures: with a usable mask. present: region -> in how many of them. coverage: region -> mean share of a picture
    where it is present, 0..1. problems: file -> what is wrong and what to do. unlabelled: stems without a mask.
    """  # fmt: skip

    pictures: int
    present: Mapping[str, int]
    coverage: Mapping[str, float]
    problems: Mapping[Path, str] = field(default_factory=dict)
    unlabelled: tuple[str, ...] = ()


def check(data: DataSet, *, sheet: Path | None = None) -> Checked:
    """Look at every picture and mask of a set; `sheet` is where the contact sheet is written."""
    found = pictures(data.folder)
    stems = [stem for stem in found if mask_path(data, stem).exists()]
    problems: dict[Path, str] = {}
    shares: dict[str, list[float]] = {name: [] for name in data.regions}
    drawn, tiles = shown(stems), Sheet(data)
    good = 0
    for stem in stems:
        path = mask_path(data, stem)
        try:
            if wrong := _strange(data, path):
                problems[path] = wrong
                continue
            sample = data.read(stem)
        except SourceError as error:
            problems[path] = str(error)
            continue
        good += 1
        for name, plane in sample.planes.items():
            if share := float(hard(plane).mean()):
                shares[name].append(share)
        if stem in drawn:
            tiles.add(sample)
    for path in sorted((data.folder / data.masks).glob("*.png")):
        if path.stem not in found:
            problems[path] = f"{path} has no picture: put one of that name into images/, or remove it"
    if sheet is not None:
        tiles.write(sheet)
    return Checked(
        good,
        {name: len(values) for name, values in shares.items()},
        {name: float(np.mean(values)) if values else 0.0 for name, values in shares.items()},
        problems,
        tuple(stem for stem in found if stem not in stems),
    )


def _strange(data: DataSet, path: Path) -> str | None:
    """What a mask holds that the set gives no meaning; None where all is well."""
    try:
        with Image.open(path) as image:
            mode = image.mode
            coloured = mode.startswith("RGB") and not _is_grey(np.asarray(image.convert("RGB")))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None  # reading it says so better
    if data.kind in ("binary", "alpha"):
        if mode == "P" or coloured:
            # Of a palette the numbers are read: black and white would be 0 and 1, which is nothing and nothing.
            return f"{path} holds {'a palette' if mode == 'P' else 'colours'}: save it as grey, white for the region"
        return None
    if mode.startswith("RGB"):
        return (
            f"{path} holds colours, where its values should be numbers: save it as an indexed (palette) PNG, "
            "or convert colours with `rtseg label import`"
        )
    if data.kind == "instances":
        return None
    known = {0, *data.ignore, *(value for values in data.regions.values() for value in values)}
    if strangers := sorted(set(np.unique(read_mask(path)).tolist()) - known):
        return (
            f"{path} holds {', '.join(map(str, strangers[:8]))}, which mean nothing: allowed are "
            f"{', '.join(map(str, sorted(known)))}; paint over them, or name them in regions or ignore of data.toml"
        )
    return None


def _is_grey(rgb: U8) -> bool:
    return bool((rgb == rgb[..., :1]).all())
