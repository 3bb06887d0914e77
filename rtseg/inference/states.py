"""Graphs with a memory, made ready for an engine of fixed shapes: constants written in, shapes of states found."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from rtseg import store
from rtseg.cards import Card
from rtseg.errors import EngineError, ModelRejected
from rtseg.inference.engine import OrtEngine

__all__ = ["declared_shapes", "state_shapes", "with_constants"]

FORMAT = 1
"""Of the graphs that are kept: another number when `with_constants` makes something else of the same graph."""
_TOLERANCE = 1e-3

Shapes = Mapping[str, tuple[int, ...]]


def with_constants(path: Path, constants: Mapping[str, float]) -> Path:
    """The graph in `path` with the inputs named in `constants` held at one number, kept in the cache folder.

    As an input, such a number (RobustVideoMatting's downsample_ratio) leaves every shape behind it open; written into
    the graph, ONNX Runtime knows them all. Raises ModelRejected for a name that is no input of floats, and for weights
    outside the file.
    """
    if not constants:
        return path
    key = hashlib.sha256(f"{FORMAT} {json.dumps(dict(sorted(constants.items())))} {store.sha256_of(path)}".encode())
    kept = store.cache_folder() / "constants" / f"{key.hexdigest()}.onnx"
    if kept.is_file():
        return kept
    import onnx

    try:
        model = onnx.load_model(path, load_external_data=False)
    except Exception as error:  # protobuf's own, UnicodeDecodeError and more
        raise ModelRejected(f"{path} is not an ONNX model: {error}") from error
    graph = model.graph
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in graph.initializer):
        raise ModelRejected(f"{path} keeps weights outside its file, so constants cannot be written in: save it as one")
    ports = {port.name: port for port in graph.input}
    for name, value in constants.items():
        port = ports.get(name)
        if port is None or port.type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
            raise ModelRejected(f"{path} has no input {name!r} of floats to hold at {value:g}; it has {sorted(ports)}")
        shape = [side.dim_value or 1 for side in port.type.tensor_type.shape.dim]
        graph.initializer.append(onnx.numpy_helper.from_array(np.full(shape, value, np.float32), name))
        graph.input.remove(port)
    del graph.value_info[:]
    kept.parent.mkdir(parents=True, exist_ok=True)
    part = kept.with_suffix(f".{os.getpid()}.part")
    onnx.save(model, part)
    part.replace(kept)
    return kept


def state_shapes(path: Path, card: Card, open_engine: Callable[[Shapes], OrtEngine]) -> dict[str, tuple[int, ...]]:
    """The shape of each of the card's states, with which an engine can be bound once and for all.

    Where the graph leaves them open, one plain run with single zeros, as such graphs take them before their first
    frame, says how large they become. A second run, on zeros of those shapes, must give the same shapes and the same
    values to 1e-3: ModelRejected otherwise, as for a graph that takes no single zeros. `open_engine` is given
    the shapes of all inputs, on the CPU.
    """
    assert card.recurrent is not None
    states = card.recurrent.states
    declared = declared_shapes(path)
    open_ended = {name: shape for name in states if None in (shape := declared.get(name, ()))}
    fixed: dict[str, tuple[int, ...]] = {card.input.name: card.input.shape}
    if not open_ended:
        return {}
    begin = {name: tuple(side or 1 for side in shape) for name, shape in open_ended.items()}
    try:
        first = open_engine({**fixed, **begin})
        picture = np.linspace(-1, 1, num=int(np.prod(card.input.shape)), dtype=np.float32).reshape(card.input.shape)
        np.copyto(first.inputs[card.input.name], picture)
        found = {name: array.copy() for name, array in first.run().items()}
        shapes = {name: found[states[name]].shape for name in open_ended}
        again = open_engine({**fixed, **shapes})
        np.copyto(again.inputs[card.input.name], picture)
        settled = again.run()
    except KeyError as error:
        raise ModelRejected(f"{path} has no output {error}: correct the card's [recurrent]") from error
    except EngineError as error:
        raise ModelRejected(
            f"{path} cannot begin with states that are single zeros: {error}; export it with states of fixed shapes"
        ) from error
    for name, array in found.items():
        if settled[name].shape != array.shape:
            raise ModelRejected(
                f"{path}: output {name!r} is {array.shape} for the first frame and {settled[name].shape} after it: "
                "its states have no fixed size"
            )
        if (off := float(np.abs(settled[name] - array).max(initial=0.0))) > _TOLERANCE:
            raise ModelRejected(
                f"{path}: output {name!r} differs by {off:.2g} between states of one zero and of zeros throughout: "
                "its first frame needs something else, which rtseg does not know"
            )
    return shapes


def declared_shapes(path: Path) -> dict[str, tuple[int | None, ...]]:
    """What the graph says of its inputs' shapes, None for an open side."""
    import onnx

    graph = onnx.load_model(path, load_external_data=False).graph
    return {
        port.name: tuple(side.dim_value or None for side in port.type.tensor_type.shape.dim) for port in graph.input
    }
