"""One layer for many classes, beside a layer for each folded in float64."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from rtseg.compositor import Compositor
from rtseg.effects.tints import Tint, Tinter
from rtseg.errors import FrameError
from rtseg.ops.arrays import U8
from rtseg.ops.colour import rgb_to_yuv
from rtseg.types import Colour, Frame, Instances, Layer, Panoptic, SegmentInfo, Semantic, Size, Solid, Tints, masks_of

pytestmark = pytest.mark.usefixtures("either_loops")

SIZE = Size(128, 64)
MASK = (32, 16)
NAMES = ("a", "b", "c", "d")
COLOUR = Colour("bt601", full_range=True)
ALPHAS = np.rint(115 * np.clip((np.arange(256) - 76) / 102, 0, 1)).astype(np.uint8)
TINTS = {"a": Tint((250, 20, 20), ALPHAS), "b": Tint((20, 230, 40), ALPHAS), "c": Tint((10, 30, 240), ALPHAS)}
"""Not "d"."""


def noise(size: tuple[int, int] = SIZE) -> Frame:
    rng = np.random.default_rng(7)
    return Frame.from_rgb(rng.integers(0, 256, (size[1], size[0], 3), np.uint8), colour=COLOUR)


def layer_a_class(frame: Frame, masks: Mapping[str, U8], tints: Mapping[str, Tint] = TINTS) -> list[NDArray[Any]]:
    """Each class's alpha enlarged and blended in float64, in the order of the tints."""
    planes = [plane.astype(np.float64) for plane in frame.planes]
    for name, each in tints.items():
        if name not in masks:
            continue
        alpha = each.alphas[masks[name]].astype(np.float64) / 255
        for plane, level in zip(planes, rgb_to_yuv(each.rgb, frame.colour), strict=True):
            large = cv2.resize(alpha, plane.shape[::-1], interpolation=cv2.INTER_LINEAR)
            plane += (level - plane) * large
    return planes


def worst(layers: Sequence[Layer], frame: Frame, expected: Sequence[NDArray[Any]]) -> float:
    drawn = Compositor()(frame, layers).planes
    return max(float(np.abs(got - wanted).max()) for got, wanted in zip(drawn, expected, strict=True))


def one(found: Any, tints: Mapping[str, Tint] = TINTS, names: tuple[str, ...] = NAMES) -> list[Layer]:
    layer = Tinter(names, tints, COLOUR)(found)
    return [] if layer is None else [layer]


def islands() -> NDArray[np.uint8]:
    """Classes a, b and c apart from each other, in a sea of d and of no class."""
    labels = np.full(MASK[::-1], 3, np.uint8)
    labels[:, 20:] = 255
    labels[2:7, 2:9], labels[9:14, 3:12], labels[4:12, 15:18], labels[5:9, 26:32] = 0, 1, 2, 0
    return labels


@pytest.mark.parametrize("size", [(128, 64), (80, 46), (33, 17)])
def test_classes_that_do_not_meet_are_as_in_a_layer_each(size: tuple[int, int]) -> None:
    """Edges too: beside what has no tint a colour fades as it is, without a fringe."""
    frame, found = noise(size), Semantic(islands(), NAMES, 0, Size(*size))
    assert worst(one(found), frame, layer_a_class(frame, masks_of(found))) <= 2


