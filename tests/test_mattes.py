"""The cards of docs/mattes.md, each on a stand-in with the ports of the real file, against its authors' arithmetic."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import graphs
import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import helper

from rtseg import store
from rtseg.cards import Card
from rtseg.config import ModelOptions
from rtseg.engines import build_segmenter
from rtseg.ops.arrays import F32, as_f32
from rtseg.types import Frame, Regions

PAGE = (Path(__file__).parent.parent / "docs" / "mattes.md").read_text(encoding="utf-8")
CARDS = [Card.model_validate(tomllib.loads(text)) for text in re.findall(r"^```toml\n(.*?)^```$", PAGE, re.M | re.S)]

IMAGENET: F32 = np.array([[[0.485, 0.456, 0.406]], [[0.229, 0.224, 0.225]]], np.float32)


def stretched(found: F32) -> F32:
    return as_f32((found - found.min()) / (found.max() - found.min()))


def modnet(rgb: F32) -> F32:
    """MODNet's demo: (x - 0.5) / 0.5, and the matte as it is."""
    return matte((rgb / 255 - 0.5) / 0.5)


def birefnet(rgb: F32) -> F32:
    """BiRefNet's inference: torchvision's Normalize with ImageNet's values, the last map through a sigmoid."""
    return as_f32(1 / (1 + np.exp(-matte((rgb / 255 - IMAGENET[0]) / IMAGENET[1]))))


def isnet(rgb: F32) -> F32:
    """DIS's inference: mean 0.5, deviation 1, the first map stretched."""
    return stretched(matte(rgb / 255 - 0.5))


def u2net(rgb: F32) -> F32:
    """U-2-Net's test: ImageNet's values, the first map stretched."""
    return stretched(matte((rgb / 255 - IMAGENET[0]) / IMAGENET[1]))


def matte(tensor: NDArray[Any]) -> F32:
    """What the stand-ins compute: the first channel and half of the last, scaled to stay a matte for MODNet."""
    return as_f32((0.25 * tensor[..., 0] + 0.125 * tensor[..., 2] + 0.4).astype(np.float32))


def stand_in(path: Path, card: Card, *, others: Sequence[str] = ()) -> Path:
    """A graph with the card's input and output, and `others` full of nonsense as U-2-Net has them."""
    width, height = card.input.size
    (output,) = card.outputs
    nodes = [
        helper.make_node("Conv", [card.input.name, "weights", "bias"], [output.name]),
        *(helper.make_node("Identity", [output.name], [name]) for name in others),
    ]
    weights = np.array([0.25, 0, 0.125], np.float32).reshape(1, 3, 1, 1)
    constants: dict[str, NDArray[Any]] = {"weights": weights, "bias": np.full(1, 0.4, np.float32)}
    shape = (1, 1, height, width)
    return graphs.save(
        path,
        nodes,
        inputs=[(card.input.name, (1, 3, height, width))],
        outputs=[(name, shape) for name in (*others, output.name)],
        constants=constants,
    )


def picture(size: tuple[int, int]) -> Frame:
    """Slow ramps of grey, of the network's own size, so that nothing is resampled."""
    width, height = size
    ramp = np.linspace(30, 120, width)[None, :] + np.linspace(0, 100, height)[:, None]
    return Frame.from_rgb(np.repeat(np.rint(ramp).astype(np.uint8)[..., None], 3, axis=2))


def test_the_page_has_a_card_for_each() -> None:
    assert [card.name for card in CARDS] == ["rvm-mobilenetv3", "modnet", "birefnet", "isnet", "u2net"]
    recurrent = CARDS[0].recurrent
    assert recurrent is not None
    assert list(recurrent.states.items()) == [(f"r{i}i", f"r{i}o") for i in range(1, 5)]
    assert all(side % 32 == 0 for side in CARDS[1].input.size)


@pytest.mark.parametrize(
    ("name", "original"), [("modnet", modnet), ("birefnet", birefnet), ("isnet", isnet), ("u2net", u2net)]
)
def test_a_card_means_what_its_authors_do(tmp_path: Path, name: str, original: Callable[[F32], F32]) -> None:
    card = next(card for card in CARDS if card.name == name)
    others = [str(number) for number in range(1960, 1966)] if name == "u2net" else []
    path = stand_in(tmp_path / card.file, card, others=others)
    made = card.model_copy(update={"sha256": store.sha256_of(path)})
    made._folder = tmp_path
    frame = picture(card.input.size)
    result = build_segmenter(ModelOptions(), made)(frame)
    assert isinstance(result, Regions)
    wanted = 255 * original(frame.resized(card.input.size).astype(np.float32))
    assert wanted.max() - wanted.min() > 20, "a matte of one level says nothing"
    assert np.abs(result.probabilities[0] - wanted).max() <= 0.51  # rounding


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_rvm_and_the_others_are_named_by_their_regions(card: Card) -> None:
    assert [region for output in card.outputs for region in output.regions] == list(card.names)
