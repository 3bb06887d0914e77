"""What is minimised: cross-entropy and dice where labels are known, agreement with a teacher and with oneself."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from rtseg.train.recipe import HeadOptions, Recipe


def run_loss(recipe: Recipe, logits: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> Tensor:
    """The weighted sum over heads, with the teachers' share where some distil; labels are brought to the maps."""
    total = torch.zeros((), device=batch["image"].device)
    share = sum(teacher.weight for teacher in recipe.teachers if teacher.use == "distil")
    first = 0
    for head in recipe.heads:
        part = slice(first, first + len(head.regions))
        first = part.stop
        found = logits[head.name]
        target, known = (_to(batch[name][:, part], found) for name in ("target", "known"))
        target = (target * head.gain).clamp(max=1.0)
        loss = head_loss(head, found, target, (known > 0.999).float())
        if "teacher" in batch:
            taught = batch["teacher_known"][:, part, None, None].expand_as(found)
            part_share = share * taught.mean()  # what no teacher knows is learnt from labels alone
            soft = functional.binary_cross_entropy_with_logits(
                found, _to(batch["teacher"][:, part], found), reduction="none"
            )
            loss = (1 - part_share) * loss + part_share * (soft * taught).sum() / taught.sum().clamp(min=1)
        total = total + head.weight * loss
    return total


def head_loss(head: HeadOptions, logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Masked cross-entropy and dice of one head; all BxRxhxw, target 0..1 soft, known 0 or 1."""
    weight = known * (1 + (head.positive - 1) * target)
    if head.edge:
        weight = weight * (1 + head.edge * edges(target))
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    loss = (entropy * weight).sum() / weight.sum().clamp(min=1)
    if head.dice:
        loss = (1 - head.dice) * loss + head.dice * dice_loss(torch.sigmoid(logits), target, known)
    return loss


def dice_loss(probability: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """1 - 2|PT| / (|P|^2 + |T|^2) over the batch, the mean of the regions (Milletari et al., V-Net, 2016)."""
    over = (0, 2, 3)
    both = (probability * target * known).sum(over)
    each = ((probability**2 + target**2) * known).sum(over)
    seen = (known.sum(over) > 0).float()
    dice = 1 - (2 * both + 1) / (each + 1)
    return (dice * seen).sum() / seen.sum().clamp(min=1)


def edges(target: Tensor) -> Tensor:
    """1 where a pixel and one within 2 pixels lie on different sides of an edge, else 0; soft in between."""
    high = functional.max_pool2d(target, 5, 1, 2)
    low = -functional.max_pool2d(-target, 5, 1, 2)
    return high - low


def consistency_loss(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> Tensor:
    """The mean absolute difference of the probabilities for two renderings of the same view."""
    losses = [(torch.sigmoid(first[name]) - torch.sigmoid(second[name])).abs().mean() for name in first]
    return torch.stack(losses).mean()


def _to(labels: Tensor, map_: Tensor) -> Tensor:
    """Labels averaged down (or enlarged) to a head's map."""
    if labels.shape[-2:] == map_.shape[-2:]:
        return labels
    return functional.interpolate(labels, size=map_.shape[-2:], mode="area")
