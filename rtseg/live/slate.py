"""A plain card in place of a picture that there is not, or that nobody may see."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from rtseg.ops.colour import Colour
from rtseg.types import Frame, Size

_GROUND, _INK = 40, 210
"""Luma of the card and of its letters, within limited range."""


@lru_cache(maxsize=8)
def slate(size: Size, text: str) -> Frame:
    """A dark grey frame, 4:2:0 BT.709 of limited range, with `text` in its middle; lines that are too long are wrapped.

    size: of the frame. Frames are kept for the last sizes and texts.
    """
    width, height = size
    luma = np.full((height, width), _GROUND, np.uint8)
    chroma = np.full(((height + 1) // 2, (width + 1) // 2), 128, np.uint8)
    scale, thick = max(0.3, height / 900), max(1, round(height / 480))
    lines = _wrapped(text, scale, thick, most=0.86 * width)
    step = round(44 * scale)
    top = height // 2 - step * (len(lines) - 1) // 2
    for number, line in enumerate(lines):
        wide = _width(line, scale, thick)
        place = (max(0, (width - wide) // 2), top + number * step)
        cv2.putText(luma, line, place, cv2.FONT_HERSHEY_SIMPLEX, scale, _INK, thick, cv2.LINE_AA)
    return Frame((luma, chroma, chroma), Colour("bt709"))


def _width(line: str, scale: float, thick: int) -> int:
    return int(cv2.getTextSize(line, cv2.FONT_HERSHEY_SIMPLEX, scale, thick)[0][0])


def _wrapped(text: str, scale: float, thick: int, *, most: float) -> list[str]:
    lines = [""]
    for word in text.encode("ascii", "replace").decode().split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and _width(longer, scale, thick) > most:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
