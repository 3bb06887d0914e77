"""CLIPSeg to two ONNX files and a card: one graph reads a prompt, the other paints what several prompts ask for.

The checkpoint is a folder in transformers' layout (Lüddecke and Ecker, Image Segmentation Using Text and Image Prompts,
2022). The graph that paints looks at the picture once, whatever the number of prompts: only its small decoder is run
for each of them.
"""

from __future__ import annotations

import io
import json
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxslim
import torch
from torch import Tensor, nn

from rtseg import store
from rtseg.cards import Card, CardInput, CardOutput, CardText
from rtseg.errors import ConfigError, DependencyMissing, ModelNotFound, ModelRejected
from rtseg.inference.engine import OrtEngine
from rtseg.ops.arrays import F32, as_f32
from rtseg.processor import IMAGENET, Processor, Sides, read_processor
from rtseg.segmenters.text import PromptTokens, TextEncoder, check_prompts
from rtseg.tokens import tokenizer_files
from rtseg.train.export import OPSET, Export, write_card
from rtseg.train.half import halve_weights, keep_in_half

TOLERANCE = 1e-3
"""Of logits, between torch and ONNX Runtime: what float32 leaves after two dozen layers of a transformer."""


@dataclass(frozen=True, slots=True)
class ClipsegExport(Export):
    """What was written, and what halving the weights alone changed; None where they are whole."""

    halved: float | None = None


def export_clipseg(
    checkpoint: Path,
    folder: Path,
    *,
    name: str = "clipseg",
    prompts: Sequence[str] = ("a person",),
    licence: str = "see the checkpoint",
    source: str = "",
    size: tuple[int, int] | None = None,
    half: bool = False,
    tolerance: float = TOLERANCE,
) -> ClipsegExport:
    """Write NAME.onnx, NAME.text.onnx, the tokenizer's files and the card NAME.toml into `folder`.

    checkpoint: a folder with config.json, weights, preprocessor_config.json, and tokenizer.json or vocab.json with
    merges.txt. prompts: what the card begins with. size: width and height of the input, in place of the checkpoint's.
    half: weights are kept in 16 bits, and the graphs compute in 32.

    Raises ModelNotFound for a folder that has not all of it, ConfigError for sizes that the model does not take,
    ModelRejected where ONNX Runtime and torch differ by more than `tolerance`; nothing is written then.
    """
    names = check_prompts(prompts)
    model = load_clipseg(checkpoint)
    tokenizer = tokenizer_files(checkpoint)
    picture = _picture_of(checkpoint, size, patch=model.config.vision_config.patch_size)
    length = model.config.text_config.max_position_embeddings
    hashes = {path.name: store.sha256_of(path) for path in tokenizer}
    read = PromptTokens(CardText(tokenizer=hashes, length=length), {path.name: path for path in tokenizer})
    tokens, trials = [read.tokens(prompt) for prompt in names], _trials(picture)
    wanted = before = [_answers(model, tokens, pixels) for pixels in trials]
    if half:
        halve_weights(model)
        wanted = [_answers(model, tokens, pixels) for pixels in trials]
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=folder) as made:
        paths = Path(made) / f"{name}.onnx", Path(made) / f"{name}.text.onnx"
        for path, graph in zip(paths, _graphs(model, picture.size), strict=True):
            if half:
                keep_in_half(graph)
            onnx.save(graph, path)
        copies = [Path(shutil.copyfile(path, Path(made) / f"{name}.{path.name}")) for path in tokenizer]
        text = CardText(
            file=paths[1].name,
            sha256=store.sha256_of(paths[1]),
            tokenizer={copy.name: store.sha256_of(copy) for copy in copies},
            width=model.config.projection_dim,
            length=length,
        )
        difference = _difference(paths, text, picture, names, trials, wanted)
        if not difference <= tolerance:
            raise ModelRejected(
                f"the export of {checkpoint} differs from torch by {difference:.2g}, allowed is {tolerance:g}: this is "
                "a fault of the exporter; try another version of torch or onnx"
            )
        for path in (*paths, *copies):
            path.replace(folder / path.name)
    card = Card(
        name=name,
        description="CLIPSeg: soft regions for whatever a text says",
        family="prompted",
        file=f"{name}.onnx",
        sha256=store.sha256_of(folder / f"{name}.onnx"),
        licence=licence,
        source=source or f"exported from {checkpoint.name} with transformers",
        names=names,
        input=picture,
        outputs=(CardOutput(name="logits", activation="sigmoid"),),
        text=text,
        metrics={"parity": float(f"{difference:.2g}")},
    )
    (folder / f"{name}.toml").write_text(write_card(card), encoding="utf-8")
    halved = max(float(np.abs(a - b).max()) for a, b in zip(before, wanted, strict=True)) if half else None
    return ClipsegExport(card, folder / card.file, difference, halved)


