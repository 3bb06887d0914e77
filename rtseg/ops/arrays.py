"""Names for the array types that planes, masks and tensors have, and memory to put them in."""

from __future__ import annotations

import math
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
