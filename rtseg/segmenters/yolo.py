"""One-stage detectors: YOLO's exports with or without mask prototypes, and YOLOX's heads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtseg.cards import Card
from rtseg.errors import InferenceFailed, ModelRejected
from rtseg.ops.arrays import F32, U8, as_f32
from rtseg.ops.detections import (
    Candidates,
    anchored_of,
    anchors_of,
    best_first,
    box_masks,
    boxes_in_frame,
    cells_of,
    prototype_masks,
    ranked_of,
    suppress,
)
from rtseg.ops.tensors import Window, crop_window, is_sound
from rtseg.segmenters import BoundEngine, Network
from rtseg.types import Frame, Instances

_STRIDES = (8, 16, 32)
_STEP = 4
"""Pixels of the input to one of a mask that is only a box; prototypes have the same."""


class YoloSegmenter:
    """Serves every card of the "yolo" and "yolox" families: boxes with labels and scores, and masks in the boxes.

    Gives `Instances`, best first, boxes clipped to the frame; masks have the resolution of the prototypes without the
    letterbox, and are the boxes filled where the network has no prototypes. Which layout a "yolo" card's first output
    has is told by its shape: 1x(4+C+K)xN (v8, 11; suppression follows) or 1xNx(6+K) (26, end to end; none needed).
    Thresholds are those of the card's `detection`. Raises ModelRejected where card and graph disagree, InferenceFailed
    for NaN, infinity, scores outside 0..1 and unknown classes. Nothing is kept between frames.
    """

    def __init__(self, card: Card, engine: BoundEngine) -> None:
        self.names = card.names
        self._network = Network(card, engine)
        self._limits = card.detection
        self._anchors = anchors_of(card.input.size, _STRIDES) if card.family == "yolox" else None

    def __call__(self, frame: Frame) -> Instances:
        """The frame's instances."""
        outputs, window = self._network.forward(frame)
        return self.read(outputs, window, frame)

    def read(self, outputs: Mapping[str, NDArray[Any]], window: Window, frame: Frame) -> Instances:
        """What the network's outputs say of a frame that filled `window` of its input."""
        name = self._network.card.outputs[0].name
        rows = self._output(outputs, name, 3)
        prototypes = self._prototypes(outputs, frame)
        found, final = self._candidates(rows, 0 if prototypes is None else len(prototypes), frame)
        if not np.isfinite(found.boxes).all():
            raise self._network.refuse(name, frame)
        if len(found.labels) and not 0 <= found.labels.min() <= found.labels.max() < len(self.names):
            raise InferenceFailed(
                f"output {name!r} of model {self._network.card.name!r} at frame {frame.index} has class "
                f"{found.labels.max()} of {len(self.names)}: correct the card's names"
            )
        found = best_first(found) if final else suppress(found, overlap=self._limits.overlap)
        boxes = boxes_in_frame(found.boxes, window, frame.size)
        seen = np.flatnonzero((boxes[:, 2:] > boxes[:, :2]).all(axis=1))[: self._limits.most]
        found, boxes = found.take(seen), boxes[seen]
        masks = self._masks(found, boxes, prototypes, window, frame)
        return Instances(masks, boxes, found.labels, found.scores, self.names, frame.pts, frame.size)

    @property
    def providers(self) -> tuple[str, ...]:
        """Where the network runs, best first."""
        return self._network.providers

    def empty(self, frame: Frame) -> Instances:
        """No instance, at a quarter of the input's resolution."""
        width, height = _small(self._network.layout.window(frame.size))
        none = np.zeros(0, np.float32)
        masks, boxes = np.zeros((0, height, width), np.uint8), np.zeros((0, 4), np.float32)
        return Instances(masks, boxes, none.astype(np.int64), none, self.names, frame.pts, frame.size)

    def reset(self) -> None:
        """Nothing is remembered."""

    def _candidates(self, rows: F32, coefficients: int, frame: Frame) -> tuple[Candidates, bool]:
        """All over the card's score, and whether they need no suppression."""
        classes, score = len(self.names), self._limits.score
        if self._anchors is not None and rows.shape == (len(self._anchors), 5 + classes):
            self._check(frame, rows[:, 4:], rows[:, :4])
            return anchored_of(rows, self._anchors, score=score), False
        if self._anchors is None and rows.shape[0] == 4 + classes + coefficients:
            self._check(frame, rows[4 : 4 + classes], rows[:4], rows[4 + classes :])
            return cells_of(rows, classes, score=score), False
        if self._anchors is None and rows.shape[1] == 6 + coefficients:
            self._check(frame, rows[:, 4], rows)
            return ranked_of(rows, score=score), True
        card = self._network.card
        wanted = (
            f"{len(self._anchors)}x{5 + classes}"
            if self._anchors is not None
            else f"{4 + classes + coefficients}xN or 1xNx{6 + coefficients}"
        )
        raise ModelRejected(
            f"the card of model {card.name!r} has {classes} names, so that {card.outputs[0].name} must be 1x{wanted}, "
            f"but the graph gives {(1, *rows.shape)}: correct the card"
        )

    def _check(self, frame: Frame, scores: F32, *others: F32) -> None:
        finite = all(is_sound(part, "softmax") for part in others if part.size)
        if not finite or not is_sound(scores, "none"):
            raise self._network.refuse(self._network.card.outputs[0].name, frame)

    def _prototypes(self, outputs: Mapping[str, NDArray[Any]], frame: Frame) -> F32 | None:
        """KxHxW; None for networks without."""
        if len(self._network.card.outputs) == 1:
            return None
        name = self._network.card.outputs[1].name
        prototypes = self._output(outputs, name, 4)
        if not is_sound(prototypes, "softmax"):
            raise self._network.refuse(name, frame)
        return prototypes

    def _masks(self, found: Candidates, boxes: F32, prototypes: F32 | None, window: Window, frame: Frame) -> U8:
        if prototypes is None:
            size = _small(window)
            return box_masks(boxes * _scale(frame, size), size)
        # Masks are sums of prototypes, so the letterbox is undone on those: there are fewer.
        size = self._network.layout.size
        inner = np.stack([crop_window(prototype, window, size) for prototype in prototypes])
        return prototype_masks(found.coefficients, inner, boxes * _scale(frame, (inner.shape[2], inner.shape[1])))

    def _output(self, outputs: Mapping[str, NDArray[Any]], name: str, rank: int) -> F32:
        """An output of one picture without its first side."""
        array = outputs.get(name)
        if array is None or array.ndim != rank or array.shape[0] != 1:
            found = ", ".join(f"{key} {value.shape}" for key, value in outputs.items())
            raise ModelRejected(
                f"the card of model {self._network.card.name!r} describes an output {name} of {rank} sides, the first "
                f"1, but the graph gives {found}: correct the card"
            )
        return as_f32(array[0])


def _small(window: Window) -> tuple[int, int]:
    """Width and height of masks that are only boxes."""
    return max(1, round(window.width / _STEP)), max(1, round(window.height / _STEP))


def _scale(frame: Frame, size: tuple[int, int]) -> F32:
    """Pixels of the frame to those of masks of `size` (width, height)."""
    return np.array([size[0] / frame.size.width, size[1] / frame.size.height] * 2, np.float32)
