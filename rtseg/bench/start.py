"""How long rtseg takes to be there: `import rtseg`, and the first frame out of a process that was just started."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import NamedTuple

from rtseg.bench.job import Job
from rtseg.bench.machine import ROOT
from rtseg.bench.measure import LoopFailed, run_child

IMPORT_MS = 150.0
FIRST_FRAME_S = 1.0
"""What both may take at most."""

_IMPORT = "import time; started = time.perf_counter(); import rtseg; print((time.perf_counter() - started) * 1e3)"


def import_ms() -> float:
    """Wall milliseconds of `import rtseg` in a fresh process; Python's own start is not counted."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", _IMPORT], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise LoopFailed(f"`import rtseg` failed:\n{done.stderr.strip()}")
    return float(done.stdout)


class FirstFrame(NamedTuple):
    """What a process took until the first frame of its job was encoded: seconds by the wall, and of the CPU.

    Where the machine has time for us, and one thread does nearly all, both are alike; a loaded one takes longer only
    by the wall.
    """

    wall_s: float
    cpu_s: float


def first_frame(job: Job) -> FirstFrame:
    """Start a process and let it run a job up to its first frame."""
    wall, cpu = run_child("rtseg.bench.first", job, repr(time.monotonic())).split()
    return FirstFrame(float(wall), float(cpu))
