"""Mattes redrawn against the picture by a small network that knows what their own network gets wrong."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol, assert_never

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.errors import EngineError, ModelRejected
from rtseg.ops.arrays import U8, as_u8
from rtseg.ops.resize import resize
from rtseg.types import Frame, Instances, Panoptic, Regions, Segmentation, Semantic

log = logging.getLogger("rtseg")

_NOBODY = 48
"""A matte that nowhere claims more shows nobody, and nobody is drawn into it."""


class _Bound(Protocol):
    """An engine with buffers of its own; see `rtseg.segmenters.BoundEngine`."""

    @property
    def inputs(self) -> Mapping[str, NDArray[Any]]: ...

    def run(self) -> Mapping[str, NDArray[Any]]: ...


class EdgeNetwork:
    """Enlarges a matte to twice its network's size, with edges, gaps and hair from the picture's own planes.

    engine: of the graph that a card names under `refiner`, see `rtseg.cards.CardRefiner`; ModelRejected for another.
    `Regions` of one region only; everything else is passed through, and so is a matte that shows nobody, or one for
    whose frame the engine fails, which is said once.
    """

    def __init__(self, engine: _Bound) -> None:
        shapes = {name: array.shape for name, array in engine.inputs.items() if array.dtype == np.uint8}
        _, _, height, width = shapes.get("mask", (0, 0, 0, 0))
        wanted = {"luma": (1, 1, 2 * height, 2 * width), "chroma": (1, 2, height, width), "mask": (1, 1, height, width)}
        if shapes != wanted or not height:
            raise ModelRejected(
                f"a refiner takes uint8 luma 1x1x2Hx2W, chroma 1x2xHxW and mask 1x1xHxW, and not {shapes}: give the "
                "file that belongs to the card"
            )
        self._engine = engine
        self._size, self._twice = (width, height), (2 * width, 2 * height)
        self._luma, self._chroma, self._mask = (engine.inputs[name][0] for name in ("luma", "chroma", "mask"))
        self._told = False

    def __call__(self, frame: Frame, segmentation: Segmentation, /) -> Segmentation:
        """The segmentation with a finer matte; its own masks are left as they are."""
        match segmentation:
            case Regions() if len(segmentation.probabilities) == 1:
                drawn = self._drawn(frame, segmentation.probabilities[0])
                return segmentation if drawn is None else replace(segmentation, probabilities=drawn)
            case Regions() | Semantic() | Instances() | Panoptic():
                return segmentation
            case _:
                assert_never(segmentation)

    def reset(self) -> None:
        """Nothing is remembered."""

    def _drawn(self, frame: Frame, mask: U8) -> U8 | None:
        if cv2.minMaxLoc(mask)[1] < _NOBODY:
            return None
        self._mask[0] = resize(mask, self._size)
        self._luma[0] = frame.luma(self._twice)
        self._chroma[0], self._chroma[1] = frame.chroma(self._size)
        try:
            alpha = self._engine.run()["alpha"]
        except EngineError as error:
            if not self._told:
                log.warning("edges are left as they are: %s", error)
            self._told = True
            return None
        return as_u8(alpha[0].copy())
