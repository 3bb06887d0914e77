"""Networks that give each pixel one class of a fixed list: street scenes."""

from __future__ import annotations

import numpy as np

from rtseg.cards import Card
from rtseg.errors import ModelRejected
from rtseg.ops.tensors import best_class, crop_window, is_sound
from rtseg.segmenters import BoundEngine, Network
from rtseg.types import Frame, Semantic


class SemanticSegmenter:
    """Serves every card of the "semantic" family: the class of the greatest score, at the network's resolution.

    The card's `names` are the channels of its one output, in order. No activation is computed, since none changes
    which score is the greatest. Gives `Semantic`, labels uint8 (uint16 over 255 classes), covering exactly the
    frame. Raises ModelRejected where card and graph disagree, InferenceFailed for NaN or infinity. Nothing is kept
    between frames.
    """

    def __init__(self, card: Card, engine: BoundEngine) -> None:
        if len(card.outputs) != 1:
            raise ModelRejected(f"card {card.name!r}: a semantic model has one output, not {len(card.outputs)}")
        self.names = card.names
        self._network = Network(card, engine)

    def __call__(self, frame: Frame) -> Semantic:
        """The frame's class map."""
        outputs, window = self._network.run(frame)
        (output,) = self._network.card.outputs
        scores = outputs[output.name]
        if len(scores) != len(self.names):
            raise ModelRejected(
                f"the card of model {self._network.card.name!r} names {len(self.names)} classes, but {output.name} has "
                f"{len(scores)} channels: correct the card"
            )
        labels, best = best_class(scores)
        if not is_sound(best, "softmax"):  # NaN and +infinity reach the best score from any class
            raise self._network.refuse(output.name, frame)
        labels = crop_window(labels, window, self._network.layout.size, nearest=True)
        return Semantic(labels, self.names, frame.pts, frame.size)

    def empty(self, frame: Frame) -> Semantic:
        """No class anywhere, at the input's resolution."""
        dtype = np.uint8 if len(self.names) <= 255 else np.uint16
        labels = np.full(self._network.layout.shape[2:], np.iinfo(dtype).max, dtype)
        return Semantic(labels, self.names, frame.pts, frame.size)

    def reset(self) -> None:
        """Nothing is remembered."""
