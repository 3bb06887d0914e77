from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from test_ops_matte import disc

from rtseg import store
from rtseg.filters.refine import EdgeRefine
from rtseg.filters.smooth import TemporalSmooth
from rtseg.inference.engine import OrtEngine
from rtseg.ops.arrays import U8, as_u8
from rtseg.segmenters.regions import RegionSegmenter
from rtseg.sources.video import VideoFile
from rtseg.types import Filter, Frame, Regions, Segmentation, Semantic

pytestmark = pytest.mark.usefixtures("either_loops")

SIZE = (256, 144)


def scene(seed: int = 5, *, size: tuple[int, int] = SIZE) -> U8:
    """A picture with texture that flow can follow."""
    noise = np.random.default_rng(seed).integers(0, 256, (size[1] + 80, size[0] + 80), dtype=np.uint8)
    smooth = cv2.GaussianBlur(noise, (0, 0), 6.0)
    return as_u8(cv2.normalize(smooth, np.empty_like(noise), 40, 210, cv2.NORM_MINMAX))


def frame_of(luma: U8, index: int = 0) -> Frame:
    chroma = np.full((-(-luma.shape[0] // 2), -(-luma.shape[1] // 2)), 128, np.uint8)
    return Frame((np.ascontiguousarray(luma), chroma, chroma), index=index, pts=index)


def regions_of(*masks: U8, frame: Frame) -> Regions:
    return Regions(np.stack(masks), tuple("abcd"[: len(masks)]), frame.pts, frame.size)


def masks_after(smooth: TemporalSmooth, frame: Frame, *masks: U8) -> U8:
    result = smooth(frame, regions_of(*masks, frame=frame))
    assert isinstance(result, Regions)
    return result.probabilities


def noisy(plane: U8, sigma: float, rng: np.random.Generator) -> U8:
    return np.clip(np.rint(plane + rng.normal(0, sigma, plane.shape)), 0, 255).astype(np.uint8)


def test_a_still_mask_flickers_less_than_half_as_much() -> None:
    rng = np.random.default_rng(0)
    luma, mask, smooth = scene()[:144, :256], disc(SIZE, (128, 80), 40, softness=3), TemporalSmooth()
    before, after = [], []
    for index in range(30):
        shaken = noisy(mask, 20 * (mask > 0), rng)  # type: ignore[arg-type]
        before.append(shaken)
        after.append(masks_after(smooth, frame_of(noisy(luma, 3, rng), index), shaken)[0])
    edge = (mask > 30) & (mask < 225)
    flicker_before, flicker_after = (np.stack(masks[10:]).var(axis=0)[edge].mean() for masks in (before, after))
    assert flicker_after <= 0.25 * flicker_before
    assert abs(float(np.mean(np.stack(after)[10:, edge])) - float(mask[edge].mean())) < 3


@pytest.mark.parametrize("speed", [1, 3, 8])
@pytest.mark.parametrize("with_texture", [True, False])
def test_a_moving_edge_does_not_lag(speed: int, with_texture: bool) -> None:
    """A square on a background; without texture there is nothing that flow could follow but the square's edges."""
    square = scene(7)[:60, :60] if with_texture else np.full((60, 60), 200, np.uint8)
    smooth, columns = TemporalSmooth(), np.arange(256)
    for index in range(20):
        left = 20 + speed * index
        luma = scene(8)[:144, :256] // 2 if with_texture else np.full((144, 256), 60, np.uint8)
        luma = luma.copy()
        luma[40:100, left : left + 60] = square[:, : max(0, 256 - left)]
        mask = np.zeros((144, 256), np.uint8)
        inside = np.clip(np.minimum(columns + 1.5 - left, left + 60.5 - columns) / 2, 0, 1)  # edges two pixels wide
        mask[40:100] = np.rint(255 * inside)
        smoothed = masks_after(smooth, frame_of(luma, index), mask)[0]
        covered = mask[70].astype(float).sum() / 255
        assert smoothed[70].astype(float).sum() / 255 == pytest.approx(covered, abs=1.0)
        front, back = int(np.argmax(smoothed[70] >= 128)), 255 - int(np.argmax(smoothed[70, ::-1] >= 128))
        expected_front = int(np.argmax(mask[70] >= 128))
        expected_back = 255 - int(np.argmax(mask[70, ::-1] >= 128))
        assert abs(front - expected_front) <= 1
        assert abs(back - expected_back) <= 1


def test_it_follows_what_moves() -> None:
    """The network wavers by a pixel along an edge that moves: the past, moved along, steadies it."""
    rng = np.random.default_rng(4)
    big, smooth = scene(9, size=(400, 200)), TemporalSmooth()
    errors: dict[str, list[float]] = {"raw": [], "smoothed": []}
    for index in range(24):
        shift = 2 * index
        truth = disc(SIZE, (80 + shift, 72), 30, softness=3)
        wavering = noisy(truth, 25 * (truth > 0), rng)  # type: ignore[arg-type]
        luma = big[:144, 110 - shift : 366 - shift]
        smoothed = masks_after(smooth, frame_of(luma, index), wavering)[0]
        edge = (truth > 20) & (truth < 235)
        if index >= 6:
            errors["raw"].append(float(np.abs(wavering[edge].astype(int) - truth[edge]).mean()))
            errors["smoothed"].append(float(np.abs(smoothed[edge].astype(int) - truth[edge]).mean()))
    assert np.mean(errors["smoothed"]) < 0.85 * np.mean(errors["raw"])


def test_what_moves_fast_is_as_the_network_has_it() -> None:
    """Four pixels a frame of a mask of 256: the past, off by a part of that, would blur the edge."""
    big, smooth, rng = scene(9, size=(400, 200)), TemporalSmooth(tidy=False), np.random.default_rng(4)
    for index in range(12):
        shift = 4 * index
        truth = disc(SIZE, (60 + shift, 72), 30, softness=3)
        wavering = noisy(truth, 25 * (truth > 0), rng)  # type: ignore[arg-type]
        smoothed = masks_after(smooth, frame_of(big[:144, 110 - shift : 366 - shift], index), wavering)[0]
        if index >= 2:  # the flow finds itself
            changed = np.abs(smoothed.astype(int) - wavering)
            assert changed[truth > 20].mean() < 2.0


def test_nothing_is_left_of_what_went() -> None:
    smooth = TemporalSmooth()
    luma, person = scene()[:144, :256], disc(SIZE, (128, 80), 40)
    for index in range(5):
        masks_after(smooth, frame_of(luma, index), person)
    assert not masks_after(smooth, frame_of(luma, 5), np.zeros_like(person)).any()


def test_the_past_only_chooses_within_what_the_mask_says_around() -> None:
    """The picture stands still, but the network has changed its mind: its new word holds to the pixel."""
    smooth, luma = TemporalSmooth(), scene()[:144, :256]
    for index, radius in enumerate([50, 50, 34, 45]):
        mask = disc(SIZE, (128, 80), radius, softness=4)
        smoothed = masks_after(smooth, frame_of(luma, index), mask)[0]
        kernel = np.ones((3, 3), np.uint8)
        # Two levels for rounding in the blend.
        assert (smoothed <= cv2.dilate(mask, kernel).astype(int) + 2).all()
        assert (smoothed >= cv2.erode(mask, kernel).astype(int) - 2).all()


def test_a_still_mask_does_not_swim_when_something_passes_by() -> None:
    smooth, square = TemporalSmooth(), scene(7)[:60, :40]
    mask = disc(SIZE, (60, 80), 40, softness=4)
    edge = (mask > 0) & (mask < 255)
    for index in range(20):
        luma = scene(8)[:144, :256].copy()
        luma[60:120, 104 + 3 * index : 144 + 3 * index] = square
        smoothed = masks_after(smooth, frame_of(luma, index), mask)[0]
        assert np.abs(smoothed[edge].astype(int) - mask[edge]).mean() < 1.0


def test_a_cut_forgets() -> None:
    smooth = TemporalSmooth()
    masks_after(smooth, frame_of(scene(1)[:144, :256]), disc(SIZE, (100, 80), 40, softness=8))
    after = disc(SIZE, (102, 80), 40, softness=8)
    frame = frame_of(np.where(scene(2)[:144, :256] > 120, 255, 0).astype(np.uint8), 1)
    without_past = masks_after(TemporalSmooth(), frame, after)
    np.testing.assert_array_equal(masks_after(smooth, frame, after), without_past)


@pytest.mark.parametrize("how", ["reset", "names", "mask", "frame"])
def test_the_past_is_forgotten(how: str) -> None:
    luma = scene()[:144, :256]
    smooth, frame = TemporalSmooth(), frame_of(luma)
    smooth(frame, regions_of(disc(SIZE, (100, 80), 40, softness=8), frame=frame))
    now = disc((128, 72) if how == "mask" else SIZE, (54, 40) if how == "mask" else (102, 80), 20, softness=8)
    frame = frame_of(luma[:142] if how == "frame" else luma, 1)
    given = regions_of(now, frame=frame)
    if how == "reset":
        smooth.reset()
    elif how == "names":
        given = replace(given, names=("other",))
    result = smooth(frame, given)
    assert isinstance(result, Regions)
    # Compared to a filter that has no past.
    fresh = TemporalSmooth()(frame, given)
    assert isinstance(fresh, Regions)
    np.testing.assert_array_equal(result.probabilities, fresh.probabilities)


def test_a_faint_island_goes_from_a_matte_but_not_from_several_regions() -> None:
    person = disc(SIZE, (80, 80), 40)
    ghost = np.where(disc(SIZE, (200, 40), 15) > 128, np.uint8(90), np.uint8(0))
    both, frame = np.maximum(person, ghost), frame_of(scene()[:144, :256])
    np.testing.assert_array_equal(masks_after(TemporalSmooth(), frame, both)[0], person)
    np.testing.assert_array_equal(masks_after(TemporalSmooth(), frame, both, ghost)[1], ghost)


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (64, 4), (4, 100), (127, 71), (257, 145)])
def test_masks_and_frames_of_any_size(size: tuple[int, int]) -> None:
    smooth, rng = TemporalSmooth(), np.random.default_rng(0)
    for index in range(3):
        frame = frame_of(rng.integers(0, 256, size[::-1], dtype=np.uint8), index)
        mask = rng.integers(0, 256, size[::-1], dtype=np.uint8)
        assert masks_after(smooth, frame, mask, mask).shape == (2, *mask.shape)


def test_the_given_masks_are_left_alone_and_not_kept() -> None:
    smooth, luma = TemporalSmooth(), scene()[:144, :256]
    first, second = (disc(SIZE, (x, 80), 40, softness=8) for x in (100, 102))
    copies = first.copy(), second.copy()
    masks_after(smooth, frame_of(luma), first)
    given = first.copy()
    np.testing.assert_array_equal(first, copies[0])
    first[:] = 7
    with_changed = masks_after(smooth, frame_of(luma, 1), second)
    np.testing.assert_array_equal(second, copies[1])
    other = TemporalSmooth()
    masks_after(other, frame_of(luma), given)
    np.testing.assert_array_equal(with_changed, masks_after(other, frame_of(luma, 1), second))


def test_other_results_pass_through() -> None:
    smooth, frame = TemporalSmooth(), frame_of(scene()[:144, :256])
    labels: Segmentation = Semantic(np.zeros((4, 4), np.uint8), ("road",), 0, frame.size)
    assert isinstance(smooth, Filter)
    assert smooth(frame, labels) is labels


def test_nobody_is_left_in_an_empty_room(shared: Path) -> None:
    """Somebody leaves the room: of frame 197 a heel is the last, and to 225 nobody comes. Seen by looking."""
    card = store.find_card("portrait")
    segmenter, filters = RegionSegmenter(card, OrtEngine(store.weights(card))), (TemporalSmooth(), EdgeRefine())
    covered = {}
    for frame in islice(VideoFile(shared / "clips/people/walk_through_room.mp4"), 184, 226):
        result: Segmentation = segmenter(frame)
        for stage in filters:
            result = stage(frame, result)
        assert isinstance(result, Regions)
        covered[frame.index] = int(np.count_nonzero(result.probabilities))
    assert covered[185] > 5000
    assert {covered[index] for index in range(200, 226)} == {0}
