"""The one network we train: an encoder, a decoder that goes up by twos, and heads by name.

    picture ─▶ encoder ─▶ context ─▶ up, add the finer feature, filter ─▶ … ─▶ heads (probabilities)

The decoder is narrow, since its fine levels are where a network for masks spends its time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from rtseg.train.blocks import ConvNorm, InvertedResidual
from rtseg.train.encoders import Encoder


class Level(nn.Module):
    """One step up: the coarse feature projected and doubled, the finer one of the encoder added, both filtered."""

    def __init__(self, coarse: int, fine: int, outside: int, *, kernel: int = 3, stages: int = 1) -> None:
        super().__init__()
        self.reduce = ConvNorm(coarse, outside, activation=None)
        self.lateral = ConvNorm(fine, outside, activation=None)
        self.filters = nn.Sequential(
            *(InvertedResidual(outside, outside, kernel=kernel, expand=2) for _ in range(stages))
        )

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """BxCxhxw and BxFxHxW to BxOxHxW."""
        up = functional.interpolate(self.reduce(coarse), size=fine.shape[-2:], mode="bilinear", align_corners=False)
        return self.filters(functional.relu(up + self.lateral(fine)))  # type: ignore[no-any-return]


class Context(nn.Module):
    """What the whole picture says about each place: large depthwise filters, and the mean of the picture added."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.reduce = ConvNorm(inside, outside)
        self.pooled = nn.Sequential(nn.Conv2d(outside, outside, 1), nn.ReLU())
        self.filters = nn.Sequential(*(InvertedResidual(outside, outside, kernel=5, expand=2) for _ in range(2)))

    def forward(self, x: Tensor) -> Tensor:
        """BxCxHxW to BxOxHxW."""
        x = self.reduce(x)
        return self.filters(x + self.pooled(x.mean(dim=(2, 3), keepdim=True)))  # type: ignore[no-any-return]


class Head(nn.Module):
    """Probabilities of one or more regions at `stride`, by a filter at the level's stride and a pixel shuffle."""

    def __init__(self, inside: int, regions: int, *, factor: int) -> None:
        super().__init__()
        self.filter = ConvNorm(inside, inside, kernel=3, groups=inside)
        self.out = nn.Conv2d(inside, regions * factor**2, 1)
        self._factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Logits BxRxHxW."""
        y = self.out(self.filter(x))
        return functional.pixel_shuffle(y, self._factor) if self._factor > 1 else y


class SegmentationNetwork(nn.Module):
    """Encoder, decoder and heads; called with RGB 0..1 BxCxHxW it gives logits by head.

    heads: name -> (number of regions, stride of its map). widths: channels of the decoder from the coarsest level
    (the context) to the finest, one for each feature of the encoder.
    """

    def __init__(
        self, encoder: Encoder, heads: Mapping[str, tuple[int, int]], *, widths: Sequence[int], stages: int = 1
    ) -> None:
        super().__init__()
        self.encoder = encoder
        channels, strides = encoder.channels[::-1], encoder.strides[::-1]
        self.context = Context(channels[0], widths[0])
        self.levels = nn.ModuleList(
            Level(coarse, fine, wide, stages=stages)
            for coarse, fine, wide in zip(widths[:-1], channels[1:], widths[1:], strict=True)
        )
        self._places: dict[str, int] = {}
        self.heads = nn.ModuleDict()
        for name, (regions, stride) in heads.items():
            place = next((i for i, at in enumerate(strides) if at <= stride), len(strides) - 1)
            self._places[name] = place
            self.heads[_key(name)] = Head(widths[place], regions, factor=max(strides[place] // stride, 1))

    def forward(self, picture: Tensor) -> dict[str, Tensor]:
        """Logits by head, BxRxhxw at the head's stride."""
        *finer, coarsest = self.encoder(picture)
        x = self.context(coarsest)
        found = [x]
        for level, feature in zip(self.levels, reversed(finer), strict=True):
            x = level(x, feature)
            found.append(x)
        return {name: self.heads[_key(name)](found[place]) for name, place in self._places.items()}


def _key(name: str) -> str:
    """A head's name as torch takes it: "train" and "half" are methods of its modules."""
    return f"{name}_" if hasattr(nn.ModuleDict, name) else name


class Deployed(nn.Module):
    """The network as it is exported: probabilities in the order of its heads instead of logits by name.

    shifts: head -> what is added to its logits, which moves the threshold.
    """

    def __init__(self, network: nn.Module, shifts: Mapping[str, float] | None = None) -> None:
        super().__init__()
        self.network = network
        self._shifts = {name: shift for name, shift in (shifts or {}).items() if shift}

    def forward(self, picture: Tensor) -> tuple[Tensor, ...]:
        """RGB 0..1 BxCxHxW to probabilities BxRxhxw, a tensor a head."""
        found = self.network(picture).items()
        return tuple(
            torch.sigmoid(logits + self._shifts[name] if name in self._shifts else logits) for name, logits in found
        )
