"""What a checkpoint's files say: the size of its input, what its classes are called, its licence."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rtseg.errors import ConfigError, ModelNotFound, ModelRejected
from rtseg.processor import Processor

_STEP = 32
"""Sides that follow from a shortest edge are multiples of it, which every backbone takes."""
_ASPECT = 16 / 9
"""Of the frames that such an edge is for, unless a size is given."""


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """A JSON object in the folder; ModelNotFound where it is missing, ModelRejected for what is none."""
    path = folder / name
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelNotFound(
            f"{path} cannot be read: {error.strerror or error}; a checkpoint of transformers is a folder with "
            "config.json, preprocessor_config.json and model.safetensors"
        ) from error
    except ValueError as error:
        raise ModelRejected(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ModelRejected(f"{path} must hold a JSON object, not {type(found).__name__}")
    return found


def default_size(processor: Processor) -> tuple[int, int]:
    """Width and height of the input: a fixed size as it is, a shortest edge for frames of 16:9.

    Neither crops nor padding are taken over: a frame is shown whole. Raises ConfigError where no size is said.
    """
    crop, size = processor.crop_size if processor.do_center_crop else None, processor.size
    for sides in (crop, size):
        if sides is not None and sides.width and sides.height:
            return sides.width, sides.height
    if size is None or not size.shortest_edge:
        raise ConfigError("preprocessor_config.json says no size: give --size WxH")
    width = float(min(size.shortest_edge * _ASPECT, size.longest_edge or math.inf))
    return _rounded(width), _rounded(width / _ASPECT)


def _rounded(side: float) -> int:
    return max(_STEP, round(side / _STEP) * _STEP)


def class_names(id2label: Mapping[Any, str]) -> tuple[str, ...]:
    """The classes in the order of their numbers, each once, at most 64 characters: names of regions and of files."""
    by_number = {int(number): label for number, label in id2label.items()}
    if sorted(by_number) != list(range(len(by_number))):
        raise ModelRejected(f"id2label of config.json must number its classes 0 to {len(by_number) - 1} without gaps")
    found: dict[str, None] = {}
    for _, label in sorted(by_number.items()):
        plain = re.sub(r"[/\\\x00-\x1f\x7f]+", "-", label).strip()[:64] or "class"
        name, again = plain, 2
        while name in found:
            name, again = f"{plain[:58]} ({again})", again + 1
        found[name] = None
    return tuple(found)


def licence_of(folder: Path) -> str:
    """What the folder's README.md declares in its front matter."""
    try:
        text = (folder / "README.md").read_text(encoding="utf-8")
    except OSError:
        text = ""
    declared = re.match(r"---\n(?:.*\n)*?licen[sc]e:\s*([^\n]+)\n", text)
    return declared[1].strip() if declared else "not declared: ask whose checkpoint it is"


def slug(name: str) -> str:
    """A card's name made of a folder's."""
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._") or "checkpoint"
