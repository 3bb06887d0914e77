"""What a run is made of, as data: from a TOML file, from the command line, or from keyword arguments.

A file has the tables `[source]`, `[model]`, `[[filters]]`, `[[analyzers]]`, `[[effects]]`, `[[sinks]]` and `[run]`;
`type` names a component of the registry, the other keys are its options. An option that is None is left to the
component's own default. Options given besides a file override it.
"""

from __future__ import annotations

import os
import tomllib
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError

from rtseg.errors import ConfigError
from rtseg.registry import BUILTIN, Kind, entries
from rtseg.store import clean_path

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


AnyPath: TypeAlias = Annotated[Path, AfterValidator(clean_path)]
NonNegative: TypeAlias = Annotated[float, Field(ge=0)]
Positive: TypeAlias = Annotated[int, Field(gt=0)]
Byte: TypeAlias = Annotated[int, Field(ge=0, le=255)]
Rgb: TypeAlias = Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]


class Section(BaseModel):
    """A table: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def options(self) -> dict[str, Any]:
        """What was set, for the component's constructor."""
        return {key: getattr(self, key) for key in self.model_fields_set - {"type"} if getattr(self, key) is not None}


class VideoSource(Section):
    """A video file; start and end in seconds of its own time; hardware: what decodes it, "none", "auto" or a device."""

    type: Literal["video"] = "video"
    path: AnyPath
    start: NonNegative | None = None
    end: NonNegative | None = None
    max_pixels: Positive | None = None
    threads: Positive | None = None
    hardware: str | None = None


class ImageSource(Section):
    """Image files and folders, as the frames of a stream."""

    type: Literal["images"] = "images"
    paths: tuple[AnyPath, ...] = Field(min_length=1)
    rate: Annotated[float, Field(gt=0)] | None = None
    max_pixels: Positive | None = None


class SyntheticSource(Section):
    """A test pattern: an FFmpeg filter graph such as "testsrc2=size=1280x720:rate=30"."""

    type: Literal["synthetic"] = "synthetic"
    graph: str
    frames: Positive | None = None
    live: bool | None = None


class SampleSource(Section):
    """The built-in sample clip."""

    type: Literal["sample"] = "sample"
    seconds: Annotated[float, Field(gt=0)] | None = None
    size: tuple[Positive, Positive] | None = None
    rate: Positive | None = None
    seed: int | None = None


Window: TypeAlias = Literal["lung", "bone", "soft"] | tuple[float, Annotated[float, Field(ge=1)]]


class DicomSource(Section):
    """A DICOM file, or the folder of a series; window: a preset, or centre and width."""

    type: Literal["dicom"] = "dicom"
    path: AnyPath
    series: int | None = None
    window: Window | None = None
    rate: Annotated[float, Field(gt=0)] | None = None
    max_pixels: Positive | None = None


class NiftiSource(Section):
    """A NIfTI volume, cut into slices; plane: how, None for that of the finest pixels."""

    type: Literal["nifti"] = "nifti"
    path: AnyPath
    plane: Literal["axial", "coronal", "sagittal"] | None = None
    volume: Annotated[int, Field(ge=0)] | None = None
    window: Window | None = None
    percentiles: tuple[Annotated[float, Field(ge=0, le=100)], Annotated[float, Field(ge=0, le=100)]] | None = None
    rate: Annotated[float, Field(gt=0)] | None = None
    max_pixels: Positive | None = None


class ModelOptions(Section):
    """A card's name or path, a folder, or a hub's "owner/name"; providers best first, or "auto" alone; timeout in
    seconds a frame.

    adaptive: whether frames that hardly differ from an earlier one take its mask. focus: whether the network of a matte
    sees the part of the frame where the subject is. fused: whether whole frames are made by one graph; None for where
    the network runs on a device and it can be. half: 16-bit floats, with TensorRT. device: which GPU, from 0.
    cuda_graph: whether a GPU replays its kernels as one; not where a test shows it cannot. score: what a detector's box
    must score, in place of the card's. prompts: what a model that
    reads looks for, in place of what its card names. threshold: from which probability on its masks are 255, else 0;
    None for soft masks.
    """

    name: str = "portrait"
    providers: tuple[str, ...] | None = None
    threads: Positive | None = None
    adaptive: bool | None = None
    focus: bool | None = None
    fused: bool | None = None
    timeout: Annotated[float, Field(gt=0)] | None = None
    half: bool | None = None
    device: Annotated[int, Field(ge=0)] | None = None
    cuda_graph: bool | None = None
    score: Annotated[float, Field(ge=0, lt=1)] | None = None
    prompts: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None


class SmoothFilter(Section):
    """Less flicker over time. follow: along the motion. tidy: a matte loses faint islands."""

    type: Literal["smooth"] = "smooth"
    follow: bool | None = None
    tidy: bool | None = None


class RefineFilter(Section):
    """Mask edges pulled onto the edges of the picture."""

    type: Literal["refine"] = "refine"


