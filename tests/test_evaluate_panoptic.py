"""Panoptic quality by hand, and against torchmetrics."""

from __future__ import annotations

import numpy as np
import pytest
from segments import CATEGORIES, SIZE, box, by_name, said, true

from rtseg.evaluate.metrics import Bool
from rtseg.evaluate.panoptic import PanopticTally, match_segments
from rtseg.evaluate.truth import SaidSegment, TrueSegment, without_overlap

THINGS = {name for name, thing in CATEGORIES.items() if thing}
EVERYWHERE = np.ones(SIZE, bool)


def test_quality_of_two_cats_of_which_one_is_missed_and_a_dog_that_is_made_up() -> None:
    tally = PanopticTally(list(CATEGORIES), THINGS)
    cats = box(0, 0, 10, 10), box(0, 20, 10, 10)
    rest = ~(cats[0] | cats[1])
    half = box(0, 0, 10, 8)
    dog = box(20, 20, 5, 5)
    tally.add(
        [true("cat", cats[0]), true("cat", cats[1]), true("grass", rest)],
        [said("cat", half), said("dog", dog), said("grass", ~half & ~dog)],
    )
    found = by_name(tally.qualities)
    assert (found["cat"].found, found["cat"].made_up, found["cat"].missed) == (1, 0, 1)
    assert found["cat"].sq == pytest.approx(0.8)
    assert found["cat"].rq == pytest.approx(1 / 1.5)
    assert found["cat"].pq == pytest.approx(0.8 / 1.5)
    assert (found["dog"].pq, found["dog"].made_up) == (0.0, 1)
    grass = (2200 - 25) / (2200 + 20 + 100)  # said: all but 80 of the cats and the dog
    assert found["grass"].pq == pytest.approx(grass)
    assert "sky" not in found  # which nobody shows or says
    assert found["things"].pq == pytest.approx(0.8 / 1.5 / 2)
    assert found["stuff"].pq == found["grass"].pq
    assert found["all"].pq == pytest.approx((0.8 / 1.5 + 0 + grass) / 3)
    assert (found["all"].classes, found["things"].classes, found["stuff"].classes) == (3, 2, 1)


def test_an_overlap_of_exactly_a_half_is_no_match() -> None:
    matches = match_segments([true("cat", box(0, 0, 10, 10)), true("grass", ~box(0, 0, 10, 10))],
                             [said("cat", box(0, 0, 10, 5)), said("grass", ~box(0, 0, 10, 5))])  # fmt: skip
    assert matches.truth.tolist() == [False, True]
    assert matches.missed.tolist() == [True, False]
    assert matches.made_up.tolist() == [True, False]


def test_void_is_left_out_of_the_union_and_excuses_what_mostly_lies_on_it() -> None:
    cat = box(0, 0, 10, 10)  # all else is void
    matches = match_segments([true("cat", cat)], [said("cat", box(0, 0, 10, 20)), said("dog", box(20, 0, 5, 5))])
    assert matches.overlap.tolist() == [1.0]
    assert matches.made_up.tolist() == [False, False]
    both = match_segments([true("cat", cat)], [said("dog", box(0, 5, 10, 9))])  # 50 of 90 pixels on the cat
    assert both.made_up.tolist() == [True]


def test_a_crowd_is_neither_missed_nor_found_and_excuses_its_own_class() -> None:
    crowd, rest = box(0, 0, 20, 60), ~box(0, 0, 20, 60)
    truth = [true("cat", crowd, crowd=True), true("grass", rest)]
    some, other = box(2, 2, 5, 5), box(10, 10, 5, 5)
    matches = match_segments(truth, [said("cat", some), said("dog", other), said("grass", rest)])
    assert matches.truth.tolist() == [False, True]
    assert matches.missed.tolist() == [False, False]
    assert matches.made_up.tolist() == [False, True, False]
    assert matches.quality == pytest.approx(1 / 1.5)
    whole = match_segments(truth, [said("cat", crowd), said("grass", rest)])
    assert whole.truth.tolist() == [False, True]
    assert whole.said.tolist() == [False, True]
    assert whole.quality == 1.0


