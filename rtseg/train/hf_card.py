"""What a checkpoint's JSON files say: how pictures become its input, and what its classes are called."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rtseg.cards import CardInput
from rtseg.errors import ConfigError, ModelNotFound, ModelRejected

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
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


def card_input(processor: Mapping[str, Any], name: str, size: tuple[int, int] | None) -> CardInput:
    """The network's input as preprocessor_config.json describes it, all of the frame stretched to one size.

    size: width, height, in place of the file's. Neither crops nor padding are taken over: a frame is shown whole.
    What the file does not say is as in transformers: rescaled by 1/255 and normalised by ImageNet's mean and std.
    """
    normalised = processor.get("do_normalize", "image_mean" in processor)
    mean, std = processor.get("image_mean", _IMAGENET[0]), processor.get("image_std", _IMAGENET[1])
    factor = processor.get("rescale_factor", 1 / 255) if processor.get("do_rescale", True) else 1.0
    given: dict[str, Any] = {
        "name": name,
        "size": size or default_size(processor),
        "colour": "bgr" if processor.get("do_flip_channel_order") else "rgb",
        "scale": float(f"{1 / factor:.10g}"),
    }
    if normalised:
        given |= {"mean": _three(mean), "std": _three(std)}
    return CardInput.model_validate(given)


def default_size(processor: Mapping[str, Any]) -> tuple[int, int]:
    """Width and height of the input: a fixed size as it is, a shortest edge for frames of 16:9."""
    size = processor.get("crop_size") if processor.get("do_center_crop") else processor.get("size")
    size = processor.get("size") if size is None else size
    longest = processor.get("max_size")
    match size:
        case {"height": int(fixed_height), "width": int(fixed_width)}:
            return fixed_width, fixed_height
        case {"shortest_edge": int(edge), **others}:
            longest = others.get("longest_edge") or longest
        case int(edge) if longest is None:
            return edge, edge
        case int(edge):
            pass
        case _:
            raise ConfigError(f"preprocessor_config.json says no size that is known, but {size}: give --size WxH")
    width = float(min(edge * _ASPECT, longest or math.inf))
    return _rounded(width), _rounded(width / _ASPECT)


def _rounded(side: float) -> int:
    return max(_STEP, round(side / _STEP) * _STEP)


def _three(value: float | Sequence[float]) -> Sequence[float]:
    return [value] * 3 if isinstance(value, int | float) else value


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
