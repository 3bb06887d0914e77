"""What part of a frame the network sees: the subject with room around it, and all of it often enough."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from fakes import SquareSegmenter

from rtseg import store
from rtseg.build import build_source
from rtseg.config import ModelOptions, VideoSource
from rtseg.engines import build_segmenter
from rtseg.errors import ConfigError, InferenceFailed
from rtseg.focus import Focus
from rtseg.ops.arrays import U8, as_u8
from rtseg.pipeline import Pipeline
from rtseg.types import Box, Frame, Regions, Segmentation

NETWORK = (64, 36)
SIZE = (640, 360)
MAN: Box = (200, 100, 260, 220)


class Bright:
    """A network to which everything bright is a person; remembers the frames that it was shown."""

    names = ("person",)

    def __init__(self, size: tuple[int, int] = NETWORK) -> None:
        self.size = size
        self.shown: list[Frame] = []
        self.blind = False
        self.resets = 0

    def __call__(self, frame: Frame) -> Segmentation:
        self.shown.append(frame)
        if self.blind:
            raise InferenceFailed("asked to fail")
        luma = frame.luma(self.size).astype(np.int32)
        mask = np.clip((luma - 50) * 255 // 150, 0, 255).astype(np.uint8)
        return Regions(mask[np.newaxis], self.names, frame.pts, frame.size)

    def empty(self, frame: Frame) -> Segmentation:
        return Regions(np.zeros((1, 36, 64), np.uint8), self.names, frame.pts, frame.size)

    def reset(self) -> None:
        self.resets += 1


def scene(*people: Box, size: tuple[int, int] = SIZE, index: int = 0, chroma: tuple[int, int] = (2, 2)) -> Frame:
    """People of luma 200 on black, of any subsampling."""
    width, height = size
    luma = np.full((height, width), 50, np.uint8)
    for x0, y0, x1, y1 in people:
        luma[y0:y1, x0:x1] = 200
    grey = np.full((-(-height // chroma[1]), -(-width // chroma[0])), 128, np.uint8)
    return Frame((luma, grey, grey), index=index, pts=index)


def mask_of(found: Segmentation) -> U8:
    assert isinstance(found, Regions)
    return as_u8(found.probabilities[0])


def overlap(found: Segmentation, *people: Box, size: tuple[int, int] = SIZE) -> float:
    """IoU at the frame's size."""
    truth = scene(*people, size=size).planes[0] > 127
    said = cv2.resize(mask_of(found), size, interpolation=cv2.INTER_LINEAR) > 127
    return float((truth & said).sum() / (truth | said).sum())


def run(focus: Focus, frames: Sequence[Frame]) -> list[Segmentation]:
    return [focus(frame) for frame in frames]


def test_a_small_subject_gets_more_of_the_networks_pixels() -> None:
    network = Bright()
    focus = Focus(network)
    man = (203, 107, 221, 155)
    whole, found = network(scene(man)), focus(scene(man))
    assert focus.part == (144, 80, 272, 176)
    assert network.shown[-1].size == (128, 96)
    assert overlap(whole, man) <= 0.8
    assert overlap(found, man) > 0.95
    assert mask_of(found).shape == (90, 160)
    assert isinstance(found, Regions)
    assert (found.pts, found.size) == (0, SIZE)


@pytest.mark.parametrize("chroma", [(2, 2), (2, 1), (1, 1)])
@pytest.mark.parametrize("size", [(640, 360), (641, 359), (854, 480), (500, 333)])
def test_masks_of_parts_lie_where_the_subject_is(size: tuple[int, int], chroma: tuple[int, int]) -> None:
    x, y = size[0] * 2 // 3, size[1] // 3
    man = (x, y, x + 64, y + 96)
    focus = Focus(Bright())
    mask = mask_of(focus(scene(man, size=size, chroma=chroma))).astype(np.float64)
    assert focus.part is not None
    height, width = mask.shape
    centre_x = ((np.arange(width) + 0.5) * mask.sum(axis=0)).sum() / mask.sum() * size[0] / width
    centre_y = ((np.arange(height) + 0.5) * mask.sum(axis=1)).sum() / mask.sum() * size[1] / height
    assert (centre_x, centre_y) == pytest.approx((x + 32, y + 48), abs=0.6)  # a mask's pixel is four of the frame's
    assert mask.sum() / 255 * size[0] * size[1] / (width * height) == pytest.approx(64 * 96, rel=0.03)


