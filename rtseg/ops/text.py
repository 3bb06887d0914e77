"""Text and boxes as alpha masks, anti-aliased and kept: for legends and head-up displays.

OpenCV 5 draws with a TrueType font, OpenCV 4 with Hershey strokes; sizes are measured rather than assumed, so
that either fills the same rows.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from rtseg.ops.arrays import U8, as_u8

LEAST_ROWS = 11
"""Rows of text under which nobody reads it."""
MOST_LETTERS = 22
"""Of a name that is drawn: longer ones are cut."""

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_SUPERSAMPLING = 4


def shortened(name: str) -> str:
    """A name as it is drawn: of more than `MOST_LETTERS` the beginning, and three dots."""
    return name if len(name) <= MOST_LETTERS else name[: MOST_LETTERS - 3] + "..."


@lru_cache(maxsize=128)
def text_alpha(text: str, height: int) -> U8:
    """One line of text as uint8 HxW, 0..255, read-only: `height` rows, ascender to descender, no side margins.

    White space of any kind becomes single spaces; an empty text is one clear column. Capitals take 7 tenths of
    the height.
    """  # fmt: skip
    text = " ".join(text.split())
    large = height * _SUPERSAMPLING
    above, below = _extent()
    scale = large / (above + below)
    thickness = max(1, round(1.9 * scale))
    (width, _), _ = cv2.getTextSize(text, _FONT, scale, thickness)
    margin = large
    canvas = np.zeros((large, width + 2 * margin), np.uint8)
    cv2.putText(canvas, text, (margin, round(above * scale)), _FONT, scale, 255, thickness, cv2.LINE_AA)
    inked = np.flatnonzero(canvas.any(axis=0))
    if inked.size == 0:
        return _frozen(np.zeros((height, 1), np.uint8))
    left, right = int(inked[0]), int(inked[-1]) + 1
    right += -(right - left) % _SUPERSAMPLING
    small = ((right - left) // _SUPERSAMPLING, height)
    return _frozen(as_u8(cv2.resize(canvas[:, left:right], small, interpolation=cv2.INTER_AREA)))


@lru_cache(maxsize=32)
def rounded_box_alpha(size: tuple[int, int], radius: float) -> U8:
    """A filled box of `size` (width, height) with round corners of `radius` pixels, uint8 HxW, read-only.

    The alpha of a pixel is its coverage by the distance to the outline, exact to a level along straight edges:
    q = |p| - half + radius; d = |max(q, 0)| + min(max(q.x, q.y), 0) - radius (I. Quilez, "2D distance functions").
    """
    width, height = size
    radius = min(radius, width / 2, height / 2)
    x = (np.abs(np.arange(width) + 0.5 - width / 2) - width / 2 + radius)[None, :]
    y = (np.abs(np.arange(height) + 0.5 - height / 2) - height / 2 + radius)[:, None]
    outside = np.hypot(np.maximum(x, 0.0), np.maximum(y, 0.0))
    distance = outside + np.minimum(np.maximum(x, y), 0.0) - radius
    return _frozen(np.rint(255.0 * np.clip(0.5 - distance, 0.0, 1.0)).astype(np.uint8))


@lru_cache(maxsize=1)
def _extent() -> tuple[float, float]:
    """How far ink reaches above and below the baseline at font scale 1, in pixels."""
    scale, baseline = 8.0, 400
    canvas = np.zeros((2 * baseline, 1200), np.uint8)
    cv2.putText(canvas, "dHg", (100, baseline), _FONT, scale, 255, round(1.9 * scale), cv2.LINE_AA)
    rows = np.flatnonzero(canvas.any(axis=1))
    return (baseline - int(rows[0])) / scale, (int(rows[-1]) + 1 - baseline) / scale


def _frozen(alpha: U8) -> U8:
    alpha.flags.writeable = False
    return alpha
