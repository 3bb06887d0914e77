"""What a dashcam looks through: rain, dusk and night, glare, a dirty windscreen, reflections, bonnets and wipers.

Pictures are uint8 HxWx3 RGB. What hides the road also changes labels: those functions take and give a `Scene`.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator

from rtseg.ops.arrays import U8, as_f32, as_u8
from rtseg.train.augment import Scene


def weather(rgb: U8, chance: Generator) -> U8:
    """One of rain, dusk, night, glare or dirt, sometimes two."""
    kinds = (rain, dusk, night, glare, dirt, shade)
    for index in chance.choice(len(kinds), size=int(chance.choice([1, 2], p=[0.75, 0.25])), replace=False):
        rgb = kinds[int(index)](rgb, chance)
    return rgb


def rain(rgb: U8, chance: Generator) -> U8:
    """Streaks, drops on the glass that blur what is behind them, and a grey veil."""
    height, width = rgb.shape[:2]
    streaks = (chance.random((height, width)) > chance.uniform(0.985, 0.998)).astype(np.float32)
    length = int(chance.integers(5, 15))
    kernel = np.zeros((length, length), np.float32)
    lean = int(chance.integers(-2, 3))
    cv2.line(kernel, (length // 2 - lean, 0), (length // 2 + lean, length - 1), 1.0 / length)
    veil = as_f32(cv2.filter2D(streaks, -1, kernel)) * chance.uniform(1.0, 2.5)
    drops = np.zeros((height, width), np.float32)
    for _ in range(int(chance.integers(0, 25))):
        centre = int(chance.integers(width)), int(chance.integers(height))
        cv2.circle(drops, centre, int(chance.integers(2, 7)), 1.0, -1)
    drops = as_f32(cv2.GaussianBlur(drops, (0, 0), 1.0))[..., None]
    smeared = cv2.GaussianBlur(rgb, (0, 0), 3.0).astype(np.float32) * chance.uniform(0.8, 1.2)
    grey = chance.uniform(120, 200)
    wet = rgb * (1 - drops) + smeared * drops
    fog = chance.uniform(0.0, 0.3)
    wet = wet * (1 - fog) + grey * fog
    return _bytes(wet + np.clip(veil, 0, 0.6)[..., None] * (230 - wet))


def dusk(rgb: U8, chance: Generator) -> U8:
    """Low light, warm at the top or blue all over."""
    ramp = np.linspace(1, 0, rgb.shape[0], dtype=np.float32)[:, None, None]
    tint = np.array([1.15, 0.9, 0.75] if chance.random() < 0.5 else [0.75, 0.85, 1.1], np.float32)
    return _bytes(rgb * chance.uniform(0.35, 0.7) * (1 + (tint - 1) * (0.4 + 0.6 * ramp)))


def night(rgb: U8, chance: Generator) -> U8:
    """Dark, with a cone of headlights on the road and lamps that bloom."""
    height, width = rgb.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    across = (x / width - chance.uniform(0.42, 0.58)) / chance.uniform(0.25, 0.45)
    along = (y / height - chance.uniform(0.7, 0.9)) / chance.uniform(0.22, 0.35)
    cone = np.exp(-(across**2) - along**2)
    light = chance.uniform(0.08, 0.3) + chance.uniform(0.5, 0.9) * cone
    dark = rgb * light[..., None] * np.array([1.05, 0.97, 0.85], np.float32)
    lamps = np.zeros((height, width), np.float32)
    for _ in range(int(chance.integers(0, 8))):
        centre = int(chance.integers(width)), int(chance.integers(height // 4, int(height * 0.6)))
        cv2.circle(lamps, centre, int(chance.integers(1, 4)), 1.0, -1)
    bloom = np.clip(lamps + 2 * cv2.GaussianBlur(lamps, (0, 0), 4.0), 0, 1)[..., None]
    return _bytes(dark + bloom * (245 - dark))


def glare(rgb: U8, chance: Generator) -> U8:
    """A sun that washes out what is around it."""
    height, width = rgb.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    at = chance.uniform(0, width), chance.uniform(-0.1 * height, 0.5 * height)
    far = np.hypot(x - at[0], y - at[1]) / (chance.uniform(0.2, 0.6) * width)
    wash = chance.uniform(0.5, 1.0) * np.exp(-(far**2))[..., None]
    return _bytes(rgb + wash * (np.array([255, 250, 235], np.float32) - rgb))


def dirt(rgb: U8, chance: Generator) -> U8:
    """Soft blotches on the glass, out of focus, lighter or darker than the scene."""
    height, width = rgb.shape[:2]
    coarse = chance.random((int(chance.integers(4, 14)), int(chance.integers(6, 22)))).astype(np.float32)
    cover = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    cover = np.clip((cover - chance.uniform(0.5, 0.8)) * 2.0, 0, 0.6)[..., None]
    return _bytes(rgb * (1 - cover) + chance.uniform(40, 200) * cover)


def shade(rgb: U8, chance: Generator) -> U8:
    """Dappled shadows of trees and buildings over the lower part."""
    height, width = rgb.shape[:2]
    coarse = chance.random((int(chance.integers(5, 30)), int(chance.integers(5, 40)))).astype(np.float32)
    cover = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    cover = 1 / (1 + np.exp(-(cover - 0.5) * chance.uniform(8, 40)))
    ramp = np.clip(np.linspace(-0.5, 1.5, height, dtype=np.float32), 0, 1)[:, None]
    return _bytes(rgb * (1 - chance.uniform(0.3, 0.65) * cover * ramp)[..., None])


def cabin(scene: Scene, chance: Generator) -> Scene:
    """A bonnet or dashboard below, a pillar at the side, a wiper across, a reflection over all: one or two of them.

    What is opaque belongs to no region; a wiper hides what nobody can know, so labels there are unknown.
    """
    rgb, planes, known = scene.rgb.copy(), scene.planes.copy(), scene.known.copy()
    height, width = rgb.shape[:2]
    if chance.random() < 0.6:
        solid = _bonnet(rgb, chance)
        planes[:, solid] = 0
        known[:, solid] = 255
    if chance.random() < 0.15:
        wide = int(width * chance.uniform(0.03, 0.15))
        part = np.s_[:, :wide] if chance.random() < 0.5 else np.s_[:, width - wide :]
        rgb[part] = (rgb[part] * 0.15 + chance.uniform(5, 60)).astype(np.uint8)
        planes[:, part[0], part[1]] = 0
        known[:, part[0], part[1]] = 255
    if chance.random() < 0.25:
        mask = np.zeros((height, width), np.uint8)
        foot = int(chance.uniform(-0.1, 1.1) * width), height + 5
        tip = int(chance.uniform(-0.1, 1.1) * width), int(chance.uniform(0.15, 0.8) * height)
        cv2.line(mask, foot, tip, 255, int(chance.integers(2, 8)), cv2.LINE_AA)
        alpha = mask.astype(np.float32)[..., None] / 255 * chance.uniform(0.7, 1.0)
        rgb = _bytes(rgb * (1 - alpha) + chance.uniform(5, 45) * alpha)
        known[:, mask > 60] = 0
    if chance.random() < 0.35:
        rgb = reflection(rgb, chance)
    return Scene(rgb, planes, known)


def reflection(rgb: U8, chance: Generator) -> U8:
    """Something bright of the dashboard mirrored in the glass: the picture's own parts, upside down and faint."""
    height, width = rgb.shape[:2]
    ghost = cv2.GaussianBlur(np.ascontiguousarray(rgb[::-1, ::-1]), (0, 0), chance.uniform(1.0, 5.0)).astype(np.float32)
    mask = np.zeros((height, width), np.float32)
    points = np.stack([chance.uniform(-0.2, 1.2, 5) * width, chance.uniform(0.2, 1.2, 5) * height], axis=1)
    cv2.fillPoly(mask, [points.astype(np.int32)], 1.0)
    soft = as_f32(cv2.GaussianBlur(mask, (0, 0), chance.uniform(1.0, 8.0)))[..., None]
    return _bytes(rgb + chance.uniform(0.1, 0.45) * soft * ghost)


