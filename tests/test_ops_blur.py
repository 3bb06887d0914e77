"""Blurs against a float64 Gaussian, against what may not bleed into them, and against their own cost."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from rtseg.ops.arrays import U8
from rtseg.ops.blur import blur_covered
from rtseg.ops.resize import enlarge

ALL = np.full((1, 1), 255, np.uint8)
GREY = np.full((180, 320), 128, np.uint8)


def blurred(planes: tuple[U8, U8, U8], weight: U8, sigma: float) -> list[U8]:
    """At the planes' own sizes again."""
    small = blur_covered(planes, weight, sigma)
    assert len({plane.shape for plane in small}) == 1
    return [enlarge(plane, full.shape[::-1]) for plane, full in zip(small, planes, strict=True)]


def gaussian(plane: U8, sigma: float) -> NDArray[np.float64]:
    return np.asarray(cv2.GaussianBlur(plane.astype(np.float64), (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101))


def texture(height: int, width: int, low: int, high: int) -> U8:
    rng = np.random.default_rng(5)
    coarse = rng.integers(low, high + 1, (height // 40, width // 40)).astype(np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


@pytest.mark.parametrize("sigma", [3.6, 9.0, 18.0, 36.0])
def test_a_picture_without_hard_edges_is_within_two_levels_of_a_gaussian(sigma: float) -> None:
    luma, u, v = texture(360, 640, 30, 220), texture(180, 320, 90, 170), texture(180, 320, 90, 170)[::-1].copy()
    got = blurred((luma, u, v), ALL, sigma)
    for plane, out, at in ((luma, got[0], sigma), (u, got[1], sigma / 2), (v, got[2], sigma / 2)):
        inner = (slice(round(3 * at), -round(3 * at)),) * 2  # at the borders the two reflect at different pixels
        assert np.abs(out.astype(np.float64) - gaussian(plane, at))[inner].max() <= 2


@pytest.mark.parametrize("at", [(180, 320), (173, 311), (90, 400)])
def test_a_spot_of_light_is_as_bright_wherever_it_falls(at: tuple[int, int]) -> None:
    luma = np.zeros((360, 640), np.uint8)
    luma[at[0] - 10 : at[0] + 10, at[1] - 10 : at[1] + 10] = 255
    out, expected = blurred((luma, GREY, GREY), ALL, 20.0)[0], gaussian(luma, 20.0)
    # A tenth of the peak: the spot is two or three reduced pixels wide.
    assert np.abs(out - expected).max() <= 0.1 * expected.max()
    assert abs(float(out.sum()) / expected.sum() - 1) <= 0.03


@pytest.mark.parametrize("percent", [0.5, 1.0, 2.5, 5.0, 8.0, 10.0])
@pytest.mark.parametrize("left", [301, 307])
def test_a_bright_person_leaves_no_light_on_the_dark_wall(percent: float, left: int) -> None:
    wall = texture(360, 640, 38, 42)
    person = np.zeros(wall.shape, np.uint8)
    cv2.circle(person, (left, 150), 60, 255, -1)
    cv2.line(person, (left + 55, 150), (left + 150, 40), 255, 9)  # an arm, thinner than most reduced pixels
    seen = np.where(person > 0, np.uint8(235), wall)
    sigma = percent / 100 * 360
    out = blurred((seen, GREY, GREY), 255 - person, sigma)[0].astype(np.float64)
    assert np.abs(out - gaussian(wall, sigma))[person == 0].max() <= 2


@pytest.mark.parametrize("percent", [1.0, 2.5, 8.0])
@pytest.mark.parametrize("tight", [0, 5])
def test_a_small_mask_a_little_too_tight_lets_no_light_out(percent: float, tight: int) -> None:
    y, x = np.mgrid[:720, :1280]
    inside = 200 - np.hypot(x - 643, y - 401)
    seen = np.where(inside > 0, np.uint8(235), np.uint8(40))
    matte = np.clip(255 * (inside - tight) / 10 + 127, 0, 255).astype(np.uint8)
    small = np.asarray(cv2.resize(matte, (256, 144), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    chroma = np.full((360, 640), 128, np.uint8)
    out = blurred((seen, chroma, chroma), 255 - small, percent / 100 * 720)[0]
    assert int(out[enlarge(small, (1280, 720)) == 0].max()) <= 41


def test_with_no_weight_anywhere_the_whole_picture_is_blurred() -> None:
    luma = texture(360, 640, 30, 220)
    nothing = blurred((luma, GREY, GREY), np.zeros((36, 64), np.uint8), 9.0)
    everything = blurred((luma, GREY, GREY), ALL, 9.0)
    assert np.abs(nothing[0].astype(int) - everything[0]).max() <= 1


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (17, 33), (719, 1279)])
def test_an_even_picture_of_any_size_stays_as_it_is(shape: tuple[int, int]) -> None:
    chroma = np.full((-(-shape[0] // 2), -(-shape[1] // 2)), 77, np.uint8)
    weight = np.tile(np.array([0, 255, 90], np.uint8), (5, 3))
    for plane in blurred((np.full(shape, 200, np.uint8), chroma, chroma), weight, 0.025 * shape[0]):
        assert set(np.unique(plane)) <= {76, 77, 78, 199, 200, 201}


def test_planes_of_every_subsampling_are_blurred_alike() -> None:
    luma = texture(360, 640, 30, 220)
    halves = [luma, np.ascontiguousarray(luma[:, ::2]), np.ascontiguousarray(luma[::2, ::2])]
    for chroma in halves:
        y, u, _ = blur_covered((luma, chroma, chroma), ALL, 9.0)
        assert np.abs(y.astype(int) - u).max() <= 4  # every second sample instead of averages


@pytest.mark.slow
def test_the_cost_does_not_grow_with_the_radius() -> None:
    luma = texture(720, 1280, 30, 220)
    chroma = texture(360, 640, 90, 170)
    weight = np.full((144, 256), 255, np.uint8)

    def spent(sigma: float) -> float:
        start = time.thread_time()
        blurred((luma, chroma, chroma), weight, sigma)
        return time.thread_time() - start

    narrow, wide = 0.01 * 720, 0.08 * 720
    spent(narrow), spent(wide)
    pairs = [(spent(narrow), spent(wide)) for _ in range(15)]
    assert np.median([w for _, w in pairs]) < 1.5 * np.median([n for n, _ in pairs])
