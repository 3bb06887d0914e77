"""Paths as people write them, the folder that pulled weights live in, and the hash of a file."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path


def clean_path(path: str | os.PathLike[str]) -> Path:
    """A path with `~` made the home folder; ValueError for what no system takes."""
    text = os.fspath(path)
    if "\0" in text:
        raise ValueError("a path cannot have a NUL character")
    return Path(os.path.expanduser(text))  # noqa: PTH111 - Path's own raises RuntimeError without a home


def cache_folder() -> Path:
    """Where pulled weights live: `RTSEG_CACHE`, else the platform's cache folder; it need not exist."""
    if chosen := os.environ.get("RTSEG_CACHE"):
        return clean_path(chosen)
    match sys.platform:
        case "win32":
            base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
        case "darwin":
            base = Path.home() / "Library" / "Caches"
        case _:
            base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "rtseg"


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
