"""The window that follows a subject, on drawn scenes whose truth is known."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from fakes import SquareSegmenter
from on_device import on_device

import rtseg
from rtseg.aim import Box, placed
from rtseg.framing import Framing, subject_box
from rtseg.glide import Pace
from rtseg.pipeline import Pipeline
from rtseg.results import Instances, Semantic
from rtseg.sources.sample import Sample
from rtseg.types import Frame, Output, Regions, Size

SIZE = Size(1280, 720)
GRID = 160, 90
Person = tuple[float, float, float, float]
"""Centre, top, width, height in shares of the frame."""
STANDING: Person = (0.4, 0.3, 0.08, 0.4)


def mask_of(*people: Person) -> np.ndarray:
    mask = np.zeros(GRID[::-1], np.uint8)
    for x, top, width, height in people:
        left, right = round((x - width / 2) * GRID[0]), round((x + width / 2) * GRID[0])
        mask[round(top * GRID[1]) : round((top + height) * GRID[1]), max(0, left) : max(0, right)] = 255
    return mask


def output(mask: np.ndarray, seconds: float, *, level: int = 90, held: bool = False) -> Output:
    luma = np.full((72, 128), level, np.uint8)
    chroma = np.full((36, 64), 128, np.uint8)
    frame = Frame((luma, chroma, chroma), pts=round(seconds * 90000), time_base=Fraction(1, 90000))
    return Output(frame, Regions(mask[np.newaxis], ("person",), frame.pts, frame.size), (), frame, held=held)


def windows(
    framing: Framing, people: Callable[[float], tuple[Person, ...]], seconds: float, *, rate: float = 30.0
) -> np.ndarray:
    """x0, y0, x1, y1 in shares of the frame, of every frame."""
    found = []
    for i in range(round(seconds * rate)):
        window = framing(output(mask_of(*people(i / rate)), i / rate)).window
        assert window is not None
        found.append(np.array(window) / (128, 72, 128, 72))
    return np.array(found)


def test_the_first_frame_has_its_window_with_room_above_the_head_and_around() -> None:
    (x0, y0, x1, y1), *_ = windows(Framing(max_zoom=4), lambda _: (STANDING,), 0.1)
    assert (x0 + x1) / 2 == pytest.approx(0.4, abs=0.02)
    assert 0.3 - y0 >= 0.09 * (y1 - y0)
    assert y1 - 0.7 >= 0.03 * (y1 - y0)
    assert y1 - y0 == pytest.approx(0.4 / 0.85, abs=0.03)


def test_eyes_are_a_third_below_the_top_where_there_is_room() -> None:
    view = placed(Box(0.45, 0.4, 0.5, 0.6), 0.5, 16 / 9)
    eyes = 0.4 + 0.25 * 0.05 * 16 / 9
    assert (eyes - view.box[1]) / 0.5 == pytest.approx(1 / 3)


def test_a_subject_at_rest_has_a_window_that_does_not_move_by_a_bit() -> None:
    found = windows(Framing(), lambda t: ((0.25 + 0.2 * min(t, 1), 0.3, 0.08, 0.4),), 8.0)
    assert len(np.unique(found[:60, 0])) > 30
    assert len(np.unique(found[-60:], axis=0)) == 1


def test_swaying_and_noise_do_not_move_the_window() -> None:
    shake = np.random.default_rng(3).uniform(-0.008, 0.008, (400, 2))

    def people(t: float) -> tuple[Person, ...]:
        dx, dy = shake[round(t * 30)]
        return ((0.4 + 0.04 * np.sin(3 * t) + dx, 0.3 + dy, 0.08, 0.4 - dy),)

    assert len(np.unique(windows(Framing(), people, 8.0), axis=0)) == 1


def walk(t: float) -> tuple[Person, ...]:
    """Across the frame in five seconds, after one of rest and before two."""
    return ((0.15 + 0.7 * min(1.0, max(0.0, (t - 1) / 5)), 0.3, 0.08, 0.4),)


def test_who_walks_across_the_frame_stays_in_the_window_and_it_moves_smoothly() -> None:
    rate, pace = 30.0, Pace()
    found = windows(Framing(), walk, 9.0, rate=rate)
    centres = np.array([walk(i / rate)[0][0] for i in range(len(found))])
    assert (found[:, 0] <= centres - 0.04).all()
    assert (centres + 0.04 <= found[:, 2]).all()
    assert found.min() >= -1e-9
    assert found.max() <= 1 + 1e-9
    middle = (found[:, 0] + found[:, 2]) / 2
    speed = np.diff(middle) * rate
    assert np.abs(speed).max() <= pace.pan + 1e-9
    acceleration = np.diff(speed) * rate
    assert np.abs(acceleration).max() <= pace.acceleration
    assert np.abs(np.diff(acceleration)).max() <= 0.2 * pace.acceleration  # a frame's share of a gentle change
    assert middle[-1] - middle[0] > 0.45


def test_paths_are_alike_at_15_and_30_frames_a_second() -> None:
    slow, fast = (windows(Framing(), walk, 9.0, rate=rate) for rate in (15.0, 30.0))
    assert np.abs(slow - fast[::2]).max() < 0.02


def test_dropped_frames_do_not_change_the_path() -> None:
    whole = windows(Framing(), walk, 9.0)
    framing, found = Framing(), {}
    for i in range(len(whole)):
        if i % 7 not in (2, 3):
            found[i] = np.array(framing(output(mask_of(*walk(i / 30)), i / 30)).window) / (128, 72, 128, 72)
    assert max(np.abs(whole[i] - window).max() for i, window in found.items()) < 0.02


def test_a_head_that_comes_near_the_windows_top_is_given_room() -> None:
    """By less than the dead zone."""
    found = windows(Framing(), lambda t: ((0.4, 0.3 - 0.044 * min(1, t), 0.08, 0.43),), 5.0)
    length = found[0, 3] - found[0, 1]
    assert 0.12 * length > 0.044
    assert 0.3 - found[0, 1] < 0.044 + 0.03 * length
    assert 0.256 - found[-1, 1] > 0.05 * length


def test_who_is_lost_is_waited_for_and_then_the_whole_is_shown() -> None:
    found = windows(Framing(), lambda t: (STANDING,) if t < 1 else (), 6.0)
    assert len(np.unique(found[:58], axis=0)) == 1  # a second of waiting
    assert found[-1].tolist() == [0, 0, 1, 1]
    assert np.abs(np.diff(found, axis=0)).max() < 0.03


def test_a_moments_loss_moves_nothing() -> None:
    found = windows(Framing(), lambda t: () if 1 <= t < 1.8 else (STANDING,), 4.0)
    assert len(np.unique(found, axis=0)) == 1


def test_frames_on_a_device_stay_there_until_they_are_cropped() -> None:
    given, counts = output(mask_of(), 0.0), Counter[str]()
    luma = np.tile(np.arange(128, dtype=np.uint8), (72, 1))
    frame = on_device(given.frame.with_planes((luma, *given.frame.planes[1:])), counts)
    framing = Framing()
    whole = framing(replace(given, frame=frame, picture=frame))
    assert whole.picture is frame
    assert not counts
    found = framing(replace(output(mask_of(STANDING), 0.0), frame=frame, picture=frame))
    assert found.picture is frame  # it glides, and no time has passed
    framing.reset()
    found = framing(replace(output(mask_of(STANDING), 0.0), frame=frame, picture=frame))
    assert found.picture.device is None
    assert found.picture.planes[0].shape == (72, 128)
    assert sum(counts.values()) == 1


def test_nobody_is_the_whole_picture_untouched() -> None:
    given = output(mask_of(), 0.0)
    framed = Framing()(given)
    assert framed.picture is given.frame
    assert framed.window == (0, 0, 128, 72)


def test_all_people_are_in_the_window() -> None:
    (x0, _, x1, _), *_ = windows(Framing(), lambda _: (STANDING, (0.7, 0.35, 0.08, 0.35)), 0.1)
    assert x0 < 0.36
    assert x1 > 0.74


def test_who_comes_in_widens_the_window_soon() -> None:
    found = windows(Framing(), lambda t: (STANDING, *(((0.8, 0.35, 0.08, 0.35),) if t > 1 else ())), 4.0)
    assert found[20, 2] < 0.75
    assert found[90, 2] > 0.84


def test_a_window_becomes_narrower_only_after_a_while() -> None:
    found = windows(Framing(), lambda t: (STANDING, *(((0.9, 0.35, 0.08, 0.35),) if t < 1 else ())), 12.0)
    lengths = found[:, 3] - found[:, 1]
    assert lengths[0] > 0.65
    np.testing.assert_allclose(lengths[: 30 + 58], lengths[0], atol=0.014)  # a pixel of 72: what rests lies on one
    assert lengths[-1] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("zoom", [1.25, 2.0, 4.0])
def test_pictures_are_never_enlarged_more_than_asked(zoom: float) -> None:
    found = windows(Framing(max_zoom=zoom), lambda _: ((0.5, 0.5, 0.05, 0.1),), 0.1)
    assert (found[0, 3] - found[0, 1]) == pytest.approx(1 / zoom, abs=0.02)


def test_specks_are_nobody() -> None:
    clean = subject_box(output(mask_of(STANDING), 0.0).segmentation)
    mask = mask_of(STANDING)
    mask[2:5, 150:153] = 255
    assert subject_box(output(mask, 0.0).segmentation) == clean
    assert subject_box(output(mask_of((0.9, 0.1, 0.02, 0.03)), 0.0).segmentation) is None


def test_head_and_shoulders_are_the_upper_half_of_who_stands() -> None:
    segmentation = output(mask_of(STANDING), 0.0).segmentation
    body, head = (subject_box(segmentation, look) for look in ("body", "head"))
    assert body is not None
    assert head is not None
    assert head.goes_on
    assert (head.x0, head.y0, head.x1) == (body.x0, body.y0, body.x1)
    assert 0.4 < (head.y1 - head.y0) / (body.y1 - body.y0) < 0.75


def test_people_count_among_classes_and_instances_and_else_everything() -> None:
    labels = np.zeros(GRID[::-1], np.uint8)
    labels[:, :20] = 1  # a car
    labels[30:60, 60:70] = 2
    semantic = Semantic(labels, ("road", "car", "person"), 0, SIZE)
    wanted = Box(60 / 160, 30 / 90, 70 / 160, 60 / 90)
    assert subject_box(semantic) == wanted
    masks = np.stack([np.where(labels == i, np.uint8(255), np.uint8(0)) for i in (1, 2)])
    boxes, scores = np.zeros((2, 4), np.float32), np.ones(2, np.float32)
    things = Instances(masks, boxes, np.array([0, 1]), scores, ("car", "person"), 0, SIZE)
    assert subject_box(things) == wanted
    assert subject_box(Instances(masks, boxes, np.array([0, 0]), scores, ("car", "person"), 0, SIZE)) is None
    cells = Instances(masks, boxes, np.array([0, 1]), scores, ("car", "cell"), 0, SIZE)
    assert subject_box(cells) == Box(0, 0, 70 / 160, 1)


def test_a_cut_and_another_size_jump() -> None:
    framing = Framing()
    windows(framing, lambda _: (STANDING,), 1.0)
    stripes = np.tile(np.repeat(np.array([20, 220], np.uint8), 8), (72, 8))
    moved = output(mask_of((0.7, 0.3, 0.08, 0.4)), 1.0)
    other = moved.frame.with_planes((stripes, *moved.frame.planes[1:]))
    window = framing(Output(other, moved.segmentation, (), other)).window
    assert window is not None
    assert (window[0] + window[2]) / 2 == pytest.approx(0.7 * 128, abs=2)
    brighter = framing(output(mask_of(STANDING), 1.04, level=200))  # from stripes: another cut
    assert brighter.window is not None
    assert (brighter.window[0] + brighter.window[2]) / 2 == pytest.approx(0.4 * 128, abs=2)
    lit = framing(output(mask_of((0.7, 0.3, 0.08, 0.4)), 1.08, level=20)).window  # the light went out: no cut
    assert lit is not None
    assert (lit[0] + lit[2]) / 2 == pytest.approx(0.4 * 128, abs=3)


def test_another_epoch_jumps_though_nothing_was_told() -> None:
    framing = Framing()
    windows(framing, lambda _: (STANDING,), 1.0)
    given = output(mask_of((0.7, 0.3, 0.08, 0.4)), 0.5)
    window = framing(replace(given, frame=given.frame.at(epoch=1))).window
    assert window is not None
    assert (window[0] + window[2]) / 2 == pytest.approx(0.7 * 128, abs=2)


def test_lone_pictures_have_the_window_that_fits() -> None:
    framing = Framing(glide=False)
    for centre in (0.4, 0.6, 0.3):
        (x0, _, x1, _), *_ = windows(framing, lambda _, c=centre: ((c, 0.3, 0.08, 0.4),), 0.03)  # type: ignore[misc]
        assert (x0 + x1) / 2 == pytest.approx(centre, abs=0.02)


def test_a_network_that_fails_says_nothing_of_the_subject() -> None:
    framing = Framing()
    before = framing(output(mask_of(STANDING), 0.0)).window
    assert {framing(output(mask_of(), i / 30, held=True)).window for i in range(1, 90)} == {before}


class Small(SquareSegmenter):
    """The person is a quarter of the frame's sides, in its middle."""

    def __call__(self, frame: Frame) -> Regions:
        mask = np.zeros((1, 36, 64), np.uint8)
        mask[:, 14:23, 24:40] = 255
        return Regions(mask, ("person",), frame.pts, frame.size)


