"""Checkpoints without pickles: what goes in comes out, and a foreign file is refused."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from rtseg.errors import ConfigError
from rtseg.train.checkpoints import SafetensorsIO, average_weights

NESTED: dict[str, Any] = {
    "state_dict": {"network.a": torch.arange(6.0).reshape(2, 3), "network.b": torch.tensor(3), "x": torch.ones(1)},
    "list": [1, 2.5, "three", None, True, [float("inf")]],
    "tuple": (1, (2, torch.tensor([1.5], dtype=torch.float64))),
    "numbers": {0: {"step": torch.tensor(7.0)}, 1: {}},
    "tensor": {"dict": "names of our own marks are no trouble"},
    "number": np.float32(0.5),
}  # fmt: skip


def equal(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return type(first) is type(second) and all(map(equal, first, second))
    return bool(first == second)


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    SafetensorsIO().save_checkpoint(NESTED, tmp_path / "new" / "last.safetensors")
    found = SafetensorsIO().load_checkpoint(tmp_path / "new" / "last.safetensors")
    assert equal(found, NESTED)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["last.safetensors"]


def test_nothing_is_pickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("pickle was used")

    for name in ("dump", "dumps", "load", "loads", "Pickler", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    monkeypatch.setattr(torch, "load", refuse)
    monkeypatch.setattr(torch, "save", refuse)
    path = tmp_path / "last.safetensors"
    SafetensorsIO().save_checkpoint(NESTED, path)
    assert equal(SafetensorsIO().load_checkpoint(path), NESTED)


def test_tensors_that_share_memory_are_kept_apart(tmp_path: Path) -> None:
    whole = torch.arange(4.0)
    SafetensorsIO().save_checkpoint({"whole": whole, "part": whole[1:]}, tmp_path / "a")
    assert SafetensorsIO().load_checkpoint(tmp_path / "a")["part"].tolist() == [1, 2, 3]


def test_the_networks_weights_are_found_by_their_own_names(tmp_path: Path) -> None:
    SafetensorsIO().save_checkpoint(NESTED, tmp_path / "a")
    assert set(average_weights(tmp_path / "a")) == {"a", "b"}


def test_what_is_no_plain_data_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="a checkpoint cannot hold PosixPath"):
        SafetensorsIO().save_checkpoint({"path": tmp_path}, tmp_path / "a")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["text", "weights", "missing"])
def test_a_foreign_file_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    if kind == "text":
        path.write_bytes(pickle.dumps({"state_dict": {}}))
    elif kind == "weights":
        save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(ConfigError, match=r"foreign\.safetensors is not a checkpoint of a training run"):
        SafetensorsIO().load_checkpoint(path)


def test_removing_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    SafetensorsIO().remove_checkpoint(tmp_path / "nothing")
