from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from echo import EchoEngine, card
from numpy.typing import NDArray

from rtseg.errors import InferenceFailed, ModelRejected
from rtseg.ops.arrays import F32
from rtseg.segmenters.semantic import SemanticSegmenter
from rtseg.types import Frame, Segmenter, Semantic

FRAME = Frame.from_rgb(np.zeros((36, 64, 3), np.uint8), index=3, pts=5)


def segmenter_of(scores: NDArray[Any], classes: int, **format: Any) -> SemanticSegmenter:  # noqa: A002
    made = card(family="semantic", names=tuple(f"c{i}" for i in range(classes)), **format)
    return SemanticSegmenter(made, EchoEngine(made.input.size, lambda _: {"y": scores}))


def test_each_pixel_gets_the_class_of_the_greatest_score_the_first_of_equals() -> None:
    scores = np.random.default_rng(1).integers(-3, 4, (1, 20, 9, 16)).astype(np.float32)
    segmenter = segmenter_of(scores, 20)
    result = segmenter(FRAME)
    assert isinstance(segmenter, Segmenter)
    np.testing.assert_array_equal(result.labels, scores[0].argmax(axis=0))
    assert result.labels.dtype == np.uint8
    assert (result.names, result.pts, result.size) == (segmenter.names, 5, FRAME.size)


def test_more_classes_than_a_byte_holds() -> None:
    scores = np.zeros((1, 300, 2, 2), np.float32)
    scores[0, 299] = 1.0
    result = segmenter_of(scores, 300)(FRAME)
    assert result.labels.dtype == np.uint16
    assert (result.labels == 299).all()


@pytest.mark.parametrize("size", [(64, 36), (65, 37), (64, 64)])
def test_a_boundary_comes_back_where_it_was(size: tuple[int, int]) -> None:
    grey = np.zeros((90, 160, 3), np.uint8)
    grey[:, 68:] = 255
    made = card(size=size, fit="letterbox", family="semantic", names=("dark", "light"))

    def answer(tensor: F32) -> dict[str, NDArray[Any]]:
        return {"y": np.concatenate([1 - tensor[:, :1], tensor[:, :1]], axis=1)}

    labels = SemanticSegmenter(made, EchoEngine(size, answer))(Frame.from_rgb(grey)).labels
    assert set(np.unique(labels)) == {0, 1}
    # Classes have no half pixels: the boundary lies on the nearest border between two of the map's.
    edge = int(np.argmax(labels[labels.shape[0] // 2])) * 160 / labels.shape[1]
    assert edge == pytest.approx(68, abs=0.5 * 160 / labels.shape[1])


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("channel", [0, 2])
def test_scores_that_are_no_numbers_are_refused(value: float, channel: int) -> None:
    scores = np.zeros((1, 3, 4, 4), np.float32)
    scores[0, channel, 1, 2] = value
    with pytest.raises(InferenceFailed, match="frame 3"):
        segmenter_of(scores, 3)(FRAME)


def test_another_number_of_channels_than_names_is_refused() -> None:
    with pytest.raises(ModelRejected, match=r"names 3 classes.*2 channels"):
        segmenter_of(np.zeros((1, 2, 4, 4), np.float32), 3)(FRAME)


def test_empty_has_no_class_anywhere() -> None:
    segmenter = segmenter_of(np.zeros((1, 3, 4, 4), np.float32), 3)
    empty = segmenter.empty(FRAME)
    assert isinstance(empty, Semantic)
    assert (empty.labels == 255).all()
    assert empty.segments() == []
    segmenter.reset()
