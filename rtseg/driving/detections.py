"""What stands on the road in one frame: parts of the road model's masks, a detector's boxes, or both joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.ops.arrays import F32, U8, as_f32
from rtseg.types import Instances, Regions, Segmentation, masks_of

Group: TypeAlias = Literal["vehicle", "vulnerable"]

GROUPS: dict[str, Group] = {
    "vehicle": "vehicle",
    "car": "vehicle",
    "truck": "vehicle",
    "bus": "vehicle",
    "train": "vehicle",
    "van": "vehicle",
    "vulnerable": "vulnerable",
    "person": "vulnerable",
    "rider": "vulnerable",
    "pedestrian": "vulnerable",
    "cyclist": "vulnerable",
    "bicycle": "vulnerable",
    "motorcycle": "vulnerable",
    "motorbike": "vulnerable",
}
"""Names of classes, of the road model, COCO and Cityscapes, and whom they are: who is not here is no obstacle."""

LEAST = 12
"""Pixels of a mask that are something."""
WIDEST = 2.2
"""Times its height that a vehicle's mask may be wide: more are several, or one seen from its side."""
_MOSTLY, _SAME, _ALONE = 0.5, 0.6, 0.7


@dataclass(frozen=True, eq=False, slots=True)
class Detection:
    """Something on the road in one frame. box: x0, y0, x1, y1 in pixels of the frame, to fractions.

    score: 0..1. cut: the box ends where the frame does, left, at the bottom or right, and the thing does not.
    mask: uint8, what of the mask belongs to it, 0 or 255, at `place` (x, y) of masks of the segmentation's resolution;
    None where only a box is known. split: only a hint says that it is not a part of something larger.
    """

    label: str
    group: Group
    box: tuple[float, float, float, float]
    score: float
    cut: tuple[bool, bool, bool] = (False, False, False)
    mask: U8 | None = None
    place: tuple[int, int] = (0, 0)
    split: bool = False


def detections_of(
    segmentation: Segmentation,
    *,
    boxes: Instances | None = None,
    hints: Sequence[tuple[Group, tuple[float, float, float, float]]] = (),
) -> list[Detection]:
    """The vehicles and vulnerable road users of a frame.

    Instances are taken as they are. Masks fall into their 8-connected parts over 127, of at least `LEAST` pixels, and a
    part is split where several boxes say that it is several things. boxes: what a detector found in the same frame; its
    boxes lead, and parts of masks are left where it saw nothing. hints: where things that are followed should be now,
    which split parts too where the detector did not look. What a box or a hint says is a vehicle is no person.
    """
    size = segmentation.size
    if isinstance(segmentation, Instances):
        return _boxed(segmentation, size)
    seen = [] if boxes is None else _boxed(boxes, size)
    found: list[Detection] = []
    masks = masks_of(segmentation)
    for group in ("vehicle", "vulnerable"):
        parts = [(name, mask) for name, mask in masks.items() if GROUPS.get(name) == group]
        own = [each for each in seen if each.group == group]
        wanted = [box for hinted, box in hints if hinted == group]
        for name, mask in parts:
            soft = isinstance(segmentation, Regions)
            own, more = _joined(name, group, mask, own, wanted if boxes is None else [], size, soft=soft)
            if group == "vulnerable":
                vehicles = [each.box for each in seen if each.group == "vehicle"]
                vehicles += [box for hinted, box in hints if hinted == "vehicle"] if boxes is None else []
                more = [e for e in more if e.label != name or all(_overlap(e.box, box) < _SAME for box in vehicles)]
            found += more
        found += own
    return found


def instances_of(detections: Sequence[Detection], segmentation: Segmentation) -> Instances:
    """The same as a result, for who draws masks: uint8 NxHxW of the segmentation's resolution, boxes filled where there
    is no mask."""  # fmt: skip
    names = tuple(dict.fromkeys(each.label for each in detections))
    some = next(iter(masks_of(segmentation).values()), None)
    height, width = (1, 1) if some is None else some.shape
    masks = np.zeros((len(detections), height, width), np.uint8)
    across, down = width / segmentation.size.width, height / segmentation.size.height
    for target, each in zip(masks, detections, strict=True):
        if each.mask is None:
            x0, y0, x1, y1 = each.box
            target[round(y0 * down) : round(y1 * down), round(x0 * across) : round(x1 * across)] = 255
            continue
        x, y = each.place
        target[y : y + each.mask.shape[0], x : x + each.mask.shape[1]] = each.mask
    return Instances(
        masks,
        np.array([each.box for each in detections], np.float32).reshape(-1, 4),
        np.array([names.index(each.label) for each in detections], np.int64),
        np.array([each.score for each in detections], np.float32),
        names,
        segmentation.pts,
        segmentation.size,
    )


