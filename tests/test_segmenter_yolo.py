"""Detectors' tensors to instances, against a reference that does the same one box and one pixel at a time."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import graphs
import numpy as np
import pytest
from detected import CLASSES, HD, SIDE, answer, blank, card, iou
from echo import EchoEngine
from numpy.typing import NDArray
from onnx import helper
from pydantic import ValidationError

from rtseg.cards import Card
from rtseg.compositor import Compositor
from rtseg.config import ModelOptions
from rtseg.effects.overlay import Overlay
from rtseg.engines import build_segmenter
from rtseg.errors import InferenceFailed, ModelRejected
from rtseg.ops.arrays import F32
from rtseg.ops.resize import enlarge
from rtseg.segmenters.yolo import YoloSegmenter
from rtseg.store import sha256_of
from rtseg.types import Frame, Instances, Size

K = 32
CELLS = 8400


class Found(NamedTuple):
    """A box in pixels of the input, and what its cell says of it."""

    box: tuple[float, float, float, float]
    label: int
    score: float
    coefficients: F32


def scene(count: int, *, seed: int = 0) -> list[Found]:
    """Boxes anywhere in the picture's part of the input, three cells for each, some over its edge."""
    chance = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        centre, size = chance.uniform((10, 150), (630, 490)), chance.uniform(12, 160, 2)
        label, score = int(chance.integers(CLASSES)), float(chance.uniform(0.3, 0.95))
        weights = chance.normal(0, 1, K).astype(np.float32)
        for near in range(3):
            moved = centre + chance.normal(0, 0.02, 2) * size
            box = (*(moved - size / 2).tolist(), *(moved + size / 2).tolist())
            found.append(Found(box, label, score - 0.01 * near, weights))
    return found


