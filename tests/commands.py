"""Runs the command line in this process, and as a child of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from rtseg.cli.main import main

RTSEG = (sys.executable, "-m", "rtseg")
PATTERN = "synthetic:testsrc2=size=160x90:rate=10:duration=0.5"
"""An input of five frames."""
ENDLESS = "synthetic:testsrc2=size=160x90:rate=10"


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def error(self) -> str:
        """The one line that an error is."""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0]


Rtseg = Callable[..., Result]


def runner(capsys: pytest.CaptureFixture[str]) -> Rtseg:
    """A function that runs `rtseg ARGUMENTS...` here."""

    def rtseg(*arguments: object) -> Result:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        code = ended.value.code
        said = capsys.readouterr()
        return Result(code if isinstance(code, int) else 0 if code is None else 1, said.out, said.err)

    return rtseg


def start(*arguments: object, **more: Any) -> subprocess.Popen[str]:
    """The same as a process."""
    command = [*RTSEG, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)


def portrait_photo(path: Path, *, size: tuple[int, int] = (120, 90)) -> Path:
    """A photograph of a person, as a file."""
    from rtseg.sources.sample import Sample

    frame = next(iter(Sample(seconds=0.1, size=size)))
    cv2.imwrite(str(path), frame.bgr)
    return path


def broken_picture(path: Path) -> Path:
    """The beginning of a PNG file."""
    done, data = cv2.imencode(".png", np.zeros((64, 64, 3), np.uint8))
    assert done
    path.write_bytes(data.tobytes()[:60])
    return path
