"""Segments that are known to the pixel, COCO files of them, and a model that says what it is told."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pytest

from rtseg.cards import Card
from rtseg.evaluate.coco import labels_png
from rtseg.evaluate.metrics import Bool
from rtseg.evaluate.models import Model
from rtseg.evaluate.truth import SaidSegment, TrueSegment
from rtseg.inference.engine import OrtEngine
from rtseg.store import find_card
from rtseg.types import Frame, Segmentation

SIZE = (40, 60)
"""Height and width."""

CATEGORIES: Mapping[str, bool] = {"cat": True, "dog": True, "grass": False, "sky": False}


def box(top: int, left: int, height: int, width: int) -> Bool:
    mask = np.zeros(SIZE, bool)
    mask[top : top + height, left : left + width] = True
    return mask


def true(name: str, mask: Bool, *, crowd: bool = False) -> TrueSegment:
    return TrueSegment(name, mask, crowd)


def said(name: str, mask: Bool, score: float = 0.9) -> SaidSegment:
    return SaidSegment(name, mask, score)


def write_coco(
    folder: Path, pictures: Mapping[str, Sequence[TrueSegment]], *, panoptic: bool, categories: Mapping[str, bool]
) -> Path:
    """A COCO file with grey pictures in `images`, of panoptic ones also the PNGs."""
    runs: Any = pytest.importorskip("pycocotools.mask", reason="pip install 'rtseg[labels]'")
    numbers = {name: number for number, name in enumerate(categories, start=7)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "labels").mkdir(exist_ok=True)
    for number, (stem, segments) in enumerate(pictures.items(), start=1):
        height, width = segments[0].mask.shape if segments else SIZE
        image = folder / "images" / f"{stem}.png"
        if not image.exists():
            cv2.imwrite(str(image), np.full((height, width, 3), 90, np.uint8))
        images.append({"id": number, "file_name": image.name, "width": width, "height": height})
        if not panoptic:
            for segment in segments:
                coded = runs.encode(np.asfortranarray(segment.mask.astype(np.uint8)))
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": number,
                        "category_id": numbers[segment.name],
                        "iscrowd": int(segment.crowd),
                        "area": float(segment.mask.sum()),
                        "bbox": [float(v) for v in runs.toBbox(coded)],
                        "segmentation": {"size": [height, width], "counts": coded["counts"].decode()},
                    }
                )
            continue
        ids, infos = np.zeros((height, width), np.int32), []
        for i, segment in enumerate(segments):
            ids[segment.mask] = value = 1 + 70_000 * (i + 1)  # all three channels are in use
            infos.append({"id": value, "category_id": numbers[segment.name], "iscrowd": int(segment.crowd)})
        cv2.imwrite(str(folder / "labels" / f"{stem}.png"), labels_png(ids)[..., ::-1])
        annotations.append({"image_id": number, "file_name": f"{stem}.png", "segments_info": infos})
    listed = [{"id": numbers[name], "name": name, "isthing": int(thing)} for name, thing in categories.items()]
    path = folder / "labels.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": listed}))
    return path


class Teller:
    """A segmenter that gives a result for each frame in turn."""

    def __init__(self, names: Sequence[str], results: Sequence[Segmentation]) -> None:
        self.names = tuple(names)
        self.resets = 0
        self._results = list(results)

    def __call__(self, frame: Frame) -> Segmentation:
        return self._results.pop(0)

    def empty(self, frame: Frame) -> Segmentation:
        raise AssertionError("nothing fails here")

    def reset(self) -> None:
        self.resets += 1


def teller(names: Sequence[str], results: Sequence[Segmentation], *, name: str = "teller") -> Model:
    """A model of those results, whose card is another's but for name and names."""
    card: Card = find_card("portrait").model_copy(update={"name": name, "names": tuple(names), "palette": {}})
    return Model(card, Teller(names, results), cast(OrtEngine, None))


def quiet(what: str, done: int, every: int) -> None:
    """No progress is shown."""


def by_name(rows: Sequence[Any]) -> dict[str, Any]:
    return {row.name: row for row in rows}
