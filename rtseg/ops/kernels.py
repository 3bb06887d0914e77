"""Loops over pixels compiled from `_kernels*.c`, where this installation has them.

Each stands in for a few lines of OpenCV and NumPy beside its only caller, which say what is right, which are used
where there was no compiler at installation, and against which it is tested. Together they take a third of what rtseg
itself spends on a frame (`rtseg bench`). All release the GIL, and accept rows with padding.
"""

from __future__ import annotations

import os
from typing import Any

from rtseg.ops.arrays import F32, U8

_kernels: Any
try:
    from rtseg.ops import _kernels  # type: ignore[attr-defined,no-redef]
except ImportError:
    _kernels = None

COMPILED = _kernels is not None and os.environ.get("RTSEG_KERNELS") != "0"
"""Whether they are there and wanted: the environment's RTSEG_KERNELS=0 leaves them alone."""


def takes(*planes: U8 | int) -> bool:
    """Whether the rows of all planes lie close and in order, as decoders give them: a mirrored plane's do not."""
    return all(isinstance(plane, int) or (plane.strides[1] == 1 and plane.strides[0] >= 0) for plane in planes)


def blend(out: U8, base: U8, paint: U8 | int, mask: U8) -> None:
    """Blend a paint over a base: base * (255 - mask) / 255 + paint * mask / 255, each product rounded.

    out, base: uint8 HxW, and may be the same. paint: uint8 of any size, or one level. mask: uint8 of any size. What is
    not HxW is enlarged bilinearly on the way, row by row, without a plane in between.
    """
    _kernels.blend(out, base, paint, mask)


def steady(out: U8, mask: U8, past: U8, trust: U8, flow: F32 | None) -> None:
    """The mask mixed with its past where it is not flat: see `TemporalSmooth`.

    out, mask, past: uint8 HxW. trust: uint8 hxw, weights of the past in 1/255. flow: float32 hxwx2 of the trust's size,
    in its pixels, None for none.
    """
    _kernels.steady(out, mask, past, trust, None if flow is None else flow.reshape(len(flow), -1))


def move(out: U8, mask: U8, flow: F32, gain: U8, *, least: int) -> None:
    """The mask along the flow, where that explains the picture better than staying by `least` levels: see `Adaptive`.

    out, mask: uint8 HxW, not the same. flow: float32 hxwx2, in its own pixels. gain: uint8 hxw, in levels.
    """
    _kernels.move(out, mask, flow.reshape(len(flow), -1), gain, least)


def redraw(out: U8, mask: U8, coarse: U8, fine: U8, *, prior: float, slope: float, unsure: tuple[int, int]) -> None:
    """The mask at the size of `fine`, its edges drawn to the luma's: see `EdgeModel`.

    mask, coarse: uint8 hxw. fine, out: uint8 HxW. Levels under the first of `unsure` must be surely out, and above the
    last surely in.
    """
    _kernels.redraw(out, mask, coarse, fine, prior, slope, *unsure)
