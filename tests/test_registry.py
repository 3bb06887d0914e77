from __future__ import annotations

import importlib.metadata
import inspect
import re

import pytest

from rtseg import registry
from rtseg.errors import ConfigError, DependencyMissing
from rtseg.registry import BUILTIN, KINDS, Entry, Kind
from rtseg.types import Analyzer, Effect, Filter, Segmenter, Sink, Source

PROTOCOLS = {
    "source": Source,
    "segmenter": Segmenter,
    "filter": Filter,
    "analyzer": Analyzer,
    "effect": Effect,
    "sink": Sink,
}
# What a component is made from: a path, a card, a specification. Everything else is an option, by keyword only.
SUBJECTS = {"path", "url", "device", "paths", "folder", "graph", "card", "engine", "paint", "spec", "background"}


EVERY_ENTRY = [(kind, name) for kind in KINDS for name in BUILTIN[kind]]


@pytest.mark.parametrize(("kind", "name"), EVERY_ENTRY)
def test_a_component_has_what_its_protocol_demands(kind: Kind, name: str) -> None:
    component = registry.load(kind, name)
    members = vars(PROTOCOLS[kind])
    wanted = {member for member in members if not member.startswith("_")} | {"__call__", "__iter__"} & members.keys()
    set_when_made = set(re.findall(r"\bself\.(\w+)\b[^\n]* = ", inspect.getsource(component)))
    assert wanted
    assert wanted <= set(dir(component)) | set_when_made


@pytest.mark.parametrize(("kind", "name"), EVERY_ENTRY)
def test_a_component_is_documented(kind: Kind, name: str) -> None:
    component = registry.load(kind, name)
    assert component.__doc__
    assert not component.__doc__.startswith(f"{component.__name__}("), "that is the docstring dataclass makes up"


@pytest.mark.parametrize(("kind", "name"), EVERY_ENTRY)
def test_options_are_by_keyword_only(kind: Kind, name: str) -> None:
    parameters = inspect.signature(registry.load(kind, name)).parameters.values()
    positional = {p.name for p in parameters if p.kind is not p.KEYWORD_ONLY}
    assert positional <= SUBJECTS


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"unknown filter 'smoth': use one of refine, smooth"):
        registry.load("filter", "smoth")


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BUILTIN["source"], "ghost", Entry("no_such_module:Ghost", extra="demo"))
    with pytest.raises(DependencyMissing, match=r"pip install 'rtseg\[demo\]'"):
        registry.load("source", "ghost")


def test_a_missing_system_library_names_the_debian_package() -> None:
    error = ImportError("libGL.so.1: cannot open shared object file: No such file or directory")
    assert "apt install libgl1 libglib2.0-0" in str(registry.explain_import(error))


def test_entry_points_of_other_packages_are_found_but_cannot_replace_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        importlib.metadata.EntryPoint("mine", "collections:OrderedDict", "rtseg.effects"),
        importlib.metadata.EntryPoint("outline", "collections:OrderedDict", "rtseg.effects"),
    ]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [p for p in points if p.group == group])
    assert registry.load("effect", "mine").__name__ == "OrderedDict"
    assert registry.entries("effect")["outline"] == BUILTIN["effect"]["outline"]
    assert "mine" not in registry.entries("sink")


def test_a_target_that_does_not_exist_says_so() -> None:
    with pytest.raises(ConfigError, match="has no 'Nothing'"):
        registry.import_target("collections:Nothing")
