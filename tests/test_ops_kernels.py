"""The compiled loops against the OpenCV and NumPy lines that they stand in for."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from typing import Any

import cv2
import numpy as np
import pytest
from test_ops_matte import disc

from rtseg.adaptive import _move
from rtseg.filters.smooth import TemporalSmooth
from rtseg.ops import kernels
from rtseg.ops.arrays import U8, as_f32, as_u8
from rtseg.ops.flow import TRUST
from rtseg.ops.matte import EdgeModel

RNG = np.random.default_rng(8)
PAIRS = [
    ((360, 640), (720, 1280)),
    ((360, 640), (360, 640)),
    ((180, 320), (720, 1280)),
    ((90, 160), (720, 1280)),
    ((45, 80), (720, 1280)),
    ((144, 256), (720, 1280)),
    ((100, 100), (50, 40)),
    ((7, 5), (31, 29)),
    ((2, 2), (32, 32)),
    ((1, 3), (9, 8)),
    ((1, 1), (5, 7)),
]
"""Sizes (height, width) of a mask and of the plane that it is enlarged to: whole ratios and others."""

needs_kernels = pytest.mark.skipif(not kernels.COMPILED, reason="rtseg was installed without a compiler")


def has_compiler() -> bool:
    compiler = str(sysconfig.get_config_var("CC") or "").split()
    return bool(compiler) and shutil.which(compiler[0]) is not None


def noise(shape: tuple[int, int]) -> U8:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def smooth_noise(shape: tuple[int, int], sigma: float = 3.0) -> U8:
    return as_u8(cv2.normalize(cv2.GaussianBlur(noise(shape), (0, 0), sigma), None, 0, 255, cv2.NORM_MINMAX))  # type: ignore[call-overload]


def enlarged(plane: U8, shape: tuple[int, int]) -> Any:
    return cv2.resize(plane.astype(np.float64), shape[::-1], interpolation=cv2.INTER_LINEAR)


def worst(left: Any, right: Any) -> float:
    return float(np.abs(np.asarray(left, np.float64) - right).max())


def test_they_are_compiled_where_there_is_a_compiler() -> None:
    assert kernels.COMPILED or not has_compiler()


def test_the_environment_leaves_them_alone() -> None:
    script = "from rtseg.ops import kernels; raise SystemExit(int(kernels.COMPILED))"
    done = subprocess.run([sys.executable, "-c", script], env={"RTSEG_KERNELS": "0"}, timeout=60, check=False)
    assert done.returncode == 0


@needs_kernels
@pytest.mark.parametrize(("small", "large"), PAIRS)
@pytest.mark.parametrize("soft", [True, False])
@pytest.mark.parametrize("kind", ["plane", "level", "small plane"])
def test_blending_is_within_two_levels_of_float64(
    small: tuple[int, int], large: tuple[int, int], soft: bool, kind: str
) -> None:
    """Alpha, an enlarged paint and two products are each rounded: half a level, up to four times."""
    base, out = noise(large), np.empty(large, np.uint8)
    mask = noise(small) if soft else disc(small[::-1], (small[1] / 2, small[0] * 0.6), small[0] * 0.3)
    paints: dict[str, U8 | int] = {"plane": noise(large), "level": 77, "small plane": noise(small)}
    paint = paints[kind]
    kernels.blend(out, base, paint, mask)
    over = paint if isinstance(paint, int) else enlarged(paint, large)
    assert worst(out, base + (over - base.astype(np.float64)) * enlarged(mask, large) / 255) <= 2
    in_place = base.copy()
    kernels.blend(in_place, in_place, paint, mask)
    np.testing.assert_array_equal(in_place, out)


@needs_kernels
def test_sure_pixels_are_the_base_and_the_paint_to_the_bit() -> None:
    base, paint = noise((720, 1280)), noise((720, 1280))
    mask = np.zeros((360, 640), np.uint8)
    mask[100:260, 200:440] = 255
    out = np.empty_like(base)
    kernels.blend(out, base, paint, mask)
    np.testing.assert_array_equal(out[:198], base[:198])
    np.testing.assert_array_equal(out[204:516, 404:876], paint[204:516, 404:876])
    kernels.blend(out, base, paint, np.full((360, 640), 255, np.uint8))
    np.testing.assert_array_equal(out, paint)


@needs_kernels
def test_rows_may_be_padded_and_nothing_beside_them_is_touched() -> None:
    base, paint, mask = noise((36, 64)), noise((36, 64)), noise((18, 32))
    wide = np.full((36, 80), 7, np.uint8)
    kernels.blend(wide[:, :64], base, paint, mask)
    expected = np.empty_like(base)
    kernels.blend(expected, base, paint, mask)
    np.testing.assert_array_equal(wide[:, :64], expected)
    assert (wide[:, 64:] == 7).all()


@needs_kernels
@pytest.mark.parametrize(
    ("mask", "fine"), [((144, 256), (360, 640)), ((144, 256), (270, 480)), ((20, 30), (41, 77)), ((9, 9), (18, 18))]
)
@pytest.mark.parametrize("centre", [(0.5, 0.6), (0.0, 0.0), (1.0, 1.0)])
@pytest.mark.parametrize("radius", [0.0, 0.3, 0.9])
def test_edges_are_redrawn_as_by_the_twin(
    monkeypatch: pytest.MonkeyPatch,
    mask: tuple[int, int],
    fine: tuple[int, int],
    centre: tuple[float, float],
    radius: float,
) -> None:
    soft = cv2.GaussianBlur(disc(mask[::-1], (mask[1] * centre[0], mask[0] * centre[1]), mask[0] * radius), (0, 0), 2)
    luma = smooth_noise(fine)
    coarse = as_u8(cv2.resize(luma, mask[::-1], interpolation=cv2.INTER_AREA))
    got, expected = np.empty(fine, np.uint8), np.empty(fine, np.uint8)
    EdgeModel()(as_u8(soft), coarse, luma, out=got)
    monkeypatch.setattr(kernels, "COMPILED", False)
    EdgeModel()(as_u8(soft), coarse, luma, out=expected)
    assert worst(got, expected) <= 1


@needs_kernels
@pytest.mark.parametrize("shape", [(144, 256), (33, 47), (5, 1), (1, 5)])
@pytest.mark.parametrize("moving", [True, False])
def test_masks_are_steadied_as_by_the_twin(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int], moving: bool
) -> None:
    """OpenCV counts places in 32nds of a pixel: a level or two where a moved past is steep."""
    before = smooth_noise((72, 128))
    now = np.roll(before, 3, axis=1) if moving else before
    mask = disc(shape[::-1], (shape[1] * 0.5, shape[0] * 0.6), shape[0] * 0.3)
    past = np.clip(mask.astype(int) + RNG.integers(-30, 30, shape), 0, 255).astype(np.uint8)
    got, expected = mask[np.newaxis].copy(), mask[np.newaxis].copy()
    TemporalSmooth()._blend(mask[np.newaxis], past[np.newaxis], now, before, out=got)
    monkeypatch.setattr(kernels, "COMPILED", False)
    TemporalSmooth()._blend(mask[np.newaxis], past[np.newaxis], now, before, out=expected)
    assert worst(got, expected) <= (2 if moving else 0)


@needs_kernels
@pytest.mark.parametrize("shape", [(144, 256), (33, 47)])
def test_masks_are_moved_as_by_the_twin(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int]) -> None:
    """OpenCV counts places in 32nds of a pixel: up to four levels at an edge that rises by 128 a pixel."""
    flow = as_f32(cv2.GaussianBlur(RNG.normal(0, 30, (72, 128, 2)).astype(np.float32), (0, 0), 5))
    gain = RNG.integers(0, 4, (72, 128), dtype=np.uint8)
    mask = disc(shape[::-1], (shape[1] * 0.5, shape[0] * 0.6), shape[0] * 0.3)
    got, expected = np.empty(shape, np.uint8), np.empty(shape, np.uint8)
    _move(mask, flow, gain, out=got)
    monkeypatch.setattr(kernels, "COMPILED", False)
    _move(mask, flow, gain, out=expected)
    assert worst(got, expected) <= 4
    assert (got != mask).any()


@needs_kernels
def test_what_does_not_fit_is_refused() -> None:
    plane = noise((36, 64))
    with pytest.raises(ValueError, match="base must have the shape of out"):
        kernels.blend(plane.copy(), plane[:30], 3, plane)
    with pytest.raises(ValueError, match=r"a level must be 0\.\.255"):
        kernels.blend(plane.copy(), plane, 256, plane)
    with pytest.raises(ValueError, match="mask must be two-dimensional"):
        kernels.blend(plane.copy(), plane, 3, plane[:, ::2])
    with pytest.raises(ValueError, match="mask must be two-dimensional"):
        kernels.blend(plane.copy(), plane, 3, plane.astype(np.float32))
    with pytest.raises(ValueError, match="read-only"):
        kernels.blend(np.frombuffer(bytes(36 * 64), np.uint8).reshape(36, 64), plane, 3, plane)
    with pytest.raises(ValueError, match="two columns for each of trust"):
        kernels.steady(plane.copy(), plane, plane, TRUST.reshape(16, 16), np.zeros((8, 8, 2), np.float32))
    with pytest.raises(ValueError, match="two columns for each of gain"):
        kernels.move(plane.copy(), plane, np.zeros((8, 8, 2), np.float32), plane, least=2)
    with pytest.raises(ValueError, match="coarse must have the shape of mask"):
        kernels.redraw(plane.copy(), plane, plane[:30], plane, prior=1.0, slope=2.0, unsure=(6, 249))


def test_a_mirrored_plane_is_not_for_them() -> None:
    plane = noise((6, 8))
    assert kernels.takes(plane, plane[1:, 2:], 5)
    assert not kernels.takes(plane[:, ::-1])
    assert not kernels.takes(plane[::-1])
    assert not kernels.takes(plane[:, ::2])
