"""A CLIPSeg of transformers with random weights and a handful of merges, in a folder as the hub has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers as typed_in_part

transformers: Any = typed_in_part

SIDE = 64
MERGES = ("c a", "ca t</w>", "d o", "do g</w>", "t h", "th e</w>", "r e", "re d</w>")


def vocabulary() -> dict[str, int]:
    """Every byte alone and at a word's end, what the merges make, and the two marks, as CLIP orders them."""
    letters = sorted(_byte_letters())
    words = [*letters, *(f"{letter}</w>" for letter in letters), *(merge.replace(" ", "") for merge in MERGES)]
    return {word: index for index, word in enumerate((*words, "<|startoftext|>", "<|endoftext|>"))}


def make_checkpoint(folder: Path, *, tokenizer: str = "tokenizer.json", legacy_end: bool = False) -> Path:
    """Config, weights, preprocessor and tokenizer ("tokenizer.json" or "vocab.json" with its merges).

    legacy_end: the config calls 2 the end of a text, as older ones do, and the model then looks for the greatest id.
    """
    torch.manual_seed(0)
    words = vocabulary()
    end = words["<|endoftext|>"]
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_hidden_layers": 4}
    config = transformers.CLIPSegConfig(
        text_config={
            **sizes,
            "vocab_size": len(words),
            "max_position_embeddings": 20,
            "bos_token_id": words["<|startoftext|>"],
            "eos_token_id": 2 if legacy_end else end,
        },
        vision_config={**sizes, "image_size": SIDE // 2, "patch_size": 8},
        projection_dim=24,
        reduce_dim=16,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=32,
        extract_layers=[1, 2, 3],
    )
    model = transformers.CLIPSegForImageSegmentation(config).eval()
    for name, parameter in model.named_parameters():  # usual beginnings leave all prompts and pictures alike
        if parameter.dim() > 1:
            scale = 1.0 if "embedding" in name or "film" in name else 1.5 / parameter[0].numel() ** 0.5
            torch.nn.init.normal_(parameter, std=scale)
    transformers.utils.logging.disable_progress_bar()
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "image_processor_type": "ViTImageProcessor",
                "size": {"height": SIDE, "width": SIDE},
                "image_mean": [0.485, 0.456, 0.406],
                "image_std": [0.229, 0.224, 0.225],
            }
        )
    )
    if tokenizer == "tokenizer.json":
        clip_tokenizer().backend_tokenizer.save(str(folder / tokenizer))
    else:
        (folder / "vocab.json").write_text(json.dumps(words))
        (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(MERGES) + "\n")
    return folder


def clip_tokenizer() -> Any:
    """Transformers' own, for what the right tokens are."""
    transformers.utils.logging.set_verbosity_error()
    return transformers.CLIPTokenizer(vocab=vocabulary(), merges=[tuple(merge.split(" ")) for merge in MERGES])


def _byte_letters() -> list[str]:
    """The printable letters that byte-level BPE writes the 256 bytes with."""
    from tokenizers.pre_tokenizers import ByteLevel

    return list(ByteLevel.alphabet())
