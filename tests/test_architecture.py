"""The rules of ARCHITECTURE.md that can be read off the imports."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import rtseg
from rtseg.registry import BUILTIN

PACKAGE = Path(rtseg.__file__).parent
LAYERS: list[set[str]] = [
    {"errors", "ops"},
    {"device"},
    {"frame"},
    {"results"},
    {"types"},
    {"inference.gate", "places", "fetching", "sinks.files"},
    {"inference.engine", "inference.sessions", "inference.slots", "inference.providers", "inference.watchdog"}
    | {"stats", "compositor", "cards", "datasets", "channel", "fused", "tables", "subject"},
    {"processor", "hub", "segments", "loading", "tokens", "families"},
    {"layout_files"},
    {"layouts"},
    {"store"},
    {"download", "inference.prebuilt", "sources", "segmenters", "filters", "effects", "sinks", "driving", "analyzers"},
    {"thumbnails"},
    {"reports"},
    {"parts"},
    {"glide"},
    {"aim"},
    {"adaptive", "focus", "views", "framing", "inference.selftest", "inference.batching", "inference.states"},
    {"inference.pool"},
    {"inference.scheduler"},
    {"pipeline"},
    {"inference.device_engine"},
    {"fused_device"},
    {"fused_pipeline"},
    {"runner"},
    {"registry", "edge_options"},
    {"sections"},
    {"filter_sections"},
    {"config"},
    {"outputs", "presets"},
    {"engines"},
    {"auto_preset"},
    {"options", "build", "exact"},
    {"streams"},
    {"live"},
    {"api", "generators", "segmenting", "doctor", "archive"},
    {"stills"},
    {"service", "train", "evaluate", "labels", "bench", "gstreamer"},
    {"cli"},
]
"""Lowest first. A module may import from lower layers, from its own folder's shared parts, and from nothing else.

The modules of "inference" are used at several levels and placed one by one.
"""

CONFINED = {
    "onnxruntime": {"inference", "doctor"},
    "av": {"sources", "sinks", "service", "bench"},  # bench: the floor is PyAV without any of rtseg
    "torch": {"train"},
    "aiortc": {"service"},
    "typer": {"cli"},
    "ray": {"live", "archive"},
}

MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "_models" not in path.parts)


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> set[str]:
    """Every module that the file imports, wherever in the file, TYPE_CHECKING blocks included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import():
                found |= {alias.name for alias in node.names}
            case ast.ImportFrom(module=str(module), level=0):
                found.add(module)
                found |= {f"{module}.{alias.name}" for alias in node.names}
            case ast.ImportFrom():
                pytest.fail(f"{path}: relative import; write rtseg.… so that the rules can be read")
    return found


def layer_of(module: str) -> int | None:
    parts = module.split(".")
    if parts[0] != "rtseg" or len(parts) < 2:
        return None
    if parts[1:] == ["inference"]:
        return 0  # the folder itself, which has nothing
    for level, names in enumerate(LAYERS):
        if parts[1] in names or ".".join(parts[1:3]) in names:
            return level
    return None


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_has_a_layer(path: Path) -> None:
    if name_of(path) not in ("rtseg", "rtseg.__main__"):
        assert layer_of(name_of(path)) is not None, f"say in tests/test_architecture.py where {name_of(path)} stands"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_run_one_way(path: Path) -> None:
    module = name_of(path)
    own = layer_of(module)
    if own is None:
        return
    for imported in imports_of(path):
        level = layer_of(imported)
        if level is None:
            continue
        assert level <= own, f"{module} imports {imported}, which stands above it"
        if level == own and imported.split(".")[1] != module.split(".")[1] and own > 0:
            siblings = {"stats", "inference", "cards", "datasets", "channel", "compositor"}
            assert imported.split(".")[1] in siblings, f"{module} imports its sibling {imported}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_siblings_never_import_each_other(path: Path) -> None:
    module = name_of(path)
    folder = ".".join(module.split(".")[:2])
    if folder.removeprefix("rtseg.") not in {
        "sources",
        "segmenters",
        "filters",
        "effects",
        "sinks",
        "driving",
        "analyzers",
    }:
        return
    known = {name_of(other) for other in MODULES}
    for imported in imports_of(path) & known:
        if imported.startswith(folder + ".") and imported != module and not is_shared_part(imported):
            pytest.fail(f"{module} imports its sibling {imported}")


def is_shared_part(module: str) -> bool:
    """A shared part serves its siblings and is no component: nothing in the registry names it."""
    targets = [entry.target for kind in BUILTIN.values() for entry in kind.values()]
    return not any(target.startswith(module + ":") for target in targets)


@pytest.mark.parametrize("library", CONFINED)
def test_libraries_stay_where_they_belong(library: str) -> None:
    for path in MODULES:
        if any(i == library or i.startswith(library + ".") for i in imports_of(path)):
            place = name_of(path).split(".")[1]
            assert place in CONFINED[library], f"{name_of(path)} imports {library}; only {CONFINED[library]} may"


def test_modules_stay_small() -> None:
    long = {name_of(path): lines for path in MODULES if (lines := len(path.read_text().splitlines())) > 400}
    assert not long, "over 400 lines: is there a second idea in one of them?"


def test_nothing_is_unpickled() -> None:
    dangerous = re.compile(r"pickle\.loads?\(|torch\.load\(|allow_pickle\s*=\s*True|(?<![.\w])eval\(|\bexec\(")
    for path in MODULES:
        assert not dangerous.search(path.read_text()), f"{path} runs code from data"
