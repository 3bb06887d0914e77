"""Parts of planes against the same in float64."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from rtseg.aim import on_pixels
from rtseg.framing import framed
from rtseg.glide import View
from rtseg.ops.arrays import U8, Scratch, as_u8, empty_planes
from rtseg.ops.boxes import large_areas
from rtseg.ops.crop import Part, crop
from rtseg.types import Frame


def noise(width: int, height: int) -> U8:
    return np.random.default_rng(1).integers(0, 256, (height, width), dtype=np.uint8)


def ramp(width: int, height: int, across: float, down: float, *, start: float = 8.0) -> U8:
    """Levels by the place in the picture, 0..1 each way, at half-pixel centres: the same picture at any size."""
    x, y = (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height
    return as_u8(np.rint(start + across * x + down * y[:, None]).astype(np.uint8))


def test_a_half_at_whole_pixels_is_opencvs_resize_of_that_part() -> None:
    plane = noise(96, 54)
    wanted = cv2.resize(plane[13:40, 21:69], (96, 54), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(crop(plane, (21.0, 13.0, 69.0, 40.0)), wanted)


PARTS = [(20.25, 10.75, 80.6, 44.71), (0.3, 0.2, 95.5, 53.75), (21.37, 13.61, 69.37, 40.61), (31.2, 20.0, 95.0, 53.9)]


def bilinear(plane: U8, part: Part) -> NDArray[np.float64]:
    """The definition, in float64."""
    height, width = plane.shape
    x = part[0] + (np.arange(width) + 0.5) * (part[2] - part[0]) / width - 0.5
    y = part[1] + (np.arange(height) + 0.5) * (part[3] - part[1]) / height - 0.5
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    fx, fy = x - left, (y - top)[:, None]
    rows = [np.clip(top + i, 0, height - 1) for i in (0, 1)]
    columns = [np.clip(left + i, 0, width - 1) for i in (0, 1)]
    upper, lower = (plane[r][:, columns[0]] * (1 - fx) + plane[r][:, columns[1]] * fx for r in rows)
    return np.asarray(upper * (1 - fy) + lower * fy)


@pytest.mark.parametrize("part", PARTS)
def test_a_ramp_is_within_a_level_of_float64_and_not_beside_its_place(part: Part) -> None:
    plane = ramp(96, 54, 180, 60)
    apart = (crop(plane, part) - bilinear(plane, part))[1:-1, 1:-1]
    assert np.abs(apart).max() <= 1.0
    assert abs(apart.mean()) <= 0.1  # a twentieth of a pixel


def test_parts_at_the_edges_may_be_beside_them_by_what_floats_lose() -> None:
    plane = noise(96, 54)
    for part in ((-1e-14, -1e-14, 70.3, 39.5), (25.7, 14.5, 96 + 1e-13, 54 + 1e-13)):
        inside = min(max(part[0], 0), 96), min(max(part[1], 0), 54), min(part[2], 96.0), min(part[3], 54.0)
        np.testing.assert_array_equal(crop(plane, part), crop(plane, inside))


def test_a_given_plane_is_written_into_and_memory_is_kept() -> None:
    plane, scratch = noise(96, 54), Scratch()
    luma, chroma = empty_planes([(54, 96), (27, 48)])
    for part in (PARTS[2], (21.0, 13.0, 69.0, 40.0), PARTS[0]):
        crop(plane, part, out=luma, scratch=scratch)
        np.testing.assert_array_equal(luma, crop(plane, part))
    assert len(scratch._kept) == 1
    assert chroma.ctypes.data == luma.ctypes.data + 54 * 96


@pytest.mark.parametrize(("part", "most"), list(zip(PARTS, (0.7, 2.1, 0.7, 0.7), strict=True)))
def test_pictures_are_hardly_softer_than_one_bilinear_step_makes_them(part: Part, most: float) -> None:
    """Of fine structure from 0 to 255; nearly unenlarged, as the second, there is no better place to begin."""
    blurred = cv2.GaussianBlur(noise(96, 54), (0, 0), 1.5).astype(np.float64)
    plane = as_u8(((blurred - blurred.min()) * 255 / np.ptp(blurred)).astype(np.uint8))
    apart = np.abs(crop(plane, part) - bilinear(plane, part))[2:-2, 2:-2]
    assert apart.mean() < most


@pytest.mark.parametrize("chroma", [(48, 27), (48, 54), (96, 54)], ids=["4:2:0", "4:2:2", "4:4:4"])
@pytest.mark.parametrize("view", [View(0.43, 0.52, 0.61, 0.61), View(0.7, 0.3, 0.55, 0.55), View(0.5, 0.5, 0.5, 0.5)])
def test_all_planes_show_the_same_part_whatever_their_subsampling(chroma: tuple[int, int], view: View) -> None:
    """A ramp over the picture, read at the centre of every sample."""
    planes = ramp(96, 54, 200, 20), ramp(*chroma, 220, 10), ramp(*chroma, -40, 200, start=48)
    given = Frame(planes, alpha=ramp(96, 54, 30, 200))
    picture = framed(given, view)
    x0, y0, x1, y1 = view.box
    ways = (8, 200, 20), (8, 220, 10), (48, -40, 200), (8, 30, 200)
    for plane, before, (start, across, down) in zip(
        (*picture.planes, picture.alpha), (*planes, given.alpha), ways, strict=True
    ):
        assert plane is not None
        assert before is not None
        height, width = plane.shape
        x = x0 + (np.arange(width) + 0.5) / width * (x1 - x0)
        y = y0 + (np.arange(height) + 0.5) / height * (y1 - y0)
        truth = start + across * x + down * y[:, None]
        inner = np.s_[1:-1, 1:-1]
        # Three roundings of half a level: the ramp's own, the enlargement's, the shift's.
        assert np.abs(plane - truth)[inner].max() <= 1.5
        # Half a pixel beside its place it would be 1.0 in Y and 2.3 in U of 4:2:0; rounding alone is up to 0.3, since
        # enlarged steps have few fractions.
        apart = plane - bilinear(before, (x0 * width, y0 * height, x1 * width, y1 * height))
        assert abs(apart[inner].mean()) <= 0.35


def test_a_resting_window_lies_on_whole_pixels_of_every_plane() -> None:
    size = (1366, 768)
    view = on_pixels(View(0.481, 0.377, 0.613, 0.613), size)
    box = [side * pixels for side, pixels in zip(view.box, (*size, *size), strict=True)]
    np.testing.assert_allclose(box, np.rint(np.array(box) / 2) * 2, atol=1e-9)
    assert view.width / view.height == pytest.approx(1, abs=1 / 837 + 1 / 471)  # a pixel each way


def test_areas_are_large_by_the_picture_and_by_the_largest() -> None:
    mask = np.zeros((50, 100), np.uint8)
    mask[10:30, 10:40] = 255  # 600
    mask[40:45, 60:70] = 200  # 50
    mask[2:4, 90:92] = 255  # 4
    mask[35:39, 5:9] = 127  # not sure
    assert large_areas(mask, least=0.001)[:, :4].tolist() == [[10, 10, 30, 20], [60, 40, 10, 5]]
    assert large_areas(mask, least=0.001, of_largest=0.1)[:, 4].tolist() == [600]
    assert len(large_areas(np.zeros((5, 5), np.uint8), least=0.0)) == 0
