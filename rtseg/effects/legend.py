"""A box in the corner that says which colour stands for which name."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from rtseg.ops.arrays import U8
from rtseg.ops.colour import rgb_to_planes
from rtseg.ops.palette import RGB
from rtseg.ops.text import LEAST_ROWS, rounded_box_alpha, shortened, text_alpha
from rtseg.types import Frame, Layer, Picture

_ROWS = 8
_ENTRIES = 24
_GROUND: RGB = (16, 18, 20)
_GROUND_OPACITY = 0.62
_INK: RGB = (255, 255, 255)


class Legend:
    """Swatches and names as one small layer, drawn once for each frame size, colour and set of names.

    All names are listed, present or not, so that nothing flickers: at most 24, in columns of 8, the rest counted.
    Text is 3 percent of the frame's height, 13 rows at least, and smaller where the box would not fit.
    """

    def __init__(self) -> None:
        self._key: object = None
        self._layer: Layer | None = None

    def __call__(self, frame: Frame, swatches: Mapping[str, RGB]) -> Layer | None:
        """The layer for frames like this one; None where there is nothing to say or no room to say it."""
        key = (frame.size, frame.planes[1].shape, frame.colour, tuple(swatches.items()))
        if key != self._key:
            self._layer = _drawn(frame, swatches) if swatches else None
            self._key = key
        return self._layer


def _drawn(frame: Frame, swatches: Mapping[str, RGB]) -> Layer | None:
    width, height = frame.size
    text = max(13, round(0.03 * height))
    while text >= LEAST_ROWS:
        colour, alpha = _box(swatches, text)
        margin = _even(0.6 * text)
        if alpha.shape[1] + 2 * margin <= 0.75 * width and alpha.shape[0] + 2 * margin <= height:
            break
        text = min(text - 1, round(0.8 * text))
    else:
        return None
    # Corners and sides are even, so that the box's chroma lies on the frame's.
    rows, columns = alpha.shape
    step = (2 if width > frame.planes[1].shape[1] else 1, 2 if height > frame.planes[1].shape[0] else 1)
    picture = Frame(rgb_to_planes(colour, frame.colour, subsample=step), frame.colour)
    return Layer(alpha, Picture(picture), (margin, margin, margin + columns, margin + rows))


def _box(swatches: Mapping[str, RGB], text: int) -> tuple[U8, U8]:
    """Straight colour, RGB uint8 HxWx3, and alpha, uint8 HxW."""
    shown = list(swatches.items())[:_ENTRIES]
    lines = [(text_alpha(shortened(name), text), rgb) for name, rgb in shown]
    if len(swatches) > _ENTRIES:
        lines.append((text_alpha(f"+ {len(swatches) - _ENTRIES} more", text), _GROUND))
    pad, pitch, swatch = round(0.55 * text), round(1.3 * text), round(0.75 * text)
    columns = [lines[i : i + _ROWS] for i in range(0, len(lines), _ROWS)]
    widths = [swatch + pad + max(alpha.shape[1] for alpha, _ in column) for column in columns]
    size = (_even(sum(widths) + pad * (2 * len(columns) + 1)), _even(pitch * len(columns[0]) + 2 * pad))

    cover = rounded_box_alpha(size, 0.4 * text) / 255.0 * _GROUND_OPACITY
    ink = np.broadcast_to(np.array(_GROUND, float), (*cover.shape, 3)) * cover[..., None]
    x = pad
    for column, wide in zip(columns, widths, strict=True):
        for row, (letters, rgb) in enumerate(column):
            y = pad + row * pitch + (pitch - text) // 2
            if rgb != _GROUND:
                _over(ink, cover, rounded_box_alpha((swatch, swatch), 0.2 * swatch), rgb, x, y + (text - swatch) // 2)
            _over(ink, cover, letters, _INK, x + swatch + pad, y)
        x += wide + 2 * pad
    straight = ink / np.maximum(cover, 1e-6)[..., None]
    return np.rint(straight).astype(np.uint8), np.rint(255.0 * cover).astype(np.uint8)


def _over(ink: NDArray[np.float64], cover: NDArray[np.float64], alpha: U8, rgb: RGB, x: int, y: int) -> None:
    """Porter and Duff's "over" onto premultiplied `ink` and `cover`, in place."""
    part = np.s_[y : y + alpha.shape[0], x : x + alpha.shape[1]]
    opaque = alpha / 255.0
    ink[part] = ink[part] * (1.0 - opaque[..., None]) + opaque[..., None] * np.array(rgb, float)
    cover[part] = cover[part] * (1.0 - opaque) + opaque


def _even(length: float) -> int:
    return 2 * round(length / 2)
