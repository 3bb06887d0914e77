"""Ensembles of published graphs, and recipes that export without training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from trained import recipe

from rtseg.errors import ConfigError
from rtseg.train.encoders import MOBILE, BlockEncoder
from rtseg.train.export import to_onnx
from rtseg.train.model import EnsembleNetwork
from rtseg.train.networks import Deployed, SegmentationNetwork
from rtseg.train.run import export_run


def member(path: Path, *, bias: float, size: tuple[int, int] = (64, 48)) -> Path:
    """A graph that says the same of every pixel: the sigmoid of `bias`."""
    network = SegmentationNetwork(
        BlockEncoder(MOBILE, stem=16, width=0.25, blocks=3), {"alpha": (1, 1)}, widths=(8, 8)
    ).eval()
    torch.nn.init.zeros_(network.get_parameter("heads.alpha.out.weight"))
    torch.nn.init.constant_(network.get_parameter("heads.alpha.out.bias"), bias)
    onnx.save(to_onnx(Deployed(network), size, ["alpha"]), path)
    return path


def test_an_ensemble_is_the_mean_of_probabilities_by_shares(tmp_path: Path) -> None:
    sure, unsure = member(tmp_path / "a.onnx", bias=2.0), member(tmp_path / "b.onnx", bias=-1.0, size=(32, 32))
    made = EnsembleNetwork([sure, unsure], ["alpha"], shares=[3.0, 1.0])
    found = torch.sigmoid(made(torch.rand(1, 3, 48, 64))["alpha"])
    expected = 0.75 * torch.sigmoid(torch.tensor(2.0)) + 0.25 * torch.sigmoid(torch.tensor(-1.0))
    assert found.shape == (1, 1, 48, 64)
    torch.testing.assert_close(found, expected.expand_as(found), atol=1e-5, rtol=0)


@pytest.mark.parametrize("shares", [[], [1.0]])
def test_an_ensemble_has_members_and_a_share_for_each(tmp_path: Path, shares: list[float]) -> None:
    path = member(tmp_path / "a.onnx", bias=0.0)
    with pytest.raises(ConfigError, match=r"model\.members or more, and one of model\.shares"):
        EnsembleNetwork([path] * (1 + len(shares)), ["alpha"], shares=shares)


def test_a_recipe_of_no_steps_exports_what_it_begins_with(tmp_path: Path) -> None:
    for name, bias in (("a", 2.0), ("b", -1.0)):
        member(tmp_path / f"{name}.onnx", bias=bias)
    model = 'architecture = "ensemble"\nsize = [64, 48]\nmembers = ["a.onnx", "b.onnx"]'
    plan = recipe(tmp_path, model=model, schedule="steps = 0", name="both")
    done = export_run(plan, tmp_path / "none", tmp_path / "out")
    assert done.difference < 1e-3
    assert (tmp_path / "out" / "both.toml").is_file()


def test_a_shift_moves_the_threshold_of_its_head_alone() -> None:
    network = SegmentationNetwork(
        BlockEncoder(MOBILE, stem=16, width=0.25, blocks=3), {"lane": (1, 1), "road": (1, 2)}, widths=(8, 8)
    ).eval()
    picture = torch.rand(1, 3, 48, 64)
    with torch.no_grad():
        lane, road = Deployed(network)(picture)
        moved, same = Deployed(network, {"lane": 0.8, "road": 0.0})(picture)
    np.testing.assert_allclose(torch.logit(moved) - torch.logit(lane), 0.8, atol=1e-4)
    assert torch.equal(road, same)
