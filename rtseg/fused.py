"""The whole frame as one ONNX graph: planes in, network and layers between, planes out.

    y, uv ─▶ resize, colour, normalise ─▶ network ─▶ masks ─▶ alpha at full size ─▶ blend ─▶ out_y, out_uv

For accelerators, where it keeps every pixel on the device without a line of CUDA; on the CPU it costs more than the
hand path, which is its reference: see `rtseg.ops.graphs`. Built without torch, from the card, the weights and what the
effects say of themselves.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias, assert_never

import numpy as np
import onnx
from onnx import TensorProto, helper, version_converter

from rtseg.cards import Card, CardOutput
from rtseg.errors import ModelRejected
from rtseg.ops.arrays import as_f32
from rtseg.ops.colour import Colour, rgb_to_yuv, rgb_to_yuv_matrix, yuv_to_rgb_matrix
from rtseg.ops.flow import FLOW_SIZE
from rtseg.ops.graphs import GraphBuilder, Value
from rtseg.ops.matte import finer_size
from rtseg.ops.tensors import FLAT, InputFormat, Window
from rtseg.types import Blur, GraphLayer, Keep, Solid

Layout: TypeAlias = Literal["nv12", "i420"]

OPSET = 17
_LINE_WIDEST = 400
_FORBIDDEN = {"If", "Loop", "Scan", "NonZero", "NonMaxSuppression"}
"""Operators that a captured CUDA graph cannot hold: control flow, and shapes that depend on values."""


def fuse(
    card: Card,
    weights: Path,
    layers: Sequence[GraphLayer],
    *,
    size: tuple[int, int],
    colour: Colour,
    layout: Layout = "nv12",
    pitch: int | None = None,
    steady: bool = False,
    refine: bool = False,
) -> onnx.ModelProto:
    """One graph for frames of `size` (width, height, even) in `colour`, 4:2:0, with all `layers`, bottom first.

    Inputs, uint8: "nv12": `y` HxW and `uv` H/2xW/2x2, as DLPack gives planes of a device; "i420": `y` 1x1xHxW, `u` and
    `v` 1x1xH/2xW/2. For each layer that paints a picture the same with `picture0_` and on before. Outputs: `out_` and
    the same; `masks`, uint8 1xRxhxw, the regions in the card's order; `sums`, float32, a number for each output of the
    network, which is finite where all of it is: levels alone would hide NaN and infinity.

    pitch: bytes from one line of the frame's "nv12" planes to the next, where lines have padding: `y` is then HxP and
    `uv` H/2xP/2x2, so that nothing has to close the gaps first. Pictures and outputs have none.

    steady: smooth the masks over time where nothing moves (`TemporalSmooth` without flow), with the past as inputs
    `past_masks`, `past_luma` and `known` (float32 1x1x1x1, 0 for no past) and outputs `next_masks` and `next_luma`.
    refine: draw them to the picture's edges (`EdgeRefine`). Raises ModelRejected for what no graph can say.
    """
    if size[0] % 2 or size[1] % 2:
        raise ModelRejected(f"a fused graph takes frames of even sides, not {size[0]}x{size[1]}: crop, or run unfused")
    graph = GraphBuilder()
    ports = _Ports(graph, size, layout)
    luma, chroma = ports.take("", pitch)
    masks = _masks(graph, card, weights, luma, chroma, colour)
    if steady:
        masks = _steadied(graph, ports, masks, luma)
    if refine:
        masks = {name: _refined(graph, mask, luma) for name, mask in masks.items()}
    base = [luma, chroma]
    for mixed, several in itertools.groupby(layers, lambda layer: layer.mixed):
        if mixed:
            base = _mixed(graph, list(several), masks, base, colour)
            continue
        for layer in several:
            base = _layer(graph, ports, layer, masks, base, [luma, chroma], colour)
    ports.give("out_", *base)
    ports.outputs.append(helper.make_tensor_value_info("sums", TensorProto.FLOAT, (len(card.outputs),)))
    ports.keep("masks", graph.stack(list(masks.values())))
    return ports.model(card.name)


class _Ports:
    """Inputs and outputs in the wanted layout, and the network's nodes."""

    def __init__(self, graph: GraphBuilder, size: tuple[int, int], layout: Layout) -> None:
        self.graph, self.size, self.layout = graph, size, layout
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.pictures = 0
        self._half = (size[0] // 2, size[1] // 2)

    def take(self, prefix: str, pitch: int | None = None) -> tuple[Value, Value]:
        """Declare the planes of a frame as inputs; luma, and chroma as 2 channels, as float32."""
        graph, (width, height) = self.graph, self._half
        if self.layout == "nv12":
            line, lines = pitch or self.size[0], self.size[1]
            self.inputs += [_port(f"{prefix}y", lines, line), _port(f"{prefix}uv", height, line // 2, 2)]
            # Cast before all else: it is the one operator that every provider has for bytes.
            levels = [graph.op("Cast", f"{prefix}{name}", to=TensorProto.FLOAT) for name in ("y", "uv")]
            y = graph.op("Reshape", levels[0], graph.shape(1, 1, lines, line))
            planar = graph.op("Transpose", levels[1], perm=[2, 0, 1])
            uv = graph.op("Reshape", planar, graph.shape(1, 2, height, line // 2))
            luma = graph.crop(Value(y, 1, (line, lines)), (0, 0, *self.size))
            return luma, graph.crop(Value(uv, 2, (line // 2, height)), (0, 0, *self._half))
        self.inputs.append(_port(f"{prefix}y", 1, 1, *self.size[::-1]))
        luma = graph.floats(Value(f"{prefix}y", 1, self.size))
        self.inputs += [_port(f"{prefix}{name}", 1, 1, height, width) for name in "uv"]
        return luma, graph.floats(graph.stack([Value(f"{prefix}{name}", 1, self._half) for name in "uv"]))

    def give(self, prefix: str, luma: Value, chroma: Value) -> None:
        """Declare planes as outputs."""
        graph, (width, height) = self.graph, self._half
        if self.layout == "nv12":
            packed = graph.op("Transpose", chroma.name, perm=[0, 2, 3, 1])
            for name, plane, shape in (("y", luma.name, self.size[::-1]), ("uv", packed, (height, width, 2))):
                flat = graph.op("Reshape", plane, graph.shape(*shape))
                graph.rename(graph.op("Cast", flat, to=TensorProto.UINT8), f"{prefix}{name}")
                self.outputs.append(_port(f"{prefix}{name}", *shape))
            return
        graph.rename(graph.bytes(luma).name, f"{prefix}y")
        self.outputs.append(_port(f"{prefix}y", 1, 1, *self.size[::-1]))
        for index, name in enumerate("uv"):
            graph.rename(graph.bytes(graph.channel(chroma, index)).name, f"{prefix}{name}")
            self.outputs.append(_port(f"{prefix}{name}", 1, 1, height, width))

    def state(self, name: str, channels: int, size: tuple[int, int]) -> Value:
        """Declare an input that an earlier run gave, as float32."""
        self.inputs.append(_port(name, 1, channels, *size[::-1]))
        return self.graph.floats(Value(name, channels, size))

    def keep(self, name: str, x: Value) -> None:
        """Declare an output of levels."""
        self.graph.rename(self.graph.bytes(x).name, name)
        self.outputs.append(_port(name, 1, x.channels, *x.size[::-1]))

    def model(self, name: str) -> onnx.ModelProto:
        """Everything as a checked model."""
        made = helper.make_graph(self.graph.nodes, name, self.inputs, self.outputs, self.graph.constants)
        model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
        onnx.checker.check_model(model)
        return model


def _port(name: str, *shape: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.UINT8, shape)


def _masks(
    graph: GraphBuilder, card: Card, weights: Path, luma: Value, chroma: Value, colour: Colour
) -> dict[str, Value]:
    """The card's regions or classes by name, 0..255, all of one size."""
    layout = InputFormat(**card.input.model_dump(exclude={"name", "matrix", "full_range"}))
    window = layout.window(luma.size)
    inside = (window.width, window.height)
    picture = _coloured(graph, graph.stack([graph.resize(luma, inside), graph.resize(chroma, inside)]), card, colour)
    found = _network(graph, card, weights, _tensor(graph, picture, layout, window))
    sums = [graph.op("ReduceMean", found[output.name].name, keepdims=0) for output in card.outputs]
    whole = [graph.op("Reshape", value, graph.shape(1)) for value in sums]
    graph.rename(graph.op("Concat", *whole, axis=0), "sums")
    if card.family == "semantic":
        (output,) = card.outputs
        return _classes(graph, card, found[output.name], window, layout)
    if card.family != "regions":
        raise ModelRejected(f"the family {card.family!r} of model {card.name!r} cannot be fused: run it unfused")
    masks = {}
    for output in card.outputs:
        for name, channel in output.regions.items():
            level = graph.like(_probability(graph, found[output.name], output, channel), "Mul", graph.number(255))
            masks[name] = _uncrop(graph, graph.levels(level), window, layout)
    finest = max((mask.size for mask in masks.values()), key=lambda size: size[0] * size[1])
    return {name: graph.bilinear(masks[name], finest) for name in card.names}


def _coloured(graph: GraphBuilder, yuv: Value, card: Card, colour: Colour) -> Value:
    """Y, U and V as what the network takes: RGB, or planes in its own colour."""
    wanted = card.input
    matrix = yuv_to_rgb_matrix(colour)
    if wanted.colour == "yuv":
        own = Colour(wanted.matrix, wanted.full_range)
        if own == colour:
            return yuv
        matrix = as_f32(rgb_to_yuv_matrix(own) @ np.vstack([matrix, np.array([[0, 0, 0, 1]], np.float32)]))
    return graph.transform(yuv, matrix)


def _tensor(graph: GraphBuilder, picture: Value, layout: InputFormat, window: Window) -> Value:
    """`InputFormat.write`."""
    width, height = layout.size
    if picture.size != layout.size:
        right, below = width - window.x - window.width, height - window.y - window.height
        pads = graph.shape(0, 0, window.y, window.x, 0, 0, below, right)
        picture = Value(graph.op("Pad", picture.name, pads, graph.number(layout.pad)), 3, layout.size)
    if layout.colour == "bgr":
        picture = graph.stack([graph.channel(picture, index) for index in (2, 1, 0)])
    mean, std = (np.array(values, np.float64).reshape(1, 3, 1, 1) for values in (layout.mean, layout.std))
    scaled = graph.like(picture, "Mul", graph.constant((1 / (layout.scale * std)).astype(np.float32)))
    if not mean.any():
        return scaled
    return graph.like(scaled, "Add", graph.constant((-mean / std).astype(np.float32)))


def _network(graph: GraphBuilder, card: Card, weights: Path, tensor: Value) -> dict[str, Value]:
    """The card's network on `tensor`: its outputs by name."""
    try:
        model = onnx.load(weights)
        if next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx")) != OPSET:
            model = version_converter.convert_version(model, OPSET)
        typed = onnx.shape_inference.infer_shapes(model).graph
    except Exception as error:  # protobuf's own, the converter's, StopIteration for a model of another domain
        raise ModelRejected(f"{weights.name} cannot be fused: {error}") from error
    if forbidden := sorted({node.op_type for node in model.graph.node} & _FORBIDDEN):
        raise ModelRejected(f"{weights.name} cannot be fused, since it uses {', '.join(forbidden)}: run it unfused")
    renamed = {card.input.name: tensor.name, "": ""}

    def name_of(name: str) -> str:
        return renamed.setdefault(name, f"net/{name}")

    for initializer in model.graph.initializer:
        copy = onnx.TensorProto()
        copy.CopyFrom(initializer)
        copy.name = name_of(initializer.name)
        graph.constants.append(copy)
    for node in model.graph.node:
        copy_of = onnx.NodeProto()
        copy_of.CopyFrom(node)
        copy_of.name = f"net/{node.name}" if node.name else ""
        for names in (copy_of.input, copy_of.output):
            names[:] = [name_of(name) for name in names]
        graph.nodes.append(copy_of)
    shapes = {
        port.name: [side.dim_value for side in port.type.tensor_type.shape.dim]
        for port in (*typed.output, *typed.value_info)
    }
    found = {}
    for output in card.outputs:
        shape = shapes.get(output.name, [])
        if len(shape) != 4 or shape[0] != 1 or not all(shape):
            raise ModelRejected(f"output {output.name} of {weights.name} has no fixed shape 1xCxHxW: run it unfused")
        found[output.name] = Value(name_of(output.name), shape[1], (shape[3], shape[2]))
    return found


def _probability(graph: GraphBuilder, tensor: Value, output: CardOutput, channel: int) -> Value:
    """`rtseg.ops.tensors.probabilities`."""
    match output.activation:
        case "none":
            return graph.channel(tensor, channel)
        case "sigmoid":
            return graph.like(graph.channel(tensor, channel), "Sigmoid")
        case "softmax":
            return graph.channel(graph.like(tensor, "Softmax", axis=1), channel)
        case "minmax":
            plane = graph.channel(tensor, channel)
            low = graph.op("ReduceMin", plane.name, keepdims=0)
            span = graph.op("Sub", graph.op("ReduceMax", plane.name, keepdims=0), low)
            above = graph.like(plane, "Sub", low)
            return graph.like(above, "Div", graph.op("Max", span, graph.number(FLAT)))
        case _:
            assert_never(output.activation)


def _classes(graph: GraphBuilder, card: Card, scores: Value, window: Window, layout: InputFormat) -> dict[str, Value]:
    best = graph.op("ArgMax", scores.name, axis=1, keepdims=1)
    masks = {}
    for index, name in enumerate(card.names):
        same = graph.op("Equal", best, graph.shape(index))
        mask = graph.like(graph.floats(Value(same, 1, scores.size)), "Mul", graph.number(255))
        masks[name] = _uncrop(graph, mask, window, layout)
    return masks


def _uncrop(graph: GraphBuilder, mask: Value, window: Window, layout: InputFormat) -> Value:
    """`rtseg.ops.tensors.crop_window` for windows that end on whole pixels of the mask."""
    steps = [inner / outer for inner, outer in zip(mask.size, layout.size, strict=True)]
    x, y, width, height = (value * steps[index % 2] for index, value in enumerate(window))
    if not all(edge.is_integer() for edge in (x, y, width, height)):
        raise ModelRejected(f"the picture ends between pixels of the mask ({window} of {layout.size}): run it unfused")
    return graph.crop(mask, (int(x), int(y), int(x + width), int(y + height)))


def _steadied(graph: GraphBuilder, ports: _Ports, masks: dict[str, Value], luma: Value) -> dict[str, Value]:
    size = next(iter(masks.values())).size
    fine = size[0] >= FLOW_SIZE[0] and size[1] >= FLOW_SIZE[1]
    small = graph.resize(graph.resize(luma, size) if fine else luma, FLOW_SIZE)
    past = ports.state("past_masks", len(masks), size)
    before = ports.state("past_luma", 1, FLOW_SIZE)
    ports.inputs.append(helper.make_tensor_value_info("known", TensorProto.FLOAT, (1, 1, 1, 1)))
    steadied = {
        name: graph.steady(mask, graph.channel(past, index), small, before, "known")
        for index, (name, mask) in enumerate(masks.items())
    }
    ports.keep("next_masks", graph.stack(list(steadied.values())))
    ports.keep("next_luma", small)
    return steadied


def _refined(graph: GraphBuilder, mask: Value, luma: Value) -> Value:
    return graph.redraw_edges(mask, graph.resize(luma, mask.size), graph.resize(luma, finer_size(mask.size, luma.size)))


def _layer(
    graph: GraphBuilder,
    ports: _Ports,
    layer: GraphLayer,
    masks: dict[str, Value],
    base: Sequence[Value],
    frame: Sequence[Value],
    colour: Colour,
) -> list[Value]:
    """`rtseg.compositor.Compositor` for one layer."""
    union = masks[layer.regions[0]]
    for name in layer.regions[1:]:
        union = graph.like(union, "Max", masks[name].name)
    if layer.line and union.size[0] <= _LINE_WIDEST:
        union = graph.bilinear(union, (2 * union.size[0], 2 * union.size[1]))
    alpha = graph.look_up(union, layer.table)
    over: Sequence[Value]
    match layer.paint:
        case Solid():
            y, u, v = rgb_to_yuv(layer.paint.rgb, colour)
            over = [
                Value(graph.constant(np.array(values, np.float32).reshape(1, -1, 1, 1)), len(values), plane.size)
                for values, plane in zip(((y,), (u, v)), base, strict=True)
            ]
        case Keep():
            over = frame
        case Blur(lens="disc" | "depth"):
            raise ModelRejected("a blur like a lens's cannot be fused: take the Gaussian one, or run unfused")
        case Blur():
            planes = [base[0], *(graph.channel(base[1], index) for index in range(2))]
            sigma = layer.paint.strength / 100 * base[0].size[1]
            small = graph.blur_covered(planes, alpha, sigma)
            over = [graph.bilinear(small[0], base[0].size), graph.bilinear(graph.stack(small[1:]), base[1].size)]
        case None:
            over = ports.take(f"picture{ports.pictures}_")
            ports.pictures += 1
        case _:
            assert_never(layer.paint)
    return [
        graph.blend(plane, paint, graph.bilinear(alpha, plane.size)) for plane, paint in zip(base, over, strict=True)
    ]


def _mixed(
    graph: GraphBuilder, layers: Sequence[GraphLayer], masks: dict[str, Value], base: Sequence[Value], colour: Colour
) -> list[Value]:
    """`rtseg.effects.tints.Tinter` for a class map: a number for each class, and what it stands for in tables."""
    rows = [(0, 0, 0, 0)]
    ranks: Value | None = None
    for layer in layers:
        assert isinstance(layer.paint, Solid)
        mask = masks[layer.regions[0]]
        seen = graph.like(mask, "GreaterOrEqual", graph.number(128))
        rank = graph.like(graph.floats(seen), "Mul", graph.number(len(rows)))
        ranks = rank if ranks is None else graph.like(ranks, "Add", rank.name)
        rows.append((int(layer.table[255]), *rgb_to_yuv(layer.paint.rgb, colour)))
    assert ranks is not None
    tables = np.array(rows, np.uint8).T
    alpha = graph.look_up(ranks, tables[0])
    grown = graph.like(ranks, "MaxPool", kernel_shape=[3, 3], pads=[1] * 4)
    none = graph.op("Equal", ranks.name, graph.number(0))
    filled = ranks._replace(name=graph.op("Where", none, grown.name, ranks.name))
    y, u, v = (graph.look_up(filled, table) for table in tables[1:])
    return [
        graph.blend(plane, graph.bilinear(paint, plane.size), graph.bilinear(alpha, plane.size))
        for plane, paint in zip(base, (y, graph.stack([u, v])), strict=True)
    ]
