"""Energy while something runs: the processor's own counters (RAPL) and NVIDIA's driver, where they can be read."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
_EVERY = 0.2
"""Seconds between two questions to the driver."""


@dataclass
class Energy:
    """What was spent in a block, of the whole machine, idle power included; None where it cannot be read.

    cpu_joules: of all packages. gpu_joules: mean power of all GPUs times seconds. unreadable: why, by part.
    """

    seconds: float = 0.0
    cpu_joules: float | None = None
    gpu_joules: float | None = None
    unreadable: dict[str, str] = field(default_factory=dict)


@contextmanager
def metered(powercap: Path = POWERCAP) -> Iterator[Energy]:
    """Measure a block; the figures are there when it has ended."""
    energy = Energy()
    before, reason = _counters(powercap)
    gpu = _Gpu()
    started = time.monotonic()
    with gpu:
        yield energy
    energy.seconds = time.monotonic() - started
    after, _ = _counters(powercap)
    if before and before.keys() == after.keys():
        energy.cpu_joules = sum(_between(before[path], after[path], path) for path in before) / 1e6
    else:
        energy.unreadable["cpu"] = reason or "the counters changed meanwhile"
    if gpu.watts:
        energy.gpu_joules = sum(gpu.watts) / len(gpu.watts) * energy.seconds
    else:
        energy.unreadable["gpu"] = gpu.reason


def _counters(powercap: Path) -> tuple[dict[Path, int], str]:
    """Microjoules of every package, by folder; and why there are none."""
    found: dict[Path, int] = {}
    try:
        for zone in sorted(powercap.glob("intel-rapl:*")):  # AMD's too; parts of a package have a second colon
            if zone.name.count(":") == 1:
                found[zone] = int((zone / "energy_uj").read_text())
    except (OSError, ValueError) as error:
        return {}, f"RAPL cannot be read ({getattr(error, 'strerror', None) or error}): run as root"
    return found, "" if found else f"no RAPL counters in {powercap}"


def _between(before: int, after: int, zone: Path) -> int:
    """Microjoules from one reading to the next; counters start again from 0 behind their range."""
    if after >= before:
        return after - before
    return after - before + int((zone / "max_energy_range_uj").read_text()) + 1


class _Gpu:
    """Asks nvidia-smi for watts again and again, in a thread."""

    def __init__(self) -> None:
        self.watts: list[float] = []
        self.reason = "no nvidia-smi here"
        self._command = shutil.which("nvidia-smi")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask, name="rtseg-power", daemon=True)

    def __enter__(self) -> None:
        if self._command:
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._command:
            self._thread.join()

    def _ask(self) -> None:
        assert self._command is not None
        question = [self._command, "--query-gpu=power.draw", "--format=csv,noheader,nounits"]
        while True:
            try:
                said = subprocess.run(question, capture_output=True, text=True, check=True, timeout=10).stdout
                self.watts.append(sum(float(line) for line in said.split()))
            except (OSError, subprocess.SubprocessError, ValueError) as error:
                self.reason = f"nvidia-smi tells no power: {str(error).splitlines()[0]}"
                return
            if self._stop.wait(_EVERY):
                return
