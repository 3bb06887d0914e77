from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from fakes import SquareSegmenter, plain_frame

from rtseg.adaptive import Adaptive
from rtseg.errors import InferenceFailed
from rtseg.pipeline import Pipeline
from rtseg.types import Following, Frame, Layer, Observation, Regions, Segmentation, Solid, masks_of


class PaintBackground:
    """White wherever there is no person."""

    def __call__(self, frame: Frame, segmentation: Segmentation, observations: Sequence[Observation]) -> list[Layer]:
        return [Layer(255 - masks_of(segmentation)["person"], Solid((255, 255, 255)))]


class Halve:
    def __init__(self) -> None:
        self.resets = 0

    def __call__(self, frame: Frame, segmentation: Segmentation) -> Segmentation:
        assert isinstance(segmentation, Regions)
        return Regions(segmentation.probabilities // 2, segmentation.names, segmentation.pts, segmentation.size)

    def reset(self) -> None:
        self.resets += 1


class Coverage:
    def __call__(self, frame: Frame, segmentation: Segmentation) -> list[Observation]:
        mask = masks_of(segmentation)["person"]
        return [Observation("coverage", frame.pts, {"person": float(mask.mean()) / 255})]

    def reset(self) -> None: ...


def test_without_effects_the_picture_is_the_frame() -> None:
    frame = plain_frame()
    output = Pipeline(SquareSegmenter())(frame)
    assert output.picture is frame
    assert output.segmentation.pts == frame.pts
    assert not output.held


def test_filters_analyzers_and_effects_run_in_order() -> None:
    output = Pipeline(SquareSegmenter(), filters=[Halve()], analyzers=[Coverage()], effects=[PaintBackground()])(
        plain_frame()
    )
    assert output.observations[0].values["person"] == pytest.approx(127 / 255 / 2)
    assert list(output.times) == ["segment", "filter", "analyse", "effect", "composite"]
    luma = output.picture.planes[0]
    assert luma[0, -1] == 235
    # A mask of 127 of 255 lets 128/255 of the white through.
    assert abs(int(luma[0, 0]) - (100 + (235 - 100) * 128 / 255)) <= 2


def test_a_failed_frame_shows_the_last_mask_and_says_so() -> None:
    pipeline = Pipeline(SquareSegmenter(failing=frozenset({1})), effects=[PaintBackground()])
    pipeline(plain_frame(0))
    output = pipeline(plain_frame(1))
    assert output.held
    assert output.segmentation.pts == 1
    assert output.picture.planes[0][0, 0] == 100


def test_when_failures_go_on_the_whole_picture_is_covered() -> None:
    pipeline = Pipeline(SquareSegmenter(failing=frozenset(range(1, 9))), effects=[PaintBackground()], hold=2)
    outputs = [pipeline(plain_frame(i)) for i in range(9)]
    assert [bool((output.picture.planes[0] == 235).all()) for output in outputs] == [False] * 3 + [True] * 6


def test_a_failure_on_the_first_frame_leaks_nothing() -> None:
    output = Pipeline(SquareSegmenter(failing=frozenset({0})), effects=[PaintBackground()])(plain_frame(0))
    assert (output.picture.planes[0] == 235).all()


def test_a_held_mask_of_another_size_is_not_used() -> None:
    pipeline = Pipeline(SquareSegmenter(failing=frozenset({1})), effects=[PaintBackground()])
    pipeline(plain_frame(0))
    output = pipeline(plain_frame(1, size=(64, 36)))
    assert (output.picture.planes[0] == 235).all()


class Behind(SquareSegmenter):
    """Gives for frame 1 what it found in frame 0."""

    def __call__(self, frame: Frame) -> Segmentation:
        found = super().__call__(frame)
        return replace(found, pts=0) if frame.index == 1 else found


def test_a_mask_of_another_frame_is_a_failure_and_is_not_remembered_as_the_frame_s_own() -> None:
    pipeline = Pipeline(Behind(), hold=0)
    pipeline(plain_frame(0))
    pipeline.adaptive = Adaptive()
    wrong, after = pipeline(plain_frame(1)), pipeline(plain_frame(2))
    assert wrong.held
    assert after.inferred


def test_after_too_many_failures_the_error_is_raised() -> None:
    pipeline = Pipeline(SquareSegmenter(failing=frozenset(range(9))), give_up=3)
    pipeline(plain_frame(0))
    pipeline(plain_frame(1))
    with pytest.raises(InferenceFailed, match="frame 2"):
        pipeline(plain_frame(2))


def test_success_starts_the_count_of_failures_anew() -> None:
    pipeline = Pipeline(SquareSegmenter(failing=frozenset({0, 2, 4, 6})), give_up=2)
    assert [pipeline(plain_frame(i)).held for i in range(8)] == [True, False] * 4


def test_a_new_epoch_resets_what_remembers() -> None:
    segmenter, halve = SquareSegmenter(failing=frozenset({1})), Halve()
    pipeline = Pipeline(segmenter, filters=[halve], effects=[PaintBackground()])
    pipeline(plain_frame(0))
    assert segmenter.resets == 0
    output = pipeline(plain_frame(1, epoch=1))
    assert (segmenter.resets, halve.resets) == (1, 1)
    assert (output.picture.planes[0] == 235).all(), "a mask from before the cut was shown"


def test_errors_that_are_no_engine_errors_are_not_hidden() -> None:
    class Broken(SquareSegmenter):
        def __call__(self, frame: Frame) -> Segmentation:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Pipeline(Broken())(plain_frame())


def test_masks_handed_out_are_those_of_the_frame() -> None:
    output = Pipeline(SquareSegmenter())(plain_frame(5))
    np.testing.assert_array_equal(masks_of(output.segmentation)["person"][:, 4:], 0)


def test_an_analyzer_that_follows_is_told_what_those_before_it_found() -> None:
    class Counting:
        def __call__(self, frame: Frame, segmentation: Segmentation) -> list[Observation]:
            return self.after(frame, segmentation, ())

        def after(
            self, frame: Frame, segmentation: Segmentation, observations: Sequence[Observation]
        ) -> list[Observation]:
            return [Observation("count", frame.pts, {"before": len(observations)})]

        def reset(self) -> None: ...

    assert isinstance(Counting(), Following)
    found = Pipeline(SquareSegmenter(), analyzers=[Counting(), Counting(), Counting()])(plain_frame()).observations
    assert [each.values["before"] for each in found] == [0, 1, 2]
