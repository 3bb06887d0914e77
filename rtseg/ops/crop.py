"""A part of a plane at the size of the whole, as a camera that is pointed and zoomed would give it."""

from __future__ import annotations

import cv2
import numpy as np

from rtseg.ops.arrays import U8, as_u8

Part = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels of a plane, of any fraction; pixel i lies from i to i + 1."""

_WHOLE_PIXELS = 1e-6
"""Parts that are so near to whole pixels lie on them: fractions of the frame are not exact in binary."""


def crop(plane: U8, part: Part) -> U8:
    """The part, enlarged bilinearly to HxW of the plane it is cut from: uint8, new memory.

    Half-pixel centres: sample i of n shows x0 + (i + 0.5) * (x1 - x0) / n, so that all planes of a frame stay in
    register whatever their subsampling. A part of whole pixels repeats its own edges, any other the plane's, which
    differs in the outermost samples alone; the first is four times cheaper.
    """
    height, width = plane.shape
    x0, y0, x1, y1 = part
    left, top, right, bottom = (round(side) for side in part)
    if max(abs(side - near) for side, near in zip(part, (left, top, right, bottom), strict=True)) < _WHOLE_PIXELS:
        return as_u8(cv2.resize(plane[top:bottom, left:right], (width, height), interpolation=cv2.INTER_LINEAR))
    across, down = (x1 - x0) / width, (y1 - y0) / height
    place = np.array([[across, 0.0, x0 + 0.5 * across - 0.5], [0.0, down, y0 + 0.5 * down - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return as_u8(cv2.warpAffine(plane, place, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE))
