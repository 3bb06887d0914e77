"""The run itself: lightning's loop around our network, losses, samples, checkpoints and pictures."""

from __future__ import annotations

import logging
import math
import warnings
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchmetrics.classification import BinaryJaccardIndex

from rtseg.errors import ConfigError
from rtseg.train.checkpoints import SafetensorsIO, average_weights
from rtseg.train.losses import consistency_loss, run_loss
from rtseg.train.model import build_network
from rtseg.train.recipe import Recipe
from rtseg.train.samples import Batch, StepSampler, TrainingSamples, ValidationSamples
from rtseg.train.sheet import PictureSheet

log = logging.getLogger(__name__)


class Learner(pl.LightningModule):
    """A recipe's network on its way: losses, optimiser, schedule, and IoU of every region on what is held back."""

    def __init__(self, recipe: Recipe, network: nn.Module) -> None:
        super().__init__()
        self.recipe = recipe
        self.network = network
        self.scores = nn.ModuleList(BinaryJaccardIndex() for _ in recipe.regions)

    def forward(self, picture: Tensor) -> dict[str, Tensor]:
        """Logits by head."""
        return self.network(picture)  # type: ignore[no-any-return]

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """The loss of a batch."""
        torch.manual_seed(self.recipe.seed + self.global_step)  # so that dropout is the same in a run that was resumed
        image = batch["image"].to(memory_format=torch.channels_last)
        weight = self.recipe.schedule.consistency
        if weight:
            both = self.network(torch.cat([image, batch["image2"].to(memory_format=torch.channels_last)]))
            first = {name: logits[: len(image)] for name, logits in both.items()}
            second = {name: logits[len(image) :] for name, logits in both.items()}
            loss = (run_loss(self.recipe, first, batch) + run_loss(self.recipe, second, batch)) / 2
            difference = consistency_loss(first, second)
            self.log("consistency", difference)
            loss = loss + weight * difference
        else:
            loss = run_loss(self.recipe, self.network(image), batch)
        self.log("loss", loss, prog_bar=True)
        self.log("rate", self.lr_schedulers().get_last_lr()[-1])  # type: ignore[union-attr]
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        """Count a batch of held-back pictures."""
        logits = self.network(batch["image"])
        size = batch["target"].shape[-2:]
        first = 0
        for head in self.recipe.heads:
            full = nn.functional.interpolate(logits[head.name], size=size, mode="bilinear", align_corners=False)
            for offset in range(len(head.regions)):
                known = batch["known"][:, first + offset] > 0.5
                target = batch["target"][:, first + offset] > 0.5
                if known.any():
                    self._score(first + offset).update(full[:, offset][known].sigmoid(), target[known])
            first += len(head.regions)

    def on_validation_epoch_end(self) -> None:
        """Log the IoU of each region."""
        for index, region in enumerate(self.recipe.regions):
            score = self._score(index)
            self.log(f"iou_{region}", score.compute(), prog_bar=True)
            score.reset()

    def _score(self, index: int) -> BinaryJaccardIndex:
        return cast(BinaryJaccardIndex, self.scores[index])

    def configure_optimizers(self) -> Any:
        """AdamW; weights from elsewhere learn at the encoder's rate; warm-up, then a cosine to a hundredth."""
        schedule = self.recipe.schedule
        model = self.recipe.model
        lent = model.architecture == "segformer" or model.encoder.kind != "mobile"
        slow: list[nn.Parameter] = []
        fast: list[nn.Parameter] = []
        for name, parameter in self.network.named_parameters():
            if parameter.requires_grad:
                started = name.startswith("encoder.") and ".detail." not in f".{name}"
                (slow if started and lent else fast).append(parameter)
        groups: list[dict[str, Any]] = [{"params": fast, "lr": schedule.rate}]
        if slow:
            groups.append({"params": slow, "lr": schedule.rate * model.encoder.rate})
        optimiser = torch.optim.AdamW(groups, weight_decay=schedule.decay)
        planned = torch.optim.lr_scheduler.LambdaLR(optimiser, self._rate)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": planned, "interval": "step"}}

    def _rate(self, step: int) -> float:
        schedule = self.recipe.schedule
        if step < schedule.warmup:
            return (step + 1) / schedule.warmup
        done = (step - schedule.warmup) / max(schedule.steps - schedule.warmup, 1)
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def fit(
    recipe: Recipe,
    folder: Path,
    *,
    resume: bool = True,
    cache: Path | None = None,
    workers: int = 0,
    devices: int | str = 1,
    accelerator: str = "auto",
    precision: str = "32-true",
    progress: bool = True,
    stop_after: int | None = None,
) -> dict[str, Tensor]:
    """Train by the recipe into `folder`; the averaged weights, by the network's own names.

    Leaves `last.safetensors` (a checkpoint an epoch, from which `resume` goes on), `csv/metrics.csv`, TensorBoard logs
    and a picture sheet an epoch. stop_after: leave after so many steps, as if killed, for tests. cache: for what
    teachers say. Raises ConfigError for a folder that holds another recipe's run.
    """
    schedule = recipe.schedule
    folder.mkdir(parents=True, exist_ok=True)
    _claim(recipe, folder)
    cache = cache or folder / "teachers"
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # or it lists the accelerators that are not there
    pl.seed_everything(recipe.seed, workers=True, verbose=False)
    network = build_network(recipe).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    training = TrainingSamples(recipe, cache=cache, sizes=sizes_of(recipe))
    validation = ValidationSamples(recipe, cache=cache)
    last = folder / "last.safetensors"
    callbacks: list[pl.Callback] = [
        ModelCheckpoint(
            folder, filename="last", save_top_k=1, monitor=None, every_n_epochs=1, enable_version_counter=False
        ),
        PictureSheet(validation, folder / "sheets"),
    ]
    callbacks[0].FILE_EXTENSION = ".safetensors"  # type: ignore[attr-defined]
    if schedule.ema:
        callbacks.append(EMAWeightAveraging(decay=schedule.ema))
    if stop_after is not None:
        callbacks.append(_StopAfter(stop_after))
    trainer = pl.Trainer(
        accelerator=accelerator,
        devices=devices,
        precision=precision,  # type: ignore[arg-type]
        max_epochs=math.ceil(schedule.steps / schedule.epoch),  # with max_steps, resuming would repeat an epoch's end
        gradient_clip_val=schedule.clip,
        callbacks=callbacks,
        logger=[CSVLogger(folder, name="", version="csv"), TensorBoardLogger(folder, name="", version="tensorboard")],
        plugins=[SafetensorsIO()],
        log_every_n_steps=min(10, schedule.epoch),
        num_sanity_val_steps=0,
        enable_progress_bar=progress,
        enable_model_summary=False,
        use_distributed_sampler=False,
        deterministic=True,
    )
    rank, world = trainer.global_rank, trainer.world_size
    if schedule.batch % world:
        raise ConfigError(f"schedule.batch is {schedule.batch}, which {world} devices cannot share: make it a multiple")
    sampler = StepSampler(
        lambda: trainer.global_step,
        batch=schedule.batch,
        epoch=schedule.epoch,
        total=len(training),
        rank=rank,
        world=world,
    )
    loader: DataLoader[Batch] = DataLoader(
        training,
        batch_size=schedule.batch // world,
        sampler=sampler,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    held: DataLoader[Batch] = DataLoader(validation, batch_size=schedule.batch)
    learner = Learner(recipe, network)
    start = str(last) if resume and last.exists() else None
    _keep_metrics(folder / "csv" / "metrics.csv")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"(lightning|torch|torchmetrics)(\.|$)")  # not for our users
        try:
            trainer.fit(learner, loader, held if len(validation) else None, ckpt_path=start)
            trainer.save_checkpoint(last)
        except _StoppedError:
            log.debug("stopped after %s steps", stop_after)
    return average_weights(last) if last.exists() else dict(network.state_dict())


