"""Published ONNX weights as a torch module that can be trained on: the start of a fine-tune, and encoders by file.

Only the operators of convolutional networks are known; a graph with another one is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from rtseg.errors import ModelNotFound, ModelRejected

Attributes: TypeAlias = Mapping[str, Any]
Operator: TypeAlias = Callable[[Sequence[Any], Attributes], Any]


class OnnxGraph(nn.Module):
    """The graph of an ONNX file between its input and some of its values, its float weights as parameters.

    Called with 1 tensor BxCxHxW, gives the tensors `outputs` (names of values in the file; default: the graph's own
    outputs) as a list. Parameters carry the file's names. Raises ModelRejected for operators that it does not know.
    """

    def __init__(self, model: onnx.ModelProto, *, outputs: Sequence[str] = ()) -> None:
        super().__init__()
        graph = model.graph
        constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant":
                constants[node.output[0]] = numpy_helper.to_array(_attributes(node)["value"])
        _scale_resizes(model, constants)
        self.input = next(port.name for port in graph.input if port.name not in constants)
        self.outputs = tuple(outputs) or tuple(port.name for port in graph.output)
        self.grown: nn.Module | None = None
        self.grown_at = ""
        self._nodes = _needed([node for node in graph.node if node.op_type != "Constant"], self.outputs)
        learnt = {name for node in self._nodes if "Conv" in node.op_type for name in node.input[1:]}
        self._constants: dict[str, Any] = {}
        self._names: dict[str, str] = {}
        for name in dict.fromkeys(name for node in self._nodes for name in node.input if name in constants):
            if name in learnt:
                self._names[name] = _attribute(name, self._names.values())
                self.register_parameter(self._names[name], nn.Parameter(torch.from_numpy(constants[name].copy())))
            else:
                self._constants[name] = constants[name]
        for node in self._nodes:
            if node.op_type not in OPERATORS:
                known = ", ".join(sorted(OPERATORS))
                raise ModelRejected(
                    f"training cannot start from a graph with {node.op_type}: known operators are {known}"
                )

    def forward(self, picture: Tensor) -> list[Tensor]:
        """The chosen values for a batch of inputs."""
        values: dict[str, Any] = {self.input: picture}
        for node in self._nodes:
            inputs = [self._value(name, values) for name in node.input]
            result = OPERATORS[node.op_type](inputs, _attributes(node))
            outcomes = result if isinstance(result, list | tuple) else (result,)
            if self.grown is not None and node.output[0] == self.grown_at:
                outcomes = (self.grown(outcomes[0]),)
            values.update(zip(node.output, outcomes, strict=False))
        return [cast(Tensor, values[name]) for name in self.outputs]

    def coarsest(self, size: tuple[int, int]) -> tuple[str, int]:
        """The last sum of two features at the smallest size that has any, and its channels, for an input of `size`.

        That is the end of the residual blocks of an encoder.
        """
        values: dict[str, Any] = {self.input: torch.zeros(1, 3, size[1], size[0])}
        found, least = ("", 0), size[0] * size[1]
        with torch.no_grad():
            for node in self._nodes:
                result = OPERATORS[node.op_type]([self._value(n, values) for n in node.input], _attributes(node))
                outcomes = result if isinstance(result, list | tuple) else (result,)
                values.update(zip(node.output, outcomes, strict=False))
                if node.op_type == "Add" and 1 < (area := outcomes[0].shape[-1] * outcomes[0].shape[-2]) <= least:
                    found, least = (node.output[0], outcomes[0].shape[1]), area
        if not found[0]:
            raise ModelRejected("this graph has no residual blocks to grow after: leave model.grow out")
        return found

    def scale(self, values: Sequence[str], factor: float) -> None:
        """Multiply values that come out of convolutions, by their weights and biases; ModelRejected for others."""
        for node in self._nodes:
            if node.output[0] not in values:
                continue
            if "Conv" not in node.op_type:
                raise ModelRejected(f"the logits come out of {node.op_type}, not a convolution: leave model.temper out")
            with torch.no_grad():
                for name in node.input[1:]:
                    self.get_parameter(self._names[name]).mul_(factor)

    def _value(self, name: str, values: Mapping[str, Any]) -> Any:
        if not name:
            return None
        if name in values:
            return values[name]
        if name in self._constants:
            return self._constants[name]
        return getattr(self, self._names[name])


def read_model(path: Path) -> onnx.ModelProto:
    """An ONNX file; ModelNotFound where there is none, ModelRejected for what is no usable one."""
    if not path.is_file():
        raise ModelNotFound(f"{path} does not exist: make the weights that the recipe begins with, or name others")
    try:
        return onnx.load(path)
    except Exception as error:  # protobuf's own and more
        raise ModelRejected(f"{path} is not an ONNX model: {error}") from error


def load_graph(path: Path, *, outputs: Sequence[str] = ()) -> OnnxGraph:
    """The graph in a file; what `read_model` raises, and ModelRejected where it lacks one of `outputs`."""
    model = read_model(path)
    produced = {name for node in model.graph.node for name in node.output}
    if missing := [name for name in outputs if name not in produced]:
        raise ModelRejected(f"{path} has no value {', '.join(missing)}: choose outputs of its nodes")
    return OnnxGraph(model, outputs=outputs)


def _scale_resizes(model: onnx.ModelProto, constants: dict[str, Any]) -> None:
    """Enlargements to fixed sizes become ones by whole factors, in place: so the graph takes inputs of other sizes."""
    typed = onnx.shape_inference.infer_shapes(model).graph
    shapes = {
        value.name: [side.dim_value for side in value.type.tensor_type.shape.dim]
        for value in (*typed.value_info, *typed.input)
    }
    for node in model.graph.node:
        if node.op_type != "Resize" or len(node.input) < 4 or node.input[3] not in constants:
            continue
        sizes, inside = constants[node.input[3]], shapes.get(node.input[0])
        if inside and all(inside) and not (np.asarray(sizes) % np.asarray(inside)).any():
            name = f"{node.name or node.output[0]}_scales"
            constants[name] = np.asarray(sizes, np.float32) / np.asarray(inside, np.float32)
            del node.input[1:]
            node.input.extend(["", name])


def _needed(nodes: Sequence[onnx.NodeProto], outputs: Sequence[str]) -> list[onnx.NodeProto]:
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted & set(node.output):
            kept.append(node)
            wanted |= set(node.input)
    return kept[::-1]


def _attribute(name: str, taken: Collection[str]) -> str:
    """A parameter's name for one of ONNX, which may have any signs; two that differ by signs alone stay two."""
    plain = "w_" + "".join(letter if letter.isalnum() else "_" for letter in name)
    return plain if plain not in taken else f"{plain}_{len(taken)}"


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}


