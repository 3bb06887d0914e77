"""Blur as a lens makes it: discs in place of Gaussians, bright spots that stay bright, floors sharper near the feet."""

from __future__ import annotations

import math

import cv2
import numpy as np

from rtseg.ops.arrays import F32, U8, as_f32, as_u8
from rtseg.ops.blur import covered, reduced

_SMALLEST_RADIUS = 2.5
"""In pixels of the reduced planes, up to twice that: a disc of 7x7 to 11x11 taps, whatever the strength."""
_HIGHLIGHT = 180.0
_BLOOM = 8.0
"""The brightest pixels count as much more than those under the highlights, as they do before a camera clips them."""
_NEAR = 0.25
"""The radius beside the subject's feet, of that far away."""

_levels = np.arange(256)
_LIGHT: F32 = (1.0 + _BLOOM * np.clip((_levels - _HIGHLIGHT) / (235.0 - _HIGHLIGHT), 0.0, 1.0) ** 2).astype(np.float32)


def bokeh_covered(
    planes: tuple[U8, U8, U8],
    weight: U8,
    sigma: float,
    *,
    depth: bool = False,
    shape: tuple[int, ...] | None = None,
) -> tuple[U8, U8, U8]:
    """Blur three planes (uint8, each of its own size) with a disc as wide as a Gaussian of `sigma` luma pixels is.

    A disc of radius 2 sigma has that spread. As in `blur_covered` only what `weight` (uint8 of any size) covers takes
    part, and three planes of one reduced size are returned. shape: of the luma, if what is given is a half of it.

    depth: the blur grows with the distance from the subject, as far as rows tell it: on a floor seen from the height of
    the subject's head, the circle that a point is blurred to grows straight from none in the row of the feet to all in
    the row of the head (thin lens: c ~ 1 - z_subject / z, and z ~ 1 / (row - horizon)). Where the subject reaches
    the lowest row no floor is seen, and all is blurred alike.
    """
    height, width = shape or planes[0].shape
    radius, scale = small_radius(sigma)
    size = (-(-width // scale), -(-height // scale))
    small = [reduced(plane, size) for plane in planes]
    w = as_f32(covered(weight, size) * cv2.LUT(small[0], _LIGHT))
    picture = as_f32(cv2.merge(small).astype(np.float32)) * w[..., None]
    blurred = _disc(picture, w, radius)
    if depth and (far := farness(weight, size[1])) is not None:
        near = _disc(picture, w, _NEAR * radius)
        blurred = near + (blurred - near) * far[:, None, None]
    y, u, v = (as_u8(plane) for plane in cv2.split(cv2.convertScaleAbs(blurred)))
    return y, u, v


def small_radius(sigma: float) -> tuple[float, int]:
    """The disc's radius on reduced planes, and the reduction."""
    scale = 1 << max(0, math.floor(math.log2(2.0 * sigma / _SMALLEST_RADIUS)))
    return 2.0 * sigma / scale, scale


def farness(weight: U8, rows: int) -> F32 | None:
    """For each of `rows` how much of the blur it gets, 0..1; None for all, where no feet are seen."""
    _, head, width, height = cv2.boundingRect(as_u8(cv2.threshold(weight, 127, 255, cv2.THRESH_BINARY_INV)[1]))
    feet = head + height
    if width == 0 or feet >= len(weight):
        return None
    middles = (np.arange(rows) + 0.5) * len(weight) / rows
    return as_f32(np.minimum(1.0, np.abs(feet - middles) / height).astype(np.float32))


def disc(radius: float) -> F32:
    """A disc whose rim is as soft as a pixel, float32 nxn, of sum 1."""
    reach = math.ceil(radius)
    at = np.arange(-reach, reach + 1)
    cover = np.clip(radius + 0.5 - np.hypot(at[:, None], at), 0.0, 1.0)
    return as_f32((cover / cover.sum()).astype(np.float32))


def _disc(weighted: F32, weight: F32, radius: float) -> F32:
    kernel = disc(radius)
    total = cv2.filter2D(weight, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
    return as_f32(cv2.filter2D(weighted, -1, kernel, borderType=cv2.BORDER_REFLECT_101) / total[..., None])
