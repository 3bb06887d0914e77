"""Encoders: a picture to features at strides 2, 4, 8 and on, coarser and wider.

Three kinds. `mobile` is our own, scaled by a width, from scratch. `efficientnet-lite0` takes ImageNet weights from a
file. `onnx` takes any published graph and the names of the values to tap, so that a detector can lend its features.
All take RGB 0..1: what normalisation they were trained with is folded into their first convolution, so that the
padding of that convolution is the same in training and after export.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from rtseg.errors import ModelRejected
from rtseg.train.blocks import ConvNorm, InvertedResidual, fold_batch_norm, round_channels
from rtseg.train.graph import load_graph

Rows: TypeAlias = Sequence[tuple[int, int, int, int, int]]

LITE0: Rows = (
    (3, 16, 1, 1, 1),
    (3, 24, 2, 6, 2),
    (5, 40, 2, 6, 2),
    (3, 80, 2, 6, 3),
    (5, 112, 1, 6, 3),
    (5, 192, 2, 6, 4),
    (3, 320, 1, 6, 1),
)
"""EfficientNet-Lite0 (Tan & Le 2019; tensorflow/tpu, efficientnet/lite): kernel, channels, stride, expansion, count."""

MOBILE: Rows = ((3, 16, 1, 1, 1), (3, 24, 2, 4, 2), (5, 40, 2, 4, 3), (3, 80, 2, 4, 3), (5, 112, 1, 4, 2))
"""Our own, to stride 16."""


class Encoder(Protocol):
    """What a decoder builds on. channels and strides: of the features it gives, finest first."""

    channels: tuple[int, ...]
    strides: tuple[int, ...]

    def __call__(self, picture: Tensor, /) -> list[Tensor]:
        """Features for Bx3xHxW, RGB 0..1."""
        ...


class BlockEncoder(nn.Module):
    """A stem and inverted residuals by a table; gives the last feature of each stride.

    blocks: how many to keep, counted over the table, None for all; the network ends at the stride reached there.
    """

    def __init__(
        self,
        rows: Rows,
        *,
        stem: int = 32,
        width: float = 1.0,
        blocks: int | None = None,
        activation: type[nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        channels = round_channels(stem * width)
        self.stem = ConvNorm(3, channels, kernel=3, stride=2, activation=activation)
        self.blocks = nn.ModuleList()
        made: list[tuple[int, int]] = []
        stride = 2
        for kernel, outside, step, expand, count in rows:
            for index in range(count):
                if blocks is not None and len(self.blocks) == blocks:
                    break
                wide = round_channels(outside * width)
                now = step if index == 0 else 1
                self.blocks.append(
                    InvertedResidual(channels, wide, kernel=kernel, stride=now, expand=expand, activation=activation)
                )
                channels, stride = wide, stride * now
                made.append((stride, channels))
        self._last = {stride: index for index, (stride, _) in enumerate(made)}
        self.strides = tuple(self._last)
        self.channels = tuple(made[index][1] for index in self._last.values())

    def forward(self, picture: Tensor) -> list[Tensor]:
        """Features for Bx3xHxW, RGB 0..1; H and W must be multiples of the coarsest stride."""
        x, kept = self.stem(picture), []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self._last.values():
                kept.append(x)
        return kept


class GraphEncoder(nn.Module):
    """The features of a published ONNX graph at some of its values.

    scale: what RGB 0..1 is multiplied with before the graph; bgr: whether it wants blue first.
    """

    def __init__(
        self, path: Path, *, taps: Sequence[str], size: tuple[int, int], scale: float = 1.0, bgr: bool = False
    ) -> None:
        super().__init__()
        self.graph = load_graph(path, outputs=taps)
        self._scale, self._bgr = scale, bgr
        width, height = size
        with torch.no_grad():
            features = self(torch.zeros(1, 3, height, width))
        self.channels = tuple(feature.shape[1] for feature in features)
        self.strides = tuple(height // feature.shape[2] for feature in features)

    def forward(self, picture: Tensor) -> list[Tensor]:
        """The tapped values for Bx3xHxW, RGB 0..1."""
        x = picture.flip(1) if self._bgr else picture
        return self.graph(x * self._scale if self._scale != 1.0 else x)  # type: ignore[no-any-return]


def lite0_encoder(weights: Path | None, *, blocks: int | None = 11) -> BlockEncoder:
    """EfficientNet-Lite0 up to `blocks` of its 16, with ImageNet weights from a safetensors file, batch norm folded.

    The file is made by `scripts/lite0_encoder`. It was trained on (x - 127) / 128 of 0..255, which is folded into
    the stem. Without weights: random, for tests.
    """
    encoder = BlockEncoder(LITE0, blocks=blocks, activation=nn.ReLU6)
    if weights is not None:
        _load(encoder, load_file(weights), weights)
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-3  # TensorFlow's, where the weights come from
    encoder.eval()
    fold_batch_norm(encoder)
    if weights is not None:
        fold_normalisation(encoder.stem.conv, mean=(127 / 255,) * 3, std=(128 / 255,) * 3)
    encoder.train()
    return encoder


def fold_normalisation(conv: nn.Module, *, mean: Sequence[float], std: Sequence[float]) -> None:
    """Make a first convolution take what its input was before (x - mean) / std, a channel each.

    Exact but at the border, where zeros are padded: there the network sees black instead of the mean, which a
    fine-tune gets used to within steps.
    """
    assert isinstance(conv, nn.Conv2d)
    assert conv.bias is not None
    gain = 1.0 / torch.tensor(std)
    shift = -torch.tensor(mean) * gain
    with torch.no_grad():
        conv.bias += (conv.weight * shift[None, :, None, None]).sum(dim=(1, 2, 3))
        conv.weight *= gain[None, :, None, None]


def _load(encoder: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    wanted = encoder.state_dict()
    if missing := sorted(name for name in wanted if name not in tensors):
        raise ModelRejected(
            f"{path} lacks {missing[0]} and {len(missing) - 1} others: make it with scripts/lite0_encoder"
        )
    encoder.load_state_dict({name: tensors[name] for name in wanted})


class ShrunkEncoder(nn.Module):
    """An encoder that looks at half the picture's size, with a thin layer at full size for what edges need.

    Twice the strides at a quarter of the cost: how an ImageNet encoder fits into the budget of a webcam matte.
    """

    def __init__(self, inner: BlockEncoder | GraphEncoder, *, detail: int = 16) -> None:
        super().__init__()
        self.inner = inner
        self.detail = ConvNorm(3, detail, kernel=3, stride=2)
        self.channels = (detail, *inner.channels)
        self.strides = (2, *(2 * stride for stride in inner.strides))

    def forward(self, picture: Tensor) -> list[Tensor]:
        """Features for Bx3xHxW, RGB 0..1."""
        return [self.detail(picture), *self.inner(functional.avg_pool2d(picture, 2))]
