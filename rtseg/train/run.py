"""From a recipe to weights in a folder: what the commands call."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import cv2
import torch
from torch import Tensor

from rtseg.errors import ConfigError
from rtseg.ops.arrays import U8, as_u8
from rtseg.train.checkpoints import average_weights
from rtseg.train.export import Export, export
from rtseg.train.fit import fit, sizes_of, trained_recipe
from rtseg.train.model import build_network
from rtseg.train.recipe import Recipe, read_recipe
from rtseg.train.samples import TrainingSamples
from rtseg.train.sheet import grid, tint

log = logging.getLogger(__name__)


def open_recipe(path: Path, *, steps: int | None = None, seed: int | None = None) -> Recipe:
    """A recipe with a few values replaced; what `read_recipe` raises."""
    recipe = read_recipe(path)
    if steps is not None:
        recipe = recipe.model_copy(update={"schedule": recipe.schedule.model_copy(update={"steps": steps})})
    return recipe if seed is None else recipe.model_copy(update={"seed": seed})


def train_and_export(
    recipe: Recipe,
    folder: Path,
    *,
    resume: bool = True,
    cache: Path | None = None,
    workers: int = 0,
    threads: int = 2,
    accelerator: str = "auto",
    devices: int = 1,
    precision: str = "32-true",
    progress: bool = True,
) -> Export:
    """Train into `folder`, going on where a run before ended, and leave NAME.onnx and NAME.toml there."""
    torch.set_num_threads(threads)
    cv2.setNumThreads(1)
    if recipe.schedule.steps:
        fit(
            recipe,
            folder,
            resume=resume,
            cache=cache,
            workers=workers,
            accelerator=accelerator,
            devices=devices,
            precision=precision,
            progress=progress,
        )
    return export_run(recipe, folder, folder)


def export_run(recipe: Recipe, run: Path, output: Path, *, planes: bool = False) -> Export:
    """Write the averaged weights of a run's last checkpoint; ConfigError where there is none.

    A recipe of no steps needs no run: what it begins with is exported.
    """
    last = run / "last.safetensors"
    network = build_network(recipe)
    if recipe.schedule.steps:
        if not last.is_file():
            raise ConfigError(f"{run} has no checkpoint {last.name}: train first, or name the run's folder with --run")
        network.load_state_dict(blend(network.state_dict(), average_weights(last), keep=recipe.model.keep))
    trained_by = (trained_recipe(run) if recipe.schedule.steps else "") or recipe.hash
    if trained_by != recipe.hash:
        log.warning(
            "%s was trained by an earlier state of this recipe (%s), which the card names", run, trained_by[:12]
        )
    return export(recipe, network, output, pictures=_pictures(recipe), planes=planes, trained_by=trained_by)


def blend(start: Mapping[str, Tensor], trained: Mapping[str, Tensor], *, keep: float) -> dict[str, Tensor]:
    """A network's weights on the line from `trained` (keep 0) to `start` (keep 1)."""
    return {
        name: torch.lerp(tensor, start[name], keep) if tensor.is_floating_point() else tensor
        for name, tensor in trained.items()
    }


def preview_samples(recipe: Recipe, folder: Path, *, cache: Path | None = None, count: int = 40) -> Path:
    """The first samples of a run, labels laid over and what is unknown darkened, as a picture to look at."""
    samples = TrainingSamples(recipe, cache=cache or folder / "teachers", sizes=sizes_of(recipe))
    drawn = []
    for item in (samples[index] for index in range(min(count, len(samples)))):
        picture = tint(item["image"], item["target"] * item["known"])
        picture[item["known"].amax(dim=0).numpy() < 0.5] //= 3
        drawn.append(picture)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "samples.png"
    cv2.imwrite(str(path), cv2.cvtColor(grid(drawn, columns=6), cv2.COLOR_RGB2BGR))
    return path


def _pictures(recipe: Recipe, *, count: int = 3) -> list[U8]:
    """A few held-back pictures of every set, or of the others where none is, at the input's size."""
    found = []
    for data in recipe.data:
        for stem in (data.stems("held_out") or data.stems())[:count]:
            rgb = data.read(stem).rgb
            found.append(as_u8(cv2.resize(rgb, recipe.model.size, interpolation=cv2.INTER_AREA)))
    return found
