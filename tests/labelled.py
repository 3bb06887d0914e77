"""Small folders of labelled pictures, whose every pixel is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.datasets import DataSet, MaskKind
from rtseg.labels.folder import open_folder, write_mask

INDEX = {"road": (1,), "lane": (2,)}


def write_picture(path: Path, *, size: tuple[int, int] = (24, 16)) -> Path:
    """A picture in one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((size[1], size[0], 3), 120, np.uint8))
    return path


def labelled(
    folder: Path,
    masks: Mapping[str, NDArray[Any]],
    *,
    kind: MaskKind = "index",
    regions: Mapping[str, Sequence[int]] = INDEX,
) -> DataSet:
    """A folder with a picture for each mask."""
    data = open_folder(folder, kind, regions)
    for stem, mask in masks.items():
        write_picture(folder / "images" / f"{stem}.png", size=(mask.shape[1], mask.shape[0]))
        write_mask(data, stem, mask)
    return data


def index_mask() -> NDArray[np.uint8]:
    """16x24: a road with a hole of lane in it, two loose lanes, an unknown corner."""
    mask = np.zeros((16, 24), np.uint8)
    mask[6:15, 2:20] = 1
    mask[8:11, 5:9] = 2
    mask[1, 1:4] = 2
    mask[3, 20] = 2
    mask[:2, 22:] = 255
    return mask