def _numbers(value: Any) -> list[Any]:
    return [] if value is None else np.asarray(value).ravel().tolist()


def _padded(x: Tensor, a: Attributes) -> Tensor:
    top, left, bottom, right = a.get("pads", [0, 0, 0, 0])
    return functional.pad(x, (left, right, top, bottom)) if top or left or bottom or right else x


def _conv(v: Sequence[Any], a: Attributes) -> Tensor:
    pads, strides = a.get("pads", [0, 0, 0, 0]), a.get("strides", [1, 1])
    even = pads[0] == pads[2] and pads[1] == pads[3]
    x = v[0] if even else _padded(v[0], a)
    bias = v[2] if len(v) > 2 else None
    return functional.conv2d(
        x, v[1], bias, strides, pads[:2] if even else 0, a.get("dilations", [1, 1]), a.get("group", 1)
    )


def _conv_transpose(v: Sequence[Any], a: Attributes) -> Tensor:
    return functional.conv_transpose2d(
        v[0],
        v[1],
        v[2] if len(v) > 2 else None,
        a.get("strides", [1, 1]),
        a.get("pads", [0, 0])[:2],
        groups=a.get("group", 1),
    )


def _resize(v: Sequence[Any], a: Attributes) -> Tensor:
    x: Tensor = v[0]
    sizes = _numbers(v[3]) if len(v) > 3 else []
    target: dict[str, Any] = {"size": sizes[-2:]} if sizes else {"scale_factor": _numbers(v[2])[-2:]}
    if a.get("mode", b"nearest") == b"nearest":
        return functional.interpolate(x, mode="nearest", **target)
    corners = a.get("coordinate_transformation_mode", b"half_pixel") == b"align_corners"
    return functional.interpolate(x, mode="bilinear", align_corners=corners, **target)


