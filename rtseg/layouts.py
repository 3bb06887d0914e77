"""Models as they come from transformers.js and optimum: a folder or a hub's repository instead of a card.

`config.json` says which network it is and what its classes are called, `preprocessor_config.json` how to feed it, and
`onnx/model.onnx` is the graph. A card is made of them in memory, so that all the rest of rtseg knows only cards.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtseg import hub
from rtseg.cards import Card, CardOutput, CardQueries
from rtseg.errors import ModelNotFound, ModelRejected
from rtseg.ops.queries import Kind as QueryKind
from rtseg.places import clean_path, sha256_of
from rtseg.processor import Processor, read_processor

if TYPE_CHECKING:
    from onnx import ModelProto

VARIANTS = ("onnx/model.onnx", "model.onnx", "onnx/model_fp16.onnx", "onnx/model_quantized.onnx")
"""Where graphs lie in the layout; of several the first is taken, unless one is named."""


@dataclass(frozen=True, eq=False, slots=True)
class Layout:
    """A model that came as a folder: the card that was made of it, and what a card cannot say.

    labels: the classes as `id2label` has them, while names of a card differ from each other and fit into file names.
    """

    card: Card
    processor: Processor
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Files:
    """What a maker of cards is given: the graph's file, the parsed `config.json` and the processor."""

    folder: Path
    graph: Path
    config: Mapping[str, Any]
    processor: Processor


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
    places = [path, *(path / place for place in ("config.json", "preprocessor_config.json", *VARIANTS))]
    return tuple(place.stat().st_mtime_ns for place in places if place.exists())


def read_layout(folder: Path, *, graph: Path | None = None, origin: str = "") -> Layout:
    """The model in `folder`; graph: one of its files, else the first of `VARIANTS` that is there.

    origin: where it came from, "owner/name@commit", for the card's `source`. The weights are hashed here; from then on
    they are held to that. Raises ModelNotFound for a missing file and ModelRejected for what is not understood.
    """
    config = _json(folder / "config.json")
    if graph is None:
        graph = next((folder / place for place in VARIANTS if (folder / place).is_file()), None)
    if graph is None:
        raise ModelNotFound(
            f"{folder} has no graph: put it at {VARIANTS[0]} (`optimum-cli export onnx` does), or name its file"
        )
    kind = architecture_of(config, folder)
    files = Files(folder, graph, config, read_processor(folder / "preprocessor_config.json"))
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
    labels = labels_of(files.config, files.folder)
    model = _graph(files.graph)
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [port for port in model.graph.input if port.name not in constants]
    outputs = [port.name for port in model.graph.output]
    if len(inputs) != 1 or not outputs:
        raise ModelRejected(
            f"{files.graph} has the inputs {', '.join(port.name for port in inputs) or 'none'}: a network that gives "
            "each pixel a class has one, the picture"
        )
    sides = [side.dim_value or None for side in inputs[0].type.tensor_type.shape.dim]
    size = network_size(files, sides[-2:])
    card = Card(
        **described(files, origin),
        family="semantic",
        input=files.processor.card_input(inputs[0].name, size),
        outputs=(CardOutput(name="logits" if "logits" in outputs else outputs[0]),),
        names=distinct(labels),
        external=_external(files.graph, model),
    )
    card._folder = files.graph.parent
    return Layout(card, files.processor, labels)


def make_queries(files: Files, origin: str) -> Layout:
    """A network that answers with queries, each the logits of its class and of its mask."""
    kind, classes, masks = _QUERIES[architecture_of(files.config, files.folder)]
    labels = labels_of(files.config, files.folder)
    model = _graph(files.graph)
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [port for port in model.graph.input if port.name not in constants]
    outputs = {port.name for port in model.graph.output}
    if len(inputs) != 1 or not {classes, masks} <= outputs:
        raise ModelRejected(
            f"{files.graph} has the inputs {', '.join(port.name for port in inputs) or 'none'} and the outputs "
            f"{', '.join(sorted(outputs))}: it must take the picture alone and give {classes} and {masks}; "
            "`rtseg export hf` makes such a graph of a checkpoint"
        )
    sides = [side.dim_value or None for side in inputs[0].type.tensor_type.shape.dim]
    card = Card(
        **described(files, origin),
        family="queries",
        input=files.processor.card_input(inputs[0].name, network_size(files, sides[-2:])),
        outputs=(CardOutput(name=classes), CardOutput(name=masks)),
        names=distinct(labels),
        external=_external(files.graph, model),
        queries=CardQueries(kind=kind, classes=classes, masks=masks),
    )
    card._folder = files.graph.parent
    return Layout(card, files.processor, labels)


_UNIVERSAL = ("class_queries_logits", "masks_queries_logits")
_QUERIES: Mapping[str, tuple[QueryKind, str, str]] = {
    "MaskFormerForInstanceSegmentation": ("maskformer", *_UNIVERSAL),
    "Mask2FormerForUniversalSegmentation": ("mask2former", *_UNIVERSAL),
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
) | dict.fromkeys(_QUERIES, make_queries)
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
    "detr": "DetrForSegmentation",
}