def _bonnet(rgb: U8, chance: Generator) -> np.ndarray:
    """Paint a bonnet or a dashboard in place; where it is."""
    height, width = rgb.shape[:2]
    x = np.linspace(-1, 1, width, dtype=np.float32)
    top = 1 - chance.uniform(0.06, 0.3) * (1 - chance.uniform(0.0, 0.5) * np.abs(x - chance.uniform(-0.2, 0.2)) ** 2.5)
    y = np.arange(height, dtype=np.float32)[:, None] / height
    solid = np.asarray(y > top[None])
    colour = chance.uniform(10, 230) * np.exp(chance.normal(0, 0.12, 3))
    shine = 1 + chance.uniform(-0.5, 0.8) * (y - top[None]) + chance.uniform(0, 0.3) * np.sin(x * chance.uniform(1, 9))
    paint = np.clip(colour[None, None] * shine[..., None], 0, 255)
    if chance.random() < 0.5:  # the sky mirrored in the paint
        mirror = cv2.GaussianBlur(np.ascontiguousarray(rgb[::-1]), (0, 0), 4.0).astype(np.float32)
        share = chance.uniform(0.1, 0.6)
        paint = paint * (1 - share) + mirror * share
    paint += chance.normal(0, 3, (height, width, 1))
    rgb[solid] = np.clip(paint, 0, 255).astype(np.uint8)[solid]
    return solid


def _bytes(values: np.ndarray) -> U8:
    return as_u8(np.clip(values, 0, 255).astype(np.uint8))