@pytest.mark.parametrize("chroma", [(2, 2), (2, 1), (1, 1)])
def test_what_the_network_sees_are_views_on_whole_chroma_samples(chroma: tuple[int, int]) -> None:
    network = Bright()
    frame = scene(MAN, size=(641, 359), chroma=chroma)
    focus = Focus(network)
    focus(frame)
    part = network.shown[-1]
    assert focus.part is not None
    x0, y0, x1, y1 = focus.part
    assert (x0 % 2, y0 % 2) == (0, 0)
    assert part.size == (x1 - x0, y1 - y0)
    luma, blue, _ = frame.planes
    np.testing.assert_array_equal(part.planes[0], luma[y0:y1, x0:x1])
    assert np.shares_memory(part.planes[0], luma[y0:y1, x0:x1])
    right = blue[y0 // chroma[1] : -(-y1 // chroma[1]), x0 // chroma[0] : -(-x1 // chroma[0])]
    for plane in part.planes[1:]:
        assert plane.shape == right.shape
        assert plane.ctypes.data == right.ctypes.data


def test_a_part_at_the_edge_of_an_odd_frame_leaves_out_no_line() -> None:
    size = (641, 359)
    focus = Focus(Bright())
    mask = mask_of(focus(scene((560, 250, 641, 359), size=size)))
    assert focus.part is not None
    assert focus.part[2:] == size
    assert mask[-1, -1] == 255


def test_a_still_picture_has_still_masks_whether_looked_at_whole_or_not() -> None:
    network = Bright()
    masks = [mask_of(found) for found in run(Focus(network, every=4), [scene(MAN, index=i) for i in range(12)])]
    for mask in masks:
        np.testing.assert_array_equal(mask, masks[0])
    whole = [frame.index for frame in network.shown if frame.size == SIZE]
    assert whole == [0, 4, 8]
    assert len(network.shown) == 12 + 3


def test_a_little_movement_leaves_the_part_and_a_larger_one_takes_it_along() -> None:
    network = Bright()
    focus = Focus(network, every=1000)
    focus(scene(MAN))
    first = focus.part
    parts = []
    for step in range(2, 62, 2):
        man = (MAN[0] + step, MAN[1], MAN[2] + step, MAN[3])
        assert overlap(focus(scene(man)), man) > 0.94
        parts.append(focus.part)
    assert parts[:3] == [first] * 3
    assert parts[-1] != first
    assert 1 <= len(set(parts)) <= 5
    assert sum(frame.size == SIZE for frame in network.shown) == 1  # the subject was never lost


def test_a_part_that_became_much_too_large_shrinks_at_the_next_look() -> None:
    small = (220, 130, 240, 170)
    focus = Focus(Bright(), every=5)
    focus(scene(MAN))
    parts = []
    for index in range(1, 8):
        focus(scene(small, index=index))
        parts.append(focus.part)
    assert [part == parts[0] for part in parts] == [True] * 4 + [False] * 3
    assert parts[-1] == (160, 112, 288, 192)
    assert overlap(focus(scene(small, index=8)), small) > 0.9


def test_who_enters_is_found_within_the_interval_and_stays_found() -> None:
    other = (500, 80, 560, 240)
    focus = Focus(Bright(), every=10)
    run(focus, [scene(MAN, index=i) for i in range(3)])
    found = run(focus, [scene(MAN, other, index=i) for i in range(3, 14)])
    shown = [overlap(each, MAN, other) > 0.9 for each in found]
    assert shown == [False] * 7 + [True] * 4


def test_frames_that_were_never_seen_count() -> None:
    """A live source drops frames, and an adaptive pipeline asks for one in three."""
    network = Bright()
    run(Focus(network, every=10), [scene(MAN, index=3 * i) for i in range(8)])
    assert [frame.index for frame in network.shown if frame.size == SIZE] == [0, 12]


def test_who_leaves_the_part_at_once_is_found_in_the_same_frame() -> None:
    far = (500, 80, 560, 240)
    wide = (230, 100, 430, 220)
    for elsewhere in (far, wide):  # out of the part, and over its border
        focus = Focus(Bright(), every=1000)
        focus(scene(MAN))
        assert overlap(focus(scene(elsewhere, index=1)), elsewhere) > 0.94


def test_whom_the_network_sees_in_the_part_only_is_kept_through_a_look() -> None:
    thin = (220, 100, 224, 220)  # less than half of a pixel of the network's
    network = Bright()
    assert mask_of(network(scene(thin))).max() < 128
    focus = Focus(network, every=3)
    focus(scene(MAN))
    found = run(focus, [scene(thin, index=i) for i in range(1, 8)])
    assert all(overlap(each, thin) > 0.6 for each in found)


def test_nobody_and_a_subject_that_fills_the_frame_are_as_without() -> None:
    network = Bright()
    focus = Focus(network)
    large = (60, 20, 600, 360)
    for people in ((), (large,), (large,)):
        before = len(network.shown)
        np.testing.assert_array_equal(mask_of(focus(scene(*people))), mask_of(network(scene(*people))))
        assert len(network.shown) == before + 2
        assert focus.part is None


def test_a_speck_is_no_subject() -> None:
    speck = (600, 20, 610, 30)  # four by four pixels of the network
    alone, beside = Focus(Bright((256, 144))), Focus(Bright((256, 144)))
    run(alone, [scene(MAN)])
    run(beside, [scene(MAN, speck)])
    assert beside.part == alone.part


def test_another_size_and_a_reset_begin_anew() -> None:
    network = Bright()
    focus = Focus(network)
    focus(scene(MAN))
    found = focus(scene((100, 60, 130, 120), size=(320, 240)))
    assert [frame.size for frame in network.shown[::2]] == [SIZE, (320, 240)]
    assert overlap(found, (100, 60, 130, 120), size=(320, 240)) > 0.94
    focus.reset()
    assert focus.part is None
    assert network.resets == 2  # one when it was made


def test_pictures_that_stand_alone_are_each_looked_at_whole() -> None:
    network = Bright()
    far = (500, 80, 560, 240)
    focus = Focus(network, every=1)
    found = run(focus, [scene(MAN), scene(far)])
    np.testing.assert_array_equal(mask_of(found[1]), mask_of(Focus(Bright())(scene(far))))
    assert [frame.size == SIZE for frame in network.shown] == [True, False, True, False]


def test_a_network_that_contradicts_itself_is_left_alone_for_a_while() -> None:
    class Shy(Bright):
        """Sees nobody in what is no whole frame."""

        def __call__(self, frame: Frame) -> Segmentation:
            found = super().__call__(frame)
            return found if frame.size == SIZE else self.empty(frame)

    network = Shy()
    found = run(Focus(network), [scene(MAN, index=i) for i in range(20)])
    np.testing.assert_array_equal(mask_of(found[-1]), mask_of(network(scene(MAN))))
    assert len(network.shown) - 1 == 20 + 3


def test_a_failure_is_the_pipelines_and_the_part_stays() -> None:
    network = Bright()
    focus = Focus(network)
    pipeline = Pipeline(focus)
    good = pipeline(scene(MAN))
    part = focus.part
    network.blind = True
    assert pipeline(scene(MAN, index=1)).held
    network.blind = False
    after = pipeline(scene(MAN, index=2))
    assert not after.held
    assert focus.part == part
    np.testing.assert_array_equal(mask_of(after.segmentation), mask_of(good.segmentation))


def test_results_that_are_no_regions_pass_and_two_regions_are_refused() -> None:
    class Pair(SquareSegmenter):
        names = ("drivable", "lane")  # type: ignore[assignment]

    with pytest.raises(ConfigError, match="focus is of one subject, and this model gives drivable, lane"):
        Focus(Pair())
    assert mask_of(Focus(SquareSegmenter()).empty(scene())).max() == 0
    assert Focus(SquareSegmenter()).providers == ("cpu",)


def test_on_footage_a_walker_is_kept_whom_the_network_loses_in_the_whole(shared: Path) -> None:
    card = store.find_card("portrait")
    network, focus = (build_segmenter(ModelOptions(focus=on), card) for on in (False, True))
    areas: list[tuple[float, float]] = []
    clip = VideoSource(path=shared / "clips" / "people" / "walk_through_room.mp4", start=17.0, end=19.4)
    with contextlib.closing(build_source(clip)) as video:
        for frame in video:
            found = [float((mask_of(segment(frame)) > 127).mean()) for segment in (network, focus)]
            areas.append((found[0], found[1]))
    assert len(areas) == 24
    assert all(part > 0.05 for _, part in areas)
    assert areas[-2][0] < 0.02 < 0.05 < areas[-2][1]