class _StoppedError(Exception):
    """Leaves a run as a kill would: nothing is tidied up."""


class _StopAfter(pl.Callback):
    """Raises `_StoppedError` before the step that comes after `steps`."""

    def __init__(self, steps: int) -> None:
        self._steps = steps

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any, **__: Any) -> None:
        """Look at the number of steps."""
        if trainer.global_step >= self._steps:
            raise _StoppedError


def sizes_of(recipe: Recipe) -> list[tuple[int, tuple[int, int]]]:
    """(step before which, size) in order."""
    schedule = recipe.schedule
    steps = [(schedule.steps, recipe.model.size)]
    if schedule.small and schedule.small_size:
        steps.insert(0, (round(schedule.small * schedule.steps), schedule.small_size))
    return steps


def _keep_metrics(path: Path) -> None:
    """Give the figures of an earlier part of a run a number: lightning would delete them."""
    if path.exists():
        number = 1 + len(list(path.parent.glob("metrics-*.csv")))
        path.rename(path.with_name(f"metrics-{number:02}.csv"))


_MARK = "recipe.sha256"


def trained_recipe(folder: Path) -> str:
    """The hash of the recipe that a run's folder belongs to; empty where none is written."""
    mark = folder / _MARK
    return mark.read_text(encoding="utf-8").strip() if mark.exists() else ""


def _claim(recipe: Recipe, folder: Path) -> None:
    """Write the recipe's hash into the folder, or refuse one that belongs to another recipe."""
    mark = folder / _MARK
    if mark.exists() and (found := trained_recipe(folder)) != recipe.hash:
        raise ConfigError(
            f"{folder} holds a run of another recipe, number of steps or seed ({found[:12]}, this is "
            f"{recipe.hash[:12]}): choose another folder"
        )
    mark.write_text(recipe.hash + "\n")
