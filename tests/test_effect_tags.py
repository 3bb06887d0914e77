"""Names and scores beside instances: where they stand, which there are, and that they can be read."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from rtseg.build import build_effect
from rtseg.cards import Card
from rtseg.compositor import Compositor
from rtseg.config import OverlayEffect
from rtseg.effects.overlay import Overlay
from rtseg.effects.tags import MOST, Tags
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
    ((x0, y0, x1, y1),) = boxes(Tags()(frame(), instances((0, 0.85, (100.4, 80.2, 300.0, 200.0))), COLOURS))
    assert (x0, y1) == (100, 80)
    assert y1 - y0 == 15  # 11 rows of text, and a third above and below it
    assert 40 < x1 - x0 < 120


@pytest.mark.parametrize(
    ("corner", "wanted"),
    [((-20.0, 50.0), (0, 35)), ((100.0, 5.0), (100, 65)), ((100.0, -5.0), (100, 55)), ((100.0, 358.0), (100, 343))],
)
def test_tags_stay_inside_the_frame(corner: tuple[float, float], wanted: tuple[int, int]) -> None:
    found = instances((0, 0.85, (*corner, corner[0] + 60, corner[1] + 60)))
    assert boxes(Tags()(frame(), found, COLOURS))[0][:2] == wanted
    ((_, _, right, _),) = boxes(Tags()(frame(), instances((0, 0.85, (630.0, 80.0, 640.0, 200.0))), COLOURS))
    assert right == 640


def test_the_best_come_last_and_only_so_many() -> None:
    size = Size(2600, 360)
    many = [(0, 0.3 + i / 100, (100.0 * i, 100.0, 100.0 * i + 15, 140.0)) for i in range(MOST + 5)]
    found = boxes(Tags()(frame(size), instances(*many, size=size), COLOURS))
    assert [x0 for x0, _, _, _ in found] == [100 * i for i in range(5, MOST + 5)]


def overlap(found: list[tuple[int, int, int, int]]) -> int:
    """Pixels that two tags have in common."""
    pairs = itertools.combinations(found, 2)
    return sum(max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1])) for a, b in pairs)


def test_tags_go_below_inside_and_to_the_right_before_they_cover_another() -> None:
    """Five things in one place: the best has the usual place, the last has none."""
    scores = (0.9, 0.8, 0.7, 0.6, 0.5)
    found = instances(*((0, score, (100.0, 80.0, 300.0, 200.0)) for score in scores))
    placed = boxes(Tags()(frame(), found, COLOURS))[::-1]
    assert [box[:2] for box in placed] == [(100, 65), (100, 200), (100, 82), (300, 80)]
    assert overlap(placed) == 0


def test_a_crowd_has_no_tag_over_another_and_none_outside() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        corners = rng.uniform(-20, 600, (40, 2)) * (1, 0.55)
        many = [(i % 2, float(rng.uniform(0.3, 1)), (x, y, x + 60.0, y + 50.0)) for i, (x, y) in enumerate(corners)]
        placed = boxes(Tags()(frame(), instances(*many), COLOURS))
        assert 12 <= len(placed) <= MOST
        assert overlap(placed) == 0
        assert all(x0 >= 0 and y0 >= 0 and x1 <= 640 and y1 <= 360 for x0, y0, x1, y1 in placed)


def corners_over_time(*frames: Instances) -> list[list[tuple[int, int]]]:
    tagger = Tags()
    return [sorted(box[:2] for box in boxes(tagger(frame(), found, COLOURS))) for found in frames]


def test_tags_do_not_jump_when_scores_waver() -> None:
    """Two things in one place, each a little better in turn: alone, each frame would swap their tags."""

    def pair(first: float, second: float, shift: float = 0.0) -> Instances:
        return instances(
            (0, first, (100.0, 80.0, 300.0, 200.0)), (1, second, (100.0 + shift, 100.0, 300.0, 200.0 + shift))
        )

    wavering = [pair(0.80, 0.78), pair(0.78, 0.80), pair(0.83, 0.75), pair(0.75, 0.83)]
    steady = corners_over_time(*wavering)
    assert all(corners == steady[0] for corners in steady)
    much_better = pair(0.6, 0.95)
    assert corners_over_time(wavering[0], much_better) == [steady[0], steady[0]]  # both have room where they were


def test_a_newcomer_takes_no_place_of_one_that_scores_as_well() -> None:
    old = (0, 0.8, (100.0, 80.0, 300.0, 200.0))
    new = (1, 0.85, (102.0, 80.0, 302.0, 200.0))
    (first,), second = corners_over_time(instances(old), instances(new, old))
    assert first in second
    assert len(second) == 2


def test_tracks_say_who_is_who_where_there_are_any() -> None:
    """Two of a class that change places between frames: each keeps the side of its own tag."""
    crowd = [(0, 0.9, (100.0, 80.0, 300.0, 200.0)), (0, 0.8, (100.0, 80.0, 300.0, 200.0))]
    tagger = Tags()
    first = replace(instances(*crowd), track_ids=np.array([1, 2]))
    tagger(frame(), first, COLOURS)
    second = replace(instances(*crowd), track_ids=np.array([2, 1]))
    placed = boxes(tagger(frame(), second, COLOURS))[::-1]
    assert [box[:2] for box in placed] == [(100, 200), (100, 65)]  # the best is now 2, whose tag was below


def test_another_size_or_other_names_forget_where_tags_were() -> None:
    crowd = [(0, 0.8, (100.0, 80.0, 300.0, 200.0)), (0, 0.9, (100.0, 80.0, 300.0, 200.0))]
    tagger, large = Tags(), Size(800, 450)
    tagger(frame(), instances(*crowd), COLOURS)
    again = boxes(tagger(frame(large), instances(*crowd[:1], size=large), COLOURS))
    assert again == boxes(Tags()(frame(large), instances(*crowd[:1], size=large), COLOURS))


def test_names_without_a_colour_have_no_tag() -> None:
    assert Tags()(frame(), instances((2, 0.9, (100.0, 100.0, 200.0, 200.0))), COLOURS) == []


def test_a_frame_that_is_too_small_goes_without() -> None:
    size = Size(32, 18)
    assert Tags()(frame(size), instances((0, 0.9, (4.0, 4.0, 20.0, 16.0)), size=size), COLOURS) == []


@pytest.mark.parametrize(("label", "ground", "ink"), [(0, ORANGE, (255, 255, 255)), (1, YELLOW, (16, 18, 20))])
def test_letters_can_be_read_on_any_colour(label: int, ground: RGB, ink: RGB) -> None:
    layers = Tags()(frame(), instances((label, 0.9, (100.0, 100.0, 200.0, 200.0))), COLOURS)
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
