"""Checkpoints of lightning as safetensors: the same content, and nothing in them can run code.

Tensors go under numbered names; what they hang in (dictionaries, lists, numbers, texts) is JSON in the file's metadata.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lightning.pytorch.plugins.io import CheckpointIO
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from rtseg.errors import ConfigError


class SafetensorsIO(CheckpointIO):
    """Lightning's way to write and read checkpoints, without pickles. Written beside, then renamed."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a checkpoint; TypeError for what is neither tensor nor plain data."""
        tensors: dict[str, Tensor] = {}
        tree = _pack(checkpoint, tensors)
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(target.name + ".part")
        save_file(tensors, part, metadata={"checkpoint": json.dumps(tree)})
        part.replace(target)

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read it back; ConfigError for a file that is none of ours."""
        try:
            with safe_open(path, framework="pt", device="cpu") as file:
                tree = json.loads((file.metadata() or {})["checkpoint"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dictionary
        except Exception as error:  # safetensors' own, KeyError, JSON
            raise ConfigError(f"{path} is not a checkpoint of a training run: {error}") from error
        found: dict[str, Any] = _unpack(tree, tensors)
        return found

    def remove_checkpoint(self, path: Any) -> None:
        """Delete it if it is there."""
        Path(path).unlink(missing_ok=True)


def _pack(value: Any, tensors: dict[str, Tensor]) -> Any:
    match value:
        case Tensor():
            name = f"t{len(tensors):05}"
            tensors[name] = value.detach().cpu().contiguous().clone()
            return {"tensor": name}
        case dict():
            return {"dict": [[_pack(key, tensors), _pack(item, tensors)] for key, item in value.items()]}
        case list():
            return {"list": [_pack(item, tensors) for item in value]}
        case tuple():
            return {"tuple": [_pack(item, tensors) for item in value]}
        case None | bool() | int() | float() | str():
            return value
        case _ if hasattr(value, "item"):  # a numpy scalar
            return value.item()
        case _:
            raise TypeError(f"a checkpoint cannot hold {type(value).__name__}: {value!r}")


def _unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    [(kind, content)] = value.items()
    match kind:
        case "tensor":
            return tensors[content]
        case "dict":
            return {_unpack(key, tensors): _unpack(item, tensors) for key, item in content}
        case "list":
            return [_unpack(item, tensors) for item in content]
        case _:
            return tuple(_unpack(item, tensors) for item in content)


def average_weights(path: Path) -> dict[str, Tensor]:
    """The network's averaged weights in a checkpoint, by the network's own names."""
    state = SafetensorsIO().load_checkpoint(path)["state_dict"]
    return {name.removeprefix("network."): t for name, t in state.items() if name.startswith("network.")}
