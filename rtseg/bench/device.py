"""The engine alone, as TensorRT's own `trtexec` measures it, and what crosses the bus: a program that prints JSON.

Bytes are counted from the bound buffers: on the CPU nothing crosses. Runs are timed by the wall, one after the other,
so that a device's own work counts; the buffers are copied in each, as they are in a pipeline.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rtseg.bench.job import Job, read_job
from rtseg.bench.network import inputs_of, open_engine
from rtseg.bench.whole import configured
from rtseg.build import build_pipeline, build_source
from rtseg.errors import RtsegError
from rtseg.fused_pipeline import FusedPipeline
from rtseg.inference.engine import OrtEngine
from rtseg.store import find_card

_SETTLE = 10


class Bound(Protocol):
    """Of an engine, what says how much is copied for a run."""

    @property
    def providers(self) -> tuple[str, ...]:
        """Short names, best first."""
        ...

    @property
    def inputs(self) -> Mapping[str, NDArray[Any]]:
        """The bound input buffers."""
        ...

    @property
    def outputs(self) -> Mapping[str, NDArray[Any]]:
        """The bound output buffers."""
        ...


@dataclass(frozen=True, slots=True)
class EngineTime:
    """Wall milliseconds of a run, and bytes that it moves: up to the device, and down from it."""

    device: str
    p50_ms: float
    p95_ms: float
    p99_ms: float
    runs: int
    up_bytes: int
    down_bytes: int

    @property
    def fps(self) -> float:
        """Runs a second, one after the other."""
        return 1e3 / self.p50_ms


def bus_bytes(engine: Bound) -> tuple[int, int]:
    """Bytes of the inputs and of the outputs that cross the bus in a run: none where the run is on the CPU."""
    if engine.providers[0] == "cpu":
        return 0, 0
    return sum(a.nbytes for a in engine.inputs.values()), sum(a.nbytes for a in engine.outputs.values())


def time_engine(engine: OrtEngine, *, runs: int) -> EngineTime:
    """Run on what the inputs hold, again and again."""
    times = []
    for number in range(_SETTLE + runs):
        started = time.perf_counter()
        engine.run()
        if number >= _SETTLE:
            times.append((time.perf_counter() - started) * 1e3)
    p50, p95, p99 = (float(value) for value in np.percentile(times, (50, 95, 99)))
    up, down = bus_bytes(engine)
    return EngineTime(engine.providers[0], p50, p95, p99, runs, up, down)


def measure(job: Job) -> dict[str, Any]:
    """The network, and the fused graph of the job's frames; "fused" is None with the reason where there is none."""
    card, engine = open_engine(job)
    engine.inputs[card.input.name][:] = inputs_of(job, card, engine)[0]
    found: dict[str, Any] = {"network": asdict(time_engine(engine, runs=job.frames)), "fused": None}
    try:
        found["fused"] = asdict(time_engine(fused_engine(job), runs=job.frames))
    except RtsegError as error:
        found["why"] = str(error)
    return found


def fused_engine(job: Job) -> OrtEngine:
    """The engine of the graph that makes the job's whole frames, after its first; RtsegError where none can."""
    config = configured(job)
    assert config.source is not None
    model = config.model.model_copy(update={"adaptive": False, "fused": False})
    settings = {key: value for key, value in model.options().items() if key in ("providers", "threads")}
    opened: list[OrtEngine] = []

    def opener(path: Path) -> OrtEngine:
        opened.append(OrtEngine(path, timeout=None, **settings))
        return opened[-1]

    card = find_card(model.name)
    plain = build_pipeline(config.model_copy(update={"model": model}), card=card)
    fused = FusedPipeline(card, plain, opener)
    source = build_source(config.source)
    try:
        fused(next(iter(source)))
    finally:
        source.close()
    if not opened or fused.counts["unfused"]:
        raise RtsegError("the frames of this run cannot be fused: its log says why")
    return opened[-1]


def main() -> None:
    """The job is the only argument; its frames are the runs that are timed."""
    json.dump(measure(read_job()), sys.stdout)
    print(flush=True)


if __name__ == "__main__":
    main()
