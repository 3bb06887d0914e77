"""The options of `rtseg.segment` on live pipelines: same names, same meaning, same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import graphs
import numpy as np
import pytest
from onnx import helper

import rtseg
from rtseg import store
from rtseg.build import build_pipeline
from rtseg.cards import read_card
from rtseg.config import Config, ModelOptions
from rtseg.errors import ConfigError
from rtseg.families import check_asked, with_asked
from rtseg.filters.cut import Cut
from rtseg.options import configure
from rtseg.types import Frame, Instances, Regions, Size

SIZE = (32, 16)
MASKS = (8, 4)
"""Width and height of the network's own masks; pictures have this size, so that nothing is enlarged."""


def picture() -> Any:
    return np.full((MASKS[1], MASKS[0], 3), 90, np.uint8)


def constant_card(
    folder: Path, outputs: dict[str, Any], *, family: str, names: list[str], tables: str, size: tuple[int, int] = SIZE
) -> Path:
    """A card whose network gives these outputs whatever it sees."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "none"], ["no"]),
        *(helper.make_node("Add", ["no", f"of {name}"], [name]) for name in outputs),
    ]
    constants = {"none": np.zeros((), np.float32), **{f"of {name}": value for name, value in outputs.items()}}
    graph = folder / "always.onnx"
    graphs.save(
        graph,
        nodes,
        inputs=[("x", (1, 3, size[1], size[0]))],
        outputs=[(name, value.shape) for name, value in outputs.items()],
        constants=constants,
    )
    card = folder / "always.toml"
    card.write_text(
        f"""
