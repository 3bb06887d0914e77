"""A graph for a batch of frames out of a graph for one: rewritten, kept, and believed only after it has been run."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rtseg import store
from rtseg.errors import ModelRejected

if TYPE_CHECKING:  # onnx is imported only where a graph is rewritten
    from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto

    from rtseg.segmenters import BoundEngine

__all__ = ["batched", "check_batch", "with_batch"]

FORMAT = 1
"""Of the graphs that are kept: another number when `with_batch` makes something else of the same graph."""
_TOLERANCE = 1e-4
_SCALES = (1.0, 4.0, 16.0)
_BLOB = 32
_SHAPES = {"Reshape": 1, "Expand": 1, "Resize": 3}
"""Operators that are told a whole shape, and which of their inputs it is."""


def batched(path: Path, batch: int) -> Path:
    """The file of the graph in `path` for `batch` frames at once, made if the cache folder does not have it.

    The name is a hash of the weights and the batch; a batch of 1 is the file itself. Raises ModelRejected for what
    cannot be batched. Whether the frames stay apart is only known after `check_batch`.
    """
    if batch == 1:
        return path
    key = hashlib.sha256(f"{FORMAT} {batch} {store.sha256_of(path)}".encode()).hexdigest()
    kept = store.cache_folder() / "batched" / f"{key}.onnx"
    if not kept.is_file():
        import onnx

        try:
            model = onnx.load_model(path, load_external_data=False)
        except Exception as error:  # protobuf's own, UnicodeDecodeError and more
            raise ModelRejected(f"{path} is not an ONNX model: {error}") from error
        made = with_batch(model, batch)
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(f".{os.getpid()}.part")
        onnx.save(made, part)
        part.replace(kept)
    return kept


def with_batch(model: ModelProto, batch: int) -> ModelProto:
    """The model with `batch` for the 1 that all its inputs and outputs begin with, and in what depends on it.

    Shapes that are written down in the graph (of Reshape, Expand and Resize) and begin with 1 get the batch too.
    Raises ModelRejected where an input or output does not begin with 1, where shapes then contradict each other, for
    graphs within the graph, and for weights outside the file.
    """
    import onnx

    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for tensor in graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise ModelRejected("a graph with weights outside its file is not batched: save it as one file")
    inputs = [port for port in graph.input if port.name not in constants]
    for port in (*inputs, *graph.output):
        _set_first(port, batch)
    del graph.value_info[:]
    for node in list(graph.node):
        if any(a.HasField("g") or a.graphs for a in node.attribute):
            raise ModelRejected(f"{_called(node)} holds a graph of its own, which is not batched")
        if (position := _SHAPES.get(node.op_type)) is not None and len(node.input) > position:
            _rewrite_shape(made, node, position, batch)
    try:
        inferred = onnx.shape_inference.infer_shapes(made, check_type=True, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        line = next(iter(str(error).strip().splitlines()), "")
        raise ModelRejected(f"a batch of {batch} contradicts shapes that the graph is told: {line}") from error
    return inferred


def check_batch(single: BoundEngine, many: BoundEngine) -> None:
    """Run different inputs one by one and at once: both must give the same within 1e-4 of 1 and of the value.

    Many a network gives the same for all noise, nothing: inputs grow until it tells frames apart. Both engines' inputs
    hold zeros afterwards. Raises ModelRejected where a frame depends on its neighbours, gets the result of another,
    or where no two frames could be told apart, and what the engines raise.
    """
    batch = next(iter(many.inputs.values())).shape[0]
    for name, buffer in single.inputs.items():
        if many.inputs[name].shape != (batch, *buffer.shape[1:]):
            raise ModelRejected(f"input {name!r} is {many.inputs[name].shape} for {batch} times {buffer.shape}")
    chance = np.random.default_rng(0)
    try:
        if not any(_agree(single, many, batch, chance, scale) for scale in _SCALES):
            raise ModelRejected(
                f"whether a batch of {batch} keeps frames apart cannot be told: the network gives the same for all of "
                "them; it is run frame by frame"
            )
    finally:
        for buffer in (*single.inputs.values(), *many.inputs.values()):
            buffer.fill(0)


def _agree(single: BoundEngine, many: BoundEngine, batch: int, chance: np.random.Generator, scale: float) -> bool:
    """Whether frames of such a scale could be told apart; ModelRejected where they were and the batch is wrong."""
    alone: list[Mapping[str, NDArray[Any]]] = []
    for place in range(batch):
        for name, buffer in single.inputs.items():
            buffer[...] = _noise(buffer, chance, scale)
            many.inputs[name][place] = buffer[0]
        alone.append({name: array.copy() for name, array in single.run().items()})
    found = many.run()
    for place, outputs in enumerate(alone):
        for name, wanted in outputs.items():
            got = found[name][place : place + 1]
            if got.shape != wanted.shape or not np.allclose(got, wanted, rtol=_TOLERANCE, atol=_TOLERANCE):
                raise ModelRejected(
                    f"in a batch of {batch}, frame {place} gets another {name!r} than alone: the network is run frame "
                    "by frame"
                )
    pairs = [(one, other) for place, one in enumerate(alone) for other in alone[:place]]
    return all(any(_differ(one[name], other[name]) for name in one) for one, other in pairs)


def _differ(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return not np.allclose(one, other, rtol=0, atol=100 * _TOLERANCE)


def _noise(buffer: NDArray[Any], chance: np.random.Generator, scale: float) -> NDArray[Any]:
    """Of the buffer's shape and type; in pictures some blobs, which networks make more of."""
    shape = buffer.shape
    if buffer.dtype.kind == "b":
        return chance.random(shape) < 0.5
    if buffer.dtype.kind != "f":
        return chance.integers(0, 100, shape).astype(buffer.dtype)
    noise = scale * (chance.random(shape, np.float32) - 0.5)
    if len(shape) == 4:
        height, width = shape[2:]
        blobs = chance.random((*shape[:2], -(-height // _BLOB), -(-width // _BLOB)), np.float32)
        noise += scale * np.kron(blobs - 0.5, np.ones((_BLOB, _BLOB), np.float32))[:, :, :height, :width]
    return (noise + 0.5).astype(buffer.dtype)


def _set_first(port: ValueInfoProto, batch: int) -> None:
    sides = port.type.tensor_type.shape.dim
    first = sides[0] if sides else None
    if first is None or (first.HasField("dim_value") and first.dim_value != 1):
        shape = [side.dim_value or side.dim_param for side in sides]
        raise ModelRejected(f"{port.name!r} has the shape {shape}: only what begins with 1, one frame, is batched")
    first.dim_value = batch


def _rewrite_shape(model: ModelProto, node: NodeProto, position: int, batch: int) -> None:
    """Put the batch first in a constant shape that begins with 1; others may share the constant, so make a new one."""
    from onnx import numpy_helper

    if any(attribute.name == "axes" for attribute in node.attribute):  # of Resize: the batch is not among them
        return
    tensor = _constant(model, node.input[position])
    if tensor is None:
        return
    shape = numpy_helper.to_array(tensor).copy()
    if shape.ndim != 1 or shape.size < 2 or shape[0] != 1:
        return  # 0 and -1 follow the batch, (1,) is a number; the rest is found out by inference or by running
    shape[0] = batch
    name = f"{node.input[position]}/batch{batch}"
    if all(known.name != name for known in model.graph.initializer):
        model.graph.initializer.append(numpy_helper.from_array(shape, name))
    node.input[position] = name


def _constant(model: ModelProto, name: str) -> TensorProto | None:
    tensor: TensorProto
    for tensor in model.graph.initializer:
        if tensor.name == name:
            return tensor
    for node in model.graph.node:
        if node.op_type == "Constant" and name in node.output:
            for attribute in node.attribute:
                if attribute.name == "value":
                    tensor = attribute.t
                    return tensor
    return None


def _called(node: NodeProto) -> str:
    return f"the node {node.name!r} ({node.op_type})" if node.name else f"a node {node.op_type}"
