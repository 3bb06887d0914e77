"""Everything that `rtseg bench -o` measures, in order: each measured program is a process of its own."""

from __future__ import annotations

import contextlib
import datetime
import json
import statistics
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rtseg.bench import clips, start, streams
from rtseg.bench.adaptive import Fidelity
from rtseg.bench.device import EngineTime
from rtseg.bench.job import Job, Report
from rtseg.bench.machine import machine, watched
from rtseg.bench.measure import Run, interleaved, median_report, run_child, run_program
from rtseg.bench.power import Energy, metered
from rtseg.bench.results import ClipResult, Results, SizeResult, StartResult
from rtseg.bench.settings import ENCODER, Settings
from rtseg.build import build_pipeline, build_source, default_effects, is_matte
from rtseg.config import BackgroundEffect, Config, VideoSource
from rtseg.errors import ConfigError
from rtseg.sinks.files import make_folder
from rtseg.store import cache_folder, find_card

Progress = Callable[[str], None]
"""Told what is measured next."""


def measure(config: Config, settings: Settings, *, peers: Mapping[str, Any], progress: Progress) -> Results:
    """Measure a run: its source scaled to each size, its model and effects; its sinks are replaced by H.264.

    Clips are kept in the cache folder. Raises RtsegError: what building the run raises, before anything is measured,
    and LoopFailed for a program that ends with an error.
    """
    if config.source is None:
        raise ConfigError("nothing to measure: give an input, or a [source] table in the configuration file")
    build_pipeline(config)  # what is wrong with it is said here, in a line, and not by a child
    folder = make_folder(cache_folder() / "bench")
    with tempfile.TemporaryDirectory(dir=folder, prefix="run-") as scratch, watched() as load:
        suite = _Suite(config, settings, folder, Path(scratch), progress)
        first = next(iter(settings.sizes))
        sizes = {name: suite.size(name) for name in settings.sizes}
        small = suite.job(first)
        compared = tuple(suite.clip(path) for path in settings.inputs) or (suite.same_clip(sizes),)
        started = suite.start(small)
        engine, why = suite.engine(small)
        found = None
        if settings.streams:
            progress("streams")
            found = tuple(streams.measure([Path(small.clip)], config=config, seconds=settings.frames / clips.RATE))
    background, effect = _effect(config)
    unmeasured = dict(why)
    if found is None:
        unmeasured["streams at once"] = "left out of a quick suite"
    for size in sizes.values():
        unmeasured |= {f"energy, {part}": reason for part, reason in size.energy.unreadable.items()}
    if not peers:
        unmeasured["peers"] = "no --peers FILE was given"
    return Results(
        input=_name(config),
        effect=effect,
        background=background,
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        machine=machine(),
        sizes=sizes,
        clips=compared,
        start=started,
        engine=engine,
        streams=found,
        load=load.warning,
        rounds=settings.rounds,
        unmeasured=unmeasured,
        peers=peers,
    )


