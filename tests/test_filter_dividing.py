"""Whose a pixel is where two people touch, on planes that are drawn to the pixel."""

from __future__ import annotations

import numpy as np
import pytest

from rtseg.filters.dividing import divided
from rtseg.filters.looks import Look, bins_of, likelier
from rtseg.filters.passing import Passing
from rtseg.ops.arrays import U8, as_u8
from rtseg.ops.flow import FLOW_SIZE


def plane(*boxes: tuple[int, int, int, int]) -> U8:
    made = np.zeros(FLOW_SIZE[::-1], np.uint8)
    for left, top, right, bottom in boxes:
        made[top:bottom, left:right] = 255
    return made


MINE, OTHER = plane((20, 10, 50, 60)), plane((50, 10, 80, 60))


def test_who_was_known_stays_and_between_them_it_is_the_nearer() -> None:
    mine, other = plane((20, 10, 44, 60)), plane((56, 10, 80, 60))
    ours = divided(mine, other, as_u8(MINE | OTHER), None)
    assert int(np.flatnonzero(ours[30])[-1]) in (49, 50), "the middle between 44 and 56"
    assert ours[30, 47] == 255
    assert ours[30, 53] == 0
    assert not (ours & ~(MINE | OTHER)).any()


def test_colours_move_the_line_and_never_what_is_surely_the_others() -> None:
    for sign in (1, -1):
        told = np.full(FLOW_SIZE[::-1], 2.0 * sign, np.float32)
        line = int(np.flatnonzero(divided(MINE, OTHER, as_u8(MINE | OTHER), told)[30])[-1])
        assert 2 <= sign * (line - 49) <= 7, "by some pixels, to the side of whom it looks like"


def test_a_face_like_the_subjects_is_not_shown() -> None:
    """A patch deep in the other that has all the subject's colours."""
    told = np.full(FLOW_SIZE[::-1], -2.0, np.float32)
    told[:, :50] = 2.0
    told[15:25, 60:70] = 2.0
    assert not divided(MINE, OTHER, as_u8(MINE | OTHER), told)[:, 58:].any()


def test_a_small_patch_that_was_left_behind_goes_to_the_other() -> None:
    left_behind = as_u8(MINE | plane((66, 20, 76, 30)))
    other = as_u8(OTHER & ~left_behind)
    assert np.array_equal(divided(left_behind, other, as_u8(MINE | OTHER), None) > 0, MINE > 0)


def test_of_somebody_hidden_what_looks_like_them_is_theirs() -> None:
    told = np.full(FLOW_SIZE[::-1], -2.0, np.float32)
    told[:, 80:] = 2.0
    area = plane((50, 10, 90, 60))
    ours = divided(plane(), OTHER, area, told)
    assert ours[30, 87] == 255
    assert not ours[:, :80].any()


def test_looks_are_told_apart_by_colours() -> None:
    luma = np.full(FLOW_SIZE[::-1], 100, np.uint8)
    u, v = (np.full((36, 64), level, np.uint8) for level in (100, 160))
    u[:, 32:], v[:, 32:] = 160, 100
    bins = bins_of(luma, (u, v))
    left, right = plane((0, 0, 64, 72)) > 0, plane((64, 0, 128, 72)) > 0
    one, other = Look.of(bins, left), Look.of(bins, right)
    assert one.like(one) == pytest.approx(1.0)
    assert one.like(other) == 0.0
    told = likelier(one, other, bins, plane((20, 10, 100, 60)))
    assert told[30, 30] == pytest.approx(2.0)
    assert told[30, 90] == pytest.approx(-2.0)
    assert told[30, 10] == 0.0
    half = other.after(one, 0.5)
    assert half.like(one) == pytest.approx(0.5)


def box_at(x: float) -> U8:
    return plane((round(x) - 8, 20, round(x) + 8, 60))


@pytest.mark.parametrize(("away", "first"), [(True, 1), (False, None)])
def test_who_walks_on_is_where_walking_leads(away: bool, first: int | None) -> None:
    """Two boxes, one pixel a frame; they pass, or stand together twice as long and part where they came from."""
    passing = Passing()
    for index in range(30):
        passing.apart(box_at(20 + index), box_at(100 - index), 1 / 30)
    for _ in range(22 if away else 44):
        passing.touching(1 / 30)
    places = [(50.0, 40.0), (71.0, 40.0)]
    assert passing.first_of(places) == first


def test_who_was_hardly_seen_leads_nowhere() -> None:
    passing = Passing()
    passing.apart(box_at(20), box_at(100), 1 / 30)
    passing.touching(1 / 30)
    assert passing.first_of([(20.0, 40.0), (100.0, 40.0)]) is None
