"""Layers to planes: the one place where masks meet full-size pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias, assert_never

import cv2
import numpy as np

from rtseg.errors import FrameError
from rtseg.ops import kernels
from rtseg.ops.arrays import U8, Scratch, as_u8, empty_planes
from rtseg.ops.blend import Blender
from rtseg.ops.blur import blur_covered, reduction
from rtseg.ops.bokeh import bokeh_covered, small_radius
from rtseg.ops.colour import rgb_to_yuv
from rtseg.ops.resize import enlarge, resize
from rtseg.types import Blur, Box, Clear, Frame, Keep, Layer, Picture, Solid, Tints

Planes: TypeAlias = tuple[U8, U8, U8]
Paints: TypeAlias = tuple[U8 | int, U8 | int, U8 | int]
Region: TypeAlias = tuple[slice, slice]
_WHOLE: Region = (slice(None), slice(None))
_WORD = 8


@dataclass(frozen=True, slots=True)
class _Placed:
    """A layer's alpha at plane resolution, and the part of each plane that it covers.

    inverse: outside that part is paint and not base, and alpha is that of the base over the paint.
    """

    luma: Region
    chroma: Region
    luma_alpha: U8 | float
    chroma_alpha: U8 | float
    inverse: bool = False


class Compositor:
    """Folds layers over a frame, bottom first, in its Y, U and V planes.

    For each plane: out = base + (paint - base) * alpha / 255, where alpha is the layer's mask enlarged to the plane
    bilinearly with half-pixel centres. Within two levels of the same in float64. Keeps scratch memory: one
    compositor belongs to one stream.
    """

    def __init__(self) -> None:
        self._blend = Blender()
        self._scratch = Scratch()

    def __call__(self, frame: Frame, layers: Sequence[Layer]) -> Frame:
        """The frame with all layers on it; the frame itself when there is none.

        Raises FrameError when a Picture does not fit what its layer covers.
        """
        alpha = frame.alpha
        out: Planes | None = None
        over: Paints
        for layer in layers:
            clear = isinstance(layer.paint, Clear)
            if kernels.COMPILED and alpha is None and not clear and _is_plain(frame, layer):
                out = self._blend_mask(frame, out, layer)
                continue
            placed = self._place(frame, layer, invertible=out is None and alpha is None and not clear)
            if placed is None:
                continue
            if alpha is not None or clear:
                alpha = self._fold_alpha(frame, alpha, placed, 0 if clear else 255)
            if clear:
                continue
            if placed.inverse:
                out, over = _planes_for(frame), frame.planes
                _fill(out, self._paint(frame, frame.planes, layer, placed, into=out))
            else:
                if out is None:
                    out = _planes_for(frame)
                    _fill(out, frame.planes)
                over = self._paint(frame, out, layer, placed)
            self._blend_part(out[:1], over[:1], placed.luma, placed.luma_alpha)
            self._blend_part(out[1:], over[1:], placed.chroma, placed.chroma_alpha)
        if out is None and alpha is frame.alpha:
            return frame
        return frame.with_planes(frame.planes if out is None else out, alpha=alpha)

    def _blend_mask(self, frame: Frame, out: Planes | None, layer: Layer) -> Planes | None:
        """The planes with a layer that covers the frame by a mask, everything enlarged on the way."""
        mask = layer.alpha
        assert isinstance(mask, np.ndarray)
        if not mask.any():
            return out
        base = frame.planes if out is None else out
        paints: Paints
        masks = 3 * (mask,)
        match layer.paint:
            case Blur():
                paints = _blurred(frame, base, mask, layer.paint)
            case Tints():
                paints = layer.paint.planes
                if _slow(mask, frame):  # and there are four planes to enlarge
                    large, small = (enlarge(mask, _size(plane)) for plane in frame.planes[:2])
                    masks = (large, small, small)
                    paints = self._paint(frame, base, layer, _Placed(_WHOLE, _WHOLE, 1.0, 1.0))
            case _:
                paints = self._paint(frame, base, layer, _Placed(_WHOLE, _WHOLE, 1.0, 1.0))
        out = _planes_for(frame) if out is None else out
        for target, below, paint, alpha in zip(out, base, paints, masks, strict=True):
            kernels.blend(target, below, paint, alpha)
        return out

    def _blend_part(self, planes: Sequence[U8], paints: Sequence[U8 | int], at: Region, alpha: U8 | float) -> None:
        parts = [plane[at] for plane in planes]
        fitting = [
            paint if isinstance(paint, int) or paint.shape == part.shape else paint[at]
            for paint, part in zip(paints, parts, strict=True)
        ]
        self._blend.onto(parts, fitting, alpha)

    def _fold_alpha(self, frame: Frame, alpha: U8 | None, placed: _Placed, value: int) -> U8:
        folded = np.full(frame.planes[0].shape, 255, np.uint8) if alpha is None else alpha.copy()
        self._blend.onto([folded[placed.luma]], [value], placed.luma_alpha)
        return folded

    def _paint(
        self, frame: Frame, base: Planes, layer: Layer, placed: _Placed, *, into: Planes | None = None
    ) -> Paints:
        """The paint's planes, whole (a boxed picture's: the box's), made in `into` if they must be made."""
        paint = layer.paint
        match paint:
            case Solid():
                return rgb_to_yuv(paint.rgb, frame.colour)
            case Keep():
                return frame.planes
            case Blur():
                return self._blur(frame, base, layer, paint, into)
            case Picture():
                ats = (placed.luma, placed.chroma, placed.chroma) if layer.box is not None else 3 * (_WHOLE,)
                wanted = [plane[at].shape for plane, at in zip(base, ats, strict=True)]
                if [plane.shape for plane in paint.frame.planes] != wanted:
                    raise FrameError(
                        f"a picture layer over {frame!r}, box {layer.box}, must have planes of {wanted}, not "
                        f"{paint.frame!r}: fit it to the box and keep the box inside the frame on whole chroma samples"
                    )
                return paint.frame.planes
            case Tints():
                if layer.box is not None:
                    raise FrameError(f"tints are for whole frames, not for the box {layer.box}: leave it out")
                y, u, v = (enlarge(p, _size(full)) for p, full in zip(paint.planes, base, strict=True))
                return y, u, v
            case Clear():
                raise AssertionError("Clear has no colour")
            case _:
                assert_never(paint)

    def _blur(self, frame: Frame, base: Planes, layer: Layer, paint: Blur, into: Planes | None) -> Planes:
        """The base blurred where the layer covers it, at full size. A layer in a box takes in its surroundings."""
        covers_all = isinstance(layer.alpha, int | float) or layer.box is not None
        weight = np.full((1, 1), 255, np.uint8) if covers_all else layer.alpha
        assert isinstance(weight, np.ndarray)
        small = _blurred(frame, base, weight, paint)
        large = into or [self._scratch(f"blur{i}", plane.shape) for i, plane in enumerate(base)]
        y, u, v = (enlarge(plane, _size(full), out=full) for plane, full in zip(small, large, strict=True))
        return y, u, v

    def _place(self, frame: Frame, layer: Layer, *, invertible: bool) -> _Placed | None:
        """Bring a layer's alpha to plane resolution; None when it covers nothing of the frame."""
        if layer.box is not None:
            return _place_in_box(frame, layer.alpha, layer.box)
        if not isinstance(layer.alpha, np.ndarray):
            return _Placed(_WHOLE, _WHOLE, layer.alpha, layer.alpha) if layer.alpha > 0 else None
        # Most masks are of one value all around: only the part that is not is enlarged and blended.
        inverse = invertible and bool(layer.alpha[0, 0] == 255)
        mask = as_u8(cv2.bitwise_not(layer.alpha)) if inverse else layer.alpha
        x, y, width, height = cv2.boundingRect(mask)
        if width == 0 and not inverse:
            return None
        luma, chroma = frame.planes[0].shape, frame.planes[1].shape
        rows, luma_rows, chroma_rows = _widened((y, y + height), mask.shape[0], luma[0], chroma[0], 1)
        columns, luma_columns, chroma_columns = _widened((x, x + width), mask.shape[1], luma[1], chroma[1], _WORD)
        part, luma_at, chroma_at = mask[rows, columns], (luma_rows, luma_columns), (chroma_rows, chroma_columns)
        return _Placed(
            luma_at,
            chroma_at,
            self._enlarged("luma", part, luma_at),
            self._enlarged("chroma", part, chroma_at),
            inverse,
        )

    def _enlarged(self, name: str, mask: U8, at: Region) -> U8:
        height, width = (s.stop - s.start for s in at)
        return enlarge(mask, (width, height), out=self._scratch(name, (height, width)))


