"""Networks that give soft areas: person mattes, drivable road, lane markings, obstacles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rtseg.cards import Card
from rtseg.errors import InferenceFailed, ModelRejected
from rtseg.ops.arrays import U8
from rtseg.ops.resize import enlarge
from rtseg.ops.tensors import InputFormat, Window, crop_window, is_sound, probabilities, quantise
from rtseg.types import Engine, Frame, Regions


class BoundEngine(Engine, Protocol):
    """An engine whose inputs are kept buffers: write into `inputs`, then `run`, and nothing is copied."""

    @property
    def inputs(self) -> Mapping[str, NDArray[Any]]: ...  # noqa: D102
    def run(self) -> Mapping[str, NDArray[Any]]: ...  # noqa: D102


class RegionSegmenter:
    """Serves every card of the "regions" family; what differs between the networks is in the card.

    Gives `Regions` with the card's names in its order, each 0..255 and covering exactly the frame, all at the finest
    resolution that any of them has. Raises ModelRejected where card and graph disagree, InferenceFailed for outputs
    that are not finite or not probabilities. It keeps nothing between frames.
    """

    def __init__(self, card: Card, engine: BoundEngine) -> None:
        self.names = card.names
        self._engine = engine
        self._card = card
        self._format = InputFormat(**card.input.model_dump(exclude={"name"}))
        self._tensor = _bound_input(card, engine, self._format)
        self._places = _places(card)

    def __call__(self, frame: Frame) -> Regions:
        """One frame's regions, in a fresh array: whoever keeps it, keeps it."""
        window = self._format.window(frame.size)
        self._format.write(frame.resized((window.width, window.height)), window, self._tensor)
        outputs = self._engine.run()
        for output in self._card.outputs:
            if not is_sound(outputs[output.name], output.activation):
                raise InferenceFailed(
                    f"output {output.name!r} of model {self._card.name!r} is no probability (NaN, infinity or outside "
                    f"0..1) at frame {frame.index}: verify the weights and the activation in the model's card"
                )
        masks = [self._mask(outputs, name, window) for name in self.names]
        return Regions(_stack(masks), self.names, frame.pts, frame.size)

    def empty(self, frame: Frame) -> Regions:
        """Zero everywhere, at the input's resolution."""
        _, _, height, width = self._format.shape
        return Regions(np.zeros((len(self.names), height, width), np.uint8), self.names, frame.pts, frame.size)

    def reset(self) -> None:
        """Nothing is remembered."""

    def _mask(self, outputs: Mapping[str, NDArray[Any]], name: str, window: Window) -> U8:
        index, channel = self._places[name]
        output = self._card.outputs[index]
        mask = quantise(probabilities(outputs[output.name][0], output.activation, channel))
        return crop_window(mask, window, self._format.size)


def _bound_input(card: Card, engine: BoundEngine, layout: InputFormat) -> NDArray[np.float32]:
    tensor = engine.inputs.get(card.input.name)
    if tensor is None:
        raise ModelRejected(
            f"model {card.name!r} has no input {card.input.name!r}, only {', '.join(engine.inputs)}: correct its card"
        )
    if tensor.shape != layout.shape or tensor.dtype != np.float32:
        raise ModelRejected(
            f"input {card.input.name!r} of model {card.name!r} is {tensor.dtype} {tensor.shape}, "
            f"but its card says float32 {layout.shape}: correct the card"
        )
    return tensor


def _places(card: Card) -> dict[str, tuple[int, int]]:
    """Region name -> (which output, which channel)."""
    places = {
        name: (index, channel) for index, output in enumerate(card.outputs) for name, channel in output.regions.items()
    }
    missing = set(card.names) ^ set(places)
    if missing:
        raise ModelRejected(
            f"card {card.name!r}: {', '.join(sorted(missing))} must stand both in `names` and in one output's `regions`"
        )
    return places


def _stack(masks: list[U8]) -> U8:
    height, width = max((mask.shape for mask in masks), key=lambda shape: shape[0] * shape[1])
    stacked = np.empty((len(masks), height, width), np.uint8)
    for mask, target in zip(masks, stacked, strict=True):
        enlarge(mask, (width, height), out=target)
    return stacked
