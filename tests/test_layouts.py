from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from checkpoints import LABELS, change, make_folder
from commands import PATTERN, Rtseg, runner
from onnx import TensorProto, helper, numpy_helper

import rtseg
from rtseg import layouts, store
from rtseg.errors import ModelCorrupt, ModelNotFound, ModelRejected
from rtseg.exact import ExactScores
from rtseg.layouts import find_layout, read_layout
from rtseg.ops.arrays import as_u8
from rtseg.ops.tensors import best_class
from rtseg.segmenting import ImageSegmenter


def test_a_folder_becomes_a_card(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "My Model")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\ntags:\n- x\n---\n# Mine\n")
    card = store.find_card(folder)
    assert (card.name, card.family, card.licence) == ("my-model", "semantic", "apache-2.0")
    assert (card.input.name, card.input.size) == ("pixel_values", (32, 24))
    assert card.input.scale == pytest.approx(255)
    assert card.input.mean == (0.485, 0.456, 0.406)
    assert card.names == ("wall", "floor", "tree", "car", "car 4", "N-A", "sky")
    assert [output.name for output in card.outputs] == ["logits"]
    assert store.verify(card) == folder / "onnx" / "model.onnx"
    assert read_layout(folder).labels == tuple(LABELS)


def test_weights_that_change_after_the_card_was_made_are_refused(tmp_path: Path) -> None:
    card = store.find_card(make_folder(tmp_path))
    with (tmp_path / "onnx" / "model.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ModelCorrupt, match="its SHA-256 is"):
        store.verify(card)


def test_the_first_graph_of_the_layout_is_taken_unless_one_is_named(tmp_path: Path) -> None:
    for place in layouts.VARIANTS:
        make_folder(tmp_path, place=place)
    assert store.weights(store.find_card(tmp_path)) == tmp_path / "onnx" / "model.onnx"
    for place in layouts.VARIANTS:
        assert store.weights(store.find_card(tmp_path / place)) == tmp_path / place
    (tmp_path / "onnx" / "model.onnx").unlink()
    assert store.weights(store.find_card(tmp_path)) == tmp_path / "model.onnx"


def test_the_size_is_the_processors_or_the_graphs(tmp_path: Path) -> None:
    assert store.find_card(make_folder(tmp_path, sides=(24, 32))).input.size == (32, 24)
    change(tmp_path / "preprocessor_config.json", size={"shortest_edge": 40})
    assert store.find_card(tmp_path).input.size == (32, 24)
    make_folder(tmp_path)
    change(tmp_path / "preprocessor_config.json", size={"shortest_edge": 40})
    assert store.find_card(tmp_path).input.size == (40, 40)
    change(tmp_path / "preprocessor_config.json", do_resize=False)
    with pytest.raises(ModelRejected, match=r"takes any size and .* names none"):
        store.find_card(tmp_path)
    make_folder(tmp_path, sides=(24, 48))
    with pytest.raises(ModelRejected, match="takes 48x24 and preprocessor_config.json makes 32x24"):  # noqa: RUF043
        store.find_card(tmp_path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"architectures": ["DPTForDepthEstimation"]}, "DPTForDepthEstimation is not understood: known are Segformer"),
        ({"architectures": None, "model_type": "bert"}, "model_type 'bert' is not understood"),
        ({"id2label": None}, "id2label must name the classes by their numbers, and is None"),
        ({"id2label": {"a": "b"}}, "id2label must name the classes"),
        ({"id2label": {"0": "a", "2": "b"}}, "id2label must have the numbers 0 to 1"),
        ({"id2label": {"0": "a", "1": "a 2", "2": "a"}}, "cannot be told apart"),
    ],
)
def test_a_config_that_is_not_understood_is_refused(tmp_path: Path, config: dict[str, Any], message: str) -> None:
    make_folder(tmp_path)
    change(tmp_path / "config.json", **config)
    with pytest.raises(ModelRejected, match=message):
        store.find_card(tmp_path)


def test_a_model_type_stands_in_for_a_missing_architecture(tmp_path: Path) -> None:
    make_folder(tmp_path)
    change(tmp_path / "config.json", architectures=None, model_type="beit")
    assert store.find_card(tmp_path).family == "semantic"


