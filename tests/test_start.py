"""How long rtseg takes to be there, and what that depends on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rtseg.bench import clips
from rtseg.bench.job import Job
from rtseg.bench.settings import ENCODER
from rtseg.bench.start import FIRST_FRAME_S, IMPORT_MS, first_frame, import_ms

HEAVY = ("onnxruntime", "cv2", "av", "torch", "pydantic", "numpy", "onnx", "rich", "typer")


def test_importing_rtseg_imports_nothing_heavy() -> None:
    script = "import sys, rtseg; print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "rtseg" in said.split()
    assert not set(HEAVY) & set(said.split())


def test_a_run_of_its_own_imports_nothing_of_many_streams() -> None:
    script = "import sys, rtseg.build; print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert "rtseg.build" in said
    assert not {"rtseg.streams", "rtseg.inference.scheduler", "rtseg.inference.pool"} & set(said)


def test_importing_rtseg_takes_no_time_that_anyone_notices() -> None:
    assert min(import_ms() for _ in range(5)) < IMPORT_MS


@pytest.mark.slow
def test_the_first_frame_is_out_within_a_second(tmp_path: Path) -> None:
    clip = clips.clip(tmp_path, (1280, 720), 3, None)
    job = Job(str(clip), str(tmp_path / "out.mp4"), 3, 1280, 720, clips.RATE, "", dict(ENCODER), "")
    # On a loaded machine the wall says little: what counts then is the CPU's time.
    assert min(min(first_frame(job)) for _ in range(3)) < FIRST_FRAME_S
