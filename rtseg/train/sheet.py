"""Pictures of a run: what the network makes of the held-back pictures, an image an epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from rtseg.ops.arrays import U8, as_u8

COLOURS = np.array([(0, 158, 115), (240, 228, 66), (213, 94, 0), (204, 121, 167), (86, 180, 233)], np.float32)
"""Of regions in order, RGB; from Okabe & Ito's palette for all eyes."""


class PictureSheet(pl.Callback):
    """After each validation, `sheets/epoch-NNN.png`: every k-th held-back picture with labels above, result below."""

    def __init__(self, samples: Dataset[dict[str, Tensor]], folder: Path, *, count: int = 16) -> None:
        self._samples, self._folder, self._count = samples, folder, count

    def on_validation_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Draw the sheet with the weights that were validated."""
        total = len(self._samples)  # type: ignore[arg-type]
        if not total or not trainer.is_global_zero:
            return
        chosen = [self._samples[i] for i in sorted({i * total // self._count for i in range(self._count)})]
        images = torch.stack([item["image"] for item in chosen]).to(module.device)
        size = images.shape[-2:]
        with torch.no_grad():
            maps: Any = module(images).values()
        full = [torch.nn.functional.interpolate(m, size=size, mode="bilinear", align_corners=False) for m in maps]
        found = torch.cat(full, dim=1).sigmoid().cpu()
        columns = [
            np.vstack([tint(i["image"], i["target"] * i["known"]), tint(i["image"], p)])
            for i, p in zip(chosen, found, strict=True)
        ]
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"epoch-{trainer.current_epoch:03}.png"
        cv2.imwrite(str(path), cv2.cvtColor(grid(columns), cv2.COLOR_RGB2BGR))


def tint(image: Tensor, planes: Tensor) -> U8:
    """RGB 0..1 3xHxW with RxHxW laid over it in colours, as uint8 HxWx3."""
    picture = image.permute(1, 2, 0).numpy() * 255
    for plane, colour in zip(planes.numpy(), COLOURS, strict=False):
        alpha = 0.6 * plane[..., None]
        picture = picture * (1 - alpha) + colour * alpha
    return as_u8(np.clip(picture, 0, 255).astype(np.uint8))


def grid(pictures: list[U8], *, columns: int = 4) -> U8:
    """Equal pictures in rows; what is missing of the last one is black."""
    empty = np.zeros_like(pictures[0])
    filled = pictures + [empty] * (-len(pictures) % columns)
    return np.vstack([np.hstack(filled[i : i + columns]) for i in range(0, len(filled), columns)])
