"""Geometry and composition: which part of a picture a sample shows, and who stands before what.

All functions take the sample's own random generator and nothing else that varies, so that a sample is a function of
the recipe's seed and its index. Pictures are uint8 HxWx3 RGB; label planes are uint8 CxHxW, 0..255.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from rtseg.ops.arrays import U8, as_f32, as_u8
from rtseg.train.recipe import AugmentOptions

ASPECTS = ((16 / 9, 0.3), (4 / 3, 0.1), (9 / 16, 0.05), (1.0, 0.05), (None, 0.5))
"""Width over height of what cameras give, None for the picture's own, and how often; all are stretched to the input."""


@dataclass(frozen=True, eq=False, slots=True)
class Scene:
    """A picture with its labels on the way to a sample. planes, known: CxHxW; known is 255 where planes count."""

    rgb: U8
    planes: U8
    known: U8


def view(scene: Scene, size: tuple[int, int], chance: Generator, options: AugmentOptions, *, person: bool) -> Scene:
    """A random window of the scene, turned and mirrored a little, stretched to `size` (width, height)."""
    height, width = scene.rgb.shape[:2]
    own = width / height
    drawn = ASPECTS[int(chance.choice(len(ASPECTS), p=[share for _, share in ASPECTS]))][0] if person else None
    aspect = own if drawn is None else drawn
    subject = (scene.planes[0] > 127) & (scene.known[0] > 0) if person else None
    if subject is not None and chance.random() < options.upper and subject.any():
        x, y, wide, tall = _upper_body(subject, aspect, chance)
    else:
        zoom = chance.uniform(*options.zoom)
        tall = zoom * min(height, width / aspect)
        wide = tall * aspect
        x, y = chance.uniform(0, max(width - wide, 0)), chance.uniform(0, max(height - tall, 0))
    angle = np.deg2rad(chance.uniform(-options.rotate, options.rotate))
    mirror = -1.0 if chance.random() < options.flip else 1.0
    scale_x, scale_y = wide / size[0], tall / size[1]
    # From a pixel of the sample to a pixel of the scene: about the window's centre, half-pixel convention.
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.diag([scale_x * mirror, scale_y])
    centre = np.array([x + wide / 2 - 0.5, y + tall / 2 - 0.5])
    offset = centre - linear @ np.array([(size[0] - 1) / 2, (size[1] - 1) / 2])
    return _warp(scene, np.column_stack([linear, offset]), size, steps=(_step(scale_x), _step(scale_y)))


def _step(scale: float) -> int:
    """By how much the engine averages before its last, bilinear step: halves, while twice the target or more is left.

    A network that was trained on softer pictures than it is given draws softer edges.
    """
    return 1 << max(0, math.floor(math.log2(scale)))


def _upper_body(subject: np.ndarray, aspect: float, chance: Generator) -> tuple[float, float, float, float]:
    """A window like a webcam's: over the head down to somewhere between chin and knees, the head anywhere in it."""
    rows = np.flatnonzero(subject.any(axis=1))
    top, person = rows[0], rows[-1] + 1 - rows[0]
    tall = float(np.clip(person * chance.uniform(0.2, 0.9), 24, subject.shape[0] * 1.2))
    wide = tall * aspect
    head = np.flatnonzero(subject[top : top + max(int(tall / 3), 1)].any(axis=0))
    middle = float(head.mean()) + chance.normal(0, 0.18) * wide
    if wide > subject.shape[1] * 1.3:
        wide = subject.shape[1] * 1.3
        tall = wide / aspect
    return middle - wide / 2, float(top) - chance.uniform(-0.1, 0.3) * tall, wide, tall


