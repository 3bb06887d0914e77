"""What the files of a model's folder say, as transformers.js and optimum write them: names, sizes, licence, inputs."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtseg.cards import Card
from rtseg.errors import ModelNotFound, ModelRejected
from rtseg.places import sha256_of
from rtseg.processor import Processor

if TYPE_CHECKING:
    from onnx import ModelProto


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


@dataclass(frozen=True, slots=True)
class Ports:
    """A graph's inputs with their sides, None for an open one, and the names of its outputs."""

    inputs: Mapping[str, tuple[int | None, ...]]
    outputs: tuple[str, ...]
    external: Mapping[str, str]

    @property
    def named(self) -> str:
        """Both, for messages."""
        inputs, outputs = (", ".join(names) or "none" for names in (self.inputs, self.outputs))
        return f"the inputs {inputs} and the outputs {outputs}"


def ports_of(path: Path) -> Ports:
    """Of the graph in `path`, with the hashes of files that hold its weights; ModelRejected for what is no graph."""
    model = read_graph(path)
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = {
        port.name: tuple(side.dim_value or None for side in port.type.tensor_type.shape.dim)
        for port in model.graph.input
        if port.name not in constants
    }
    return Ports(inputs, tuple(port.name for port in model.graph.output), external_of(path, model))


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


def network_size(files: Files, shape: Sequence[int | None]) -> tuple[int, int]:
    """Width and height that live frames are brought to, from the graph's input (1x3xHxW; None: open).

    A processor that only knows the shortest edge gives tensors of the picture's shape; live, the network then sees
    a square of that edge. Raises ModelRejected where graph and processor disagree, or neither says anything.
    """
    height, width = shape[-2:] if len(shape) >= 2 else (None, None)
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


def read_graph(path: Path) -> ModelProto:
    """The graph without weights that lie outside it; ModelRejected for what is none."""
    import onnx

    try:
        return onnx.load_model(path, format="protobuf", load_external_data=False)
    except Exception as error:  # protobuf's own, UnicodeDecodeError and more
        raise ModelRejected(f"{path} is not an ONNX model: {error}") from error


def external_of(path: Path, model: ModelProto) -> dict[str, str]:
    """Hashes of the files beside the graph that hold its weights; `store.check_graph` refuses any other place."""
    found: dict[str, str] = {}
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location" and entry.value not in found and os.sep not in entry.value:
                beside = path.with_name(entry.value)
                if beside.is_file():
                    found[entry.value] = sha256_of(beside)
    return found


def read_json(path: Path) -> Mapping[str, Any]:
    """A JSON object; ModelNotFound where the file is missing, ModelRejected for what is none."""
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise ModelNotFound(
            f"{path.parent} has no {path.name}: a model's folder has config.json, preprocessor_config.json and "
            "onnx/model.onnx; a card is named by its own path"
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
