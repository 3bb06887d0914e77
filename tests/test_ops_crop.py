"""Parts of planes against the same in float64."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from rtseg.aim import on_pixels
from rtseg.framing import framed
from rtseg.glide import View
from rtseg.ops.arrays import U8, as_u8
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


@pytest.mark.parametrize("part", [(21.0, 13.0, 69.0, 40.0), (20.25, 10.75, 80.6, 44.71), (0.3, 0.2, 95.5, 53.75)])
def test_every_sample_is_the_bilinear_one_at_its_centre(part: Part) -> None:
    plane = noise(96, 54)
    found = crop(plane, part).astype(np.float64)
    x = part[0] + (np.arange(96) + 0.5) * (part[2] - part[0]) / 96 - 0.5
    y = part[1] + (np.arange(54) + 0.5) * (part[3] - part[1]) / 54 - 0.5
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    fx, fy = x - left, (y - top)[:, None]

    def at(rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(plane[np.clip(rows, 0, 53)][:, np.clip(columns, 0, 95)], np.float64)

    upper = at(top, left) * (1 - fx) + at(top, left + 1) * fx
    lower = at(top + 1, left) * (1 - fx) + at(top + 1, left + 1) * fx
    wanted = upper * (1 - fy) + lower * fy
    inner = np.s_[2:-2, 2:-2]  # whole parts repeat their own edges there
    assert np.abs(found - wanted)[inner].max() <= 1.0


@pytest.mark.parametrize("chroma", [(48, 27), (48, 54), (96, 54)], ids=["4:2:0", "4:2:2", "4:4:4"])
@pytest.mark.parametrize("view", [View(0.43, 0.52, 0.61, 0.61), View(0.7, 0.3, 0.55, 0.55), View(0.5, 0.5, 0.5, 0.5)])
def test_all_planes_show_the_same_part_whatever_their_subsampling(chroma: tuple[int, int], view: View) -> None:
    """A ramp over the picture, read at the centre of every sample: half a pixel off would be 1.2 levels in U."""
    planes = ramp(96, 54, 200, 20), ramp(*chroma, 220, 10), ramp(*chroma, -40, 200, start=48)
    picture = framed(Frame(planes, alpha=ramp(96, 54, 30, 200)), view)
    x0, y0, x1, y1 = view.box
    for plane, (start, across, down) in zip(
        (*picture.planes, picture.alpha), ((8, 200, 20), (8, 220, 10), (48, -40, 200), (8, 30, 200)), strict=True
    ):
        assert plane is not None
        height, width = plane.shape
        x = x0 + (np.arange(width) + 0.5) / width * (x1 - x0)
        y = y0 + (np.arange(height) + 0.5) / height * (y1 - y0)
        wanted = start + across * x + down * y[:, None]
        assert np.abs(plane - wanted)[1:-1, 1:-1].max() <= 1.0


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
