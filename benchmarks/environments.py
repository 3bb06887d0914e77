"""Environments of their own for programs whose packages do not go with rtseg's, made by pip at their first run."""

from __future__ import annotations

import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import LoopFailed


def environment(folder: Path, packages: Sequence[str]) -> str:
    """The Python of an environment with these packages, made in `folder`; LoopFailed where it cannot be."""
    python = folder / "bin" / "python"
    marker = folder / "ready"
    wanted = "\n".join(packages)
    if not marker.exists() or marker.read_text() not in ("", wanted):
        try:
            venv.create(folder, with_pip=True, clear=True)
            subprocess.run(
                [str(python), "-m", "pip", "install", "--quiet", *packages], check=True, capture_output=True, text=True
            )
        except subprocess.CalledProcessError as error:
            last = (error.stderr or error.stdout or str(error)).strip().splitlines()[-1]
            raise LoopFailed(
                f"{packages[0]} cannot be installed for Python {sys.version.split()[0]}: {last}"
            ) from error
        marker.write_text(wanted)
    return str(python)
