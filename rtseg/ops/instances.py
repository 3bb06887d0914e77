"""Instances out of soft maps: what touches is told apart by a map of borders."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.ops.arrays import F32, U8, as_u8


class Separated(NamedTuple):
    """masks: uint8 NxHxW, 0 or 255; boxes: float32 Nx4, x0 y0 x1 y1 in pixels of the masks; scores: float32 N."""

    masks: U8
    boxes: F32
    scores: F32


def separate(interior: U8, border: U8, *, least: int = 6) -> Separated:
    """Tell touching objects apart: seeds are where `interior` is surer than `border`, then each grows.

    interior, border: probabilities 0..255, uint8 HxW. A pixel of the interior belongs to the nearest seed (the distance
    transform's labels) if the two hang together; seeds under `least` pixels are dropped, and with them what hangs on
    no other. The score is the mean interior probability times the solidity: what should be two, or is a shred, is
    rarely convex.
    """
    sure = as_u8(np.where(cv2.subtract(interior, border) > 127, np.uint8(255), np.uint8(0)))
    count, seeds, stats, _ = cv2.connectedComponentsWithStats(sure, connectivity=4)
    kept = np.flatnonzero(stats[:, cv2.CC_STAT_AREA] >= least)
    kept = kept[kept > 0]
    if not len(kept):
        nothing = np.zeros((0, *interior.shape), np.uint8)
        return Separated(nothing, np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
    renumber = np.zeros(count, np.int32)
    renumber[kept] = np.arange(1, len(kept) + 1)
    seeds = renumber[seeds]
    ids = _grown(seeds, len(kept))
    _, parts = cv2.connectedComponents(as_u8(np.where(interior > 127, np.uint8(255), np.uint8(0))), connectivity=8)
    part_of = np.zeros(len(kept) + 1, np.int32)
    part_of[ids[seeds > 0]] = parts[seeds > 0]
    ids[(interior <= 127) | (parts != part_of[ids])] = 0
    areas = np.bincount(ids.ravel(), minlength=len(kept) + 1)[1:]
    sums = np.bincount(ids.ravel(), weights=interior.ravel(), minlength=len(kept) + 1)[1:]
    masks = np.where(ids[None] == np.arange(1, len(kept) + 1)[:, None, None], np.uint8(255), np.uint8(0))
    boxes = boxes_of(masks)
    scores = (sums / np.maximum(areas, 1) / 255).astype(np.float32) * _solidity(masks, boxes)
    return Separated(masks, boxes, scores)


def _grown(seeds: NDArray[np.int32], count: int) -> NDArray[np.int32]:
    """Every pixel gets the number of the nearest seed."""
    empty = np.where(seeds > 0, np.uint8(0), np.uint8(255))
    _, nearest = cv2.distanceTransformWithLabels(empty, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL)
    number = np.zeros(int(nearest.max()) + 1, np.int32)  # of the seed that each numbered pixel lies in
    inside = seeds > 0
    number[nearest[inside]] = seeds[inside]
    assert number.max() == count
    grown: NDArray[np.int32] = number[nearest]
    return grown


def _solidity(masks: U8, boxes: F32) -> F32:
    """Of each mask, the area inside its outer contour over that of the contour's convex hull: N of 0..1."""
    found = []
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.astype(int).tolist(), strict=True):
        contours, _ = cv2.findContours(mask[y0:y1, x0:x1], cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        outer = max(contours, key=cv2.contourArea)
        hull = cv2.contourArea(cv2.convexHull(outer))
        found.append(cv2.contourArea(outer) / hull if hull else 1.0)  # a line of pixels has no area
    return np.array(found, np.float32)


def boxes_of(masks: U8) -> F32:
    """What encloses each of NxHxW: float32 Nx4, x0 y0 x1 y1 in pixels of the masks; of an empty one, the whole."""
    columns, rows = masks.max(axis=1) > 0, masks.max(axis=2) > 0
    x0, y0 = columns.argmax(axis=1), rows.argmax(axis=1)
    x1 = columns.shape[1] - columns[:, ::-1].argmax(axis=1)
    y1 = rows.shape[1] - rows[:, ::-1].argmax(axis=1)
    return np.stack([x0, y0, x1, y1], axis=1).astype(np.float32)
