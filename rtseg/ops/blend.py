"""The blend kernel: one plane over another by an 8-bit alpha, in three OpenCV passes that vectorise."""

from __future__ import annotations

import cv2
import numpy as np

from rtseg.ops.arrays import U8


class Blender:
    """Blends planes with scratch memory that it keeps, so that a frame costs no allocation.

    The formula is base + (paint - base) * alpha / 255. Each product is rounded on its own, which stays within two
    levels of the float64 result and is exact where alpha is 0 or 255. Not safe to share between threads.
    """

    def __init__(self) -> None:
        self._scratch: dict[tuple[int, ...], tuple[U8, U8]] = {}

    def over(self, base: U8, paint: U8 | int, alpha: U8 | float, *, out: U8) -> None:
        """Write `paint` over `base` into `out` (which may be `base`); all uint8 HxW, alpha also a number 0..1."""
        if isinstance(alpha, int | float):
            self._over_constant(base, paint, float(alpha), out)
            return
        inverse, product = self._buffers(base.shape)
        cv2.bitwise_not(alpha, dst=inverse)
        cv2.multiply(base, inverse, dst=inverse, scale=1 / 255)
        if isinstance(paint, int):
            cv2.convertScaleAbs(alpha, dst=product, alpha=paint / 255)
        else:
            cv2.multiply(paint, alpha, dst=product, scale=1 / 255)
        cv2.add(inverse, product, dst=out)

    def _over_constant(self, base: U8, paint: U8 | int, alpha: float, out: U8) -> None:
        if alpha >= 1.0:
            np.copyto(out, np.uint8(paint) if isinstance(paint, int) else paint)
        elif isinstance(paint, int):
            cv2.convertScaleAbs(base, dst=out, alpha=1.0 - alpha, beta=alpha * paint)
        else:
            cv2.addWeighted(base, 1.0 - alpha, paint, alpha, 0.0, dst=out)

    def _buffers(self, shape: tuple[int, ...]) -> tuple[U8, U8]:
        if shape not in self._scratch:
            if len(self._scratch) >= 16:  # layers in boxes come in many sizes
                self._scratch.clear()
            self._scratch[shape] = (np.empty(shape, np.uint8), np.empty(shape, np.uint8))
        return self._scratch[shape]
