"""Tiny sets, recipes and networks for training: squares on noise, learnt in moments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from rtseg.ops.arrays import U8
from rtseg.train.recipe import Recipe, read_recipe

torch.set_num_threads(1)  # more would wait for each other longer than tiny networks take

STEMS = ("a", "b", "c", "e")
"""Of these the hash holds back one: "c"."""

MODEL = 'size = [64, 48]\nwidths = [8, 8]\nencoder = { kind = "mobile", width = 0.25, blocks = 3 }'
HEADS = '[[heads]]\nname = "alpha"\nregions = ["person"]\nedge = 1.0'
SCHEDULE = "steps = 4\nepoch = 2\nbatch = 2\nrate = 1e-2\nwarmup = 1\nema = 0.5"
CARD = 'description = "Squares"\nlicence = "CC0-1.0"\nsource = "a test"\ndata = "made up"'


def square(*, size: tuple[int, int] = (96, 72), at: tuple[int, int] = (30, 20), side: int = 30) -> tuple[U8, U8]:
    """A picture, uint8 HxWx3 RGB: dark noise with a bright square; and the square's mask, 0 or 255."""
    chance = np.random.default_rng([at[0], at[1], side])
    rgb = chance.integers(0, 60, (size[1], size[0], 3), dtype=np.uint8)
    mask = np.zeros((size[1], size[0]), np.uint8)
    part = np.s_[at[1] : at[1] + side, at[0] : at[0] + side]
    rgb[part] = (230, 200, 40)
    mask[part] = 255
    return rgb, mask


def write_set(folder: Path, stems: tuple[str, ...] = STEMS, *, value: int = 255) -> Path:
    """Squares as `images/STEM.png` and `masks/STEM.png`; `value` is that of the square in the mask."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for index, stem in enumerate(stems):
        rgb, mask = square(at=(10 + 9 * index, 8 + 6 * index))
        cv2.imwrite(str(folder / "images" / f"{stem}.png"), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
        cv2.imwrite(str(folder / "masks" / f"{stem}.png"), np.where(mask > 0, np.uint8(value), np.uint8(0)))
    return folder


def write_recipe(
    folder: Path,
    *,
    model: str = MODEL,
    heads: str = HEADS,
    data: str = 'folder = "set"\nregions = { person = [] }\nscene = "person"',
    schedule: str = SCHEDULE,
    more: str = "",
    name: str = "tiny",
) -> Path:
    """A recipe beside its set of squares; `more` goes to its end."""
    if not (folder / "set").exists():
        write_set(folder / "set")
    path = folder / f"{name}.toml"
    path.write_text(
        f'name = "{name}"\nseed = 3\n[model]\n{model}\n{heads}\n[[data]]\n{data}\n[schedule]\n{schedule}\n'
        f"[card]\n{CARD}\n{more}\n"
    )
    return path


def recipe(folder: Path, **changes: Any) -> Recipe:
    """The same, read."""
    return read_recipe(write_recipe(folder, **changes))


def randomised(network: torch.nn.Module, *, seed: int = 1) -> torch.nn.Module:
    """Batch norms as after some training: running figures and gains that are not 0 and 1."""
    chance = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.3, generator=chance)
            module.running_var.uniform_(0.5, 2.0, generator=chance)
            module.weight.data.uniform_(0.5, 1.5, generator=chance)
            module.bias.data.normal_(0, 0.3, generator=chance)
    return network
