"""Pictures fitted to frames: geometry by ramps that tell where each sample came from, colour against float64."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest

from rtseg.ops.arrays import U8, as_u8
from rtseg.ops.colour import Colour, Matrix, rgb_to_planes, rgb_to_yuv_matrix, yuv_to_rgb_matrix
from rtseg.ops.fit import Planes, contain, contain_box, convert, cover, cover_box

SUBSAMPLINGS = {"420": (2, 2), "422": (2, 1), "444": (1, 1)}
MATRICES: tuple[Matrix, ...] = ("bt601", "bt709", "bt2020")
COLOURS = [Colour(matrix, full) for matrix in MATRICES for full in (False, True)]


def name_of(colour: Colour) -> str:
    return f"{colour.matrix}{' full' if colour.full_range else ''}"


def chroma_of(size: tuple[int, int], chroma: str) -> tuple[int, int]:
    sx, sy = SUBSAMPLINGS[chroma]
    return -(-size[0] // sx), -(-size[1] // sy)


def ramps(size: tuple[int, int], chroma: str) -> Planes:
    """Y and U tell the column and V the row, 0..250 over the picture, whatever the plane's own size."""

    def across(n: tuple[int, int]) -> U8:
        return np.tile(np.rint((np.arange(n[0]) + 0.5) / n[0] * 250).astype(np.uint8), (n[1], 1))

    small = chroma_of(size, chroma)
    return across(size), across(small), np.ascontiguousarray(across(small[::-1]).T)


@pytest.mark.parametrize(
    ("size", "target", "box"),
    [
        ((1920, 1080), (1280, 720), (0, 0, 1920, 1080)),
        ((1000, 1000), (1280, 720), (0, 219, 1000, 781)),
        ((3000, 1000), (1000, 1000), (1000, 0, 2000, 1000)),
        ((100, 4000), (1280, 720), (0, 1972, 100, 2028)),
        ((1, 1), (1280, 720), (0, 0, 1, 1)),
    ],
)
def test_the_crop_is_the_largest_centred_one(
    size: tuple[int, int], target: tuple[int, int], box: tuple[int, int, int, int]
) -> None:
    assert cover_box(size, target) == box


@pytest.mark.parametrize("size", [(1001, 777), (640, 480), (333, 1000), (3, 2)])
@pytest.mark.parametrize("target", [(1280, 720), (720, 1280), (100, 100)])
def test_cuts_lie_on_whole_chroma_samples(size: tuple[int, int], target: tuple[int, int]) -> None:
    x0, y0, x1, y1 = cover_box(size, target, step=(2, 2))
    assert 0 <= x0 < x1 <= size[0]
    assert 0 <= y0 < y1 <= size[1]
    assert x0 % 2 == y0 % 2 == 0
    assert x1 == size[0] or x1 % 2 == 0
    assert y1 == size[1] or y1 % 2 == 0
    assert (x0, x1) == (0, size[0]) or (y0, y1) == (0, size[1])


def test_containing_is_covering_the_other_way_round() -> None:
    assert contain_box((640, 480), (1280, 720), step=(2, 2)) == (160, 0, 1120, 720)


