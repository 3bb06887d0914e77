"""A matting network of the usual recurrent layout, as small as it can be: two convolutional GRUs at two scales."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional


class ConvGru(nn.Module):
    """h' = (1 - z) h + z tanh(conv(x, r h)), gates by a convolution (Ballas et al., 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gates = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1)
        self.candidate = nn.Conv2d(2 * channels, channels, 3, padding=1)

    def forward(self, x: Tensor, h: Tensor | None) -> Tensor:
        h = torch.zeros_like(x) if h is None else h.expand_as(x)
        r, z = self.gates(torch.cat([x, h], 1)).sigmoid().chunk(2, 1)
        candidate: Tensor = self.candidate(torch.cat([x, r * h], 1)).tanh()
        new: Tensor = torch.lerp(h, candidate, z)
        return new


class TinyGru(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fine, self.coarse = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, stride=2, padding=1)
        self.one, self.two, self.out = ConvGru(4), ConvGru(4), nn.Conv2d(8, 1, 3, padding=1)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.5)

    def forward(
        self, src: Tensor, r1: Tensor | None, r2: Tensor | None, ratio: Tensor | float
    ) -> tuple[Tensor, Tensor, Tensor]:
        size = [int(side * ratio) for side in src.shape[-2:]]
        small = functional.interpolate(src, size=size, mode="bilinear", align_corners=False)
        fine = self.fine(small).relu()
        r1 = self.one(fine, r1)
        r2 = self.two(self.coarse(r1).relu(), r2)
        up = functional.interpolate(r2, size=r1.shape[-2:], mode="bilinear", align_corners=False)
        alpha = self.out(torch.cat([r1, up], 1)).sigmoid()
        return functional.interpolate(alpha, size=src.shape[-2:], mode="bilinear", align_corners=False), r1, r2


class _WithRatio(nn.Module):
    """The same for the exporter: the ratio is a tensor, and scales what it gives in the graph."""

    def __init__(self, network: TinyGru) -> None:
        super().__init__()
        self.network = network

    def forward(self, src: Tensor, r1: Tensor, r2: Tensor, ratio: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pha, r1, r2 = self.network(src, r1, r2, 0.5)
        return pha + 0 * ratio, r1, r2


def export_gru(network: TinyGru, path: Path) -> Path:
    """With states of open sides, which begin as single zeros."""
    example = (torch.zeros(1, 3, 48, 64), *[torch.zeros(1, 1, 1, 1)] * 2, torch.full((1,), 0.5))
    sides = {axis: str(axis) for axis in range(4)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of shapes that become constants, and of the exporter's successor
        torch.onnx.export(
            _WithRatio(network),
            example,
            str(path),
            dynamo=False,
            opset_version=17,
            input_names=["src", "r1i", "r2i", "downsample_ratio"],
            output_names=["pha", "r1o", "r2o"],
            dynamic_axes={name: {a: f"{name}{s}" for a, s in sides.items()} for name in ("r1i", "r2i", "r1o", "r2o")},
        )
    return path
