"""Runs programs as child processes, in turn, and reduces what they reported to medians."""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from rtseg.bench.job import Job, Report
from rtseg.bench.machine import ROOT
from rtseg.errors import RtsegError

T = TypeVar("T")


class LoopFailed(RtsegError, RuntimeError):
    """A measured program ended with an error or lost frames; the message holds the end of what it printed."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One child process: what it reported, and what the system says of the whole of it, start-up included."""

    report: Report
    process_cpu_s: float


def run_child(module: str, job: Job, *more: str, python: str = sys.executable, root: Path = ROOT) -> str:
    """Run a module on a job in a process of its own; the last line that it printed.

    root: the folder that `module` is imported from, and never from the current one. Raises LoopFailed.
    """
    command = [python, "-P", "-m", module, json.dumps(dataclasses.asdict(job)), *more]
    # No package of the user's own may stand in for one of an environment that was made for a peer.
    alone = {} if python == sys.executable else {"PYTHONNOUSERSITE": "1"}
    environment = os.environ | {"PYTHONPATH": str(root)} | alone
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0 or not done.stdout.strip():
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise LoopFailed(f"{module} ended with {done.returncode}:\n{tail}")
    return done.stdout.strip().splitlines()[-1]


def run_program(module: str, job: Job, *, python: str = sys.executable, root: Path = ROOT) -> Run:
    """Run a program and take its report; LoopFailed too where it lost frames without saying so."""
    before = os.times()
    report = Report(**json.loads(run_child(module, job, python=python, root=root)))
    after = os.times()
    if report.frames + report.dropped != job.frames:
        raise LoopFailed(f"{module} wrote {report.frames} frames of {job.frames}: not comparable")
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return Run(report, used)


def interleaved(
    steps: Mapping[str, Callable[[], T]],
    *,
    rounds: int,
    before: Callable[[str, int], None] = lambda _name, _round: None,
) -> dict[str, list[T]]:
    """Take every step once a round; the order turns by one each round, so that none always follows the same."""
    names = list(steps)
    found: dict[str, list[T]] = {name: [] for name in names}
    for number in range(rounds):
        turn = number % len(names)
        for name in [*names[turn:], *names[:turn]]:
            before(name, number)
            found[name].append(steps[name]())
    return found


def median_report(runs: Sequence[Run]) -> Report:
    """The median of every figure over the rounds, each taken by itself."""
    reports = [run.report for run in runs]
    middle = {
        field: statistics.median(getattr(report, field) for report in reports)
        for field in ("cpu_ms", "fps", "p50_ms", "p95_ms", "p99_ms", "peak_mb")
    }
    counts = {field: round(statistics.median(getattr(report, field) for report in reports)) for field in _COUNTS}
    return Report(**middle, **counts, versions=reports[0].versions)


_COUNTS = ("frames", "dropped")