def test_an_empty_picture_is_right_and_counts_nowhere() -> None:
    tally = PanopticTally(list(CATEGORIES), THINGS)
    assert tally.add([], []).quality == 1.0
    assert tally.qualities == ()
    tally.add([], [said("cat", box(0, 0, 5, 5))])  # on nothing but void
    assert tally.qualities == ()


def test_instances_share_out_the_picture_best_first() -> None:
    first, second, third = box(0, 0, 10, 20), box(0, 10, 10, 20), box(0, 5, 10, 20)
    kept = without_overlap([said("cat", first, 0.9), said("dog", second, 0.8), said("cat", third, 0.7)])
    assert [(segment.name, int(segment.mask.sum())) for segment in kept] == [("cat", 200), ("dog", 100)]
    assert not (kept[0].mask & kept[1].mask).any()
    shred = box(0, 14, 10, 10)  # 40 of 100 pixels are left
    assert len(without_overlap([said("cat", first, 0.9), said("dog", shred, 0.8)])) == 1


def random_side(generator: np.random.Generator, *, void: float) -> tuple[np.ndarray, np.ndarray]:
    """Category and number of every pixel, 40x60; category 9 is void."""
    y, x = np.indices(SIZE)
    category = np.where(y < 20, 2, 3)
    number = np.zeros(SIZE, int)
    for i in range(1, 9):
        cy, cx, r = generator.integers(4, 36), generator.integers(4, 56), generator.integers(4, 10)
        disc = (y - cy) ** 2 + (x - cx) ** 2 <= r * r
        category[disc], number[disc] = generator.integers(0, 2), i
    category[generator.random(SIZE) < void] = 9
    return category, np.where(category == 9, 0, number)


def moved(generator: np.random.Generator, side: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The same, shifted by a pixel, some things under another class."""
    shift = int(generator.integers(-1, 2))
    category, number = (np.roll(plane, (1, shift), axis=(0, 1)) for plane in side)
    for i in range(1, 9):
        if generator.random() < 0.2:
            category[number == i] = generator.integers(0, 2)
    return category, number


def segments_of(category: np.ndarray, number: np.ndarray) -> list[tuple[str, Bool]]:
    names = list(CATEGORIES)
    pairs = sorted({(int(c), int(n)) for c, n in zip(category.ravel(), number.ravel(), strict=True) if c != 9})
    return [(names[c], (category == c) & (number == n)) for c, n in pairs]


@pytest.mark.parametrize("void", [0.0, 0.15])
def test_quality_is_that_of_torchmetrics(void: float) -> None:
    torch = pytest.importorskip("torch", reason="pip install 'rtseg[train]'")
    detection = pytest.importorskip("torchmetrics.detection", reason="pip install 'rtseg[train]'")
    theirs = detection.PanopticQuality(
        things={0, 1}, stuffs={2, 3}, allow_unknown_preds_category=True, return_sq_and_rq=True, return_per_class=True
    )
    means = detection.PanopticQuality(things={0, 1}, stuffs={2, 3}, return_sq_and_rq=True)
    generator = np.random.default_rng(7)
    tally = PanopticTally(list(CATEGORIES), THINGS)
    for _ in range(12):
        truth = random_side(generator, void=void)
        category, number = moved(generator, random_side(generator, void=0.0) if generator.random() < 0.2 else truth)
        category, number = np.where(category == 9, 2, category), np.where(category == 9, 0, number)
        tally.add(
            [TrueSegment(name, mask) for name, mask in segments_of(*truth)],
            [SaidSegment(name, mask, 1.0) for name, mask in segments_of(category, number)],
        )
        pair = [torch.tensor(np.stack(side, axis=-1)[None]) for side in ((category, number), truth)]
        theirs.update(*pair)
        means.update(*pair)
    found = by_name(tally.qualities)
    assert {"cat", "dog", "grass", "sky", "all", "things", "stuff"} == set(found)
    assert 0.1 < found["things"].pq < 0.95
    for name, values in zip(CATEGORIES, theirs.compute().tolist(), strict=True):
        assert (found[name].pq, found[name].sq, found[name].rq) == pytest.approx(values, abs=1e-6)
    assert (found["all"].pq, found["all"].sq, found["all"].rq) == pytest.approx(means.compute().tolist(), abs=1e-6)
