from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from echo import EchoEngine
from numpy.typing import NDArray
from pydantic import ValidationError

from rtseg.cards import Card
from rtseg.errors import InferenceFailed
from rtseg.segmenters.touching import TouchingSegmenter
from rtseg.types import Frame, Instances, Segmenter

SIZE = (64, 36)


def card(regions: dict[str, int], *, names: tuple[str, ...] = ("nucleus",)) -> Card:
    return Card.model_validate(
        {
            "name": "cells",
            "description": "",
            "family": "touching",
            "file": "cells.onnx",
            "sha256": "0" * 64,
            "licence": "none",
            "source": "none",
            "input": {"name": "x", "size": SIZE},
            "outputs": [{"name": "y", "regions": regions}],
            "names": names,
        }
    )


def answer(maps: NDArray[Any]) -> TouchingSegmenter:
    made = card({"nucleus": 0, "border": 1})
    return TouchingSegmenter(made, EchoEngine(SIZE, lambda _: {"y": maps}))


def test_objects_come_with_boxes_in_pixels_of_the_frame() -> None:
    maps = np.zeros((1, 2, 36, 64), np.float32)
    maps[0, 0, 10:20, 10:30] = 0.8
    maps[0, 1, :, 19:21] = 1.0
    segmenter = answer(maps)
    assert isinstance(segmenter, Segmenter)
    result = segmenter(Frame.from_rgb(np.zeros((72, 128, 3), np.uint8), pts=7))
    assert isinstance(result, Instances)
    np.testing.assert_array_equal(result.boxes, [[20, 20, 40, 40], [40, 20, 60, 40]])
    np.testing.assert_allclose(result.scores, 0.8, atol=1 / 255)
    assert (result.names, result.pts, result.size) == (("nucleus",), 7, (128, 72))


def test_the_empty_result_claims_no_object() -> None:
    empty = answer(np.zeros((1, 2, 36, 64), np.float32)).empty(Frame.from_rgb(np.zeros((72, 128, 3), np.uint8)))
    assert empty.masks.shape == (0, 36, 64)
    assert empty.segments() == []


def test_probabilities_that_are_none_are_refused() -> None:
    maps = np.zeros((1, 2, 36, 64), np.float32)
    maps[0, 1, 3, 3] = np.nan
    with pytest.raises(InferenceFailed, match="'y' of model 'cells'"):
        answer(maps)(Frame.from_rgb(np.zeros((36, 64, 3), np.uint8)))


@pytest.mark.parametrize(
    ("regions", "names"),
    [({"nucleus": 0}, ("nucleus",)), ({"nucleus": 0, "border": 1}, ("nucleus", "cell")), ({"border": 0}, ("border",))],
)
def test_a_card_needs_one_name_and_a_border(regions: dict[str, int], names: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError, match='the family "touching" has one name'):
        card(regions, names=names)
