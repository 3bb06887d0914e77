"""Labels made of labels: what keeps touching instances apart."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.ops.arrays import U8


def borders(ids: NDArray[np.uint16], *, reach: int = 2) -> U8:
    """Where two instances are closer than 2 * reach pixels: uint8 HxW, 0 or 255.

    The greatest id and the least id (of none, the background counts as neither) within `reach` differ there.
    """
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    values = ids.astype(np.float32)
    greatest = cv2.dilate(values, kernel)
    least = cv2.erode(np.where(values > 0, values, np.float32(1e6)), kernel)
    return np.where((greatest > 0) & (least < 1e6) & (greatest != least), np.uint8(255), np.uint8(0))
