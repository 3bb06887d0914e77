"""SegFormer, fine-tuned: a transformer that has seen a million pictures, for those who have few of their own.

The checkpoint is one of transformers: `nvidia/mit-b0` to `nvidia/mit-b5` of the hub (encoders of ImageNet), a folder
of the same layout, or random weights for tests. Its licence is its own: NVIDIA's checkpoints are for research.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from rtseg.errors import ConfigError, DependencyMissing, ModelNotFound, ModelRejected
from rtseg.train.encoders import fold_normalisation
from rtseg.train.recipe import Recipe

if TYPE_CHECKING:
    from transformers import SegformerForSemanticSegmentation

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
"""What SegFormer's checkpoints were trained on: (x - mean) / std of RGB 0..1."""

SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"depths": [1] * 4, "hidden_sizes": [8, 16, 24, 32], "decoder_hidden_size": 16},
    "b0": {"depths": [2, 2, 2, 2], "hidden_sizes": [32, 64, 160, 256], "decoder_hidden_size": 256},
    "b1": {"depths": [2, 2, 2, 2], "hidden_sizes": [64, 128, 320, 512], "decoder_hidden_size": 256},
    "b2": {"depths": [3, 4, 6, 3], "hidden_sizes": [64, 128, 320, 512], "decoder_hidden_size": 768},
    "b3": {"depths": [3, 4, 18, 3], "hidden_sizes": [64, 128, 320, 512], "decoder_hidden_size": 768},
    "b4": {"depths": [3, 8, 27, 3], "hidden_sizes": [64, 128, 320, 512], "decoder_hidden_size": 768},
    "b5": {"depths": [3, 6, 40, 3], "hidden_sizes": [64, 128, 320, 512], "decoder_hidden_size": 768},
}
"""Blocks and channels of the published sizes (Xie et al., SegFormer, 2021, table 6), and of one for tests."""


class SegformerNetwork(nn.Module):
    """SegFormer with the recipe's regions as the channels of its one decoder, each with a probability of its own.

    Background is where none of them is. Called with RGB 0..1 BxCxHxW (ImageNet's normalisation is folded into the
    first convolution) it gives logits by head, BxRxhxw at the head's stride, enlarged from its own stride of 4.
    model.checkpoint: an id of the hub, a folder, or "random:SIZE" with one of `SIZES`. Raises DependencyMissing
    without transformers, ConfigError for a recipe without a checkpoint or a size that there is not, ModelNotFound for
    a checkpoint that cannot be had, ModelRejected for one of something else.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        checkpoint = recipe.model.checkpoint
        if not checkpoint:
            raise ConfigError(
                'architecture "segformer" starts from a checkpoint: give model.checkpoint = "nvidia/mit-b0", a folder '
                'with config.json and its weights, or "random:b0"'
            )
        source, _, size = checkpoint.partition(":")
        made = random_model(size, recipe) if source == "random" else published_model(checkpoint, recipe)
        self.encoder = made.segformer
        self.decoder = made.decode_head
        self._heads = {head.name: (len(head.regions), head.stride) for head in recipe.heads}

    def forward(self, picture: Tensor) -> dict[str, Tensor]:
        """Logits by head."""
        features = self.encoder(picture, output_hidden_states=True, return_dict=True).hidden_states
        logits = self.decoder(features)
        height, width = picture.shape[-2:]
        found, first = {}, 0
        for name, (regions, stride) in self._heads.items():
            part = logits[:, first : first + regions]
            size = (height // stride, width // stride)
            found[name] = functional.interpolate(part, size=size, mode="bilinear", align_corners=False)
            first += regions
        return found


def random_model(size: str, recipe: Recipe) -> SegformerForSemanticSegmentation:
    """One of `SIZES` without any training: for tests, and to see a recipe run before anything is fetched."""
    if size not in SIZES:
        raise ConfigError(f"model.checkpoint is 'random:{size}': the sizes are {', '.join(SIZES)}")
    transformers = _transformers()
    heads = [1, 1, 2, 2] if size == "tiny" else [1, 2, 5, 8]
    config = transformers.SegformerConfig(**SIZES[size], num_attention_heads=heads, num_labels=len(recipe.regions))
    model: SegformerForSemanticSegmentation = transformers.SegformerForSemanticSegmentation(config)
    return model


def published_model(checkpoint: str, recipe: Recipe) -> SegformerForSemanticSegmentation:
    """A checkpoint of the hub (or its cache) or of a folder; a decoder that does not fit, or is none, starts anew."""
    try:
        model, found = _load(checkpoint, recipe)
    except DependencyMissing:
        raise
    except Exception as error:  # OSError for what cannot be reached or is missing; safetensors and JSON have their own
        reason = str(error).strip().partition("\n")[0]
        kind = "a folder" if Path(checkpoint).is_dir() else "neither a folder nor in the hub's cache"
        raise ModelNotFound(
            f"the SegFormer checkpoint {checkpoint!r}, {kind}, cannot be had: {reason} Without the internet, set "
            "model.checkpoint to a folder that holds its config.json and model.safetensors (or pytorch_model.bin)"
        ) from error
    if missing := sorted(name for name in found["missing_keys"] if name.startswith("segformer.")):
        raise ModelRejected(f"{checkpoint!r} is no SegFormer: its encoder lacks {missing[0]}; use mit-b0 to mit-b5")
    fold_normalisation(first_convolution(model), **IMAGENET)
    trained: SegformerForSemanticSegmentation = model
    return trained


def _load(checkpoint: str, recipe: Recipe) -> tuple[Any, dict[str, Any]]:
    """The model, and what of it was missing. What the hub's cache holds is not asked for again."""
    transformers = _transformers()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it announces each of its attempts
    options = {
        "num_labels": len(recipe.regions),
        "ignore_mismatched_sizes": True,
        "dtype": torch.float32,
        "output_loading_info": True,
    }
    load = transformers.SegformerForSemanticSegmentation.from_pretrained
    try:
        return load(checkpoint, local_files_only=True, **options)  # type: ignore[no-any-return]
    except OSError:
        if Path(checkpoint).is_dir():
            raise
    return load(checkpoint, **options)  # type: ignore[no-any-return]


def first_convolution(model: nn.Module) -> nn.Conv2d:
    """The convolution that takes the picture."""
    return next(module for module in model.modules() if isinstance(module, nn.Conv2d))


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise DependencyMissing(f"SegFormer needs transformers ({error}): pip install 'rtseg[segformer]'") from error
    return transformers
