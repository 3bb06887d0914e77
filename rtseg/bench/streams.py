"""Where `rtseg bench` takes the figures of many streams at once from."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from rtseg.config import Config

HOOK = "rtseg.scheduler:measure_streams"
"""A function of this name is called, if there is one: see `Measure`."""
LIMIT_MS = 33.0
"""The p99 latency above which no more streams are added."""


@dataclass(frozen=True, slots=True)
class StreamsResult:
    """So many streams at once, each paced at the clip's rate. dropped: of all streams; frames: that came out."""

    streams: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    cpu_ms: float
    frames: int
    dropped: int


Measure: TypeAlias = Callable[[Config, Path, float], Sequence[Mapping[str, Any]]]
"""The run, the clip and `LIMIT_MS`, to the fields of a `StreamsResult` for 1, 2, ... streams; the last is over it."""


def find_measure() -> Measure | None:
    """The function behind `HOOK`, None where this version of rtseg has none."""
    module, _, name = HOOK.partition(":")
    if importlib.util.find_spec(module) is None:
        return None
    return getattr(importlib.import_module(module), name, None)


def measure(config: Config, clip: Path) -> tuple[StreamsResult, ...] | None:
    """More and more streams at once; None where that cannot be measured."""
    found = find_measure()
    return None if found is None else tuple(StreamsResult(**row) for row in found(config, clip, LIMIT_MS))
