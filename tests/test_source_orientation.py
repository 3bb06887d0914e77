"""Display matrices: pixels are shown where ISO/IEC 14496-12, 6.2.2 puts them."""

from __future__ import annotations

import logging
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from footage import moving, write_video
from numpy.typing import NDArray

from rtseg.sources.video import VideoFile
from rtseg.types import U8

Corner: TypeAlias = tuple[int, int, int, int]
"""The numbers a, b, c, d of a matrix: a pixel (x, y) is shown at (a x + c y, b x + d y)."""

TURNS: dict[str, Corner] = {
    "upright": (1, 0, 0, 1),
    "clockwise": (0, 1, -1, 0),
    "upside down": (-1, 0, 0, -1),
    "anticlockwise": (0, -1, 1, 0),
    "mirrored": (-1, 0, 0, 1),
    "mirrored, upside down": (1, 0, 0, -1),
    "mirrored, clockwise": (0, 1, 1, 0),
    "mirrored, anticlockwise": (0, -1, -1, 0),
}


def matrix_of(turn: Corner) -> list[int]:
    a, b, c, d = (65536 * number for number in turn)
    return [a, b, 0, c, d, 0, 0, 0, 1 << 30]


def moved(plane: NDArray[Any], turn: Corner) -> NDArray[Any]:
    """Pixel by pixel, as the standard says."""
    a, b, c, d = turn
    height, width = plane.shape
    y, x = np.mgrid[:height, :width]
    right, down = a * x + c * y, b * x + d * y
    right, down = right - right.min(), down - down.min()
    shown = np.zeros((down.max() + 1, right.max() + 1), plane.dtype)
    shown[down, right] = plane
    return shown


def first(path: Path) -> tuple[U8, U8, U8]:
    return next(iter(VideoFile(path))).planes


@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS.keys())
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p"])
def test_every_pixel_goes_where_the_matrix_puts_it(pix_fmt: str, turn: Corner, tmp_path: Path) -> None:
    pictures = moving(2, pix_fmt=pix_fmt)
    source = VideoFile(write_video(tmp_path / "a.mp4", pictures, pix_fmt=pix_fmt, matrix=matrix_of(turn)))
    assert source.info.size == ((64, 48) if turn[0] else (48, 64))
    for frame, picture in zip(source, pictures, strict=True):
        assert all(np.array_equal(plane, moved(was, turn)) for plane, was in zip(frame.planes, picture, strict=True))
        assert all(plane.flags.c_contiguous for plane in frame.planes if turn != TURNS["upright"])
    assert not any(source.counts.values())


@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS.keys())
def test_half_chroma_is_brought_to_full_before_it_is_turned(turn: Corner, tmp_path: Path) -> None:
    """Turned, 4:2:2 would be 4:4:0: a ramp across must come out as the same ramp, to within a rounding."""
    ramp = np.tile(np.linspace(20, 220, 32).astype(np.uint8), (48, 1))
    picture = (moving(1)[0][0], ramp, np.ascontiguousarray(ramp[:, ::-1]))
    y, u, v = first(write_video(tmp_path / "a.mp4", [picture], pix_fmt="yuv422p", matrix=matrix_of(turn)))
    assert np.array_equal(y, moved(picture[0], turn))
    if u.shape == y.shape:
        fine = np.interp((np.arange(64) + 0.5) / 2 - 0.5, np.arange(32), ramp[0])
        expected = moved(np.tile(fine, (48, 1)), turn)
        assert np.abs(u - expected).max() <= 1
        assert np.abs(v - (240 - expected)).max() <= 2
    else:
        assert np.array_equal(u, moved(ramp, turn))


@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS.keys())
def test_odd_sides_are_turned_whole(turn: Corner, tmp_path: Path) -> None:
    picture = moving(1, (61, 47), pix_fmt="yuv444p")[0]
    planes = first(write_video(tmp_path / "a.mp4", [picture], pix_fmt="yuv444p", matrix=matrix_of(turn)))
    assert all(np.array_equal(plane, moved(was, turn)) for plane, was in zip(planes, picture, strict=True))


@pytest.mark.parametrize(
    "matrix",
    [
        pytest.param([46341, 46341, 0, -46341, 46341, 0, 0, 0, 1 << 30], id="45 degrees"),
        pytest.param([65287, 5712, 0, -5712, 65287, 0, 0, 0, 1 << 30], id="5 degrees"),
        pytest.param([0] * 9, id="nothing"),
        pytest.param([2**31 - 1, -(2**31), 0, 2**31 - 1, 1, 0, 0, 0, 0], id="noise"),
    ],
)
def test_a_matrix_that_is_no_turn_is_ignored_and_said_once(
    matrix: list[int], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pictures = moving(3)
    path = write_video(tmp_path / "a.mp4", pictures, matrix=matrix)
    with caplog.at_level(logging.WARNING, "rtseg"):
        source = VideoFile(path)
        frames = list(source)
    assert all(np.array_equal(f.planes[0], p[0]) for f, p in zip(frames, pictures, strict=True))
    assert source.counts["ignored_rotations"] > 0
    assert ["ignored" in record.message for record in caplog.records] == [True]


def test_a_turn_by_a_quarter_turns_the_shape_of_a_pixel(tmp_path: Path) -> None:
    turned, upright = (
        VideoFile(write_video(tmp_path / "a.mp4", moving(1), pixel=Fraction(4, 3), matrix=matrix_of(TURNS[turn])))
        for turn in ("clockwise", "upright")
    )
    assert upright.info.sample_aspect_ratio == Fraction(4, 3)
    assert turned.info.sample_aspect_ratio == Fraction(3, 4)


@pytest.mark.parametrize("name", ["sample_rotate_and_reflect.mp4", "no_timescale.mp4"])
def test_real_files_with_odd_matrices(name: str, shared: Path) -> None:
    (path,) = (shared / "corpus").rglob(name)
    source = VideoFile(path)
    frames = [frame for frame, _ in zip(source, range(5), strict=False)]
    source.close()
    assert len(frames) == 5
    assert {frame.size for frame in frames} == {source.info.size}
