"""What a run is made of, as data: from a TOML file, from the command line, or from keyword arguments.

A file has the tables `[source]`, `[model]`, `[[filters]]`, `[[analyzers]]`, `[[effects]]`,
`[framing]`, `[[sinks]]` and `[run]`;
`type` names a component of the registry, the other keys are its options. An option that is None is left to the
component's own default. Options given besides a file override it.
"""

from __future__ import annotations

import os
import tomllib
from os import PathLike
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError

from rtseg.errors import ConfigError
from rtseg.filter_sections import RefineFilter, SmoothFilter, SubjectFilter
from rtseg.registry import BUILTIN, Kind, entries
from rtseg.sections import (
    BackgroundEffect,
    CameraSource,
    DicomSource,
    GpsAnalyzer,
    HudEffect,
    ImageSink,
    ImageSource,
    KafkaSink,
    LanesAnalyzer,
    MaskSink,
    MeasureAnalyzer,
    MjpegSink,
    ModelOptions,
    NiftiSource,
    NullSink,
    ObstaclesAnalyzer,
    OutlineEffect,
    OverlayEffect,
    RecordSink,
    SampleSource,
    ScreenSource,
    Section,
    StreamSink,
    StreamSource,
    SyntheticSource,
    TablesSink,
    VideoSink,
    VideoSource,
    VirtualCameraSink,
    WindowSink,
)
from rtseg.store import clean_path

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = [
    "AnalyzerOptions",
    "BackgroundEffect",
    "CameraSource",
    "Config",
    "DicomSource",
    "EffectOptions",
    "FilterOptions",
    "FramingOptions",
    "GpsAnalyzer",
    "HudEffect",
    "ImageSink",
    "ImageSource",
    "KafkaSink",
    "LanesAnalyzer",
    "MaskSink",
    "MeasureAnalyzer",
    "MjpegSink",
    "ModelOptions",
    "NiftiSource",
    "NullSink",
    "ObstaclesAnalyzer",
    "OutlineEffect",
    "OverlayEffect",
    "Plugin",
    "RecordSink",
    "RefineFilter",
    "RunOptions",
    "SampleSource",
    "ScreenSource",
    "Section",
    "SinkOptions",
    "SmoothFilter",
    "SourceOptions",
    "StreamSink",
    "StreamSource",
    "SubjectFilter",
    "SyntheticSource",
    "TablesSink",
    "VideoSink",
    "VideoSource",
    "VirtualCameraSink",
    "WindowSink",
    "parse_config",
    "read_config",
]


class Plugin(BaseModel):
    """A component of another package: its options go to it as they are."""

    model_config = ConfigDict(extra="allow", frozen=True)
    type: str

    def options(self) -> dict[str, Any]:
        """What was set, for the component's constructor."""
        return dict(self.model_extra or {})


def _tag(kind: Kind) -> Discriminator:
    def tag(value: Any) -> str | None:
        name = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
        if not isinstance(name, str):
            return None
        return name if name in BUILTIN[kind] else "plugin"

    return Discriminator(tag)


_Plugin: TypeAlias = Annotated[Plugin, Tag("plugin")]
SourceOptions: TypeAlias = Annotated[
    Annotated[VideoSource, Tag("video")]
    | Annotated[ImageSource, Tag("images")]
    | Annotated[SyntheticSource, Tag("synthetic")]
    | Annotated[SampleSource, Tag("sample")]
    | Annotated[StreamSource, Tag("stream")]
    | Annotated[CameraSource, Tag("camera")]
    | Annotated[ScreenSource, Tag("screen")]
    | Annotated[DicomSource, Tag("dicom")]
    | Annotated[NiftiSource, Tag("nifti")]
    | _Plugin,
    _tag("source"),
]
FilterOptions: TypeAlias = Annotated[
    Annotated[SmoothFilter, Tag("smooth")]
    | Annotated[RefineFilter, Tag("refine")]
    | Annotated[SubjectFilter, Tag("subject")]
    | _Plugin,
    _tag("filter"),
]
AnalyzerOptions: TypeAlias = Annotated[
    Annotated[MeasureAnalyzer, Tag("measure")]
    | Annotated[LanesAnalyzer, Tag("lanes")]
    | Annotated[GpsAnalyzer, Tag("gps")]
    | Annotated[ObstaclesAnalyzer, Tag("obstacles")]
    | _Plugin,
    _tag("analyzer"),
]
EffectOptions: TypeAlias = Annotated[
    Annotated[BackgroundEffect, Tag("background")]
    | Annotated[OverlayEffect, Tag("overlay")]
    | Annotated[OutlineEffect, Tag("outline")]
    | Annotated[HudEffect, Tag("hud")]
    | _Plugin,
    _tag("effect"),
]
SinkOptions: TypeAlias = Annotated[
    Annotated[VideoSink, Tag("video")]
    | Annotated[ImageSink, Tag("images")]
    | Annotated[MaskSink, Tag("masks")]
    | Annotated[RecordSink, Tag("records")]
    | Annotated[NullSink, Tag("null")]
    | Annotated[StreamSink, Tag("stream")]
    | Annotated[MjpegSink, Tag("mjpeg")]
    | Annotated[VirtualCameraSink, Tag("virtual_camera")]
    | Annotated[WindowSink, Tag("window")]
    | Annotated[TablesSink, Tag("tables")]
    | Annotated[KafkaSink, Tag("kafka")]
    | _Plugin,
    _tag("sink"),
]