def _slice(v: Sequence[Any], _: Attributes) -> Any:
    x, starts, ends = v[0], _numbers(v[1]), _numbers(v[2])
    axes = _numbers(v[3]) if len(v) > 3 and v[3] is not None else list(range(len(starts)))
    steps = _numbers(v[4]) if len(v) > 4 else [1] * len(starts)
    index = [slice(None)] * x.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        index[axis] = slice(start, None if end >= 2**31 - 1 else end, step)
    return x[tuple(index)]


def _split(v: Sequence[Any], a: Attributes) -> Any:
    parts = _numbers(v[1]) if len(v) > 1 else a.get("split")
    axis = a.get("axis", 0)
    return torch.split(v[0], parts or v[0].shape[axis] // a["num_outputs"], dim=axis)


def _clip(v: Sequence[Any], _: Attributes) -> Tensor:
    low, high = ((_numbers(v[i]) or [None])[0] if len(v) > i else None for i in (1, 2))
    return torch.clamp(v[0], low, high)


def _pool(v: Sequence[Any], a: Attributes) -> Tensor:
    return functional.max_pool2d(v[0], a["kernel_shape"], *_windows(a))


def _average(v: Sequence[Any], a: Attributes) -> Tensor:
    inside = bool(a.get("count_include_pad", 0))
    return functional.avg_pool2d(v[0], a["kernel_shape"], *_windows(a), count_include_pad=inside)


def _windows(a: Attributes) -> tuple[list[int], list[int]]:
    """Strides and padding of a pooling; without strides ONNX moves by 1, torch by the window."""
    pads = a.get("pads", [0, 0, 0, 0])
    if pads[:2] != pads[2:] or a.get("ceil_mode", 0):
        raise ModelRejected(f"training cannot start from a graph that pools with pads {pads} or rounds up")
    return a.get("strides", [1, 1]), pads[:2]


def _reduce_mean(v: Sequence[Any], a: Attributes) -> Tensor:
    axes = _numbers(v[1]) if len(v) > 1 else a["axes"]
    return v[0].mean(dim=axes, keepdim=bool(a.get("keepdims", 1)))  # type: ignore[no-any-return]


def _depth_to_space(v: Sequence[Any], a: Attributes) -> Tensor:
    if a.get("mode", b"DCR") == b"CRD":
        return functional.pixel_shuffle(v[0], a["blocksize"])
    batch, channels, height, width = v[0].shape
    size = a["blocksize"]
    x = v[0].reshape(batch, size, size, channels // size**2, height, width)
    return x.permute(0, 3, 4, 1, 5, 2).reshape(batch, -1, height * size, width * size)  # type: ignore[no-any-return]


def _tensor(value: Any) -> Any:
    return value if isinstance(value, Tensor) else torch.from_numpy(np.array(value))


OPERATORS: Mapping[str, Operator] = {
    "Add": lambda v, a: _tensor(v[0]) + _tensor(v[1]),
    "AveragePool": _average,
    "Clip": _clip,
    "Concat": lambda v, a: torch.cat(list(v), dim=a["axis"]),
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "DepthToSpace": _depth_to_space,
    "Div": lambda v, a: _tensor(v[0]) / _tensor(v[1]),
    "GlobalAveragePool": lambda v, a: v[0].mean(dim=(2, 3), keepdim=True),
    "HardSigmoid": lambda v, a: torch.clamp(v[0] * a.get("alpha", 0.2) + a.get("beta", 0.5), 0, 1),
    "HardSwish": lambda v, a: functional.hardswish(v[0]),
    "Identity": lambda v, a: v[0],
    "LeakyRelu": lambda v, a: functional.leaky_relu(v[0], a.get("alpha", 0.01)),
    "Log": lambda v, _: torch.log(v[0]),
    "MaxPool": _pool,
    "Mul": lambda v, a: _tensor(v[0]) * _tensor(v[1]),
    "ReduceMean": _reduce_mean,
    "Relu": lambda v, a: functional.relu(v[0]),
    "Reshape": lambda v, a: v[0].reshape(_numbers(v[1])),
    "Resize": _resize,
    "Sigmoid": lambda v, a: torch.sigmoid(v[0]),
    "Slice": _slice,
    "Softmax": lambda v, a: torch.softmax(v[0], dim=a.get("axis", -1)),
    "Split": _split,
    "Sub": lambda v, a: _tensor(v[0]) - _tensor(v[1]),
    "Transpose": lambda v, a: v[0].permute(a["perm"]),
}
"""Everything that a graph may be made of."""
