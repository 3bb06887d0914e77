"""YOLOX's raw heads to instances: by hand on its grids, and on a street beside its own recipe."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import onnxruntime as ort
import pytest
from detected import CLASSES, Outputs, answer, blank, card, iou
from echo import EchoEngine

from rtseg.cards import Card
from rtseg.config import ModelOptions
from rtseg.engines import build_segmenter, engine_settings
from rtseg.errors import ConfigError, InferenceFailed, ModelRejected
from rtseg.ops.arrays import F32, as_u8
from rtseg.segmenters.yolo import YoloSegmenter
from rtseg.store import find_card, verify
from rtseg.types import Frame, Instances


def yolox(outputs: Outputs, *, frame: tuple[int, int] = (832, 468)) -> Instances:
    return answer(outputs, card("yolox", outputs=("rows",), size=(416, 416), anchor="corner"), frame=frame)


def heads(found: list[tuple[int, int, int, tuple[float, ...], float, int, float]]) -> F32:
    """YOLOX's raw heads: (stride, column, row, offset and log size, objectness, label, score of the class) each."""
    rows = np.full((1, 3549, 5 + CLASSES), 0.1, np.float32)
    first = {8: 0, 16: 52 * 52, 32: 52 * 52 + 26 * 26}
    for stride, column, row, place, objectness, label, score in found:
        cell = first[stride] + row * (416 // stride) + column
        rows[0, cell, :4], rows[0, cell, 4], rows[0, cell, 5 + label] = place, objectness, score
    return rows


def test_yolox_heads_are_decoded_on_their_grids() -> None:
    log = math.log
    rows = heads(
        [
            (8, 10, 4, (0.5, 0.25, log(5), log(2)), 0.9, 1, 0.8),
            (16, 25, 10, (-0.5, 0.5, log(4), log(1)), 0.95, 4, 0.9),
            (32, 3, 5, (0.0, 0.0, log(3), log(2)), 0.6, 0, 0.5),
            (32, 8, 2, (0.0, 0.0, log(3), log(2)), 0.5, 0, 0.45),  # 0.225 in all
        ]
    )
    result = yolox({"rows": rows})
    # Centre = (offset + cell) * stride, twice that in the frame; the second box ends at the frame's right edge.
    np.testing.assert_allclose(result.boxes, [[720, 320, 832, 352], [128, 52, 208, 84], [96, 256, 288, 384]], atol=1e-3)
    np.testing.assert_allclose(result.scores, [0.95 * 0.9, 0.9 * 0.8, 0.6 * 0.5], rtol=1e-6)
    assert result.labels.tolist() == [4, 1, 0]
    assert result.masks.shape == (3, 58, 104)
    assert [int((mask > 127).any(axis=1).sum()) for mask in result.masks] == [4, 4, 16]


def test_a_size_that_no_float_holds_is_refused() -> None:
    with pytest.raises(InferenceFailed, match="infinity"):
        yolox({"rows": heads([(8, 10, 4, (0.5, 0.25, 200.0, 1.0), 0.9, 1, 0.8)])})


def test_yolox_sees_the_picture_in_the_corner_in_bgr_and_bytes() -> None:
    seen: list[F32] = []

    def keep(tensor: F32) -> Outputs:
        seen.append(tensor.copy())
        return {"rows": heads([])}

    made = card("yolox", outputs=("rows",), size=(416, 416))
    wanted = {"colour": "bgr", "anchor": "corner", "scale": 1.0}
    made = Card.model_validate(made.model_dump() | {"input": made.input.model_dump() | wanted})
    red = np.full((468, 832, 3), (255, 0, 0), np.uint8)
    YoloSegmenter(made, EchoEngine((416, 416), keep))(Frame.from_rgb(red))
    (tensor,) = seen
    for channel, level in zip(tensor[0], (0, 0, 255), strict=True):
        np.testing.assert_allclose(channel[:234], level, atol=2)  # two levels for the way through YUV
        np.testing.assert_array_equal(channel[234:], 114)


def test_yolox_sees_in_a_street_what_its_own_recipe_sees(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resized into the corner in BGR, run, decoded and suppressed as YOLOX's demo does, a cell after the other."""
    monkeypatch.setenv("RTSEG_MODELS", str(shared / "weights"))
    made = find_card("yolox-nano")
    with av.open(shared / "clips/road/highway_traffic.mp4") as clip:
        bgr = as_u8(next(clip.decode(video=0)).to_ndarray(format="bgr24"))
    height, width = bgr.shape[:2]
    ratio = min(416 / height, 416 / width)
    padded = np.full((416, 416, 3), 114, np.uint8)
    padded[: int(height * ratio), : int(width * ratio)] = cv2.resize(bgr, (int(width * ratio), int(height * ratio)))
    session = ort.InferenceSession(str(verify(made)), providers=["CPUExecutionProvider"])
    (rows,) = session.run(None, {"images": padded.transpose(2, 0, 1)[None].astype(np.float32)})
    cells = [(stride, x, y) for stride in (8, 16, 32) for y in range(416 // stride) for x in range(416 // stride)]
    sure = []
    for (stride, column, row), (x, y, w, h, objectness, *scores) in zip(cells, rows[0].tolist(), strict=True):
        best = objectness * max(scores)
        if best > 0.3:
            centre, size = (np.array([x + column, y + row]) * stride, np.exp([w, h]) * stride)
            box = np.concatenate([centre - size / 2, centre + size / 2]) / ratio
            sure.append((best, scores.index(max(scores)), box))
    kept: list[Any] = []
    for one in sorted(sure, key=lambda item: -item[0]):
        if all(one[1] != better[1] or iou(one[2], better[2]) <= 0.45 for better in kept):
            kept.append(one)
    result = build_segmenter(ModelOptions(), made)(Frame.from_rgb(bgr[..., ::-1].copy()))
    assert isinstance(result, Instances)
    assert [made.names[label] for _, label, _ in kept] == ["car", "car"]
    assert result.labels.tolist() == [label for _, label, _ in kept]
    # Rtseg halves before it resizes, so that the network's input differs by a few levels.
    np.testing.assert_allclose(result.scores, [best for best, _, _ in kept], atol=0.04)
    for box, (_, _, wanted) in zip(result.boxes, kept, strict=True):
        assert iou(box, wanted) > 0.93


def test_rows_of_another_shape_are_refused() -> None:
    with pytest.raises(ModelRejected, match="must be 1x3549x10, but"):
        yolox({"rows": np.zeros((1, 3549, 11), np.float32)})


def test_the_score_of_a_run_goes_before_the_cards() -> None:
    made = card("yolox", outputs=("rows",), size=(416, 416), anchor="corner")
    rows = heads([(8, 10, 4, (0.5, 0.25, 1.0, 1.0), 0.9, 1, 0.8), (16, 9, 9, (0.0, 0.0, 1.0, 1.0), 0.6, 0, 0.5)])
    for score, labels in ((None, [1, 0]), (0.5, [1]), (0.8, [])):
        options = ModelOptions(name="things", score=score)
        found = build_segmenter(options, made, engine=EchoEngine((416, 416), lambda _: {"rows": rows}))(blank())
        assert isinstance(found, Instances)
        assert found.labels.tolist() == labels
    with pytest.raises(ConfigError, match="score is the threshold of detectors, and model 'nuclei' is none"):
        build_segmenter(ModelOptions(score=0.5), find_card("nuclei"))
    assert "score" not in engine_settings(ModelOptions(score=0.5), Path("things.onnx"))
