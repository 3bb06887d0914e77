"""Foreground colours against the same in float64, and against pictures whose two colours are known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from rtseg.compositor import Compositor
from rtseg.ops.arrays import U8
from rtseg.ops.foreground import foreground
from rtseg.ops.resize import resize
from rtseg.types import Colour, Frame, Layer, Tints

F64 = NDArray[np.float64]
Levels = tuple[int, int, int]
SHAPES = {"420": (2, 2), "422": (2, 1), "444": (1, 1)}
SUBJECT, ROOM = (140, 110, 150), (80, 140, 110)


def disc(height: int, width: int, *, soft: float = 8.0) -> F64:
    y, x = np.mgrid[:height, :width] + 0.5
    return np.asarray(np.clip(0.5 + (0.3 * height - np.hypot(x - width / 2, y - height / 2)) / soft, 0.0, 1.0))


def mixed(alpha: F64, chroma: str, subject: Levels = SUBJECT, room: Levels = ROOM) -> tuple[U8, U8, U8]:
    """A subject of one colour before a room of one colour, in Y, U and V."""
    sx, sy = SHAPES[chroma]
    height, width = alpha.shape
    small = alpha.reshape(height // sy, sy, width // sx, sx).mean(axis=(1, 3))
    y, u, v = (
        np.rint(a * inside + (1 - a) * outside).astype(np.uint8)
        for a, inside, outside in zip((alpha, small, small), subject, room, strict=True)
    )
    return y, u, v


def cleaned(planes: tuple[U8, U8, U8], mask: U8) -> Frame:
    paint, alpha = foreground(planes, mask)
    return Compositor()(Frame(planes, Colour()), [Layer(alpha, Tints(paint))])


def reference(plane: U8, mask: U8) -> tuple[F64, F64]:
    """F and B of the docstring on the reduced planes, in float64."""
    height, width = mask.shape
    while height > 96:
        height, width = -(-height // 2), -(-width // 2)
    picture = resize(plane, (width, height)).astype(np.float64)
    alpha = resize(mask, (width, height)).astype(np.float64) / 255
    made = []
    for share in (alpha, 1 - alpha):
        weight = share**6 + 1e-5
        made.append(cv2.blur(picture * weight, (7, 7)) / cv2.blur(weight, (7, 7)))
    return np.asarray(made[0]), np.asarray(made[1])


@pytest.mark.usefixtures("either_loops")
@pytest.mark.parametrize("chroma", SHAPES)
def test_the_edge_gets_the_subjects_own_colour(chroma: str) -> None:
    alpha = disc(360, 640)
    planes = mixed(alpha, chroma)
    mask = np.rint(255 * alpha).astype(np.uint8)
    out = cleaned(planes, mask)
    for plane, before, level in zip(out.planes, planes, SUBJECT, strict=True):
        a = resize(mask, plane.shape[::-1])
        edge = (a > 76) & (a < 230)
        assert np.abs(before[edge].astype(int) - level).mean() > 10
        assert np.abs(plane[edge].astype(int) - level).max() <= 4  # the mask is not as soft as chroma's is


@pytest.mark.parametrize(("subject", "room"), [(230, 30), (30, 230)])
def test_of_the_hardest_contrast_a_fifth_is_left(subject: int, room: int) -> None:
    alpha = disc(360, 640)
    planes = mixed(alpha, "444", (subject, 128, 128), (room, 128, 128))
    out = cleaned(planes, np.rint(255 * alpha).astype(np.uint8)).planes[0]
    edge = (alpha > 0.1) & (alpha < 0.9)
    off, was = (np.abs(plane[edge].astype(int) - subject).mean() for plane in (out, planes[0]))
    assert off <= 0.2 * was  # paint brighter than white would be needed


@pytest.mark.usefixtures("either_loops")
@pytest.mark.parametrize("chroma", SHAPES)
def test_what_is_surely_subject_or_surroundings_stays_bit_for_bit(chroma: str) -> None:
    alpha = disc(360, 640)
    planes = mixed(alpha, chroma)
    mask = resize(np.rint(255 * alpha).astype(np.uint8), (320, 180))
    out = cleaned(planes, mask)
    for plane, before in zip(out.planes, planes, strict=True):
        size = plane.shape[::-1]
        least, most = cv2.erode(mask, np.ones((5, 5))), cv2.dilate(mask, np.ones((5, 5)))
        sure = (cv2.resize(least, size, interpolation=cv2.INTER_NEAREST) == 255) | (
            cv2.resize(most, size, interpolation=cv2.INTER_NEAREST) == 0
        )
        assert 0.9 < sure.mean() < 1
        np.testing.assert_array_equal(plane[sure], before[sure])


@pytest.mark.parametrize("chroma", SHAPES)
def test_it_is_what_float64_makes_of_it(chroma: str) -> None:
    chance = np.random.default_rng(3)
    sx, sy = SHAPES[chroma]

    def texture(height: int, width: int) -> U8:
        coarse = chance.integers(70, 186, (height // 30, width // 30)).astype(np.uint8)
        return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)

    planes = (texture(360, 640), texture(360 // sy, 640 // sx), texture(360 // sy, 640 // sx))
    mask = np.rint(255 * disc(180, 320)).astype(np.uint8)
    paint, alpha = foreground(planes, mask)
    a = resize(mask, paint[0].shape[::-1]) / 255
    for plane, got in zip(planes, paint, strict=True):
        subject, around = reference(plane, mask)
        share = np.maximum(1 / 255, np.minimum(1, np.rint(255 * 1.25 * (1 - a)) / 255))
        expected = np.clip((subject - (1 - share) * (a * subject + (1 - a) * around)) / share, 0, 255)
        assert np.abs(got - expected).max() <= 1
    wanted = np.minimum(255, np.rint(1.25 * (255.0 - mask)))
    assert np.abs(alpha - wanted)[mask > 0].max() <= 1


def test_detail_of_hair_stays() -> None:
    alpha = disc(360, 640)
    planes = mixed(alpha, "444")
    stripes = np.where(np.arange(640) // 3 % 2, 20, -20).astype(np.int16)
    striped = np.clip(planes[0] + stripes, 0, 255).astype(np.uint8)
    mask = np.rint(255 * alpha).astype(np.uint8)
    out = cleaned((striped, *planes[1:]), mask).planes[0]
    half = np.abs(alpha - 0.5) < 0.1
    spread = out[half & (stripes > 0)].mean() - out[half & (stripes < 0)].mean()
    assert spread == pytest.approx((1 - 1.25 * 0.5) * 40, abs=4)  # what is not made anew


@pytest.mark.parametrize("level", [0, 255])
def test_a_mask_without_an_edge_changes_nothing(level: int) -> None:
    planes = mixed(disc(90, 160), "420")
    mask = np.full((90, 160), level, np.uint8)
    assert not foreground(planes, mask)[1].any()


@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (97, 33), (719, 1279)])
def test_masks_of_any_size_are_taken(shape: tuple[int, int]) -> None:
    luma = np.full((50, 70), 90, np.uint8)
    chroma = np.full((25, 35), 128, np.uint8)
    mask = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    paint, alpha = foreground((luma, chroma, chroma), mask)
    assert alpha.shape == shape
    assert {int(plane.min()) for plane in paint} | {int(plane.max()) for plane in paint} <= {89, 90, 91, 127, 128, 129}
