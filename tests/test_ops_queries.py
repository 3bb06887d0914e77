"""Queries to segments, held against the processors of transformers on the same logits."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
from originals import check_same, original

from rtseg.ops import queries
from rtseg.ops.arrays import F32
from rtseg.ops.queries import Kind, Thresholds

KINDS: tuple[Kind, ...] = ("maskformer", "mask2former", "oneformer", "detr")
QUERIES, CLASSES = 20, 66  # from 64 classes on, topk(sorted=False) is in order
LOOSE = Thresholds(0.3, 0.5, 0.3)


def logits(seed: int) -> tuple[F32, F32]:
    """Blobs that overlap, each of a class of its own mind, some of them sure."""
    chance = np.random.default_rng(seed)
    height, width = chance.integers(24, 48, 2)
    classes = chance.normal(0, 1, (QUERIES, CLASSES + 1)).astype(np.float32)
    classes[np.arange(QUERIES), chance.integers(0, CLASSES, QUERIES)] += chance.uniform(2, 9, QUERIES)
    classes[:, -1] -= 6
    rows, columns = np.mgrid[:height, :width]
    y, x, radius = (chance.uniform(0, side, (QUERIES, 1, 1)) for side in (height, width, 14))
    masks = (radius + 2 - np.hypot(rows - y, columns - x)) * 2 + chance.normal(0, 0.5, (QUERIES, height, width))
    return classes, masks.astype(np.float32)


def size_for(seed: int) -> tuple[int, int]:
    width, height = np.random.default_rng(1000 + seed).integers(50, 140, 2)
    return int(width), int(height)


@pytest.mark.parametrize("at_size", [False, True], ids=["masks", "frame"])
@pytest.mark.parametrize("kind", KINDS)
def test_twenty_semantic_maps_are_those_of_transformers(kind: Kind, at_size: bool) -> None:
    for seed in range(20):
        classes, masks = logits(seed)
        size = size_for(seed) if at_size else None
        wanted = original(kind, "semantic", classes, masks, size=size).numpy()
        found = queries.semantic(classes, masks, kind, size=size)
        assert found.shape == wanted.shape
        assert (found == wanted).mean() > 0.9995  # ties of sums that are rounded differently


@pytest.mark.parametrize("at_size", [False, True], ids=["masks", "frame"])
@pytest.mark.parametrize("kind", KINDS)
def test_twenty_panoptic_maps_are_those_of_transformers(kind: Kind, at_size: bool) -> None:
    segments = 0
    for seed in range(20):
        classes, masks = logits(seed)
        size = size_for(seed) if at_size else None
        options = {"threshold": LOOSE.threshold, "mask_threshold": LOOSE.mask, "size": size}
        wanted = original(
            kind,
            "panoptic",
            classes,
            masks,
            overlap_mask_area_threshold=LOOSE.overlap,
            label_ids_to_fuse=set(),
            **options,
        )
        found = queries.panoptic(classes, masks, kind, thresholds=LOOSE, size=size)
        check_same(found, wanted, background=0 if len(found.labels) else -1)
        segments += len(found.labels)
    assert segments > 100


@pytest.mark.parametrize("at_size", [False, True], ids=["masks", "frame"])
@pytest.mark.parametrize("kind", KINDS)
def test_twenty_pictures_instances_are_those_of_transformers(kind: Kind, at_size: bool) -> None:
    segments = 0
    for seed in range(20):
        classes, masks = logits(seed)
        size = size_for(seed) if at_size else None
        found = queries.instances(classes, masks, kind, thresholds=LOOSE, size=size)
        options = dict(zip(("threshold", "mask_threshold", "overlap_mask_area_threshold"), LOOSE, strict=True))
        wanted = original(kind, "instance", classes, masks, size=size, **options)
        paints = kind in ("maskformer", "mask2former")
        check_same(found, wanted, background=-1 if paints or not len(found.labels) else 0)
        segments += len(found.labels)
        if paints:
            whole = original(kind, "instance", classes, masks, size=size, return_binary_maps=True, **options)
            assert found.masks is not None
            np.testing.assert_array_equal(found.masks, whole["segmentation"].numpy() == 1)
    assert segments > 100


def blocks(*spans: tuple[int, int], width: int = 40) -> F32:
    """A mask of four rows for each span of columns."""
    masks = np.full((len(spans), 4, width), -9, np.float32)
    for mask, (start, end) in zip(masks, spans, strict=True):
        mask[:, start:end] = 9
    return masks


def sure(*labels: int, classes: int = CLASSES) -> F32:
    """Queries that are sure of their class, or of none (the last)."""
    logits = np.zeros((len(labels), classes + 1), np.float32)
    logits[np.arange(len(labels)), labels] = 12
    return logits


def test_fused_labels_share_an_id_and_no_other_segment_gets_it() -> None:
    masks = blocks((0, 10), (10, 20), (20, 30), (30, 40))
    classes = sure(5, 7, 5, 8)
    found = queries.panoptic(classes, masks, "maskformer", fuse=frozenset({5}))
    assert found.numbers.tolist() == [1, 2, 1, 3]
    assert found.ids[0, ::10].tolist() == [1, 2, 1, 3]
    # transformers goes on from the shared id, so a thing of class 8 becomes one with that of class 7.
    theirs = original("maskformer", "panoptic", classes, masks, label_ids_to_fuse={5})
    assert [segment["id"] for segment in theirs["segments_info"]] == [1, 2, 1, 2]


@pytest.mark.parametrize("kind", KINDS)
def test_fused_queries_are_those_of_transformers(kind: Kind) -> None:
    masks = blocks((0, 10), (10, 20), (20, 30), (30, 40))
    classes = sure(7, 5, 8, 5)
    found = queries.panoptic(classes, masks, kind, fuse=frozenset({5}))
    wanted = original(kind, "panoptic", classes, masks, label_ids_to_fuse={5})
    check_same(found, wanted, background=0)
    assert found.numbers.tolist() == [1, 2, 3, 2]


@pytest.mark.parametrize("own", [3, 4, 5])
def test_a_query_that_keeps_exactly_the_least_share_is_judged_as_there(own: int) -> None:
    masks = blocks((0, 5), (own, 10))
    masks[0, :, :5], masks[0, :, 5:] = 5, -20  # the second wins where both are, and where neither is
    thresholds = Thresholds(0.5, 0.5, 0.8)
    found = queries.panoptic(sure(1, 2), masks, "detr", thresholds=thresholds)
    wanted = original("detr", "panoptic", sure(1, 2), masks, label_ids_to_fuse=set())
    check_same(found, wanted, background=0)
    assert found.labels.tolist() == ([2] if own < 4 else [1, 2])


@pytest.mark.parametrize("task", ["panoptic", "instances"])
@pytest.mark.parametrize("kind", KINDS)
def test_without_a_sure_query_there_is_no_segment(kind: Kind, task: str) -> None:
    found = cast("queries.Found", getattr(queries, task)(sure(CLASSES, CLASSES), blocks((0, 10), (10, 20)), kind))
    assert (found.ids == -1).all()
    assert found.ids.shape == ((384, 384) if kind == "mask2former" else (4, 40))
    assert found.labels.size == found.scores.size == found.numbers.size == 0


def test_raw_logits_decide_the_instances_of_oneformer() -> None:
    # 0.4 is a probability of 0.6, which would count as inside.
    masks = np.full((1, 4, 4), 0.4, np.float32)
    assert queries.instances(sure(3), masks, "oneformer").labels.size == 0
    assert queries.panoptic(sure(3), masks, "oneformer").labels.tolist() == [3]


def test_where_no_query_is_likely_the_least_unlikely_decides() -> None:
    masks = np.stack([np.full((4, 4), -30, np.float32), np.full((4, 4), -25, np.float32)])
    assert (queries.semantic(sure(3, 5), masks, "maskformer") == 5).all()
    found = queries.panoptic(sure(3, 5), masks, "detr", thresholds=Thresholds(0.5, 0.0, 0.8))
    assert found.labels.tolist() == [5]