@pytest.mark.parametrize("of", SUBSAMPLINGS)
@pytest.mark.parametrize("into", SUBSAMPLINGS)
@pytest.mark.parametrize(
    ("size", "target"),
    [((640, 360), (320, 180)), ((400, 400), (640, 360)), ((200, 600), (640, 360)), ((161, 121), (319, 181))],
)
def test_covering_keeps_every_sample_in_its_place(
    of: str, into: str, size: tuple[int, int], target: tuple[int, int]
) -> None:
    small = chroma_of(target, into)
    got = cover(ramps(size, of), target, small)
    assert [plane.shape for plane in got] == [target[::-1], small[::-1], small[::-1]]
    # What a float64 crop about the centre shows at each sample, of the whole picture's 0..250.
    scale = max(target[0] / size[0], target[1] / size[1])
    spans = [t / scale / n for t, n in zip(target, size, strict=True)]
    for plane, axis in zip(got, (0, 0, 1), strict=True):
        n = plane.shape[1 - axis]
        where = 0.5 + ((np.arange(n) + 0.5) / n - 0.5) * spans[axis]
        line = plane[plane.shape[0] // 2] if axis == 0 else plane[:, plane.shape[1] // 2]
        # Two source samples: one for the cut on whole chroma samples, one for bilinear ends and odd sides.
        tolerance = 1.5 + 2 * 250 / size[axis]
        np.testing.assert_allclose(line.astype(float), where * 250, atol=tolerance)


def test_planes_that_fit_already_are_given_back() -> None:
    planes = ramps((64, 36), "420")
    got = cover(planes, (64, 36), (32, 18))
    for plane, same in zip(got, planes, strict=True):
        assert np.shares_memory(plane, same)


@pytest.mark.parametrize("into", SUBSAMPLINGS)
def test_containing_shows_all_of_the_picture_on_a_ground(into: str) -> None:
    target = (320, 180)
    got = contain(ramps((120, 120), "420"), target, chroma_of(target, into), pad=(16, 100, 200))
    sx, sy = SUBSAMPLINGS[into]
    for plane, ground in zip(got, (16, 100, 200), strict=True):
        step = sx if plane is not got[0] else 1
        assert (plane[:, : 70 // step] == ground).all()
        assert (plane[:, 250 // step :] == ground).all()
    inside = got[0][90, 70:250].astype(float)
    np.testing.assert_allclose(inside, (np.arange(180) + 0.5) / 180 * 250, atol=2.5)
    rows = got[2][:, got[2].shape[1] // 2].astype(float)
    np.testing.assert_allclose(rows, (np.arange(len(rows)) + 0.5) / len(rows) * 250, atol=4.5)
    assert got[1].shape == (180 // sy, 320 // sx)


@pytest.mark.parametrize(("have", "want"), list(itertools.product(COLOURS, COLOURS)), ids=name_of)
def test_colours_convert_within_two_levels_of_float64(have: Colour, want: Colour) -> None:
    rng = np.random.default_rng(2)
    # Blocks, so that chroma at half size is what luma has: every corner of the cube, and noise.
    corners = np.array(list(itertools.product((0, 255), repeat=3)), np.uint8)
    blocks = np.concatenate([corners, rng.integers(0, 256, (1016, 3), dtype=np.uint8)]).reshape(32, 32, 3)
    rgb = as_u8(cv2.resize(blocks, (256, 256), interpolation=cv2.INTER_NEAREST))
    planes = rgb_to_planes(rgb, have)
    got = convert(planes, have, want)
    full = [planes[0], *(cv2.resize(p, (256, 256), interpolation=cv2.INTER_NEAREST) for p in planes[1:])]
    back = yuv_to_rgb_matrix(have).astype(np.float64)
    there = rgb_to_yuv_matrix(want).astype(np.float64)
    seen = np.stack([p.astype(np.float64) for p in full], axis=-1) @ back[:, :3].T + back[:, 3]
    expected = np.clip(seen @ there[:, :3].T + there[:, 3], 0, 255)
    centres = np.s_[3:256:8, 3:256:8]  # away from the edges of the blocks, where bilinear chroma differs
    assert np.abs(got[0][centres] - expected[centres][..., 0]).max() <= 2
    for plane, channel in zip(got[1:], (1, 2), strict=True):
        assert np.abs(plane[1:128:4, 1:128:4] - expected[centres][..., channel]).max() <= 2


def test_the_same_colour_is_not_touched() -> None:
    planes = ramps((64, 36), "420")
    assert convert(planes, Colour(), Colour()) is planes


@pytest.mark.parametrize("chroma", SUBSAMPLINGS)
def test_grey_stays_grey_in_every_matrix(chroma: str) -> None:
    small = chroma_of((64, 36), chroma)
    grey = np.full(small[::-1], 128, np.uint8)
    luma = ramps((64, 36), chroma)[0]
    y, u, v = convert((luma, grey, grey), Colour("bt601", full_range=True), Colour("bt2020", full_range=True))
    np.testing.assert_array_equal(y, luma)
    assert (u == 128).all()
    assert (v == 128).all()
