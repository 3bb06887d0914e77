"""Exports: what ONNX Runtime gives is what torch gave, with RGB or with planes, and the card says how to feed it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn
from trained import CARD, MODEL, randomised, recipe, square

from rtseg import store
from rtseg.config import ModelOptions
from rtseg.engines import build_segmenter
from rtseg.errors import ModelRejected
from rtseg.frame import Frame
from rtseg.inference.engine import OrtEngine
from rtseg.ops.arrays import U8
from rtseg.results import Regions
from rtseg.segmenters.regions import RegionSegmenter
from rtseg.train import export as exporting
from rtseg.train.checkpoints import average_weights
from rtseg.train.export import Export, export, fold_planes, to_onnx, write_card
from rtseg.train.fit import fit
from rtseg.train.model import build_network
from rtseg.train.networks import Deployed
from rtseg.train.recipe import Recipe
from rtseg.train.run import blend, export_run

HEADS = (
    '[[heads]]\nname = "fine"\nregions = ["person"]\n[[heads]]\nname = "coarse"\nregions = ["hat", "bag"]\nstride = 4'
)
DATA = 'folder = "set"\nkind = "index"\nregions = { person = [255], hat = [1], bag = [2] }'


def pictures() -> list[U8]:
    return [square(size=(64, 48), at=(at, 8), side=24)[0] for at in (4, 20)]


def made(recipe_: Recipe, folder: Path, **options: Any) -> Export:
    network = randomised(build_network(recipe_), seed=2)
    return export(recipe_, network, folder, pictures=pictures(), **options)


def segmenter(done: Export) -> RegionSegmenter:
    card = store.find_card(done.path.parent / f"{done.card.name}.toml")
    found = build_segmenter(ModelOptions(name=card.name), card)
    assert isinstance(found, RegionSegmenter)
    return found


def masks(result: object) -> dict[str, np.ndarray]:
    assert isinstance(result, Regions)
    return {name: mask.astype(float) for name, mask in zip(result.names, result.probabilities, strict=True)}


def test_an_export_is_what_torch_gave(tmp_path: Path) -> None:
    done = made(recipe(tmp_path), tmp_path / "out")
    assert done.difference < 1e-4
    assert done.path == tmp_path / "out" / "rtseg_tiny.onnx"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["rtseg_tiny.onnx", "tiny.toml"]


def test_what_is_exported_lies_between_the_start_and_what_was_trained(tmp_path: Path) -> None:
    fit(recipe(tmp_path), tmp_path / "first", accelerator="cpu", progress=False)
    start = average_weights(tmp_path / "first" / "last.safetensors")
    for keep in (0.0, 0.25):
        plan = recipe(tmp_path, model=f'{MODEL}\nstart = "first/last.safetensors"\nkeep = {keep}')
        trained = fit(plan, tmp_path / "second", accelerator="cpu", progress=False)
        found = blend(build_network(plan).state_dict(), trained, keep=plan.model.keep)
        for name, tensor in found.items():
            if tensor.is_floating_point():
                torch.testing.assert_close(tensor, (1 - keep) * trained[name] + keep * start[name])
    done = export_run(plan, tmp_path / "second", tmp_path / "out")
    assert done.difference < 1e-4
    assert any(not torch.equal(found[name], trained[name]) for name in found)


def test_a_shift_is_in_the_bias_and_nowhere_else(tmp_path: Path) -> None:
    plain = made(recipe(tmp_path, heads=HEADS, data=DATA), tmp_path / "plain")
    shifted = made(
        recipe(tmp_path, heads=HEADS.replace('"coarse"', '"coarse"\nshift = 0.7'), data=DATA), tmp_path / "out"
    )
    assert shifted.difference < 1e-4
    kinds = [sorted(node.op_type for node in onnx.load(done.path).graph.node) for done in (plain, shifted)]
    assert kinds[0] == kinds[1]
    picture = torch.rand(1, 3, 48, 64).numpy()
    (fine, coarse), (same, more) = (OrtEngine(done.path)({"image": picture}).values() for done in (plain, shifted))
    np.testing.assert_allclose(same, fine, atol=1e-6)
    np.testing.assert_allclose(np.log(more / (1 - more)) - np.log(coarse / (1 - coarse)), 0.7, atol=1e-3)


def test_the_card_is_read_and_trusted_and_runs(tmp_path: Path) -> None:
    plan = recipe(tmp_path, heads=HEADS, data=DATA)
    done = made(plan, tmp_path / "out", metrics={"iou_person": 0.5})
    card = store.find_card(tmp_path / "out" / "tiny.toml")
    assert card.model_dump() == done.card.model_dump()
    assert store.verify(card) == done.path
    assert card.recipe == plan.hash
    assert card.names == ("person", "hat", "bag")
    assert [output.regions for output in card.outputs] == [{"person": 0}, {"hat": 0, "bag": 1}]
    assert card.metrics["iou_person"] == 0.5
    result = segmenter(done)(Frame.from_rgb(square(size=(160, 90))[0]))
    assert {name: mask.shape for name, mask in masks(result).items()} == {
        "person": (48, 64), "hat": (48, 64), "bag": (48, 64)
    }  # fmt: skip


def test_planes_folded_in_change_nothing(tmp_path: Path) -> None:
    plan = recipe(tmp_path, heads=HEADS, data=DATA)
    done = made(plan, tmp_path / "out", planes=True)
    assert done.difference < 1e-3
    assert done.card.input.colour == "yuv"
    assert store.verify(store.find_card(tmp_path / "out" / "tiny.toml")) == done.path


def test_a_frame_gives_the_same_masks_with_planes_as_with_rgb(tmp_path: Path) -> None:
    plan = recipe(tmp_path)
    y, x = np.mgrid[:90, :160]
    rgb = np.stack([40 + x, 60 + y, 200 - x], axis=2).astype(np.uint8)
    rgb[20:60, 50:100] = (220, 190, 60)
    frame = Frame.from_rgb(rgb)
    plain = masks(segmenter(made(plan, tmp_path / "rgb"))(frame))["person"]
    folded = masks(segmenter(made(plan, tmp_path / "yuv", planes=True))(frame))["person"]
    assert plain.std() > 1
    assert np.abs(plain - folded).mean() <= 3


def test_planes_reach_a_network_that_halves_its_input_first(tmp_path: Path) -> None:
    shrunk = MODEL.replace("blocks = 3", "blocks = 3, shrink = 2").replace("[8, 8]", "[8, 8, 8]")
    assert made(recipe(tmp_path, model=shrunk), tmp_path / "out", planes=True).difference < 1e-3


class Doubled(nn.Module):
    """A network whose input does not go into a convolution."""

    def forward(self, picture: Tensor) -> dict[str, Tensor]:
        return {"alpha": (picture * 2).mean(dim=1, keepdim=True)}


def test_planes_are_refused_where_the_input_goes_elsewhere() -> None:
    model = to_onnx(Deployed(Doubled()), (64, 48), ["alpha"])
    with pytest.raises(ModelRejected, match="the input goes into Mul, not a convolution"):
        fold_planes(model, exporting.PLANES)


def test_an_export_that_differs_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "compare", lambda *_, **__: 0.25)
    with pytest.raises(ModelRejected, match=r"differs from torch by 0\.25, allowed is 0\.001"):
        made(recipe(tmp_path), tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_the_network_is_not_changed_by_its_export(tmp_path: Path) -> None:
    plan = recipe(tmp_path)
    network = build_network(plan)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    export(plan, network, tmp_path / "out", pictures=pictures())
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert network.training


def test_the_graph_is_slim_and_of_the_promised_version(tmp_path: Path) -> None:
    done = made(recipe(tmp_path), tmp_path / "out")
    model = onnx.load(done.path)
    assert model.opset_import[0].version == exporting.OPSET
    assert {node.op_type for node in model.graph.node} <= {
        "Conv", "Relu", "Add", "Resize", "ReduceMean", "GlobalAveragePool", "DepthToSpace", "Sigmoid"
    }  # fmt: skip


def test_a_card_keeps_signs_that_toml_would_trip_over(tmp_path: Path) -> None:
    done = made(recipe(tmp_path), tmp_path / "out")
    card = done.card.model_copy(update={"description": 'a "b" \\ c\nd', "metrics": {"f 1": 0.5, "n": 2.0}})
    read = tomllib.loads(write_card(card))
    assert read["description"] == 'a "b" \\ c\nd'
    assert read["metrics"] == {"f 1": 0.5, "n": 2.0}
    assert CARD.splitlines()[1].split('"')[1] == read["licence"]