def test_panoptic_segments_and_wide_class_maps_are_tinted_alike() -> None:
    labels = islands()
    ids = np.where(labels == 255, -1, labels.astype(np.int32) * 90 + 40)
    info = tuple(SegmentInfo(label * 90 + 40, label, 0.9) for label in range(4))
    panoptic = Panoptic(ids.astype(np.int32), info, NAMES, 0, SIZE)
    wide = Semantic(np.where(labels == 255, 65535, labels).astype(np.uint16), NAMES, 0, SIZE)
    (layer,) = one(Semantic(labels, NAMES, 0, SIZE))
    for found in (panoptic, wide):
        (other,) = one(found)
        np.testing.assert_array_equal(other.alpha, layer.alpha)
        assert isinstance(other.paint, Tints)
        assert isinstance(layer.paint, Tints)
        for ours, theirs in zip(other.paint.planes, layer.paint.planes, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_more_classes_than_a_byte_counts_have_their_own_colours() -> None:
    names = tuple(f"class {index}" for index in range(300))
    tints = {name: Tint((index % 256, 255 - index % 256, 10), ALPHAS) for index, name in enumerate(names)}
    labels = np.repeat(np.array([[0, 254, 255, 299]], np.uint16), 8, axis=1).repeat(16, axis=0)
    (layer,) = one(Semantic(labels, names, 0, SIZE), tints, names)
    assert isinstance(layer.paint, Tints)
    got = [tuple(int(plane[8, x]) for plane in layer.paint.planes) for x in (4, 12, 20, 28)]
    assert got == [rgb_to_yuv(tints[names[label]].rgb, COLOUR) for label in (0, 254, 255, 299)]


def test_where_two_classes_meet_the_picture_shows_no_more_than_inside_them() -> None:
    """A layer each leaves a seam: half of a tint twice covers less than all of it once."""
    frame = Frame.from_rgb(np.full((SIZE.height, SIZE.width, 3), 255, np.uint8), colour=COLOUR)
    labels = np.repeat(np.array([[0, 1]], np.uint8), 16, axis=1).repeat(16, axis=0)
    black = {name: Tint((0, 0, 0), ALPHAS) for name in ("a", "b")}
    luma = Compositor()(frame, one(Semantic(labels, NAMES, 0, SIZE), black)).planes[0]
    assert np.ptp(luma) <= 1
    seam = layer_a_class(frame, masks_of(Semantic(labels, NAMES, 0, SIZE)), black)[0]
    assert seam.max() - seam.min() > 10


def instances(*squares: tuple[int, int, int, int, int, int], soft: int = 0) -> Instances:
    """Each: label, x0, y0, x1, y1 in pixels of the mask, level; soft: half the level one pixel around."""
    masks = np.zeros((len(squares), *MASK[::-1]), np.uint8)
    for mask, (_, x0, y0, x1, y1, level) in zip(masks, squares, strict=True):
        if soft:
            mask[y0 - 1 : y1 + 1, x0 - 1 : x1 + 1] = level // 2
        mask[y0:y1, x0:x1] = level
    labels = np.array([square[0] for square in squares], np.int64)
    boxes = np.array([square[1:5] for square in squares], np.float32).reshape(-1, 4) * 4
    return Instances(masks, boxes, labels, np.full(len(squares), 0.9, np.float32), NAMES, 0, SIZE)


def test_instances_are_as_in_a_layer_a_class_where_they_overlap_too() -> None:
    """To a level where they lie apart; their edges over each other are mixed before they are enlarged."""
    frame = noise()
    apart = instances(
        (0, 2, 2, 8, 8, 255), (1, 12, 3, 18, 9, 255), (0, 22, 3, 28, 12, 200), (3, 2, 11, 9, 14, 255), soft=1
    )
    assert worst(one(apart), frame, layer_a_class(frame, masks_of(apart))) <= 2
    over = instances((1, 4, 3, 16, 12, 255), (0, 8, 5, 24, 10, 255), (2, 10, 2, 14, 14, 255))
    expected = layer_a_class(frame, masks_of(over))
    drawn = Compositor()(frame, one(over)).planes
    for got, wanted, scale in zip(drawn, expected, (4, 2, 2), strict=True):
        inner = np.s_[6 * scale : 9 * scale, 11 * scale : 13 * scale]  # all three, away from edges
        assert np.abs(got[inner] - wanted[inner]).max() <= 2
        assert np.abs(got - wanted).max() <= 20


def test_instances_of_one_class_have_nothing_to_mix() -> None:
    frame = noise()
    (layer,) = one(instances((0, 2, 2, 8, 8, 255), (0, 6, 3, 18, 9, 180), (3, 20, 3, 28, 9, 255)))
    assert layer.paint == Solid(TINTS["a"].rgb)
    found = instances((0, 2, 2, 8, 8, 255), (0, 6, 3, 18, 9, 180))
    assert worst([layer], frame, layer_a_class(frame, masks_of(found))) <= 2


def test_nothing_in_sight_is_no_layer() -> None:
    assert one(Semantic(np.full((4, 4), 3, np.uint8), NAMES, 0, SIZE)) == []
    assert one(Panoptic(np.full((4, 4), -1, np.int32), (), NAMES, 0, SIZE)) == []
    assert one(instances()) == []
    assert one(instances((3, 2, 2, 8, 8, 255))) == []
    assert one(instances((0, 2, 2, 8, 8, 60))) == []  # whose level the ramp makes nothing of


def test_tints_are_for_whole_frames() -> None:
    plane = np.zeros((4, 4), np.uint8)
    layer = Layer(np.full((4, 4), 255, np.uint8), Tints((plane, plane, plane)), (0, 0, 8, 8))
    with pytest.raises(FrameError, match=r"not for the box \(0, 0, 8, 8\)"):
        Compositor()(noise(), [layer])


@pytest.mark.parametrize("alpha", [0.5, np.full((4, 4), 128, np.uint8), np.full((4, 4), 255, np.uint8)])
def test_tints_go_with_every_kind_of_alpha_and_with_transparency(alpha: Any) -> None:
    frame = noise()
    plane = np.full((4, 4), 77, np.uint8)
    share = alpha if isinstance(alpha, float) else float(alpha[0, 0]) / 255
    clear = frame.with_planes(frame.planes, alpha=np.full((SIZE.height, SIZE.width), 100, np.uint8))
    for each in (frame, clear):
        drawn = Compositor()(each, [Layer(alpha, Tints((plane, plane, plane)))])
        for got, base in zip(drawn.planes, frame.planes, strict=True):
            assert np.abs(got - (base + (77.0 - base) * share)).max() <= 2
