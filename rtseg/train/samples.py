"""Training samples: pictures of the recipe's sets, labelled, cut, composed and spoilt.

Sample number i of a run depends on the recipe's seed and on i alone. So a killed run goes on exactly where it was, any
number of processes can make samples, and two machines make the same ones.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from rtseg.build import build_source
from rtseg.config import VideoSource
from rtseg.errors import ConfigError
from rtseg.ops.arrays import F32, U8
from rtseg.train.augment import Scene, before, beside, view
from rtseg.train.backgrounds import Backgrounds, at_most
from rtseg.train.derive import borders
from rtseg.train.recipe import ClipOptions, DataOptions, Recipe
from rtseg.train.sensor import sensor
from rtseg.train.teachers import Teacher, apply_teacher
from rtseg.train.weather import cabin, weather

Batch: TypeAlias = dict[str, Tensor]


class Pool:
    """Labelled scenes of one set or clip, read once and kept in memory; labels already completed by teachers."""

    def __init__(
        self, source: DataOptions | ClipOptions, regions: Sequence[str], teachers: Sequence[Teacher], *, held_out: bool
    ) -> None:
        self.source = source
        self._regions = regions
        self._teachers = [t for t in teachers if not t.options.sets or source.title in t.options.sets]
        self._held_out = held_out
        self._scenes: dict[str, Scene] = {}

    @cached_property
    def stems(self) -> list[str]:
        """The pictures there are, on this side of the split."""
        if isinstance(self.source, DataOptions):
            return self.source.stems("held_out" if self._held_out else "train")
        return list(self._frames) if not self._held_out else []

    def __getitem__(self, stem: str) -> Scene:
        if stem not in self._scenes:
            self._scenes[stem] = self._read(stem)
        return self._scenes[stem]

    @cached_property
    def _frames(self) -> dict[str, U8]:
        assert isinstance(self.source, ClipOptions)
        frames = {}
        with contextlib.closing(build_source(VideoSource(path=self.source.path))) as video:
            for frame in video:
                if frame.index % self.source.every == 0:
                    frames[f"{self.source.path.stem}-{frame.index:06}"] = at_most(frame.rgb, 640)
        return frames

    def _read(self, stem: str) -> Scene:
        if isinstance(self.source, ClipOptions):
            rgb = self._frames[stem]
            planes, known = {}, {}
        else:
            sample = self.source.read(stem)
            rgb = sample.rgb
            planes = {name: plane.copy() for name, plane in sample.planes.items()}
            known = {name: sample.known.copy() for name in planes}
            if self.source.derive == "border" and sample.ids is not None:
                planes["border"] = borders(sample.ids)
                known["border"] = sample.known.copy()
        shape = rgb.shape[:2]
        for region in self._regions:
            planes.setdefault(region, np.zeros(shape, np.uint8))
            known.setdefault(region, np.zeros(shape, np.uint8))
        for teacher in self._teachers:
            if teacher.options.use != "distil":
                opinion = teacher.cached(rgb, place=f"{self.source.title}/{stem}")
                apply_teacher(teacher.options, opinion, planes, known)
        stack = [np.stack([part[region] for region in self._regions]) for part in (planes, known)]
        return Scene(rgb, *stack)


class TrainingSamples(Dataset[Batch]):
    """Random samples without end; item i is sample number i of the run.

    Items are float32 tensors: image 3xHxW, RGB 0..1; target and known RxHxW, 0..1; with `pairs` also image2, another
    rendering of the same view; with a teacher that distils, teacher RxHxW and teacher_known R.
    """

    def __init__(self, recipe: Recipe, *, cache: Path, sizes: Sequence[tuple[int, tuple[int, int]]]) -> None:
        self._recipe = recipe
        self._sizes = sizes
        self._teachers = [Teacher(options, cache=cache) for options in recipe.teachers]
        sources: list[DataOptions | ClipOptions] = [*recipe.data, *recipe.clips]
        pools = [Pool(source, recipe.regions, self._teachers, held_out=False) for source in sources]
        self._pools = [pool for pool in pools if pool.source.weight > 0 and pool.stems]
        if not self._pools:
            raise ConfigError("no picture is left for training: is every set held out?")
        weights = np.array([pool.source.weight for pool in self._pools])
        self._shares = weights / weights.sum()
        augment = recipe.augment
        self._backgrounds = Backgrounds(augment.backgrounds) if augment.background or augment.empty else None

    def __len__(self) -> int:
        return self._recipe.schedule.steps * self._recipe.schedule.batch

    def __getitem__(self, index: int) -> Batch:
        chance = np.random.default_rng([self._recipe.seed, index])
        size = self._size(index)
        scene, kind = self._compose(size, chance)
        return self._render(scene, kind, chance)

    def _size(self, index: int) -> tuple[int, int]:
        step = index // self._recipe.schedule.batch
        return next(size for end, size in self._sizes if step < end)

    def _compose(self, size: tuple[int, int], chance: Generator) -> tuple[Scene, str]:
        augment = self._recipe.augment
        scene, kind = self._draw(size, chance)
        if kind != "person":
            return (cabin(scene, chance) if kind == "road" and chance.random() < augment.cabin else scene), kind
        dice = chance.random()
        if dice < augment.empty:
            ground = self._background(size, chance)
            return Scene(ground, np.zeros_like(scene.planes), np.full_like(scene.known, 255)), kind
        if dice < augment.empty + augment.background:
            scene = before(scene, self._background(size, chance), chance)
        if chance.random() < augment.bystander:
            other, other_kind = self._draw(size, chance)
            if other_kind == "person":
                scene = beside(scene, other, chance)
        return scene, kind

    def _draw(self, size: tuple[int, int], chance: Generator) -> tuple[Scene, str]:
        pool = self._pools[int(chance.choice(len(self._pools), p=self._shares))]
        stem = pool.stems[int(chance.integers(len(pool.stems)))]
        kind = pool.source.scene
        return view(pool[stem], size, chance, self._recipe.augment, person=kind == "person"), kind

    def _background(self, size: tuple[int, int], chance: Generator) -> U8:
        assert self._backgrounds is not None
        rgb = self._backgrounds.draw(chance)
        nothing = np.zeros((1, *rgb.shape[:2]), np.uint8)
        return view(Scene(rgb, nothing, nothing), size, chance, self._recipe.augment, person=False).rgb

    def _render(self, scene: Scene, kind: str, chance: Generator) -> Batch:
        first = self._spoil(scene.rgb, kind, chance)
        item = {
            "image": _tensor(first.transpose(2, 0, 1)),
            "target": _tensor(scene.planes),
            "known": _tensor(scene.known),
        }
        if self._recipe.schedule.consistency:
            item["image2"] = _tensor(nudge(first, chance).transpose(2, 0, 1))
        taught = [teacher for teacher in self._teachers if teacher.options.use == "distil"]
        if taught:
            planes, shares = consensus(taught, first, self._recipe.regions)
            item["teacher"], item["teacher_known"] = torch.from_numpy(planes), torch.from_numpy(shares > 0).float()
        return item

    def _spoil(self, rgb: U8, kind: str, chance: Generator) -> U8:
        augment = self._recipe.augment
        if kind == "road" and chance.random() < augment.weather:
            rgb = weather(rgb, chance)
        return sensor(rgb, chance) if chance.random() < augment.sensor else rgb


def consensus(teachers: Sequence[Teacher], rgb: U8, regions: Sequence[str]) -> tuple[F32, F32]:
    """What several teachers say of a picture, averaged by weights: RxHxW, 0..1, and the sum of weights a region."""
    height, width = rgb.shape[:2]
    planes, shares = np.zeros((len(regions), height, width), np.float32), np.zeros(len(regions), np.float32)
    for teacher in teachers:
        opinion = teacher(rgb)
        for index, region in enumerate(regions):
            if region in opinion:
                plane = cv2.resize(opinion[region], (width, height), interpolation=cv2.INTER_LINEAR)
                planes[index] += teacher.options.weight / 255 * plane.astype(np.float32)
                shares[index] += teacher.options.weight
    planes /= np.maximum(shares, np.float32(1e-6))[:, None, None]
    return planes, shares


def nudge(rgb: U8, chance: Generator) -> U8:
    """The next frame of a still camera: moved by a part of a pixel, a little lighter or darker, other noise."""
    matrix = np.array([[1, 0, chance.uniform(-0.4, 0.4)], [0, 1, chance.uniform(-0.4, 0.4)]])
    moved = cv2.warpAffine(rgb, matrix, (rgb.shape[1], rgb.shape[0]), borderMode=cv2.BORDER_REPLICATE)
    grain = chance.normal(chance.normal(0, 1.5), chance.uniform(0.5, 4.0), rgb.shape)
    return np.clip(moved + grain, 0, 255).astype(np.uint8)


class ValidationSamples(Dataset[Batch]):
    """The held-back pictures, whole, stretched to the network's input, at most `limit` of each set, in fixed order."""

    def __init__(self, recipe: Recipe, *, cache: Path, limit: int = 40) -> None:
        self._size = recipe.model.size
        teachers = [Teacher(options, cache=cache) for options in recipe.teachers if options.use != "distil"]
        pools = [Pool(source, recipe.regions, teachers, held_out=True) for source in recipe.data]
        self._items = [(pool, stem) for pool in pools for stem in pool.stems[:limit]]

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Batch:
        pool, stem = self._items[index]
        scene = pool[stem]
        resized = [cv2.resize(part, self._size, interpolation=cv2.INTER_AREA) for part in (scene.rgb, *scene.planes)]
        known = [cv2.resize(part, self._size, interpolation=cv2.INTER_NEAREST) for part in scene.known]
        return {
            "image": _tensor(resized[0].transpose(2, 0, 1)),
            "target": _tensor(np.stack(resized[1:])),
            "known": _tensor(np.stack(known)),
        }


class StepSampler(Sampler[int]):
    """Sample numbers of one epoch in order, from where the run is: asked again, it goes on with the next epoch.

    done: how many steps of `batch` samples lie behind, which a resumed run knows from its checkpoint (its count of
    epochs is not kept as exactly by lightning). epoch: steps of one. total: samples of the run, with which the last
    epoch ends. With several processes each takes every `world`-th.
    """

    def __init__(
        self, done: Callable[[], int], *, batch: int, epoch: int, total: int, rank: int = 0, world: int = 1
    ) -> None:
        self._done, self._batch, self._epoch, self._total = done, batch, epoch, total
        self._rank, self._world = rank, world

    def __iter__(self) -> Iterator[int]:
        step = self._done()
        end = (step // self._epoch + 1) * self._epoch * self._batch
        return iter(range(step * self._batch + self._rank, min(end, self._total), self._world))

    def __len__(self) -> int:
        return self._epoch * self._batch // self._world


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32)).div_(255.0)
