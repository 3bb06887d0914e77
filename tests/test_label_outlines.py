from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from rtseg.labels.outlines import components, filled, outlines
from rtseg.ops.runs import Hard, box_of, mask_of_runs, runs_of

MASKS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.booleans())


def drawn(polygons: list[list[int]], mask: Hard) -> Hard:
    height, width = mask.shape
    united = np.zeros_like(mask)
    for polygon in polygons:
        united |= filled(np.array(polygon).reshape(-1, 2), (width, height))
    return united


def mask_from(text: str) -> Hard:
    return np.array([[sign == "#" for sign in line] for line in text.split()])


@given(mask=MASKS)
def test_runs_give_the_mask_back(mask: Hard) -> None:
    assert np.array_equal(mask_of_runs(runs_of(mask), (mask.shape[1], mask.shape[0])), mask)


@given(mask=MASKS)
def test_polygons_give_the_mask_back_to_the_pixel(mask: Hard) -> None:
    parts = list(components(mask))
    assert np.array_equal(np.any(parts, axis=0) if parts else np.zeros_like(mask), mask)
    for part in parts:
        if (polygons := outlines(part)) is not None:
            assert np.array_equal(drawn(polygons, part), part)


def test_runs_go_down_the_columns_and_begin_with_nothing() -> None:
    assert runs_of(mask_from("#.. #.#")) == [0, 2, 3, 1]
    assert runs_of(mask_from(".. ..")) == [4]


def test_a_polygon_runs_along_the_edges_of_pixels() -> None:
    polygons = outlines(mask_from(".... .##. .##. ...."))
    assert polygons is not None
    assert sorted(zip(polygons[0][::2], polygons[0][1::2], strict=True)) == [(1, 1), (1, 3), (3, 1), (3, 3)]


def test_corners_are_where_an_outline_turns() -> None:
    (polygon,) = outlines(mask_from("#.. #.. ###")) or []
    assert len(polygon) // 2 == 6


def test_a_hole_has_no_polygon() -> None:
    assert outlines(mask_from("### #.# ###")) is None
    assert outlines(mask_from("### #.# #.#")) is not None, "open below"


def test_pixels_that_touch_by_a_corner_are_one_part() -> None:
    assert len(list(components(mask_from("#.. .#. ..#")))) == 1
    assert len(list(components(mask_from("#.# ... #.#")))) == 4


def test_a_pixel_belongs_to_a_polygon_when_its_centre_does() -> None:
    square = np.array([[0.6, 0.4], [2.5, 0.4], [2.5, 2.4], [0.6, 2.4]])
    assert np.array_equal(filled(square, (4, 3)), mask_from(".#.. .#.. ....")), "centres: 1.5 across; 0.5, 1.5 down"


def test_what_is_outside_the_picture_is_cut_off() -> None:
    square = np.array([[-5, -5], [1, -5], [1, 9], [-5, 9]])
    assert np.array_equal(filled(square, (3, 2)), mask_from("#.. #.."))
    assert not filled(square + 100, (3, 2)).any()
    assert filled(np.array([[-9, -9], [50, -9], [50, 50], [-9, 50]]), (3, 2)).all()


def test_boxes_are_x_y_width_height() -> None:
    assert box_of(mask_from(".... ..## ..#.")) == (2, 1, 2, 2)
    assert box_of(mask_from("..")) == (0, 0, 0, 0)


@pytest.mark.parametrize("runs", [[3], [5], [-1, 5], []])
def test_runs_that_do_not_fill_the_picture_are_refused(runs: list[int]) -> None:
    with pytest.raises(ValueError, match="not 2x2 = 4"):
        mask_of_runs(runs, (2, 2))
