"""Cards of the family "queries", and what its segmenter makes of what a network says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from echo import EchoEngine
from numpy.typing import NDArray
from onnx import TensorProto, helper
from pydantic import ValidationError

from rtseg import store
from rtseg.cards import Card, read_card
from rtseg.effects.overlay import Overlay
from rtseg.errors import InferenceFailed, ModelRejected
from rtseg.ops.arrays import F32
from rtseg.results import Instances, Panoptic, Semantic, masks_of
from rtseg.segmenters.queries import QuerySegmenter
from rtseg.types import Frame, Segmenter, Tints

FRAME = Frame.from_rgb(np.full((36, 64, 3), 90, np.uint8), index=3, pts=5)
NAMES = ("person", "car", "sky")


def card(**queries: Any) -> Card:
    changes = {key: queries.pop(key) for key in ("names", "outputs", "fit", "family") if key in queries}
    table = {"kind": "maskformer", "classes": "c", "masks": "m", **queries}
    return Card.model_validate(
        {
            "name": "echo",
            "description": "",
            "family": changes.get("family", "queries"),
            "file": "echo.onnx",
            "sha256": "0" * 64,
            "licence": "",
            "source": "",
            "input": {"name": "x", "size": (32, 16), "fit": changes.get("fit", "stretch")},
            "outputs": changes.get("outputs", [{"name": "c"}, {"name": "m"}]),
            "names": changes.get("names", NAMES),
            "queries": table,
        }
    )


def said(*queries: tuple[int, int, int]) -> dict[str, NDArray[Any]]:
    """Outputs of queries that are sure of a class between two columns of masks 4x8."""
    classes = np.zeros((1, len(queries), 4), np.float32)
    masks = np.full((1, len(queries), 4, 8), -9, np.float32)
    for number, (label, start, end) in enumerate(queries):
        classes[0, number, label] = 9 - number / 10
        masks[0, number, :, start:end] = 9
    return {"c": classes, "m": masks}


SAID = said((0, 0, 3), (1, 3, 5), (2, 5, 6), (2, 6, 8))


def segmenter_of(made: Card, answer: dict[str, NDArray[Any]] = SAID) -> QuerySegmenter:
    return QuerySegmenter(made, EchoEngine((32, 16), lambda _: answer))


def test_a_panoptic_map_has_a_segment_a_query_unless_its_class_is_fused() -> None:
    segmenter = segmenter_of(card(fuse=["sky"]))
    result = segmenter(FRAME)
    assert isinstance(segmenter, Segmenter)
    assert isinstance(result, Panoptic)
    assert result.ids[0].tolist() == [1, 1, 1, 2, 2, 3, 3, 3]
    assert [(segment.id, segment.label) for segment in result.segments_info] == [(1, 0), (2, 1), (3, 2), (3, 2)]
    assert (result.names, result.pts, result.size) == (NAMES, 5, FRAME.size)
    apart = segmenter_of(card())(FRAME)
    assert isinstance(apart, Panoptic)
    assert apart.ids[0].tolist() == [1, 1, 1, 2, 2, 3, 4, 4]


def test_instances_have_boxes_in_pixels_of_the_frame() -> None:
    result = segmenter_of(card(task="instance"))(FRAME)
    assert isinstance(result, Instances)
    assert result.labels.tolist() == [0, 1, 2, 2]
    np.testing.assert_array_equal(result.boxes, [[0, 0, 24, 36], [24, 0, 40, 36], [40, 0, 48, 36], [48, 0, 64, 36]])
    assert result.masks.dtype == np.uint8
    assert result.masks.sum(axis=(1, 2)).tolist() == [255 * 4 * n for n in (3, 2, 1, 2)]


def test_instances_that_cover_each_other_are_cut_or_whole() -> None:
    both = said((0, 0, 8), (1, 2, 4))
    cut, whole = (segmenter_of(card(task="instance", overlapping=on), both)(FRAME) for on in (False, True))
    assert isinstance(cut, Instances)
    assert isinstance(whole, Instances)
    assert (cut.masks[:, 0] > 0).sum(axis=1).tolist() == [6, 2]
    assert (whole.masks[:, 0] > 0).sum(axis=1).tolist() == [8, 2]
    hidden = segmenter_of(card(task="instance"), said((0, 2, 4), (1, 0, 8)))(FRAME)
    assert isinstance(hidden, Instances)
    np.testing.assert_array_equal(hidden.boxes, [[0, 0, 0, 0], [0, 0, 64, 36]])


def test_a_semantic_map_adds_the_queries_of_a_class() -> None:
    result = segmenter_of(card(task="semantic"))(FRAME)
    assert isinstance(result, Semantic)
    assert result.labels[0].tolist() == [0, 0, 0, 1, 1, 2, 2, 2]


@pytest.mark.parametrize(("task", "shape"), [("semantic", (36, 64)), ("instance", (36, 64)), ("panoptic", (36, 64))])
def test_segments_are_decided_at_the_size_of_the_frame_where_the_card_says_so(
    task: str, shape: tuple[int, int]
) -> None:
    result = segmenter_of(card(task=task, resolution="frame"))(FRAME)
    assert {mask.shape for mask in masks_of(result).values()} == {shape}


def test_the_overlay_tints_what_is_there() -> None:
    result = segmenter_of(card())(FRAME)
    layers = Overlay(names=("person", "sky"), palette={"person": "#ff0000", "sky": "#0000ff"}, legend=False)(
        FRAME, result, ()
    )
    (layer,) = layers
    assert isinstance(layer.paint, Tints)
    assert isinstance(layer.alpha, np.ndarray)
    red, blue = 76, 29  # luma in BT.601
    tinted = [int(luma) if alpha else 0 for luma, alpha in zip(layer.paint.planes[0][0], layer.alpha[0], strict=True)]
    assert tinted == [red] * 3 + [0] * 2 + [blue] * 3


@pytest.mark.parametrize("task", ["semantic", "instance", "panoptic"])
def test_empty_claims_nothing(task: str) -> None:
    segmenter = segmenter_of(card(task=task))
    empty = segmenter.empty(FRAME)
    assert type(empty) is type(segmenter(FRAME))
    assert empty.segments() == []
    segmenter.reset()


@pytest.mark.parametrize("output", ["c", "m"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_refused(output: str, value: float) -> None:
    answer = {name: array.copy() for name, array in SAID.items()}
    answer[output].ravel()[5] = value
    with pytest.raises(InferenceFailed, match=f"output '{output}' .* frame 3"):
        segmenter_of(card(), answer)(FRAME)


def test_outputs_of_another_shape_are_refused() -> None:
    with pytest.raises(ModelRejected, match=r"names 2 classes, so that c must be 4x3 .* but it is 4x4"):
        segmenter_of(card(names=("a", "b")))(FRAME)
    with pytest.raises(ModelRejected, match="an output m of 4 axes"):
        segmenter_of(card(), {"c": SAID["c"], "m": SAID["m"][0]})(FRAME)
    with pytest.raises(ModelRejected, match="an output c of 3 axes"):
        segmenter_of(card(), {"m": SAID["m"]})(FRAME)


def test_the_tokens_of_the_task_go_in_with_each_frame() -> None:
    tokens = {"panoptic": [1, 2, 3], "semantic": [4, 5, 6]}
    seen = []

    class Told(EchoEngine):
        def __init__(self) -> None:
            super().__init__((32, 16), self._note)
            self.inputs["task_inputs"] = np.zeros((1, 3), np.int64)

        def _note(self, _: F32) -> dict[str, NDArray[Any]]:
            seen.append(self.inputs["task_inputs"].tolist())
            return SAID

    engine = Told()
    QuerySegmenter(card(task="semantic", tokens=tokens), engine)(FRAME)
    engine.inputs["task_inputs"][:] = 0  # another stream of the same engine
    QuerySegmenter(card(task="panoptic", tokens=tokens), engine)(FRAME)
    assert seen == [[[4, 5, 6]], [[1, 2, 3]]]
    with pytest.raises(ModelRejected, match=r"describes the input task_inputs int64 \(1, 3\), but the graph has x "):
        QuerySegmenter(card(tokens=tokens), EchoEngine((32, 16), lambda _: SAID))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"family": "semantic"}, 'the family "queries" has a table'),
        ({"outputs": [{"name": "c"}, {"name": "x"}]}, "has the outputs 'c' and 'm', without regions"),
        ({"fit": "letterbox"}, "takes fit = \"stretch\", not 'letterbox'"),
        ({"fuse": ["cloud"]}, "queries.fuse has .'cloud'."),
        ({"kind": "yolo"}, "Input should be 'maskformer', 'mask2former', 'oneformer' or 'detr'"),
        ({"threshold": 1.5}, "less than or equal to 1"),
        ({"tokens": {"semantic": [1]}}, "tokens has none for the task 'panoptic', only for .'semantic'."),
        ({"colour": "red"}, "Extra inputs are not permitted"),
    ],
)
def test_cards_that_contradict_themselves_are_refused(changes: dict[str, Any], problem: str) -> None:
    if changes == {"family": "semantic"}:
        changes = {**changes, "outputs": [{"name": "c"}]}
    with pytest.raises(ValidationError, match=problem):
        card(**changes)


def graph(path: Path, *, classes: int = 4, rank: int = 4, tokens: bool = False) -> Path:
    """A graph with the ports of a network with queries."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 16, 32])]
    if tokens:
        inputs.append(helper.make_tensor_value_info("task_inputs", TensorProto.INT64, [1, 3]))
    outputs = [
        helper.make_tensor_value_info("c", TensorProto.FLOAT, [1, 5, classes]),
        helper.make_tensor_value_info("m", TensorProto.FLOAT, [1, 5, 4, 8][:rank]),
    ]
    nodes = [helper.make_node("RandomNormal", [], [port.name], shape=[1]) for port in outputs]
    model = helper.make_model(helper.make_graph(nodes, "g", inputs, outputs))
    onnx.save(model, path)
    return path


