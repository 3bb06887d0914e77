from __future__ import annotations

import inspect
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from rtseg import registry
from rtseg.config import _SECTIONS, ModelOptions, Plugin, RunOptions, VideoSource, parse_config, read_config
from rtseg.errors import ConfigError
from rtseg.families import QUERY_OPTIONS
from rtseg.inference.engine import OrtEngine
from rtseg.registry import BUILTIN, Entry, Kind

# Constructor parameters that are no options but come from elsewhere, and options that choose a constructor.
GIVEN = {
    ("sink", "video"): {"info"},
    ("sink", "window"): {"on_key"},
    ("sink", "kafka"): {"producer"},
    ("source", "video"): {"on_device"},
    **{("source", name): {"backoff", "changed"} for name in ("stream", "camera", "screen")},
}
CHOOSING = {("sink", "video"): {"clock"}, ("effect", "overlay"): {"preset"}}


def test_every_component_that_a_file_can_name_has_a_section() -> None:
    named = {(kind, name) for kind in BUILTIN if kind != "segmenter" for name in BUILTIN[kind]}
    assert set(_SECTIONS) == named


@pytest.mark.parametrize(("kind", "name"), _SECTIONS)
def test_a_section_has_the_options_of_its_constructor(kind: Kind, name: str) -> None:
    section, constructor = _SECTIONS[kind, name], inspect.signature(registry.load(kind, name)).parameters
    options = set(section.model_fields) - {"type"} - CHOOSING.get((kind, name), set())
    assert options == set(constructor) - GIVEN.get((kind, name), set())
    for option, parameter in constructor.items():
        if option in options:
            required = parameter.default is parameter.empty
            assert section.model_fields[option].is_required() is required, option
    assert section.model_fields["type"].default == name


def test_the_model_table_has_the_options_of_the_engine_that_users_set() -> None:
    seen = {"adaptive", "every", "focus", "views", "preset", "subject", "keep_held"}
    ours = seen | {"name", "fused", "score", "prompts", "task"} | QUERY_OPTIONS
    options = set(ModelOptions.model_fields) - ours
    assert options <= set(inspect.signature(OrtEngine).parameters)


def test_what_is_not_set_is_left_to_the_component() -> None:
    config = parse_config({"source": {"type": "video", "path": "a.mp4", "end": 2}})
    assert isinstance(config.source, VideoSource)
    assert config.source.options() == {"path": Path("a.mp4"), "end": 2.0}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"sauce": {}}, "sauce is an unknown key: allowed are source, model, filters"),
        (
            {"source": {"path": "a.mp4"}},
            "source.type is missing: use one of video, images, synthetic, stream",
        ),
        ({"source": {"type": "video"}}, "source.path is missing: it is required"),
        ({"source": {"type": "vidoe"}}, "source.type = 'vidoe' is unknown: use one of camera, dicom, images"),
        (
            {"source": {"type": "video", "path": "a", "strat": 1}},
            "source.strat = 1 is an unknown key: allowed are type",
        ),
        ({"source": {"type": "video", "path": "a", "start": -1}}, "source.start = -1: input should be greater than"),
        ({"source": {"type": "video", "path": "a\0b"}}, "a path cannot have a NUL"),
        ({"model": {"threads": 0}}, "model.threads = 0: input should be greater than 0"),
        ({"model": {"nmae": "road"}}, "model.nmae = 'road' is an unknown key: allowed are name, providers"),
        ({"effects": [{"type": "outline", "width": 9}]}, r"effects[0].width = 9: input should be less than"),
        ({"effects": [{"type": "glow"}]}, r"effects[0].type = 'glow' is unknown: use one of background, hud, outline"),
        ({"analyzers": [{"type": "traffic"}]}, "analyzers[0].type = 'traffic' is unknown: use one of gps, "),
        ({"run": {"policy": "fast"}}, "run.policy = 'fast': input should be 'auto', 'block' or 'latest'"),
    ],
)
def test_a_mistake_is_named_with_what_is_allowed(data: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        parse_config(data, origin="run.toml")
    assert str(caught.value).startswith("run.toml: ")


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ConfigError, match=r"model\.threads.*; run\.policy"):
        parse_config({"model": {"threads": 0}, "run": {"policy": "fast"}})


def test_a_component_of_another_package_gets_its_options_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtseg.config.entries", lambda kind: {**BUILTIN[kind], "glow": Entry("glow:Glow")})
    (effect,) = parse_config({"effects": [{"type": "glow", "radius": 3}]}).effects or ()
    assert isinstance(effect, Plugin)
    assert effect.options() == {"radius": 3}


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "does not exist"), (b"[source", "is not TOML"), (b"\xff\xfe", "is not TOML")],
)
def test_a_file_that_is_no_configuration_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "run.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"run.toml {message}"):
        read_config(path)


def test_a_folder_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(tmp_path)


def test_the_documented_example_names_every_option() -> None:
    """`docs/config.md` has a complete example; test_docs runs it."""
    page = (Path(__file__).parent.parent / "docs" / "config.md").read_text(encoding="utf-8")
    for (kind, name), section in _SECTIONS.items():
        for option in section.model_fields:
            assert f"`{option}`" in page, f"docs/config.md does not explain {option} of {kind} {name}"
    for table in (ModelOptions, RunOptions):
        assert all(f"`{option}`" in page for option in table.model_fields)
    blocks = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert all(parse_config(tomllib.loads(block)) for block in blocks)