name = "always"
description = "The same for all pictures"
family = "{family}"
file = "always.onnx"
sha256 = "{store.sha256_of(graph)}"
licence = "CC0-1.0"
source = "Made up"
names = {names}
{tables}
[input]
name = "x"
size = [{size[0]}, {size[1]}]
""",
        encoding="utf-8",
    )
    return card


@pytest.fixture
def queries(tmp_path: Path) -> Path:
    """Three queries: a person, a car that loses a third of its area to her, and a person of a score of 0.6."""
    classes = np.zeros((1, 3, 3), np.float32)
    classes[0, 0, 0], classes[0, 1, 1], classes[0, 2, 0] = 9, 5, 1.1
    masks = np.full((1, 3, MASKS[1], MASKS[0]), -9, np.float32)
    for number, (columns, level) in enumerate((((0, 3), 3.0), ((2, 5), 1.0), ((6, 8), 9.0))):
        masks[0, number, :, slice(*columns)] = level
    tables = 'outputs = [{ name = "c" }, { name = "m" }]\nqueries = { kind = "maskformer", classes = "c", masks = "m" }'
    outputs = {"c": classes, "m": masks}
    return constant_card(tmp_path, outputs, family="queries", names=["person", "car"], tables=tables)


@pytest.fixture
def soft(tmp_path: Path) -> Path:
    """Two regions: a sure one on the left, and one of 0.55 on the right."""
    values = np.full((1, 2, MASKS[1], MASKS[0]), 0.1, np.float32)
    values[0, 0, :, :3], values[0, 0, :, 3], values[0, 1, :, 4:] = 0.9, 0.45, 0.55
    tables = 'outputs = [{ name = "y", regions = { left = 0, right = 1 } }]'
    return constant_card(tmp_path, {"y": values}, family="regions", names=["left", "right"], tables=tables, size=MASKS)


def live(model: Path, **options: Any) -> list[Any]:
    pipeline = rtseg.load_pipeline(model=str(model), filters="none", **options)
    return list(pipeline(Frame.from_rgb(picture())).segmentation.segments())


def same(found: list[Any], wanted: rtseg.Segments) -> None:
    assert [(s["label"], s["score"]) for s in found] == [(s["label"], s["score"]) for s in wanted]
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(ours["mask"], np.asarray(theirs["mask"]))


@pytest.mark.parametrize(
    ("options", "labels"),
    [
        ({}, ["person", "person"]),
        ({"overlap_mask_area_threshold": 0.5}, ["person", "car", "person"]),
        ({"overlap_mask_area_threshold": 0.5, "threshold": 0.9}, ["person", "car"]),
        ({"overlap_mask_area_threshold": 0.5, "mask_threshold": 0.95}, ["person"]),
        ({"task": "instance", "threshold": 0.55}, ["person", "car", "person"]),
        ({"task": "semantic"}, ["person", "car"]),
    ],
)
def test_queries_decide_live_as_they_do_on_pictures(queries: Path, options: Any, labels: list[str]) -> None:
    wanted = rtseg.segment(picture(), model=queries, **options)
    same(live(queries, **options), wanted)
    assert len(wanted) == len(labels)


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({}, ["left", "right"]),
        ({"threshold": 0.6}, ["left"]),
        ({"mask_threshold": 0.5}, ["left", "right"]),
        ({"mask_threshold": 0.4, "threshold": 0.6}, ["left"]),
        ({"threshold": 0.95}, []),
    ],
)
def test_soft_regions_are_cut_live_as_they_are_on_pictures(soft: Path, options: Any, kept: list[str]) -> None:
    found = live(soft, **options)
    same(found, rtseg.segment(picture(), model=soft, **options))
    assert [segment["label"] for segment in found] == kept


def test_a_region_that_is_left_out_keeps_its_name_and_has_nothing(soft: Path) -> None:
    """Effects are checked against names, which must not come and go."""
    pipeline = rtseg.load_pipeline(model=str(soft), filters="none", overlay="all", threshold=0.6)
    found = pipeline(Frame.from_rgb(picture())).segmentation
    assert isinstance(found, Regions)
    assert found.names == ("left", "right")
    assert found.probabilities.max(axis=(1, 2)).tolist() == [230, 0]


def test_instances_under_the_threshold_are_taken_out_of_every_array() -> None:
    masks = np.array([[[255, 120]], [[130, 127]]], np.uint8)
    boxes, scores = np.arange(8, dtype=np.float32).reshape(2, 4), np.array([0.3, 0.7], np.float32)
    found = Instances(masks, boxes, np.array([1, 0]), scores, ("a", "b"), 0, Size(2, 1), np.array([5, 6]))
    cut = Cut(threshold=0.5, mask_threshold=0.5)(Frame.from_rgb(picture()), found)
    assert isinstance(cut, Instances)
    assert cut.track_ids is not None
    assert (cut.labels.tolist(), cut.track_ids.tolist(), cut.boxes.tolist()) == ([0], [6], [[4, 5, 6, 7]])
    assert cut.masks.tolist() == [[[255, 0]]]
    whole = Cut(threshold=0.25)(Frame.from_rgb(picture()), found)
    assert isinstance(whole, Instances)
    np.testing.assert_array_equal(whole.masks, masks)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "panoptic"}, r"model 'portrait' \(family 'regions'\) has no task 'panoptic': it does semantic"),
        ({"overlap_mask_area_threshold": 0.5}, r"no option overlap_mask_area_threshold: leave it out \(it has mask_th"),
        ({"threshold": 1.5}, r"threshold must be from 0 to 1, not 1.5"),
    ],
)
def test_what_a_family_does_not_have_is_one_error_live_too(options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        rtseg.load_pipeline(model="portrait", **options)


def test_an_option_of_pictures_alone_is_not_offered_to_streams(soft: Path) -> None:
    card = read_card(soft).model_copy(update={"family": "semantic"})
    with pytest.raises(ConfigError, match=r"no option threshold: leave it out \(it has none\)"):
        check_asked(card, None, {"threshold": 0.5}, live=True)


def test_a_task_without_tokens_is_refused(queries: Path) -> None:
    card = read_card(queries)
    assert card.queries is not None
    told = card.queries.model_copy(update={"tokens": {"panoptic": (1, 2)}})
    with pytest.raises(ConfigError, match="tokens, and its card has them for panoptic only"):
        with_asked(card.model_copy(update={"queries": told}), "semantic", {})


def test_a_table_and_arguments_ask_for_the_same(queries: Path) -> None:
    told = {"task": "instance", "threshold": 0.7, "mask_threshold": 0.4, "overlap_mask_area_threshold": 0.3}
    assert configure(**told).model == ModelOptions(name="portrait", **told)  # type: ignore[arg-type]
    table = rtseg.parse_config({"model": {"name": str(queries), **told}})
    found = build_pipeline(table, pictures=False)(Frame.from_rgb(picture())).segmentation
    assert [segment["label"] for segment in found.segments()] == ["person", "car"]
    with pytest.raises(ConfigError, match=r"model.task = 'things'"):
        rtseg.parse_config({"model": {"task": "things"}})


def test_a_loaded_pipeline_can_be_adaptive_and_focus() -> None:
    pipeline = rtseg.load_pipeline(adaptive=True, focus=True)
    assert pipeline.adaptive is not None
    assert type(pipeline.segmenter).__name__ == "Focus"
    plain = build_pipeline(Config(), pictures=False)
    assert plain.adaptive is None
    assert type(plain.segmenter).__name__ != "Focus"