def _blurred(frame: Frame, base: Planes, weight: U8, paint: Blur) -> Planes:
    """The base, of the frame's size, blurred where the weight is; small."""
    base = frame.planes if paint.untouched else base
    shape = base[0].shape
    sigma = paint.strength / 100 * shape[0]
    half = (frame.size.width // 2, frame.size.height // 2)
    scale = reduction(sigma)[0] if paint.lens == "gaussian" else small_radius(sigma)[1]
    if base is frame.planes and scale > 1 and frame.size == (2 * half[0], 2 * half[1]):
        base = (frame.luma(half), *base[1:])  # networks and filters had it made
    if paint.lens == "gaussian":
        return blur_covered(base, weight, sigma, shape=shape)
    planes = bokeh_covered(base, weight, sigma, depth=paint.lens == "depth", shape=shape)
    # A whole ratio of up to 16 is enlarged several times as fast as others, and the way there is short.
    step = math.gcd(16, math.gcd(*frame.size))
    if scale <= step or step < 4:
        return planes
    y, u, v = (enlarge(plane, (frame.size.width // step, frame.size.height // step)) for plane in planes)
    return y, u, v


def _widened(span: tuple[int, int], mask: int, luma: int, chroma: int, word: int) -> tuple[slice, slice, slice]:
    """A span of a mask's `mask` rows or columns, as slices of the mask, of luma and of chroma.

    Widened by what bilinear enlarging reaches, then until all three start and end on whole pixels, in the planes on
    multiples of `word`.
    """
    start, stop = max(0, span[0] - 1), min(mask, span[1] + 1)
    if luma % chroma == 0:
        step = mask * word * (luma // chroma) // math.gcd(luma, mask * word * (luma // chroma))
        start, stop = start // step * step, min(mask, -(-stop // step) * step)
    else:
        start, stop = 0, mask
    luma_part, chroma_part = (slice(start * plane // mask, stop * plane // mask) for plane in (luma, chroma))
    return slice(start, stop), luma_part, chroma_part


def _place_in_box(frame: Frame, alpha: U8 | float, box: Box) -> _Placed | None:
    luma, chroma = frame.planes[0], frame.planes[1]
    step_y, step_x = -(-luma.shape[0] // chroma.shape[0]), -(-luma.shape[1] // chroma.shape[1])
    x0, y0, x1, y1 = box
    # The smallest part of the frame that holds the box and starts and ends on whole chroma samples.
    left, top = max(0, x0) // step_x * step_x, max(0, y0) // step_y * step_y
    right, bottom = min(luma.shape[1], -(-x1 // step_x) * step_x), min(luma.shape[0], -(-y1 // step_y) * step_y)
    if left >= right or top >= bottom or x0 >= x1 or y0 >= y1:
        return None
    at = (slice(top, bottom), slice(left, right))
    chroma_at = (slice(top // step_y, -(-bottom // step_y)), slice(left // step_x, -(-right // step_x)))
    large = _alpha_in_box(alpha, box, (left, top, right, bottom))
    height, width = (s.stop - s.start for s in chroma_at)
    return _Placed(at, chroma_at, large, resize(large, (width, height)))


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


def _is_plain(frame: Frame, layer: Layer) -> bool:
    """Whether a layer covers the frame by a mask, and all its planes lie in memory as compiled loops want them."""
    match layer.paint:
        case Picture():
            picture: tuple[U8, ...] = layer.paint.frame.planes
        case Tints():
            picture = layer.paint.planes
        case _:
            picture = ()
    mask = layer.alpha
    return layer.box is None and isinstance(mask, np.ndarray) and kernels.takes(mask, *frame.planes, *picture)


def _slow(mask: U8, frame: Frame) -> bool:
    """Whether compiled loops enlarge the mask pixel by pixel: OpenCV is faster where the ratio is no power of two."""
    height, width = mask.shape
    ratio = frame.size.width // width
    return (width * ratio, height * ratio) != frame.size or ratio not in (1, 2, 4, 8, 16)


def _planes_for(frame: Frame) -> Planes:
    y, u, v = empty_planes([plane.shape for plane in frame.planes])
    return y, u, v


def _size(plane: U8) -> tuple[int, int]:
    return plane.shape[1], plane.shape[0]


def _fill(planes: Planes, paints: Paints) -> None:
    for plane, paint in zip(planes, paints, strict=True):
        if paint is not plane:
            np.copyto(plane, np.uint8(paint) if isinstance(paint, int) else paint)
