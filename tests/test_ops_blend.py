"""The blend kernel against its formula, and what it skips against what it may not skip."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from rtseg.ops.arrays import U8, as_u8
from rtseg.ops.blend import Blender

RNG = np.random.default_rng(11)
LEVELS = np.arange(256, dtype=np.uint8)


def rounded(base: U8, paint: U8 | int, alpha: U8) -> U8:
    """What the kernel promises to the bit: each product rounded on its own, halves to even, then added."""
    a = alpha.astype(np.float64)
    total = np.rint(base * (255.0 - a) / 255.0) + np.rint(np.asarray(paint, np.float64) * a / 255.0)
    return as_u8(np.minimum(total, 255).astype(np.uint8))


def noise(height: int, width: int) -> U8:
    return as_u8(RNG.integers(0, 256, (height, width), dtype=np.uint8))


def disc(height: int, width: int, *, soft: float = 6.0) -> U8:
    """255 inside, 0 outside, a ramp `soft` pixels wide between."""
    y, x = np.mgrid[:height, :width]
    distance = min(height, width) / 3 - np.hypot(y - height / 2, x - width / 2)
    return as_u8(np.clip(127.5 + 255 * distance / soft, 0, 255).astype(np.uint8))


@pytest.mark.parametrize("surroundings", [0, 255])
def test_every_base_paint_and_alpha_is_within_one_level(surroundings: int) -> None:
    # All 256 x 256 pairs in one plane, under each alpha in turn. In the narrow case the pairs fill the plane, which is
    # blended whole; in the wide one alpha is 0 or 255 around them, and the pairs alone are.
    base, paint = np.meshgrid(LEVELS, LEVELS)
    start, end = base.astype(np.float64), paint.astype(np.float64)
    wide_base, wide_paint = noise(256, 1024), noise(256, 1024)
    wide_base[:, 512:768], wide_paint[:, 512:768] = base, paint
    blender, worst, around = Blender(), 0.0, (wide_base, wide_paint)[surroundings == 255]
    for alpha in range(256):
        whole = base.copy()
        blender.onto([whole], [paint], np.full(base.shape, alpha, np.uint8))
        wide, mask = wide_base.copy(), np.full(wide_base.shape, surroundings, np.uint8)
        mask[:, 512:768] = alpha
        blender.onto([wide], [wide_paint], mask)
        np.testing.assert_array_equal(wide[:, 512:768], whole)
        np.testing.assert_array_equal(wide[:, :512], around[:, :512])
        np.testing.assert_array_equal(wide[:, 768:], around[:, 768:])
        worst = max(worst, float(np.abs(whole - (start + (end - start) * alpha / 255)).max()))
    assert worst <= 1.0


@pytest.mark.parametrize("width", [256, 252, 250, 251])
@pytest.mark.parametrize("paint_is", ["plane", "level"])
def test_words_of_every_size_give_the_formula_to_the_bit(width: int, paint_is: str) -> None:
    base, alpha = noise(160, width), disc(160, width)
    paint: U8 | int = noise(160, width) if paint_is == "plane" else 201
    out = base.copy()
    Blender().onto([out], [paint], alpha)
    np.testing.assert_array_equal(out, rounded(base, paint, alpha))


@pytest.mark.parametrize("shape", [(160, 256), (8, 8), (1, 1)])
@pytest.mark.parametrize("soft", [1e-3, 6.0, 1e4], ids=["hard", "soft", "nowhere plain"])
def test_masks_of_every_softness_give_the_formula_to_the_bit(shape: tuple[int, int], soft: float) -> None:
    base, paint, alpha = noise(*shape), noise(*shape), disc(*shape, soft=soft)
    out = base.copy()
    Blender().onto([out], [paint], alpha)
    np.testing.assert_array_equal(out, rounded(base, paint, alpha))


def test_several_planes_share_an_alpha() -> None:
    bases, alpha = [noise(160, 256), noise(160, 256)], disc(160, 256)
    paints: list[U8 | int] = [noise(160, 256), 77]
    outs = [base.copy() for base in bases]
    Blender().onto(outs, paints, alpha)
    for out, base, paint in zip(outs, bases, paints, strict=True):
        np.testing.assert_array_equal(out, rounded(base, paint, alpha))


def cut(whole: U8) -> U8:
    return whole[5:165, 24:280]


@pytest.mark.parametrize(
    "laid_out",
    [
        cut,
        lambda whole: whole[:160, 3:259],
        lambda whole: whole[:160, :256][::-1],
        lambda whole: whole[:160, :256][:, ::-1],
        lambda whole: whole[:160, :512:2],
        lambda whole: np.broadcast_to(whole[:1, :256], (160, 256)),
    ],
    ids=["padded rows", "odd address", "upside down", "mirrored", "interleaved", "one row repeated"],
)
def test_paints_are_read_however_they_lie_in_memory(laid_out: Callable[[U8], U8]) -> None:
    base, paint, alpha = noise(160, 256), laid_out(noise(170, 520)), disc(160, 256)
    out = base.copy()
    Blender().onto([out], [paint], alpha)
    np.testing.assert_array_equal(out, rounded(base, paint, alpha))


def test_a_part_of_a_plane_is_written_and_nothing_around_it() -> None:
    whole, paint, alpha = noise(170, 300), noise(160, 256), disc(160, 256)
    before = whole.copy()
    Blender().onto([cut(whole)], [paint], alpha)
    np.testing.assert_array_equal(cut(whole), rounded(cut(before), paint, alpha))
    cut(whole)[:] = cut(before)
    np.testing.assert_array_equal(whole, before)


def test_scratch_memory_of_one_call_does_not_show_in_the_next() -> None:
    blender = Blender()
    for shape in ((160, 256), (320, 512), (40, 64), (160, 256)):
        base, paint, alpha = noise(*shape), noise(*shape), disc(*shape)
        out = base.copy()
        blender.onto([out], [paint], alpha)
        np.testing.assert_array_equal(out, rounded(base, paint, alpha))


@pytest.mark.parametrize("alpha", [0.0, 0.25, 0.5, 0.999, 1.0])
@pytest.mark.parametrize("paint_is", ["plane", "level"])
def test_a_number_is_an_alpha_for_all(alpha: float, paint_is: str) -> None:
    base = noise(20, 30)
    paint: U8 | int = noise(20, 30) if paint_is == "plane" else 201
    out = base.copy()
    Blender().onto([out], [paint], alpha)
    expected = base + (np.asarray(paint, np.float64) - base) * alpha
    assert np.abs(out - expected).max() <= 0.5001  # rounded once; float32 arithmetic
