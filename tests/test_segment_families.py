"""`rtseg.segment` on the families that are no class maps: tasks, thresholds and prompts reach what decides segments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import graphs
import numpy as np
import pytest
from onnx import helper

import rtseg
from rtseg import store

PICTURE = np.full((36, 64, 3), 90, np.uint8)


@pytest.fixture
def queries(tmp_path: Path) -> Path:
    """A card of three queries over 4x8 masks: a person on the left, a car beside it, and a person of a score of 0.6."""
    classes = np.zeros((1, 3, 3), np.float32)
    classes[0, 0, 0], classes[0, 1, 1], classes[0, 2, 0] = 9, 9, 1.1
    masks = np.full((1, 3, 4, 8), -9, np.float32)
    for number, columns in enumerate(((0, 3), (3, 5), (6, 8))):
        masks[0, number, :, slice(*columns)] = 9
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "none"], ["no"]),
    ]
    nodes += [helper.make_node("Add", ["no", name], [name[0]]) for name in ("classes", "masks")]
    constants: dict[str, Any] = {"none": np.zeros((), np.float32), "classes": classes, "masks": masks}
    path = tmp_path / "answers.onnx"
    graphs.save(
        path,
        nodes,
        inputs=[("x", (1, 3, 16, 32))],
        outputs=[("c", classes.shape), ("m", masks.shape)],
        constants=constants,
    )
    card = tmp_path / "answers.toml"
    card.write_text(
        f"""
name = "answers"
description = "Always the same"
family = "queries"
file = "answers.onnx"
sha256 = "{store.sha256_of(path)}"
licence = "CC0-1.0"
source = "Made up"
names = ["person", "car"]
outputs = [{{ name = "c" }}, {{ name = "m" }}]
[input]
name = "x"
size = [32, 16]
[queries]
kind = "maskformer"
classes = "c"
masks = "m"
""",
        encoding="utf-8",
    )
    return card


def labels(found: rtseg.Segments) -> list[str]:
    return [segment["label"] for segment in found]


def test_a_task_and_thresholds_reach_the_queries(queries: Path) -> None:
    assert labels(rtseg.segment(PICTURE, model=queries)) == ["person", "car", "person"]
    sure = rtseg.segment(PICTURE, model=queries, threshold=0.9)
    assert labels(sure) == ["person", "car"]
    assert all(segment["score"] is not None and segment["score"] > 0.9 for segment in sure)
    classes = rtseg.segment(PICTURE, model=queries, task="semantic")
    assert labels(classes) == ["person", "car"]
    assert [segment["score"] for segment in classes] == [None, None]
    assert labels(rtseg.segment(PICTURE, model=queries, task="instance")) == ["person", "car", "person"]


def test_masks_are_decided_at_the_size_of_the_picture(queries: Path) -> None:
    person, car, _ = rtseg.segment(PICTURE, model=queries)
    assert person["mask"].size == car["mask"].size == (64, 36)
    columns = np.asarray(person["mask"])[18]
    assert set(np.unique(columns)) == {0, 255}
    assert 22 <= int((columns > 0).sum()) <= 26  # three of eight


def test_options_of_other_families_are_refused(queries: Path) -> None:
    with pytest.raises(rtseg.ConfigError, match="has no option prompts"):
        rtseg.segment(PICTURE, model=queries, prompts=["a cat"])
    with pytest.raises(rtseg.ConfigError, match="has no option probabilities"):
        rtseg.segment(PICTURE, model=queries, probabilities=True)