def _warp(scene: Scene, matrix: np.ndarray, size: tuple[int, int], *, steps: tuple[int, int]) -> Scene:
    """`steps`: pixels of the scene to one of the sample, each way; so many are averaged, or the warp would alias."""
    rgb, planes, known = scene.rgb, scene.planes, scene.known
    if max(steps) > 1:
        height, width = rgb.shape[:2]
        smaller = max(1, width // max(steps[0], 1)), max(1, height // max(steps[1], 1))
        ratio = np.array([smaller[0] / rgb.shape[1], smaller[1] / rgb.shape[0]])
        rgb = as_u8(cv2.resize(rgb, smaller, interpolation=cv2.INTER_AREA))
        planes = np.stack([cv2.resize(p, smaller, interpolation=cv2.INTER_AREA) for p in planes]).astype(np.uint8)
        known = np.stack([cv2.resize(k, smaller, interpolation=cv2.INTER_NEAREST) for k in known]).astype(np.uint8)
        matrix = np.column_stack([matrix[:, :2] * ratio[:, None], (matrix[:, 2] + 0.5) * ratio - 0.5])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(rgb, matrix, size, flags=flags, borderMode=cv2.BORDER_REFLECT_101)
    labels = [cv2.warpAffine(p, matrix, size, flags=flags, borderMode=cv2.BORDER_REFLECT_101) for p in planes]
    sure = [
        cv2.warpAffine(k, matrix, size, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_CONSTANT)
        for k in known
    ]
    return Scene(as_u8(warped), np.stack(labels).astype(np.uint8), np.stack(sure).astype(np.uint8))


def before(subject: Scene, background: U8, chance: Generator) -> Scene:
    """The subject of the first region cut out and put before another picture, lit a little like it.

    The cut is a pixel inside the mask and soft, so that little of the old background comes along.
    """
    alpha = cv2.erode(subject.planes[0], np.ones((3, 3), np.uint8))
    alpha = cv2.GaussianBlur(alpha, (0, 0), chance.uniform(0.6, 1.2)).astype(np.float32)[..., None] / 255
    person = subject.rgb.astype(np.float32)
    ground = background.astype(np.float32)
    if chance.random() < 0.5:  # towards the background's mean and spread
        share = chance.uniform(0.0, 0.5)
        person = as_f32(person + share * (ground.mean(axis=(0, 1)) - person.mean(axis=(0, 1))))
    if chance.random() < 0.4:  # out of focus, as cameras show it
        ground = as_f32(cv2.GaussianBlur(ground, (0, 0), chance.uniform(0.7, 3.0)))
    mixed = np.clip(person * alpha + ground * (1 - alpha), 0, 255).round().astype(np.uint8)
    planes = subject.planes.copy()
    planes[0] = (alpha[..., 0] * 255).round()  # what is seen of the subject, not what was cut
    return Scene(mixed, planes, np.full_like(subject.known, 255))


def beside(scene: Scene, other: Scene, chance: Generator) -> Scene:
    """A second subject behind or before the first, its labels joined to the first's."""
    shift_x = chance.choice([-1.0, 1.0]) * chance.uniform(0.25, 0.6) * scene.rgb.shape[1]
    scale = chance.uniform(0.5, 1.1)
    size = (scene.rgb.shape[1], scene.rgb.shape[0])
    matrix = np.array([[scale, 0, shift_x + size[0] * (1 - scale) / 2], [0, scale, size[1] * (1 - scale) / 2]])
    moved = cv2.warpAffine(other.rgb, matrix, size, borderMode=cv2.BORDER_REFLECT_101)
    mask = cv2.warpAffine(other.planes[0], matrix, size, borderMode=cv2.BORDER_CONSTANT)
    soft = cv2.GaussianBlur(cv2.erode(mask, np.ones((3, 3), np.uint8)), (0, 0), 0.8)
    if chance.random() < 0.6:  # behind
        soft = np.minimum(soft, 255 - scene.planes[0]).astype(np.uint8)
    alpha = soft.astype(np.float32)[..., None] / 255
    rgb = (moved * alpha + scene.rgb * (1 - alpha)).round().astype(np.uint8)
    planes = scene.planes.copy()
    np.maximum(planes[0], soft, out=planes[0])
    return Scene(rgb, planes, scene.known)
