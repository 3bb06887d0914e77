"""Text and boxes as alpha: sizes that layouts rely on, coverage that can be calculated."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rtseg.ops.text import rounded_box_alpha, text_alpha


@pytest.mark.parametrize("height", [8, 13, 22, 32, 65])
def test_a_line_of_text_has_the_height_asked_for(height: int) -> None:
    alpha = text_alpha("dHg", height)
    assert alpha.shape[0] == height
    assert alpha.dtype == np.uint8
    # Ascender to descender: ink, or its smoothed edge, reaches the first and the last two rows.
    assert alpha[:2].any()
    assert alpha[-2:].any()


def test_ink_begins_and_ends_at_the_sides() -> None:
    alpha = text_alpha("lane", 26)
    assert alpha[:, 0].any()
    assert alpha[:, -2:].any()


def test_text_is_anti_aliased_and_opaque_inside() -> None:
    alpha = text_alpha("HHH", 40)
    assert alpha.max() == 255
    assert ((alpha > 30) & (alpha < 225)).sum() > 40


def test_capitals_take_seven_tenths_of_the_height() -> None:
    rows = np.flatnonzero((text_alpha("H", 100) > 127).any(axis=1))
    assert 64 <= rows[-1] - rows[0] + 1 <= 78


def test_longer_text_is_wider_and_in_proportion_to_its_height() -> None:
    assert text_alpha("person, person", 20).shape[1] > 1.8 * text_alpha("person", 20).shape[1]
    small, large = text_alpha("drivable", 20).shape[1], text_alpha("drivable", 60).shape[1]
    assert large == pytest.approx(3 * small, rel=0.06)


def test_white_space_is_one_space() -> None:
    np.testing.assert_array_equal(text_alpha(" traffic\n\tlight ", 20), text_alpha("traffic light", 20))


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_no_text_is_one_clear_column(text: str) -> None:
    alpha = text_alpha(text, 20)
    assert alpha.shape == (20, 1)
    assert not alpha.any()


@pytest.mark.parametrize("text", ["Straße", "人", "🙂", "a\x00b", "\x1b[31m", "%s {0}", "x" * 2000])
def test_any_text_has_an_alpha(text: str) -> None:
    assert text_alpha(text, 13).shape[0] == 13


def test_results_are_shared_and_read_only() -> None:
    assert text_alpha("sky", 13) is text_alpha("sky", 13)
    assert not text_alpha("sky", 13).flags.writeable
    assert not rounded_box_alpha((9, 9), 2.0).flags.writeable


@pytest.mark.parametrize("size", [(40, 20), (41, 33), (7, 100)])
def test_a_box_without_radius_is_full(size: tuple[int, int]) -> None:
    alpha = rounded_box_alpha(size, 0.0)
    assert alpha.shape == size[::-1]
    assert (alpha == 255).all()


@pytest.mark.parametrize(("size", "radius"), [((60, 40), 8.0), ((61, 41), 12.5), ((40, 40), 20.0)])
def test_a_rounded_box_covers_its_area(size: tuple[int, int], radius: float) -> None:
    alpha = rounded_box_alpha(size, radius)
    area = size[0] * size[1] - (4 - math.pi) * radius**2
    # Coverage by distance is not exact on a curve: a hundredth of a pixel for each pixel of arc.
    assert alpha.sum() / 255 == pytest.approx(area, abs=0.02 * 2 * math.pi * radius)
    np.testing.assert_array_equal(alpha, alpha[::-1, ::-1])
    assert alpha[0, 0] < 128
    assert alpha[size[1] // 2, size[0] // 2] == 255


def test_a_radius_too_large_makes_a_pill() -> None:
    np.testing.assert_array_equal(rounded_box_alpha((60, 20), 99.0), rounded_box_alpha((60, 20), 10.0))
