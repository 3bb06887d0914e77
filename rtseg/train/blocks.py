"""The building blocks of our networks: convolutions that ONNX Runtime fuses, inverted residuals, batch norm folding.

Activations are ReLU and ReLU6, which ONNX Runtime computes inside the convolution; hard swish and squeeze-excitation
cost it passes over memory of their own.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn


def round_channels(channels: float) -> int:
    """To the nearest multiple of 8, at least 8: what the blocked kernels of ONNX Runtime want."""
    return max(8, int(channels + 4) // 8 * 8)


class ConvNorm(nn.Sequential):
    """Convolution and batch norm, then `activation`; `fold_batch_norm` leaves the convolution alone with a bias."""

    conv: nn.Conv2d
    norm: nn.Module

    def __init__(
        self,
        inside: int,
        outside: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        activation: type[nn.Module] | None = nn.ReLU,
    ) -> None:
        parts: OrderedDict[str, nn.Module] = OrderedDict(
            conv=nn.Conv2d(inside, outside, kernel, stride, kernel // 2, groups=groups, bias=False),
            norm=nn.BatchNorm2d(outside),
        )
        if activation is not None:
            parts["act"] = activation()
        super().__init__(parts)

    def fold(self) -> None:
        """Put the batch norm into the convolution, in place; done before, it changes nothing."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = folded(self.conv, self.norm)
            self.norm = nn.Identity()


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; added to the input where shapes allow (MobileNetV2, Sandler et al.)."""

    def __init__(
        self,
        inside: int,
        outside: int,
        *,
        kernel: int = 3,
        stride: int = 1,
        expand: int = 4,
        activation: type[nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        wide = inside * expand
        if expand > 1:
            self.expand = ConvNorm(inside, wide, activation=activation)
        self.depthwise = ConvNorm(wide, wide, kernel=kernel, stride=stride, groups=wide, activation=activation)
        self.project = ConvNorm(wide, outside, activation=None)
        self._residual = stride == 1 and inside == outside

    def forward(self, x: Tensor) -> Tensor:
        """BxCxHxW to Bx`outside`xH/strideXW/stride."""
        wide = self.expand(x) if hasattr(self, "expand") else x
        y: Tensor = self.project(self.depthwise(wide))
        return x + y if self._residual else y


def fold_batch_norm(network: nn.Module) -> None:
    """Put every batch norm that follows a convolution into it, in place: what is trained further, or exported.

    Parameters of the convolutions keep their names, so that weights read back from an export find their places.
    """
    for module in network.modules():
        if isinstance(module, ConvNorm):
            module.fold()


def folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """One convolution that does what the two do in evaluation mode."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    with torch.no_grad():
        made = nn.Conv2d(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,  # type: ignore[arg-type]
            conv.stride,  # type: ignore[arg-type]
            conv.padding,  # type: ignore[arg-type]
            groups=conv.groups,
        )
        made.weight.copy_(conv.weight * gain[:, None, None, None])
        bias = conv.bias if conv.bias is not None else torch.zeros_like(norm.running_mean)
        assert made.bias is not None
        made.bias.copy_((bias - norm.running_mean) * gain + norm.bias)
    return made