def _boxed(found: Instances, size: tuple[int, int]) -> list[Detection]:
    """Those of a detector's instances that are obstacles, best first, one a place: detectors call a car a truck too.

    A rider's bicycle is left to the rider.
    """
    made: list[Detection] = []
    for box, label, score in zip(found.boxes.tolist(), found.labels, found.scores, strict=True):
        name = found.names[label]
        if (group := GROUPS.get(name)) is not None:
            made.append(Detection(name, group, (box[0], box[1], box[2], box[3]), float(score), _cut(box, size)))
    made.sort(key=lambda each: -each.score)
    made = [
        each
        for place, each in enumerate(made)
        if not any(other.group == each.group and _overlap(other.box, each.box) > _SAME for other in made[:place])
    ]
    people = [each for each in made if each.label in ("person", "rider", "pedestrian", "cyclist")]
    ridden = ("bicycle", "motorcycle", "motorbike")
    return [
        each for each in made if each.label not in ridden or not any(_inside(each.box, p.box) > 0.2 for p in people)
    ]


def _joined(
    name: str,
    group: Group,
    mask: U8,
    boxes: list[Detection],
    hints: Sequence[tuple[float, float, float, float]],
    size: tuple[int, int],
    *,
    soft: bool,
) -> tuple[list[Detection], list[Detection]]:
    """The boxes that no part of the mask stands behind, and what was found with the mask."""
    height, width = mask.shape
    step = (size[0] / width, size[1] / height)
    if cv2.minMaxLoc(mask)[1] < 128:
        return list(boxes), []
    count, labels, stats, _ = cv2.connectedComponentsWithStats((mask >= 128).view(np.uint8), connectivity=8)
    left = list(boxes)
    found: list[Detection] = []
    for number in range(1, count):
        x, y, w, h, pixels = (int(value) for value in stats[number])
        if pixels < LEAST:
            continue
        window = (slice(y, y + h), slice(x, x + w))
        inside = labels[window] == number
        part = (x * step[0], y * step[1], (x + w) * step[0], (y + h) * step[1])
        mine = [each for each in left if _inside(each.box, part) > _MOSTLY]
        if mine:
            covered = _covered(inside, (x, y), [each.box for each in mine], step)
            mine.sort(key=lambda each: each.box[0] + each.box[2])
            for each, limits in zip(mine, _limits([each.box for each in mine], step[0], width), strict=True):
                left.remove(each)
                # Sides are those of the mask in every frame: a detector's are drawn otherwise, with a shadow.
                shape = _shape(name, group, mask, _levels(inside), (x, y), size, soft=soft, limits=limits)
                if covered < _ALONE or shape is None or _overlap(shape.box, each.box) < _MOSTLY:
                    clipped, place = _clip(inside, (x, y), each.box, step)
                    found.append(replace(each, mask=clipped, place=place))
                else:
                    found.append(replace(shape, label=each.label, score=each.score))
            if covered > _MOSTLY:
                continue
            inside = _without(inside, (x, y), [each.box for each in mine], step)
            if np.count_nonzero(inside) < LEAST:
                continue
        split = [hint for hint in hints if _inside(hint, part) > _MOSTLY]
        # What is mostly behind something nearer has no part of its own to be seen.
        split = [
            hint
            for hint in split
            if not any(o is not hint and o[3] >= hint[3] and _inside(hint, o) > _MOSTLY for o in split)
        ]
        if len(split) > 1 and not mine:
            split.sort(key=lambda hint: hint[0] + hint[2])
            for hint, limits in zip(split, _limits(split, step[0], width), strict=True):
                shape = _shape(name, group, mask, _levels(inside), (x, y), size, soft=soft, limits=limits)
                if shape is not None and _overlap(shape.box, hint) > 0.0:
                    found.append(replace(shape, split=True))
            continue
        if (whole := _shape(name, group, mask, _levels(inside), (x, y), size, soft=soft)) is not None:
            found.append(whole)
    return left, found


def _limits(boxes: Sequence[Sequence[float]], step: float, width: int) -> list[tuple[float, float]]:
    """The columns of a mask that each of several boxes gets, from left to right: they meet halfway."""
    ends = [(one[2] + other[0]) / 2 / step for one, other in pairwise(boxes)]
    return list(pairwise([0.0, *ends, float(width)]))


