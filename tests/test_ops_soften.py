"""Feathers and soft masks against their float64 formula, symmetry and area."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from rtseg.ops.arrays import U8
from rtseg.ops.soften import feather, soften

F64 = NDArray[np.float64]


def edge(at: float, *, width: int = 320, height: int = 180) -> U8:
    """All to the left of a column, which may lie within a pixel."""
    row = np.clip(at - np.arange(width), 0.0, 1.0)
    return np.tile(np.rint(255 * row).astype(np.uint8), (height, 1))


def gaussian(mask: U8, sigma: float) -> F64:
    return np.asarray(cv2.GaussianBlur(mask.astype(np.float64), (0, 0), sigma, borderType=cv2.BORDER_REPLICATE))


@pytest.mark.parametrize("sigma", [0.3, 0.7, 1.4, 2.0, 5.0, 12.0])
@pytest.mark.parametrize("at", [160.0, 151.3])
def test_a_soft_mask_is_within_five_levels_of_a_gaussian(sigma: float, at: float) -> None:
    mask = edge(at)
    assert np.abs(soften(mask, sigma) - gaussian(mask, sigma)).max() <= 5


@pytest.mark.parametrize("width", [1.0, 2.5, 6.0, 15.0])
def test_a_feather_is_its_formula(width: float) -> None:
    mask = edge(160.0)
    outward = np.maximum(mask, np.minimum(255, 2 * gaussian(mask, width / 2)))
    inward = np.minimum(mask, np.maximum(0, 2 * gaussian(mask, width / 2) - 255))
    # Twice what a reduced Gaussian may be off.
    assert np.abs(feather(mask, width) - outward).max() <= 10
    assert np.abs(feather(mask, -width) - inward).max() <= 10


@pytest.mark.parametrize("width", [1.0, 2.5, 6.0, 15.0])
@pytest.mark.parametrize("at", [160.0, 151.3])
def test_the_area_changes_by_two_fifths_of_the_width(width: float, at: float) -> None:
    mask = edge(at)
    for sign in (1, -1):
        moved = (feather(mask, sign * width).astype(float).sum() - mask.sum()) / 255 / len(mask)
        assert moved == pytest.approx(sign * width / np.sqrt(2 * np.pi), abs=0.05 * width + 0.15)


@pytest.mark.parametrize("width", [-9.0, -3.0, 1.0, 3.0, 9.0])
@pytest.mark.parametrize("shape", [(180, 320), (144, 256), (135, 241)])
def test_what_is_symmetric_stays_so(width: float, shape: tuple[int, int]) -> None:
    y, x = np.mgrid[: shape[0], : shape[1]]
    inside = 0.3 * shape[0] - np.hypot(x - (shape[1] - 1) / 2, y - (shape[0] - 1) / 2)
    out = feather(np.rint(255 * np.clip(0.5 + inside, 0, 1)).astype(np.uint8), width).astype(int)
    assert np.abs(out - out[:, ::-1]).max() <= 2
    assert np.abs(out - out[::-1]).max() <= 2


def test_a_hair_is_not_lost_outward_and_a_gap_not_inward() -> None:
    hair = np.zeros((90, 160), np.uint8)
    hair[:, 80] = 200
    assert (feather(hair, 4.0) >= hair).all()
    assert (feather(255 - hair, -4.0) <= 255 - hair).all()


def test_no_width_and_no_edge_change_nothing() -> None:
    mask = edge(70.4)
    assert feather(mask, 0.0) is mask
    for level in (0, 255):
        even = np.full((20, 30), level, np.uint8)
        for width in (-5.0, 5.0):
            np.testing.assert_array_equal(feather(even, width), even)


def test_a_subject_cut_by_the_frame_is_whole_there() -> None:
    mask = np.zeros((90, 160), np.uint8)
    mask[40:, 50:110] = 255
    assert (feather(mask, -6.0)[-1, 70:90] == 255).all()
