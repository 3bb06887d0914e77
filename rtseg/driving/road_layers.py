"""What is painted on the road: the ego lane as a carpet, its lines, and the horizon."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.driving.ground import horizon, project
from rtseg.driving.ink import shape
from rtseg.driving.state import LaneLine, Lanes, Obstacle, View
from rtseg.driving.theme import Theme
from rtseg.ops.arrays import as_u8
from rtseg.ops.palette import RGB
from rtseg.types import Layer, Size, Solid

F64 = NDArray[np.float64]
_MANY, _FEW = np.linspace(0.0, 1.0, 28), np.linspace(0.0, 1.0, 4)
_NEAREST = 1.5
_LINE_WIDTH = 0.15
_PAINTED, _UNPAINTED = 3.0, 4.5


def carpet_layer(
    view: View, lanes: Lanes, obstacles: Sequence[Obstacle], size: Size, rgb: RGB, opacity: float
) -> Layer | None:
    """The ego lane from the bonnet to where its lines end, or to the lead vehicle; None without a line beside it.

    A line that is not in sight is put where the lane's width says.
    """
    left, right = lanes.line(-1), lanes.line(1)
    known = [line for line in (left, right) if line is not None]
    if not known or (len(known) == 1 and lanes.width is None):
        return None
    near, far = _NEAREST, min(line.far for line in known)
    ahead = [each.distance.value for each in obstacles if each.lead and each.distance is not None]
    far = min([far, *ahead])
    if far <= near + 1:
        return None
    z = _distances(near, far)
    width = 0.0 if lanes.width is None else lanes.width.value
    sides = [
        _along(left, z) if left is not None else _along(known[0], z) - width,
        _along(right, z) if right is not None else _along(known[0], z) + width,
    ]
    outline = np.vstack([project(view, sides[0], z), project(view, sides[1], z)[::-1]])
    return shape([outline], size, rgb, opacity, fade=0.5)


def line_layers(view: View, lanes: Lanes, size: Size, theme: Theme) -> list[Layer]:
    """Each line as a strip of its width on the road, in its colour; a dashed one in dashes, one that is only followed
    fainter."""  # fmt: skip
    pieces = [(line, _distances(near, far)) for line in lanes.lines for near, far in _pieces(line)]
    if not pieces:
        return []
    z = np.concatenate([each for _, each in pieces])
    x = np.concatenate([_along(line, each) for line, each in pieces])
    width = np.maximum(_LINE_WIDTH, max(1.2, 0.0022 * size.height) * z / view.focal)  # to be seen in the distance
    left, right = project(view, x - width / 2, z), project(view, x + width / 2, z)
    strips: dict[tuple[RGB, float], list[F64]] = {}
    start = 0
    for line, each in pieces:
        rgb = {"white": theme.white, "yellow": theme.yellow, None: theme.unknown}[line.colour]
        look = rgb, theme.line_opacity * (1.0 if line.seen else 0.45)
        part = slice(start, start + len(each))
        strips.setdefault(look, []).append(np.concatenate([left[part], right[part][::-1]]))
        start = part.stop
    layers = [shape(outlines, size, rgb, opacity) for (rgb, opacity), outlines in strips.items()]
    return [layer for layer in layers if layer is not None]


def horizon_layer(view: View, size: Size, rgb: RGB) -> Layer | None:
    """A thin line at the horizon, bright at both sides and faint between; None where it is not in the frame."""
    rows = [row for _, row in horizon(view, size.width)]
    thick = max(2, round(0.003 * size.height))
    top, bottom = int(min(rows)) - thick - 1, int(max(rows)) + thick + 2
    top -= top % 2
    if bottom <= 0 or top >= size.height:
        return None
    step = max(1, size.width // 640)
    alpha = np.zeros((bottom - top, size.width // step), np.uint8)
    ends = [(0, round((rows[0] - top) * 16)), (alpha.shape[1] * 16, round((rows[1] - top) * 16))]
    cv2.line(alpha, ends[0], ends[1], 255, thick, cv2.LINE_AA, 4)
    across = np.abs(np.linspace(-1, 1, alpha.shape[1]))
    shown = alpha * np.where(across > 0.86, 0.8, 0.28)
    return Layer(as_u8(np.rint(shown).astype(np.uint8)), Solid(rgb), (0, top, size.width, bottom))


def _distances(near: float, far: float) -> F64:
    """Evenly in 1/z, which is rows of the picture; fewer for a short piece."""
    steps = _MANY if far - near > 2 * _PAINTED else _FEW
    return np.asarray(1.0 / (1.0 / near + (1.0 / far - 1.0 / near) * steps))


def _along(line: LaneLine, z: F64) -> F64:
    c0, c1, c2, c3 = line.coefficients
    return c0 + z * (c1 + z * (c2 / 2 + z * c3 / 6))


def _pieces(line: LaneLine) -> list[tuple[float, float]]:
    near, far = max(_NEAREST, line.near), line.far
    if far <= near:
        return []
    if line.kind != "dashed":
        return [(near, far)]
    starts = np.arange(near, far, _PAINTED + _UNPAINTED).tolist()
    return [(start, min(far, start + _PAINTED)) for start in starts]
