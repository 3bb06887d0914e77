"""Torch to ONNX with a card: batch norm folded, slimmed, compared with torch on real pictures, then written.

With `planes`, the conversion from Y, U and V is folded into the first convolutions: what a frame has anyway is what
the network takes.
"""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxslim
import torch
from onnx import helper, numpy_helper
from torch import nn

from rtseg import store
from rtseg.cards import BORDER, Card, CardInput, CardOutput
from rtseg.errors import ModelRejected
from rtseg.inference.engine import OrtEngine
from rtseg.ops.arrays import F32, U8, as_f32
from rtseg.ops.colour import Colour, yuv_to_rgb_matrix
from rtseg.train.blocks import fold_batch_norm
from rtseg.train.networks import Deployed
from rtseg.train.recipe import Recipe

OPSET = 17
TOLERANCE = 1e-3
"""Largest difference of a probability between torch and ONNX Runtime that an export may have."""

PLANES = Colour("bt601", full_range=True)
"""What planes a folded export takes: what webcams give; frames in other colours are converted at the small size."""


@dataclass(frozen=True, slots=True)
class Export:
    """What was written, and the largest difference from torch that was seen."""

    card: Card
    path: Path
    difference: float


def export(
    recipe: Recipe,
    network: nn.Module,
    folder: Path,
    *,
    pictures: Sequence[U8],
    planes: bool = False,
    metrics: dict[str, float | str] | None = None,
    trained_by: str = "",
) -> Export:
    """Write NAME.onnx and NAME.toml into `folder`.

    network: with its trained weights. pictures: RGB uint8 HxWx3 of the model's input size, to compare on.
    trained_by: hash of the recipe that trained, where that is not this one's. Raises ModelRejected where ONNX Runtime
    and torch differ by more than `TOLERANCE`; nothing is written then.
    """
    network = copy.deepcopy(network).cpu().eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    fold_batch_norm(network)
    deployed = Deployed(network, {head.name: head.shift for head in recipe.heads}).eval()
    model = to_onnx(deployed, recipe.model.size, [head.name for head in recipe.heads])
    if planes:
        model = fold_planes(model, PLANES)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"rtseg_{recipe.name.replace('-', '_')}.onnx"
    part = path.with_suffix(".part.onnx")
    onnx.save(model, part)
    try:
        difference = compare(part, deployed, pictures, colour=PLANES if planes else None)
        if difference > TOLERANCE:
            raise ModelRejected(
                f"the export of {recipe.name!r} differs from torch by {difference:.2g}, allowed is {TOLERANCE:g}: "
                "this is a fault of the exporter; try another version of torch or onnx"
            )
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    card = make_card(recipe, path, planes=planes, metrics={**(metrics or {}), "parity": float(f"{difference:.2g}")})
    card = card.model_copy(update={"recipe": trained_by or recipe.hash})
    (folder / f"{recipe.name}.toml").write_text(write_card(card), encoding="utf-8")
    return Export(card, path, difference)


def to_onnx(deployed: nn.Module, size: tuple[int, int], names: Sequence[str]) -> onnx.ModelProto:
    """A module on RGB 0..1 as a slim ONNX graph with the input `image`, 1x3xHxW; weights keep their names."""
    model = trace(deployed, {"image": torch.zeros(1, 3, size[1], size[0])}, names)
    fold_shifts(model)
    return model


