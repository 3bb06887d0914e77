"""What displays are drawn with: shapes, words and plates as small layers, anti-aliased."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.ops.arrays import U8, as_u8
from rtseg.ops.palette import RGB
from rtseg.ops.text import LEAST_ROWS, rounded_box_alpha, text_alpha
from rtseg.types import Box, Layer, Size, Solid

F64 = NDArray[np.float64]
_SHIFT = 4  # of OpenCV's fixed-point coordinates
_FAR = 8192.0  # pixels beyond the frame that they still hold


def text_rows(size: Size, share: float) -> int:
    """Rows of text that takes a share of the frame's height; never fewer than can be read."""
    return max(LEAST_ROWS, round(share * size.height))


def shape(outlines: Sequence[F64], size: Size, rgb: RGB, opacity: float, *, fade: float = 0.0) -> Layer | None:
    """Polygons, Nx2 in pixels, as one layer over the frame; None where none is in it.

    Alpha has 360 to 720 rows: compiled loops enlarge it as they blend, for less than a box at full size costs. fade:
    share of the rows that are painted, from the top, over which alpha grows from a tenth to all.
    """
    step = 1 << max(0, int(np.log2(size.height / 360))) if size.height > 360 else 1
    columns, rows = max(1, size.width // step), max(1, size.height // step)
    kept = [each for each in outlines if len(each) > 2 and np.isfinite(each).all()]
    if not kept:
        return None
    scale = np.array([columns / size.width, rows / size.height])
    points = np.clip(np.concatenate(kept), -_FAR, _FAR) * scale
    (left, first), (right, last) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    top, bottom = max(0, int(first)), min(rows, int(last) + 2)
    if top >= bottom or right <= 0 or left >= columns:
        return None
    # A pixel's centre is a whole number to OpenCV and a half to us.
    fixed = np.rint((points - 0.5) * (1 << _SHIFT)).astype(np.int32)
    alpha = np.zeros((rows, columns), np.uint8)
    start = 0
    for each in kept:
        cv2.fillPoly(alpha, [fixed[start : start + len(each)]], round(255 * opacity), cv2.LINE_AA, _SHIFT)
        start += len(each)
    if fade > 0:
        part = alpha[top:bottom]
        part[:] = cv2.multiply(part, np.repeat(_ramp(bottom - top, fade)[:, None], columns, axis=1), scale=1 / 255)
    return Layer(alpha, Solid(rgb))


@lru_cache(maxsize=64)
def _ramp(rows: int, fade: float) -> U8:
    return np.clip(25 + 230 * np.arange(rows) / max(1.0, fade * rows), 25, 255).astype(np.uint8)


@lru_cache(maxsize=256)
def words(text: str, rows: int) -> U8:
    """A line of text as alpha, uint8 rows x W, read-only. Words with digits are put together of kept digits.

    Digits have one width: numbers that change with each frame cost no drawing, and do not jitter. Spaces add up.
    """
    gap = np.zeros((rows, max(2, round(0.32 * rows))), np.uint8)
    parts: list[U8] = []
    for word in text.split(" "):
        parts.append(gap)
        if word:
            parts.append(_numeral(word, rows) if any(map(str.isdecimal, word)) else text_alpha(word, rows))
    made = as_u8(np.hstack(parts[1:])) if text.strip() else np.zeros((rows, 1), np.uint8)
    made.flags.writeable = False  # it is kept
    return made


def _numeral(word: str, rows: int) -> U8:
    wide = max(text_alpha(digit, rows).shape[1] for digit in "023456789")
    gap = np.zeros((rows, max(1, round(0.09 * rows))), np.uint8)
    parts: list[U8] = []
    for letter in word:
        alpha = text_alpha(letter, rows)
        if letter.isdecimal() and alpha.shape[1] < wide:
            left = (wide - alpha.shape[1]) // 2
            alpha = as_u8(np.pad(alpha, ((0, 0), (left, wide - alpha.shape[1] - left))))
        parts += [gap, alpha]
    return as_u8(np.hstack(parts[1:]))


def plate(
    letters: U8, at: tuple[int, int], *, ground: RGB, ink: RGB, opacity: float, pad: int | None = None
) -> tuple[Layer, Layer]:
    """Words on a rounded box whose left upper corner is `at`: two layers."""
    box, inner = plate_box(letters, at, pad)
    x0, y0, x1, y1 = box
    return (
        Layer(_ground((x1 - x0, y1 - y0), opacity), Solid(ground), box),
        Layer(letters, Solid(ink), inner),
    )


def plate_box(letters: U8, at: tuple[int, int], pad: int | None = None) -> tuple[Box, Box]:
    """The box of a plate, and that of the words on it."""
    rows, columns = letters.shape
    across = round(0.4 * rows) if pad is None else pad
    down = max(1, across // 2)
    x, y = at
    inner = (x + across, y + down, x + across + columns, y + down + rows)
    return (x, y, x + columns + 2 * across, y + rows + 2 * down), inner


@lru_cache(maxsize=128)
def _ground(size: tuple[int, int], opacity: float) -> U8:
    full = rounded_box_alpha(size, 0.22 * size[1])
    return full if opacity >= 1 else np.rint(full * opacity).astype(np.uint8)


def ink_on(rgb: RGB) -> RGB:
    """White, or nearly black on light colours (luma of BT.601)."""
    return (16, 18, 20) if 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2] > 140 else (255, 255, 255)
