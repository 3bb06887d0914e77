"""Paths and addresses as people write them, the folder that pulled weights live in, and the hash of a file."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from pathlib import Path


def clean_path(path: str | os.PathLike[str]) -> Path:
    """A path with `~` made the home folder; ValueError for what no system takes."""
    text = os.fspath(path)
    if "\0" in text:
        raise ValueError("a path cannot have a NUL character")
    return Path(os.path.expanduser(text))  # noqa: PTH111 - Path's own raises RuntimeError without a home


_ADDRESS = re.compile(r"(?i)\b(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<rest>[^\s'\"<>]*)")


def redact(text: str) -> str:
    """Addresses in a text without what may be secret: user and password, query and fragment, and keys of RTMP.

    What follows the application of an RTMP address is the stream's key, with which anybody could publish.
    """
    return _ADDRESS.sub(_without_secrets, text)


def _without_secrets(match: re.Match[str]) -> str:
    scheme, rest = match["scheme"], match["rest"]
    place, *query = re.split(r"[?#]", rest, maxsplit=1)
    # A password may have slashes and a path may have an @: where in doubt more is hidden.
    if "@" in rest:
        place = re.split(r"[?#]", rest.rpartition("@")[2], maxsplit=1)[0]
        place, query = f"[hidden]@{place}", query if "?" in rest.rpartition("@")[2] else []
    parts = place.split("/")
    if scheme.lower().startswith("rtmp") and len(parts) > 2:
        place = "/".join([*parts[:2], "[hidden]"])
    return f"{scheme}://{place}{'?[hidden]' if query else ''}"


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
