"""What was measured of others, by other programs: taken along into a report as it is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rtseg.errors import ConfigError


def read_peers(files: Sequence[Path]) -> dict[str, Any]:
    """The JSON objects in files, by the name of each file without its suffix; ConfigError for what is none."""
    found: dict[str, Any] = {}
    for file in files:
        try:
            value = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{file} is no JSON of peers ({error}): give what a benchmark wrote by --json") from error
        if not isinstance(value, dict):
            raise ConfigError(f"{file} must hold a JSON object, not a {type(value).__name__}")
        if file.stem in found:
            raise ConfigError(f"two files of peers are called {file.stem}: give one of them another name")
        found[file.stem] = value
    return found
