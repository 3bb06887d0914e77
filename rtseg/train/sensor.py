"""What cameras, drivers and codecs do to a picture: exposure, colour, noise, blur, compression, ranges.

Everything takes and gives uint8 HxWx3 RGB and changes no labels.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator

from rtseg.ops.arrays import U8, as_u8


def sensor(rgb: U8, chance: Generator, *, strength: float = 1.0) -> U8:
    """A random chain of the faults below, each mild on its own; `strength` 0..1 scales them."""
    rgb = expose(rgb, chance, strength=strength)
    if chance.random() < 0.25 * strength:
        rgb = soften(rgb, chance)
    if chance.random() < 0.5 * strength:
        rgb = noise(rgb, chance, strength=strength)
    if chance.random() < 0.4 * strength:
        rgb = compress(rgb, chance)
    if chance.random() < 0.15 * strength:
        rgb = mistake_range(rgb, chance)
    return rgb


def expose(rgb: U8, chance: Generator, *, strength: float = 1.0) -> U8:
    """Exposure, contrast, gamma, white balance and saturation by one table a channel and one mix with grey."""
    ramp = np.arange(256, dtype=np.float32) / 255
    gamma = np.exp(chance.normal(0, 0.3 * strength))
    gain = np.exp(chance.normal(0, 0.2 * strength))
    lift = chance.normal(0, 0.05 * strength)
    curve = np.clip((ramp**gamma - 0.5) * np.exp(chance.normal(0, 0.15 * strength)) + 0.5, 0, 1) * gain + lift
    balance = np.exp(chance.normal(0, 0.07 * strength, 3))
    table = np.clip(curve[:, None] * balance[None] * 255, 0, 255).astype(np.uint8)
    rgb = as_u8(cv2.LUT(rgb, table[None]))
    if chance.random() < 0.5 * strength:
        grey = cv2.cvtColor(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        colour = chance.uniform(0.0, 1.4)
        rgb = as_u8(cv2.addWeighted(rgb, colour, grey, 1 - colour, 0))
    return rgb


def soften(rgb: U8, chance: Generator) -> U8:
    """Out of focus, moved, or enlarged from fewer pixels."""
    kind = chance.integers(3)
    if kind == 0:
        return as_u8(cv2.GaussianBlur(rgb, (0, 0), chance.uniform(0.4, 1.6)))
    if kind == 1:
        length = int(chance.integers(3, 9))
        kernel = np.zeros((length, length), np.float32)
        angle = chance.uniform(0, np.pi)
        middle = (length - 1) / 2
        reach = np.array([np.cos(angle), np.sin(angle)]) * middle
        start, end = (tuple(round(v) for v in (middle + s * reach)) for s in (-1, 1))
        cv2.line(kernel, start, end, 1.0)
        return as_u8(cv2.filter2D(rgb, -1, kernel / kernel.sum()))
    height, width = rgb.shape[:2]
    factor = chance.uniform(0.35, 0.8)
    small = cv2.resize(rgb, (int(width * factor), int(height * factor)), interpolation=cv2.INTER_AREA)
    return as_u8(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))


def noise(rgb: U8, chance: Generator, *, strength: float = 1.0) -> U8:
    """Noise that grows with darkness as gain does, in luma and, blotchy, in chroma."""
    height, width = rgb.shape[:2]
    sigma = abs(chance.normal(0, 9 * strength))
    fine = chance.normal(0, sigma, (height, width, 1)).astype(np.float32)
    coarse = chance.normal(0, sigma, (height // 3 + 1, width // 3 + 1, 3)).astype(np.float32)
    blotches = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.clip(rgb + fine + 0.7 * blotches, 0, 255).astype(np.uint8)


def compress(rgb: U8, chance: Generator) -> U8:
    """JPEG with subsampled chroma, which also stands for the blocks and smears of H.264."""
    quality = int(chance.integers(15, 75))
    _, data = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return as_u8(cv2.imdecode(data, cv2.IMREAD_COLOR))


def mistake_range(rgb: U8, chance: Generator) -> U8:
    """Full range shown as limited or the other way round, as happens between cameras and drivers."""
    values = rgb.astype(np.float32)
    values = (values - 16) * (255 / 219) if chance.random() < 0.5 else values * (219 / 255) + 16
    return np.clip(values, 0, 255).astype(np.uint8)
