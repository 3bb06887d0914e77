"""SegFormer on pictures of one's own: from a folder of labelled pictures to a tinted video."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from commands import PATTERN, Rtseg, runner
from trained import recipe, square, write_recipe

from rtseg import store
from rtseg.errors import ConfigError, DependencyMissing, ModelNotFound, ModelRejected
from rtseg.train.model import build_network
from rtseg.train.segformer import IMAGENET, SegformerNetwork

TINY = 'architecture = "segformer"\nsize = [64, 48]\ncheckpoint = "random:tiny"\nencoder = { rate = 0.1 }'
HEADS = (
    '[[heads]]\nname = "things"\nregions = ["person", "hat"]\nstride = 2\n[[heads]]\nname = "bags"\nregions = ["bag"]'
)
DATA = 'folder = "set"\nkind = "index"\nregions = { person = [255], hat = [1], bag = [2] }'
STEPS = "steps = 3\nepoch = 3\nbatch = 2\nrate = 1e-3\nwarmup = 1"


def test_without_transformers_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def missing(name: str, *arguments: Any, **more: Any) -> Any:
        if name.partition(".")[0] == "transformers":
            raise ModuleNotFoundError("No module named 'transformers'", name="transformers")
        return original(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(DependencyMissing, match=r"SegFormer needs transformers .*pip install 'rtseg\[segformer\]'"):
        build_network(recipe(tmp_path, model=TINY))
    with pytest.raises(DependencyMissing, match=r"pip install 'rtseg\[segformer\]'"):
        build_network(recipe(tmp_path, model=TINY.replace("random:tiny", "nvidia/mit-b0")))


def test_a_checkpoint_must_be_named_and_be_of_a_known_size(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    with pytest.raises(ConfigError, match=r"give model\.checkpoint = \"nvidia/mit-b0\""):
        build_network(recipe(tmp_path, model='architecture = "segformer"\nsize = [64, 48]'))
    with pytest.raises(ConfigError, match="'random:b9': the sizes are tiny, b0, b1"):
        build_network(recipe(tmp_path, model=TINY.replace("tiny", "b9")))


def test_the_regions_are_channels_of_one_decoder_at_the_strides_of_their_heads(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    network = build_network(recipe(tmp_path, model=TINY, heads=HEADS, data=DATA))
    found = network(torch.rand(2, 3, 48, 64))
    assert {name: tuple(logits.shape) for name, logits in found.items()} == {
        "things": (2, 2, 24, 32),
        "bags": (2, 1, 48, 64),
    }


def save_checkpoint(folder: Path, *, labels: int = 150, **changes: Any) -> Any:
    """A folder as transformers writes it, and the model in it."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(5)
    sizes = {"depths": [1] * 4, "hidden_sizes": [8, 16, 24, 32], "num_attention_heads": [1, 1, 2, 2]}
    config = transformers.SegformerConfig(**sizes, decoder_hidden_size=16, num_labels=labels, **changes)
    model = transformers.SegformerForSemanticSegmentation(config).eval()
    model.save_pretrained(folder)
    return model


def test_a_folder_gives_its_encoder_and_takes_rgb_of_0_to_1(tmp_path: Path) -> None:
    original = save_checkpoint(tmp_path / "mine")
    network = build_network(recipe(tmp_path, model=TINY.replace("random:tiny", "mine"))).eval()
    assert isinstance(network, SegformerNetwork)
    mean, std = (torch.tensor(IMAGENET[name]).view(3, 1, 1) for name in ("mean", "std"))
    picture = torch.rand(1, 3, 48, 64)
    with torch.no_grad():
        wanted = original.get_submodule("segformer.stages.0.patch_embeddings.proj")((picture - mean) / std)
        found = network.get_submodule("encoder.stages.0.patch_embeddings.proj")(picture)
        assert torch.allclose(found[..., 1:-1, 1:-1], wanted[..., 1:-1, 1:-1], atol=1e-5)
        assert network(picture)["alpha"].shape == (1, 1, 48, 64)


def test_what_is_no_segformer_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "mine")
    (tmp_path / "mine" / "config.json").write_text("{")
    made = recipe(tmp_path, model=TINY.replace("random:tiny", "mine"))
    with pytest.raises(ModelNotFound, match=r"mine', a folder, cannot be had: .*config\.json"):
        build_network(made)
    model = save_checkpoint(tmp_path / "mine")
    weights = {name: tensor for name, tensor in model.state_dict().items() if "stages.2" not in name}
    model.save_pretrained(tmp_path / "mine", state_dict=weights)
    with pytest.raises(ModelRejected, match=r"is no SegFormer: its encoder lacks segformer\."):
        build_network(made)


def test_a_hub_that_cannot_be_reached_is_one_error_with_its_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transformers = pytest.importorskip("transformers")

    def unreachable(*_: Any, **__: Any) -> None:
        raise OSError("We couldn't connect to 'https://huggingface.co'.\nMore lines.")

    monkeypatch.setattr(transformers.SegformerForSemanticSegmentation, "from_pretrained", unreachable)
    made = recipe(tmp_path, model=TINY.replace("random:tiny", "nvidia/mit-b0"))
    with pytest.raises(ModelNotFound) as caught:
        build_network(made)
    assert str(caught.value).splitlines() == [str(caught.value)]
    assert "'nvidia/mit-b0', neither a folder nor in the hub's cache, cannot be had: We couldn't" in str(caught.value)
    assert "set model.checkpoint to a folder that holds its config.json" in str(caught.value)


def test_from_a_folder_of_labelled_pictures_to_a_tinted_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("transformers")
    monkeypatch.chdir(tmp_path)
    rtseg: Rtseg = runner(capsys)
    write_recipe(tmp_path, model=TINY, heads=HEADS, data=DATA, schedule=STEPS, name="mine")
    assert rtseg("train", "mine.toml", "--accelerator", "cpu", "--threads", "1", "-q").code == 0
    card = store.find_card("runs/mine/mine.toml")
    assert store.verify(card).name == "rtseg_mine.onnx"
    assert card.metrics["parity"] < 1e-3  # type: ignore[operator]

    measured = rtseg("eval", "--model", "runs/mine/mine.toml", "--data", "mine.toml", "--part", "all", "--json")
    assert measured.code == 0, measured.err
    assert [scores["data"] for scores in measured.json["sets"]] == ["set"]

    video = rtseg("run", PATTERN, "-o", "out.mkv", "--model", "runs/mine/mine.toml", "--overlay", "person,hat,bag")
    assert video.code == 0, video.err
    rgb, _ = square()
    cv2.imwrite("one.png", rgb)
    assert rtseg("segment", "one.png", "-o", "masks", "--model", "runs/mine/mine.toml").code == 0
    assert sorted(path.name for path in Path("masks").iterdir()) == ["one.bag.png", "one.hat.png", "one.person.png"]

    planes = rtseg("export", "mine.toml", "--planes", "-o", "planes", "--json")
    assert planes.code == 0, planes.err
    assert planes.json["difference"] < 1e-3
    assert np.isfinite(planes.json["difference"])
