"""Between the picture and the road: where a point of a flat ground is seen, and which ground a pixel shows.

A pinhole camera `View.height` metres over the plane y = 0, turned by roll, then pitch, then yaw (Hartley and Zisserman,
"Multiple View Geometry", chapter 8, for a plane and its vanishing line). Pixels are counted from the picture's top left
corner, so that the middle of its first pixel is (0.5, 0.5).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rtseg.driving.state import View

F64: TypeAlias = NDArray[np.float64]


def as_f64(array: Any) -> F64:
    """Tell the type checker what NumPy's stubs do not: float64 in, float64 out."""
    return array  # type: ignore[no-any-return]


def lens(size: tuple[int, int], *, fov: float) -> float:
    """The focal length in pixels of a picture (width, height) that is `fov` radians wide."""
    return size[0] / 2 / math.tan(fov / 2)


def scaled(view: View, size: tuple[int, int], to: tuple[int, int]) -> tuple[View, float]:
    """The same camera in a picture of another width and height, stretched from `size` to `to`; and how much taller its
    pixels count: rows are multiplied by that number before they are given to the functions here."""
    across, down = to[0] / size[0], to[1] / size[1]
    return replace(view, focal=view.focal * across, centre=(view.centre[0] * across, view.centre[1] * across)), (
        across / down
    )


def rotation(view: View) -> F64:
    """3x3, from the camera's axes (right, down, forward) to the vehicle's."""
    (sr, cr), (sp, cp), (sy, cy) = ((math.sin(a), math.cos(a)) for a in (view.roll, view.pitch, view.yaw))
    roll = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    pitch = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    return as_f64(yaw @ pitch @ roll)


def to_ground(view: View, u: ArrayLike, v: ArrayLike) -> tuple[F64, F64]:
    """The ground that pixels show, x and z in metres; NaN where it is the horizon or above."""
    r = rotation(view)
    a = (np.asarray(u, np.float64) - view.centre[0]) / view.focal
    b = (np.asarray(v, np.float64) - view.centre[1]) / view.focal
    down = r[1, 0] * a + r[1, 1] * b + r[1, 2]
    reach = view.height / np.where(down > 1e-9, down, np.nan)
    return reach * (r[0, 0] * a + r[0, 1] * b + r[0, 2]), reach * (r[2, 0] * a + r[2, 1] * b + r[2, 2])


def to_image(view: View, x: ArrayLike, z: ArrayLike, *, up: ArrayLike = 0.0) -> tuple[F64, F64]:
    """Where points of the ground, or `up` metres over it, are seen, in pixels; NaN behind the camera."""
    r = rotation(view)
    x, z, y = np.asarray(x, np.float64), np.asarray(z, np.float64), view.height - np.asarray(up, np.float64)
    a, b, c = (r[0, i] * x + r[1, i] * y + r[2, i] * z for i in range(3))
    depth = np.where(c > 1e-9, c, np.nan)
    return view.focal * a / depth + view.centre[0], view.focal * b / depth + view.centre[1]


def project(view: View, x: ArrayLike, z: ArrayLike) -> F64:
    """The same as points ...x2 of the picture, for drawing."""
    return np.stack(to_image(view, x, z), axis=-1)


def jacobian(view: View, u: ArrayLike, v: ArrayLike) -> F64:
    """How x and z change with u, v, pitch, yaw and height: ...x2x5, metres a pixel, a radian, a metre.

    Central differences, exact to 1e-6; NaN above the horizon.
    """
    u, v = np.broadcast_arrays(np.asarray(u, np.float64), np.asarray(v, np.float64))
    step = 1e-5

    def turned(**more: float) -> tuple[F64, F64]:
        return to_ground(replace(view, **{name: getattr(view, name) + by for name, by in more.items()}), u, v)

    pairs = (
        (to_ground(view, u + step, v), to_ground(view, u - step, v)),
        (to_ground(view, u, v + step), to_ground(view, u, v - step)),
        (turned(pitch=step), turned(pitch=-step)),
        (turned(yaw=step), turned(yaw=-step)),
        (turned(height=step), turned(height=-step)),
    )
    columns = [np.stack([(a - b) / (2 * step) for a, b in zip(*pair, strict=True)], axis=-1) for pair in pairs]
    return np.stack(columns, axis=-1)


def ground_sigma(view: View, u: ArrayLike, v: ArrayLike, *, pixels: float, height_sigma: float = 0.0) -> F64:
    """How well x and z are known, ...x2 in metres: pixels are known to `pixels`, angles as the view says."""
    unsure = np.array([pixels, pixels, view.pitch_sigma or 0.0, view.yaw_sigma or 0.0, height_sigma])
    return as_f64(np.sqrt(np.square(jacobian(view, u, v) * unsure).sum(axis=-1)))


def horizon(view: View, width: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """The horizon's ends at u = 0 and u = width."""
    down = rotation(view)[1]
    ends = (0.0, width)
    v = [view.centre[1] - view.focal * (down[0] * (u - view.centre[0]) / view.focal + down[2]) / down[1] for u in ends]
    return (ends[0], float(v[0])), (ends[1], float(v[1]))


def homography(view: View) -> F64:
    """3x3, from ground (x, z, 1) to pixels (u, v, 1), up to scale."""
    r = rotation(view)
    k = np.array([[view.focal, 0, view.centre[0]], [0, view.focal, view.centre[1]], [0, 0, 1]])
    return as_f64(k @ r.T @ np.array([[1, 0, 0], [0, 0, view.height], [0, 1, 0]]))


def birds_eye(view: View, size: tuple[int, int], *, across: float, ahead: tuple[float, float]) -> F64:
    """3x3, from pixels of the picture to those of a plan of `size` (width, height), far at the top.

    across: metres of its width, the camera in the middle. ahead: z of its lower and upper edge. For
    `cv2.warpPerspective`; what is above the horizon must be cut off first.
    """
    near, far = ahead
    plan = np.array(
        [[size[0] / across, 0, size[0] / 2], [0, -size[1] / (far - near), size[1] * far / (far - near)], [0, 0, 1]]
    )
    return as_f64(plan @ np.linalg.inv(homography(view)))
