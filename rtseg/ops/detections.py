"""From what detectors say of each cell to boxes, labels and masks: decoding, suppression, prototypes.

Boxes are x0, y0, x1, y1, in pixels of whatever is said. Nothing here clips, but `boxes_in_frame`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.ops.arrays import F32, U8, as_f32, as_u8
from rtseg.ops.tensors import Window, quantise

Int: TypeAlias = NDArray[np.int64]

_RAMP = 12.0
"""Logits from nothing to all of a mask."""


class Candidates(NamedTuple):
    """What was found before or after suppression. boxes: float32 Nx4 in pixels of the network's input; labels: N
    indices; scores: float32 N; coefficients: float32 NxK of mask prototypes, K may be 0."""  # fmt: skip

    boxes: F32
    labels: Int
    scores: F32
    coefficients: F32

    def take(self, places: Int) -> Candidates:
        """Those at `places`, in that order."""
        return Candidates(self.boxes[places], self.labels[places], self.scores[places], self.coefficients[places])


def cells_of(rows: F32, classes: int, *, score: float) -> Candidates:
    """Those cells of (4+C+K)xN whose best class scores over `score`: centre, size, C scores, K coefficients.

    The layout of YOLOv8's and YOLO11's exports. A cell has one label, the first of its greatest scores.
    """
    scores = rows[4 : 4 + classes]
    sure = np.flatnonzero(scores.max(axis=0) > score)
    found = np.ascontiguousarray(rows[:, sure].T)
    labels = found[:, 4 : 4 + classes].argmax(axis=1)
    best = found[np.arange(len(sure)), 4 + labels]
    return Candidates(_corners(found[:, :2], found[:, 2:4]), labels, best, found[:, 4 + classes :])


def ranked_of(rows: F32, *, score: float) -> Candidates:
    """Those of Nx(6+K) that score over `score`: x0, y0, x1, y1, score, class, K coefficients.

    The layout of exports that need no suppression, such as YOLO26's. Classes are not checked.
    """
    found = rows[rows[:, 4] > score]
    return Candidates(found[:, :4], np.rint(found[:, 5]).astype(np.int64), found[:, 4], found[:, 6:])


def anchors_of(size: tuple[int, int], strides: Sequence[int]) -> F32:
    """Column, row and stride of each cell of an input of `size` (width, height), Nx3, in the order of YOLOX's rows."""
    parts = []
    for stride in strides:
        y, x = np.mgrid[: size[1] // stride, : size[0] // stride]
        parts.append(np.stack([x.ravel(), y.ravel(), np.full(x.size, stride)], axis=1))
    return np.concatenate(parts).astype(np.float32)


def anchored_of(rows: F32, anchors: F32, *, score: float) -> Candidates:
    """Those cells of Nx(5+C) whose objectness times best class is over `score`, decoded.

    Rows are offset, log size, objectness, C classes, as YOLOX's heads give them (Ge et al., 2021): centre = (offset +
    cell) * stride, size = exp(log size) * stride. anchors: `anchors_of` the input.
    """
    possible = np.flatnonzero(rows[:, 4] > score)  # no class is over 1
    classes = rows[possible, 5:]
    labels = classes.argmax(axis=1)
    scores = rows[possible, 4] * classes[np.arange(len(possible)), labels]
    sure = scores > score
    found, at = rows[possible[sure]], anchors[possible[sure]]
    stride = at[:, 2:]
    with np.errstate(over="ignore"):  # infinite sizes are refused by whoever asks
        size = np.exp(found[:, 2:4]) * stride
    boxes = _corners((found[:, :2] + at[:, :2]) * stride, size)
    return Candidates(boxes, labels[sure], scores[sure], np.zeros((len(boxes), 0), np.float32))


def suppress(found: Candidates, *, overlap: float) -> Candidates:
    """Greedy suppression within each class, best first: what overlaps a better one by more than `overlap` (IoU) goes.

    OpenCV's, which moves the classes apart so that one pass does them all; in float64, since far apart float32 has no
    fractions of pixels left.
    """
    if not len(found.boxes):
        return found
    corner, opposite = found.boxes[:, :2].astype(np.float64), found.boxes[:, 2:].astype(np.float64)
    places = np.concatenate([corner, opposite - corner], axis=1)
    arrays: tuple[Any, Any, Any] = places, found.scores, found.labels  # its stubs say sequences
    kept = cv2.dnn.NMSBoxesBatched(*arrays, 0.0, overlap)
    return found.take(np.asarray(kept, np.int64).reshape(-1))


def best_first(found: Candidates) -> Candidates:
    """By falling score; equals stay as they were."""
    return found.take(np.argsort(-found.scores, kind="stable"))


def boxes_in_frame(boxes: F32, window: Window, size: tuple[int, int]) -> F32:
    """Boxes in pixels of the input, whose `window` shows a frame of `size` (width, height), in pixels of the frame.

    Clipped to the frame: what lies in the padding has no area left.
    """
    scale = np.array([size[0] / window.width, size[1] / window.height] * 2, np.float32)
    origin = np.array([window.x, window.y] * 2, np.float32)
    return as_f32(np.clip((boxes - origin) * scale, 0.0, np.array([*size, *size], np.float32)))


def prototype_masks(coefficients: F32, prototypes: F32, boxes: F32) -> U8:
    """Coefficients NxK @ prototypes KxHxW inside the boxes, 0 outside, as uint8 NxHxW, 0..255: over 127 is the object.

    boxes: in pixels of the prototypes. A pixel is inside if its centre is; each box has at least one. In place of the
    sigmoid stands a straight line from -6 to 6, which is a half at 0 too: networks are so sure that sigmoids of them
    are 0 or 1, and such masks have steps when they are enlarged. Enlarged logits have none, and these are logits.
    """
    count, (_, height, width) = len(coefficients), prototypes.shape
    masks = np.zeros((count, height, width), np.uint8)
    scaled = coefficients * np.float32(1 / _RAMP)
    for mask, weights, (x0, y0, x1, y1) in zip(masks, scaled, _pixels(boxes, (width, height)), strict=True):
        # Only what is inside is multiplied, and not by BLAS, whose threads would wait for each other longer than this.
        inside = np.einsum("k,kyx->yx", weights, prototypes[:, y0:y1, x0:x1])
        mask[y0:y1, x0:x1] = quantise(np.add(inside, np.float32(0.5), out=inside))
    return masks


def box_masks(boxes: F32, size: tuple[int, int]) -> U8:
    """Boxes in pixels of masks of `size` (width, height), filled: how much of each pixel they cover, uint8 NxHxW."""
    across, down = (
        np.clip(
            np.minimum(boxes[:, high, None], np.arange(1, side + 1)) - np.maximum(boxes[:, low, None], np.arange(side)),
            0.0,
            1.0,
        )
        for low, high, side in ((0, 2, size[0]), (1, 3, size[1]))
    )
    return as_u8(np.rint(255.0 * down[:, :, None] * across[:, None, :]).astype(np.uint8))


def _corners(centre: F32, size: F32) -> F32:
    half = size * np.float32(0.5)
    return np.concatenate([centre - half, centre + half], axis=1)


def _pixels(boxes: F32, size: tuple[int, int]) -> list[list[int]]:
    """The pixels whose centres lie in each box, as slices' ends, at least one of them, inside `size`."""
    limit = np.array(size)
    first = np.clip(np.ceil(boxes[:, :2] - 0.5), 0, limit - 1)
    last = np.clip(np.ceil(boxes[:, 2:] - 0.5), first + 1, limit)
    ends: list[list[int]] = np.concatenate([first, last], axis=1).astype(np.int64).tolist()
    return ends