def test_pipelines_frame_after_effects_and_masks_stay_the_frames() -> None:
    framing = Framing()
    pipeline = Pipeline(Small(), framing=framing)
    plain = Pipeline(Small())
    luma = np.tile(np.arange(64, dtype=np.uint8) * 3, (36, 1))
    frame = Frame((luma, luma[::2, ::2].copy(), luma[::2, ::2].copy()))
    framed, whole = pipeline(frame), plain(frame)
    assert framed.frame is frame
    assert whole.window is None
    assert framed.window is not None
    assert framed.window != (0, 0, *frame.size)
    assert framed.picture.size == frame.size
    assert framed.picture.pts == frame.pts
    assert framed.times["framing"] > 0
    for one, other in zip(framed.segmentation.segments(), whole.segmentation.segments(), strict=True):
        np.testing.assert_array_equal(one["mask"], other["mask"])
    pipeline.reset()
    assert framing._kind is None


def test_a_real_network_is_followed_through_every_front(tmp_path: Path) -> None:
    """The sample's person, small in a corner of grey pictures: as a loop, and as files with records."""
    for i, sample in enumerate(itertools.islice(Sample(seconds=1.0, size=(320, 180)), 2)):
        bgr = np.full((360, 640, 3), 120, np.uint8)
        bgr[180:, :320] = sample.bgr
        cv2.imwrite(str(tmp_path / f"{i}.png"), bgr)
    found = [output.window for output in rtseg.stream(tmp_path, framing="head", background="blur")]
    assert len(found) == 2
    for window in found:
        assert window is not None
        x0, y0, x1, y1 = window
        assert (x1 - x0, y1 - y0) == pytest.approx((320, 180), abs=40)
        assert x0 < 40
        assert y1 > 320
    rtseg.run(tmp_path, tmp_path / "out", framing="head", records=tmp_path / "r.jsonl")
    records = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    np.testing.assert_allclose([record["window"] for record in records], np.array(found, float), atol=0.01)
    assert [record["size"] for record in records] == [[640, 360]] * 2
    picture = cv2.imread(str(tmp_path / "out" / "0.png"))
    assert picture is not None
    assert picture.shape == (360, 640, 3)
    pipeline = rtseg.load_pipeline(framing="head")
    frame = Frame.from_bgr(bgr)
    assert pipeline(frame).picture is not frame
