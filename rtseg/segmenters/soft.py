"""What networks with soft areas share, with memory or without: their outputs as the masks of regions."""

from __future__ import annotations

import numpy as np

from rtseg.cards import Card, CardOutput
from rtseg.errors import ModelRejected
from rtseg.ops.arrays import F32, U8
from rtseg.ops.resize import enlarge
from rtseg.ops.tensors import crop_window, is_sound, probabilities, quantise
from rtseg.segmenters import BoundEngine, Network
from rtseg.types import Frame, Regions


class SoftMasks:
    """A card's regions from its network's outputs, in the card's order, each 0..255 and covering exactly the frame.

    All are at the finest resolution that any of them has, in an array of their own. Raises ModelRejected where card and
    graph disagree, InferenceFailed for outputs that cannot be probabilities.
    """

    def __init__(self, card: Card, engine: BoundEngine) -> None:
        self.names = card.names
        self.network = Network(card, engine)
        self._places = _places(card)

    def __call__(self, frame: Frame) -> Regions:
        """Run the network on the frame."""
        outputs, window = self.network.run(frame)
        for output in self.network.card.outputs:
            if not is_sound(outputs[output.name], output.activation):
                raise self.network.refuse(output.name, frame)
        size = self.network.layout.size
        masks = [
            crop_window(self._mask(outputs[output.name], output, name), window, size) for name, output in self._places
        ]
        return Regions(_stack(masks), self.names, frame.pts, frame.size)

    def empty(self, frame: Frame) -> Regions:
        """Zero everywhere, at the input's resolution."""
        shape = (len(self.names), *self.network.layout.shape[2:])
        return Regions(np.zeros(shape, np.uint8), self.names, frame.pts, frame.size)

    def _mask(self, tensor: F32, output: CardOutput, name: str) -> U8:
        channel = output.regions[name]
        if channel >= len(tensor):
            raise ModelRejected(
                f"the card of model {self.network.card.name!r} puts {name!r} in channel {channel} of {output.name}, "
                f"which has {len(tensor)}: correct the card"
            )
        return quantise(probabilities(tensor, output.activation, channel))


def _places(card: Card) -> list[tuple[str, CardOutput]]:
    """The card's names in order, each with the output that holds it."""
    places = {name: output for output in card.outputs for name in output.regions}
    disputed = set(card.names) ^ set(places)
    if disputed:
        raise ModelRejected(
            f"card {card.name!r}: {', '.join(sorted(disputed))} must stand both in `names` and in an output's `regions`"
        )
    return [(name, places[name]) for name in card.names]


def _stack(masks: list[U8]) -> U8:
    height, width = max((mask.shape for mask in masks), key=lambda shape: shape[0] * shape[1])
    stacked = np.empty((len(masks), height, width), np.uint8)
    for mask, target in zip(masks, stacked, strict=True):
        enlarge(mask, (width, height), out=target)
    return stacked
