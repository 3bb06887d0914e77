"""A lens's blur against the same in float64, against what may not bleed into it, and against its own cost."""

from __future__ import annotations

import math
import time

import cv2
import numpy as np
import pytest

from rtseg.ops.arrays import U8
from rtseg.ops.bokeh import bokeh_covered, disc, farness, small_radius
from rtseg.ops.resize import enlarge

ALL = np.full((1, 1), 255, np.uint8)


def texture(height: int, width: int, low: int, high: int) -> U8:
    coarse = np.random.default_rng(5).integers(low, high + 1, (height // 40, width // 40)).astype(np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


@pytest.mark.parametrize("sigma", [0.9, 3.6, 9.0, 18.0, 36.0])
def test_a_disc_is_as_wide_as_its_gaussian_and_has_few_taps(sigma: float) -> None:
    radius, scale = small_radius(sigma)
    kernel = disc(radius).astype(np.float64)
    assert kernel.sum() == pytest.approx(1.0, abs=1e-6)
    at = np.arange(len(kernel)) - len(kernel) // 2
    spread = math.sqrt((kernel.sum(axis=0) * at**2).sum()) * scale
    assert spread == pytest.approx(sigma, rel=0.12)  # a soft rim is a little wider
    assert len(kernel) <= 11


@pytest.mark.parametrize("sigma", [3.6, 9.0, 18.0])
@pytest.mark.parametrize("chroma", [(180, 320), (360, 320), (360, 640)])
def test_without_highlights_it_is_a_mean_over_a_disc(sigma: float, chroma: tuple[int, int]) -> None:
    luma, u = texture(360, 640, 30, 170), texture(*chroma, 90, 170)
    got = bokeh_covered((luma, u, u), ALL, sigma)
    y, x = (np.arange(-math.ceil(2 * sigma), math.ceil(2 * sigma) + 1)[:, None] for _ in range(2))
    kernel = (np.hypot(y, x.T) <= 2 * sigma).astype(np.float64)
    expected = cv2.filter2D(luma.astype(np.float64), -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT_101)
    inner = (slice(round(4 * sigma), -round(4 * sigma)),) * 2
    off = np.abs(enlarge(got[0], (640, 360)) - expected)[inner]
    assert off.max() <= 3
    assert len({plane.shape for plane in got}) == 1


def test_a_lamp_becomes_a_bright_disc() -> None:
    luma = np.full((360, 640), 60, np.uint8)
    cv2.circle(luma, (320, 180), 6, 235, -1)
    chroma = np.full((180, 320), 128, np.uint8)
    out = enlarge(bokeh_covered((luma, chroma, chroma), ALL, 9.0)[0], (640, 360)).astype(int)
    gaussian = cv2.GaussianBlur(luma.astype(np.float64), (0, 0), 9.0)
    assert out[180, 320] > 60 + 3 * (gaussian[180, 320] - 60) / 2
    assert out[180, 320 + 11] == pytest.approx(out[180, 320], abs=12)  # flat within the disc of radius 18
    assert out[180, 320 + 30] == 60


@pytest.mark.parametrize("percent", [1.0, 2.5, 8.0])
def test_a_bright_person_leaves_no_light_on_the_dark_wall(percent: float) -> None:
    wall = texture(360, 640, 38, 42)
    person = np.zeros(wall.shape, np.uint8)
    cv2.circle(person, (301, 150), 60, 255, -1)
    seen = np.where(person > 0, np.uint8(235), wall)
    chroma = np.full((180, 320), 128, np.uint8)
    out = bokeh_covered((seen, chroma, chroma), 255 - person, percent / 100 * 360)[0]
    assert enlarge(out, (640, 360))[person == 0].max() <= 44


def test_the_floor_is_sharper_near_the_feet() -> None:
    stripes = np.tile(np.where(np.arange(640) // 16 % 2, 150, 60).astype(np.uint8), (360, 1))
    chroma = np.full((180, 320), 128, np.uint8)
    weight = np.full((90, 160), 255, np.uint8)
    weight[20:70, 70:90] = 0

    def contrast(depth: bool) -> list[float]:
        out = bokeh_covered((stripes, chroma, chroma), weight, 5.0, depth=depth)[0]
        rows = [round(row / 90 * len(out)) for row in (10, 45, 69)]
        return [float(out[row, : out.shape[1] // 3].std()) for row in rows]

    even, deep = contrast(False), contrast(True)
    assert deep[0] == pytest.approx(even[0], abs=0.5)
    assert even[2] == pytest.approx(even[0], abs=0.5)
    assert deep[0] < deep[1] < deep[2]
    assert deep[2] > 1.5 * even[2]


def test_the_ramp_is_straight_from_the_feet_to_the_head() -> None:
    weight = np.full((90, 160), 255, np.uint8)
    weight[20:70, 70:90] = 0
    far = farness(weight, 90)
    assert far is not None
    assert far[69] == pytest.approx(0.01)
    assert far[44] == pytest.approx(0.51)
    np.testing.assert_array_equal(far[:20], 1.0)
    assert far[89] == pytest.approx(0.39)


@pytest.mark.parametrize("bottom", [0, 90])
def test_without_feet_in_sight_there_is_no_ramp(bottom: int) -> None:
    weight = np.full((90, 160), 255, np.uint8)
    weight[20:bottom, 70:90] = 0
    assert farness(weight, 45) is None


@pytest.mark.slow
def test_the_cost_does_not_grow_with_the_radius() -> None:
    luma, chroma = texture(720, 1280, 30, 220), texture(360, 640, 90, 170)

    def spent(percent: float) -> float:
        start = time.thread_time()
        bokeh_covered((luma, chroma, chroma), ALL, percent / 100 * 720)
        return time.thread_time() - start

    spent(1.0), spent(8.0)
    pairs = [(spent(1.0), spent(8.0)) for _ in range(15)]
    assert np.median([wide for _, wide in pairs]) < 1.3 * np.median([narrow for narrow, _ in pairs])
