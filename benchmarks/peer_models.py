"""Networks for `benchmarks.peers` whose weights are random, as folders of transformers and as ONNX with a card."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import onnx
import torch
import transformers
from PIL import Image
from torch import Tensor, nn

from rtseg.cards import Card, CardInput, CardOutput
from rtseg.store import sha256_of
from rtseg.train.export import to_onnx, write_card
from rtseg.train.segformer import IMAGENET, SIZES

CLASSES = 150
SEEN = 10
"""Classes in sight: a photograph of ADE20K has about ten. Without a word on that, random weights see a hundred."""


class Segformer(NamedTuple):
    """The same weights twice. checkpoint: a folder of transformers; card: of the ONNX file beside it."""

    checkpoint: Path
    card: Path


class _Logits(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Tensor:
        return self.model(pixel_values=image).logits  # type: ignore[no-any-return]


def segformer(folder: Path, pictures: Sequence[Image.Image], *, size: str = "b0", side: int = 512) -> Segformer:
    """SegFormer as published for ADE20K at 512 x 512 (150 classes), with random weights; kept in `folder`.

    Two things are not left to chance, so that class maps are as coarse as those of photographs: the decoder hears the
    two fine stages at a tenth, and the last layer's scale and bias make `SEEN` classes win in `pictures`. The amount
    of work in the network is the same.
    """
    made_with = f"{size} {side} {SEEN} {torch.__version__} {transformers.__version__}"
    pixels = [picture.resize((32, 32)).tobytes() for picture in pictures]
    key = hashlib.sha256(made_with.encode() + b"".join(pixels)).hexdigest()[:12]
    place = folder / f"segformer-{key}"
    found = Segformer(place, place / "segformer-random.toml")
    if found.card.is_file():
        return found
    shutil.rmtree(place, ignore_errors=True)
    processor = transformers.SegformerImageProcessor(size={"height": side, "width": side})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = _model(size)
    _see_few(model, processor(images=list(pictures), return_tensors="pt")["pixel_values"])
    model.save_pretrained(place)
    processor.save_pretrained(place)
    path = place / "segformer-random.onnx"
    onnx.save(to_onnx(_Logits(model).eval(), (side, side), ["logits"]), path)
    card = Card(
        name="segformer-random",
        description="SegFormer with random weights, for benchmarks.",
        family="semantic",
        file=path.name,
        sha256=sha256_of(path),
        licence="Apache-2.0",
        source="benchmarks/peer_models.py",
        names=tuple(model.config.id2label[i] for i in range(CLASSES)),
        input=CardInput(name="image", size=(side, side), mean=IMAGENET["mean"], std=IMAGENET["std"]),
        outputs=(CardOutput(name="logits"),),
    )
    found.card.write_text(write_card(card), encoding="utf-8")
    return found


def _model(size: str) -> Any:
    heads = [1, 1, 2, 2] if size == "tiny" else [1, 2, 5, 8]
    library: Any = transformers
    config = library.SegformerConfig(**SIZES[size], num_attention_heads=heads, num_labels=CLASSES)
    model = library.SegformerForSemanticSegmentation(config).eval()
    width = config.decoder_hidden_size
    with torch.no_grad():  # coarse stages come first in what is fused
        model.decode_head.linear_fuse.weight[:, 2 * width :] *= 0.1
    return model


def _see_few(model: Any, pixels: Tensor) -> None:
    """Give the first `SEEN` classes logits of mean 0 and deviation 1, and let the others always be lower."""
    last = model.decode_head.classifier
    with torch.no_grad():
        logits = model(pixel_values=pixels).logits
        mean, deviation = logits.mean(dim=(0, 2, 3)), logits.std(dim=(0, 2, 3))
        last.weight /= deviation[:, None, None, None]
        last.bias.copy_((last.bias - mean) / deviation)
        last.bias[SEEN:] -= 30
