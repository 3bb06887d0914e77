"""Pictures without the subject, to put one before: taken from folders, or made by painting the subject over."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator

from rtseg.datasets import IMAGE_SUFFIXES, hash_share, read_mask, read_rgb
from rtseg.errors import ConfigError
from rtseg.ops.arrays import U8, as_u8
from rtseg.train.recipe import BackgroundOptions


class Backgrounds:
    """Draws pictures, uint8 HxWx3 RGB, at most 640 pixels a side; each is read once and kept.

    Raises ConfigError where the folders have no picture that may be used.
    """

    def __init__(self, options: Sequence[BackgroundOptions]) -> None:
        self._places = [(path, one) for one in options for path in _pictures(one)]
        self._kept: dict[Path, U8] = {}
        if not self._places:
            raise ConfigError("augment.background and augment.empty need pictures: name folders in augment.backgrounds")

    def draw(self, chance: Generator) -> U8:
        """One of them."""
        path, options = self._places[int(chance.integers(len(self._places)))]
        if path not in self._kept:
            rgb = at_most(read_rgb(path), 640)
            if options.fill:
                rgb = paint_over(rgb, read_mask(_mask_of(path)) > 0)
            self._kept[path] = rgb
        return self._kept[path]


def paint_over(rgb: U8, subject: np.ndarray) -> U8:
    """A picture with what `subject` (HxW) marks, and a margin, filled from around it, at a quarter of the size."""
    height, width = rgb.shape[:2]
    small = max(1, width // 4), max(1, height // 4)
    mask = cv2.resize(subject.astype(np.uint8) * 255, small, interpolation=cv2.INTER_AREA)
    hole = cv2.dilate(mask, np.ones((7, 7), np.uint8))
    filled = cv2.inpaint(
        cv2.resize(rgb, small, interpolation=cv2.INTER_AREA),
        np.where(hole > 0, 255, 0).astype(np.uint8),
        3,
        cv2.INPAINT_TELEA,
    )
    alpha = cv2.GaussianBlur(cv2.resize(hole, (width, height)), (0, 0), 2).astype(np.float32)[..., None] / 255
    return as_u8((cv2.resize(filled, (width, height)) * alpha + rgb * (1 - alpha)).astype(np.uint8))


def at_most(rgb: U8, side: int) -> U8:
    """A picture made smaller until no side is longer than `side`."""
    factor = side / max(rgb.shape[:2])
    if factor >= 1:
        return rgb
    size = round(rgb.shape[1] * factor), round(rgb.shape[0] * factor)
    return as_u8(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA))


def _pictures(options: BackgroundOptions) -> list[Path]:
    """The folder's pictures that may be used, without a fixed share that is held back as elsewhere."""
    paths = sorted(path for path in (options.folder / "images").glob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    return [path for path in paths if hash_share(path.stem) >= 0.2 and _allowed(path, options)]


def _allowed(path: Path, options: BackgroundOptions) -> bool:
    return not options.absent or not np.isin(read_mask(_mask_of(path)), options.absent).any()


def _mask_of(path: Path) -> Path:
    return path.parent.parent / "masks" / f"{path.stem}.png"
