from __future__ import annotations

from pathlib import Path

import graphs
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from rtseg import store
from rtseg.errors import InferenceFailed, ModelRejected
from rtseg.inference.batching import batched, check_batch, with_batch
from rtseg.inference.engine import OrtEngine

OURS = ("portrait", "portrait-fast", "portrait-studio", "road", "road-fast", "nuclei")
FRAME = (1, 2, 3, 4)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RTSEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "batched"


@pytest.mark.parametrize("name", OURS)
def test_our_networks_give_a_frame_in_a_batch_what_they_give_it_alone(name: str) -> None:
    path = store.verify(store.find_card(name))
    single, many = OrtEngine(path), OrtEngine(batched(path, 3))
    check_batch(single, many)
    blobs = np.random.default_rng(1).normal(0, 2, (1, 3, 12, 12)).astype(np.float32)
    height, width = single.inputs["image"].shape[2:]
    picture = np.kron(blobs, np.ones((32, 32), np.float32))[:, :, :height, :width]
    alone = {key: array.copy() for key, array in single({"image": picture}).items()}
    many.inputs["image"][1] = picture[0]
    for key, array in many.run().items():
        np.testing.assert_allclose(array[1:2], alone[key], atol=1e-4)
        assert np.abs(array[0] - array[1]).max() > 1e-3, "the neighbours are other pictures"


def test_what_was_made_is_kept_by_content(cache: Path, tmp_path: Path) -> None:
    path = graphs.double(tmp_path / "a.onnx", shape=FRAME)
    first = batched(path, 4)
    made = first.stat().st_mtime_ns
    assert batched(graphs.double(tmp_path / "same.onnx", shape=FRAME), 4) == first
    assert first.stat().st_mtime_ns == made
    other = graphs.save(tmp_path / "a.onnx", [helper.make_node("Mul", ["x", "x"], ["y"])])
    assert {batched(other, 4), batched(other, 2), first} == set(cache.iterdir())
    assert len(list(cache.iterdir())) == 3
    assert batched(path, 1) == path


def test_an_open_first_axis_is_batched(tmp_path: Path) -> None:
    path = batched(graphs.double(tmp_path / "a.onnx", shape=("n", 2, 3, 4)), 4)
    assert OrtEngine(path).inputs["x"].shape == (4, 2, 3, 4)


@pytest.mark.parametrize("as_node", [False, True], ids=["initializer", "Constant"])
def test_a_shape_that_is_written_down_gets_the_batch(tmp_path: Path, as_node: bool) -> None:
    shape = np.array([1, 24], np.int64)
    constant = helper.make_node("Constant", [], ["shape"], value=numpy_helper.from_array(shape))
    path = graphs.save(
        tmp_path / "a.onnx",
        [*([constant] if as_node else []), helper.make_node("Reshape", ["x", "shape"], ["y"])],
        outputs=[("y", (1, 24))],
        constants=None if as_node else {"shape": shape},
    )
    single, many = OrtEngine(path), OrtEngine(batched(path, 2))
    check_batch(single, many)
    assert many.run()["y"].shape == (2, 24)


def test_a_number_that_is_made_a_vector_stays_one(tmp_path: Path) -> None:
    path = graphs.save(
        tmp_path / "a.onnx",
        [helper.make_node("Reshape", ["two", "one"], ["vector"]), helper.make_node("Mul", ["x", "vector"], ["y"])],
        constants={"two": np.array(2, np.float32), "one": np.array([1], np.int64)},
    )
    check_batch(OrtEngine(path), OrtEngine(batched(path, 2)))


def refused(tmp_path: Path, nodes: list[onnx.NodeProto], message: str, **ports: object) -> None:
    with pytest.raises(ModelRejected, match=message):
        batched(graphs.save(tmp_path / "bad.onnx", nodes, **ports), 2)  # type: ignore[arg-type]