def test_another_number_of_classes_than_the_graph_has_is_refused(tmp_path: Path) -> None:
    make_folder(tmp_path, id2label={"0": "a", "1": "b"})
    with pytest.raises(ModelRejected, match="2 channels"):
        store.verify(store.find_card(tmp_path))


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "onnx"])
def test_what_is_missing_is_named(tmp_path: Path, name: str) -> None:
    make_folder(tmp_path)
    path = tmp_path / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(ModelNotFound, match=f"{tmp_path}.* (has no {name}|cannot be read|has no graph)"):
        store.find_card(tmp_path)


def test_broken_files_are_refused(tmp_path: Path) -> None:
    make_folder(tmp_path)
    (tmp_path / "onnx" / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(ModelRejected, match="is not an ONNX model"):
        store.find_card(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelRejected, match="is not JSON"):
        store.find_card(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ModelRejected, match="must be a JSON object"):
        store.find_card(tmp_path)


def test_weights_beside_the_graph_are_held_to_their_hash(tmp_path: Path) -> None:
    make_folder(tmp_path)
    path = tmp_path / "onnx" / "model.onnx"
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="model.onnx_data", size_threshold=0)
    card = store.find_card(tmp_path)
    assert list(card.external) == ["model.onnx_data"]
    assert store.verify(card) == path
    with (path.parent / "model.onnx_data").open("ab") as file:
        file.write(b"\0")
    card = store.find_card(tmp_path).model_copy(update={"external": card.external, "description": "again"})
    with pytest.raises(ModelCorrupt, match="model.onnx_data is damaged"):  # noqa: RUF043
        store.verify(card)


def test_names_that_are_neither_are_left_to_the_cards() -> None:
    assert find_layout("portrait") is None
    assert find_layout("none.onnx") is None
    with pytest.raises(ModelNotFound, match="no model is called"):
        find_layout("a\0b")


def test_a_folder_that_happens_to_be_here_hides_no_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "portrait").mkdir()
    assert store.find_card("portrait").names == ("person",)
    make_folder(tmp_path / "mine")
    assert store.find_card("mine").names[0] == "wall"


def test_the_command_line_and_files_take_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rtseg_command: Rtseg = runner(capsys)
    folder = make_folder(tmp_path / "mine")
    found = rtseg_command("run", PATTERN, "-o", tmp_path / "out.mp4", "--model", folder, "--masks", tmp_path / "masks")
    assert (found.code, len(list((tmp_path / "masks").iterdir()))) == (0, 5), found.err
    config = {"model": {"name": str(folder)}, "source": {"type": "synthetic", "graph": PATTERN.partition(":")[2]}}
    stats = rtseg.run(config=rtseg.parse_config(config), masks=tmp_path / "again")
    assert stats.frames_out == 5
    shown = rtseg_command("models", "show", folder, "--json")
    assert (shown.code, shown.json["names"][4]) == (0, "car 4")
    change(folder / "config.json", architectures=["BertModel"])
    assert "BertModel is not understood" in rtseg_command("models", "verify", folder).error()


def test_live_frames_and_single_pictures_agree_where_nothing_is_resized(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    small = np.random.default_rng(0).integers(0, 256, (3, 4, 3)).astype(np.uint8)
    picture = as_u8(cv2.resize(small, (32, 24), interpolation=cv2.INTER_NEAREST))
    live = rtseg.load_pipeline(model=str(folder))(rtseg.Frame.from_rgb(picture)).segmentation
    assert isinstance(live, rtseg.Semantic)
    exact = ImageSegmenter(folder)._exact
    assert isinstance(exact, ExactScores)
    still, _ = best_class(exact.scores(picture))
    # Frames have colour at half the resolution, which is smeared over the borders of the twelve squares.
    assert (live.labels == still)[1::4, 1::4].all()
    assert (live.labels == still).mean() > 0.8
    assert len(np.unique(still)) >= 4


def test_a_graph_with_another_input_is_refused(tmp_path: Path) -> None:
    make_folder(tmp_path)
    path = tmp_path / "onnx" / "model.onnx"
    model = onnx.load(path)
    model.graph.input.append(helper.make_tensor_value_info("pixel_mask", TensorProto.INT64, [1, 24, 32]))
    onnx.save(model, path)
    with pytest.raises(ModelRejected, match="has the inputs pixel_values, pixel_mask"):
        store.find_card(tmp_path)
    assert numpy_helper.to_array(model.graph.initializer[0]).shape == (len(LABELS), 3, 1, 1)
