"""The preset "auto": a model is measured once, at a source's size, and the best that keeps up with it is taken."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from rtseg import registry
from rtseg.cards import Card
from rtseg.config import (
    CameraSource,
    DicomSource,
    ImageSource,
    NiftiSource,
    SampleSource,
    ScreenSource,
    SourceOptions,
    SyntheticSource,
    VideoSource,
)
from rtseg.engines import build_segmenter
from rtseg.presets import PRESETS, SHARE, choose, measure
from rtseg.runner import opencv_in_one_thread
from rtseg.sections import ModelOptions
from rtseg.types import Filter, Size, StreamInfo
from rtseg.views import takes_views

log = logging.getLogger(__name__)


class Pace(NamedTuple):
    """What a source asks of a machine: the size of its frames, and how many come in a second; None: nobody waits."""

    size: Size
    rate: float | None


USUAL = Pace(Size(1280, 720), 30.0)
"""Of a live source that is not open yet, and of what a source does not say."""

_known: dict[str, str] = {}
_lock = threading.Lock()


def auto_preset(
    model: ModelOptions,
    card: Card,
    filters: Callable[[], Sequence[Filter]],
    pace: Pace,
    *,
    clock: Callable[[], float] = time.thread_time,
) -> str:
    """A preset's name; one process measures the same model at the same pace once. filters: makes those of the run.

    "fast" where the network runs on a device: there one graph makes whole frames, and this core's time says little.
    Raises what engines raise for a model that they cannot run.
    """
    bare = model.model_copy(update={"preset": None, "views": None, "focus": None})
    key = repr((bare, model.views, model.focus, card.name, pace))
    with _lock:
        if key not in _known:
            _known[key] = _chosen(model, bare, card, filters, pace, clock)
        return _known[key]


def pace_of(source: SourceOptions | None) -> Pace:
    """The pace of a source that is not open; files are opened for a moment. Raises what their sources raise."""
    match source:
        case ImageSource() | DicomSource() | NiftiSource():
            return Pace(USUAL.size, None)
        case CameraSource() | ScreenSource():
            size = USUAL.size if source.size is None else Size(*source.size)
            return Pace(size, USUAL.rate if source.rate is None else source.rate)
        case VideoSource() if not Path(source.path).is_file():  # a pipe can be opened once
            return USUAL
        case VideoSource() | SampleSource() | SyntheticSource():
            options = {key: value for key, value in source.options().items() if key != "hardware"}
            with contextlib.closing(registry.load("source", source.type)(**options)) as opened:
                return pace_in(opened.info)
        case _:
            return USUAL


def pace_in(info: StreamInfo) -> Pace:
    """The pace that an open source tells, and the usual one where it does not know."""
    return Pace(info.size or USUAL.size, float(info.rate) if info.rate else USUAL.rate)


def _chosen(
    model: ModelOptions,
    bare: ModelOptions,
    card: Card,
    filters: Callable[[], Sequence[Filter]],
    pace: Pace,
    clock: Callable[[], float],
) -> str:
    fast, *_ = PRESETS
    if model.fused or model.providers not in (None, ("cpu",), ("auto",)):
        log.info("preset %s: whole frames may be fused", fast)
        return fast
    segmenter = build_segmenter(bare, card)
    if (device := getattr(segmenter, "providers", ("cpu",))[0]) != "cpu":
        log.info("preset %s: the network runs on %s, where whole frames may be fused", fast, device)
        return fast
    takes = takes_views(card)
    with opencv_in_one_thread():  # as in the run; and a clock of this thread sees no others
        costs = measure(segmenter, filters(), card.input.size, pace.size, several=takes, clock=clock)
    several = model.views is None and not model.focus and takes
    expected = {
        name: costs.of(preset if several else replace(preset, views=model.views or 1))
        for name, preset in PRESETS.items()
    }
    name = choose(expected, pace.rate)
    log.info(
        "preset %s: %s CPU-ms a frame of %dx%d expected, %s",
        name,
        ", ".join(f"{each} {cost:.1f}" for each, cost in expected.items()),
        *pace.size,
        "and nobody waits"
        if pace.rate is None
        else f"{SHARE * 1000.0 / pace.rate:.1f} allowed at {pace.rate:g} a second",
    )
    return name
