"""CLIPSeg, exported and run without transformers, against transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rtseg import store
from rtseg.cards import Card, read_card
from rtseg.config import ModelOptions
from rtseg.engines import build_segmenter
from rtseg.errors import ConfigError, ModelNotFound, ModelRejected
from rtseg.inference.engine import OrtEngine
from rtseg.segmenters.prompted import PromptedSegmenter
from rtseg.segmenters.text import TextEncoder
from rtseg.tokens import load_tokenizer
from rtseg.types import Frame

pytest.importorskip("transformers", reason="the original is of transformers: the extra `segformer`")
pytest.importorskip("tokenizers", reason="prompts need the extra `prompts`")

import torch
from tiny_clipseg import SIDE, clip_tokenizer, make_checkpoint, transformers

from rtseg.train.clipseg import export_clipseg, load_clipseg

PROMPTS = ("a cat", "The RED  dog", "Ünïcode thing's 42!")
TEXTS = (
    *PROMPTS,
    "",
    "cat",
    "don't they're we've I'm 12ab",
    "  spaces \t between ",
    "日本語",
    "e\u0301 is é",
    "<|endoftext|>",
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def card(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Card:
    folder = tmp_path_factory.mktemp("exported")
    export_clipseg(checkpoint, folder, prompts=PROMPTS)
    return read_card(folder / "clipseg.toml")


def pictures() -> list[Frame]:
    """Five of smooth colours and different sizes."""
    rng = np.random.default_rng(5)
    sizes = [(SIDE, SIDE), (96, 54), (54, 96), (128, 72), (33, 65)]
    frames = []
    for index, (width, height) in enumerate(sizes):
        coarse = rng.integers(0, 256, (5, 5, 3), np.uint8)
        rgb = np.kron(coarse, np.ones((-(-height // 5), -(-width // 5), 1), np.uint8))[:height, :width]
        frames.append(Frame.from_rgb(np.ascontiguousarray(rgb), index=index))
    return frames


def original(model: Any, prompts: tuple[str, ...], pixels: np.ndarray[Any, Any]) -> Any:
    """Logits NxHxW of transformers for N prompts, padded together as its processor pads them."""
    tokens = clip_tokenizer()(list(prompts), padding=True, return_tensors="pt")
    many = torch.from_numpy(pixels).repeat(len(prompts), 1, 1, 1)
    with torch.no_grad():
        return model(**tokens, pixel_values=many).logits.numpy()


def iou(one: Any, other: Any) -> float:
    return float((one & other).sum() / (one | other).sum())


def test_five_pictures_and_three_prompts_are_what_transformers_says(card: Card, checkpoint: Path) -> None:
    segmenter = build_segmenter(ModelOptions(), card)
    assert isinstance(segmenter, PromptedSegmenter)
    engine = segmenter._engine
    assert isinstance(engine, OrtEngine)
    model = load_clipseg(checkpoint)
    shares = []
    for frame in pictures():
        result = segmenter(frame)
        wanted = original(model, PROMPTS, engine.inputs["pixel_values"].copy())
        assert np.abs(engine.outputs["logits"] - wanted).max() <= 1e-3
        assert result.names == PROMPTS
        for mask, logits in zip(result.probabilities, wanted, strict=True):
            assert iou(mask >= 128, logits > 0) >= 0.99
            shares.append(float((logits > 0).mean()))
    assert min(shares) > 0.02, "masks of nothing agree on nothing"
    assert max(shares) < 0.98


def test_the_tensor_is_what_the_processor_makes(card: Card, checkpoint: Path) -> None:
    """For a picture of the network's own size, to three levels for the way through YUV at colours' edges."""
    grey = np.kron(np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8), np.ones((8, 8), np.uint8))
    rgb = np.repeat(grey[..., None], 3, axis=2)
    processor = transformers.AutoImageProcessor.from_pretrained(checkpoint)
    wanted = processor(images=rgb, return_tensors="np")["pixel_values"]
    segmenter = build_segmenter(ModelOptions(), card)
    assert isinstance(segmenter, PromptedSegmenter)
    segmenter(Frame.from_rgb(rgb))
    assert np.abs(segmenter._engine.inputs["pixel_values"] - wanted).max() <= 3 / 255 / 0.224


def test_prompts_of_any_number_are_what_transformers_says(card: Card, checkpoint: Path) -> None:
    """Two in an engine of three places, then five, while the stream runs."""
    segmenter = build_segmenter(ModelOptions(), card)
    assert isinstance(segmenter, PromptedSegmenter)
    model = load_clipseg(checkpoint)
    frame = pictures()[1]
    for prompts in (("dog", "the sky"), ("a", "b", "red", "dog", "the cat")):
        segmenter.prompts = prompts
        result = segmenter(frame)
        wanted = original(model, prompts, segmenter._engine.inputs["pixel_values"].copy())
        expected = 255 / (1 + np.exp(-wanted.astype(np.float64)))
        assert np.abs(result.probabilities - expected).max() <= 0.6  # rounding, and 1e-3 of a logit


@pytest.mark.parametrize("tokenizer", ["tokenizer.json", "vocab.json"])
def test_tokens_are_those_of_transformers(tmp_path: Path, tokenizer: str) -> None:
    make_checkpoint(tmp_path, tokenizer=tokenizer)
    names = ["tokenizer.json"] if tokenizer == "tokenizer.json" else ["vocab.json", "merges.txt"]
    ours, theirs = load_tokenizer([tmp_path / name for name in names]), clip_tokenizer()
    for text in TEXTS:
        assert ours.encode(text).ids == theirs(text)["input_ids"]


@pytest.mark.parametrize("legacy_end", [False, True])
def test_vectors_are_those_of_transformers(tmp_path: Path, legacy_end: bool) -> None:
    """Padded to the full length here and not at all there, for both ways in which configs name the end of a text."""
    checkpoint = make_checkpoint(tmp_path / "from", tokenizer="vocab.json", legacy_end=legacy_end)
    made = export_clipseg(checkpoint, tmp_path / "to").card
    assert made.text is not None
    files = {name: tmp_path / "to" / name for name in made.text.tokenizer}
    encode = TextEncoder(made.text, OrtEngine(tmp_path / "to" / str(made.text.file)), files)
    model = load_clipseg(checkpoint)
    vectors = []
    for text in PROMPTS:
        tokens = clip_tokenizer()(text, return_tensors="pt")
        wanted = model.get_conditional_embeddings(batch_size=1, **tokens).numpy()[0]
        np.testing.assert_allclose(encode(text), wanted, atol=1e-4)
        vectors.append(wanted)
    assert np.abs(vectors[0] - vectors[1]).max() > 0.1, "the test shows nothing if all prompts are alike"


def test_the_card_says_what_was_written(card: Card) -> None:
    assert card.folder is not None
    assert card.text is not None
    assert {path.name for path in card.folder.iterdir()} == {*card.files, "clipseg.toml"}
    assert (card.input.size, card.names, card.text.length) == ((SIDE, SIDE), PROMPTS, 20)
    assert store.verify(card) == card.folder / "clipseg.onnx"
    assert float(card.metrics["parity"]) <= 1e-3


def test_what_differs_from_torch_is_not_written(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelRejected, match="differs from torch"):
        export_clipseg(checkpoint, tmp_path, prompts=PROMPTS, tolerance=0.0)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_clipseg_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"config\.json"):
        export_clipseg(tmp_path / "nothing", tmp_path / "to")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "segformer"}))
    with pytest.raises(ModelRejected, match="'segformer'"):
        export_clipseg(tmp_path, tmp_path / "to")
    (tmp_path / "config.json").write_text((checkpoint / "config.json").read_text())
    with pytest.raises(ModelNotFound, match=r"model\.safetensors"):
        export_clipseg(tmp_path, tmp_path / "to")
    (tmp_path / "model.safetensors").write_bytes((checkpoint / "model.safetensors").read_bytes())
    with pytest.raises(ModelNotFound, match="tokenizer"):
        export_clipseg(tmp_path, tmp_path / "to")
    (tmp_path / "tokenizer.json").write_text((checkpoint / "tokenizer.json").read_text())
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"size": {"height": 60, "width": 60}}))
    with pytest.raises(ConfigError, match="8 pixel patches"):
        export_clipseg(tmp_path, tmp_path / "to")
    assert not (tmp_path / "to").exists()
