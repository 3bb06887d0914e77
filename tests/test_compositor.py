"""The compositor against its definition in float64."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from rtseg.compositor import Compositor
from rtseg.errors import FrameError
from rtseg.ops.arrays import U8, as_u8
from rtseg.ops.colour import Matrix, rgb_to_yuv_matrix
from rtseg.types import Blur, Clear, Colour, Frame, Keep, Layer, Picture, Solid

pytestmark = pytest.mark.usefixtures("either_loops")

RNG = np.random.default_rng(3)
SUBSAMPLINGS = {"420": (2, 2), "422": (2, 1), "444": (1, 1)}


def noise(width: int, height: int, colour: Colour | None = None, chroma: str = "420") -> Frame:
    sx, sy = SUBSAMPLINGS[chroma]
    shape = (-(-height // sy), -(-width // sx))
    y, u, v = (RNG.integers(0, 256, s, dtype=np.uint8) for s in ((height, width), shape, shape))
    return Frame((y, u, v), colour or Colour(), pts=7)


def soft_mask(width: int = 64, height: int = 36) -> U8:
    yy, xx = np.mgrid[:height, :width]
    levels: NDArray[np.float64] = 128 + 12 * (height / 3 - np.hypot(xx - width / 2, yy - height / 2))
    return np.clip(levels, 0, 255).astype(np.uint8)


def blended(base: U8, paint: U8 | float, mask: U8 | float) -> NDArray[np.float64]:
    """base + (paint - base) * alpha, in float64, alpha enlarged bilinearly."""
    if isinstance(mask, np.ndarray):
        alpha = cv2.resize(mask.astype(np.float64), base.shape[::-1], interpolation=cv2.INTER_LINEAR) / 255
    else:
        alpha = np.full(base.shape, mask)
    start = base.astype(np.float64)
    return np.asarray(start + (np.asarray(paint, np.float64) - start) * alpha)


def worst(got: U8, expected: NDArray[Any]) -> float:
    return float(np.abs(got.astype(np.float64) - expected).max())


@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("full_range", [True, False])
@pytest.mark.parametrize("size", [(1280, 720), (1920, 1080), (161, 121)])
def test_a_picture_is_within_two_levels_of_float64(matrix: Matrix, full_range: bool, size: tuple[int, int]) -> None:
    colour = Colour(matrix, full_range)
    frame, picture, mask = noise(*size, colour), noise(*size, colour), soft_mask()
    out = Compositor()(frame, [Layer(mask, Picture(picture))])
    for got, base, paint in zip(out.planes, frame.planes, picture.planes, strict=True):
        assert worst(got, blended(base, paint, mask)) <= 2


@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("full_range", [True, False])
@pytest.mark.parametrize("rgb", [(0, 255, 0), (255, 255, 255), (12, 34, 200)])
def test_a_solid_colour_is_within_two_levels_of_float64(
    matrix: Matrix, full_range: bool, rgb: tuple[int, int, int]
) -> None:
    colour = Colour(matrix, full_range)
    frame, mask = noise(320, 180, colour), soft_mask()
    yuv = rgb_to_yuv_matrix(colour).astype(np.float64) @ np.array([*rgb, 1.0])
    out = Compositor()(frame, [Layer(mask, Solid(rgb))])
    for got, base, value in zip(out.planes, frame.planes, yuv, strict=True):
        assert worst(got, blended(base, float(value), mask)) <= 2


@pytest.mark.parametrize("chroma", ["420", "422", "444"])
def test_layers_fold_from_the_bottom_up(chroma: str) -> None:
    frame, mask = noise(320, 180, chroma=chroma), soft_mask()
    layers = [Layer(0.5, Solid((255, 0, 0))), Layer(mask, Keep())]
    out = Compositor()(frame, layers)
    red = rgb_to_yuv_matrix(frame.colour).astype(np.float64) @ np.array([255, 0, 0, 1.0])
    for got, base, value in zip(out.planes, frame.planes, red, strict=True):
        once = blended(base, float(value), 0.5)
        alpha = cv2.resize(mask.astype(np.float64), base.shape[::-1], interpolation=cv2.INTER_LINEAR) / 255
        assert worst(got, once + (base - once) * alpha) <= 2


def test_where_alpha_is_nothing_or_all_the_result_is_exact() -> None:
    frame, picture = noise(128, 72), noise(128, 72)
    mask = np.zeros((72, 128), np.uint8)
    mask[:, 64:] = 255
    out = Compositor()(frame, [Layer(mask, Picture(picture))])
    np.testing.assert_array_equal(out.planes[0][:, :64], frame.planes[0][:, :64])
    np.testing.assert_array_equal(out.planes[0][:, 64:], picture.planes[0][:, 64:])


def figure(width: int, height: int, *, ground: int, at: tuple[float, float]) -> U8:
    """A soft disc about `at` (parts of width, height) on an even ground of 0 or 255."""
    yy, xx = np.mgrid[:height, :width]
    radius = 0.2 * height
    inside = np.clip(255 * (radius - np.hypot(xx - at[0] * width, yy - at[1] * height)) / (0.1 * height) + 127, 0, 255)
    return as_u8(np.abs(ground - inside).astype(np.uint8))


@pytest.mark.parametrize("size", [(1280, 720), (540, 960), (854, 480), (641, 361)])
@pytest.mark.parametrize("mask_size", [(256, 144), (640, 360), (100, 77), (2000, 1500)])
@pytest.mark.parametrize(("ground", "at"), [(255, (0.5, 0.9)), (255, (0.9, 0.3)), (0, (0.3, 0.5))])
def test_a_mask_even_all_around_is_placed_to_the_pixel(
    size: tuple[int, int], mask_size: tuple[int, int], ground: int, at: tuple[float, float]
) -> None:
    # Only the part that differs from the surroundings is enlarged: it must land where the whole would.
    frame, picture = noise(*size), noise(*size)
    mask = figure(*mask_size, ground=ground, at=at)
    compositor = Compositor()
    out = compositor(frame, [Layer(mask, Picture(picture))])
    for got, base, paint in zip(out.planes, frame.planes, picture.planes, strict=True):
        assert worst(got, blended(base, paint, mask)) <= 2


def test_a_mask_over_an_earlier_layer_keeps_that_layer() -> None:
    frame, picture, mask = noise(640, 360), noise(640, 360), figure(256, 144, ground=255, at=(0.5, 0.9))
    below = Compositor()(frame, [Layer(0.5, Solid((255, 0, 0)))])
    out = Compositor()(frame, [Layer(0.5, Solid((255, 0, 0))), Layer(mask, Picture(picture))])
    for got, base, paint in zip(out.planes, below.planes, picture.planes, strict=True):
        assert worst(got, blended(base, paint, mask)) <= 2


@pytest.mark.parametrize("ground", [0, 255])
def test_alpha_of_a_mask_even_all_around_is_that_of_the_whole(ground: int) -> None:
    clear, mask = np.zeros((360, 640), np.uint8), figure(256, 144, ground=ground, at=(0.6, 0.5))
    painted = Compositor()(Frame(noise(640, 360).planes, alpha=clear), [Layer(mask, Solid((1, 2, 3)))])
    cleared = Compositor()(noise(640, 360), [Layer(mask, Clear())])
    assert painted.alpha is not None
    assert cleared.alpha is not None
    assert worst(painted.alpha, blended(clear, 255.0, mask)) <= 2
    assert worst(cleared.alpha, blended(clear + 255, 0.0, mask)) <= 2


@pytest.mark.parametrize("paint", [Solid((9, 200, 30)), Blur(3.0), Keep()], ids=lambda paint: type(paint).__name__)
@pytest.mark.parametrize("ground", [0, 255])
def test_every_paint_is_the_same_in_part_and_as_a_whole(paint: Solid | Blur | Keep, ground: int) -> None:
    frame, mask = noise(640, 360), figure(256, 144, ground=ground, at=(0.6, 0.5))
    speck = mask.copy()
    speck[0, 0] = 255 - ground  # a corner unlike the rest: nothing can be left out
    whole, part = (Compositor()(frame, [Layer(m, paint)]) for m in (speck, mask))
    for got, plane in zip(part.planes, whole.planes, strict=True):
        assert worst(got[60:], plane[60:]) <= 2  # above, the speck is seen


def test_a_mask_of_paint_only_gives_the_paint() -> None:
    frame, picture = noise(128, 72), noise(128, 72)
    out = Compositor()(frame, [Layer(np.full((36, 64), 255, np.uint8), Picture(picture))])
    for got, paint in zip(out.planes, picture.planes, strict=True):
        np.testing.assert_array_equal(got, paint)


@pytest.mark.parametrize("lies", ["padded", "mirrored", "interleaved"])
def test_frames_are_read_however_they_lie_in_memory(lies: str) -> None:
    wide, picture = noise(1024, 360), noise(512, 360)
    cut = {"padded": np.s_[:, :512], "mirrored": np.s_[:, 511::-1], "interleaved": np.s_[:, ::2]}[lies]
    halved = {"padded": np.s_[:, :256], "mirrored": np.s_[:, 255::-1], "interleaved": np.s_[:, ::2]}[lies]
    y, u, v = wide.planes
    frame = Frame((y[cut], u[halved], v[halved]))
    for ground in (0, 255):
        mask = figure(256, 144, ground=ground, at=(0.6, 0.5))
        out = Compositor()(frame, [Layer(mask, Picture(picture))])
        for got, base, paint in zip(out.planes, frame.planes, picture.planes, strict=True):
            assert worst(got, blended(base, paint, mask)) <= 2


def test_no_layer_or_an_empty_one_gives_the_frame_itself() -> None:
    frame = noise(64, 36)
    compositor = Compositor()
    assert compositor(frame, []) is frame
    assert compositor(frame, [Layer(np.zeros((9, 16), np.uint8), Solid((1, 2, 3))), Layer(0.0, Keep())]) is frame


def test_the_input_is_never_written_to_and_earlier_results_stay() -> None:
    frame, mask = noise(64, 36), soft_mask()
    before = [plane.copy() for plane in frame.planes]
    compositor = Compositor()
    first = compositor(frame, [Layer(mask, Solid((255, 0, 0)))])
    kept = [plane.copy() for plane in first.planes]
    compositor(noise(64, 36), [Layer(mask, Solid((0, 0, 255)))])
    for plane, copy in zip((*frame.planes, *first.planes), (*before, *kept), strict=True):
        np.testing.assert_array_equal(plane, copy)


def test_metadata_goes_through() -> None:
    frame = noise(64, 36, Colour("bt601", full_range=True))
    out = Compositor()(frame, [Layer(1.0, Solid((1, 2, 3)))])
    assert (out.pts, out.colour, out.time_base) == (frame.pts, frame.colour, frame.time_base)


def test_planes_of_a_420_picture_lie_in_one_buffer() -> None:
    out = Compositor()(noise(64, 36), [Layer(1.0, Solid((1, 2, 3)))])
    y, u, v = (plane.__array_interface__["data"][0] for plane in out.planes)
    assert (u - y, v - u) == (64 * 36, 32 * 18)


@pytest.mark.parametrize("box", [(10, 6, 40, 30), (11, 7, 38, 29), (-5, -3, 20, 9), (50, 30, 90, 60)])
def test_a_box_confines_its_layer(box: tuple[int, int, int, int]) -> None:
    frame = noise(64, 36)
    out = Compositor()(frame, [Layer(1.0, Solid((255, 255, 255)), box)])
    x0, y0, x1, y1 = box
    inside = np.zeros((36, 64), bool)
    inside[max(0, y0) : y1, max(0, x0) : x1] = True
    assert (out.planes[0][inside] == 235).all()
    np.testing.assert_array_equal(out.planes[0][~inside], frame.planes[0][~inside])


def test_chroma_under_an_odd_box_edge_is_mixed_by_half() -> None:
    frame = Frame((np.full((4, 4), 50, np.uint8), np.full((2, 2), 128, np.uint8), np.full((2, 2), 128, np.uint8)))
    out = Compositor()(frame, [Layer(1.0, Solid((255, 0, 0)), (1, 0, 4, 4))])
    v = out.planes[2]
    assert v[0, 1] == 240
    assert abs(int(v[0, 0]) - 184) <= 1


def test_a_box_outside_the_frame_changes_nothing() -> None:
    frame = noise(64, 36)
    assert Compositor()(frame, [Layer(1.0, Solid((1, 2, 3)), (100, 100, 120, 120))]) is frame


def test_a_picture_in_a_box_lands_there() -> None:
    frame, inset = noise(64, 36), noise(20, 10)
    out = Compositor()(frame, [Layer(1.0, Picture(inset), (4, 2, 24, 12))])
    np.testing.assert_array_equal(out.planes[0][2:12, 4:24], inset.planes[0])
    np.testing.assert_array_equal(out.planes[1][1:6, 2:12], inset.planes[1])


def test_a_picture_of_another_size_is_refused() -> None:
    with pytest.raises(FrameError, match="must have planes of"):
        Compositor()(noise(64, 36), [Layer(1.0, Picture(noise(32, 36)))])


def test_clear_takes_alpha_away_and_leaves_colour() -> None:
    frame, mask = noise(64, 36), soft_mask()
    out = Compositor()(frame, [Layer(mask, Clear())])
    assert out.alpha is not None
    assert out.planes[0] is frame.planes[0]
    opaque = np.full((36, 64), 255, np.uint8)
    assert worst(out.alpha, blended(opaque, 0.0, mask)) <= 2


def test_paint_over_a_transparent_frame_makes_it_opaque() -> None:
    frame = Frame(noise(64, 36).planes, alpha=np.zeros((36, 64), np.uint8))
    out = Compositor()(frame, [Layer(1.0, Solid((1, 2, 3)), (0, 0, 32, 36))])
    assert out.alpha is not None
    assert (out.alpha[:, :32] == 255).all()
    assert not out.alpha[:, 32:].any()


def test_blur_does_not_smear_what_its_layer_leaves_alone() -> None:
    luma = np.full((180, 320), 60, np.uint8)
    person = np.zeros((180, 320), np.uint8)
    person[40:180, 120:200] = 255
    luma[person == 255] = 235
    chroma = np.full((90, 160), 128, np.uint8)
    frame = Frame((luma, chroma, chroma))
    background = 255 - person
    out = Compositor()(frame, [Layer(background, Blur(5.0))])
    # The bright person may not lighten the dark wall around: one level for rounding.
    assert np.abs(out.planes[0][person == 0].astype(int) - 60).max() <= 1
    np.testing.assert_array_equal(out.planes[0][person == 255], luma[person == 255])


@pytest.mark.parametrize("strength", [0.5, 1.0, 2.5, 5.0, 10.0])
def test_blur_is_a_gaussian_of_its_strength(strength: float) -> None:
    xs = np.arange(640)
    step = np.where(xs < 320, 40, 200).astype(np.uint8)
    chroma = np.full((180, 320), 128, np.uint8)
    frame = Frame((np.tile(step, (360, 1)), chroma, chroma))
    row = Compositor()(frame, [Layer(1.0, Blur(strength))]).planes[0][180].astype(float)
    sigma = strength / 100 * 360
    expected = cv2.GaussianBlur(np.tile(step.astype(np.float64), (3, 1)), (0, 0), sigma)[1]
    # Working on reduced planes widens the kernel by the two interpolations: at most 6 levels of a step of 160.
    assert np.abs(row - expected).max() <= 6
    assert 100 < row[320] < 140


def test_blur_of_the_untouched_frame_has_nothing_of_layers_below() -> None:
    frame, mask = noise(320, 180), soft_mask()
    below = Layer(np.full((18, 32), 255, np.uint8), Solid((255, 0, 0)))
    of_frame = Compositor()(frame, [below, Layer(mask, Blur(untouched=True))])
    of_layers = Compositor()(frame, [below, Layer(mask, Blur())])
    alone = Compositor()(frame, [Layer(mask, Blur())])
    sure = cv2.resize(mask, (320, 180), interpolation=cv2.INTER_LINEAR) == 255
    assert sure.any()
    np.testing.assert_array_equal(of_frame.planes[0][sure], alone.planes[0][sure])
    assert np.abs(of_layers.planes[0][sure].astype(int) - alone.planes[0][sure]).min() > 4  # red is darker


def test_blur_of_an_even_picture_is_the_picture() -> None:
    chroma = np.full((18, 32), 90, np.uint8)
    frame = Frame((np.full((36, 64), 100, np.uint8), chroma, chroma))
    out = Compositor()(frame, [Layer(soft_mask(), Blur(3.0))])
    for got, base in zip(out.planes, frame.planes, strict=True):
        assert worst(got, base) <= 1
