"""Outlines: on the edge, of the width asked for, and smooth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from rtseg.effects.outline import Outline
from rtseg.errors import ConfigError
from rtseg.ops.arrays import U8
from rtseg.types import Frame, Layer, Regions, Size, Solid

NAMES = ("person", "cat")


def frame(width: int = 640, height: int = 360) -> Frame:
    chroma = np.full((-(-height // 2), -(-width // 2)), 128, np.uint8)
    return Frame((np.full((height, width), 100, np.uint8), chroma, chroma))


def halves(size: tuple[int, int] = (256, 144)) -> Regions:
    """A person in the left half and a cat in the lower half."""
    width, height = size
    person, cat = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8)
    person[:, : width // 2] = 255
    cat[height // 2 :] = 255
    return Regions(np.stack([person, cat]), NAMES, 0, Size(640, 360))


def alpha_of(layers: Sequence[Layer]) -> U8:
    (layer,) = layers
    assert layer.box is None
    assert isinstance(layer.alpha, np.ndarray)
    return layer.alpha


@pytest.mark.parametrize(("percent", "pixels"), [(0.1, 2), (0.6, 2), (1.2, 4), (2.5, 8), (5.0, 18)])
def test_the_line_is_as_wide_as_asked_and_lies_on_the_edge(percent: float, pixels: int) -> None:
    alpha = alpha_of(Outline(names=["person"], width=percent)(frame(), halves(), ())).astype(float) / 255
    profile = alpha[100]
    assert profile.sum() == pytest.approx(pixels, abs=0.6)
    centre = (profile * (np.arange(640) + 0.5)).sum() / profile.sum()
    assert centre == pytest.approx(320, abs=0.5)
    assert profile.max() == 1.0


def test_lines_are_anti_aliased() -> None:
    y, x = np.mgrid[:144, :256]
    disc = np.clip(127.5 + 255 * (50 - np.hypot(x - 128, y - 72)) / 4, 0, 255).astype(np.uint8)
    alpha = alpha_of(Outline()(frame(), Regions(disc[None], ("person",), 0, Size(640, 360)), ()))
    line = alpha[alpha > 0]
    assert ((line > 20) & (line < 235)).mean() > 0.2


def test_every_named_mask_has_its_line_in_one_layer() -> None:
    both = alpha_of(Outline()(frame(), halves(), ()))
    person = alpha_of(Outline(names=["person"])(frame(), halves(), ()))
    cat = alpha_of(Outline(names=["cat"])(frame(), halves(), ()))
    np.testing.assert_array_equal(both, np.maximum(person, cat))
    assert person[:, 320].all()
    assert not person[:, :310].any()
    assert cat[180].all()


def test_the_colour_is_the_one_given() -> None:
    (layer,) = Outline(rgb=(1, 2, 3))(frame(), halves(), ())
    assert layer.paint == Solid((1, 2, 3))


@pytest.mark.parametrize("level", [0, 255, 80])
def test_without_an_edge_there_is_no_layer(level: int) -> None:
    even = Regions(np.full((1, 144, 256), level, np.uint8), ("person",), 0, Size(640, 360))
    assert Outline()(frame(), even, ()) == ()


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1280, 720), (360, 640)), ((320, 180), (180, 320)), ((641, 361), (360, 640)), ((9, 5), (5, 9))],
)
def test_lines_are_drawn_at_640_columns_or_fewer(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert alpha_of(Outline()(frame(*size), halves(), ())).shape == expected


@pytest.mark.parametrize("width", [0.0, -1.0, 5.1, float("nan")])
def test_a_width_out_of_range_is_refused(width: float) -> None:
    with pytest.raises(ConfigError, match="must be over 0 and up to 5 percent of the height, not"):
        Outline(width=width)


def test_names_that_the_model_lacks_are_refused() -> None:
    with pytest.raises(ConfigError, match="the model has no 'dog': choose from person, cat"):
        Outline(names=["dog"])(frame(), halves(), ())
