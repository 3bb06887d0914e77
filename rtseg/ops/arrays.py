"""Names for the array types that planes, masks and tensors have, and memory to put them in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

U8: TypeAlias = NDArray[np.uint8]
F32: TypeAlias = NDArray[np.float32]


def as_u8(array: Any) -> U8:
    """Tell the type checker what OpenCV's stubs do not: uint8 in, uint8 out."""
    return array  # type: ignore[no-any-return]


def as_f32(array: Any) -> F32:
    """The same for float32."""
    return array  # type: ignore[no-any-return]


def empty_planes(shapes: Sequence[tuple[int, ...]]) -> list[U8]:
    """Uninitialised planes that lie in one buffer, one behind the other: encoders take 4:2:0 ones without a copy."""
    sizes = [math.prod(shape) for shape in shapes]
    buffer = np.empty(sum(sizes), np.uint8)
    ends = list(accumulate(sizes))
    return [buffer[end - size : end].reshape(shape) for size, end, shape in zip(sizes, ends, shapes, strict=True)]


class Scratch:
    """Memory that is kept by name from call to call and only ever grows, so that a frame allocates nothing."""

    def __init__(self) -> None:
        self._kept: dict[str, U8] = {}

    def __call__(self, name: str, shape: tuple[int, ...]) -> U8:
        """Contiguous uint8 of that shape, with whatever the last user of that name left in it."""
        size = math.prod(shape)
        kept = self._kept.get(name)
        if kept is None or kept.size < size:
            kept = self._kept[name] = np.empty(size, np.uint8)
        return kept[:size].reshape(shape)
