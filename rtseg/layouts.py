"""Models as they come from transformers.js and optimum: a folder or a hub's repository instead of a card.

`config.json` says which network it is and what its classes are called, `preprocessor_config.json` how to feed it, and
`onnx/model.onnx` is the graph. A card is made of them in memory, so that all the rest of rtseg knows only cards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rtseg import hub
from rtseg.cards import Card, CardOutput, CardQueries, CardText
from rtseg.errors import ModelNotFound, ModelRejected
from rtseg.layout_files import (
    Files,
    Layout,
    Ports,
    described,
    distinct,
    labels_of,
    network_size,
    ports_of,
    read_json,
)
from rtseg.ops.queries import Kind as QueryKind
from rtseg.places import clean_path, sha256_of
from rtseg.processor import read_processor
from rtseg.tokens import FILES, task_tokens, tokenizer_files

__all__ = ["MAKERS", "VARIANTS", "Layout", "changed", "find_layout", "read_layout", "renew"]

VARIANTS = ("onnx/model.onnx", "model.onnx", "onnx/model_fp16.onnx", "onnx/model_quantized.onnx")
"""Where graphs lie in the layout; of several the first is taken, unless one is named."""


def find_layout(name: str) -> Layout | None:
    """The model in that folder, of that graph in its folder, or of that repository; None where the name is neither.

    A hub's repository is "owner/name", "owner/name@revision" or "owner/name@revision/onnx/model_fp16.onnx"; see
    `rtseg.hub.fetch`. Raises ModelNotFound, ModelRejected, ModelCorrupt, DownloadFailed and DependencyMissing.
    """
    try:
        path = clean_path(name)
    except ValueError as error:
        raise ModelNotFound(f"no model is called {name!r}: {error}") from error
    if path.is_dir():
        # A card may be called as a folder that happens to be here.
        return None if path.name == name and not (path / "config.json").exists() else read_layout(path)
    if path.suffix == ".onnx" and path.is_file():
        folder = path.parent.parent if path.parent.name == "onnx" else path.parent
        return read_layout(folder, graph=path)
    return _fetched(name, renew=False)


def renew(name: str) -> Layout | None:
    """A hub's repository as it is now, which later calls of `find_layout` then take; None for any other name."""
    return None if Path(name).exists() else _fetched(name, renew=True)


def changed(name: str) -> tuple[int, ...]:
    """When the files of a folder, a graph or a card were last written, in ns, to see that a model is another now."""
    try:
        path = clean_path(name)
    except ValueError:
        return ()
    places = [
        path,
        *(path / place for place in ("config.json", "preprocessor_config.json", *sum(FILES, ()), *VARIANTS)),
    ]
    return tuple(place.stat().st_mtime_ns for place in places if place.exists())


def read_layout(folder: Path, *, graph: Path | None = None, origin: str = "") -> Layout:
    """The model in `folder`; graph: one of its files, else the first of `VARIANTS` that is there.

    origin: where it came from, "owner/name@commit", for the card's `source`. The weights are hashed here; from then on
    they are held to that. Raises ModelNotFound for a missing file and ModelRejected for what is not understood.
    """
    config = read_json(folder / "config.json")
    if graph is None:
        graph = next((folder / place for place in VARIANTS if (folder / place).is_file()), None)
    if graph is None:
        raise ModelNotFound(
            f"{folder} has no graph: put it at {VARIANTS[0]} (`optimum-cli export onnx` does), or name its file"
        )
    kind = architecture_of(config, folder)
    files = Files(
        folder,
        graph,
        config,
        read_processor(folder / "preprocessor_config.json", model_type=str(config.get("model_type"))),
    )
    return MAKERS[kind](files, origin)


def architecture_of(config: Mapping[str, Any], folder: Path) -> str:
    """The class of transformers that `config.json` names; ModelRejected for one that `MAKERS` does not have."""
    named = config.get("architectures")
    names = [name for name in named if isinstance(name, str)] if isinstance(named, list) else []
    if not names and (guess := _BY_TYPE.get(str(config.get("model_type")))):
        names = [guess]
    found = next((name for name in names if name in MAKERS), None)
    if found is None:
        said = ", ".join(names) or f"model_type {config.get('model_type')!r}"
        raise ModelRejected(
            f"{folder / 'config.json'}: {said} is not understood: known are {', '.join(MAKERS)}; "
            "write a card for this model instead"
        )
    return found


def make_semantic(files: Files, origin: str) -> Layout:
    """A network with one output of scores, a channel a class."""
    labels, ports = labels_of(files.config, files.folder), ports_of(files.graph)
    if len(ports.inputs) != 1 or not ports.outputs:
        raise ModelRejected(
            f"{files.graph} has {ports.named}: a network that gives each pixel a class has one input, the picture"
        )
    ((picture, shape),) = ports.inputs.items()
    output = "logits" if "logits" in ports.outputs else ports.outputs[0]
    return _layout(files, origin, "semantic", (picture, shape), [output], ports, names=distinct(labels), labels=labels)


