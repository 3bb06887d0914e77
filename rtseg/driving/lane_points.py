"""From a lane mask to points of lines: the middles of its runs, row by row, on the road."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.driving.ground import F64, horizon, scaled, to_ground
from rtseg.driving.state import View
from rtseg.ops.arrays import U8

LEVEL = 110
"""From which level a pixel belongs to a line."""
FAR, NEAR = 50.0, 2.0
_WIDE, _BLUR = 0.35, 8.0  # of a line: metres of paint, and pixels that networks add to it
_BELOW = 2.0  # rows under the horizon that are left out


class Runs(NamedTuple):
    """Middles of runs in pixels of the mask, their row and width."""

    u: F64
    v: F64
    width: F64


@dataclass(frozen=True, eq=False, slots=True)
class LanePoints:
    """N points: x, z in metres, sigma of x, u and v in pixels of the frame, and the mask's row."""

    x: F64
    z: F64
    sigma: F64
    u: F64
    v: F64
    row: NDArray[np.intp]

    def take(self, chosen: NDArray[np.bool_]) -> Self:
        """Those of a mask of N."""
        return type(self)(*(getattr(self, name)[chosen] for name in ("x", "z", "sigma", "u", "v", "row")))

    def __len__(self) -> int:
        return len(self.x)


def runs_of(mask: U8, *, top: int = 0) -> Runs:
    """Every run of a row that is at least `LEVEL`, from row `top` on; edges are interpolated between pixels.

    mask: uint8 HxW. A run that touches the mask's side is left out: its middle is not known.
    """
    part = mask[top:]
    inside = np.zeros((part.shape[0], part.shape[1] + 2), np.int8)
    np.greater_equal(part, LEVEL, out=inside[:, 1:-1], casting="unsafe")
    rows, places = np.nonzero(inside[:, 1:] != inside[:, :-1])
    row, start, end = rows[::2], places[::2], places[1::2]  # end: exclusive
    whole = (start > 0) & (end < part.shape[1])
    row, start, end = row[whole], start[whole], end[whole]
    left, right = (_edge(part, row, a, b) for a, b in ((start, start - 1), (end - 1, end)))
    first, last = start + 0.5 - left, end - 0.5 + right
    return Runs((first + last) / 2, row + top + 0.5, last - first)


def _edge(part: U8, row: NDArray[np.intp], inner: NDArray[np.intp], outer: NDArray[np.intp]) -> F64:
    """How far, in pixels, the level goes on from an inner pixel towards its outer neighbour."""
    a, b = part[row, inner].astype(np.float64), part[row, outer].astype(np.float64)
    share: F64 = (a - LEVEL) / (a - b)
    return share


def lane_points(mask: U8, view: View, size: tuple[int, int]) -> LanePoints:
    """The points of a mask, uint8 hxw, that can be paint on the road as `view` sees it in a frame of `size`."""
    height, width = mask.shape
    small, taller = scaled(view, size, (width, height))
    sky = min(v for _, v in horizon(small, width)) / taller
    runs = runs_of(mask, top=int(np.clip(sky + _BELOW, 0, height - 1)))
    x, z = to_ground(small, runs.u, runs.v * taller)
    slant = np.hypot(1.0, x / view.height)  # a line runs across rows the flatter, the more it is to the side
    with np.errstate(invalid="ignore"):
        fits = (z > NEAR) & (z < FAR) & (runs.width < slant * (_WIDE * small.focal / z + _BLUR))
    u, v = runs.u * size[0] / width, runs.v * size[1] / height
    # Neighbouring rows err together, so one of them counts less than it seems to.
    sigma = np.hypot(2.0 * slant * z / small.focal, 0.12)
    return LanePoints(x, z, sigma, u, v, (runs.v - 0.5).astype(np.intp)).take(fits)


def vanishing_point(mask: U8) -> tuple[float, float, float] | None:
    """Where the straight pieces of a mask meet, in its pixels, and the standard deviation; None where nothing says so.

    Each connected piece is a line through its moments; every pair is a guess, and the guess that most of the other
    pieces pass by is refined by least squares with Cauchy's weights.
    """
    narrow = np.zeros_like(mask)
    runs = runs_of(mask, top=mask.shape[0] // 3)
    for shift in (-1, 0, 1):  # runs as lines three pixels thick, so that a crack across the road does not join them
        keep = runs.width < mask.shape[1] / 12
        u = np.clip(runs.u[keep].astype(np.intp) + shift, 0, mask.shape[1] - 1)
        narrow[runs.v[keep].astype(np.intp), u] = 255
    pieces = _pieces(narrow)
    if len(pieces) < 2:
        return None
    normal, along, strong = pieces[:, :2], pieces[:, 2], pieces[:, 3]
    best, guess = 0.0, None
    for i in range(len(pieces)):
        for j in range(i):
            across = normal[i, 0] * normal[j, 1] - normal[i, 1] * normal[j, 0]
            if abs(across) < 0.15:
                continue
            point = np.linalg.solve(normal[[i, j]], along[[i, j]])
            score = float((strong / (1 + np.square((normal @ point - along) / 3.0))).sum())
            if score > best and -0.5 < point[1] / mask.shape[0] < 0.9:
                best, guess = score, point
    if guess is None:
        return None
    for _ in range(5):
        weight = strong / (1 + np.square((normal @ guess - along) / 2.0))
        squares = (normal * weight[:, None]).T @ normal + np.eye(2) * 1e-9
        guess = np.linalg.solve(squares, (normal * weight[:, None]).T @ along)
    spread = np.sqrt(np.trace(np.linalg.inv(squares)) * strong.mean())
    return float(guess[0]), float(guess[1]), float(np.clip(2.0 * spread, 1.0, 50.0))


def _pieces(mask: U8) -> F64:
    """Nx4: unit normal, distance along it, and length, of connected pieces that are long, thin and not level."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    found = []
    for number in np.argsort(-stats[1:count, cv2.CC_STAT_HEIGHT])[:12] + 1:
        x, y, w, h = (int(stats[number, place]) for place in range(4))
        if h < 6:
            continue
        rows, columns = np.nonzero(labels[y : y + h, x : x + w] == number)
        points = np.stack([columns + x + 0.5, rows + y + 0.5], axis=-1)
        middle = points.mean(axis=0)
        (small, large), axes = np.linalg.eigh(np.cov((points - middle).T))
        if large > 25 * small and abs(axes[1, 1]) > 0.1:
            found.append((*axes[:, 0], float(axes[:, 0] @ middle), float(np.sqrt(large))))
    return np.array(found, np.float64).reshape(-1, 4)
