"""What a drive makes in its folder, and what an earlier drive left there."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from rtseg.driving.schema import TABLES
from rtseg.errors import ConfigError
from rtseg.reports import PAGE
from rtseg.sinks.files import failure

VIDEO, SUMMARY, CLIPS = "annotated.mp4", "summary.json", "clips"
_CLIP = re.compile(r"[a-z_]+-{1,2}\d+\.\w+(\.part)?")
"""An event's id and a suffix."""


def check_input(folder: Path, source: str) -> None:
    """Raise ConfigError where the input is of the drive that lies in the folder, and so would be taken away."""
    if any(_same(path, source) for path in _made_in(folder)):
        raise ConfigError(f"{source} is of the drive that {folder} has already: give another folder")


def clear_folder(folder: Path) -> None:
    """Take away what an earlier drive made there, so that nothing of two drives is side by side.

    Other files stay. Raises SinkError.
    """
    for path in list(_made_in(folder)):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise failure(error, path) from error
    with contextlib.suppress(OSError):  # not there, or somebody has put files of his own into it
        (folder / CLIPS).rmdir()


def _made_in(folder: Path) -> Iterator[Path]:
    names = [VIDEO, SUMMARY, PAGE, *(f"{table}.{kind}" for table in TABLES for kind in ("jsonl", "parquet"))]
    yield from (path for name in names if (path := folder / name).is_file())
    clips = folder / CLIPS
    if clips.is_dir():
        yield from (path for path in sorted(clips.iterdir()) if _CLIP.fullmatch(path.name) and path.is_file())


def _same(path: Path, other: str) -> bool:
    try:
        return path.samefile(other)
    except (OSError, ValueError):
        return False
