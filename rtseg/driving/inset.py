"""The road from above, in a corner: lines, the vehicle, and what is around it."""

from __future__ import annotations

import cv2
import numpy as np

from rtseg.driving.obstacle_layers import VULNERABLE, colour_of
from rtseg.driving.state import LaneLine, Obstacle, Scene
from rtseg.driving.theme import Theme
from rtseg.ops.arrays import U8, as_u8
from rtseg.ops.colour import rgb_to_planes
from rtseg.ops.palette import RGB
from rtseg.ops.text import rounded_box_alpha, text_alpha
from rtseg.types import Box, Frame, Layer, Picture, Size

AHEAD = 60.0
"""Metres that are seen."""
_BEHIND, _ASIDE = 6.0, 11.0
_CAR = (1.8, 4.4)


class Inset:
    """A picture of the ground, 34 percent of the frame's height, right and below; its ground is drawn once a size."""

    def __init__(self, theme: Theme) -> None:
        self._theme = theme
        self._key: object = None
        self._empty: U8 = np.zeros((1, 1, 3), np.uint8)

    @staticmethod
    def box(size: Size) -> Box | None:
        """Where it stands, on whole chroma samples; None where the frame has no room for it."""
        height = _even(0.34 * size.height)
        width = _even(height * 0.6)
        margin = _even(0.025 * size.height)
        if height < 60 or width + 2 * margin > size.width // 2:
            return None
        right, bottom = size.width // 2 * 2 - margin, size.height // 2 * 2 - margin
        return (right - width, bottom - height, right, bottom)

    def __call__(self, frame: Frame, scene: Scene) -> Layer | None:
        """The layer; None where there is no room."""
        box = self.box(frame.size)
        if box is None:
            return None
        size = (box[2] - box[0], box[3] - box[1])
        if self._key != size:
            self._empty, self._key = _ground(size, self._theme), size
        picture = self._empty.copy()
        _draw(picture, scene, self._theme)
        step = (
            2 if frame.size.width > frame.chroma_size.width else 1,
            2 if frame.size.height > frame.chroma_size.height else 1,
        )
        planes = rgb_to_planes(picture, frame.colour, subsample=step)
        alpha = rounded_box_alpha(size, 0.05 * size[1])
        shown = np.rint(alpha * max(0.84, self._theme.plate_opacity)).astype(np.uint8)
        return Layer(as_u8(shown), Picture(Frame(planes, frame.colour)), box)


def _place(x: float, z: float, size: tuple[int, int]) -> tuple[int, int]:
    """Metres to sixteenths of a pixel of the picture."""
    width, height = size
    column = width * (0.5 + x / (2 * _ASIDE))
    row = height * (AHEAD - z) / (AHEAD + _BEHIND)
    return round(16 * column) - 8, round(16 * row) - 8


def _ground(size: tuple[int, int], theme: Theme) -> U8:
    picture = np.empty((size[1], size[0], 3), np.uint8)
    picture[:] = theme.ground
    rows = max(9, round(0.055 * size[1]))
    faint = _mixed(theme.ground, theme.ink, 0.22)
    for z in (0, 20, 40):
        ends = _place(-_ASIDE, z, size), _place(_ASIDE, z, size)
        cv2.line(picture, ends[0], ends[1], faint, 1, cv2.LINE_AA, 4)
        if z and rows >= 11:
            letters = text_alpha(f"{z} m", rows)
            top = _place(0, z, size)[1] // 16 - rows - 1
            part = picture[top : top + rows, 4 : 4 + letters.shape[1]]
            cover = letters[: part.shape[0], : part.shape[1], None] / 255.0 * 0.7
            part[:] = np.rint(part * (1 - cover) + cover * np.array(theme.ink)).astype(np.uint8)
    return picture


def _draw(picture: U8, scene: Scene, theme: Theme) -> None:
    size = (picture.shape[1], picture.shape[0])
    left, right = scene.lanes.line(-1), scene.lanes.line(1)
    if left is not None and right is not None:
        far = min(left.far, right.far)
        outline = [*_points(left, size, far), *_points(right, size, far)[::-1]]
        cv2.fillPoly(picture, [np.array(outline, np.int32)], _mixed(theme.ground, theme.carpet, 0.55), cv2.LINE_AA, 4)
    thick = max(1, round(0.008 * size[1]))
    for line in scene.lanes.lines:
        rgb = {"white": theme.white, "yellow": theme.yellow, None: theme.unknown}[line.colour]
        points = np.array(_points(line, size), np.int32)
        pieces = [points[i : i + 2] for i in range(0, len(points), 2)] if line.kind == "dashed" else [points]
        shown = rgb if line.seen else _mixed(theme.ground, rgb, 0.5)
        cv2.polylines(picture, pieces, False, shown, thick, cv2.LINE_AA, 4)
    for each in scene.obstacles:
        _mark(picture, each, theme, size)
    _block(picture, (0.0, -_CAR[1]), _CAR, theme.ink, size)


def _mark(picture: U8, obstacle: Obstacle, theme: Theme, size: tuple[int, int]) -> None:
    if obstacle.distance is None or obstacle.lateral is None or obstacle.distance.value > AHEAD:
        return
    at, rgb = (obstacle.lateral.value, obstacle.distance.value), colour_of(obstacle, theme)
    if obstacle.label in VULNERABLE:
        radius = max(3, round(0.02 * size[1]))
        cv2.circle(picture, _place(*at, size), 16 * radius, rgb, cv2.FILLED, cv2.LINE_AA, 4)
    else:
        _block(picture, at, _CAR, rgb, size)


def _block(picture: U8, at: tuple[float, float], car: tuple[float, float], rgb: RGB, size: tuple[int, int]) -> None:
    """A car whose rear is `at`."""
    x, z = at
    half = car[0] / 2
    corners = [(x - half, z), (x + half, z), (x + half, z + car[1]), (x - half, z + car[1])]
    cv2.fillPoly(picture, [np.array([_place(*c, size) for c in corners], np.int32)], rgb, cv2.LINE_AA, 4)


def _points(line: LaneLine, size: tuple[int, int], far: float | None = None) -> list[tuple[int, int]]:
    far = min(AHEAD, max(line.far if far is None else far, 1.0))
    return [_place(line.at(z), z, size) for z in np.linspace(0.0, far, 14).tolist()]


def _mixed(ground: RGB, over: RGB, share: float) -> RGB:
    r, g, b = (round(low + share * (high - low)) for low, high in zip(ground, over, strict=True))
    return r, g, b


def _even(length: float) -> int:
    return 2 * round(length / 2)
