"""A buffer of GStreamer as planes, and planes into a buffer, whatever the strides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np

from rtseg.ops.arrays import U8, as_u8
from rtseg.types import Size

Format: TypeAlias = Literal["I420", "NV12"]
Planes: TypeAlias = tuple[U8, U8, U8]


@dataclass(frozen=True, slots=True)
class Layout:
    """How 4:2:0 lies in a buffer: Y, U, V (I420) or Y and U beside V (NV12); offsets and strides in bytes a plane."""

    format: Format
    size: Size
    offsets: tuple[int, ...]
    strides: tuple[int, ...]

    def views(self, data: U8) -> list[U8]:
        """The planes of a buffer's bytes, without padding; NV12's second has U and V in turn."""
        width, height = self.size
        half = (height + 1) // 2, (width + 1) // 2
        shapes = [(height, width), half, half] if self.format == "I420" else [(height, width), (half[0], 2 * half[1])]
        return [
            np.lib.stride_tricks.as_strided(data[offset:], shape, (stride, 1), writeable=data.flags.writeable)
            for shape, offset, stride in zip(shapes, self._fitting(data, shapes), self.strides, strict=False)
        ]

    def _fitting(self, data: U8, shapes: Sequence[tuple[int, int]]) -> tuple[int, ...]:
        for (lines, row), offset, stride in zip(shapes, self.offsets, self.strides, strict=False):
            if stride < row or offset + stride * (lines - 1) + row > data.size:
                raise ValueError(f"a buffer of {data.size} bytes is too small for {self}")
        return self.offsets


class Mapped:
    """Memory of others as an array, which gives it back (`release`) when the last view of it is gone.

    Frames may be kept, so that a buffer cannot be unmapped when its turn is over.
    """

    def __init__(self, data: memoryview, release: Callable[[], object]) -> None:
        address = np.frombuffer(data, np.uint8).ctypes.data
        self._data, self._release = data, release
        self.__array_interface__: dict[str, Any] = {
            "shape": (data.nbytes,),
            "typestr": "|u1",
            "data": (address, True),
            "version": 3,
        }

    def __del__(self) -> None:
        self._release()


def read_planes(data: U8, layout: Layout) -> Planes:
    """Y, U and V: views of `data`, but NV12's U and V, which are taken apart."""
    if layout.format == "I420":
        y, u, v = layout.views(data)
        return y, u, v
    y, pairs = layout.views(data)
    u, v = (as_u8(plane) for plane in cv2.split(_paired(pairs)))
    return y, u, v


def write_planes(planes: Planes, data: U8, layout: Layout) -> None:
    """Copy planes of the layout's size into a buffer's bytes; padding stays as it is."""
    targets = layout.views(data)
    if layout.format == "NV12":
        pairs = _paired(targets[1])
        targets = [targets[0], pairs[..., 0], pairs[..., 1]]
    for target, plane in zip(targets, planes, strict=True):
        np.copyto(target, plane)


def _paired(pairs: U8) -> U8:
    """Lines of U and V in turn as HxWx2, without a copy, though lines have padding."""
    lines, width = pairs.shape
    shape, strides = (lines, width // 2, 2), (pairs.strides[0], 2, 1)
    return np.lib.stride_tricks.as_strided(pairs, shape, strides, writeable=pairs.flags.writeable)
