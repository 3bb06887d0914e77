"""A recipe's network, made and given its start weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import assert_never

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional

from rtseg.errors import ConfigError, ModelRejected
from rtseg.train.blocks import ConvNorm, InvertedResidual
from rtseg.train.checkpoints import average_weights
from rtseg.train.encoders import (
    MOBILE,
    BlockEncoder,
    GraphEncoder,
    ShrunkEncoder,
    lite0_encoder,
)
from rtseg.train.graph import load_graph, read_model
from rtseg.train.networks import SegmentationNetwork
from rtseg.train.recipe import EncoderOptions, Recipe


def build_network(recipe: Recipe) -> nn.Module:
    """The module that turns RGB 0..1 BxCxHxW into logits by head, with the recipe's start weights.

    Raises ConfigError for options that do not go together, ModelRejected for files that do not fit.
    """
    options = recipe.model
    torch.manual_seed(recipe.seed)
    match options.architecture:
        case "network":
            heads = {head.name: (len(head.regions), head.stride) for head in recipe.heads}
            encoder = build_encoder(options.encoder, options.size)
            if len(options.widths) != len(encoder.channels):
                raise ConfigError(
                    f"model.widths has {len(options.widths)} numbers, this encoder has {len(encoder.channels)} levels: "
                    "give one width a level, coarsest first"
                )
            network: nn.Module = SegmentationNetwork(encoder, heads, widths=options.widths, stages=options.stages)
            if options.start is not None:
                load_start(network, options.start)
        case "onnx":
            if options.start is None:
                raise ConfigError("architecture 'onnx' goes on from a graph: give model.start")
            network = GraphNetwork(
                options.start,
                [head.name for head in recipe.heads],
                size=options.size,
                grow=options.grow,
                temper=options.temper,
            )
        case "ensemble":
            network = EnsembleNetwork(options.members, [head.name for head in recipe.heads], shares=options.shares)
        case "segformer":
            from rtseg.train.segformer import SegformerNetwork

            network = SegformerNetwork(recipe)
            if options.start is not None:
                load_start(network, options.start)
        case _:
            assert_never(options.architecture)
    return network


def build_encoder(options: EncoderOptions, size: tuple[int, int]) -> BlockEncoder | GraphEncoder | ShrunkEncoder:
    """The encoder with its weights; the first `frozen` blocks (or tensors of a graph) do not learn."""
    inner: BlockEncoder | GraphEncoder
    match options.kind:
        case "mobile":
            inner = BlockEncoder(MOBILE, stem=16, width=options.width, blocks=options.blocks)
        case "lite0":
            inner = lite0_encoder(options.file, blocks=options.blocks)
        case "onnx":
            if options.file is None or not options.taps:
                raise ConfigError("an encoder of kind 'onnx' needs a file and taps, names of values in its graph")
            inner = GraphEncoder(
                options.file,
                taps=options.taps,
                size=(size[0] // options.shrink, size[1] // options.shrink),
                scale=options.scale,
                bgr=options.bgr,
            )
        case _:
            assert_never(options.kind)
    if options.frozen:
        parts = [inner.stem, *inner.blocks] if isinstance(inner, BlockEncoder) else []
        for part in parts[: options.frozen]:
            part.requires_grad_(False)
        if isinstance(inner, GraphEncoder):
            for parameter in list(inner.parameters())[: options.frozen]:
                parameter.requires_grad_(False)
    return ShrunkEncoder(inner) if options.shrink == 2 else inner


class GraphNetwork(nn.Module):
    """A whole published graph as the network to train: its outputs before the last sigmoid are the logits.

    grow: residual blocks, zero at first, that are added where the graph is coarsest: the function starts unchanged.
    temper: what the logits are multiplied with at the start; networks trained to hard masks are so sure (logits of a
    hundred) that nothing could be learnt, while 0.1 of that keeps every decision and leaves edges soft.
    """

    def __init__(
        self, path: Path, heads: list[str], *, size: tuple[int, int], grow: int = 0, temper: float = 1.0
    ) -> None:
        super().__init__()
        model = read_model(path)
        logits = []
        for port in model.graph.output:
            node = _source(model, port.name)
            if node.op_type != "Sigmoid":
                raise ModelRejected(
                    f"{path}: output {port.name!r} does not end in a sigmoid, so its logits are unknown"
                )
            logits.append(node.input[0])
        if len(logits) != len(heads):
            raise ModelRejected(f"{path} has {len(logits)} outputs, the recipe {len(heads)} heads: name as many")
        self.graph = load_graph(path, outputs=logits)
        self._heads = heads
        if temper != 1.0:
            self.graph.scale(logits, temper)
        if grow:
            at, channels = self.graph.coarsest(size)
            blocks = [InvertedResidual(channels, channels, kernel=5, expand=4) for _ in range(grow)]
            for block in blocks:
                nn.init.zeros_(block.project.norm.weight)  # type: ignore[arg-type]
            self.graph.grown = nn.Sequential(*blocks)
            self.graph.grown_at = at

    def forward(self, picture: Tensor) -> dict[str, Tensor]:
        """Logits by head, in the order of the graph's outputs."""
        return dict(zip(self._heads, self.graph(picture), strict=True))


