"""Networks of recipes: heads at their strides, the same start from the same seed, weights from elsewhere."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from trained import MODEL, randomised, recipe

from rtseg.errors import ConfigError, ModelRejected
from rtseg.train.blocks import fold_batch_norm
from rtseg.train.encoders import MOBILE, BlockEncoder
from rtseg.train.export import to_onnx
from rtseg.train.model import build_network, load_start
from rtseg.train.networks import Deployed, SegmentationNetwork


def network(**heads: tuple[int, int]) -> SegmentationNetwork:
    return SegmentationNetwork(BlockEncoder(MOBILE, stem=16, width=0.25), heads, widths=(16, 8, 8, 8))


def test_heads_are_at_their_strides() -> None:
    made = network(fine=(1, 1), half=(2, 2), train=(1, 4), coarse=(3, 8))
    found = made(torch.rand(2, 3, 48, 64))
    assert {name: tuple(logits.shape) for name, logits in found.items()} == {
        "fine": (2, 1, 48, 64),
        "half": (2, 2, 24, 32),
        "train": (2, 1, 12, 16),
        "coarse": (2, 3, 6, 8),
    }


def test_what_is_exported_are_probabilities_in_the_order_of_heads() -> None:
    made = network(b=(1, 2), a=(1, 4)).eval()
    picture = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        first, second = Deployed(made)(picture)
        logits = made(picture)
    assert torch.equal(first, logits["b"].sigmoid())
    assert torch.equal(second, logits["a"].sigmoid())


def test_the_same_seed_starts_the_same(tmp_path: Path) -> None:
    made = recipe(tmp_path)
    first, second = build_network(made).state_dict(), build_network(made).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = build_network(made.model_copy(update={"seed": 4})).state_dict()
    assert not torch.equal(first["encoder.stem.conv.weight"], other["encoder.stem.conv.weight"])


def test_widths_must_be_as_many_as_levels(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.widths has 4 numbers, this encoder has 2 levels"):
        build_network(recipe(tmp_path, model=MODEL.replace("[8, 8]", "[8, 8, 8, 8]")))


def test_an_onnx_network_needs_a_graph_to_go_on_from(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"give model\.start"):
        build_network(recipe(tmp_path, model='architecture = "onnx"\nsize = [64, 48]'))


def test_an_export_is_a_start_for_the_same_network(tmp_path: Path) -> None:
    before = randomised(build_network(recipe(tmp_path))).eval()
    fold_batch_norm(before)
    onnx.save(to_onnx(Deployed(before), (64, 48), ["alpha"]), tmp_path / "before.onnx")
    after = build_network(recipe(tmp_path, model=MODEL + '\nstart = "before.onnx"')).eval()
    picture = torch.rand(1, 3, 48, 64)
    with torch.no_grad():
        assert torch.allclose(after(picture)["alpha"], before(picture)["alpha"], atol=1e-5)


def test_a_start_that_fits_nowhere_is_refused(tmp_path: Path) -> None:
    other = Path(__file__).resolve().parents[1] / "models" / "rtseg_portrait.onnx"
    with pytest.raises(ModelRejected, match="no tensor that fits this network"):
        load_start(build_network(recipe(tmp_path)), other)