def make_queries(files: Files, origin: str) -> Layout:
    """A network that answers with queries, each the logits of its class and of its mask.

    Beside the picture it may take `pixel_mask`, which says where padding is, and OneFormer takes `task_inputs`: its
    tokens are made here, once, by the folder's tokenizer.
    """
    kind, classes, masks = _QUERIES[architecture_of(files.config, files.folder)]
    labels, ports = labels_of(files.config, files.folder), ports_of(files.graph)
    told = {_TOKENS} if kind == "oneformer" else set()
    others = set(ports.inputs) - {_PIXEL_MASK, *told}
    if len(others) != 1 or not told <= set(ports.inputs) or not {classes, masks} <= set(ports.outputs):
        wanted = " and ".join(["the picture", *told, f"{_PIXEL_MASK} if it likes"])
        raise ModelRejected(
            f"{files.graph} has {ports.named}: it must take {wanted}, and give {classes} and {masks}; "
            "`rtseg export hf` makes such a graph of a checkpoint"
        )
    picture = others.pop()
    length = int(files.config.get("task_seq_len", 77))
    queries = CardQueries(
        kind=kind,
        classes=classes,
        masks=masks,
        tokens=task_tokens(files.folder, length) if told else {},
        pixel_mask=_PIXEL_MASK if _PIXEL_MASK in ports.inputs else None,
    )
    place = picture, ports.inputs[picture]
    return _layout(
        files, origin, "queries", place, [classes, masks], ports, names=distinct(labels), labels=labels, queries=queries
    )


def make_prompted(files: Files, origin: str) -> Layout:
    """CLIPSeg as one graph, from a picture and a prompt's tokens to a map; its names are one prompt to begin with."""
    ports = ports_of(files.graph)
    others = set(ports.inputs) - {_IDS, _MASK}
    if len(others) != 1 or not {_IDS, _MASK} <= set(ports.inputs) or "logits" not in ports.outputs:
        raise ModelRejected(
            f"{files.graph} has {ports.named}: it must take the picture, {_IDS} and {_MASK}, and give logits; "
            "`rtseg export hf` makes a faster pair of graphs of a checkpoint"
        )
    picture = others.pop()
    about = files.config.get("text_config")
    longest = about.get("max_position_embeddings", 77) if isinstance(about, Mapping) else 77
    declared = ports.inputs[_IDS]
    tokenizer = tokenizer_files(files.folder)
    text = CardText(
        tokenizer={path.name: sha256_of(path) for path in tokenizer},
        length=(declared[1] if len(declared) == 2 else None) or longest,
        ids=_IDS,
        mask=_MASK,
    )
    place = picture, ports.inputs[picture]
    return _layout(files, origin, "prompted", place, ["logits"], ports, names=(PROMPT,), labels=(PROMPT,), text=text)


def _layout(
    files: Files,
    origin: str,
    family: str,
    picture: tuple[str, Sequence[int | None]],
    outputs: Sequence[str],
    ports: Ports,
    *,
    names: tuple[str, ...],
    labels: tuple[str, ...],
    **tables: Any,
) -> Layout:
    """picture: the input that takes it, and its sides. tables: those of the card that its family has."""
    about: dict[str, Any] = {**described(files, origin), "family": family, "names": names, "external": ports.external}
    card = Card(
        **about,
        **tables,
        input=files.processor.card_input(picture[0], network_size(files, picture[1])),
        outputs=tuple(
            CardOutput(name=name, activation="sigmoid" if family == "prompted" else "none") for name in outputs
        ),
    )
    card._folder, card._beside = files.graph.parent, files.folder
    return Layout(card, files.processor, labels)


PROMPT = "a person"
"""What a model that takes prompts looks for until it is told."""
_IDS, _MASK = "input_ids", "attention_mask"
_PIXEL_MASK, _TOKENS = "pixel_mask", "task_inputs"
_UNIVERSAL = ("class_queries_logits", "masks_queries_logits")
_QUERIES: Mapping[str, tuple[QueryKind, str, str]] = {
    "MaskFormerForInstanceSegmentation": ("maskformer", *_UNIVERSAL),
    "Mask2FormerForUniversalSegmentation": ("mask2former", *_UNIVERSAL),
    "OneFormerForUniversalSegmentation": ("oneformer", *_UNIVERSAL),
    "DetrForSegmentation": ("detr", "logits", "pred_masks"),
}

MAKERS: Mapping[str, Callable[[Files, str], Layout]] = dict.fromkeys(
    (
        "SegformerForSemanticSegmentation",
        "UperNetForSemanticSegmentation",
        "BeitForSemanticSegmentation",
        "Data2VecVisionForSemanticSegmentation",
        "MobileViTForSemanticSegmentation",
        "MobileViTV2ForSemanticSegmentation",
        "MobileNetV2ForSemanticSegmentation",
    ),
    make_semantic,
) | {**dict.fromkeys(_QUERIES, make_queries), "CLIPSegForImageSegmentation": make_prompted}
"""What makes a card of each architecture: the one place to add another."""

_BY_TYPE = {
    "segformer": "SegformerForSemanticSegmentation",
    "upernet": "UperNetForSemanticSegmentation",
    "beit": "BeitForSemanticSegmentation",
    "data2vec-vision": "Data2VecVisionForSemanticSegmentation",
    "mobilevit": "MobileViTForSemanticSegmentation",
    "mobilevitv2": "MobileViTV2ForSemanticSegmentation",
    "mobilenet_v2": "MobileNetV2ForSemanticSegmentation",
    "maskformer": "MaskFormerForInstanceSegmentation",
    "mask2former": "Mask2FormerForUniversalSegmentation",
    "oneformer": "OneFormerForUniversalSegmentation",
    "detr": "DetrForSegmentation",
    "clipseg": "CLIPSegForImageSegmentation",
}


def _fetched(name: str, *, renew: bool) -> Layout | None:
    if (wanted := hub.parse(name)) is None:
        return None
    fetched = hub.fetch(wanted, VARIANTS, renew=renew)
    return read_layout(fetched.folder, graph=fetched.graph, origin=fetched.origin)
