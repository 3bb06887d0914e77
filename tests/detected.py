"""A card of a detector, and what its segmenter makes of tensors that no network gave."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from echo import EchoEngine
from numpy.typing import NDArray

from rtseg.cards import Card
from rtseg.segmenters.yolo import YoloSegmenter
from rtseg.types import Frame, Instances, Segmenter

SIDE, CLASSES = 640, 5
HD = (1280, 720)
Outputs = Mapping[str, NDArray[Any]]


def card(family: str = "yolo", *, outputs: tuple[str, ...] = ("rows", "prototypes"), **more: Any) -> Card:
    size = more.pop("size", (SIDE, SIDE))
    anchor = more.pop("anchor", "centre")
    values = {
        "name": "things",
        "description": "",
        "family": family,
        "file": "things.onnx",
        "sha256": "0" * 64,
        "licence": "none",
        "source": "none",
        "input": {"name": "x", "size": size, "fit": "letterbox", "anchor": anchor},
        "outputs": [{"name": name} for name in outputs],
        "names": [f"thing {i}" for i in range(CLASSES)],
    }
    return Card.model_validate(values | more)


def answer(outputs: Outputs, made: Card | None = None, *, frame: tuple[int, int] = HD) -> Instances:
    made = made or card()
    segmenter = YoloSegmenter(made, EchoEngine(made.input.size, lambda _: outputs))
    assert isinstance(segmenter, Segmenter)
    return segmenter(blank(frame))


def blank(size: tuple[int, int] = HD) -> Frame:
    width, height = size
    chroma = np.full((-(-height // 2), -(-width // 2)), 128, np.uint8)
    return Frame((np.full((height, width), 128, np.uint8), chroma, chroma), pts=7, index=3)


def iou(a: NDArray[Any], b: NDArray[Any]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return float(width * height / (area - width * height))
