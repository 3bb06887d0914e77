"""Names and scores beside instances: where they stand, which there are, and that they can be read."""

from __future__ import annotations

import numpy as np
import pytest

from rtseg.build import build_effect
from rtseg.cards import Card
from rtseg.compositor import Compositor
from rtseg.config import OverlayEffect
from rtseg.effects.overlay import Overlay
from rtseg.effects.tags import MOST, tags
from rtseg.ops.palette import RGB
from rtseg.store import find_card
from rtseg.types import Frame, Instances, Layer, Picture, Regions, Size, Solid

SIZE = Size(640, 360)
ORANGE, YELLOW = (213, 94, 0), (240, 228, 66)
COLOURS: dict[str, RGB] = {"car": ORANGE, "bus": YELLOW}


def frame(size: Size = SIZE) -> Frame:
    return Frame.from_rgb(np.full((size.height, size.width, 3), 120, np.uint8))


def instances(*found: tuple[int, float, tuple[float, float, float, float]], size: Size = SIZE) -> Instances:
    """Label, score and box of each; the masks are the boxes at a quarter of the size."""
    masks = np.zeros((len(found), 90, 160), np.uint8)
    for mask, (_, _, box) in zip(masks, found, strict=True):
        x0, y0, x1, y1 = (round(max(0.0, side) / 4) for side in box)
        mask[y0:y1, x0:x1] = 255
    return Instances(
        masks,
        np.array([box for _, _, box in found], np.float32).reshape(-1, 4),
        np.array([label for label, _, _ in found], np.int64),
        np.array([score for _, score, _ in found], np.float32),
        ("car", "bus", "tree"),
        0,
        size,
    )


def boxes(layers: list[Layer]) -> list[tuple[int, int, int, int]]:
    """Of the grounds; each has its letters on it, inside it."""
    grounds, letters = layers[::2], layers[1::2]
    found = []
    for ground, text in zip(grounds, letters, strict=True):
        assert ground.box is not None
        assert text.box is not None
        assert ground.box[0] < text.box[0] < text.box[2] < ground.box[2]
        assert ground.box[1] <= text.box[1] < text.box[3] <= ground.box[3]
        found.append(ground.box)
    return found


def test_a_tag_stands_on_the_upper_left_corner() -> None:
    ((x0, y0, x1, y1),) = boxes(tags(frame(), instances((0, 0.85, (100.4, 80.2, 300.0, 200.0))), COLOURS))
    assert (x0, y1) == (100, 80)
    assert y1 - y0 == 15  # 11 rows of text, and a third above and below it
    assert 40 < x1 - x0 < 120


@pytest.mark.parametrize(
    ("corner", "wanted"),
    [((-20.0, 50.0), (0, 35)), ((100.0, 5.0), (100, 5)), ((100.0, -5.0), (100, 0)), ((100.0, 358.0), (100, 343))],
)
def test_tags_stay_inside_the_frame(corner: tuple[float, float], wanted: tuple[int, int]) -> None:
    found = instances((0, 0.85, (*corner, corner[0] + 60, corner[1] + 60)))
    assert boxes(tags(frame(), found, COLOURS))[0][:2] == wanted
    ((_, _, right, _),) = boxes(tags(frame(), instances((0, 0.85, (630.0, 80.0, 640.0, 200.0))), COLOURS))
    assert right == 640


def test_the_best_come_last_and_only_so_many() -> None:
    many = [(0, 0.3 + i / 100, (20.0 * i, 100.0, 20.0 * i + 15, 140.0)) for i in range(MOST + 5)]
    found = boxes(tags(frame(), instances(*many), COLOURS))
    assert [x0 for x0, _, _, _ in found[:-3]] == [20 * i for i in range(5, MOST + 2)]  # the last meet the edge
    assert len(found) == MOST


def test_names_without_a_colour_have_no_tag() -> None:
    assert tags(frame(), instances((2, 0.9, (100.0, 100.0, 200.0, 200.0))), COLOURS) == []


def test_a_frame_that_is_too_small_goes_without() -> None:
    size = Size(32, 18)
    assert tags(frame(size), instances((0, 0.9, (4.0, 4.0, 20.0, 16.0)), size=size), COLOURS) == []


@pytest.mark.parametrize(("label", "ground", "ink"), [(0, ORANGE, (255, 255, 255)), (1, YELLOW, (16, 18, 20))])
def test_letters_can_be_read_on_any_colour(label: int, ground: RGB, ink: RGB) -> None:
    layers = tags(frame(), instances((label, 0.9, (100.0, 100.0, 200.0, 200.0))), COLOURS)
    assert [layer.paint for layer in layers] == [Solid(ground), Solid(ink)]
    x0, y0, x1, y1 = boxes(layers)[0]
    drawn = Compositor()(frame(), layers).rgb[y0:y1, x0:x1].astype(int)
    assert np.abs(drawn - ink).max(axis=2).min() < 40
    assert np.abs(drawn - (0.85 * np.array(ground) + 0.15 * 120)).max(axis=2).min() < 8


def test_an_overlay_has_tags_for_instances_and_its_legend_for_all_else() -> None:
    overlay = Overlay(names=["car", "bus"], palette=COLOURS, tags=True)
    found = instances((0, 0.9, (100.0, 100.0, 200.0, 200.0)), (2, 0.8, (300.0, 100.0, 400.0, 200.0)))
    layers = overlay(frame(), found, ())
    assert [layer.box is None for layer in layers] == [True, False, False]  # the tint, and one tag in two layers
    assert all(isinstance(layer.paint, Solid) for layer in layers)
    regions = Regions(np.full((3, 90, 160), 255, np.uint8), ("car", "bus", "tree"), 0, SIZE)
    assert isinstance(overlay(frame(), regions, ())[-1].paint, Picture)
    assert isinstance(Overlay(palette=COLOURS)(frame(), found, ())[-1].paint, Picture)


def test_detectors_are_tagged_unless_told_otherwise() -> None:
    def has_tags(card: Card, options: OverlayEffect) -> bool:
        found = instances((0, 0.9, (100.0, 100.0, 200.0, 200.0)))
        named = Instances(found.masks, found.boxes, found.labels, found.scores, card.names, 0, SIZE)
        return len(build_effect(options, card)(frame(), named, ())) == 3

    detector, other = find_card("yolox-nano"), find_card("nuclei")
    assert has_tags(detector, OverlayEffect())
    assert not has_tags(detector, OverlayEffect(tags=False))
    assert not has_tags(other, OverlayEffect())
    assert has_tags(other, OverlayEffect(tags=True))
