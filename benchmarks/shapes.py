"""Synthetic things for `benchmarks.peers`, the same for all programs: colours, masks, and a detector's tensors.

NumPy and OpenCV only, since some programs run in environments without rtseg.
"""

from __future__ import annotations

import colorsys
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

CLASSES, COEFFICIENTS = 80, 32
_STRIDES = (8, 16, 32)


def colours(count: int) -> list[tuple[int, int, int]]:
    """RGB, one for each class, told apart by turning the hue by the golden angle."""
    made = [
        colorsys.hsv_to_rgb(i * 0.381966 % 1.0, 0.55 + 0.4 * (i % 2), 0.95 - 0.3 * (i % 3) / 2) for i in range(count)
    ]
    return [(round(255 * r), round(255 * g), round(255 * b)) for r, g, b in made]


class Things(NamedTuple):
    """Instances in a picture. masks: bool NxHxW; boxes: float32 Nx4, x0 y0 x1 y1; labels: N; scores: float32 N."""

    masks: NDArray[np.bool_]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]


def things(count: int, size: tuple[int, int], seed: int = 0) -> Things:
    """Wavy blobs of 4 to 30 percent of the picture's width, (width, height) = size, each of a class of its own."""
    chance = np.random.default_rng(seed)
    masks = np.zeros((count, size[1], size[0]), np.uint8)
    for mask in masks:
        radius = size[0] * chance.uniform(0.04, 0.3) / 2
        centre = chance.uniform(0.12, 0.88, 2) * size
        angle = np.linspace(0, 2 * np.pi, 90, endpoint=False)
        wave = 1 + 0.25 * np.sin(3 * angle + chance.uniform(0, 6)) + 0.08 * np.sin(7 * angle)
        outline = centre + radius * (wave * np.stack([np.cos(angle), 1.3 * np.sin(angle)])).T
        cv2.fillPoly(mask, [np.rint(outline).astype(np.int32)], 1)
    boxes = np.zeros((count, 4), np.float32)
    for box, mask in zip(boxes, masks, strict=True):
        x, y, width, height = cv2.boundingRect(mask)
        box[:] = x, y, x + width, y + height
    scores = chance.uniform(0.5, 0.95, count).astype(np.float32)
    return Things(masks.astype(np.bool_), boxes, np.arange(count, dtype=np.int64), scores)


class Detections(NamedTuple):
    """A detector's raw outputs for a letterboxed square. rows: float32 1x116x8400; protos: float32 1x32x160x160."""

    rows: NDArray[np.float32]
    protos: NDArray[np.float32]


def detections(found: Things, size: tuple[int, int], square: int = 640) -> Detections:
    """What a one-stage detector with mask prototypes says of things in a picture of `size` (width, height).

    rows: centre x, y, width and height in pixels of the square, 80 scores, 32 coefficients, at the cells of strides
    8, 16 and 32. Each thing is seen by the cells around its middle, as networks do, so that there is something for
    suppression to do; all other cells score under 0.05. Prototype i is thing i, up to 32 of them: the rest share.
    """
    chance = np.random.default_rng(1)
    cells = sum((square // stride) ** 2 for stride in _STRIDES)
    rows = np.zeros((4 + CLASSES + COEFFICIENTS, cells), np.float32)
    rows[4 : 4 + CLASSES] = chance.uniform(0, 0.05, (CLASSES, cells))
    protos = np.full((COEFFICIENTS, square // 4, square // 4), -1.0, np.float32)
    scale = square / max(size)
    left, top = (square - size[0] * scale) / 2, (square - size[1] * scale) / 2
    for index, (mask, box) in enumerate(zip(found.masks, found.boxes, strict=True)):
        place = np.array([[scale / 4, 0, left / 4], [0, scale / 4, top / 4]])
        soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 2 / scale)  # two pixels of the prototypes' own
        small = cv2.warpAffine(soft, place, protos.shape[:0:-1], flags=cv2.INTER_LINEAR)
        protos[index % COEFFICIENTS] = np.maximum(protos[index % COEFFICIENTS], 2 * small - 1)
        x0, y0, x1, y1 = (box * scale + (left, top, left, top)).tolist()
        first = 0
        for stride in _STRIDES:
            side = square // stride
            column, row = int((x0 + x1) / 2 / stride), int((y0 + y1) / 2 / stride)
            for near in (-1, 0, 1):
                cell = first + min(max(row, 0), side - 1) * side + min(max(column + near, 0), side - 1)
                jitter = chance.normal(0, 0.02, 4) * (x1 - x0, y1 - y0, x1 - x0, y1 - y0)
                rows[:4, cell] = np.array([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0]) + jitter
                rows[4 : 4 + CLASSES, cell] = 0.02  # another thing may have been there
                rows[4 + found.labels[index], cell] = found.scores[index] - 0.02 * abs(near)
                rows[4 + CLASSES :, cell] = 0
                rows[4 + CLASSES + index % COEFFICIENTS, cell] = 6.0
            first += side * side
    return Detections(rows[None], protos[None])
