"""What a subject holds joins the matte when it moves along, and nothing else does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
from people import RED, SIZE, Figure, drawn, matte_of, regions, shown, texture

from rtseg.filters.subject import Subject
from rtseg.ops.arrays import U8, as_u8
from rtseg.types import Frame, Regions

WALL, FLAT = texture(1, (400, 144), sigma=6.0), np.full((144, 400), 120, np.uint8)
THING = texture(7, (26, 34), sigma=4.0)
STEP = 1.5


def with_thing(frame: Frame, body: U8, left: int, top: int = 60) -> tuple[Frame, U8]:
    """The frame with a thing of 26x34 behind the body, and where it is seen."""
    where, luma = np.zeros(SIZE[::-1], np.uint8), frame.planes[0].copy()
    where[top : top + 34, left : left + 26] = 255
    own = np.zeros_like(luma)
    own[top : top + 34, left : left + 26] = THING
    where[body > 127] = 0
    alpha = cv2.GaussianBlur(where, (0, 0), 1.0).astype(np.float32) / 255
    luma = np.rint(luma + alpha * (own.astype(np.float32) - luma)).astype(np.uint8)
    return replace(frame, planes=(luma, *frame.planes[1:])), where


def noisy(frame: Frame, rng: np.random.Generator) -> Frame:
    luma = np.clip(np.rint(frame.planes[0] + rng.normal(0, 2, frame.planes[0].shape)), 0, 255).astype(np.uint8)
    return replace(frame, planes=(luma, *frame.planes[1:]))


def added(
    path: Callable[[int], float],
    *,
    frames: int,
    thing: Callable[[int], float] | None,
    wall: U8 = WALL,
    pan: float = 0.0,
) -> list[tuple[U8, U8, U8]]:
    """Of each frame: what was added to the matte, where the thing is, the body's matte."""
    subject, rng, found = Subject(who="all", keep_held=True), np.random.default_rng(0), []
    for index in range(frames):
        body = Figure(path(index), r=34)
        shift = round(pan * index)
        frame, matte, where = drawn(body, wall=wall[:, shift : shift + 256], index=index), body.matte(), matte_of()
        if thing is not None:
            frame, where = with_thing(frame, matte, round(thing(index)))
        frame = noisy(frame, rng)
        result = subject(frame, regions(frame, matte))
        assert isinstance(result, Regions)
        assert (result.probabilities[0] >= matte).all(), "nothing of the matte is ever lost"
        found.append((as_u8(result.probabilities[0] - matte), where, matte))
    return found


def walking(index: int) -> float:
    return 80 + STEP * index


def carried(index: int) -> float:
    return walking(index) + 30


@pytest.mark.parametrize("wall", [WALL, FLAT], ids=["texture", "flat"])
def test_what_is_carried_joins_the_matte_soon_and_little_else_does(wall: U8) -> None:
    for index, (more, where, matte) in enumerate(added(walking, frames=45, thing=carried, wall=wall)):
        thing = (where > 127) & (matte < 10)
        beyond = cv2.dilate(where, np.ones((9, 9), np.uint8)) == 0
        assert more[beyond].sum() / 255 < (0.1 if wall is WALL else 0.2) * thing.sum(), index
        # Before a plain wall the thing's edges alone tell, and less of it may come.
        if index >= (15 if wall is WALL else 30):
            assert more[thing].mean() > (0.5 if wall is WALL else 0.25) * 255, index


def test_what_is_put_down_is_gone_when_the_subject_has_moved_on() -> None:
    found = added(walking, frames=80, thing=lambda index: carried(min(index, 40)))
    assert found[40][0].any()
    assert not any(more.any() for more, _, _ in found[56:])


@pytest.mark.parametrize("wall", [WALL, FLAT], ids=["texture", "flat"])
@pytest.mark.parametrize("speed", [0.3, 1.0, 2.0, 4.0])
def test_without_a_thing_nothing_is_added(wall: U8, speed: float) -> None:
    swaying = added(lambda index: 128 + 8 * speed * np.sin(index / 8), frames=90, thing=None, wall=wall)
    assert not any(more.any() for more, _, _ in swaying)


def test_a_thing_that_stands_beside_somebody_who_moves_is_not_held() -> None:
    found = added(lambda index: 110 + 12 * np.sin(index / 6), frames=90, thing=lambda _: 150.0)
    assert not any(more.any() for more, _, _ in found)


def test_a_camera_that_pans_holds_nothing() -> None:
    assert not any(more.any() for more, _, _ in added(lambda _: 128.0, frames=60, thing=None, pan=2.0))


def test_nothing_is_known_of_what_never_moves() -> None:
    assert not any(more.any() for more, _, _ in added(lambda _: 100.0, frames=30, thing=lambda _: 130.0))


def test_a_bystander_who_walks_along_is_not_held() -> None:
    subject, rng = Subject(who=(0.2, 0.6), keep_held=True), np.random.default_rng(0)
    for index in range(60):
        mine, other = Figure(60 + STEP * index, r=30), Figure(130 + STEP * index, r=24, clothes=RED, seed=4)
        frame = noisy(drawn(mine, other, index=index, wall=WALL[:, :256]), rng)
        result = subject(frame, regions(frame, matte_of(mine, other)))
        assert isinstance(result, Regions)
        assert shown(result.probabilities[0], other) < 0.01, index


def test_turned_off_it_is_gone_at_once_and_after_a_reset_too() -> None:
    for forget in (lambda subject: subject.choose("all"), Subject.reset):
        subject, rng = Subject(who="all", keep_held=True), np.random.default_rng(0)
        for index in range(30):
            body = Figure(walking(index), r=34)
            frame, _ = with_thing(drawn(body, wall=WALL[:, :256], index=index), body.matte(), round(carried(index)))
            frame = noisy(frame, rng)
            if index == 29:
                forget(subject)
            result = subject(frame, regions(frame, body.matte()))
            assert isinstance(result, Regions)
            assert bool((result.probabilities[0] > body.matte()).any()) == (20 <= index < 29) or index < 20
