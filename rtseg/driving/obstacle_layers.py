"""What is shown of obstacles: their masks tinted, brackets around their boxes, and a plate with what is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import cv2
import numpy as np

from rtseg.driving.ink import F64, ink_on, plate, plate_box, shape, text_rows, words
from rtseg.driving.state import Obstacle
from rtseg.driving.theme import Theme
from rtseg.ops.arrays import U8, as_u8
from rtseg.ops.palette import RGB
from rtseg.ops.text import shortened
from rtseg.types import Box, Layer, Segmentation, Size, Solid, masks_of

VULNERABLE = frozenset({"vulnerable", "person", "pedestrian", "rider", "cyclist", "motorcycle", "bicycle"})
VEHICLES = frozenset({"vehicle", "car", "truck", "bus", "train"})
MOST_PLATES = 12
_URGENT, _SOON = 1.5, 3.0  # seconds to collision


def colour_of(obstacle: Obstacle, theme: Theme) -> RGB:
    """By urgency where there is any, else by what it is."""
    if obstacle.in_path and obstacle.ttc is not None and obstacle.ttc.value < _SOON:
        return theme.critical if obstacle.ttc.value < _URGENT else theme.warning
    if obstacle.lead:
        return theme.lead
    return theme.vulnerable if obstacle.label in VULNERABLE else theme.vehicle


def mask_layers(segmentation: Segmentation, obstacles: Sequence[Obstacle], size: Size, theme: Theme) -> list[Layer]:
    """Vehicles, and people without bodywork around them, each kind tinted as one layer.

    What lies in the box of an obstacle with a colour of its own, such as the lead, has that; the nearer one's.
    """
    wanted = [name for name in segmentation.names if name in VEHICLES | VULNERABLE]
    if not wanted:
        return []
    masks = masks_of(segmentation)
    layers: list[Layer] = []
    for names, rgb in ((VEHICLES, theme.vehicle), (VULNERABLE, theme.vulnerable)):
        found = [masks[name] for name in wanted if name in names and name in masks]
        if not found:
            continue
        mask = found[0]
        for other in found[1:]:
            mask = np.maximum(mask, other)
        if cv2.minMaxLoc(mask)[1] > 76:
            alpha = as_u8(cv2.LUT(mask, ramp(theme.mask_opacity)))
            own = [(each, colour_of(each, theme)) for each in obstacles if each.label in names]
            parts = _taken_out(alpha, [pair for pair in own if pair[1] != rgb], size)
            layers += [Layer(alpha, Solid(rgb)), *(Layer(part, Solid(colour)) for colour, part in parts.items())]
    return layers


def _taken_out(alpha: U8, obstacles: Sequence[tuple[Obstacle, RGB]], size: Size) -> dict[RGB, U8]:
    """What is in the boxes, by colour, at the same resolution; it is gone from `alpha`."""
    rows, columns = alpha.shape
    parts: dict[RGB, U8] = {}
    for each, rgb in sorted(obstacles, key=lambda pair: -pair[0].box[3]):
        if (box := _inside(each.box, size)) is None:
            continue
        across = slice(box[0] * columns // size.width, -(-box[2] * columns // size.width))
        down = slice(box[1] * rows // size.height, -(-box[3] * rows // size.height))
        part = parts.setdefault(rgb, np.zeros_like(alpha))
        part[down, across] |= alpha[down, across]
        alpha[down, across] = 0
    return parts


@lru_cache(maxsize=8)
def ramp(opacity: float, low: float = 0.3, high: float = 0.7) -> U8:
    """Alpha by a mask's level: nothing under `low`, a smooth step, all over `high`."""
    t = np.clip((np.arange(256) / 255.0 - low) / (high - low), 0.0, 1.0)
    return np.rint(255.0 * opacity * t * t * (3.0 - 2.0 * t)).astype(np.uint8)


def box_layers(obstacles: Sequence[Obstacle], size: Size, theme: Theme) -> list[Layer]:
    """Brackets at the corners of each box that is in the frame."""
    thick = max(2.0, 0.0045 * size.height)
    arms: dict[RGB, list[F64]] = {}
    for each in obstacles:
        if (box := _inside(each.box, size)) is not None:
            arms.setdefault(colour_of(each, theme), []).extend(_brackets(box, thick))
    layers = [shape(outlines, size, rgb, 1.0) for rgb, outlines in arms.items()]
    return [layer for layer in layers if layer is not None]


def plate_layers(obstacles: Sequence[Obstacle], size: Size, theme: Theme, *, free: Sequence[Box] = ()) -> list[Layer]:
    """A plate for each of the `MOST_PLATES` nearest, "car #7  24 m", above its box, below or inside; none over another.

    free: boxes to stay away from. One that finds no room goes without.
    """
    rows = text_rows(size, 0.022)
    taken = list(free)
    layers: list[Layer] = []
    for each in sorted(obstacles, key=_nearest_first)[:MOST_PLATES]:
        box = _inside(each.box, size)
        if box is None:
            continue
        letters = words(_said_of(each), rows)
        (_, _, width, height), _ = plate_box(letters, (0, 0))
        if width > size.width or height > size.height:
            continue
        x = min(max(0, box[0]), size.width - width)
        for y in (box[1] - height - 2, box[3] + 2, box[1] + 2):
            place = (x, y, x + width, y + height)
            if y >= 0 and place[3] <= size.height and not any(_meet(place, other) for other in taken):
                rgb = colour_of(each, theme)
                taken.append(place)
                layers += plate(letters, (x, y), ground=rgb, ink=ink_on(rgb), opacity=max(0.85, theme.plate_opacity))
                break
    return layers


def _nearest_first(obstacle: Obstacle) -> tuple[bool, float, int]:
    """The lead first, then by distance, then by the bottom of the box, which is nearer the lower it is."""
    far = obstacle.distance.value if obstacle.distance is not None else 1e4 - obstacle.box[3]
    return not obstacle.lead, far, obstacle.id


def _said_of(obstacle: Obstacle) -> str:
    said = f"{shortened(obstacle.label)} #{obstacle.id}"
    if obstacle.distance is not None:
        said += f"  {obstacle.distance.value:.0f} m"
    if obstacle.in_path and obstacle.ttc is not None and obstacle.ttc.value < 10:
        said += f"  {obstacle.ttc.value:.1f} s"
    return said


def _inside(box: tuple[float, float, float, float], size: Size) -> Box | None:
    x0, y0, x1, y1 = (round(side) for side in box)
    x0, y0, x1, y1 = max(0, x0), max(0, y0), min(size.width, x1), min(size.height, y1)
    return (x0, y0, x1, y1) if x1 - x0 >= 4 and y1 - y0 >= 4 else None


def _brackets(box: Box, thick: float) -> Iterator[F64]:
    """Four corners, each a polygon of six points."""
    x0, y0, x1, y1 = box
    wide, high = max(thick, (x1 - x0) / 5), max(thick, (y1 - y0) / 5)
    corner = np.array([(0, 0), (wide, 0), (wide, thick), (thick, thick), (thick, high), (0, high)])
    for x, right in ((x0, 1), (x1, -1)):
        for y, down in ((y0, 1), (y1, -1)):
            yield corner * (right, down) + (x, y)


def _meet(box: Box, other: Box) -> bool:
    return box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]
