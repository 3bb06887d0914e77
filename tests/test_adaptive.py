"""Which frames the network sees: the still keep their mask, the moved take it along, the changed are asked for."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from rtseg import store
from rtseg.adaptive import Adaptive, Every
from rtseg.build import build_pipeline, build_source
from rtseg.config import ModelOptions, VideoSource, parse_config
from rtseg.engines import build_segmenter
from rtseg.errors import ConfigError
from rtseg.ops.arrays import U8
from rtseg.pipeline import Pipeline
from rtseg.results import array_of
from rtseg.types import Frame, Regions, Segmentation

pytestmark = pytest.mark.usefixtures("either_loops")

SIZE = (640, 360)
SCENE = cv2.resize(
    np.random.default_rng(4).integers(0, 256, (30, 50, 3), dtype=np.uint8), (900, 600), interpolation=cv2.INTER_CUBIC
)


def picture(at: int = 0, *, noise: float = 0.0, light: int = 0, seed: int = 0) -> U8:
    """A scene with a square of its own texture, `at` pixels of a mask of 256x144 to the right."""
    part = SCENE[: SIZE[1], : SIZE[0]].astype(np.float64) + light
    x = round((100 + at) * 2.5)
    part[100:250, x : x + 150] = SCENE[400:550, 700:850]
    part += np.random.default_rng(seed).normal(0, noise, part.shape)
    return np.clip(part, 0, 255).astype(np.uint8)


class Marker:
    """Marks a square that moves with the scene; counts how often it is asked."""

    names = ("person",)

    def __init__(self) -> None:
        self.asked = 0
        self.at = 0

    def __call__(self, frame: Frame) -> Segmentation:
        self.asked += 1
        mask = np.zeros((1, 144, 256), np.uint8)
        mask[0, 40:100, 100 + self.at : 160 + self.at] = 255
        return Regions(mask, self.names, frame.pts, frame.size)

    def empty(self, frame: Frame) -> Segmentation:
        return Regions(np.zeros((1, 144, 256), np.uint8), self.names, frame.pts, frame.size)

    def reset(self) -> None:
        pass


def asked(pictures: list[U8], **limits: int) -> list[bool]:
    """Of each picture, whether the network was asked."""
    pipeline = Pipeline(Marker(), adaptive=Adaptive(**limits))
    return [pipeline(Frame.from_rgb(rgb, pts=index)).inferred for index, rgb in enumerate(pictures)]


def test_a_still_picture_is_asked_for_once_in_a_while() -> None:
    noisy = [picture(noise=4.0, seed=seed) for seed in range(9)]
    assert asked(noisy, still=3) == [True, False, False, False, True, False, False, False, True]


def test_a_cut_and_a_light_are_asked_for_at_once() -> None:
    assert asked([picture(), picture()[::-1].copy(), picture(light=60)]) == [True, True, True]


def test_slow_changes_add_up() -> None:
    fading = [picture(light=light) for light in range(0, 30, 2)]
    answers = asked(fading, still=100)
    assert answers[1:3] == [False, False]
    assert 2 <= sum(answers) < len(answers)


def test_masks_move_with_the_picture_and_no_further_than_trusted() -> None:
    marker = Marker()
    pipeline = Pipeline(marker, adaptive=Adaptive(moving=2))
    for step, inferred in enumerate([True, False, False, True]):
        marker.at = step
        output = pipeline(Frame.from_rgb(picture(step), pts=step))
        assert output.inferred == inferred
        assert output.segmentation.pts == step
        expected = marker(output.frame)
        assert isinstance(output.segmentation, Regions)
        assert isinstance(expected, Regions)
        found, right = output.segmentation.probabilities[0] > 127, expected.probabilities[0] > 127
        assert (found & right).sum() / (found | right).sum() > 0.95
    assert marker.asked == 2 + 4


def test_a_change_counts_for_more_where_the_subject_is_small() -> None:
    """Half of the square is covered: nothing of a subject that fills the picture, a third of a small one."""
    covered = picture()
    covered[150:250, 260:390] = 128

    class Everything(Marker):
        def __call__(self, frame: Frame) -> Segmentation:
            return Regions(np.full((1, 144, 256), 255, np.uint8), self.names, frame.pts, frame.size)

    for marker, inferred in ((Marker(), True), (Everything(), False)):
        pipeline = Pipeline(marker, adaptive=Adaptive())
        pipeline(Frame.from_rgb(picture()))
        assert pipeline(Frame.from_rgb(covered, pts=1)).inferred == inferred


def test_a_thing_that_comes_back_has_its_first_mask_and_not_the_moved_one() -> None:
    pipeline = Pipeline(Marker(), adaptive=Adaptive())
    first = pipeline(Frame.from_rgb(picture(0))).segmentation
    moved = pipeline(Frame.from_rgb(picture(1), pts=1))
    back = pipeline(Frame.from_rgb(picture(0), pts=2))
    assert (moved.inferred, back.inferred) == (False, False)
    assert isinstance(first, Regions)
    assert isinstance(moved.segmentation, Regions)
    assert isinstance(back.segmentation, Regions)
    assert (moved.segmentation.probabilities != first.probabilities).any()
    np.testing.assert_array_equal(back.segmentation.probabilities, first.probabilities)
    assert back.segmentation.pts == 2


def test_another_size_and_another_epoch_are_asked_for() -> None:
    pipeline = Pipeline(Marker(), adaptive=Adaptive())
    still = picture()
    assert pipeline(Frame.from_rgb(still)).inferred
    assert not pipeline(Frame.from_rgb(still)).inferred
    assert pipeline(Frame.from_rgb(still[:180].copy())).inferred
    assert pipeline(Frame.from_rgb(still[:180].copy(), epoch=1)).inferred


@pytest.mark.parametrize("clip", ["sign_no.mkv", "walk_through_room.mp4", "outdoor_thoughtful.mp4"])
def test_masks_are_those_of_every_frame_on_footage(clip: str, shared: Path) -> None:
    segment = build_segmenter(ModelOptions(name="portrait"), store.find_card("portrait"))
    adaptive = Adaptive()
    overlaps, skipped = [], 0
    video = build_source(VideoSource(path=shared / "clips" / "people" / clip))
    for frame in video:
        if frame.index == 90:
            break
        truth = segment(frame)
        found = adaptive(frame)
        if found is None:
            adaptive.made(frame, truth, filtered=truth)
            found = truth
        else:
            skipped += 1
        assert isinstance(found, Regions)
        assert isinstance(truth, Regions)
        one, other = found.probabilities > 127, truth.probabilities > 127
        union = (one | other).sum()
        overlaps.append((one & other).sum() / union if union > 500 else 1.0)
    video.close()
    assert skipped > 0.3 * len(overlaps)
    assert np.mean(overlaps) > 0.97
    assert min(overlaps) > 0.9


def test_every_second_frame_has_the_result_of_the_one_before() -> None:
    marker = Marker()
    pipeline = Pipeline(marker, adaptive=Every(2))
    outputs = []
    for index in range(6):
        marker.at = index
        outputs.append(pipeline(Frame.from_rgb(picture(index)).placed(index=index, pts=index)))
    assert [output.inferred for output in outputs] == [True, False] * 3
    assert [output.segmentation.pts for output in outputs] == list(range(6))
    for first, second in ((0, 1), (2, 3), (4, 5)):
        assert array_of(outputs[first].segmentation) is array_of(outputs[second].segmentation)
    assert array_of(outputs[1].segmentation) is not array_of(outputs[2].segmentation)


def test_frames_that_a_live_source_dropped_count_too() -> None:
    marker = Marker()
    pipeline = Pipeline(marker, adaptive=Every(3))
    frames = [Frame.from_rgb(picture()).placed(index=index, pts=index) for index in (0, 2, 4, 5, 7)]
    assert [pipeline(frame).inferred for frame in frames] == [True, False, True, False, True]


def test_a_reset_or_another_size_asks_the_network() -> None:
    pipeline = Pipeline(Marker(), adaptive=Every(4))
    frame = Frame.from_rgb(picture())
    assert pipeline(frame).inferred
    assert pipeline(frame.placed(index=1, epoch=1)).inferred
    small = Frame.from_rgb(np.ascontiguousarray(picture()[:180, :320]))
    assert pipeline(small.placed(index=2, epoch=1)).inferred


def test_two_ways_of_sparing_the_network_are_refused() -> None:
    with pytest.raises(ConfigError, match="every = 2 both choose"):
        build_pipeline(parse_config({"model": {"adaptive": True, "every": 2}}))
