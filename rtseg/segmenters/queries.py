"""Networks that answer with queries, each a class and a mask: MaskFormer, Mask2Former, OneFormer, DETR."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from rtseg.cards import Card, CardQueries
from rtseg.errors import ModelRejected
from rtseg.ops import queries
from rtseg.ops.arrays import F32
from rtseg.ops.instances import boxes_of
from rtseg.ops.queries import Found, Thresholds
from rtseg.ops.tensors import is_sound
from rtseg.segmenters import BoundEngine, Network
from rtseg.types import Frame, Instances, Panoptic, SegmentInfo, Semantic


class QuerySegmenter:
    """Serves every card of the "queries" family: semantic maps, instances or panoptic maps, as its `task` says.

    Masks are at the network's resolution (384x384 for Mask2Former), or the frame's where the card asks for it: there
    segments are those of transformers' `post_process_*` with `target_sizes`, else those without. `Panoptic` has -1
    where transformers has 0, and an entry for each query, so that what was fused comes more than once. Raises
    ModelRejected where card and graph disagree, InferenceFailed for NaN or infinity. Nothing is kept between frames.
    """

    def __init__(self, card: Card, engine: BoundEngine) -> None:
        if card.queries is None:
            raise ModelRejected(f"card {card.name!r} has no table [queries], which says what the outputs mean")
        self.names = card.names
        self._network = Network(card, engine)
        self._card: CardQueries = card.queries
        self._told = [*_tokens(card, engine), *_pixel_mask(card, engine)]
        self._fuse = frozenset(card.names.index(name) for name in card.queries.fuse)
        self._thresholds = Thresholds(
            card.queries.threshold, card.queries.mask_threshold, card.queries.overlap_mask_area_threshold
        )

    def __call__(self, frame: Frame) -> Semantic | Instances | Panoptic:
        """The frame's segments."""
        self.tell()
        outputs, _ = self._network.forward(frame)
        return self.read(outputs, frame)

    def tell(self) -> None:
        """Fill the engine's inputs besides the picture: the task, and that there is no padding."""
        for buffer, values in self._told:
            buffer[:] = values

    def read(self, outputs: Mapping[str, NDArray[Any]], frame: Frame) -> Semantic | Instances | Panoptic:
        """What the network's outputs say of a frame."""
        classes, masks = self._logits(outputs, self._card.classes, 3), self._logits(outputs, self._card.masks, 4)
        if classes.shape != (len(masks), len(self.names) + 1):
            raise ModelRejected(
                f"the card of model {self._network.card.name!r} names {len(self.names)} classes, so that "
                f"{self._card.classes} must be {len(masks)}x{len(self.names) + 1} beside {len(masks)} masks, but it is "
                f"{'x'.join(map(str, classes.shape))}: correct the card"
            )
        for name, logits in ((self._card.classes, classes), (self._card.masks, masks)):
            if not is_sound(logits, "softmax"):
                raise self._network.refuse(name, frame)
        size = (frame.size.width, frame.size.height) if self._card.resolution == "frame" else None
        kind = self._card.kind
        match self._card.task:
            case "semantic":
                labels = queries.semantic(classes, masks, kind, size=size)
                return Semantic(labels, self.names, frame.pts, frame.size)
            case "instance":
                found = queries.instances(classes, masks, kind, thresholds=self._thresholds, size=size)
                return self._instances(found, frame)
            case "panoptic":
                found = queries.panoptic(classes, masks, kind, thresholds=self._thresholds, fuse=self._fuse, size=size)
                return self._panoptic(found, frame)
            case _:
                assert_never(self._card.task)

    @property
    def providers(self) -> tuple[str, ...]:
        """Where the network runs, best first."""
        return self._network.providers

    def empty(self, frame: Frame) -> Semantic | Instances | Panoptic:
        """No segment anywhere, at the input's resolution."""
        ids = np.full(self._network.layout.shape[2:], -1, np.int32)
        match self._card.task:
            case "semantic":
                labels = ids.astype(np.uint8) if len(self.names) <= 255 else ids.astype(np.uint16)  # -1: the greatest
                return Semantic(labels, self.names, frame.pts, frame.size)
            case "instance":
                nothing = np.zeros(0, np.int64)
                return self._instances(Found(ids, nothing, nothing, np.zeros(0, np.float32)), frame)
            case "panoptic":
                return Panoptic(ids, (), self.names, frame.pts, frame.size)
            case _:
                assert_never(self._card.task)

    def reset(self) -> None:
        """Nothing is remembered."""

    def _logits(self, outputs: Any, name: str, rank: int) -> F32:
        array = outputs.get(name)
        if array is None or array.ndim != rank or array.shape[0] != 1:
            found = ", ".join(f"{key} {value.shape}" for key, value in outputs.items())
            raise ModelRejected(
                f"the card of model {self._network.card.name!r} describes an output {name} of {rank} axes, the first "
                f"of length 1, but the graph gives {found}: correct the card"
            )
        logits: F32 = array[0]
        return logits

    def _instances(self, found: Found, frame: Frame) -> Instances:
        if found.masks is not None and self._card.overlapping:
            inside = found.masks
        else:
            inside = np.asarray(found.ids[None] == found.numbers[:, None, None])
        masks = np.negative(inside.view(np.uint8))  # 1 becomes 255
        step = np.array([frame.size.width / masks.shape[2], frame.size.height / masks.shape[1]] * 2, np.float32)
        boxes = boxes_of(masks) * step
        boxes[~inside.any(axis=(1, 2))] = 0  # wholly under others
        return Instances(masks, boxes, found.labels, found.scores, self.names, frame.pts, frame.size)

    def _panoptic(self, found: Found, frame: Frame) -> Panoptic:
        segments = zip(found.numbers.tolist(), found.labels.tolist(), found.scores.tolist(), strict=True)
        info = tuple(SegmentInfo(number, label, round(score, 6)) for number, label, score in segments)
        return Panoptic(found.ids, info, self.names, frame.pts, frame.size)


def _tokens(card: Card, engine: BoundEngine) -> list[tuple[NDArray[Any], Any]]:
    """The buffer of the task's tokens and what belongs into it; empty for networks that are told no task."""
    if card.queries is None or not card.queries.tokens:
        return []
    tokens = np.array([card.queries.tokens[card.queries.task]], np.int64)
    buffer = engine.inputs.get(card.queries.tokens_input)
    if buffer is None or buffer.shape != tokens.shape or buffer.dtype != tokens.dtype:
        wanted = f"{card.queries.tokens_input} int64 {tokens.shape}"
        raise _disagree(card, engine, wanted)
    return [(buffer, tokens)]


def _pixel_mask(card: Card, engine: BoundEngine) -> list[tuple[NDArray[Any], Any]]:
    """The buffer that says where the picture is, and 1: live frames have no padding."""
    if card.queries is None or card.queries.pixel_mask is None:
        return []
    buffer = engine.inputs.get(card.queries.pixel_mask)
    if buffer is None or buffer.ndim != 3 or len(buffer) != 1:
        raise _disagree(card, engine, f"{card.queries.pixel_mask} 1xHxW")
    return [(buffer, 1)]


def _disagree(card: Card, engine: BoundEngine, wanted: str) -> ModelRejected:
    found = ", ".join(f"{name} {array.dtype} {array.shape}" for name, array in engine.inputs.items())
    return ModelRejected(
        f"the card of model {card.name!r} describes the input {wanted}, but the graph has {found}: correct the card"
    )
