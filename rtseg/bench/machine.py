"""What figures belong to: the processor, the versions, the commit, and what else the machine did meanwhile."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The folder that has the package: the checkout, or site-packages."""
_PACKAGES = ("rtseg", "av", "numpy", "opencv-python", "onnxruntime-gpu", "onnxruntime")


@dataclass
class Load:
    """What else the machine did while we measured, in cores: work of other processes, and time the host took."""

    cores: int
    at_start: float | None
    foreign: float = 0.0
    stolen: float = 0.0

    @property
    def warning(self) -> str | None:
        """A sentence for the reader where the figures cannot be trusted, or None."""
        causes = []
        if self.at_start is not None and self.at_start > 0.5 * self.cores:
            causes.append(f"the load average was {self.at_start:.1f} before the start")
        if self.foreign > 0.1:
            causes.append(f"other processes used {self.foreign:.2f} cores")
        if self.stolen > 0.05:
            causes.append(f"the host took {self.stolen:.2f} cores away")
        if not causes:
            return None
        return f"loaded machine: {'; '.join(causes)}. Wall times are worthless, CPU times may be 10 % off."


@contextmanager
def watched() -> Iterator[Load]:
    """Watch the machine; the figures are there when the block has ended. Without /proc/stat they stay 0."""
    load = Load(os.cpu_count() or 1, os.getloadavg()[0] if hasattr(os, "getloadavg") else None)
    wall, own, (busy, stolen) = os.times().elapsed, _own_seconds(), _machine_seconds()
    yield load
    seconds = max(os.times().elapsed - wall, 1e-3)
    busy_after, stolen_after = _machine_seconds()
    load.foreign = max(0.0, busy_after - busy - (_own_seconds() - own)) / seconds
    load.stolen = (stolen_after - stolen) / seconds


def _own_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _machine_seconds() -> tuple[float, float]:
    """Busy and stolen seconds of all cores since boot."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0.0, 0.0
    user, nice, system, _, _, irq, soft, stolen = (int(field) for field in stat.read_text().split(maxsplit=9)[1:9])
    tick: int = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + irq + soft) / tick, stolen / tick


def machine() -> dict[str, str]:
    """What the figures belong to: processor, cores, memory, system, versions, commit."""
    described = {
        "cpu": _cpu_name(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "commit": _commit(),
    }
    for package in _PACKAGES:
        try:
            described[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return described


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    fields: dict[str, str] = {}
    for line in info.read_text().split("\n\n")[0].splitlines() if info.exists() else ():
        key, _, value = line.partition(":")
        fields[key.strip()] = value.strip()
    name = fields.get("model name") or platform.processor() or "unknown"
    family = f" family {fields['cpu family']} model {fields['model']}" if "cpu family" in fields else ""
    wide = " AVX-512" if "avx512f" in fields.get("flags", "") else " AVX2" if "avx2" in fields.get("flags", "") else ""
    return f"{name}{family}{wide}"


def _commit() -> str:
    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()  # fmt: skip

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != ROOT:
            return "unknown"  # an installed package, in an environment within somebody else's repository
        commit = git("rev-parse", "--short=12", "HEAD")
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "rtseg", "benchmarks", "models")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit} with local changes" if changed else commit
