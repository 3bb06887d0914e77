"""`rtseg.segment` on small folders and on cards; `test_segment_original.py` holds it against transformers."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import pytest
from checkpoints import LABELS, change, make_folder, pictures
from PIL import Image

import rtseg
from rtseg import exact
from rtseg.cards import Card
from rtseg.errors import ConfigError, InferenceFailed, ModelRejected
from rtseg.families import FAMILIES
from rtseg.ops.tensors import best_class
from rtseg.segmenting import ImageSegmenter

PICTURE = pictures()[2]


def masks(found: rtseg.Segments) -> dict[str, Any]:
    return {segment["label"]: np.asarray(segment["mask"]) for segment in found}


def test_each_pixel_has_one_class_and_labels_are_those_of_the_config(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    found = rtseg.segment(PICTURE, model=folder)
    assert found.names == tuple(LABELS)
    assert [segment["score"] for segment in found] == [None] * len(found)
    stacked = np.stack([np.asarray(segment["mask"]) for segment in found])
    assert set(np.unique(stacked)) == {0, 255}
    np.testing.assert_array_equal((stacked > 0).sum(axis=0), np.ones(PICTURE.shape[:2]))


def test_the_best_class_at_another_size_is_that_of_enlarged_scores() -> None:
    scores = np.random.default_rng(1).normal(size=(5, 6, 9)).astype(np.float32)
    full = np.stack([cv2.resize(score, (31, 17), interpolation=cv2.INTER_LINEAR) for score in scores])
    labels, best = best_class(scores, size=(31, 17))
    np.testing.assert_array_equal(labels, full.argmax(axis=0))
    np.testing.assert_array_equal(best, full.max(axis=0))


def test_every_form_of_a_picture_gives_the_same(tmp_path: Path) -> None:
    folder, path = make_folder(tmp_path / "model"), tmp_path / "picture.png"
    Image.fromarray(PICTURE).save(path)
    wanted = masks(rtseg.segment(PICTURE, model=folder))
    for form in (path, str(path), path.read_bytes(), Image.open(path), bytearray(path.read_bytes())):
        found = masks(rtseg.segment(form, model=str(folder)))
        assert list(found) == list(wanted)
        for label, mask in wanted.items():
            np.testing.assert_array_equal(found[label], mask)


def test_probabilities_sum_to_one_and_their_best_is_the_label(tmp_path: Path) -> None:
    found = rtseg.segment(PICTURE, model=make_folder(tmp_path), probabilities=True)
    assert found.probabilities is not None
    assert found.probabilities.shape == (7, *PICTURE.shape[:2])
    np.testing.assert_allclose(found.probabilities.sum(axis=0), 1.0, atol=1e-5)
    labels = rtseg.as_label_map(found)
    best = np.take_along_axis(found.probabilities, labels[None].astype(np.int64), axis=0)[0]
    np.testing.assert_allclose(best, found.probabilities.max(axis=0), atol=1e-6)


def test_tensors_of_the_pictures_own_shape_get_an_engine_each(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    change(folder / "preprocessor_config.json", size={"shortest_edge": 40})
    segmenter = ImageSegmenter(folder)
    for picture in pictures():
        assert all(mask.shape == picture.shape[:2] for mask in masks(segmenter(picture)).values())
    assert segmenter._exact is not None
    assert len(segmenter._exact.engines.sizes) == exact.KEPT


def test_a_matte_is_soft_unless_it_is_cut(shared: Path) -> None:
    path = sorted((shared / "data" / "person" / "web" / "images").glob("*.jpg"))[0]
    (soft,) = rtseg.segment(path)
    (hard,) = rtseg.segment(path, mask_threshold=0.75)
    with Image.open(path) as picture:
        assert soft["mask"].size == hard["mask"].size == picture.size
    a, b = np.asarray(soft["mask"]), np.asarray(hard["mask"])
    assert len(np.unique(a)) > 50
    np.testing.assert_array_equal(b > 0, a > 0.75 * 255)
    assert soft["label"] == "person"
    assert soft["score"] is not None
    assert rtseg.segment(path, threshold=soft["score"]) == [soft] or soft["score"] > 0.5
    assert rtseg.segment(path, threshold=1.0) == []


def test_espnetv2_by_its_card(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTSEG_MODELS", str(shared / "weights"))
    path = sorted((shared / "data" / "driving" / "camvid" / "val" / "images").glob("*.jpg"))[0]
    found = rtseg.segment(path, model="espnetv2-city")
    assert {"road", "car", "building"} & set(masks(found))
    labels = rtseg.as_label_map(found)
    with Image.open(path) as picture:
        assert labels.shape == (picture.height, picture.width)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 0.5}, r"has no option threshold: leave it out \(it has probabilities\)"),
        ({"mask_threshold": 0.5}, "has no option mask_threshold"),
        ({"overlap_mask_area_threshold": 0.5}, "has no option overlap_mask_area_threshold"),
        ({"prompts": ["a cat"]}, "has no option prompts"),
        ({"task": "panoptic"}, "has no task 'panoptic': it does semantic"),
    ],
)
def test_what_a_family_does_not_have_is_one_error(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        rtseg.segment(PICTURE, model=make_folder(tmp_path), **options)


def test_shares_are_from_0_to_1() -> None:
    with pytest.raises(ConfigError, match="threshold must be from 0 to 1, not 50"):
        rtseg.segment(PICTURE, threshold=50)


def test_every_family_of_cards_says_what_it_can_be_asked_for() -> None:
    assert set(FAMILIES) == set(get_args(Card.model_fields["family"].annotation))


def test_a_model_in_half_floats_is_refused_before_it_sees_a_picture(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto

    folder = make_folder(tmp_path)
    path = folder / "onnx" / "model.onnx"
    model = onnx.load(path)
    for port in (*model.graph.input, *model.graph.output):
        port.type.tensor_type.elem_type = TensorProto.FLOAT16
    weights = onnx.numpy_helper.to_array(model.graph.initializer[0]).astype(np.float16)
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weights, "weights"))
    onnx.save(model, path)
    with pytest.raises(ModelRejected, match="takes pixel_values float16, and must take float32 pictures"):
        ImageSegmenter(folder)


def test_a_folder_that_was_written_anew_is_opened_anew(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    assert "wall" in rtseg.segment(PICTURE, model=folder).names
    change(folder / "config.json", id2label=dict(enumerate("abcdefg")))
    assert rtseg.segment(PICTURE, model=folder).names == tuple("abcdefg")


def test_a_graph_of_one_size_refuses_tensors_of_the_pictures_shape(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, sides=(24, 32))
    change(folder / "preprocessor_config.json", size={"shortest_edge": 24})
    assert len(rtseg.segment(np.zeros((48, 64, 3), np.uint8), model=folder)) == 1
    with pytest.raises(ModelRejected, match="takes 32x24 only, and preprocessor_config.json makes 24x48 of this"):  # noqa: RUF043
        rtseg.segment(np.zeros((96, 48, 3), np.uint8), model=folder)


def test_threads_share_a_network_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter = ImageSegmenter(make_folder(tmp_path))
    assert isinstance(segmenter._exact, exact.ExactScores)
    inside, most = 0, 0
    original = segmenter._exact.scores

    def slow(picture: Any) -> Any:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.01)
        scores = original(picture)
        inside -= 1
        return scores

    monkeypatch.setattr(segmenter._exact, "scores", slow)
    made = pictures()
    found: dict[int, rtseg.Segments] = {}
    threads = [threading.Thread(target=lambda n=n: found.update({n: segmenter(made[n])})) for n in range(len(made))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, len(found)) == (1, len(made))
    for number, picture in enumerate(made):
        assert rtseg.as_label_map(found[number]).shape == picture.shape[:2]


def test_scores_that_are_no_numbers_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter = ImageSegmenter(make_folder(tmp_path))
    scores = np.zeros((len(LABELS), 4, 4), np.float32)
    scores[3, 2, 2] = np.nan
    monkeypatch.setattr(segmenter._exact, "scores", lambda _: scores)
    with pytest.raises(InferenceFailed, match="hold NaN or infinity: verify the weights"):
        segmenter(PICTURE)


def test_nothing_is_remembered_from_one_picture_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter = ImageSegmenter("portrait")
    assert segmenter._inexact is not None
    forgotten: list[str] = []
    for part in (segmenter._inexact._segmenter, *segmenter._inexact._filters):
        name = type(part).__name__
        monkeypatch.setattr(part, "reset", lambda name=name: forgotten.append(name))
    segmenter(PICTURE)
    assert forgotten == ["RegionSegmenter", "EdgeRefine"]


@pytest.mark.parametrize("model", ["portrait", "nuclei", "road"])
def test_segments_one_by_one_are_those_of_the_list(model: str) -> None:
    segmenter = ImageSegmenter(model)
    rgb = np.random.default_rng(3).integers(0, 256, (90, 160, 3), dtype=np.uint8)
    each, all_of_them = segmenter.iterate(rgb), segmenter(rgb)
    for expected in all_of_them:
        found = next(each)
        assert (found["label"], found["score"]) == (expected["label"], expected["score"])
        assert np.array_equal(np.asarray(found["mask"]), np.asarray(expected["mask"]))
    assert next(each, None) is None
