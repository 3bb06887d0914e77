"""Layers to planes: the one place where masks meet full-size pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias, assert_never

import numpy as np

from rtseg.errors import FrameError
from rtseg.ops.arrays import U8
from rtseg.ops.blend import Blender
from rtseg.ops.blur import blur_covered
from rtseg.ops.colour import rgb_to_yuv
from rtseg.ops.resize import enlarge, resize
from rtseg.types import Blur, Box, Clear, Frame, Keep, Layer, Picture, Solid

Planes: TypeAlias = tuple[U8, U8, U8]
Region: TypeAlias = tuple[slice, slice]
_WHOLE: Region = (slice(None), slice(None))


@dataclass(frozen=True, slots=True)
class _Placed:
    """A layer's alpha at plane resolution, and the part of each plane that it covers."""

    luma: Region
    chroma: Region
    luma_alpha: U8 | float
    chroma_alpha: U8 | float


class Compositor:
    """Folds layers over a frame, bottom first, in its Y, U and V planes.

    For each plane: out = base + (paint - base) * alpha / 255, where alpha is the layer's mask enlarged to the plane
    bilinearly with half-pixel centres. Within two levels of the same in float64. Keeps scratch memory: one
    compositor belongs to one stream.
    """

    def __init__(self) -> None:
        self._blend = Blender()
        self._kept: dict[str, U8] = {}

    def __call__(self, frame: Frame, layers: Sequence[Layer]) -> Frame:
        """The frame with all layers on it; the frame itself when there is none.

        Raises FrameError when a Picture does not fit what its layer covers.
        """
        base, alpha = frame.planes, frame.alpha
        out: Planes | None = None
        for layer in layers:
            placed = self._place(frame, layer)
            if placed is None:
                continue
            if alpha is not None or isinstance(layer.paint, Clear):
                alpha = self._fold_alpha(frame, alpha, layer, placed)
            if isinstance(layer.paint, Clear):
                continue
            if out is None:
                out = _new_planes(frame)
                if layer.box is not None:
                    for plane, copy in zip(base, out, strict=True):
                        np.copyto(copy, plane)
                    base = out
            paints = self._paint(frame, base, layer, placed)
            for i, paint in enumerate(paints):
                at, cover = (placed.chroma, placed.chroma_alpha) if i else (placed.luma, placed.luma_alpha)
                self._blend.over(base[i][at], paint, cover, out=out[i][at])
            base = out
        if out is None and alpha is frame.alpha:
            return frame
        return frame.with_planes(base, alpha=alpha)

    def _fold_alpha(self, frame: Frame, alpha: U8 | None, layer: Layer, placed: _Placed) -> U8:
        folded = np.full(frame.planes[0].shape, 255, np.uint8) if alpha is None else alpha.copy()
        value = 0 if isinstance(layer.paint, Clear) else 255
        self._blend.over(folded[placed.luma], value, placed.luma_alpha, out=folded[placed.luma])
        return folded

    def _paint(self, frame: Frame, base: Planes, layer: Layer, placed: _Placed) -> tuple[U8 | int, U8 | int, U8 | int]:
        """The paint's planes, cut to where the layer lies."""
        paint = layer.paint
        match paint:
            case Solid():
                return rgb_to_yuv(paint.rgb, frame.colour)
            case Keep():
                y, u, v = frame.planes
            case Blur():
                y, u, v = self._blur(base, layer, paint)
            case Picture():
                wanted = [plane[at].shape for plane, at in zip(base, _thrice(placed), strict=True)]
                if [plane.shape for plane in paint.frame.planes] != wanted:
                    raise FrameError(
                        f"a picture layer over {frame!r}, box {layer.box}, must have planes of {wanted}, "
                        f"not {paint.frame!r}: fit it to the box and keep the box inside the frame on whole chroma samples"
                    )
                return paint.frame.planes
            case Clear():
                raise AssertionError("Clear has no colour")
            case _:
                assert_never(paint)
        return y[placed.luma], u[placed.chroma], v[placed.chroma]

    def _blur(self, base: Planes, layer: Layer, paint: Blur) -> Planes:
        """The base blurred where the layer covers it, at full size. A layer in a box takes in its surroundings."""
        covers_all = isinstance(layer.alpha, int | float) or layer.box is not None
        weight = np.full((1, 1), 255, np.uint8) if covers_all else layer.alpha
        assert isinstance(weight, np.ndarray)
        small = blur_covered(base, weight, sigma=paint.strength / 100 * base[0].shape[0])
        y, u, v = (
            enlarge(plane, _size(full), out=self._scratch(f"blur{i}", full.shape))
            for i, (plane, full) in enumerate(zip(small, base, strict=True))
        )
        return y, u, v

    def _place(self, frame: Frame, layer: Layer) -> _Placed | None:
        """Bring a layer's alpha to plane resolution; None when it covers nothing of the frame."""
        luma, chroma = frame.planes[0], frame.planes[1]
        if isinstance(layer.alpha, np.ndarray) and not layer.alpha.any():
            return None
        if layer.box is None:
            if not isinstance(layer.alpha, np.ndarray):
                return _Placed(_WHOLE, _WHOLE, layer.alpha, layer.alpha) if layer.alpha > 0 else None
            small = enlarge(layer.alpha, _size(chroma), out=self._scratch("chroma", chroma.shape))
            large = enlarge(layer.alpha, _size(luma), out=self._scratch("luma", luma.shape))
            return _Placed(_WHOLE, _WHOLE, large, small)
        step_y, step_x = -(-luma.shape[0] // chroma.shape[0]), -(-luma.shape[1] // chroma.shape[1])
        x0, y0, x1, y1 = layer.box
        # The smallest part of the frame that holds the box and starts and ends on whole chroma samples.
        left, top = max(0, x0) // step_x * step_x, max(0, y0) // step_y * step_y
        right, bottom = min(luma.shape[1], -(-x1 // step_x) * step_x), min(luma.shape[0], -(-y1 // step_y) * step_y)
        if left >= right or top >= bottom or x0 >= x1 or y0 >= y1:
            return None
        at = (slice(top, bottom), slice(left, right))
        chroma_at = (slice(top // step_y, -(-bottom // step_y)), slice(left // step_x, -(-right // step_x)))
        large = _alpha_in_box(layer.alpha, layer.box, (left, top, right, bottom))
        height, width = (s.stop - s.start for s in chroma_at)
        return _Placed(at, chroma_at, large, resize(large, (width, height)))

    def _scratch(self, name: str, shape: tuple[int, ...]) -> U8:
        kept = self._kept.get(name)
        if kept is None or kept.shape != shape:
            kept = self._kept[name] = np.empty(shape, np.uint8)
        return kept


def _alpha_in_box(alpha: U8 | float, box: Box, part: Box) -> U8:
    """The alpha of `box` at luma resolution, cut or zero-padded to `part` of the frame."""
    x0, y0, x1, y1 = box
    left, top, right, bottom = part
    if isinstance(alpha, np.ndarray):
        full = enlarge(alpha, (x1 - x0, y1 - y0))
    else:
        full = np.full((y1 - y0, x1 - x0), round(255 * alpha), np.uint8)
    if part == box:
        return full
    padded = np.zeros((bottom - top, right - left), np.uint8)
    inner = (max(x0, left), max(y0, top), min(x1, right), min(y1, bottom))
    padded[inner[1] - top : inner[3] - top, inner[0] - left : inner[2] - left] = full[
        inner[1] - y0 : inner[3] - y0, inner[0] - x0 : inner[2] - x0
    ]
    return padded


def _new_planes(frame: Frame) -> Planes:
    """Uninitialised planes of the frame's shapes; 4:2:0 ones lie in one buffer, which encoders take without a copy."""
    shapes = [plane.shape for plane in frame.planes]
    sizes = [shape[0] * shape[1] for shape in shapes]
    buffer = np.empty(sum(sizes), np.uint8)
    y, u, v = (
        part.reshape(shape)
        for part, shape in zip(np.split(buffer, [sizes[0], sizes[0] + sizes[1]]), shapes, strict=True)
    )
    return y, u, v


def _size(plane: U8) -> tuple[int, int]:
    return plane.shape[1], plane.shape[0]


def _thrice(placed: _Placed) -> tuple[Region, Region, Region]:
    return placed.luma, placed.chroma, placed.chroma
