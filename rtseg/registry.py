"""Names of components: kind and name -> the class, imported only when it is asked for.

A new component of ours is one line in `BUILTIN`; other packages add theirs by entry points in the groups
`rtseg.sources`, `rtseg.segmenters`, `rtseg.filters`, `rtseg.analyzers`, `rtseg.effects` and `rtseg.sinks`.
This module imports nothing heavy, so that `rtseg --help` does not either.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from rtseg.errors import ConfigError, DependencyMissing

Kind: TypeAlias = Literal["source", "segmenter", "filter", "analyzer", "effect", "sink"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a component lives, "module:Class", and the extra of rtseg that installs what it needs (None: core)."""

    target: str
    extra: str | None = None


BUILTIN: Mapping[Kind, Mapping[str, Entry]] = {
    "source": {
        "video": Entry("rtseg.sources.video:VideoFile"),
        "images": Entry("rtseg.sources.images:ImageFiles"),
        "synthetic": Entry("rtseg.sources.synthetic:Synthetic"),
        "stream": Entry("rtseg.sources.stream:LiveVideo"),
        "camera": Entry("rtseg.sources.camera:Camera"),
        "screen": Entry("rtseg.sources.screen:Screen"),
        "sample": Entry("rtseg.sources.sample:Sample", extra="demo"),
        "dicom": Entry("rtseg.sources.dicom:DicomSlices", extra="medical"),
        "nifti": Entry("rtseg.sources.nifti:NiftiSlices", extra="medical"),
    },
    "segmenter": {
        "regions": Entry("rtseg.segmenters.regions:RegionSegmenter"),
        "semantic": Entry("rtseg.segmenters.semantic:SemanticSegmenter"),
        "touching": Entry("rtseg.segmenters.touching:TouchingSegmenter"),
        "yolo": Entry("rtseg.segmenters.yolo:YoloSegmenter"),
        "yolox": Entry("rtseg.segmenters.yolo:YoloSegmenter"),
        "queries": Entry("rtseg.segmenters.queries:QuerySegmenter"),
        "recurrent": Entry("rtseg.segmenters.recurrent:RecurrentSegmenter"),
        "prompted": Entry("rtseg.segmenters.prompted:PromptedSegmenter", extra="prompts"),
    },
    "filter": {
        "smooth": Entry("rtseg.filters.smooth:TemporalSmooth"),
        "refine": Entry("rtseg.filters.refine:EdgeRefine"),
        "subject": Entry("rtseg.filters.subject:Subject"),
    },
    "analyzer": {
        "measure": Entry("rtseg.analyzers.measure:Measure"),
        "lanes": Entry("rtseg.driving.lanes:LaneAnalyzer"),
        "gps": Entry("rtseg.driving.sidecars:Gps"),
        "obstacles": Entry("rtseg.driving.obstacles:Obstacles", extra="driving"),
    },
    "effect": {
        "background": Entry("rtseg.effects.background:Background"),
        "overlay": Entry("rtseg.effects.overlay:Overlay"),
        "outline": Entry("rtseg.effects.outline:Outline"),
        "hud": Entry("rtseg.driving.hud:Hud"),
    },
    "sink": {
        "video": Entry("rtseg.sinks.video:VideoWriter"),
        "images": Entry("rtseg.sinks.images:ImageFolder"),
        "masks": Entry("rtseg.sinks.masks:MaskFolder"),
        "records": Entry("rtseg.sinks.records:Records"),
        "null": Entry("rtseg.sinks.null:Null"),
        "stream": Entry("rtseg.sinks.stream:Stream"),
        "mjpeg": Entry("rtseg.sinks.mjpeg:Mjpeg"),
        "virtual_camera": Entry("rtseg.sinks.virtual_camera:VirtualCamera", extra="virtualcam"),
        "window": Entry("rtseg.sinks.window:Window"),
        "tables": Entry("rtseg.driving.tables:Tables"),
        "kafka": Entry("rtseg.driving.kafka:Kafka", extra="kafka"),
    },
}

# Shared objects that opencv-python expects from the system, and the Debian packages that have them.
_SYSTEM_LIBRARIES = {"libGL.so": "libgl1", "libgthread-2.0.so": "libglib2.0-0", "libglib-2.0.so": "libglib2.0-0"}


def entries(kind: Kind) -> dict[str, Entry]:
    """All components of a kind by name, ours and those of installed packages; ours cannot be replaced."""
    from importlib.metadata import entry_points  # 20 ms that a built-in name does not need

    others = {point.name: Entry(point.value) for point in entry_points(group=f"rtseg.{kind}s")}
    return {**others, **BUILTIN[kind]}


def load(kind: Kind, name: str) -> Any:
    """The class behind a name.

    Raises ConfigError for an unknown name, with those there are, and DependencyMissing where an import fails.
    """
    entry = BUILTIN[kind].get(name) or entries(kind).get(name)
    if entry is None:
        known = ", ".join(sorted(entries(kind))) or "none is installed"
        raise ConfigError(f"unknown {kind} {name!r}: use one of {known}")
    return import_target(entry.target, extra=entry.extra)


def import_target(target: str, *, extra: str | None = None) -> Any:
    """What "module:name" points to, or DependencyMissing with the line that installs what is missing."""
    module, _, attribute = target.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        raise explain_import(error, extra=extra) from error
    except AttributeError as error:
        raise ConfigError(f"{target!r} does not exist: {module} has no {attribute!r}; reinstall its package") from error


def explain_import(error: ImportError, *, extra: str | None = None) -> DependencyMissing:
    """Turn a failed import into what to install: the extra, the system package, or the module's own name."""
    if isinstance(error, DependencyMissing):
        return error
    if any(library in str(error) for library in _SYSTEM_LIBRARIES):
        packages = " ".join(dict.fromkeys(_SYSTEM_LIBRARIES.values()))
        return DependencyMissing(f"OpenCV needs a system library ({error}): apt install {packages}")
    if extra is not None:
        return DependencyMissing(f"{error}: pip install 'rtseg[{extra}]'")
    return DependencyMissing(f"{error}: reinstall with pip install --force-reinstall rtseg")