def load_clipseg(checkpoint: Path) -> Any:
    """`CLIPSegForImageSegmentation` of a folder, for inference; nothing is fetched and nothing unpickled."""
    transformers = _transformers()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        kind = json.loads((checkpoint / "config.json").read_text(encoding="utf-8")).get("model_type")
        if kind != "clipseg":
            raise ModelRejected(f"{checkpoint} holds a {kind!r}, not a 'clipseg': give the folder of a CLIPSeg")
        model = transformers.CLIPSegForImageSegmentation.from_pretrained(
            checkpoint, local_files_only=True, dtype=torch.float32, use_safetensors=True, attn_implementation="eager"
        )
    except (OSError, ValueError) as error:
        if isinstance(error, ModelRejected):
            raise
        reason = str(error).strip().partition("\n")[0]
        raise ModelNotFound(f"{checkpoint} is no folder with config.json and model.safetensors: {reason}") from error
    return model.eval()


class _Reader(nn.Module):
    """Token ids and their mask to the vector of a prompt."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, mask: Tensor) -> Any:
        return self.model.get_conditional_embeddings(batch_size=1, input_ids=ids, attention_mask=mask)


class _Painter(nn.Module):
    """One picture and N vectors to N maps of logits; the decoder broadcasts the picture's features itself."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, picture: Tensor, vectors: Tensor) -> Any:
        seen = self.model.clip.get_image_features(
            pixel_values=picture, interpolate_pos_encoding=True, output_hidden_states=True, return_dict=True
        )
        features = tuple(seen.hidden_states[layer + 1] for layer in self.model.extract_layers)
        return self.model.decoder(features, vectors).logits


def _graphs(model: Any, size: tuple[int, int]) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """The graph that paints, with an open number of prompts, and the graph that reads."""
    width, length = model.config.projection_dim, model.config.text_config.max_position_embeddings
    ids = torch.full((1, length), model.config.text_config.eos_token_id)
    vectors, text = torch.rand(2, width), (ids, torch.ones_like(ids))
    painting = _to_onnx(
        _Painter(model),
        (torch.zeros(1, 3, size[1], size[0]), vectors),
        ["pixel_values", "conditional_embeddings"],
        "logits",
        open_axes={"conditional_embeddings": {0: "prompts"}, "logits": {0: "prompts"}},
    )
    return painting, _to_onnx(_Reader(model), text, ["input_ids", "attention_mask"], "conditional_embeddings")


def _to_onnx(
    module: nn.Module,
    example: Any,
    inputs: list[str],
    output: str,
    *,
    open_axes: dict[str, dict[int, str]] | None = None,
) -> onnx.ModelProto:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter(
            "ignore"
        )  # of shapes that become constants, as they shall, and of the exporter's successor
        torch.onnx.export(
            module.eval(),
            example,
            buffer,  # type: ignore[arg-type] # a file object is allowed, the stubs forgot it
            dynamo=False,
            opset_version=OPSET,
            input_names=inputs,
            output_names=[output],
            dynamic_axes=open_axes,
        )
    made: onnx.ModelProto = onnxslim.slim(onnx.load_model_from_string(buffer.getvalue()))
    made.producer_name = "rtseg"
    return made


def _picture_of(checkpoint: Path, size: tuple[int, int] | None, *, patch: int) -> CardInput:
    """What preprocessor_config.json says; CLIPSeg's own values where there is none."""
    path = checkpoint / "preprocessor_config.json"
    usual = Processor(size=Sides(height=352, width=352), image_mean=IMAGENET[0], image_std=IMAGENET[1])
    processor = read_processor(path, model_type="clipseg") if path.is_file() else usual
    width, height = size or processor.fixed_size or (0, 0)
    if not height or height != width or height % patch:
        raise ConfigError(
            f"{checkpoint} would take pictures of {width}x{height}: CLIPSeg takes squares of {patch} pixel patches, "
            "such as 352x352"
        )
    return processor.card_input("pixel_values", (width, height))


def _trials(picture: CardInput) -> list[F32]:
    """Two pictures of noise."""
    chance = np.random.default_rng(0)
    return [as_f32(chance.standard_normal(picture.shape, np.float32)) for _ in range(2)]


def _answers(model: Any, prompts: Sequence[Sequence[int]], pixels: F32) -> F32:
    """The logits NxHxW of the model as transformers runs it, for the tokens of N prompts, each without padding."""
    found = []
    for tokens in prompts:
        ids = torch.tensor([tokens])
        with torch.no_grad():
            out = model(input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=torch.from_numpy(pixels))
        found.append(out.logits.numpy().reshape(out.logits.shape[-2:]))
    return as_f32(np.stack(found))


def _difference(
    paths: tuple[Path, Path],
    text: CardText,
    picture: CardInput,
    prompts: Sequence[str],
    trials: Sequence[F32],
    wanted: Sequence[F32],
) -> float:
    """The largest difference of logits from those of the whole model, text to map."""
    encode = TextEncoder(
        text, OrtEngine(paths[1], warmup=0), {name: paths[1].with_name(name) for name in text.tokenizer}
    )
    vectors = as_f32(np.stack([encode(prompt) for prompt in prompts]))
    engine = OrtEngine(paths[0], shapes={text.condition: vectors.shape}, warmup=0)
    found = [engine({picture.name: pixels, text.condition: vectors})["logits"].copy() for pixels in trials]
    return max(float(np.abs(a - b).max()) for a, b in zip(found, wanted, strict=True))


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise DependencyMissing(f"CLIPSeg needs transformers ({error}): pip install 'rtseg[segformer]'") from error
    return transformers
