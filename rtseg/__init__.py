"""Real-time video segmentation.

`run` takes a file all the way, `stream` is for loops of one's own, `load_pipeline` for frames of one's own, `segment`
for single pictures. Everything else that is public stands in `__all__` and is imported when it is first used, so that
`import rtseg` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rtseg.api import load_pipeline, run
    from rtseg.config import Config, parse_config, read_config
    from rtseg.errors import (
        ConfigError,
        DependencyMissing,
        EngineError,
        FrameError,
        ModelError,
        RtsegError,
        SinkError,
        SourceError,
    )
    from rtseg.generators import astream, stream
    from rtseg.pipeline import Pipeline
    from rtseg.segmenting import ImageSegmenter, segment
    from rtseg.segments import ImageSegment, Segments, as_coco, as_label_map
    from rtseg.stats import StageTimes, Stats
    from rtseg.types import (
        Analyzer,
        Blur,
        Clear,
        Colour,
        Effect,
        Filter,
        Frame,
        Instances,
        Keep,
        Layer,
        Observation,
        Output,
        Panoptic,
        Picture,
        Regions,
        Segmentation,
        Segmenter,
        Semantic,
        Sink,
        Size,
        Solid,
        Source,
        StreamInfo,
        masks_of,
    )

__all__ = [
    "Analyzer",
    "Blur",
    "Clear",
    "Colour",
    "Config",
    "ConfigError",
    "DependencyMissing",
    "Effect",
    "EngineError",
    "Filter",
    "Frame",
    "FrameError",
    "ImageSegment",
    "ImageSegmenter",
    "Instances",
    "Keep",
    "Layer",
    "ModelError",
    "Observation",
    "Output",
    "Panoptic",
    "Picture",
    "Pipeline",
    "Regions",
    "RtsegError",
    "Segmentation",
    "Segmenter",
    "Segments",
    "Semantic",
    "Sink",
    "SinkError",
    "Size",
    "Solid",
    "Source",
    "SourceError",
    "StageTimes",
    "Stats",
    "StreamInfo",
    "as_coco",
    "as_label_map",
    "astream",
    "load_pipeline",
    "masks_of",
    "parse_config",
    "read_config",
    "run",
    "segment",
    "stream",
]

_MODULES = ("errors", "stats", "types", "pipeline", "config", "api", "generators", "segments", "segmenting")
"""Where the names of `__all__` are, cheapest import first."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("rtseg")
    for module in _MODULES if name in __all__ else ():
        if (found := getattr(importlib.import_module(f"rtseg.{module}"), name, None)) is not None:
            globals()[name] = found
            return found
    raise AttributeError(f"module 'rtseg' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
