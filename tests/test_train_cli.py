"""`rtseg train` and `rtseg export`: a recipe in, a network and its card out."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import cv2
import pytest
from commands import Rtseg, runner
from trained import write_recipe

from rtseg import store
from rtseg.cli.app import app

assert app


@pytest.fixture
def rtseg(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rtseg:
    monkeypatch.chdir(tmp_path)
    return runner(capsys)


def test_a_recipe_becomes_a_network_with_its_card(rtseg: Rtseg, tmp_path: Path) -> None:
    write_recipe(tmp_path)
    done = rtseg("train", "tiny.toml", "--steps", 2, "--accelerator", "cpu", "--threads", "1", "-q")
    assert done.code == 0, done.err
    assert "runs/tiny-2/rtseg_tiny.onnx: largest difference from torch" in done.err
    assert done.out == ""
    tried = store.find_card("runs/tiny-2/tiny.toml")
    assert store.verify(tried) == tmp_path / "runs" / "tiny-2" / "rtseg_tiny.onnx"

    again = rtseg("train", "tiny.toml", "--steps", 2, "--accelerator", "cpu", "--threads", "1", "-q")
    assert again.code == 0, again.err

    longer = rtseg("train", "tiny.toml", "--accelerator", "cpu", "--threads", "1", "-q", "-o", "runs/tiny-2")
    assert longer.code == 2
    assert "runs/tiny-2 holds a run of another recipe" in longer.error()

    older = rtseg("export", "tiny.toml", "--run", "runs/tiny-2", "-o", "older")
    assert older.code == 0, older.err
    assert "runs/tiny-2 was trained by an earlier state of this recipe" in older.err
    assert store.find_card("older/tiny.toml").recipe == tried.recipe

    assert rtseg("train", "tiny.toml", "--accelerator", "cpu", "--threads", "1", "-q").code == 0
    planes = rtseg("export", "tiny.toml", "--planes", "-o", "planes", "--json")
    assert planes.code == 0, planes.err
    assert planes.json["path"].endswith("rtseg_tiny.onnx")
    assert planes.json["difference"] < 1e-3
    assert store.find_card("planes/tiny.toml").input.colour == "yuv"
    assert "largest difference" in rtseg("export", "tiny.toml", "-o", "plain").out


def test_a_preview_shows_samples_and_trains_nothing(rtseg: Rtseg, tmp_path: Path) -> None:
    write_recipe(tmp_path)
    done = rtseg("train", "tiny.toml", "--preview", "-o", "look")
    assert done.code == 0, done.err
    assert [path.name for path in (tmp_path / "look").iterdir()] == ["samples.png"]
    sheet = cv2.imread("look/samples.png")
    assert sheet is not None
    assert sheet.shape == (2 * 48, 6 * 64, 3)  # the eight samples of its steps


def test_an_export_without_a_run_says_so(rtseg: Rtseg, tmp_path: Path) -> None:
    write_recipe(tmp_path)
    done = rtseg("export", "tiny.toml")
    assert done.code == 2
    assert "no checkpoint last.safetensors: train first, or name the run's folder with --run" in done.error()


def test_a_bad_recipe_is_one_line(rtseg: Rtseg, tmp_path: Path) -> None:
    write_recipe(tmp_path, schedule="steps = -1")
    done = rtseg("train", "tiny.toml")
    assert done.code == 2
    assert "schedule.steps" in done.error()


def test_without_torch_the_error_says_what_to_install(
    rtseg: Rtseg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_recipe(tmp_path)
    original = builtins.__import__

    def missing(name: str, *arguments: Any, **more: Any) -> Any:
        if name == "rtseg.train.run":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
        return original(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    for command in (("train", "tiny.toml"), ("export", "tiny.toml")):
        done = rtseg(*command)
        assert done.code == 2
        assert "pip install 'rtseg[train]'" in done.error()
