"""Masks as polygons, and back, to the pixel; as runs in `rtseg.ops.runs`.

Coordinates are those of COCO: (0, 0) is the corner of the picture, a pixel covers x..x+1, and it belongs to a polygon
when its centre does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.ops.runs import Hard, box_of


def components(mask: Hard) -> Iterator[Hard]:
    """The connected parts of a mask, each as a mask of its size; pixels that touch by a corner are connected."""
    count, labels = cv2.connectedComponents(mask.astype(np.uint8))
    for number in range(1, count):
        yield labels == number


def outlines(mask: Hard) -> list[list[int]] | None:
    """A polygon x0, y0, x1, y1, ... along the pixels' edges for each connected part; None where one has a hole.

    OpenCV's contours run through the centres of the outer pixels. Of a mask at twice the size these centres are a
    quarter of a pixel from the edge, and rounding them outwards gives the edge itself.
    """
    x, y, width, height = box_of(mask)
    if not width:
        return []
    doubled = np.repeat(np.repeat(mask[y : y + height, x : x + width].astype(np.uint8), 2, axis=0), 2, axis=1)
    contours, hierarchy = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if (np.asarray(hierarchy)[0, :, 3] >= 0).any():
        return None
    return [_corners((contour[:, 0] + 1) // 2 + (x, y)) for contour in contours]


def filled(polygon: NDArray[Any], size: tuple[int, int]) -> Hard:
    """The mask of `size` (width, height) whose pixels have their centre in the polygon, Nx2; outside is cut off.

    Crossing an edge changes sides (even-odd), as in pycocotools.
    """
    width, height = size
    x0, y0 = polygon.astype(np.float64).T
    x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
    top = np.clip(np.ceil(np.minimum(y0, y1) - 0.5), 0, height).astype(int)
    bottom = np.clip(np.ceil(np.maximum(y0, y1) - 0.5), 0, height).astype(int)
    rows = bottom - top
    edge = np.repeat(np.arange(len(x0)), rows)
    row = top[edge] + np.arange(rows.sum()) - np.repeat(np.cumsum(rows) - rows, rows)
    along = (row + 0.5 - y0[edge]) / (y1 - y0)[edge]
    column = np.clip(np.ceil(x0[edge] + along * (x1 - x0)[edge] - 0.5), 0, width).astype(int)
    mask = np.zeros((height, width), np.bool_)
    if row.size:
        first, last, left = int(row.min()), int(row.max()) + 1, int(column.min())
        wide = int(column.max()) + 1 - left
        crossings = np.bincount((row - first) * wide + column - left, minlength=(last - first) * wide)
        inside = np.cumsum(crossings.reshape(last - first, wide), axis=1) % 2 == 1
        # The last column of crossings may lie behind the picture, where every row is outside again.
        mask[first:last, left : left + wide] = inside[:, : width - left]
    return mask


def _corners(points: NDArray[Any]) -> list[int]:
    """The points of a closed line where it turns, as a flat list."""
    points = points[(points != np.roll(points, 1, axis=0)).any(axis=1)]
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    turns = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    corners: list[int] = points[turns].ravel().tolist()
    return corners
