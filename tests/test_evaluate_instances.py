"""Average precision by hand, and against pycocotools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from segments import SIZE, box, by_name, said, true

from rtseg.evaluate.truth import SaidSegment, TrueSegment

pytest.importorskip("faster_coco_eval", reason="pip install 'rtseg[eval]'")

from rtseg.evaluate.instances import InstanceTally, match

NAMES = ("cat", "dog")


def test_a_thing_is_found_once() -> None:
    ious = np.array([[0.9, 0.0], [0.8, 0.0], [0.0, 0.6]])
    assert match(ious, 0.5).tolist() == [0, -1, 1]
    assert match(ious, 0.75).tolist() == [0, -1, -1]
    assert match(np.zeros((2, 0)), 0.5).tolist() == [-1, -1]


def test_precision_of_one_thing_found_and_one_missed() -> None:
    tally = InstanceTally(NAMES)
    finds = tally.add(
        [true("cat", box(0, 0, 10, 10)), true("cat", box(20, 0, 10, 10))], [said("cat", box(0, 0, 10, 10))], SIZE
    )
    assert (finds.truth.tolist(), finds.said.tolist()) == ([True, False], [True])
    assert finds.f1 == pytest.approx(2 / 3)
    precision = tally.precision
    assert precision.ap == precision.ap50 == precision.ap75 == pytest.approx(51 / 101)  # recalls 0 to 0.5
    assert (precision.ar, precision.truth, precision.predicted) == (0.5, 2, 1)
    assert precision.small == precision.ap
    assert (precision.medium, precision.large) == (None, None)
    assert [one.name for one in precision.classes] == ["cat"]


def test_an_overlap_of_three_quarters_counts_at_half_of_the_thresholds() -> None:
    tally = InstanceTally(("cat",))
    tally.add([true("cat", box(0, 0, 10, 10))], [said("cat", box(0, 0, 10, 8))], SIZE)  # IoU 0.8
    precision = tally.precision
    assert precision.ap50 == precision.ap75 == pytest.approx(1.0)
    assert precision.ap == pytest.approx(0.7)  # 0.5, 0.55 .. 0.8
    assert precision.ar == pytest.approx(0.7)


def test_where_one_side_is_empty() -> None:
    tally = InstanceTally(NAMES)
    assert tally.add([], [], SIZE).f1 == 1.0
    assert (tally.precision.ap, tally.precision.truth, tally.precision.classes) == (None, 0, ())
    tally.add([true("cat", box(0, 0, 9, 9))], [], SIZE)
    assert (tally.precision.ap, tally.precision.ar, tally.precision.truth) == (0.0, 0.0, 1)
    said_only = InstanceTally(NAMES)
    said_only.add([], [said("cat", box(0, 0, 9, 9))], SIZE)
    assert (said_only.precision.ap, said_only.precision.predicted) == (None, 1)


def test_a_class_is_never_found_by_another() -> None:
    tally = InstanceTally(NAMES)
    finds = tally.add([true("cat", box(0, 0, 9, 9))], [said("dog", box(0, 0, 9, 9))], SIZE)
    assert (finds.truth.tolist(), finds.said.tolist()) == ([False], [False])
    assert tally.precision.ap == 0.0


def test_only_the_best_of_a_picture_count_where_there_is_a_limit() -> None:
    truth = [true("cat", box(0, 0, 9, 9)), true("cat", box(20, 0, 9, 9))]
    guesses = [said("cat", box(0, 0, 9, 9), 0.9), said("cat", box(20, 0, 9, 9), 0.8)]
    for limit, recall in ((None, 1.0), (1, 0.5)):
        tally = InstanceTally(NAMES, limit=limit)
        tally.add(truth, guesses, SIZE)
        assert tally.precision.ar == recall


Picture = tuple[list[TrueSegment], list[SaidSegment]]


def random_picture(generator: np.random.Generator) -> Picture:
    """Discs as things, some of them crowds, and predictions that are shifted, missed, misnamed and made up."""
    y, x = np.indices(SIZE)
    truth, guesses = [], [said("dog", box(0, 0, 9, 9), round(float(generator.random()), 2))]
    for _ in range(8):
        cy, cx, r = generator.integers(5, 35), generator.integers(5, 55), generator.integers(3, 24)
        name = NAMES[generator.integers(2)]
        truth.append(true(name, (y - cy) ** 2 + (x - cx) ** 2 <= r * r, crowd=bool(generator.random() < 0.15)))
        if generator.random() < 0.85:
            dy, dx, dr = generator.integers(-1, 2, 3)
            other = name if generator.random() < 0.9 else NAMES[generator.integers(2)]
            disc = (y - cy - dy) ** 2 + (x - cx - dx) ** 2 <= (r + dr) ** 2
            guesses.append(said(other, disc, round(float(generator.random()), 2)))
    return truth, sorted(guesses, key=lambda segment: -segment.score)


def by_pycocotools(pictures: Sequence[Picture], names: Sequence[str]) -> list[float]:
    """The twelve figures of COCO's own code."""
    coco = pytest.importorskip("pycocotools.coco", reason="pip install 'rtseg[labels]'")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    runs = pytest.importorskip("pycocotools.mask")
    truth: list[dict[str, Any]] = []
    guesses: list[dict[str, Any]] = []

    def row(segment: TrueSegment | SaidSegment, image: int) -> dict[str, Any]:
        code = runs.encode(np.asfortranarray(segment.mask.astype(np.uint8)))
        about = {"image_id": image, "category_id": NAMES.index(segment.name), "segmentation": code}
        return {**about, "area": float(segment.mask.sum()), "bbox": list(map(float, runs.toBbox(code)))}

    for image, (true_side, said_side) in enumerate(pictures, start=1):
        for one in true_side:
            truth.append({"id": len(truth) + 1, "iscrowd": int(one.crowd), **row(one, image)})
        guesses += [{"score": one.score, **row(one, image)} for one in said_side]
    dataset = coco.COCO()
    dataset.dataset = {
        "images": [{"id": i, "height": SIZE[0], "width": SIZE[1]} for i in range(1, len(pictures) + 1)],
        "categories": [{"id": i, "name": name} for i, name in enumerate(NAMES)],
        "annotations": truth,
        "info": {},
    }
    dataset.createIndex()
    evaluation = cocoeval.COCOeval(dataset, dataset.loadRes(guesses), "segm")
    evaluation.params.catIds = [NAMES.index(name) for name in names]
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return [float(value) for value in evaluation.stats]


def test_precision_is_that_of_pycocotools(capsys: pytest.CaptureFixture[str]) -> None:
    generator = np.random.default_rng(5)
    pictures = [random_picture(generator) for _ in range(10)]
    tally = InstanceTally(NAMES, limit=100)
    for truth, guesses in pictures:
        tally.add(truth, guesses, SIZE)
    classes = by_name(tally.precision.classes)
    assert any(segment.crowd for truth, _ in pictures for segment in truth)
    for found, names in ((tally.precision, NAMES), (classes["cat"], ["cat"]), (classes["dog"], ["dog"])):
        assert found.ap is not None
        assert 0.2 < found.ap < 0.9
        stats = by_pycocotools(pictures, names)
        figures = (found.ap, found.ap50, found.ap75, found.small, found.medium)
        assert figures == pytest.approx(stats[:5], abs=1e-6)
        assert found.ar == pytest.approx(stats[8], abs=1e-6)
        assert stats[5] == -1  # no thing is large here
        assert found.large is None
