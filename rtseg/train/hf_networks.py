"""Checkpoints of transformers as modules that the exporter can follow: tensors in, tensors out, by name."""

from __future__ import annotations

import contextlib
import importlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rtseg.errors import DependencyMissing, ModelRejected
from rtseg.ops.queries import Kind


@dataclass(frozen=True, slots=True)
class Architecture:
    """outputs: of the model that the graph keeps, in order. queries: whose rules they follow, None for one map.
    dynamo: whether only torch's newer exporter can follow it (opset 18). prompts: whether texts say what is found.
    """

    outputs: tuple[str, ...]
    queries: Kind | None = None
    dynamo: bool = False
    prompts: bool = False


_QUERIES = ("class_queries_logits", "masks_queries_logits")
ARCHITECTURES: dict[str, Architecture] = {
    "SegformerForSemanticSegmentation": Architecture(("logits",)),
    "BeitForSemanticSegmentation": Architecture(("logits",), dynamo=True),
    "UperNetForSemanticSegmentation": Architecture(("logits",), dynamo=True),
    "MobileViTForSemanticSegmentation": Architecture(("logits",), dynamo=True),
    "MobileViTV2ForSemanticSegmentation": Architecture(("logits",), dynamo=True),
    "DetrForSegmentation": Architecture(("logits", "pred_masks"), "detr"),
    "MaskFormerForInstanceSegmentation": Architecture(_QUERIES, "maskformer"),
    "Mask2FormerForUniversalSegmentation": Architecture(_QUERIES, "mask2former"),
    "OneFormerForUniversalSegmentation": Architecture(_QUERIES, "oneformer"),
    "CLIPSegForImageSegmentation": Architecture(("logits",), prompts=True),
}
"""By the name in `architectures` of config.json."""

REFUSED = {
    "Sam2Model": "it takes points or boxes beside the picture, which a graph of one input cannot",
    "RfDetrForInstanceSegmentation": "its processor needs torchvision, which does not go with every torch",
    "EomtForUniversalSegmentation": "its post-processing undoes a padding that rtseg does not make",
}


def architecture_of(config: dict[str, Any], folder: Path) -> tuple[str, Architecture]:
    """The name that config.json gives and what is known of it; ModelRejected where it cannot be exported."""
    names = config.get("architectures")
    name = str(names[0]) if isinstance(names, list) and names else "none"
    if name in ARCHITECTURES:
        return name, ARCHITECTURES[name]
    reason = REFUSED.get(name, f"what can be is {', '.join(ARCHITECTURES)}")
    raise ModelRejected(f"{folder} holds the architecture {name}, which cannot be exported: {reason}")


class Traced(nn.Module):
    """A model whose answer is a tuple of the named outputs, as the exporter wants it."""

    def __init__(self, model: nn.Module, outputs: tuple[str, ...]) -> None:
        super().__init__()
        self.model = model
        self.outputs = outputs

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The outputs in order."""
        found = self.model(*inputs)
        return tuple(found[name] for name in self.outputs)


def load_network(name: str, folder: Path) -> Any:
    """The checkpoint's model in float32, from safetensors alone: nothing is unpickled, and nothing fetched.

    Raises DependencyMissing without transformers, ModelRejected for weights that are missing or do not fit.
    """
    transformers = import_transformers()
    kind = getattr(transformers, name)
    try:
        model, found = kind.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
            attn_implementation="eager",
            output_loading_info=True,
        )
    except Exception as error:  # OSError, ImportError (timm), and those of safetensors and of configurations
        reason = " ".join(str(error).split())
        raise ModelRejected(f"the checkpoint {folder} cannot be loaded as {name}: {reason}") from error
    if lacking := sorted(found["missing_keys"]) + sorted(str(key[0]) for key in found["mismatched_keys"]):
        raise ModelRejected(
            f"the checkpoint {folder} lacks {len(lacking)} weights of {name}, such as {lacking[0]}: it is of another "
            "architecture, or an encoder alone that was not trained further"
        )
    if name == "Mask2FormerForUniversalSegmentation":
        model.config.use_auxiliary_loss = True  # its forward fails without
    return model.eval()


def import_transformers() -> Any:
    """The library, quiet; DependencyMissing where it is not installed."""
    try:
        transformers: Any = importlib.import_module("transformers")
    except ImportError as error:
        raise DependencyMissing(
            f"exporting checkpoints needs transformers ({error}): pip install 'rtseg[export]'"
        ) from error
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    return transformers


@contextlib.contextmanager
def single_precision() -> Iterator[None]:
    """While it lasts, deformable attention samples in the precision of its values.

    Else the traced grid is double, which ONNX Runtime has no GridSample for.
    """
    originals = {}
    for kind in ("mask2former", "oneformer"):
        module: Any = importlib.import_module(f"transformers.models.{kind}.modeling_{kind}")
        originals[module] = module.multi_scale_deformable_attention

    def cast(original: Any) -> Any:
        def attention(value: Tensor, shapes: Any, locations: Tensor, weights: Tensor) -> Any:
            return original(value, shapes, locations.to(value.dtype), weights)

        return attention

    try:
        for module, original in originals.items():
            module.multi_scale_deformable_attention = cast(original)
        yield
    finally:
        for module, original in originals.items():
            module.multi_scale_deformable_attention = original
