"""A network that redraws another's matte: the small mask and the picture's own planes go in, an alpha twice as fine
comes out.

    luma, chroma, mask ─▶ what filters see at the mask's size ─▶ two levels down ─▶ up again ─▶ what the mask lacks

It learns what the other network gets wrong, which stays as it is. The masks that it learns from are made by that
network from the same spoilt pictures; so it knows that network's mistakes and no other's.
"""  # fmt: skip

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from rtseg.train.blocks import ConvNorm, InvertedResidual
from rtseg.train.networks import Context, Head, Level

SURE = 0.02
"""Probabilities are kept so far from 0 and 1: a mask of uint8 has no more to say beyond."""
STEEP = 2.0
"""What a mask's logits are multiplied with before anything is added: networks draw edges twice as wide as they are."""


class Refiner(nn.Module):
    """What is exported. widths: channels at the mask's size, at a half and at a quarter of it."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        fine, middle, coarse = widths
        self.stem = ConvNorm(7, fine, kernel=3)
        self.down = nn.Sequential(
            ConvNorm(fine, middle, kernel=3, stride=2), InvertedResidual(middle, middle, expand=2)
        )
        self.deep = ConvNorm(middle, coarse, kernel=3, stride=2)
        self.context = Context(coarse, coarse)
        self.middle = Level(coarse, middle, middle)
        self.fine = Level(middle, fine, fine)
        self.head = Head(fine, 1, factor=2)
        nn.init.zeros_(self.head.out.weight)
        nn.init.zeros_(self.head.out.bias)  # type: ignore[arg-type]

    def forward(self, luma: Tensor, chroma: Tensor, mask: Tensor) -> Tensor:
        """Luma Bx1x2Hx2W, chroma Bx2xHxW and mask Bx1xHxW, all 0..1, to logits Bx1x2Hx2W."""
        mask = mask.clamp(SURE, 1.0 - SURE)
        logits = torch.log(mask / (1.0 - mask))
        seen = torch.cat([functional.pixel_unshuffle(luma - 0.5, 2), chroma - 0.5, logits * 0.25], dim=1)
        fine = self.stem(seen)
        middle = self.down(fine)
        found = self.fine(self.middle(self.context(self.deep(middle)), middle), fine)
        larger = functional.interpolate(logits, scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.head(found) + STEEP * larger  # type: ignore[no-any-return]


class RefinerNetwork(nn.Module):
    """The other network, frozen, and the refiner behind it: RGB 0..1 Bx3x2Hx2W to logits of that size by head."""

    def __init__(self, base: nn.Module, head: str, widths: Sequence[int]) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.refiner = Refiner(widths)
        self._head = head

    def train(self, mode: bool = True) -> RefinerNetwork:
        """Only the refiner learns."""
        super().train(mode)
        self.base.eval()
        return self

    def forward(self, picture: Tensor) -> dict[str, Tensor]:
        """Logits of the one head."""
        small = functional.avg_pool2d(picture, 2)
        with torch.no_grad():
            [mask] = self.base(small).values()
        luma, chroma = planes_of(picture, limited=torch.rand(len(picture)) < 0.5 if self.training else None)
        return {self._head: self.refiner(luma, functional.avg_pool2d(chroma, 2), torch.sigmoid(mask))}


class DeployedRefiner(nn.Module):
    """The refiner on planes as frames have them: all uint8, and so is the alpha."""

    def __init__(self, refiner: Refiner) -> None:
        super().__init__()
        self.refiner = refiner

    def forward(self, luma: Tensor, chroma: Tensor, mask: Tensor) -> Tensor:
        """1x1x2Hx2W, 1x2xHxW and 1x1xHxW to 1x1x2Hx2W."""
        logits = self.refiner(*(plane.float() * (1.0 / 255.0) for plane in (luma, chroma, mask)))
        return (torch.sigmoid(logits) * 255.0 + 0.5).to(torch.uint8)


def planes_of(picture: Tensor, *, limited: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """RGB 0..1 Bx3xHxW as luma Bx1xHxW and chroma Bx2xHxW of BT.601, 0..1; limited: B, of which pictures the range is.

    Videos have either range and cameras too: what is exported takes planes as they are.
    """
    matrix = picture.new_tensor([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
    found = torch.einsum("pc,bchw->bphw", matrix, picture)
    luma, chroma = found[:, :1], found[:, 1:]
    if limited is not None:
        share = limited.to(picture)[:, None, None, None]
        luma = luma + share * (luma * (219 / 255) + 16 / 255 - luma)
        chroma = chroma + share * (224 / 255 - 1.0) * chroma
    return luma, chroma + 0.5
