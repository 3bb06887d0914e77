"""One module per family of networks: a frame to its input tensor, the engine, its outputs to a segmentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rtseg.cards import Card
from rtseg.errors import InferenceFailed, ModelRejected
from rtseg.ops.arrays import F32, U8, as_f32
from rtseg.ops.colour import Colour
from rtseg.ops.tensors import InputFormat, Window
from rtseg.types import Engine, Frame


class BoundEngine(Engine, Protocol):
    """An engine with kept buffers: written in place, then run, nothing is copied. It serves one stream."""

    @property
    def inputs(self) -> Mapping[str, NDArray[Any]]:
        """The input buffers by name."""
        ...

    def run(self) -> Mapping[str, NDArray[Any]]:
        """The outputs for what the inputs hold; views that the next run overwrites."""
        ...


class Network:
    """A card and its engine: what all families share, from the frame to the raw outputs.

    Raises ModelRejected where the card and the graph disagree.
    """

    def __init__(self, card: Card, engine: BoundEngine) -> None:
        self.card = card
        self.layout = InputFormat(**card.input.model_dump(exclude={"name", "matrix", "full_range"}))
        self._engine = engine
        tensor = engine.inputs.get(card.input.name)
        if tensor is None or tensor.shape != self.layout.shape or tensor.dtype != np.float32:
            found = ", ".join(f"{name} {array.dtype} {array.shape}" for name, array in engine.inputs.items())
            raise ModelRejected(
                f"the card of model {card.name!r} describes the input {card.input.name} float32 {self.layout.shape}, "
                f"but the graph has {found}: correct the card, or give the weights that belong to it"
            )
        self._tensor = tensor
        self.raw: Mapping[str, NDArray[Any]] = {}
        """All outputs of the last run, as they are: views that the next run overwrites."""

    def run(self, frame: Frame) -> tuple[Mapping[str, F32], Window]:
        """Every output of the card by name, float32 CxHxW, and the part of the input that the frame filled."""
        window = self.write(frame)
        outputs = self.raw = self._engine.run()
        return {output.name: self._plane(outputs, output.name) for output in self.card.outputs}, window

    def forward(self, frame: Frame) -> tuple[Mapping[str, NDArray[Any]], Window]:
        """Every output of the graph as it is, for families whose outputs are no maps, and that same part."""
        window = self.write(frame)
        return self._engine.run(), window

    def write(self, frame: Frame) -> Window:
        """Fill the engine's input from the frame; the part of it that the frame fills."""
        window = self.layout.window(frame.size)
        self.layout.write(self._picture(frame, (window.width, window.height)), window, self._tensor)
        return window

    @property
    def providers(self) -> tuple[str, ...]:
        """Of the engine."""
        return self._engine.providers

    def _picture(self, frame: Frame, size: tuple[int, int]) -> U8:
        wanted = self.card.input
        if wanted.colour == "yuv":
            return frame.resized_yuv(size, Colour(wanted.matrix, wanted.full_range))
        return frame.resized(size)

    def _plane(self, outputs: Mapping[str, NDArray[Any]], name: str) -> F32:
        array = outputs.get(name)
        if array is None or array.ndim != 4 or array.shape[0] != 1:
            found = ", ".join(f"{key} {value.shape}" for key, value in outputs.items())
            raise ModelRejected(
                f"the card of model {self.card.name!r} describes an output {name} of shape 1xCxHxW, "
                f"but the graph gives {found}: correct the card"
            )
        return as_f32(array[0])

    def refuse(self, output: str, frame: Frame) -> InferenceFailed:
        """The error for an output that cannot be a mask."""
        return InferenceFailed(
            f"output {output!r} of model {self.card.name!r} at frame {frame.index} holds NaN, infinity or a "
            "'probability' outside 0..1: verify the weights, and the activation that the card names"
        )
