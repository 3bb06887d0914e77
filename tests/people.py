"""Drawn people: round figures with texture and clothes, whose mattes are exact."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np

from rtseg.ops.arrays import U8, as_u8
from rtseg.types import Frame, Regions

SIZE = (256, 144)
RED, BLUE, GREY = (110, 160), (160, 110), (124, 134)
"""U and V of clothes."""


@dataclass(frozen=True)
class Figure:
    """x, y: the middle in pixels; r: the radius."""

    x: float
    y: float = 90.0
    r: float = 28.0
    clothes: tuple[int, int] = GREY
    seed: int = 3

    def matte(self) -> U8:
        disc = np.zeros(SIZE[::-1], np.float32)
        centre = round(self.x * 16), round(self.y * 16)
        cv2.circle(disc, centre, round(self.r * 16), 1.0, -1, cv2.LINE_AA, 4)
        return np.rint(255 * cv2.GaussianBlur(disc, (0, 0), 1.2)).astype(np.uint8)


def texture(seed: int, size: tuple[int, int] = SIZE, *, sigma: float = 3.0) -> U8:
    noise = np.random.default_rng(seed).integers(0, 256, size[::-1], dtype=np.uint8)
    smooth = cv2.GaussianBlur(noise, (0, 0), sigma)
    return as_u8(cv2.normalize(smooth, np.empty_like(smooth), 40, 210, cv2.NORM_MINMAX))


WALL = texture(1)


def drawn(*figures: Figure, index: int = 0, wall: U8 = WALL) -> Frame:
    """A frame of figures before a wall, the last in front; 30 a second."""
    luma = wall.astype(np.float32)
    u, v = (np.full(SIZE[::-1], 128.0, np.float32) for _ in range(2))
    for figure in figures:
        alpha = figure.matte() / np.float32(255)
        own = np.roll(texture(figure.seed), (round(figure.y), round(figure.x)), (0, 1))
        for plane, level in ((luma, own), (u, figure.clothes[0]), (v, figure.clothes[1])):
            plane += alpha * (level - plane)
    planes = [np.rint(plane).astype(np.uint8) for plane in (luma, u[::2, ::2], v[::2, ::2])]
    return Frame((planes[0], planes[1], planes[2]), index=index, pts=index, time_base=Fraction(1, 30))


def matte_of(*figures: Figure) -> U8:
    """All figures' mattes as one, as a network gives it."""
    return as_u8(np.maximum.reduce([np.zeros(SIZE[::-1], np.uint8), *(figure.matte() for figure in figures)]))


def regions(frame: Frame, matte: U8) -> Regions:
    return Regions(matte[np.newaxis], ("person",), frame.pts, frame.size)


def shown(matte: U8, figure: Figure, *, beside: Figure | None = None) -> float:
    """Which share of a figure a matte shows, 0..1; beside: leave out what another one covers."""
    own = figure.matte().astype(np.float64)
    if beside is not None:
        own[beside.matte() > 0] = 0.0
    return float(np.minimum(matte, own).sum() / max(1.0, own.sum()))
