"""A line along the edge of what was segmented."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from rtseg.effects.selection import check_names, select
from rtseg.errors import ConfigError
from rtseg.ops.arrays import U8, as_u8
from rtseg.ops.palette import RGB
from rtseg.ops.resize import enlarge
from rtseg.types import Frame, Layer, Observation, Segmentation, Solid

_WIDEST = 640


class Outline:
    """The contour of each named mask at probability one half, as one layer.

    names: what to outline, default all. width: of the line in percent of the frame's height, to the nearest that
    whole pixels at a width of 640 can draw. Raises ConfigError for a width that is not over 0 and up to 5, and
    at the first frame for names that the model does not have.
    """

    def __init__(self, *, names: Sequence[str] | None = None, rgb: RGB = (255, 255, 255), width: float = 0.6):
        if not 0.0 < width <= 5.0:
            raise ConfigError(f"the outline's width must be over 0 and up to 5 percent of the height, not {width}")
        self._names = None if names is None else tuple(names)
        self._paint = Solid(rgb)
        self._width = width
        self._checked: tuple[str, ...] | None = None

    def __call__(
        self, frame: Frame, segmentation: Segmentation, _observations: Sequence[Observation], /
    ) -> Sequence[Layer]:
        """One layer at 640 columns or less; none where there is no edge."""
        if self._names is not None and segmentation.names != self._checked:
            check_names(self._names, segmentation.names)
            self._checked = segmentation.names
        masks = select(segmentation, segmentation.names if self._names is None else self._names)
        width, height = frame.size
        if width > _WIDEST:
            width, height = _WIDEST, max(1, round(height * _WIDEST / width))
        radius = max(1, round(self._width / 100.0 * height / 2.0))
        lines = [_contour(mask, (width, height), radius) for mask in masks.values()]
        if not lines:
            return ()
        line = lines[0]
        for other in lines[1:]:
            line = np.maximum(line, other)
        return (Layer(line, self._paint),) if line.any() else ()


def _contour(mask: U8, size: tuple[int, int], radius: int) -> U8:
    """The morphological gradient of the enlarged mask made steep: 2 radius wide and centred on the half level.

    The steep mask keeps a pixel or two of ramp, and with it the line's anti-aliasing; a hard threshold would
    draw the steps of the pixels.
    """
    steep = cv2.LUT(cv2.GaussianBlur(enlarge(mask, size), (0, 0), 1.0), _STEEP)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return as_u8(cv2.morphologyEx(steep, cv2.MORPH_GRADIENT, kernel))


_STEEP: U8 = np.clip((np.arange(256) - 127.5) * 4.0 + 127.5, 0, 255).astype(np.uint8)