class MeasureAnalyzer(Section):
    """Counts and areas of what was found; spacing: width and height of a pixel in mm, where no header says it."""

    type: Literal["measure"] = "measure"
    names: tuple[str, ...] | None = None
    spacing: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] | None = None
    smallest: Positive | None = None
    objects: bool | None = None


class BackgroundEffect(Section):
    """What is painted over all but the regions: blur, blur:N, a picture, a video, #rrggbb or transparent."""

    type: Literal["background"] = "background"
    paint: str
    regions: tuple[str, ...] | None = None


class OverlayEffect(Section):
    """Colours and a legend over regions and classes; preset "road" chooses names and colours for driving.

    tags: names and scores beside instances, in place of the legend; None for where a detector finds them.
    """

    type: Literal["overlay"] = "overlay"
    preset: Literal["road"] | None = None
    names: tuple[str, ...] | None = None
    palette: dict[str, Rgb] | None = None
    opacity: Annotated[float, Field(ge=0, le=1)] | None = None
    lines: tuple[str, ...] | None = None
    legend: bool | None = None
    tags: bool | None = None
    partial: bool | None = None


class OutlineEffect(Section):
    """A line around regions and classes; width in percent of the frame's height."""

    type: Literal["outline"] = "outline"
    names: tuple[str, ...] | None = None
    rgb: tuple[Byte, Byte, Byte] | None = None
    width: Annotated[float, Field(gt=0, le=5)] | None = None


class VideoSink(Section):
    """A video file; codec is NAME[:key=value,...]."""

    type: Literal["video"] = "video"
    path: AnyPath
    codec: str | None = None
    audio: bool | None = None


class ImageSink(Section):
    """A folder with an image for each frame, named after `names` or numbered."""

    type: Literal["images"] = "images"
    folder: AnyPath
    format: str | None = None
    names: tuple[str, ...] | None = None


class MaskSink(Section):
    """A folder with PNG masks for each frame, named after `names` or numbered."""

    type: Literal["masks"] = "masks"
    folder: AnyPath
    names: tuple[str, ...] | None = None


class RecordSink(Section):
    """A JSON object for each frame, one a line."""

    type: Literal["records"] = "records"
    path: AnyPath


class NullSink(Section):
    """Nowhere, to measure the rest."""

    type: Literal["null"] = "null"


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
    | Annotated[DicomSource, Tag("dicom")]
    | Annotated[NiftiSource, Tag("nifti")]
    | _Plugin,
    _tag("source"),
]
FilterOptions: TypeAlias = Annotated[
    Annotated[SmoothFilter, Tag("smooth")] | Annotated[RefineFilter, Tag("refine")] | _Plugin, _tag("filter")
]
AnalyzerOptions: TypeAlias = Annotated[Annotated[MeasureAnalyzer, Tag("measure")] | _Plugin, _tag("analyzer")]
EffectOptions: TypeAlias = Annotated[
    Annotated[BackgroundEffect, Tag("background")]
    | Annotated[OverlayEffect, Tag("overlay")]
    | Annotated[OutlineEffect, Tag("outline")]
    | _Plugin,
    _tag("effect"),
]
SinkOptions: TypeAlias = Annotated[
    Annotated[VideoSink, Tag("video")]
    | Annotated[ImageSink, Tag("images")]
    | Annotated[MaskSink, Tag("masks")]
    | Annotated[RecordSink, Tag("records")]
    | Annotated[NullSink, Tag("null")]
    | _Plugin,
    _tag("sink"),
]


class RunOptions(Section):
    """How frames are let through: "block" loses none, "latest" keeps up, "auto" asks the source."""

    policy: Literal["auto", "block", "latest"] = "auto"


class Config(Section):
    """A whole run; everything in the order in which it happens.

    filters, effects: None for those that suit the model (`rtseg.build` and `docs/config.md` say which), () for none.
    """

    source: SourceOptions | None = None
    model: ModelOptions = ModelOptions()
    filters: tuple[FilterOptions, ...] | None = None
    analyzers: tuple[AnalyzerOptions, ...] = ()
    effects: tuple[EffectOptions, ...] | None = None
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
    ("source", "dicom"): DicomSource,
    ("source", "nifti"): NiftiSource,
    ("analyzer", "measure"): MeasureAnalyzer,
    ("filter", "smooth"): SmoothFilter,
    ("filter", "refine"): RefineFilter,
    ("effect", "background"): BackgroundEffect,
    ("effect", "overlay"): OverlayEffect,
    ("effect", "outline"): OutlineEffect,
    ("sink", "video"): VideoSink,
    ("sink", "images"): ImageSink,
    ("sink", "masks"): MaskSink,
    ("sink", "records"): RecordSink,
    ("sink", "null"): NullSink,
}
"""Every built-in component and its options; a test holds it against the registry and the constructors."""


_TABLES: dict[str, type[Section]] = {"model": ModelOptions, "run": RunOptions}


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
