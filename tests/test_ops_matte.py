from __future__ import annotations

import cv2
import numpy as np
import pytest

from rtseg.ops.arrays import U8, as_u8
from rtseg.ops.matte import EdgeModel, drop_islands

pytestmark = pytest.mark.usefixtures("either_loops")


def disc(size: tuple[int, int], centre: tuple[float, float], radius: float, softness: float = 2.0) -> U8:
    width, height = size
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(x + 0.5 - centre[0], y + 0.5 - centre[1])
    return as_u8(np.rint(255 * np.clip(0.5 + (radius - distance) / (2 * softness), 0, 1)).astype(np.uint8))


@pytest.mark.parametrize("size", [(64, 36), (65, 37)])
def test_faint_islands_go_and_soft_edges_stay(size: tuple[int, int]) -> None:
    person = disc(size, (20, 18), 10)
    ghost = (disc(size, (50, 18), 6).astype(int) * 120 // 255).astype(np.uint8)
    mask = np.maximum(person, ghost)
    mask[0, 0] = 30
    np.testing.assert_array_equal(drop_islands(mask, low=48, high=160), person)


def test_what_joins_the_subject_stays_however_faint() -> None:
    person = disc((64, 36), (20, 18), 10)
    arm = np.zeros_like(person)
    arm[16:20, 20:60] = 60
    kept = drop_islands(np.maximum(person, arm), low=48, high=160)
    np.testing.assert_array_equal(kept[16:20, 34:60], 60)


def test_without_confidence_nothing_is_left() -> None:
    mask = np.full((36, 64), 159, np.uint8)
    assert not drop_islands(mask, low=48, high=160).any()
    np.testing.assert_array_equal(drop_islands(mask + np.uint8(1), low=48, high=160), mask + np.uint8(1))


def reference(mask: U8, coarse: U8, fine: U8) -> U8:
    """The formula of `EdgeModel` in float64 over the whole plane."""
    m, y = mask / 255.0, coarse.astype(np.float64)
    weight, own, everything = (np.asarray(cv2.blur(plane, (7, 7))) for plane in (m, m * y, y))
    around = (everything - own) / (1.001 - weight)
    contrast = own / (weight + 0.001) - around
    unsure = (mask >= 6) & (mask <= 249)
    total = contrast**2 + 96.0**2
    gain = np.where(unsure, 2 * 255 * contrast / total, 0)
    steep = np.clip((mask - 127.5) * 2 + 127.5, 0, 255).astype(np.uint8)
    offset = np.where(unsure, 2 * 255 * (96.0**2 * m - contrast * around) / total - 127.5, steep)
    size = fine.shape[::-1]
    alpha = cv2.resize(gain, size) * fine + cv2.resize(offset, size)
    return as_u8(np.rint(np.clip(alpha, 0, 255)).astype(np.uint8))


@pytest.mark.parametrize(
    ("small", "large"), [((64, 36), (128, 72)), ((64, 36), (160, 90)), ((60, 44), (61, 47)), ((64, 36), (64, 36))]
)
@pytest.mark.parametrize(("centre", "radius"), [((30, 20), 9), ((0, 0), 14), ((30, 38), 20), ((32, 18), 60)])
def test_edge_model_equals_its_formula(
    small: tuple[int, int], large: tuple[int, int], centre: tuple[float, float], radius: float
) -> None:
    rng = np.random.default_rng(2)
    mask = disc(small, centre, radius)
    fine = rng.integers(0, 256, large[::-1], dtype=np.uint8)
    coarse = as_u8(cv2.resize(fine, small, interpolation=cv2.INTER_AREA))
    out = np.full(large[::-1], 77, np.uint8)
    EdgeModel()(mask, coarse, fine, out=out)
    # A level for float32 and rounding.
    assert np.abs(out.astype(int) - reference(mask, coarse, fine)).max() <= 1


@pytest.mark.parametrize("level", [0, 255])
def test_a_sure_mask_stays_sure(level: int) -> None:
    mask = np.full((36, 64), level, np.uint8)
    luma = np.random.default_rng(0).integers(0, 256, (90, 160), dtype=np.uint8)
    out = np.full((90, 160), 77, np.uint8)
    EdgeModel()(mask, np.ascontiguousarray(luma[:36, :64]), luma, out=out)
    assert (out == level).all()


def test_a_misplaced_edge_moves_to_where_the_picture_has_it() -> None:
    fine = np.full((144, 256), 40, np.uint8)
    fine[:, 131:] = 220
    coarse = as_u8(cv2.resize(fine, (128, 72), interpolation=cv2.INTER_AREA))
    ramp = np.clip((np.arange(128) + 0.5 - 64.0) / 8 + 0.5, 0, 1)  # a half at 64 of 128: three pixels too far left
    mask = np.tile(np.rint(255 * ramp).astype(np.uint8), (72, 1))
    out = np.empty_like(fine)
    EdgeModel()(mask, coarse, fine, out=out)
    assert (out[72, :131] < 128).all()
    assert (out[72, 131:] >= 128).all()


def test_where_the_picture_shows_nothing_the_mask_decides() -> None:
    mask = disc((64, 36), (32, 18), 10, softness=4.0)
    flat = np.full((36, 64), 90, np.uint8)
    out = np.empty_like(flat)
    EdgeModel()(mask, flat, flat, out=out)
    steep = np.clip((mask.astype(float) - 127.5) * 2 + 127.5, 0, 255)
    # The means of the luma are rounded to float32, and F - B is taken of a thousandth less than all.
    assert np.abs(out - steep).max() <= 2


def test_edge_model_can_be_used_for_one_size_after_another() -> None:
    model, rng = EdgeModel(), np.random.default_rng(3)
    for size in [(128, 72), (32, 18), (64, 64), (128, 72)]:
        mask, luma = disc(size, (size[0] / 2, size[1] / 2), 8), rng.integers(0, 256, size[::-1], dtype=np.uint8)
        out, again = np.empty_like(mask), np.empty_like(mask)
        model(mask, luma, luma, out=out)
        EdgeModel()(mask, luma, luma, out=again)
        np.testing.assert_array_equal(out, again)
