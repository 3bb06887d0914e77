"""Names for the array types that planes, masks and tensors have."""

from __future__ import annotations

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