def described(files: Files, origin: str) -> dict[str, Any]:
    """What every card says, by the names of its fields."""
    title = origin.partition("@")[0] or files.folder.resolve().name
    slug = re.sub(r"[^a-z0-9._-]+", "-", title.lower().replace("/", "--")).strip("._-") or "model"
    return {
        "name": slug,
        "description": f"{(files.config.get('architectures') or [files.config.get('model_type')])[0]} of {title}",
        "file": files.graph.name,
        "sha256": sha256_of(files.graph),
        "licence": _licence(files.folder),
        "source": origin or str(files.folder),
    }


def labels_of(config: Mapping[str, Any], folder: Path) -> tuple[str, ...]:
    """`id2label` in order of its numbers; ModelRejected where they are not 0, 1, 2 and so on."""
    table = config.get("id2label")
    try:
        found = {int(number): str(label) for number, label in table.items()}  # type: ignore[union-attr]
    except (AttributeError, ValueError) as error:
        raise ModelRejected(
            f"{folder / 'config.json'}: id2label must name the classes by their numbers, and is {table!r}"
        ) from error
    if sorted(found) != list(range(len(found))) or not found:
        raise ModelRejected(
            f"{folder / 'config.json'}: id2label must have the numbers 0 to {len(found) - 1}, each once"
        )
    return tuple(found[number] for number in range(len(found)))


def distinct(labels: tuple[str, ...]) -> tuple[str, ...]:
    """Labels as names of a card: without what no file's name may have, and numbered where one occurs twice."""
    names: dict[str, None] = {}
    for number, label in enumerate(labels):
        name = re.sub(r"[/\\\x00-\x1f\x7f]+", "-", label)[:56] or "class"
        names[name if name not in names else f"{name} {number}"] = None
    if len(names) != len(labels):
        raise ModelRejected(f"id2label has names that cannot be told apart: {', '.join(labels)}")
    return tuple(names)


def network_size(files: Files, sides: list[int | None]) -> tuple[int, int]:
    """Width and height that live frames are brought to, from the graph's sides (height, width; None: open).

    A processor that only knows the shortest edge gives tensors of the picture's shape; live, the network then sees
    a square of that edge. Raises ModelRejected where graph and processor disagree, or neither says anything.
    """
    height, width = sides if len(sides) == 2 else (None, None)
    fixed, size = files.processor.fixed_size, files.processor.size
    if width and height:
        if fixed is not None and fixed != (width, height):
            raise ModelRejected(
                f"{files.graph} takes {width}x{height} and preprocessor_config.json makes {fixed[0]}x{fixed[1]}: "
                "export the model with open sides, or correct size"
            )
        return width, height
    if fixed is not None:
        return fixed
    if files.processor.do_resize and size is not None and size.shortest_edge:
        return size.shortest_edge, size.shortest_edge
    raise ModelRejected(
        f"{files.graph} takes any size and preprocessor_config.json names none (do_resize is false): "
        "write a card with the size that frames should have"
    )


def _fetched(name: str, *, renew: bool) -> Layout | None:
    if (wanted := hub.parse(name)) is None:
        return None
    fetched = hub.fetch(wanted, VARIANTS, renew=renew)
    return read_layout(fetched.folder, graph=fetched.graph, origin=fetched.origin)


def _graph(path: Path) -> ModelProto:
    import onnx

    try:
        return onnx.load_model(path, format="protobuf", load_external_data=False)
    except Exception as error:  # protobuf's own, UnicodeDecodeError and more
        raise ModelRejected(f"{path} is not an ONNX model: {error}") from error


def _external(path: Path, model: ModelProto) -> dict[str, str]:
    """Hashes of the files beside the graph that hold its weights; `store.check_graph` refuses any other place."""
    found: dict[str, str] = {}
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location" and entry.value not in found and os.sep not in entry.value:
                beside = path.with_name(entry.value)
                if beside.is_file():
                    found[entry.value] = sha256_of(beside)
    return found


def _json(path: Path) -> Mapping[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise ModelNotFound(
            f"{path.parent} has no {path.name}: a model's folder has config.json, preprocessor_config.json and "
            f"{VARIANTS[0]}; a card is named by its own path"
        ) from error
    except OSError as error:
        raise ModelNotFound(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise ModelRejected(f"{path} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ModelRejected(f"{path} must be a JSON object")
    return value


def _licence(folder: Path) -> str:
    """From the head of the model's page, where the hub keeps it."""
    try:
        head = (folder / "README.md").read_text(encoding="utf-8", errors="replace")[:4096]
    except OSError:
        head = ""
    stated = re.search(r"^licen[cs]e:\s*([\w.+-]+)\s*$", head, re.MULTILINE) if head.startswith("---") else None
    return stated[1] if stated else "not stated: see where the model comes from"
