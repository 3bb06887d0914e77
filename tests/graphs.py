"""Tiny ONNX files, made on the spot, that do one thing each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Port = tuple[str, Sequence[int | str] | None]
"""Name and sides, a string for an open one; None for nothing declared."""


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    *,
    inputs: Sequence[Port] = (("x", (1, 2, 3, 4)),),
    outputs: Sequence[Port] = (("y", (1, 2, 3, 4)),),
    constants: Mapping[str, NDArray[Any]] | None = None,
    domains: Sequence[str] = (),
    functions: Sequence[onnx.FunctionProto] = (),
    dtype: int = TensorProto.FLOAT,
) -> Path:
    """Write a model of these nodes; `dtype` is the type of all its inputs and outputs."""
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info(name, dtype, shape) for name, shape in inputs],
        [helper.make_tensor_value_info(name, dtype, shape) for name, shape in outputs],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    versions = [helper.make_opsetid("", 17), *(helper.make_opsetid(domain, 1) for domain in domains)]
    model = helper.make_model(graph, opset_imports=versions, functions=list(functions), ir_version=10)
    path.write_bytes(model.SerializeToString())
    return path


def double(path: Path, *, shape: Sequence[int | str] = (1, 2, 3, 4)) -> Path:
    """y = x + x."""
    return save(path, [helper.make_node("Add", ["x", "x"], ["y"])], inputs=[("x", shape)], outputs=[("y", shape)])


def logarithm(path: Path) -> Path:
    """y = log(x): minus infinity at 0, NaN below."""
    return save(path, [helper.make_node("Log", ["x"], ["y"])])


def endless(path: Path) -> Path:
    """y counts up from x[0] while x[0] is above 0, which is for ever; otherwise y = x[0] at once."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["goes_on"], ["goes_on_"]), helper.make_node("Add", ["sum", "one"], ["sum_"])],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, []),
        ],
        [
            helper.make_tensor_value_info("goes_on_", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum_", TensorProto.FLOAT, []),
        ],
        [numpy_helper.from_array(np.ones((), np.float32), "one")],
    )
    nodes = [
        helper.make_node("Greater", ["x", "zero"], ["positive"]),
        helper.make_node("Loop", ["", "positive", "x"], ["y"], body=body),
    ]
    zero = np.zeros((), np.float32)
    return save(path, nodes, inputs=[("x", ())], outputs=[("y", ())], constants={"zero": zero})


def mixtures(path: Path, *, classes: int, sides: tuple[int | str, int | str]) -> Path:
    """A class a pixel at half the size: pixel_values 1x3xHxW to logits, `classes` mixtures of the three channels."""
    random = np.random.default_rng(2)
    weights = random.normal(size=(classes, 3, 1, 1)).astype(np.float32)
    weights -= weights.mean(axis=0)
    half: tuple[int | str, ...] = tuple(side // 2 if isinstance(side, int) else f"half_{side}" for side in sides)
    return save(
        path,
        [helper.make_node("Conv", ["pixel_values", "weights"], ["logits"], strides=[2, 2])],
        inputs=[("pixel_values", (1, 3, *sides))],
        outputs=[("logits", (1, classes, *half))],
        constants={"weights": weights},
    )
