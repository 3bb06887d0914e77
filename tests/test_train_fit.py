"""Runs: the same from the same seed, exactly, and resumed as if nothing had happened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from trained import MODEL, SCHEDULE, recipe

from rtseg.errors import ConfigError
from rtseg.train import fit as fitting
from rtseg.train.fit import Learner, fit, sizes_of
from rtseg.train.losses import run_loss
from rtseg.train.model import build_network
from rtseg.train.recipe import Recipe

LIVELY = "[augment]\nbystander = 0.3\nsensor = 1.0"


def run(made: Recipe, folder: Path, **options: Any) -> dict[str, Tensor]:
    return fit(made, folder, accelerator="cpu", progress=False, **options)


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The loss of every step that is made."""
    seen: list[float] = []
    original = run_loss

    def noted(*arguments: Any) -> Tensor:
        loss = original(*arguments)
        seen.append(loss.item())
        return loss

    monkeypatch.setattr(fitting, "run_loss", noted)
    return seen


def test_a_run_repeats_itself_exactly(tmp_path: Path, losses: list[float]) -> None:
    made = recipe(tmp_path, schedule=SCHEDULE.replace("steps = 4", "steps = 6"), more=LIVELY)
    first = run(made, tmp_path / "first")
    curve = losses.copy()
    losses.clear()
    second = run(made, tmp_path / "second")
    assert len(curve) == 6
    assert losses == curve
    assert len(set(curve)) == 6
    assert equal(first, second)
    metrics = [(tmp_path / name / "csv" / "metrics.csv").read_text() for name in ("first", "second")]
    assert metrics[0] == metrics[1]
    assert "iou_person" in metrics[0]


@pytest.mark.parametrize(("stop", "workers"), [(4, 0), (3, 0), (4, 1)], ids=["between", "amid", "workers"])
def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    stop: int, workers: int, tmp_path: Path, losses: list[float]
) -> None:
    made = recipe(tmp_path, schedule=SCHEDULE.replace("steps = 4", "steps = 6"), more=LIVELY)
    whole = run(made, tmp_path / "whole")
    curve = losses.copy()
    losses.clear()
    run(made, tmp_path / "killed", stop_after=stop, workers=workers)
    assert losses == curve[:stop]
    resumed = run(made, tmp_path / "killed", workers=workers)
    assert losses[stop:] == curve[stop - stop % 2 :]  # from the last checkpoint, one every two steps
    assert equal(resumed, whole)
    sheets = [path.name for path in sorted((tmp_path / "killed" / "sheets").iterdir())]
    assert sheets == ["epoch-000.png", "epoch-001.png", "epoch-002.png"]
    assert [path.name for path in sorted((tmp_path / "killed" / "csv").glob("*.csv"))] == [
        "metrics-01.csv",
        "metrics.csv",
    ]


def test_a_run_that_is_done_stays_as_it_is(tmp_path: Path, losses: list[float]) -> None:
    made = recipe(tmp_path)
    first = run(made, tmp_path / "run")
    assert equal(run(made, tmp_path / "run"), first)
    assert len(losses) == 4
    assert equal(run(made, tmp_path / "run", resume=False), first)
    assert len(losses) == 8


def test_a_run_leaves_checkpoint_figures_and_pictures(tmp_path: Path) -> None:
    weights = run(recipe(tmp_path), tmp_path / "run")
    folder = tmp_path / "run"
    assert (folder / "last.safetensors").is_file()
    assert sorted(path.name for path in (folder / "sheets").iterdir()) == ["epoch-000.png", "epoch-001.png"]
    assert list((folder / "tensorboard").iterdir())
    build_network(recipe(tmp_path)).load_state_dict(weights)


def test_a_run_learns_squares(tmp_path: Path, losses: list[float]) -> None:
    schedule = "steps = 12\nepoch = 12\nbatch = 2\nrate = 2e-2\nwarmup = 2\nema = 0"
    made = recipe(tmp_path, schedule=schedule, more="[augment]\nsensor = 0")
    run(made, tmp_path / "run")
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])


def test_a_run_that_ends_amid_an_epoch_is_whole(tmp_path: Path, losses: list[float]) -> None:
    made = recipe(tmp_path, schedule=SCHEDULE.replace("steps = 4", "steps = 3"))
    run(made, tmp_path / "run")
    assert len(losses) == 3
    assert equal(run(made, tmp_path / "run"), run(made, tmp_path / "again"))
    assert len(losses) == 6


def test_the_folder_of_another_recipe_is_refused(tmp_path: Path) -> None:
    run(recipe(tmp_path), tmp_path / "run")
    other = recipe(tmp_path).model_copy(update={"seed": 9})
    with pytest.raises(
        ConfigError, match=r"of another recipe, number of steps or seed \([0-9a-f]{12}, this is [0-9a-f]{12}\)"
    ):
        run(other, tmp_path / "run")


def test_devices_that_cannot_share_a_batch_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="batch is 2, which 3 devices cannot share: make it a multiple"):
        fit(recipe(tmp_path), tmp_path / "run", accelerator="cpu", devices=3, progress=False)


def test_a_run_is_a_start_for_another(tmp_path: Path) -> None:
    weights = run(recipe(tmp_path), tmp_path / "run")
    after = build_network(recipe(tmp_path, model=MODEL + '\nstart = "run/last.safetensors"'))
    assert equal(dict(after.state_dict()), weights)


def test_pairs_are_learnt_to_agree(tmp_path: Path, losses: list[float]) -> None:
    made = recipe(tmp_path, schedule="steps = 1\nepoch = 1\nbatch = 2\nwarmup = 0\nconsistency = 0.5")
    run(made, tmp_path / "run")
    assert len(losses) == 2  # one for each rendering
    assert "consistency" in (tmp_path / "run" / "csv" / "metrics.csv").read_text()


def test_the_rate_warms_up_then_falls_to_a_hundredth(tmp_path: Path) -> None:
    made = recipe(tmp_path, schedule="steps = 14\nwarmup = 4\nrate = 1e-2")
    learner = Learner(made, build_network(made))
    rates = [learner._rate(step) for step in (0, 1, 3, 4, 9, 14, 20)]
    assert rates == pytest.approx([0.25, 0.5, 1.0, 1.0, 0.505, 0.01, 0.01])


def test_weights_from_elsewhere_learn_more_slowly(tmp_path: Path) -> None:
    lite0 = 'size = [64, 48]\nwidths = [8, 8]\nencoder = { kind = "lite0", blocks = 3, rate = 0.1, frozen = 1 }'
    made = recipe(tmp_path, model=lite0)
    network = build_network(made)
    groups = Learner(made, network).configure_optimizers()["optimizer"].param_groups
    assert [group["initial_lr"] for group in groups] == pytest.approx([1e-2, 1e-3])
    slow = sum(p.numel() for p in groups[1]["params"])
    frozen = sum(p.numel() for p in network.get_submodule("encoder.stem").parameters())
    assert slow + frozen == sum(p.numel() for p in network.get_submodule("encoder").parameters())


def test_smaller_pictures_come_first(tmp_path: Path) -> None:
    made = recipe(tmp_path, schedule=SCHEDULE + "\nsmall = 0.5\nsmall_size = [32, 32]")
    assert sizes_of(made) == [(2, (32, 32)), (4, (64, 48))]
    run(made, tmp_path / "run")
