"""Published graphs as torch modules: what ONNX Runtime computes, to the fifth decimal, and trainable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from graphs import save
from onnx import helper

from rtseg.errors import ModelNotFound, ModelRejected
from rtseg.inference.engine import OrtEngine
from rtseg.train.graph import OnnxGraph, load_graph
from rtseg.train.model import GraphNetwork

MODELS = Path(__file__).resolve().parents[1] / "models"
PORTRAIT = MODELS / "rtseg_portrait.onnx"


@pytest.mark.parametrize("path", sorted(MODELS.glob("rtseg_*.onnx")), ids=lambda path: path.stem)
def test_our_models_give_the_same_in_torch_as_in_onnx_runtime(path: Path) -> None:
    engine = OrtEngine(path, warmup=0)
    [(name, buffer)] = engine.inputs.items()
    picture = np.random.default_rng(1).random(buffer.shape, np.float32)
    wanted = engine({name: picture})
    with torch.no_grad():
        found = load_graph(path)(torch.from_numpy(picture))
    assert len(found) == len(wanted)
    for tensor, array in zip(found, wanted.values(), strict=True):
        np.testing.assert_allclose(tensor.numpy(), array, atol=1e-5)


def test_weights_of_convolutions_learn_under_their_own_names() -> None:
    graph = load_graph(PORTRAIT)
    names = [name for name, _ in graph.named_parameters()]
    assert names
    assert all(name.startswith("w_") for name in names)
    assert all(parameter.requires_grad for parameter in graph.parameters())
    graph(torch.rand(1, 3, 144, 256))[0].mean().backward()
    assert all(parameter.grad is not None for parameter in graph.parameters())


def test_values_in_the_middle_can_be_tapped_and_what_follows_them_is_left_out() -> None:
    model = onnx.load(PORTRAIT)
    tap = next(node.output[0] for node in model.graph.node if node.op_type == "Add")
    whole, part = load_graph(PORTRAIT), load_graph(PORTRAIT, outputs=[tap])
    assert len(list(part.parameters())) < len(list(whole.parameters()))
    assert part(torch.zeros(1, 3, 144, 256))[0].ndim == 4


def test_an_operator_that_is_not_known_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ModelRejected, match=r"graph with Erf: known operators are Add, AveragePool, "):
        load_graph(
            save(
                tmp_path / "erf.onnx",
                [helper.make_node("Erf", ["x"], ["y"])],
                inputs=[("x", (1, 4, 6, 8))],
                outputs=[("y", None)],
            )
        )


def test_a_file_that_is_no_model_and_a_value_that_there_is_not_are_named(tmp_path: Path) -> None:
    path = tmp_path / "text.onnx"
    path.write_text("no model")
    with pytest.raises(ModelNotFound, match=r"none\.onnx does not exist: make the weights that the recipe begins with"):
        load_graph(tmp_path / "none.onnx")
    with pytest.raises(ModelRejected, match=r"text\.onnx is not an ONNX model"):
        load_graph(path)
    with pytest.raises(ModelRejected, match=r"has no value nowhere: choose outputs"):
        load_graph(PORTRAIT, outputs=["nowhere"])


def test_names_that_differ_by_a_sign_are_two_parameters(tmp_path: Path) -> None:
    nodes = [helper.make_node("Conv", ["x", "a.b"], ["m"]), helper.make_node("Conv", ["m", "a_b"], ["y"])]
    weights = {"a.b": np.full((1, 1, 1, 1), 2, np.float32), "a_b": np.full((1, 1, 1, 1), 3, np.float32)}
    shape = (1, 1, 2, 2)
    path = save(tmp_path / "two.onnx", nodes, inputs=[("x", shape)], outputs=[("y", shape)], constants=weights)
    graph = load_graph(path)
    assert len(list(graph.parameters())) == 2
    assert graph(torch.ones(shape))[0].flatten().tolist() == [6, 6, 6, 6]


def test_a_grown_graph_starts_as_what_it_was_and_learns_in_its_new_blocks() -> None:
    picture = torch.rand(1, 3, 144, 256)
    plain = GraphNetwork(PORTRAIT, ["alpha"], size=(256, 144))
    grown = GraphNetwork(PORTRAIT, ["alpha"], size=(256, 144), grow=1)
    assert len(list(grown.parameters())) > len(list(plain.parameters()))
    with torch.no_grad():
        assert torch.equal(grown.eval()(picture)["alpha"], plain.eval()(picture)["alpha"])
    grown.train()(picture)["alpha"].mean().backward()
    assert isinstance(grown.graph.grown, torch.nn.Sequential)
    block: torch.nn.Module = grown.graph.grown[0]
    gain = block.get_parameter("project.norm.weight").grad
    assert gain is not None
    assert gain.abs().sum() > 0


def test_tempered_logits_keep_their_signs() -> None:
    picture = torch.rand(1, 3, 144, 256)
    with torch.no_grad():
        plain = GraphNetwork(PORTRAIT, ["alpha"], size=(256, 144))(picture)["alpha"]
        tempered = GraphNetwork(PORTRAIT, ["alpha"], size=(256, 144), temper=0.25)(picture)["alpha"]
    assert torch.allclose(tempered, plain / 4, atol=1e-5)


def test_a_graph_goes_on_only_from_sigmoids_and_with_as_many_heads(tmp_path: Path) -> None:
    with pytest.raises(ModelRejected, match="has 1 outputs, the recipe 2 heads"):
        GraphNetwork(PORTRAIT, ["alpha", "beta"], size=(256, 144))
    path = save(tmp_path / "relu.onnx", [helper.make_node("Relu", ["x"], ["y"])])
    with pytest.raises(ModelRejected, match="output 'y' does not end in a sigmoid"):
        GraphNetwork(path, ["alpha"], size=(64, 48))


@pytest.mark.parametrize(
    ("node", "constants"),
    [
        (("Clip", ["x", "low", "high"], {}), {"low": np.float32(-0.2), "high": np.float32(0.3)}),
        (("HardSigmoid", ["x"], {"alpha": 0.3}), {}),
        (("LeakyRelu", ["x"], {}), {}),
        (("MaxPool", ["x"], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}), {}),
        (("AveragePool", ["x"], {"kernel_shape": [2, 2], "strides": [2, 2]}), {}),
        (("AveragePool", ["x"], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}), {}),
        (("DepthToSpace", ["x"], {"blocksize": 2}), {}),
        (("DepthToSpace", ["x"], {"blocksize": 2, "mode": "CRD"}), {}),
        (("Slice", ["x", "starts", "ends", "axes"], {}), {"starts": [1], "ends": [3], "axes": [1]}),
        (("ReduceMean", ["x"], {"axes": [2, 3]}), {}),
        (("Softmax", ["x"], {"axis": 1}), {}),
        (("Resize", ["x", "", "scales"], {"mode": "linear"}), {"scales": np.array([1, 1, 2, 2], np.float32)}),
        (("Resize", ["x", "", "scales"], {"mode": "nearest", "nearest_mode": "floor",
          "coordinate_transformation_mode": "asymmetric"}), {"scales": np.array([1, 1, 2, 2], np.float32)}),
        (("Transpose", ["x"], {"perm": [0, 2, 3, 1]}), {}),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)  # fmt: skip
def test_an_operator_does_what_onnx_runtime_does(
    node: tuple[str, list[str], dict[str, Any]], constants: dict[str, Any], tmp_path: Path
) -> None:
    kind, inputs, attributes = node
    arrays = {
        name: np.asarray(value, None if hasattr(value, "dtype") else np.int64) for name, value in constants.items()
    }
    made = helper.make_node(kind, inputs, ["y"], **attributes)
    path = save(tmp_path / "one.onnx", [made], inputs=[("x", (1, 4, 6, 8))], outputs=[("y", None)], constants=arrays)
    x = np.random.default_rng(2).normal(size=(1, 4, 6, 8)).astype(np.float32)
    [wanted] = OrtEngine(path, warmup=0)({"x": x}).values()
    found = OnnxGraph(onnx.load(path))(torch.from_numpy(x))[0]
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-5)