@dataclass
class _Suite:
    config: Config
    settings: Settings
    folder: Path
    scratch: Path
    progress: Progress

    def job(self, name: str) -> Job:
        """What programs are told at a size; makes the clip where it is missing."""
        size = self.settings.sizes[name]
        frames = self.settings.frames_at(size)
        self.progress(f"{name}: the input, scaled")
        clip = clips.clip(self.folder, size, frames, self.config.source)
        return self._job(clip, size, frames)

    def _job(self, clip: Path, size: tuple[int, int], frames: int) -> Job:
        return Job(
            clip=str(clip),
            output=str(self.scratch / "output.mp4"),
            frames=frames,
            width=size[0],
            height=size[1],
            rate=clips.RATE,
            background="",
            encoder=ENCODER | {"threads": "1"},
            model="",
            composited=str(self.scratch / "composited.i420"),
            config=plain(self.config, adaptive=False),
        )

    def size(self, name: str) -> SizeResult:
        """Everything at a size."""
        job = self.job(name)
        sparing = replace(job, config=plain(self.config, adaptive=True))
        self.progress(f"{name}: composited pictures, for the floor")
        run_child("rtseg.bench.whole", replace(job, capture=True))
        energies: list[Energy] = []

        def every() -> Run:
            with metered() as energy:
                run = run_program("rtseg.bench.whole", job)
            energies.append(energy)
            return run

        runs = interleaved(
            {
                "floor": lambda: run_program("rtseg.bench.floor", job),
                "network": lambda: run_program("rtseg.bench.network", job),
                "every": every,
                "adaptive": lambda: run_program("rtseg.bench.whole", sparing),
            },
            rounds=self.settings.rounds,
            before=lambda program, number: self.progress(f"{name}: {program}, round {number + 1}"),
        )
        Path(job.composited).unlink()
        self.progress(f"{name}: stages")
        stages = json.loads(run_child("rtseg.bench.stages", job, str(max(2, self.settings.rounds))))
        return SizeResult(
            width=job.width,
            height=job.height,
            frames=job.frames,
            programs={program: median_report(of) for program, of in runs.items()},
            spread={program: tuple(run.report.cpu_ms for run in of) for program, of in runs.items()},
            stages=stages,
            paced={kind: self._paced(name, kind, one) for kind, one in (("every", job), ("adaptive", sparing))},
            energy=_total(energies),
            energy_frames=job.frames * len(energies),
        )

    def _paced(self, name: str, kind: str, job: Job) -> Report:
        self.progress(f"{name}: {kind}, paced at {job.rate} frames a second")
        return run_program("rtseg.bench.whole", replace(job, paced=True)).report

    def same_clip(self, sizes: Mapping[str, SizeResult]) -> ClipResult:
        """Adaptive on the input itself, where no other videos are given: at 720p, or at the first size."""
        name = "720p" if "720p" in sizes else next(iter(sizes))
        self.progress(f"adaptive: masks at {name}")
        fidelity = Fidelity(**json.loads(run_child("rtseg.bench.adaptive", self.job(name))))
        programs = sizes[name].programs
        title = f"{_name(self.config)} at {name}"
        return ClipResult(title, fidelity, programs["every"].cpu_ms, programs["adaptive"].cpu_ms)

    def clip(self, path: Path) -> ClipResult:
        """Adaptive beside every frame on a video as it is."""
        with contextlib.closing(build_source(VideoSource(path=path))) as source:
            size = source.info.size or (0, 0)
        job = self._job(path, size, self.settings.frames)
        self.progress(f"adaptive: masks of {path.name}")
        fidelity = Fidelity(**json.loads(run_child("rtseg.bench.adaptive", job)))
        job = replace(job, frames=fidelity.frames)
        sparing = replace(job, config=plain(self.config, adaptive=True))
        runs = interleaved(
            {
                "every": lambda: run_program("rtseg.bench.whole", job),
                "adaptive": lambda: run_program("rtseg.bench.whole", sparing),
            },
            rounds=self.settings.rounds,
            before=lambda program, number: self.progress(f"{path.name}: {program}, round {number + 1}"),
        )
        costs = {program: median_report(of).cpu_ms for program, of in runs.items()}
        return ClipResult(path.stem, fidelity, costs["every"], costs["adaptive"])

    def start(self, job: Job) -> StartResult:
        """Fresh processes."""
        self.progress("start: import and first frame")
        imports = tuple(start.import_ms() for _ in range(self.settings.starts))
        firsts = [start.first_frame(job) for _ in range(self.settings.starts)]
        return StartResult(
            import_ms=statistics.median(imports),
            first_frame_s=statistics.median(first.wall_s for first in firsts),
            first_frame_cpu_s=statistics.median(first.cpu_s for first in firsts),
            imports=imports,
            first_frames=tuple(first.wall_s for first in firsts),
        )

    def engine(self, job: Job) -> tuple[dict[str, EngineTime], dict[str, str]]:
        """The engine alone, and why something of it was not measured."""
        self.progress("the engine alone")
        found = json.loads(run_child("rtseg.bench.device", job))
        times = {name: EngineTime(**found[name]) for name in ("network", "fused") if found[name] is not None}
        return times, {"fused graph": found["why"]} if "why" in found else {}


def plain(config: Config, *, adaptive: bool) -> dict[str, Any]:
    """A run as JSON's values, without source and sinks. Adaptive runs are not fused."""
    model = config.model.model_copy(update={"adaptive": adaptive, **({"fused": False} if adaptive else {})})
    changed = config.model_copy(update={"model": model, "source": None, "sinks": ()})
    return changed.model_dump(mode="json", exclude_none=True)


def _effect(config: Config) -> tuple[str | None, str]:
    """What is behind the person, as targets know it, and all effects in words."""
    card = find_card(config.model.name)
    effects = default_effects(card) if config.effects is None else config.effects
    words = [f"{e.type} {e.paint}" if isinstance(e, BackgroundEffect) else e.type for e in effects]
    told = f"model {card.name}, {', '.join(words) or 'no effect'}"
    paints = [e.paint for e in effects if isinstance(e, BackgroundEffect)]
    if len(effects) != 1 or len(paints) != 1 or not is_matte(card):
        return None, told
    kind = paints[0].partition(":")[0]
    return "blur" if kind == "blur" else None if kind == "transparent" or kind.startswith("#") else "picture", told


def _name(config: Config) -> str:
    source = config.source
    path = getattr(source, "path", None)
    return path.name if isinstance(path, Path) else getattr(source, "type", "?")


def _total(energies: list[Energy]) -> Energy:
    total = Energy(seconds=sum(energy.seconds for energy in energies))
    for energy in energies:
        total.unreadable |= energy.unreadable
    if "cpu" not in total.unreadable:
        total.cpu_joules = sum(energy.cpu_joules or 0.0 for energy in energies)
    if "gpu" not in total.unreadable:
        total.gpu_joules = sum(energy.gpu_joules or 0.0 for energy in energies)
    return total
