"""What the command line and keyword arguments ask for, as a `Config`; they override a file's."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from pydantic import TypeAdapter, ValidationError

from rtseg.cards import Task
from rtseg.config import (
    AnalyzerOptions,
    BackgroundEffect,
    CameraSource,
    Config,
    DicomSource,
    EffectOptions,
    FilterOptions,
    FramingOptions,
    HudEffect,
    ImageSink,
    ImageSource,
    MaskSink,
    MeasureAnalyzer,
    NiftiSource,
    OverlayEffect,
    RecordSink,
    SampleSource,
    ScreenSource,
    Section,
    SinkOptions,
    SourceOptions,
    StreamSource,
    SyntheticSource,
    VideoSink,
    VideoSource,
    parse_config,
    read_config,
)
from rtseg.errors import ConfigError
from rtseg.presets import check_preset
from rtseg.sections import PresetName, Window
from rtseg.store import clean_path
from rtseg.subject import parse_who

AnyPath: TypeAlias = str | PathLike[str]
S = TypeVar("S", bound=Section)

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".avif"})
"""Suffixes of still pictures; all others, .gif too, are taken for video."""

DICOM = frozenset({".dcm", ".dicom", ".ima"})
"""Suffixes of DICOM files; those without a suffix are known by how they begin."""


def configure(
    input: AnyPath | Sequence[AnyPath] | None = None,  # noqa: A002 - the word that users know
    output: AnyPath | None = None,
    *,
    config: AnyPath | Config | None = None,
    model: str | None = None,
    background: str | None = None,
    overlay: str | None = None,
    filters: str | None = None,
    framing: str | None = None,
    start: float | None = None,
    end: float | None = None,
    codec: str | None = None,
    masks: AnyPath | None = None,
    records: AnyPath | None = None,
    providers: Sequence[str] | None = None,
    threads: int | None = None,
    adaptive: bool | None = None,
    focus: bool | None = None,
    preset: PresetName | None = None,
    subject: str | Sequence[float] | None = None,
    keep_held: bool | None = None,
    fused: bool | None = None,
    hardware: str | None = None,
    window: str | None = None,
    measure: bool | None = None,
    prompts: str | Sequence[str] | None = None,
    task: Task | None = None,
    threshold: float | None = None,
    mask_threshold: float | None = None,
    overlap_mask_area_threshold: float | None = None,
) -> Config:
    """A run from options, over those of a file if there is one. Raises ConfigError.

    input: a video, a picture, a folder of pictures, a DICOM file or folder, a NIfTI file, "sample", "synthetic:GRAPH",
    the address of a stream (rtsp://HOST/PATH), "camera", "camera:1", "/dev/video0", "screen", or a list of pictures.
    output: a video, a folder, or a picture for a picture. overlay: "road", "drive", "all" or names joined by
    commas. filters: names joined by commas, or "none". framing: "body", "head", one of them with the most that it
    enlarges, such as "head:1.5", or "none". window: what of a scan is shown, "lung", "bone", "soft" or
    "CENTRE,WIDTH". measure: put counts and areas into the records. hardware: what decodes a video, "none", "auto" or a
    device such as "cuda". prompts: what a model that reads looks for, a list or joined by commas. task, threshold,
    mask_threshold, overlap_mask_area_threshold: as in `rtseg.segment`. subject: who is shown, "all", "largest", or the
    person at x and y, "0.3,0.5" or two numbers from 0 to 1. keep_held: with what they hold. preset: how good a matte is
    to be (`rtseg.presets`). Where neither file nor
    options name a model it is "portrait", or "road" for an overlay without a background; where no effect is named and
    there is an output, portrait blurs the background and any other model gets an overlay of all it knows.
    """
    base = config if isinstance(config, Config) else Config() if config is None else read_config(config)
    source = _through(window, _decoded_on(hardware, _source(base.source, input, start, end)))
    effects = _effects(base.effects, background, overlay)
    if model is None and "name" not in base.model.model_fields_set:
        kinds = {type(effect) for effect in effects or ()}
        model = "road" if kinds & {OverlayEffect, HudEffect} and BackgroundEffect not in kinds else "portrait"
    if framing is not None:
        base = base.model_copy(update={"framing": parse_framing(framing)})
    return _changed(
        base,
        source=source,
        model=_changed(
            base.model,
            name=model,
            providers=None if providers is None else tuple(providers),
            threads=threads,
            adaptive=adaptive,
            focus=focus,
            preset=None if preset is None else check_preset(preset),
            subject=None if subject is None else parse_who(subject),
            keep_held=keep_held,
            fused=fused,
            prompts=_split(prompts) if isinstance(prompts, str) else prompts if prompts is None else tuple(prompts),
            task=task,
            threshold=threshold,
            mask_threshold=mask_threshold,
            overlap_mask_area_threshold=overlap_mask_area_threshold,
        ),
        filters=None if filters is None else _filters(filters),
        analyzers=_analyzers(base, measure),
        effects=effects,
        sinks=_sinks(base.sinks, source, output, codec, masks, records),
    )


def _path(given: AnyPath) -> Path:
    try:
        return clean_path(given)
    except ValueError as error:
        raise ConfigError(f"{os.fspath(given)!r}: {error}") from error


def _changed(section: S, **values: Any) -> S:
    """The section with the values that are not None; the others stay."""
    return section.model_copy(update={key: value for key, value in values.items() if value is not None})


def _decoded_on(hardware: str | None, source: SourceOptions | None) -> SourceOptions | None:
    if hardware is None:
        return source
    if not isinstance(source, VideoSource):
        raise ConfigError(f"hardware {hardware!r} decodes videos: this input is none, so leave it out")
    return _changed(source, hardware=hardware)


def _through(window: str | None, source: SourceOptions | None) -> SourceOptions | None:
    if window is None:
        return source
    if not isinstance(source, DicomSource | NiftiSource):
        raise ConfigError(f"window {window!r} is for DICOM and NIfTI: this input is neither, so leave it out")
    try:
        return _changed(
            source, window=TypeAdapter(Window).validate_python(window.split(",") if "," in window else window)
        )
    except ValidationError:
        raise ConfigError(
            f"window {window!r} is none: use lung, bone, soft, or a centre and a width of at least 1, such as 40,400"
        ) from None


def _analyzers(base: Config, measure: bool | None) -> tuple[AnalyzerOptions, ...] | None:
    if measure is None:
        return None
    others = tuple(analyzer for analyzer in base.analyzers if not isinstance(analyzer, MeasureAnalyzer))
    kept = tuple(analyzer for analyzer in base.analyzers if isinstance(analyzer, MeasureAnalyzer))
    return (*others, *(kept or (MeasureAnalyzer(),))) if measure else others


def _source(
    base: SourceOptions | None, given: AnyPath | Sequence[AnyPath] | None, start: float | None, end: float | None
) -> SourceOptions | None:
    source = base if given is None else _source_of(given)
    if start is None and end is None:
        return source
    if not isinstance(source, VideoSource):
        raise ConfigError("start and end cut videos: this input is none, so leave them out")
    source = _changed(source, start=start, end=end)
    if source.start is not None and source.end is not None and source.end <= source.start:
        raise ConfigError(f"end {source.end:g} s must be after start {source.start:g} s")
    return source


def _source_of(given: AnyPath | Sequence[AnyPath]) -> SourceOptions:
    if not isinstance(given, str | PathLike):
        if not given:
            raise ConfigError("the list of pictures is empty: give at least one")
        return ImageSource(paths=tuple(_path(path) for path in given))
    text = os.fspath(given)
    if (live := _live_source_of(text)) is not None:
        return live
    path = _path(text)
    if text.startswith("synthetic:"):
        return SyntheticSource(graph=text.removeprefix("synthetic:"))
    if text == "sample" and not path.exists():
        return SampleSource()
    if (scan := scan_at(path)) is not None:
        return scan
    if path.is_dir() or path.suffix.lower() in PICTURES:
        return ImageSource(paths=(path,))
    return VideoSource(path=path)


def _live_source_of(text: str) -> SourceOptions | None:
    """A stream, a camera or the screen; one that cannot be opened at all is told at once."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text):
        return StreamSource(url=text, attempts=1)
    if re.fullmatch(r"/dev/video\d+", text):
        return CameraSource(device=text, attempts=1)
    word, _, which = text.partition(":")
    if word == "camera" and not Path(text).exists():
        return CameraSource(device=int(which) if which.isdecimal() else which or None, attempts=1)
    if text == "screen" and not Path(text).exists():
        return ScreenSource(attempts=1)
    return None


def scan_at(path: Path) -> DicomSource | NiftiSource | None:
    """The source of a scan; None for anything else."""
    if path.name.lower().endswith((".nii", ".nii.gz")):
        return NiftiSource(path=path)
    return DicomSource(path=path) if _is_scan(path) else None


def _is_scan(path: Path) -> bool:
    """Whether it is DICOM: by its suffix, or by its beginning where it has none; of a folder, one of its files."""
    if not path.is_dir():
        return path.suffix.lower() in DICOM or (not path.suffix and _begins_as_dicom(path))
    if any(file.suffix.lower() in PICTURES for file in path.iterdir()):
        return False
    few = (file for file in islice(path.rglob("*"), 200) if file.is_file())  # series lie some folders deep on discs
    return any(_is_scan(file) or _begins_as_dicom(file) for file in few)


def _begins_as_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return path.is_file() and file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _effects(
    base: tuple[EffectOptions, ...] | None, background: str | None, overlay: str | None
) -> tuple[EffectOptions, ...] | None:
    if background is None and overlay is None:
        return base
    effects = list(base or ())
    if background is not None:
        effects = [e for e in effects if not isinstance(e, BackgroundEffect)]
        if background != "none":
            effects.insert(0, BackgroundEffect(paint=background))
    if overlay is not None:
        effects = [e for e in effects if not isinstance(e, OverlayEffect | HudEffect)]
        if overlay != "none":
            effects.append(_overlay(overlay))
    return tuple(effects)


def _overlay(text: str) -> OverlayEffect | HudEffect:
    match text:
        case "road":
            return OverlayEffect(preset="road")
        case "drive":
            return HudEffect()
        case "all":
            return OverlayEffect()
        case _:
            return OverlayEffect(names=_split(text))


def _filters(text: str) -> tuple[FilterOptions, ...]:
    tables = [] if text == "none" else [{"type": name} for name in _split(text)]
    return parse_config({"filters": tables}, origin=f"filters {text!r}").filters or ()


def parse_framing(text: str) -> FramingOptions | None:
    """What `--framing` means; None for "none"."""
    if text == "none":
        return None
    look, limited, zoom = text.partition(":")
    try:
        return FramingOptions.model_validate({"look": look} | ({"max_zoom": zoom} if limited else {}))
    except ValidationError:
        raise ConfigError(
            f"framing {text!r} is none: use body, head, either with the most it enlarges, over 1 to 4, such as "
            "head:1.5, or none"
        ) from None


def _sinks(
    base: Sequence[SinkOptions],
    source: SourceOptions | None,
    output: AnyPath | None,
    codec: str | None,
    masks: AnyPath | None,
    records: AnyPath | None,
) -> tuple[SinkOptions, ...]:
    sinks = list(base)
    if output is not None:
        _put(sinks, _sink_of(_path(output), source))
    if codec is not None:
        videos = [i for i, sink in enumerate(sinks) if isinstance(sink, VideoSink)]
        if not videos:
            raise ConfigError(f"codec {codec!r} needs an output that is a video, such as -o out.mp4")
        for i in videos:
            sinks[i] = sinks[i].model_copy(update={"codec": codec})
    if masks is not None:
        _put(sinks, MaskSink(folder=_path(masks)))
    if records is not None:
        _put(sinks, RecordSink(path=_path(records)))
    return tuple(sinks)


def _put(sinks: list[SinkOptions], sink: Section) -> None:
    """Change the first sink of that type, which keeps its other options, or add the sink."""
    for i, other in enumerate(sinks):
        if type(other) is type(sink):
            sinks[i] = other.model_copy(update=sink.options())
            return
    sinks.append(sink)  # type: ignore[arg-type]


def _sink_of(path: Path, source: SourceOptions | None) -> Section:
    suffix = path.suffix.lower()
    if path.is_dir() or not suffix:
        return ImageSink(folder=path)
    if suffix not in PICTURES:
        return VideoSink(path=path)
    if isinstance(source, ImageSource) and len(source.paths) == 1 and not source.paths[0].is_dir():
        return ImageSink(folder=path.parent, format=suffix[1:], names=(path.stem,))
    raise ConfigError(f"{path} is one picture, but the input gives many: name a video (out.mp4) or a folder (out/)")


def _split(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise ConfigError(f"{text!r} names nothing: give names joined by commas, all or none")
    return names
