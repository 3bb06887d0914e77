"""Where the large areas of a mask are."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.ops.arrays import U8

_SURE = 128
"""Level from which a pixel belongs to an area."""


def large_areas(mask: U8, *, least: float, of_largest: float = 0.0) -> NDArray[np.int32]:
    """Boxes and sizes of the connected areas of HxW that are at least a share of the mask.

    int32 Nx5: x, y, width, height and pixels, as OpenCV gives them. of_largest: their least share of the largest.
    """
    sure = cv2.threshold(mask, _SURE - 1, 1, cv2.THRESH_BINARY)[1]
    count, _, found, _ = cv2.connectedComponentsWithStats(sure, ltype=cv2.CV_16U)
    areas = found[1:count].astype(np.int32, copy=False)
    sizes = areas[:, cv2.CC_STAT_AREA]
    return areas[sizes >= max(least * mask.size, of_largest * int(sizes.max(initial=0)))]