class RunOptions(Section):
    """How frames are let through: "block" loses none, "latest" keeps up, "auto" asks the source."""

    policy: Literal["auto", "block", "latest"] = "auto"


class FramingOptions(Section):
    """The picture follows the subject: all of him or head and shoulders, enlarged so many times at most."""

    look: Literal["body", "head"] | None = None
    max_zoom: Annotated[float, Field(gt=1, le=4)] | None = None


class Config(Section):
    """A whole run; everything in the order in which it happens.

    filters, effects: None for those that suit the model (`rtseg.build` and `docs/config.md` say which), () for none.
    framing: None for the whole picture.
    """

    source: SourceOptions | None = None
    model: ModelOptions = ModelOptions()
    filters: tuple[FilterOptions, ...] | None = None
    analyzers: tuple[AnalyzerOptions, ...] = ()
    effects: tuple[EffectOptions, ...] | None = None
    framing: FramingOptions | None = None
    sinks: tuple[SinkOptions, ...] = ()
    run: RunOptions = RunOptions()


def read_config(path: str | PathLike[str]) -> Config:
    """The configuration in a TOML file; ConfigError names the file, the key, its value and what is allowed."""
    file = os.fspath(path)
    try:
        data = tomllib.loads(clean_path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{file} does not exist: give the path of a TOML file to --config") from error
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # TOML syntax, or bytes that are not UTF-8
        raise ConfigError(f"{file} is not TOML: {error}") from error
    return parse_config(data, origin=file)


def parse_config(data: dict[str, Any], *, origin: str = "configuration") -> Config:
    """The same from plain values; `origin` begins each message."""
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        problems = "; ".join(_explain(problem) for problem in error.errors())
        raise ConfigError(f"{origin}: {problems}") from error
    for table, kind in _KINDS.items():
        section = getattr(config, table)
        for index, part in enumerate(section if isinstance(section, tuple) else (section,)):
            if isinstance(part, Plugin) and part.type not in (known := entries(kind)):
                where = f"{table}[{index}]" if isinstance(section, tuple) else table
                allowed = ", ".join(sorted(known)) or f"none: no package with an {kind} is installed"
                raise ConfigError(f"{origin}: {where}.type = {part.type!r} is unknown: use one of {allowed}")
    return config


_KINDS: dict[str, Kind] = {
    "source": "source",
    "filters": "filter",
    "analyzers": "analyzer",
    "effects": "effect",
    "sinks": "sink",
}
_SECTIONS: dict[tuple[Kind, str], type[Section]] = {
    ("source", "video"): VideoSource,
    ("source", "images"): ImageSource,
    ("source", "synthetic"): SyntheticSource,
    ("source", "sample"): SampleSource,
    ("source", "stream"): StreamSource,
    ("source", "camera"): CameraSource,
    ("source", "screen"): ScreenSource,
    ("source", "dicom"): DicomSource,
    ("source", "nifti"): NiftiSource,
    ("analyzer", "measure"): MeasureAnalyzer,
    ("analyzer", "lanes"): LanesAnalyzer,
    ("analyzer", "gps"): GpsAnalyzer,
    ("analyzer", "obstacles"): ObstaclesAnalyzer,
    ("filter", "smooth"): SmoothFilter,
    ("filter", "refine"): RefineFilter,
    ("filter", "subject"): SubjectFilter,
    ("effect", "background"): BackgroundEffect,
    ("effect", "overlay"): OverlayEffect,
    ("effect", "outline"): OutlineEffect,
    ("effect", "hud"): HudEffect,
    ("sink", "video"): VideoSink,
    ("sink", "images"): ImageSink,
    ("sink", "masks"): MaskSink,
    ("sink", "records"): RecordSink,
    ("sink", "null"): NullSink,
    ("sink", "stream"): StreamSink,
    ("sink", "mjpeg"): MjpegSink,
    ("sink", "virtual_camera"): VirtualCameraSink,
    ("sink", "window"): WindowSink,
    ("sink", "tables"): TablesSink,
    ("sink", "kafka"): KafkaSink,
}
"""Every built-in component and its options; a test holds it against the registry and the constructors."""


_TABLES: dict[str, type[Section]] = {"model": ModelOptions, "framing": FramingOptions, "run": RunOptions}


def _explain(problem: ErrorDetails) -> str:
    section: type[Section] = Config
    key = ""
    table: Kind | None = None
    for part in problem["loc"]:
        if isinstance(part, int):
            key += f"[{part}]"
        elif table is not None and (table, part) in _SECTIONS and section is Config:
            section = _SECTIONS[table, part]  # the tag of a union, not a key of the file
        else:
            key += f".{part}" if key else str(part)
            table = _KINDS.get(part, table)
            section = _TABLES.get(key, section)
    value = f" = {problem['input']!r}" if not isinstance(problem["input"], dict) else ""
    match problem["type"]:
        case "extra_forbidden":
            allowed = ", ".join(section.model_fields)
            return f"{key}{value} is an unknown key: allowed are {allowed}"
        case "missing":
            return f"{key} is missing: it is required"
        case "union_tag_not_found":
            assert table is not None
            return f"{key}.type is missing: use one of {', '.join(BUILTIN[table])}"
        case _:
            message = problem["msg"]
            return f"{key}{value}: {message[0].lower()}{message[1:]}"