def prototypes(seed: int = 1) -> F32:
    return np.random.default_rng(seed).normal(0, 1, (1, K, SIDE // 4, SIDE // 4)).astype(np.float32)


def rows_of(found: list[Found], *, coefficients: int = K) -> F32:
    """As YOLOv8 and YOLO11 export them: 1x(4+C+K)xN, cells in no order, all others unsure."""
    chance = np.random.default_rng(2)
    rows = np.zeros((1, 4 + CLASSES + coefficients, CELLS), np.float32)
    rows[0, :4] = chance.uniform(0, SIDE, (4, CELLS))
    rows[0, 4 : 4 + CLASSES] = chance.uniform(0, 0.2, (CLASSES, CELLS))
    for cell, one in zip(chance.permutation(CELLS), found, strict=False):
        x0, y0, x1, y1 = one.box
        rows[0, :4, cell] = (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0
        rows[0, 4 + one.label, cell] = one.score
        rows[0, 4 + CLASSES :, cell] = one.coefficients[:coefficients]
    return rows


class Wanted(NamedTuple):
    """Box in pixels of the frame, and a hard mask at the prototypes' resolution without the letterbox."""

    box: list[float]
    label: int
    score: float
    mask: NDArray[np.bool_]


def reference(
    rows: F32, protos: F32, frame: tuple[int, int], *, score: float = 0.25, overlap: float = 0.7, most: int = 300
) -> list[Wanted]:
    """The same in float64, a box after the other and a pixel after the other."""
    scale = min(SIDE / frame[0], SIDE / frame[1])
    inner = round(frame[0] * scale), round(frame[1] * scale)
    left, top = (SIDE - inner[0]) // 2, (SIDE - inner[1]) // 2
    sure = []
    for cell in rows[0].T.astype(np.float64):
        scores = cell[4 : 4 + CLASSES].tolist()
        if max(scores) > score:
            x, y, w, h = cell[:4]
            corners = np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
            sure.append((corners, scores.index(max(scores)), max(scores), cell[4 + CLASSES :]))
    kept: list[Any] = []
    for one in sorted(sure, key=lambda item: -item[2]):
        if all(one[1] != better[1] or iou(one[0], better[0]) <= overlap for better in kept):
            kept.append(one)
    columns, rows_out = round(inner[0] / 4), round(inner[1] / 4)
    made = []
    for corners, label, best, weights in kept[:most]:
        across, down = frame[0] / inner[0], frame[1] / inner[1]
        box = [
            min(max((corners[0] - left) * across, 0.0), frame[0]),
            min(max((corners[1] - top) * down, 0.0), frame[1]),
            min(max((corners[2] - left) * across, 0.0), frame[0]),
            min(max((corners[3] - top) * down, 0.0), frame[1]),
        ]
        logits = np.tensordot(weights, protos[0].astype(np.float64), 1)
        mask = np.zeros((rows_out, columns), np.bool_)
        for y, x in np.ndindex(mask.shape):
            at = (x + 0.5) / columns, (y + 0.5) / rows_out  # of the picture
            if box[0] <= at[0] * frame[0] < box[2] and box[1] <= at[1] * frame[1] < box[3]:
                place = (left + at[0] * inner[0]) / 4 - 0.5, (top + at[1] * inner[1]) / 4 - 0.5
                mask[y, x] = sample(logits, *place) > 0
        made.append(Wanted(box, label, best, mask))
    return made


def sample(plane: NDArray[Any], x: float, y: float) -> float:
    """Bilinear, between centres at whole numbers, edges repeated."""
    height, width = plane.shape
    left, top = math.floor(x), math.floor(y)
    value = 0.0
    for row, down in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, across in ((left, 1 - (x - left)), (left + 1, x - left)):
            at = min(max(row, 0), height - 1), min(max(column, 0), width - 1)
            value += down * across * float(plane[at])
    return value


@pytest.mark.parametrize("count", [0, 1, 100])
def test_a_letterboxed_frame_gives_what_the_reference_gives(count: int) -> None:
    rows, protos = rows_of(scene(count)), prototypes()
    wanted = reference(rows, protos, HD)
    assert len(wanted) >= 0.9 * count
    result = answer({"rows": rows, "prototypes": protos})
    assert (result.size, result.pts, result.names[0]) == (Size(*HD), 7, "thing 0")
    assert result.masks.shape == (len(wanted), 90, 160)
    assert result.labels.tolist() == [one.label for one in wanted]
    assert result.scores.tolist() == [np.float32(one.score) for one in wanted]
    # float32 has five digits after the point at 100, and a frame's pixel is two of the input's.
    np.testing.assert_allclose(result.boxes, np.reshape([one.box for one in wanted], (-1, 4)), atol=1e-3)
    for mask, one in zip(result.masks, wanted, strict=True):
        np.testing.assert_array_equal(mask >= 128, one.mask)


@pytest.mark.parametrize("frame", [(1000, 613), (333, 500), (640, 640)])
def test_frames_whose_letterbox_ends_between_pixels_keep_their_masks_in_place(frame: tuple[int, int]) -> None:
    rows, protos = rows_of(scene(12, seed=3)), prototypes(5)
    wanted = [one for one in reference(rows, protos, frame) if one.box[0] < one.box[2] and one.box[1] < one.box[3]]
    result = answer({"rows": rows, "prototypes": protos}, frame=frame)
    assert result.labels.tolist() == [one.label for one in wanted]
    np.testing.assert_allclose(result.boxes, [one.box for one in wanted], atol=1e-3)
    said, meant = result.masks >= 128, np.stack([one.mask for one in wanted])
    # OpenCV's weights are multiples of 1/32, so noise near zero may change sides.
    assert (said & meant).sum() / (said | meant).sum() > 0.98


def test_edges_have_no_steps_when_masks_are_enlarged() -> None:
    y, x = np.mgrid[:160, :160]
    protos = np.zeros((1, K, 160, 160), np.float32)
    protos[0, 0] = np.clip(30.3 - np.hypot(x - 80, y - 79), -2, 2)  # falls over four pixels, as in networks
    weights = np.zeros(K, np.float32)
    weights[0] = 3.0
    found = [Found((120.0, 150.0, 520.0, 490.0), 0, 0.9, weights)]
    (mask,) = answer({"rows": rows_of(found), "prototypes": protos}).masks
    y, x = np.mgrid[:720, :1280]
    disc = np.hypot((x + 0.5) / 8 - 0.5 - 80, (y + 0.5) / 8 - 0.5 - 44) < 30.3
    large = enlarge(mask, HD) > 127
    assert (large & disc).sum() / (large | disc).sum() > 0.9995  # 0.998 with a sigmoid


def test_overlapping_boxes_of_other_classes_are_kept() -> None:
    box, weights = (100.0, 200.0, 200.0, 300.0), np.ones(K, np.float32)
    beside = (102.0, 200.0, 202.0, 300.0)
    found = [Found(box, 0, 0.9, weights), Found(beside, 1, 0.8, weights), Found(beside, 0, 0.7, weights)]
    result = answer({"rows": rows_of(found), "prototypes": prototypes()})
    assert result.labels.tolist() == [0, 1]
    np.testing.assert_allclose(result.boxes, [[200, 120, 400, 320], [204, 120, 404, 320]], atol=1e-3)


def test_boxes_outside_of_the_input_do_not_reach_into_other_classes() -> None:
    """Classes are told apart by moving their boxes: by too little, they would lie on each other."""
    weights = np.ones(K, np.float32)
    found = [
        Found((560.0, 420.0, 1300.0, 1160.0), 0, 0.9, weights),
        Found((-100.0, -240.0, 640.0, 500.0), 1, 0.8, weights),
    ]
    assert answer({"rows": rows_of(found), "prototypes": prototypes()}).labels.tolist() == [0, 1]


def test_the_cards_thresholds_decide() -> None:
    rows, protos = rows_of(scene(40)), prototypes()
    for limits in ({"score": 0.6}, {"overlap": 0.99}, {"most": 7}):
        wanted = reference(rows, protos, HD, **limits)
        result = answer({"rows": rows, "prototypes": protos}, card(detection=limits))
        assert result.labels.tolist() == [one.label for one in wanted]
    assert len(result.labels) == 7


def test_what_lies_in_the_padding_is_no_instance() -> None:
    found = [Found((100.0, 20.0, 200.0, 120.0), 0, 0.9, np.ones(K, np.float32))]
    assert len(answer({"rows": rows_of(found), "prototypes": prototypes()}).labels) == 0


def test_exports_that_need_no_suppression_give_the_same_instances() -> None:
    found = scene(20)
    protos = prototypes()
    wanted = answer({"rows": rows_of(found), "prototypes": protos}, card(detection={"overlap": 1.0}))
    rows = np.zeros((1, 300, 6 + K), np.float32)
    for place, one in zip(np.random.default_rng(0).permutation(300), found, strict=False):
        rows[0, place] = (*one.box, one.score, one.label, *one.coefficients)
    result = answer({"rows": rows, "prototypes": protos})
    assert len(result.labels) == len(found)
    np.testing.assert_array_equal(result.labels, wanted.labels)
    np.testing.assert_array_equal(result.scores, wanted.scores)
    np.testing.assert_allclose(result.boxes, wanted.boxes, atol=1e-3)
    np.testing.assert_array_equal(result.masks, wanted.masks)


def test_without_prototypes_masks_are_the_boxes() -> None:
    found = [Found((100.0, 200.0, 202.0, 300.0), 2, 0.9, np.ones(K, np.float32))]
    result = answer({"rows": rows_of(found, coefficients=0)}, card(outputs=("rows",)))
    np.testing.assert_allclose(result.boxes, [[200, 120, 404, 320]], atol=1e-3)
    wanted = np.zeros((90, 160), np.uint8)
    wanted[15:40, 25:50] = 255
    wanted[15:40, 50] = 128  # half of it is covered
    np.testing.assert_array_equal(result.masks, wanted[None])


def test_the_result_is_its_own() -> None:
    outputs = {"rows": rows_of(scene(5)), "prototypes": prototypes()}
    result = answer(outputs)
    before = [array.copy() for array in (result.masks, result.boxes, result.labels, result.scores)]
    for array in outputs.values():
        array[:] = 0
    for now, was in zip((result.masks, result.boxes, result.labels, result.scores), before, strict=True):
        np.testing.assert_array_equal(now, was)


def test_empty_claims_nothing() -> None:
    empty = YoloSegmenter(card(), EchoEngine((SIDE, SIDE), lambda _: {})).empty(blank())
    assert (empty.masks.shape, empty.boxes.shape, empty.segments()) == ((0, 90, 160), (0, 4), [])


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(("output", "place"), [("rows", 2), ("rows", 5), ("rows", 20), ("prototypes", 9)])
def test_nan_and_infinity_are_refused(output: str, place: int, value: float) -> None:
    outputs = {"rows": rows_of(scene(3)), "prototypes": prototypes()}
    outputs[output][0, place].flat[17] = value
    with pytest.raises(InferenceFailed, match=rf"'{output}' of model 'things' at frame 3"):
        answer(outputs)


def test_scores_and_classes_that_cannot_be_are_refused() -> None:
    rows = rows_of([])
    rows[0, 6, 11] = 1.5
    with pytest.raises(InferenceFailed, match=r"outside 0\.\.1"):
        answer({"rows": rows, "prototypes": prototypes()})
    ranked = np.zeros((1, 300, 6 + K), np.float32)
    ranked[0, 4, :6] = (10, 200, 50, 300, 0.9, CLASSES)
    with pytest.raises(InferenceFailed, match="has class 5 of 5"):
        answer({"rows": ranked, "prototypes": prototypes()})


def test_outputs_that_are_not_as_the_card_says_are_refused() -> None:
    with pytest.raises(ModelRejected, match=r"must be 1x41xN or 1xNx38, but the graph gives \(1, 42, 8400\)"):
        answer({"rows": np.zeros((1, 42, CELLS), np.float32), "prototypes": prototypes()})
    with pytest.raises(ModelRejected, match="output prototypes of 4 sides"):
        answer({"rows": rows_of([]), "prototypes": prototypes()[0]})


@pytest.mark.parametrize(
    "changes",
    [
        {"outputs": [{"name": "rows", "regions": {"thing 0": 0}}]},
        {"outputs": [{"name": name} for name in "abc"]},
        {"family": "yolox", "outputs": [{"name": "a"}, {"name": "b"}]},
    ],
)
def test_a_card_says_what_its_family_has(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match='the family "yolo" has an output of rows'):
        Card.model_validate(card().model_dump() | changes)


def test_a_graph_of_that_layout_runs_from_the_card_to_the_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real graph in a real engine: its rows are constant, its first prototype is bright where the picture is."""
    monkeypatch.setenv("RTSEG_MODELS", str(tmp_path))
    weights = np.zeros(K, np.float32)
    weights[0] = 20.0
    rows = rows_of([Found((160.0, 140.0, 480.0, 500.0), 3, 0.9, weights)])
    nodes = [
        helper.make_node("AveragePool", ["x"], ["small"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Sub", ["small", "half"], ["centred"]),
        helper.make_node("Concat", ["centred", "rest"], ["prototypes"], axis=1),
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "nothing"], ["none"]),
        helper.make_node("Add", ["constant", "none"], ["rows"]),
    ]
    constants = {
        "half": np.array(0.5, np.float32),
        "rest": np.zeros((1, K - 3, 160, 160), np.float32),
        "nothing": np.array(0, np.float32),
        "constant": rows,
    }
    outputs = [("rows", rows.shape), ("prototypes", (1, K, 160, 160))]
    path = graphs.save(
        tmp_path / "things.onnx", nodes, inputs=[("x", (1, 3, SIDE, SIDE))], outputs=outputs, constants=constants
    )
    made = card(sha256=sha256_of(path))
    picture = np.zeros((720, 1280, 3), np.uint8)
    picture[:, 640:] = 255
    frame = Frame.from_rgb(picture)
    found = build_segmenter(ModelOptions(), made)(frame)
    assert isinstance(found, Instances)
    wanted = np.zeros((90, 160), np.bool_)
    wanted[:, 80:120] = True
    np.testing.assert_array_equal(found.masks[0] >= 128, wanted)
    tinted = Compositor()(frame, Overlay(palette={"thing 3": "#ff0000"}, legend=False, opacity=1.0)(frame, found, ()))
    reddish = tinted.rgb[360, :, 0].astype(int) - tinted.rgb[360, :, 1] > 200
    inside = np.flatnonzero(reddish)
    assert [int(inside[0]), int(inside[-1])] == pytest.approx([640, 959], abs=8)  # a pixel of the mask
    assert len(inside) == inside[-1] + 1 - inside[0]