class EnsembleNetwork(nn.Module):
    """Several published graphs as one: the mean of their probabilities, each looking at its own size.

    Networks that were trained on different data fail on different pictures; their mean is better than the best of
    them. members: ONNX files of the same heads. shares: of each in the mean, alike where empty. The maps come at the
    first member's size.
    """

    def __init__(self, members: Sequence[Path], heads: list[str], *, shares: Sequence[float] = ()) -> None:
        super().__init__()
        if len(members) < 2 or (shares and len(shares) != len(members)):
            raise ConfigError("an ensemble has two model.members or more, and one of model.shares for each or none")
        self._sizes = [_input_size(path) for path in members]
        self.members = nn.ModuleList(
            GraphNetwork(path, heads, size=size) for path, size in zip(members, self._sizes, strict=True)
        )
        total = sum(shares) or len(members)
        self._shares = [share / total for share in shares] or [1 / total] * len(members)

    def forward(self, picture: Tensor) -> dict[str, Tensor]:
        """Logits by head: of the mean probability, which is kept a thousandth from 0 and 1."""
        means: dict[str, Tensor] = {}
        for member, (width, height), share in zip(self.members, self._sizes, self._shares, strict=True):
            own = functional.interpolate(picture, size=(height, width), mode="bilinear", align_corners=False)
            for name, logits in member(own if own.shape != picture.shape else picture).items():
                found = torch.sigmoid(logits)
                if name in means and found.shape != means[name].shape:
                    size = means[name].shape[-2:]
                    found = functional.interpolate(found, size=size, mode="bilinear", align_corners=False)
                means[name] = share * found + means[name] if name in means else share * found
        kept = {name: mean.clamp(1e-3, 1 - 1e-3) for name, mean in means.items()}
        return {name: torch.log(mean / (1 - mean)) for name, mean in kept.items()}


def _input_size(path: Path) -> tuple[int, int]:
    """Width and height that a graph takes."""
    _, _, height, width = (side.dim_value for side in read_model(path).graph.input[0].type.tensor_type.shape.dim)
    return width, height


def load_start(network: nn.Module, path: Path) -> None:
    """Weights of an earlier export (ONNX) or run (safetensors) into a network of the same or a like recipe.

    An export has no batch norm: where its weights go, the network's own is folded away. Tensors that are missing or
    have other shapes (a new head, a narrower decoder) keep their random start; ModelRejected where nothing fits.
    """
    tensors = initialisers(path) if path.suffix == ".onnx" else average_weights(path)
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    for name, module in network.named_modules():
        weight = f"{name}.conv.weight"
        if isinstance(module, ConvNorm) and f"{name}.conv.bias" in tensors and tensors[weight].shape == shapes[weight]:
            module.fold()
    own = network.state_dict()
    fitting = {name: t for name, t in tensors.items() if name in own and own[name].shape == t.shape}
    if not fitting:
        raise ModelRejected(f"{path} has no tensor that fits this network: it was made by another architecture")
    network.load_state_dict(fitting, strict=False)


def initialisers(path: Path) -> Mapping[str, Tensor]:
    """The weights of an export under the network's own names."""
    model = read_model(path)
    return {
        tensor.name.removeprefix("network."): torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy())
        for tensor in model.graph.initializer
    }


def _source(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    """The node that makes a value, past identities."""
    node = next(node for node in model.graph.node if name in node.output)
    return _source(model, node.input[0]) if node.op_type == "Identity" else node