def test_a_shape_without_a_batch_is_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"])]
    shape = {"shape": np.array([24], np.int64)}
    refused(tmp_path, nodes, "begins with 1", outputs=[("y", (24,))], constants=shape)
    nodes += [helper.make_node("Abs", ["y"], ["a"]), helper.make_node("Reshape", ["a", "back"], ["z"])]
    shape["back"] = np.array(FRAME, np.int64)
    path = graphs.save(tmp_path / "flat.onnx", nodes, outputs=[("z", FRAME)], constants=shape)
    with pytest.raises((ModelRejected, InferenceFailed)):  # onnx does not count what a Reshape makes; a run does
        OrtEngine(batched(path, 2))


def test_a_constant_of_one_frame_that_is_joined_to_frames_is_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("Concat", ["x", "more"], ["y"], axis=1)]
    more = {"more": np.zeros(FRAME, np.float32)}
    refused(tmp_path, nodes, "a batch of 2 contradicts shapes", outputs=[("y", (1, 4, 3, 4))], constants=more)


def test_inputs_that_are_not_of_one_frame_are_refused(tmp_path: Path) -> None:
    add = [helper.make_node("Add", ["x", "x"], ["y"])]
    for shape in ((2, 3), ()):
        refused(tmp_path, add, "only what begins with 1", inputs=[("x", shape)], outputs=[("y", shape)])


def test_graphs_within_a_graph_are_refused(tmp_path: Path) -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["z"])],
        "body",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, FRAME)],
    )
    choice = helper.make_node("If", ["yes"], ["y"], then_branch=body, else_branch=body)
    refused(tmp_path, [choice], r"\(If\)|a node If", constants={"yes": np.array(True)})


def test_weights_in_other_files_are_refused(tmp_path: Path) -> None:
    model = onnx.load(graphs.double(tmp_path / "a.onnx"))
    model.graph.initializer.append(TensorProto(name="w", data_location=TensorProto.EXTERNAL))
    with pytest.raises(ModelRejected, match="outside its file"):
        with_batch(model, 2)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"no model")
    with pytest.raises(ModelRejected, match="not an ONNX model"):
        batched(tmp_path / "a.onnx", 2)


def test_a_network_in_which_frames_see_their_neighbours_is_found_out_by_running(tmp_path: Path) -> None:
    mean = helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1)
    path = graphs.save(tmp_path / "a.onnx", [mean, helper.make_node("Add", ["x", "mean"], ["y"])])
    with pytest.raises(ModelRejected, match="in a batch of 2, frame 0 gets another 'y' than alone"):
        check_batch(OrtEngine(path), OrtEngine(batched(path, 2)))


def test_a_device_that_gives_the_frame_before_is_found_out(tmp_path: Path) -> None:
    path = graphs.double(tmp_path / "a.onnx")
    single, many = OrtEngine(path), OrtEngine(batched(path, 2))
    right = many.run
    many.run = lambda: {name: array[[0, 0]] for name, array in right().items()}  # type: ignore[method-assign]
    with pytest.raises(ModelRejected, match="frame 1 gets another"):
        check_batch(single, many)


def test_a_network_that_gives_the_same_for_all_frames_is_not_believed(tmp_path: Path) -> None:
    nothing = {"nothing": np.zeros(FRAME, np.float32)}
    path = graphs.save(tmp_path / "a.onnx", [helper.make_node("Mul", ["x", "nothing"], ["y"])], constants=nothing)
    with pytest.raises(ModelRejected, match="cannot be told"):
        check_batch(OrtEngine(path), OrtEngine(batched(path, 2)))


def test_a_check_leaves_zeros_behind(tmp_path: Path) -> None:
    path = graphs.double(tmp_path / "a.onnx")
    single, many = OrtEngine(path), OrtEngine(batched(path, 2))
    check_batch(single, many)
    assert not single.inputs["x"].any()
    assert not many.inputs["x"].any()
