"""Pictures and slices of scans through `ImageSegmenter`, as frames of a run: what `rtseg segment` does."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from rtseg import registry
from rtseg.build import Job, build
from rtseg.config import Config, FilterOptions, ImageSource, ModelOptions
from rtseg.loading import load_picture
from rtseg.pipeline import Pipeline
from rtseg.segmenting import ImageSegmenter
from rtseg.sources.images import picture_files
from rtseg.sources.passing import Passing
from rtseg.types import Frame, Segmentation, Sink, StreamInfo

_RATE = Fraction(25)


def build_stills(config: Config, *, more_sinks: Sequence[Sink] = ()) -> Job:
    """The run of `rtseg.build.build` with each frame answered as `rtseg.segment` answers it alone.

    Pictures are decoded as `segment` does it. A picture on which the network fails has an empty result, never that of
    another. Raises what `build` raises.
    """
    segmenter = StillSegmenter(config.model, config.filters)
    source = StillFiles(config.source.paths) if isinstance(config.source, ImageSource) else None
    return build(config, more_sinks=more_sinks, pipeline=Pipeline(segmenter, hold=0), source=source)


class StillFiles:
    """Frames from picture files that answer `resized` of their own size with the very pixels that were decoded.

    As `rtseg.sources.images.ImageFiles`, but by PIL, as everybody does it who trains and compares networks: FFmpeg's
    colours differ by some levels. Raises what that raises.
    """

    live = False

    def __init__(self, paths: Sequence[str | os.PathLike[str]]) -> None:
        self.paths = picture_files(paths)
        self._passing = Passing(_RATE)

    @property
    def info(self) -> StreamInfo:
        """The number of files."""
        count = len(self.paths)
        name = self.paths[0].name if count == 1 else f"{count} pictures"
        return StreamInfo(name=name, rate=_RATE, frames=count, seconds=float(count / _RATE), time_base=1 / _RATE)

    @property
    def failures(self) -> dict[Path, str]:
        """The files that could not be used so far, each with the reason."""
        return self._passing.failures

    @property
    def counts(self) -> Mapping[str, int]:
        """Pictures that could not be read so far."""
        return self._passing.counts

    def __iter__(self) -> Iterator[Frame]:
        return self._passing.frames(self.paths, lambda path: path, _read)

    def close(self) -> None:
        """End the iteration at the next picture."""
        self._passing.closed = True


class StillSegmenter:
    """`ImageSegmenter` as the segmenter of a run, with what `options` ask for; nothing is kept between frames."""

    def __init__(self, options: ModelOptions, filters: Sequence[FilterOptions] | None = None) -> None:
        made = None if filters is None else [registry.load("filter", f.type)(**f.options()) for f in filters]
        self._model = ImageSegmenter(options.name, providers=options.providers, threads=options.threads, filters=made)
        self._asked: dict[str, Any] = {"task": options.task, "prompts": options.prompts, **options.shares}
        self.names = options.prompts or self._model.card.names

    def __call__(self, frame: Frame) -> Segmentation:
        """The frame's segments, as `segment` finds them."""
        return replace(self._model.segmentation(frame.resized(frame.size), **self._asked), pts=frame.pts)

    def empty(self, frame: Frame) -> Segmentation:
        """Nothing anywhere."""
        return self._model.empty(frame)

    def reset(self) -> None:
        """Nothing is remembered."""


def _read(path: Path) -> Frame:
    picture = load_picture(path)
    return Frame.from_rgb(picture).with_resized(np.ascontiguousarray(picture))