def trace(module: nn.Module, inputs: Mapping[str, torch.Tensor], names: Sequence[str]) -> onnx.ModelProto:
    """A module as a slim ONNX graph with inputs of these names and shapes, and outputs of these `names`."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter announces its successor, which loses the names of weights
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            buffer,  # type: ignore[arg-type] # a file object is allowed, the stubs forgot it
            dynamo=False,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=list(names),
        )
    model: onnx.ModelProto = onnxslim.slim(onnx.load_model_from_string(buffer.getvalue()))
    model.producer_name = "rtseg"
    return model


def fold_shifts(model: onnx.ModelProto) -> None:
    """Put numbers that are added to logits into the bias of the convolution that they come out of, in place.

    That costs nothing at run time, and a network that is gone on with ends in a convolution again. Other sums stay.
    """
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    users = [name for node in graph.node for name in node.input]
    for add in [node for node in graph.node if node.op_type == "Add" and node.input[1] in constants]:
        shift = numpy_helper.to_array(constants[add.input[1]])
        source = makers.get(add.input[0])
        while source is not None and source.op_type == "DepthToSpace" and users.count(source.output[0]) == 1:
            source = makers.get(source.input[0])
        if (
            shift.size != 1
            or source is None
            or source.op_type not in ("Conv", "ConvTranspose")
            or len(source.input) < 3
            or users.count(source.output[0]) != 1
            or users.count(source.input[2]) != 1
        ):
            continue
        bias = constants[source.input[2]]
        bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + shift.reshape(()), bias.name))
        for node in graph.node:
            node.input[:] = [add.input[0] if name == add.output[0] else name for name in node.input]
        graph.node.remove(add)
        if users.count(add.input[1]) == 1:
            graph.initializer.remove(constants[add.input[1]])
    onnx.checker.check_model(model)


def fold_planes(model: onnx.ModelProto, colour: Colour) -> onnx.ModelProto:
    """The same network on Y, U and V 0..1 in `colour`, input `planes`, 1x3xHxW.

    RGB = M (Y, U, V, 1): the three columns go into the weights of the first convolutions, and so does the constant,
    by a fourth channel of ones that is padded with zeros as RGB was; so borders come out the same. Only the clipping
    of colours outside RGB is lost. Raises ModelRejected where the input goes elsewhere than into convolutions.
    """
    graph = model.graph
    image = graph.input[0]
    matrix = yuv_to_rgb_matrix(colour).astype(np.float64)
    matrix[:, 3] /= 255.0
    weights = {tensor.name: tensor for tensor in graph.initializer}
    pending, pooled = [image.name], []
    while pending:
        value = pending.pop()
        for node in graph.node:
            if value not in node.input:
                continue
            if node.op_type == "AveragePool":
                pooled.append(node.output[0])
                pending.append(node.output[0])
            elif node.op_type == "Conv" and node.input[0] == value:
                weight = numpy_helper.to_array(weights[node.input[1]]).astype(np.float64)
                mixed = np.einsum("orhw,rp->ophw", weight, matrix).astype(np.float32)
                weights[node.input[1]].CopyFrom(numpy_helper.from_array(mixed, node.input[1]))
            else:
                raise ModelRejected(
                    f"planes cannot be folded in: the input goes into {node.op_type}, not a convolution; export without"
                )
    _, _, height, width = (side.dim_value for side in image.type.tensor_type.shape.dim)
    ones = numpy_helper.from_array(np.ones((1, 1, height, width), np.float32), "ones")
    graph.initializer.append(ones)
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name == image.name:
                node.input[index] = "planes_and_ones"
    image.name = "planes"
    graph.node.insert(0, helper.make_node("Concat", ["planes", "ones"], ["planes_and_ones"], axis=1))
    del graph.value_info[:]
    onnx.checker.check_model(model)
    return model


def compare(path: Path, deployed: nn.Module, pictures: Sequence[U8], *, colour: Colour | None = None) -> float:
    """The largest difference of a probability between an exported file and torch over some pictures.

    With a colour the file takes planes: the pictures are converted in float, without rounding or clipping, so that
    only the folding is compared.
    """
    engine = OrtEngine(path, providers=("cpu",))
    [name] = engine.inputs
    worst = 0.0
    for picture in pictures:
        rgb = as_f32(np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32) / 255)
        with torch.no_grad():
            wanted = deployed(torch.from_numpy(rgb))
        found = engine({name: rgb if colour is None else _planes(rgb, colour)})
        for tensor, array in zip(wanted, found.values(), strict=True):
            worst = max(worst, float(np.abs(tensor.numpy() - array).max()))
    return worst


def _planes(rgb: F32, colour: Colour) -> F32:
    matrix = yuv_to_rgb_matrix(colour).astype(np.float64)
    shifted = rgb[0].astype(np.float64) - matrix[:, 3, None, None] / 255
    return as_f32(np.einsum("pr,rhw->phw", np.linalg.inv(matrix[:, :3]), shifted)[None].astype(np.float32))


def make_card(recipe: Recipe, path: Path, *, planes: bool, metrics: dict[str, float | str]) -> Card:
    """The card of an export: what the recipe and the run know."""
    matte = len(recipe.regions) == 1
    touching = BORDER in recipe.regions
    return Card(
        name=recipe.name,
        description=recipe.card.description,
        family="touching" if touching else "regions",
        file=path.name,
        sha256=store.sha256_of(path),
        licence=recipe.card.licence,
        source=recipe.card.source,
        data=recipe.card.data,
        recipe=recipe.hash,
        names=tuple(region for region in recipe.regions if region != BORDER),
        input=CardInput(
            name="planes" if planes else "image",
            size=recipe.model.size,
            colour="yuv" if planes else "rgb",
            fit="stretch",
        ),
        outputs=tuple(
            CardOutput(name=head.name, regions={region: index for index, region in enumerate(head.regions)})
            for head in recipe.heads
        ),
        palette=recipe.card.palette or ({recipe.regions[0]: "#56b4e9"} if matte else {}),
        metrics=metrics,
    )


def write_card(card: Card) -> str:
    """A card as the TOML that `read_card` reads."""
    values = card.model_dump(exclude_defaults=True)
    kinds = ("input", "queries", "palette", "metrics", "external", "text", "recurrent")
    tables = {key: values.pop(key) for key in kinds if key in values}
    outputs = values.pop("outputs")
    lines = [f"{key} = {_toml(value)}" for key, value in values.items()]
    lines += ["", "[input]", *(f"{key} = {_toml(value)}" for key, value in tables.pop("input").items())]
    for output in outputs:
        lines += ["", "[[outputs]]", *(f"{key} = {_toml(value)}" for key, value in output.items())]
    for name, table in tables.items():
        lines += ["", f"[{name}]", *(f"{_key(key)} = {_toml(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else _toml(name)


def _toml(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
            return f'"{escaped}"'
        case dict():
            return "{ " + ", ".join(f"{_key(key)} = {_toml(item)}" for key, item in value.items()) + " }"
        case list() | tuple():
            return "[" + ", ".join(map(_toml, value)) + "]"
        case _:
            raise TypeError(f"a card cannot hold {type(value).__name__}")
