"""Frames for the encoder: without a copy where that is possible, and right where it is not."""

from __future__ import annotations

import numpy as np
import pytest
from written import moving_frame, plane

from rtseg.compositor import Compositor
from rtseg.sinks.planes import Converter
from rtseg.types import U8, Colour, Frame, Layer, Solid


def frame_of(y: U8, u: U8, v: U8, colour: Colour = Colour(), alpha: U8 | None = None) -> Frame:  # noqa: B008
    return Frame((y, u, v), colour, alpha=alpha)


def ramp(height: int, width: int, scale: int = 1) -> U8:
    return (np.add.outer(np.arange(height), np.arange(width)) * scale % 256).astype(np.uint8)


def test_the_compositors_planes_are_handed_over_without_a_copy() -> None:
    painted = Compositor()(moving_frame(0), [Layer(0.5, Solid((200, 30, 40)))])
    converter = Converter(painted, "yuv420p", even=True, colour=painted.colour)
    given = converter(painted)
    for i, mine in enumerate(painted.planes):
        theirs = np.asarray(memoryview(given.planes[i]))
        assert theirs.__array_interface__["data"][0] == mine.__array_interface__["data"][0]
        np.testing.assert_array_equal(plane(given, i), mine)


def test_memory_that_was_handed_over_outlives_the_frame() -> None:
    frame = moving_frame(5)
    expected = frame.planes[0].copy()
    given = Converter(frame, "yuv420p", even=True, colour=frame.colour)(frame)
    del frame
    np.testing.assert_array_equal(plane(given, 0), expected)


@pytest.mark.parametrize("spoil", ["order", "gap", "stride", "other array"])
def test_planes_that_only_look_like_one_block_are_copied(spoil: str) -> None:
    y, u, v = ramp(8, 12), ramp(4, 6, 3), ramp(4, 6, 5)
    block = np.zeros(400, np.uint8)
    luma = block[:96].reshape(8, 12)
    match spoil:
        case "order":
            planes = (luma, block[120:144].reshape(4, 6), block[96:120].reshape(4, 6))
        case "gap":
            planes = (luma, block[100:124].reshape(4, 6), block[124:148].reshape(4, 6))
        case "stride":
            planes = (block[:160].reshape(8, 20)[:, :12], block[160:184].reshape(4, 6), block[184:208].reshape(4, 6))
        case _:
            planes = (luma, block[96:120].reshape(4, 6), np.zeros((4, 6), np.uint8))
    for target, source in zip(planes, (y, u, v), strict=True):
        target[:] = source
    given = Converter(frame_of(*planes), "yuv420p", even=True, colour=Colour())(frame_of(*planes))
    for i, source in enumerate((y, u, v)):
        np.testing.assert_array_equal(plane(given, i), source)


def test_odd_sides_repeat_the_last_column_and_row() -> None:
    y, u, v = ramp(5, 7), ramp(3, 4, 3), ramp(3, 4, 5)
    given = Converter(frame_of(y, u, v), "yuv420p", even=True, colour=Colour())(frame_of(y, u, v))
    np.testing.assert_array_equal(plane(given, 0), np.pad(y, ((0, 1), (0, 1)), mode="edge"))
    np.testing.assert_array_equal(plane(given, 1), u)
    np.testing.assert_array_equal(plane(given, 2), v)


@pytest.mark.parametrize("chroma", [(8, 6), (8, 12)], ids=["4:2:2", "4:4:4"])
def test_other_subsamplings_keep_luma_and_average_chroma(chroma: tuple[int, int]) -> None:
    y = ramp(8, 12, 2)
    u, v = np.full(chroma, 90, np.uint8), np.full(chroma, 170, np.uint8)
    given = Converter(frame_of(y, u, v), "yuv420p", even=True, colour=Colour())(frame_of(y, u, v))
    np.testing.assert_array_equal(plane(given, 0), y)
    assert np.abs(plane(given, 1).astype(int) - 90).max() <= 1
    assert np.abs(plane(given, 2).astype(int) - 170).max() <= 1


def test_colours_that_change_are_brought_to_the_first_ones() -> None:
    grey = np.full((8, 8), 128, np.uint8)
    first = frame_of(ramp(8, 8), grey[:4, :4], grey[:4, :4])
    full = frame_of(np.full((8, 8), 255, np.uint8), grey[:4, :4], grey[:4, :4], Colour("bt601", full_range=True))
    converter = Converter(first, "yuv420p", even=True, colour=first.colour)
    converter(first)
    assert np.abs(plane(converter(full), 0).astype(int) - 235).max() <= 1


def test_bars_are_clear_where_there_is_alpha() -> None:
    first = frame_of(ramp(16, 32), ramp(8, 16), ramp(8, 16), alpha=np.full((16, 32), 255, np.uint8))
    tall = frame_of(ramp(32, 16), ramp(16, 8), ramp(16, 8), alpha=np.full((32, 16), 255, np.uint8))
    converter = Converter(first, "yuva420p", even=False, colour=first.colour)
    alpha = plane(converter(tall), 3)
    assert alpha[:, :10].max() == 0
    assert alpha[:, 12:20].min() == 255
    assert alpha[:, 22:].max() == 0


def test_a_frame_without_alpha_among_those_with_it_is_opaque() -> None:
    first = frame_of(ramp(8, 8), ramp(4, 4), ramp(4, 4), alpha=np.zeros((8, 8), np.uint8))
    converter = Converter(first, "yuva420p", even=False, colour=first.colour)
    assert plane(converter(first), 3).max() == 0
    assert plane(converter(frame_of(*first.planes)), 3).min() == 255
