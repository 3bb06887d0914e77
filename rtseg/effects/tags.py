"""Names and scores beside the instances of a result."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rtseg.ops.arrays import U8, as_u8
from rtseg.ops.palette import RGB
from rtseg.ops.text import rounded_box_alpha, text_alpha
from rtseg.types import Frame, Instances, Layer, Solid

MOST = 20
"""Tags in a picture: more hide what they name, and each is two layers."""

_LETTERS = 22
_SMALLEST = 11  # rows of text; under this nobody reads it
_OPACITY = 0.85
_INK: RGB = (255, 255, 255)
_DARK: RGB = (16, 18, 20)


def tags(frame: Frame, found: Instances, colours: Mapping[str, RGB]) -> list[Layer]:
    """Two layers for each of the `MOST` best instances that have a colour, "car 85 %" on it, the best on top.

    A tag stands on its box's upper left corner, or under it where there is no room, and inside the frame. Text is 2.5
    percent of the frame's height, 11 rows at least; a frame that is too small for a tag goes without it.
    """
    text = max(_SMALLEST, round(0.025 * frame.size.height))
    shown = [i for i in np.argsort(-found.scores, kind="stable") if found.names[found.labels[i]] in colours][:MOST]
    layers: list[Layer] = []
    for index in reversed(shown):
        name = found.names[found.labels[index]]
        short = name if len(name) <= _LETTERS else name[: _LETTERS - 3] + "..."
        letters = text_alpha(f"{short} {100 * found.scores[index]:.0f} %", text)
        pad = round(0.35 * text)
        width, height = letters.shape[1] + 2 * pad, text + pad
        if width > frame.size.width or height > frame.size.height:
            continue
        left, top = found.boxes[index, :2].round().astype(int).tolist()
        x = min(max(left, 0), frame.size.width - width)
        y = min(top - height if top >= height else max(top, 0), frame.size.height - height)
        rgb = colours[name]
        box = (x, y, x + width, y + height)
        layers.append(Layer(_ground((width, height), 0.3 * text), Solid(rgb), box))
        x, y = x + pad, y + pad // 2
        layers.append(Layer(letters, Solid(_ink_on(rgb)), (x, y, x + letters.shape[1], y + text)))
    return layers


def _ground(size: tuple[int, int], radius: float) -> U8:
    return as_u8(np.rint(rounded_box_alpha(size, radius) * _OPACITY).astype(np.uint8))


def _ink_on(rgb: RGB) -> RGB:
    """White, or nearly black on light colours (luma of BT.601)."""
    return _DARK if 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2] > 140 else _INK