def _shape(
    name: str,
    group: Group,
    mask: U8,
    inside: U8,
    place: tuple[int, int],
    size: tuple[int, int],
    *,
    soft: bool,
    limits: tuple[float, float] | None = None,
) -> Detection | None:
    """A part of a mask as a detection, its sides to fractions of a pixel; None where nothing is left of it.

    limits: the columns of the mask that are its own.
    """
    low, high = limits or (0.0, float(mask.shape[1]))
    if limits is not None:
        inside = inside.copy()
        inside[:, : max(0, round(low) - place[0])] = 0
        inside[:, max(0, round(high) - place[0]) :] = 0
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not rows.size or np.count_nonzero(inside) < LEAST:
        return None
    x0, x1 = place[0] + int(columns[0]), place[0] + int(columns[-1]) + 1
    y0, y1 = place[1] + int(rows[0]), place[1] + int(rows[-1]) + 1
    inside = inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = mask.shape
    left, top, right, bottom = _edges(mask, (x0, y0, x1, y1)) if soft else (x0, y0, x1, y1)
    sides = (low if x0 <= round(low) else left, top, high if x1 >= round(high) else right, bottom)
    across, down = size[0] / width, size[1] / height
    box = (sides[0] * across, sides[1] * down, sides[2] * across, sides[3] * down)
    score = float(mask[y0:y1, x0:x1][inside > 0].mean()) / 255.0
    cut = (x0 == 0, y1 == height, x1 == width)
    if group == "vehicle" and box[2] - box[0] > WIDEST * (box[3] - box[1]):
        score = min(score, 0.4)  # begins no track, but carries one on
    return Detection(name, group, box, score, cut, inside, (x0, y0))


def _edges(mask: U8, box: tuple[int, int, int, int]) -> tuple[float, float, float, float]:
    """Where soft levels cross a half, along profiles through the middle of a part; fractions of pixels of the mask."""
    x0, y0, x1, y1 = box
    height, width = mask.shape
    low, high = max(0, y0 - 1), min(height, y1 + 1)
    left, right = max(0, x0 - 1), min(width, x1 + 1)
    quarter = (x1 - x0) // 6
    down = as_f32(mask[low:high, x0 + quarter : x1 - quarter].mean(axis=1, dtype=np.float32))
    across = as_f32(mask[y0 + (y1 - y0) // 3 : y1, left:right].mean(axis=0, dtype=np.float32))
    top, bottom = _crossings(down)
    first, last = _crossings(across)
    return (left + first, low + top, left + last, low + bottom)


def _crossings(profile: F32) -> tuple[float, float]:
    """The places where a profile of levels first and last crosses half of what is within it, from its start."""
    level = min(127.5, float(profile.max()) / 2)
    over = np.flatnonzero(profile >= level)
    first, last = int(over[0]), int(over[-1])
    start, end = float(first), float(last + 1)
    # A pixel's level stands at its middle; the side of a hard mask is between two pixels.
    if first > 0:
        start = first - 0.5 + (level - float(profile[first - 1])) / float(profile[first] - profile[first - 1])
    if last + 1 < len(profile):
        end = last + 0.5 + (float(profile[last]) - level) / float(profile[last] - profile[last + 1])
    return start, end


def _clip(
    inside: NDArray[np.bool_], place: tuple[int, int], box: Sequence[float], step: tuple[float, float]
) -> tuple[U8, tuple[int, int]]:
    """What of a part lies within a box's columns and rows, as levels, and where that begins."""
    rows, columns = _window(inside.shape, place, box, step)
    return _levels(inside[rows, columns]), (place[0] + columns.start, place[1] + rows.start)


def _window(
    shape: tuple[int, ...], place: tuple[int, int], box: Sequence[float], step: tuple[float, float]
) -> tuple[slice, slice]:
    x0, x1 = (min(max(round(box[side] / step[0]) - place[0], 0), shape[1]) for side in (0, 2))
    y0, y1 = (min(max(round(box[side] / step[1]) - place[1], 0), shape[0]) for side in (1, 3))
    return slice(y0, max(y0, y1)), slice(x0, max(x0, x1))


def _without(
    inside: NDArray[np.bool_], place: tuple[int, int], boxes: Sequence[Sequence[float]], step: tuple[float, float]
) -> NDArray[np.bool_]:
    left = inside.copy()
    for box in boxes:
        left[_window(inside.shape, place, box, step)] = False
    return left


def _covered(
    inside: NDArray[np.bool_], place: tuple[int, int], boxes: Sequence[Sequence[float]], step: tuple[float, float]
) -> float:
    left, whole = (int(np.count_nonzero(part)) for part in (_without(inside, place, boxes, step), inside))
    return 1.0 - left / whole


def _levels(inside: NDArray[np.bool_]) -> U8:
    return np.where(inside, np.uint8(255), np.uint8(0))


def _inside(box: Sequence[float], other: Sequence[float]) -> float:
    """How much of a box lies in another, 0..1."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    area = (box[2] - box[0]) * (box[3] - box[1])
    return 0.0 if width <= 0 or height <= 0 or area <= 0 else width * height / area


def _overlap(box: Sequence[float], other: Sequence[float]) -> float:
    """IoU."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = ((b[2] - b[0]) * (b[3] - b[1]) for b in (box, other))
    return width * height / (sum(areas) - width * height)


def _cut(box: Sequence[float], size: tuple[int, int]) -> tuple[bool, bool, bool]:
    return box[0] <= 1.0, box[3] >= size[1] - 1.0, box[2] >= size[0] - 1.0
