"""Compared programs by name: rtseg, its floor and its network are those of `rtseg bench`, the others are loops here."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

from rtseg.bench import measure
from rtseg.bench.job import Job
from rtseg.bench.machine import ROOT, Load, machine, watched
from rtseg.bench.measure import LoopFailed, Run, interleaved, median_report

__all__ = [
    "ROOT",
    "Load",
    "LoopFailed",
    "Run",
    "interleaved",
    "machine",
    "median_report",
    "portrait_config",
    "run_child",
    "run_loop",
    "watched",
]

_OURS = {"rtseg": "rtseg.bench.whole", "floor": "rtseg.bench.floor", "network": "rtseg.bench.network"}


def portrait_config(background: str) -> dict[str, Any]:
    """The run that is compared: the portrait model, its usual filters, "blur" or a picture's path behind the person."""
    return {"model": {"name": "portrait"}, "effects": [{"type": "background", "paint": background}]}


def run_child(name: str, job: Job, *, python: str = sys.executable) -> str:
    """Run a program on a job in a process of its own; the last line that it printed."""
    return measure.run_child(_module(name), _configured(job), python=python)


def run_loop(name: str, job: Job, *, python: str = sys.executable) -> Run:
    """Run a compared program and take its report; LoopFailed too where it lost frames."""
    return measure.run_program(_module(name), _configured(job), python=python)


def _module(name: str) -> str:
    return _OURS.get(name, f"benchmarks.loops.{name}")


def _configured(job: Job) -> Job:
    return job if job.config else dataclasses.replace(job, config=portrait_config(job.background))
