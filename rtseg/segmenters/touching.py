"""Networks that give one kind of object and the borders between those that touch: nuclei, cells, grains."""

from __future__ import annotations

import numpy as np

from rtseg.cards import BORDER, Card
from rtseg.ops.instances import separate
from rtseg.ops.resize import enlarge
from rtseg.ops.tensors import crop_window, is_sound, probabilities, quantise
from rtseg.segmenters import BoundEngine, Network
from rtseg.types import Frame, Instances


class TouchingSegmenter:
    """Serves every card of the "touching" family: one name, and a region "border" beside it.

    Gives `Instances` at the network's resolution, boxes in pixels of the frame, in order of their seeds from the top;
    the score is the mean probability times the solidity. Raises what `RegionSegmenter` raises. Nothing is kept between
    frames.
    """

    def __init__(self, card: Card, engine: BoundEngine) -> None:
        self.names = card.names
        self._network = Network(card, engine)
        self._places = {name: output for output in card.outputs for name in output.regions}

    def __call__(self, frame: Frame) -> Instances:
        """The frame's objects."""
        outputs, window = self._network.run(frame)
        size = self._network.layout.size
        planes = []
        for name in (self.names[0], BORDER):
            output = self._places[name]
            tensor = outputs[output.name]
            if not is_sound(tensor, output.activation):
                raise self._network.refuse(output.name, frame)
            mask = quantise(probabilities(tensor, output.activation, output.regions[name]))
            planes.append(crop_window(mask, window, size))
        interior, border = planes
        found = separate(interior, enlarge(border, (interior.shape[1], interior.shape[0])))
        step = np.array([frame.size.width / interior.shape[1], frame.size.height / interior.shape[0]] * 2, np.float32)
        labels = np.zeros(len(found.scores), np.int64)
        return Instances(found.masks, found.boxes * step, labels, found.scores, self.names, frame.pts, frame.size)

    def empty(self, frame: Frame) -> Instances:
        """No object."""
        masks = np.zeros((0, *self._network.layout.shape[2:]), np.uint8)
        none = np.zeros(0, np.float32)
        return Instances(
            masks, np.zeros((0, 4), np.float32), none.astype(np.int64), none, self.names, frame.pts, frame.size
        )

    def reset(self) -> None:
        """Nothing is remembered."""
