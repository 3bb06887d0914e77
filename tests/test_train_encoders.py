"""Encoders and their blocks: strides, folding, and weights that come from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from graphs import save
from onnx import helper
from safetensors.torch import save_file
from torch import nn
from trained import randomised

from rtseg.errors import ConfigError, ModelRejected
from rtseg.train.blocks import ConvNorm, InvertedResidual, fold_batch_norm, round_channels
from rtseg.train.encoders import (
    LITE0,
    MOBILE,
    BlockEncoder,
    GraphEncoder,
    ShrunkEncoder,
    fold_normalisation,
    lite0_encoder,
)
from rtseg.train.model import build_encoder
from rtseg.train.recipe import EncoderOptions


def test_channels_are_multiples_of_eight() -> None:
    assert [round_channels(wanted) for wanted in (1, 8, 11, 12, 13, 20)] == [8, 8, 8, 16, 16, 24]


def test_folding_batch_norm_changes_nothing_but_the_number_of_steps() -> None:
    network = randomised(BlockEncoder(MOBILE, stem=16, width=0.5, blocks=4)).eval()
    picture = torch.rand(2, 3, 32, 48)
    with torch.no_grad():
        wanted = network(picture)
        fold_batch_norm(network)
        found = network(picture)
    assert not [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for before, after in zip(wanted, found, strict=True):
        assert torch.allclose(before, after, atol=1e-5)


def test_folding_keeps_the_names_of_convolutions() -> None:
    network = ConvNorm(3, 8)
    assert "conv.weight" in network.state_dict()
    fold_batch_norm(network)
    assert set(network.state_dict()) == {"conv.weight", "conv.bias"}


def test_a_block_adds_its_input_only_where_shapes_allow() -> None:
    same, other = InvertedResidual(8, 8), InvertedResidual(8, 16, stride=2)
    for block in (same, other):
        nn.init.zeros_(block.project.norm.get_parameter("weight"))
    x = torch.rand(1, 8, 4, 4)
    assert torch.equal(same(x), x)
    assert other(x).abs().sum() == 0
    assert other(x).shape == (1, 16, 2, 2)


def test_a_folded_normalisation_equals_normalising_first_away_from_the_border() -> None:
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    conv = nn.Conv2d(3, 5, 3, padding=1)
    picture = torch.rand(1, 3, 8, 10)
    with torch.no_grad():
        wanted = conv((picture - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1))
        fold_normalisation(conv, mean=mean, std=std)
        found = conv(picture)
    assert torch.allclose(found[..., 1:-1, 1:-1], wanted[..., 1:-1, 1:-1], atol=1e-5)
    assert not torch.allclose(found, wanted, atol=1e-5)  # zeros are padded: black, not the mean


@pytest.mark.parametrize(
    ("encoder", "strides", "channels"),
    [
        (lambda: BlockEncoder(MOBILE, stem=16), (2, 4, 8, 16), (16, 24, 40, 112)),
        (lambda: BlockEncoder(MOBILE, stem=16, width=0.5, blocks=3), (2, 4), (8, 16)),
        (lambda: lite0_encoder(None), (2, 4, 8, 16), (16, 24, 40, 112)),
        (lambda: ShrunkEncoder(BlockEncoder(MOBILE, blocks=3), detail=8), (2, 4, 8), (8, 16, 24)),
    ],
    ids=["mobile", "cut", "lite0", "shrunk"],
)
def test_an_encoder_says_what_it_gives(encoder, strides, channels) -> None:  # type: ignore[no-untyped-def]
    made = encoder()
    assert (made.strides, made.channels) == (strides, channels)
    features = made(torch.zeros(1, 3, 32, 64))
    assert [tuple(feature.shape[1:]) for feature in features] == [
        (wide, 32 // stride, 64 // stride) for wide, stride in zip(channels, strides, strict=True)
    ]


def test_weights_of_lite0_take_rgb_of_0_to_1_once_loaded(tmp_path: Path) -> None:
    original = randomised(BlockEncoder(LITE0, blocks=1, activation=nn.ReLU6)).eval()
    for module in original.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-3
    save_file(original.state_dict(), tmp_path / "lite0.safetensors")
    encoder = lite0_encoder(tmp_path / "lite0.safetensors", blocks=1).eval()
    picture = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        wanted = original.get_submodule("stem")((picture * 255 - 127) / 128)
        found = encoder.get_submodule("stem")(picture)
    assert torch.allclose(found[..., 1:-1, 1:-1], wanted[..., 1:-1, 1:-1], atol=1e-4)


def test_a_file_that_lacks_weights_is_refused(tmp_path: Path) -> None:
    save_file({"stem.conv.weight": torch.zeros(32, 3, 3, 3)}, tmp_path / "part.safetensors")
    with pytest.raises(
        ModelRejected, match=r"part\.safetensors lacks blocks\.0\..* make it with scripts/lite0_encoder"
    ):
        lite0_encoder(tmp_path / "part.safetensors", blocks=1)


def test_a_graph_lends_its_features_in_its_own_colours_and_scale(tmp_path: Path) -> None:
    first = np.zeros((2, 3, 1, 1), np.float32)
    first[0, 0] = first[1, 2] = 1  # the first and the last channel
    node = helper.make_node("Conv", ["x", "w"], ["y"], strides=[2, 2])
    path = save(
        tmp_path / "g.onnx",
        [node],
        inputs=[("x", (1, 3, 4, 4))],
        outputs=[("y", (1, 2, 2, 2))],
        constants={"w": first},
    )
    encoder = GraphEncoder(path, taps=["y"], size=(4, 4), scale=255.0, bgr=True)
    assert (encoder.channels, encoder.strides) == ((2,), (2,))
    red = torch.zeros(1, 3, 4, 4)
    red[:, 0] = 1
    assert encoder(red)[0][0, :, 0, 0].tolist() == [0, 255]


def test_frozen_parts_do_not_learn() -> None:
    encoder = build_encoder(EncoderOptions(width=0.25, blocks=3, frozen=2), (64, 48))
    assert isinstance(encoder, BlockEncoder)
    learns = [all(p.requires_grad for p in part.parameters()) for part in (encoder.stem, *encoder.blocks)]
    assert learns == [False, False, True, True]


def test_an_encoder_of_a_graph_needs_a_file_and_taps() -> None:
    with pytest.raises(ConfigError, match="needs a file and taps"):
        build_encoder(EncoderOptions(kind="onnx"), (64, 48))
