"""Where cards and weights are found, and whether they can be trusted."""

from __future__ import annotations

import difflib
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rtseg.cards import Card, read_card
from rtseg.errors import ModelCorrupt, ModelError, ModelNotFound, ModelRejected
from rtseg.layouts import find_layout
from rtseg.places import cache_folder, clean_path, sha256_of

if TYPE_CHECKING:  # onnx costs 12 MB and a tenth of a second: only what checks a graph imports it
    from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

__all__ = [
    "cache_folder",
    "check_graph",
    "clean_path",
    "find_card",
    "list_cards",
    "part",
    "pulled_to",
    "sha256_of",
    "verify",
    "weights",
]

log = logging.getLogger(__name__)

DOMAINS = ("", "ai.onnx", "com.microsoft")
"""Where operators may come from: the standard and ONNX Runtime's own, never a library of somebody's."""


def list_cards() -> list[Card]:
    """Every card that can be found, by name; of two with one name the first found counts."""
    return [card for _, card in sorted(_cards().items())]


def find_card(name_or_path: str | os.PathLike[str]) -> Card:
    """The card of that name, in that `.toml` file, or made of a folder or a hub's repository (`rtseg.layouts`).

    `ModelNotFound` names the cards that there are.
    """
    name = os.fspath(name_or_path)
    if name.endswith(".toml"):
        return read_card(clean_path(name))
    if (layout := find_layout(name)) is not None:
        return layout.card
    cards = _cards()
    if name not in cards:
        near = difflib.get_close_matches(name, cards, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise ModelNotFound(f"no model is called {name!r}: {hint}known are {', '.join(sorted(cards))}")
    return cards[name]


def weights(card: Card) -> Path:
    """The file of the card's weights: beside the card, in a folder of `RTSEG_MODELS`, or in the cache folder.

    Only that it is there: `verify` also says whether it is the right one. Raises `ModelNotFound`.
    """
    return part(card, card.file)


def part(card: Card, file: str) -> Path:
    """One of `card.files`, sought where `weights` are. Raises `ModelNotFound`."""
    folders = [*card.folders, *_user_folders(), *pulled_to(card)]
    for folder in folders:
        if (path := folder / file).is_file():
            return path
    places = ", ".join(dict.fromkeys(map(str, folders)))
    fix = (
        f"get them with `rtseg models pull {card.name}`, or put"
        if card.address_of(file)
        else "they have no public address; put"
    )
    what = "the weights" if file == card.file else f"{file}, a part"
    raise ModelNotFound(f"{what} of {card.name!r} are not here: {fix} {file} into one of {places}")


def pulled_to(card: Card) -> tuple[Path, ...]:
    """Where pulled files lie: the first is where they go, a folder of the model's own if it has several."""
    cache = cache_folder()
    return (cache,) if len(card.files) + len(card.external) == 1 else (cache / card.name, cache)


def verify(card: Card) -> Path:
    """The card's weights, after making sure that they are the ones it describes and that their graph is harmless.

    The same is made sure of the card's other files, of which `part` gives the paths.

    The graphs of the cards that come with rtseg were checked when their hashes were written down: there the hash
    says enough, and onnx is not imported. What was verified once in this process is believed while its size
    and time stay the same. Raises `ModelNotFound`, `ModelCorrupt` (another hash), `ModelRejected` (see `check_graph`).
    """
    path = weights(card)
    parts = {part(card, file): sha256 for file, sha256 in card.files.items()}
    state = tuple((file, about.st_size, about.st_mtime_ns) for file, about in ((file, file.stat()) for file in parts))
    key = (state, card.model_dump_json())
    if key not in _verified:
        for file, sha256 in parts.items():
            _compare(file, sha256)
            if file != path and file.suffix == ".onnx" and (outside := check_graph(file)):
                raise ModelRejected(f"{file} reads {outside[0]}: the graph of a text must be one file")
        for name in () if card.folder == _packaged_folder() else check_graph(path, card):
            if name not in card.external:
                raise ModelRejected(f"{path} reads {name}, whose hash the card does not give in `external`")
            _compare(path.with_name(name), card.external[name])
        _verified.add(key)
    return path


def check_graph(path: Path, card: Card | None = None) -> list[str]:
    """Refuse a graph that could run foreign code, read other files, or is not what `card` says; nothing is run.

    Every node, also in subgraphs and local functions, must be of `DOMAINS` and no EPContext (a provider's binary).
    External data must be a regular file beside the model, neither link nor hard link; their names are
    returned. With a card, its inputs and outputs must exist with the right rank and channels.
    """
    import onnx

    try:
        model = onnx.load_model(path, format="protobuf", load_external_data=False)
    except Exception as error:  # protobuf's own, UnicodeDecodeError and more
        raise ModelRejected(f"{path} is not an ONNX model: {error}") from error
    if not model.graph.node:
        raise ModelRejected(f"{path} is not an ONNX model: its graph has no node")
    external: dict[str, None] = {}
    for node in _nodes(model):
        if node.domain not in DOMAINS or node.op_type == "EPContext":
            raise ModelRejected(
                f"{path} uses the operator {node.domain}::{node.op_type}, which may run code of its own: "
                "allowed are the standard operators and those of com.microsoft but EPContext"
            )
    for tensor in _tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            external[_beside(path, tensor)] = None
    if card is not None:
        _check_ports(path, model.graph, card)
    return list(external)


_verified: set[tuple[tuple[tuple[Path, int, int], ...], str]] = set()


def _compare(path: Path, expected: str) -> None:
    if (found := sha256_of(path)) != expected:
        raise ModelCorrupt(
            f"{path} is damaged or another version: its SHA-256 is {found}, the card says {expected}; "
            "delete the file and get it again"
        )


def _graphs(model: ModelProto) -> Iterator[GraphProto | FunctionProto]:
    """The main graph, local functions, and every graph inside a node's attributes; no recursion."""
    pending: list[GraphProto | FunctionProto] = [model.graph, *model.functions]
    while pending:
        graph = pending.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                pending += [attribute.g, *attribute.graphs] if attribute.HasField("g") else attribute.graphs


def _nodes(model: ModelProto) -> Iterator[NodeProto]:
    for graph in _graphs(model):
        yield from graph.node


def _tensors(model: ModelProto) -> Iterator[TensorProto]:
    for graph in _graphs(model):
        for sparse in getattr(graph, "sparse_initializer", ()):
            yield from (sparse.values, sparse.indices)
        yield from getattr(graph, "initializer", ())
        for node in graph.node:
            for attribute in node.attribute:
                yield from (attribute.t, *attribute.tensors)
                for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                    yield from (sparse.values, sparse.indices)


def _beside(path: Path, tensor: TensorProto) -> str:
    location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
    refusal = f"{path} keeps weights in {location!r}: allowed is a regular file beside the model, no folder, no link"
    if not location or location in (".", "..") or any(mark in location for mark in "/\\:\0"):
        raise ModelRejected(refusal)
    try:
        about = path.with_name(location).lstat()
    except OSError as error:
        raise ModelRejected(f"{refusal} ({error.strerror})") from error
    if not stat.S_ISREG(about.st_mode) or about.st_nlink != 1:
        raise ModelRejected(refusal)
    return location


def _check_ports(path: Path, graph: GraphProto, card: Card) -> None:
    constants = {tensor.name for tensor in graph.initializer}  # older exporters list weights as inputs as well
    inputs = {port.name: _shape(port) for port in graph.input if port.name not in constants}
    if set(inputs) != card.inputs:
        wanted = " and ".join(map(repr, sorted(card.inputs)))
        raise ModelRejected(f"{path} has the inputs {sorted(inputs)}; the card {card.name!r} says {wanted}")
    if not _fits(inputs[card.input.name], card.input.shape):
        raise ModelRejected(f"{path} takes {inputs[card.input.name]}; the card {card.name!r} says {card.input.shape}")
    outputs = {port.name: _shape(port) for port in graph.output}
    states = () if card.recurrent is None else card.recurrent.states.values()
    for name in (*(output.name for output in card.outputs), *states):
        if name not in outputs:
            raise ModelRejected(f"{path} has no output {name!r}, only {sorted(outputs)}: correct the card")
    for output in card.outputs if card.family != "prompted" else ():
        shape = outputs[output.name]
        if card.family in ("yolo", "yolox"):
            sides = 3 if output is card.outputs[0] else 4
            if shape and len(shape) != sides:
                raise ModelRejected(
                    f"{path}: output {output.name!r} is {shape}; the card {card.name!r} needs {sides} sides there"
                )
            continue
        if card.queries is not None:
            _check_query_output(path, output.name, shape, card)
            continue
        least = max(output.regions.values(), default=0) + 1 if card.family != "semantic" else len(card.names)
        channels = shape[1] if shape and len(shape) == 4 else None
        exact = card.family == "semantic"
        if (shape and len(shape) != 4) or (channels and (channels < least or (exact and channels != least))):
            raise ModelRejected(
                f"{path}: output {output.name!r} is {shape}; the card {card.name!r} needs 1xCxHxW with "
                f"{'' if exact else 'at least '}{least} channels"
            )


def _check_query_output(path: Path, name: str, shape: tuple[int | None, ...] | None, card: Card) -> None:
    wanted = f"1xQx{len(card.names) + 1}" if card.queries and name == card.queries.classes else "1xQxhxw"
    rank = 3 if wanted != "1xQxhxw" else 4
    if shape and (len(shape) != rank or (rank == 3 and shape[2] not in (None, len(card.names) + 1))):
        raise ModelRejected(f"{path}: output {name!r} is {shape}; the card {card.name!r} needs {wanted}")


def _shape(port: ValueInfoProto) -> tuple[int | None, ...] | None:
    """The declared sides, None for an open one; None if nothing is declared."""
    tensor = port.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(side.dim_value if side.dim_value > 0 else None for side in tensor.shape.dim)


def _fits(declared: tuple[int | None, ...] | None, wanted: tuple[int, ...]) -> bool:
    if declared is None:
        return True
    return len(declared) == len(wanted) and all(d in (None, w) for d, w in zip(declared, wanted, strict=True))


def _cards() -> dict[str, Card]:
    cards: dict[str, Card] = {}
    for path in _card_files():
        try:
            card = read_card(path)
        except ModelError as error:  # one broken file must not hide all other models
            log.warning("passed over: %s", error)
        else:
            cards.setdefault(card.name, card)
    return cards


def _card_files() -> Iterator[Path]:
    for folder in (*_user_folders(), _packaged_folder(), cache_folder()):
        yield from sorted(folder.glob("*.toml"))


def _user_folders() -> list[Path]:
    return [clean_path(entry) for entry in os.environ.get("RTSEG_MODELS", "").split(os.pathsep) if entry]


def _packaged_folder() -> Path:
    package = Path(__file__).resolve().parent
    installed = package / "_models"
    return installed if installed.is_dir() else package.parent / "models"
