"""The blend kernel: a paint onto a plane by an 8-bit alpha, with arithmetic only where the two mix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from rtseg.ops.arrays import U8, Scratch, as_u8

Words: TypeAlias = NDArray[np.unsignedinteger[Any]]

_SMALLEST = 1 << 14
"""Planes of fewer pixels are blended whole: finding out what can be skipped would cost more."""


class Blender:
    """Blends planes with scratch memory that it keeps, so that a frame costs no large allocation.

    The formula is base + (paint - base) * alpha / 255. Each product is rounded on its own, which stays within two
    levels of the float64 result and is exact where alpha is 0 or 255. Not safe to share between threads.

    Most of a frame is wholly inside or wholly outside a mask. There pixels are copied or left alone; only the machine
    words in which alpha is anything else are gathered, blended and put back.
    """

    def __init__(self) -> None:
        self._scratch = Scratch()

    def onto(self, planes: Sequence[U8], paints: Sequence[U8 | int], alpha: U8 | float) -> None:
        """Each paint over its plane, in place.

        planes: uint8 HxW, of one shape, rows may be padded. paints: uint8 HxW, or one level for all.
        alpha: uint8 HxW, or one number 0..1 for all.
        """
        if isinstance(alpha, int | float):
            for plane, paint in zip(planes, paints, strict=True):
                _constant(plane, paint, float(alpha))
            return
        edge = self._edge(alpha, [a for a in (*planes, *paints) if isinstance(a, np.ndarray)])
        for plane, paint in zip(planes, paints, strict=True):
            if edge is None:
                self._mix(plane, paint, alpha, out=plane)
                continue
            mixed = edge.gather(plane)
            self._mix(mixed, paint if isinstance(paint, int) else edge.gather(paint), edge.alpha, out=mixed)
            cv2.copyTo(self._level(paint, plane.shape) if isinstance(paint, int) else paint, alpha, plane)
            edge.scatter(mixed, plane)

    def _edge(self, alpha: U8, planes: Sequence[U8]) -> _Edge | None:
        """The words in which alpha is neither all 0 nor all 255; None where skipping the others gains nothing."""
        straight = all(plane.strides[1] == 1 and plane.strides[0] >= plane.shape[1] for plane in planes)
        if alpha.size < _SMALLEST or not alpha.flags.c_contiguous or not straight:  # a mirrored plane is not
            return None
        word = _word([alpha, *planes])
        words = alpha.view(word).reshape(-1)
        # Of unsigned words, 00..0 and ff..f alone become 1 and 0 when 1 is added.
        raised = np.add(words, word(1), out=self._scratch("raised", alpha.shape).view(word).reshape(-1))
        index = np.flatnonzero(raised > word(1))
        if 4 * index.size > words.size:  # a gathered word costs as much as four in a row
            return None
        return _Edge(index, words[index].view(np.uint8).reshape(1, -1), word)

    def _mix(self, base: U8, paint: U8 | int, alpha: U8, *, out: U8) -> None:
        inverse, product = self._scratch("inverse", base.shape), self._scratch("product", base.shape)
        cv2.bitwise_not(alpha, dst=inverse)
        cv2.multiply(base, inverse, dst=inverse, scale=1 / 255)
        if isinstance(paint, int):
            cv2.convertScaleAbs(alpha, dst=product, alpha=paint / 255)
        else:
            cv2.multiply(paint, alpha, dst=product, scale=1 / 255)
        cv2.add(inverse, product, dst=out)

    def _level(self, level: int, shape: tuple[int, ...]) -> U8:
        plane = self._scratch("level", shape)
        plane.fill(level)
        return plane


@dataclass(frozen=True, slots=True)
class _Edge:
    """Where a plane's words are mixed, and alpha there. index: into a plane without padding; shifted: by pitch."""

    index: NDArray[np.intp]
    alpha: U8
    word: type[np.unsignedinteger[Any]]
    shifted: dict[int, NDArray[np.intp]] = field(default_factory=dict)

    def gather(self, plane: U8) -> U8:
        """The mixed words as bytes, 1xN."""
        words, at = self._words(plane)
        return as_u8(words[at].view(np.uint8).reshape(1, -1))

    def scatter(self, mixed: U8, plane: U8) -> None:
        """Put gathered words back."""
        words, at = self._words(plane)
        words[at] = mixed.reshape(-1).view(self.word)

    def _words(self, plane: U8) -> tuple[Words, NDArray[np.intp]]:
        """The plane as words in one dimension, padding and all, and where in it the mixed ones are."""
        words = plane.view(self.word)
        if plane.flags.c_contiguous:
            return words.reshape(-1), self.index
        height, width = words.shape
        pitch = words.strides[0] // words.itemsize
        if pitch not in self.shifted:
            self.shifted[pitch] = self.index + self.index // width * (pitch - width)
        return as_strided(words, ((height - 1) * pitch + width,), (words.itemsize,)), self.shifted[pitch]


def _word(planes: Sequence[U8]) -> type[np.unsignedinteger[Any]]:
    """The largest unsigned integer that rows and the distances between them hold a whole number of."""
    for word in (np.uint64, np.uint32, np.uint16):
        if all(plane.shape[1] % word().itemsize == plane.strides[0] % word().itemsize == 0 for plane in planes):
            return word
    return np.uint8


def _constant(plane: U8, paint: U8 | int, alpha: float) -> None:
    if alpha >= 1.0:
        np.copyto(plane, np.uint8(paint) if isinstance(paint, int) else paint)
    elif isinstance(paint, int):
        cv2.convertScaleAbs(plane, dst=plane, alpha=1.0 - alpha, beta=alpha * paint)
    else:
        cv2.addWeighted(plane, 1.0 - alpha, paint, alpha, 0.0, dst=plane)