def test_a_graph_is_held_against_its_card(tmp_path: Path) -> None:
    path = tmp_path / "echo.onnx"
    told = card(tokens={"panoptic": [1, 2, 3]})
    assert store.check_graph(graph(path), card()) == []
    assert store.check_graph(graph(path, tokens=True), told) == []
    with pytest.raises(ModelRejected, match=r"has the inputs \['x'\]; the card 'echo' says 'task_inputs' and 'x'"):
        store.check_graph(graph(path), told)
    with pytest.raises(ModelRejected, match=r"output 'c' is \(1, 5, 9\); the card 'echo' needs 1xQx4"):
        store.check_graph(graph(path, classes=9), card())
    with pytest.raises(ModelRejected, match=r"output 'm' is \(1, 5, 4\); the card 'echo' needs 1xQxhxw"):
        store.check_graph(graph(path, rank=3), card())


def test_a_card_without_its_table_is_refused() -> None:
    plain = card().model_copy(update={"queries": None})
    with pytest.raises(ModelRejected, match=r"has no table \[queries\]"):
        segmenter_of(plain)


def test_a_card_comes_back_from_its_file(tmp_path: Path) -> None:
    made = card(kind="oneformer", task="instance", fuse=["sky"], tokens={"instance": [0, 7]}, threshold=0.25)
    write_card = pytest.importorskip("rtseg.train.export", reason="needs the extra `train`").write_card
    path = tmp_path / "echo.toml"
    path.write_text(write_card(made))
    assert read_card(path).model_dump() == made.model_dump()
