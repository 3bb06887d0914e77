"""The contact sheet of a folder: every picture with its mask on it, to see in a minute which need work."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.datasets import DataSet, Sample
from rtseg.labels.folder import hard, region_colours
from rtseg.ops.arrays import U8, as_u8
from rtseg.ops.palette import RGB
from rtseg.ops.resize import resize
from rtseg.ops.text import text_alpha
from rtseg.sinks.files import encode_image, write_whole

CELL = (320, 180)
"""Width and height of what a picture gets."""
COLUMNS = 5
MOST = 200
"""Pictures on a sheet; of more, evenly spread ones are shown."""

_BAND = 22
_LETTERS = 14
_GAP = 6
_TINT = 0.45


class Sheet:
    """Collects pictures as small tiles and lays them out."""

    def __init__(self, data: DataSet) -> None:
        self._colours = region_colours(data)
        self._tiles: list[U8] = []

    def add(self, sample: Sample) -> None:
        """A picture with its labels: regions tinted and outlined, what is unknown striped away to grey."""
        height, width = sample.known.shape
        scale = min(CELL[0] / width, CELL[1] / height)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        picture = _shrunk(sample.rgb, size)
        for name, plane in sample.planes.items():
            _tint(picture, resize(plane, size), self._colours[name])
        unknown = resize(sample.known, size) < 128
        picture[unknown] = (picture[unknown] // 3 + 140).astype(np.uint8)
        tile = np.full((CELL[1] + _BAND, CELL[0], 3), 255, np.uint8)
        top, left = (CELL[1] - size[1]) // 2, (CELL[0] - size[0]) // 2
        tile[top : top + size[1], left : left + size[0]] = picture
        _write(tile[CELL[1] :], _shortened(sample.stem), 0)
        self._tiles.append(tile)

    def write(self, path: Path) -> None:
        """All tiles under a line that says which colour is which, as PNG."""
        columns = min(COLUMNS, max(1, len(self._tiles)))
        rows = max(1, math.ceil(len(self._tiles) / columns))
        high, wide = CELL[1] + _BAND + _GAP, CELL[0] + _GAP
        sheet = np.full((_BAND + rows * high + _GAP, columns * wide + _GAP, 3), 255, np.uint8)
        x = _GAP
        for name, colour in self._colours.items():
            if x + _BAND > sheet.shape[1]:
                break
            sheet[4 : _BAND - 4, x : x + _LETTERS] = colour
            x = _write(sheet[:_BAND], name, x + _LETTERS + 6) + 14
        for number, tile in enumerate(self._tiles):
            row, column = divmod(number, columns)
            y, x = _BAND + row * high, _GAP + column * wide
            sheet[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
        bgr = cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR)
        write_whole(path, encode_image(bgr, path, (cv2.IMWRITE_PNG_COMPRESSION, 6)))


def shown(stems: list[str]) -> set[str]:
    """Those that get a place on the sheet."""
    return set(stems[:: math.ceil(len(stems) / MOST) or 1])


def _shrunk(rgb: U8, size: tuple[int, int]) -> U8:
    larger = size[0] > rgb.shape[1]
    return as_u8(cv2.resize(rgb, size, interpolation=cv2.INTER_LINEAR if larger else cv2.INTER_AREA))


def _tint(picture: U8, plane: U8, colour: RGB) -> None:
    alpha: NDArray[np.float32] = plane.astype(np.float32)[..., None] * np.float32(_TINT / 255)
    picture[:] = np.rint(picture * (1 - alpha) + alpha * np.array(colour, np.float32)).astype(np.uint8)
    inside = hard(plane).astype(np.uint8)
    edge = cv2.morphologyEx(inside, cv2.MORPH_GRADIENT, np.ones((2, 2), np.uint8))
    picture[edge > 0] = colour


def _write(band: U8, text: str, x: int) -> int:
    """Black text into a white band; where it ends."""
    letters = text_alpha(text, _LETTERS)[:, : max(0, band.shape[1] - x)]
    top = (band.shape[0] - _LETTERS) // 2
    band[top : top + _LETTERS, x : x + letters.shape[1]] -= letters[..., None]
    return x + int(letters.shape[1])


def _shortened(stem: str) -> str:
    return stem if len(stem) <= 36 else f"{stem[:14]}...{stem[-19:]}"
