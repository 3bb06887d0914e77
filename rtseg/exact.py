"""Networks fed as their image processor says, at the size that it makes of each picture: what transformers gives.

Live frames have one size and are stretched to it. A single picture keeps its aspect where the processor keeps it, so
each size of tensor gets an engine of its own, of which a few are kept.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from rtseg import store
from rtseg.cards import Card, CardInput, CardQueries, Task
from rtseg.config import ModelOptions
from rtseg.engines import build_engine
from rtseg.errors import ModelRejected
from rtseg.families import with_asked
from rtseg.inference.states import declared_shapes
from rtseg.ops.arrays import F32, U8, as_f32
from rtseg.processor import Processor, Sides, turned
from rtseg.segmenters import BoundEngine
from rtseg.segmenters.queries import QuerySegmenter
from rtseg.types import Frame, Segmentation

KEPT = 4
"""Engines of a model, the one not used for longest goes first."""


class Engines:
    """The card's network for tensors of any size, opened when a size is first seen; engine: one for its usual size."""

    def __init__(self, card: Card, options: ModelOptions, engine: BoundEngine | None = None) -> None:
        self._card, self._options = card, options
        self._engines: dict[tuple[int, int], BoundEngine] = {} if engine is None else {card.input.size: engine}
        self(card.input.size)

    def __call__(self, size: tuple[int, int]) -> BoundEngine:
        """For tensors of `size` (width, height); ModelRejected where the graph does not take them."""
        if size not in self._engines:
            while len(self._engines) >= KEPT:
                del self._engines[next(iter(self._engines))]
            self._engines[size] = self._opened(size)
        self._engines[size] = self._engines.pop(size)  # the last one used is the last one to go
        return self._engines[size]

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Of the tensors that there is an engine for, the one used last at the end."""
        return tuple(self._engines)

    def _opened(self, size: tuple[int, int]) -> BoundEngine:
        usual = self._card.input.size
        try:
            engine = build_engine(self._options, sized(self._card, size))
        except ModelRejected as error:
            if size == usual:
                raise
            raise ModelRejected(
                f"model {self._card.name!r} takes {usual[0]}x{usual[1]} only, and preprocessor_config.json makes "
                f"{size[0]}x{size[1]} of this picture: export the model with open sides, or give height and width"
            ) from error
        tensor = engine.inputs.get(self._card.input.name)
        if tensor is None or tensor.dtype != np.float32:
            found = ", ".join(f"{name} {array.dtype}" for name, array in engine.inputs.items())
            raise ModelRejected(f"model {self._card.name!r} takes {found}, and must take float32 pictures")
        return engine


class ExactScores:
    """A network that gives each pixel scores, fed as its processor says."""

    def __init__(
        self, card: Card, processor: Processor, options: ModelOptions, *, engine: BoundEngine | None = None
    ) -> None:
        self._card, self._processor = card, processor
        self.engines = Engines(card, options, engine)

    def scores(self, picture: U8) -> F32:
        """RGB uint8 HxWx3 to the network's scores, float32 Cxhxw, in an array of its own."""
        tensor = self._processor(picture)
        engine = self.engines((tensor.shape[3], tensor.shape[2]))
        np.copyto(engine.inputs[self._card.input.name], tensor)
        output = self._card.outputs[0].name
        scores = engine.run()[output]
        if scores.ndim != 4 or scores.shape[:2] != (1, len(self._card.names)):
            raise ModelRejected(
                f"output {output} of model {self._card.name!r} is {scores.shape}, and must be "
                f"1x{len(self._card.names)}xHxW for its {len(self._card.names)} classes: correct them"
            )
        return as_f32(scores[0].astype(np.float32, copy=True))


class ExactQueries:
    """A network that answers with queries, fed as its processor says, padding and all."""

    def __init__(
        self, card: Card, processor: Processor, options: ModelOptions, *, engine: BoundEngine | None = None
    ) -> None:
        self._card, self._processor = card, processor
        self.engines = Engines(card, options, engine)

    def empty(self, frame: Frame) -> Segmentation:
        """The result that claims nothing, of the kind of the card's own task."""
        return QuerySegmenter(self._card, self.engines(self._card.input.size)).empty(frame)

    def __call__(self, picture: U8, asked: CardQueries) -> Segmentation:
        """RGB uint8 HxWx3 to segments at the picture's size, as `asked` wants them."""
        tensor = self._processor(picture)
        size = (tensor.shape[3], tensor.shape[2])
        engine = self.engines(size)
        card = sized(self._card, size).model_copy(update={"queries": asked})
        segmenter = QuerySegmenter(card, engine)
        segmenter.tell()
        np.copyto(engine.inputs[card.input.name], tensor)
        if asked.pixel_mask is not None:
            seen = engine.inputs[asked.pixel_mask]  # some graphs of DETR take 64x64, whatever the picture's size
            mask = self._processor.pixel_mask(picture).astype(np.uint8)
            seen[0] = cv2.resize(mask, seen.shape[:0:-1], interpolation=cv2.INTER_NEAREST)
        return segmenter.read(engine.run(), Frame.from_rgb(picture))


def takes_any_size(card: Card, processor: Processor) -> bool:
    """Whether the graph takes every tensor that the processor makes: its sides are open, or all have its size."""
    if processor.fixed_size is not None:
        return True  # `network_size` has compared them
    sides = declared_shapes(store.weights(card)).get(card.input.name, ())[-2:]
    return sides == (None, None)


def asked_of(card: Card, task: Task | None, shares: Mapping[str, float | None]) -> CardQueries:
    """The card's [queries], at the size of the picture, with what a caller wants instead."""
    queries = with_asked(card, task, shares).queries
    assert queries is not None
    return queries.model_copy(update={"resolution": "frame"})


def sized(card: Card, size: tuple[int, int]) -> Card:
    """The card for tensors of another size (width, height)."""
    return card.model_copy(update={"input": card.input.model_copy(update={"size": size})})


def processor_of(wanted: CardInput) -> Processor | None:
    """What a card's input says, as a processor; None for a letterbox or for YUV, which have none."""
    if wanted.fit != "stretch" or wanted.colour == "yuv":
        return None
    flip = wanted.colour == "bgr"
    return Processor(
        size=Sides(width=wanted.size[0], height=wanted.size[1]),
        rescale_factor=1 / wanted.scale,
        image_mean=turned(wanted.mean, flip),
        image_std=turned(wanted.std, flip),
        do_flip_channel_order=flip,
    )
