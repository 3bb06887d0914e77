"""Samples: number i depends on the seed and on i alone, and no held-back picture is ever drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import media
import numpy as np
import pytest
import torch
from trained import HEADS, MODEL, SCHEDULE, recipe, write_set

from rtseg.errors import ConfigError, SourceUnreadable
from rtseg.train.derive import borders
from rtseg.train.samples import Batch, StepSampler, TrainingSamples, ValidationSamples, nudge

SIZES = [(99, (64, 48))]
LIVELY = "[augment]\nbystander = 0.5\nsensor = 1.0\nrotate = 20\nupper = 0.5"


def training(folder: Path, *, sizes: list[tuple[int, tuple[int, int]]] = SIZES, **changes: Any) -> TrainingSamples:
    return TrainingSamples(recipe(folder, **changes), cache=folder / "cache", sizes=sizes)


def same(first: Batch, second: Batch) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_a_sample_is_a_picture_its_labels_and_where_they_count(tmp_path: Path) -> None:
    item = training(tmp_path)[0]
    assert {key: tuple(value.shape) for key, value in item.items()} == {
        "image": (3, 48, 64),
        "target": (1, 48, 64),
        "known": (1, 48, 64),
    }
    assert all(value.dtype == torch.float32 for value in item.values())
    assert all(value.min() >= 0 and value.max() <= 1 for value in item.values())


def test_a_sample_depends_on_the_seed_and_its_number_alone(tmp_path: Path) -> None:
    first, second = training(tmp_path, more=LIVELY), training(tmp_path, more=LIVELY)
    forwards = [first[index] for index in range(6)]
    backwards = [second[index] for index in reversed(range(6))][::-1]
    assert all(map(same, forwards, backwards))
    assert not same(forwards[0], forwards[1])
    other = TrainingSamples(
        recipe(tmp_path, more=LIVELY).model_copy(update={"seed": 4}), cache=tmp_path / "cache", sizes=SIZES
    )
    assert not same(forwards[0], other[0])


def test_a_held_back_picture_is_never_drawn(tmp_path: Path) -> None:
    made = recipe(tmp_path)
    (tmp_path / "set" / "masks" / "c.png").write_bytes(b"whoever reads this fails")
    samples = TrainingSamples(made, cache=tmp_path / "cache", sizes=SIZES)
    for index in range(40):
        samples[index]
    held = ValidationSamples(made, cache=tmp_path / "cache")
    assert len(held) == 1
    with pytest.raises(SourceUnreadable, match=r"c\.png"):
        held[0]


def test_a_run_without_training_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no picture is left for training"):
        training(tmp_path, data='folder = "set"\nregions = { person = [] }\nsplit = "held_out"')


def test_held_back_pictures_come_whole_in_fixed_order(tmp_path: Path) -> None:
    made = recipe(tmp_path, data='folder = "set"\nregions = { person = [] }\nsplit = "held_out"')
    samples = ValidationSamples(made, cache=tmp_path / "cache", limit=3)
    assert len(samples) == 3
    mask = cv2.imread(str(tmp_path / "set" / "masks" / "b.png"), cv2.IMREAD_GRAYSCALE)
    assert mask is not None
    wanted = cv2.resize(mask, (64, 48), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    assert np.array_equal(samples[1]["target"][0].numpy(), wanted)
    assert samples[1]["known"].min() == 1


def test_what_a_set_does_not_label_is_unknown_not_absent(tmp_path: Path) -> None:
    write_set(tmp_path / "other")
    samples = training(
        tmp_path,
        heads=HEADS + '\n[[heads]]\nname = "more"\nregions = ["hat"]',
        more='[[data]]\nfolder = "other"\nregions = { hat = [] }\n[augment]\nrotate = 0',
    )
    seen = {tuple(samples[index]["known"].amax(dim=(1, 2)).tolist()) for index in range(20)}
    assert seen == {(1.0, 0.0), (0.0, 1.0)}


def test_the_first_steps_are_small_where_the_recipe_says_so(tmp_path: Path) -> None:
    samples = training(tmp_path, sizes=[(1, (32, 32)), (4, (64, 48))])
    assert [samples[index]["image"].shape[2] for index in range(4)] == [32, 32, 64, 64]


def test_consistency_gives_a_second_rendering_of_the_same_view(tmp_path: Path) -> None:
    item = training(tmp_path, schedule=SCHEDULE + "\nconsistency = 0.5")[0]
    difference = (item["image"] - item["image2"]).abs()
    assert 0 < difference.mean() < 0.05


def test_a_nudged_picture_is_nearly_the_same() -> None:
    grey = np.full((40, 40, 3), 128, np.uint8)
    moved = nudge(grey, np.random.default_rng(1)).astype(float)
    assert abs(moved.mean() - 128) < 6
    assert moved.std() < 6


def test_instances_that_touch_have_a_border_between_them(tmp_path: Path) -> None:
    ids = np.zeros((7, 12), np.uint16)
    ids[1:6, 1:6], ids[1:6, 6:11] = 1, 2
    found = borders(ids)
    assert np.flatnonzero(found[3]).tolist() == [4, 5, 6, 7]
    assert not borders(np.where(ids == 2, np.uint16(1), ids)).any()
    folder = write_set(tmp_path / "set", ("a",))
    cv2.imwrite(str(folder / "images" / "a.png"), np.zeros((7, 12, 3), np.uint8))
    cv2.imwrite(str(folder / "masks" / "a.png"), ids)
    made = recipe(
        tmp_path,
        heads='[[heads]]\nname = "cells"\nregions = ["cell", "border"]',
        data='folder = "set"\nkind = "instances"\nregions = { cell = [] }\nderive = "border"\nsplit = "held_out"',
    )
    item = ValidationSamples(made, cache=tmp_path / "cache")[0]
    assert item["known"].min() == 1
    assert item["target"][1].max() > 0.5


def test_a_clip_is_labelled_by_its_teacher_alone(tmp_path: Path) -> None:
    media.write_video(tmp_path / "walk.mkv", [media.picture(index) for index in range(4)])
    clip = '[[clips]]\npath = "walk.mkv"\nevery = 2\nweight = 1\n'
    teacher = '[[teachers]]\nmodel = "portrait"\nuse = "fill"\nregions = { person = "person" }\nsets = ["walk"]'
    samples = training(
        tmp_path,
        data='folder = "set"\nregions = { person = [] }\nweight = 0',
        more=f"{clip}{teacher}\n[augment]\nrotate = 0",
    )
    assert samples[0]["known"].min() == 1
    samples[1], samples[2], samples[3]
    assert len(list((tmp_path / "cache").rglob("walk-00000[02].person.png"))) == 2


def test_numbers_of_samples_go_on_from_where_the_run_is_and_end_with_it() -> None:
    steps = 0
    sampler = StepSampler(lambda: steps, batch=2, epoch=2, total=10)
    assert list(sampler) == [0, 1, 2, 3]
    steps = 2
    assert list(sampler) == [4, 5, 6, 7]
    steps = 3  # resumed amid an epoch: to the end of that one
    assert list(sampler) == [6, 7]
    steps = 4
    assert list(sampler) == [8, 9]
    assert len(sampler) == 4


def test_several_processes_share_the_samples_of_a_step() -> None:
    parts = [list(StepSampler(lambda: 0, batch=4, epoch=2, total=8, rank=rank, world=2)) for rank in (0, 1)]
    assert parts == [[0, 2, 4, 6], [1, 3, 5, 7]]


def test_the_model_of_these_tests_is_tiny(tmp_path: Path) -> None:
    from rtseg.train.model import build_network

    assert sum(p.numel() for p in build_network(recipe(tmp_path, model=MODEL)).parameters()) < 5000
