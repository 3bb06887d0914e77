from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import graphs
import pytest
from faulty import Faults, install

from rtseg import store
from rtseg.config import ModelOptions
from rtseg.engines import build_segmenter
from rtseg.errors import EngineError, ModelRejected, ProviderUnavailable
from rtseg.inference import prebuilt
from rtseg.inference.prebuilt import (
    Gpu,
    clean,
    environment,
    folder_for,
    in_a_process,
    key_of,
    list_built,
    prebuild,
    read_gpu,
)

L4 = Gpu("NVIDIA L4", "580.95.05")


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A graph, an empty cache, and a driver whose nvidia-smi lists two GPUs."""
    monkeypatch.setenv("RTSEG_CACHE", str(tmp_path / "cache"))
    driver(tmp_path, monkeypatch, "echo 'NVIDIA L4, 580.95.05'; echo 'NVIDIA A100-SXM4, 40GB, 580.95.05'")
    return graphs.double(tmp_path / "model.onnx")


def driver(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    (folder / "bin").mkdir(exist_ok=True)
    command = folder / "bin" / "nvidia-smi"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}/usr/bin{os.pathsep}/bin")


class Builder:
    """Leaves an engine behind in steps, as TensorRT does, and counts its calls."""

    def __init__(self, *, steps: int = 1, delay: float = 0.0, error: Exception | None = None) -> None:
        self.calls: list[Mapping[str, Any]] = []
        self._steps, self._delay, self._error = steps, delay, error

    def __call__(self, path: Path, settings: Mapping[str, Any], stop: threading.Event) -> None:
        self.calls.append(settings)
        for step in range(self._steps):
            time.sleep(self._delay)
            (settings["cache"] / f"part{step}.engine").write_bytes(b"x" * 1000)
        if self._error is not None:
            raise self._error


def test_gpu_and_driver_are_what_nvidia_smi_says(model: Path) -> None:
    assert read_gpu() == L4
    assert read_gpu(1) == Gpu("NVIDIA A100-SXM4, 40GB", "580.95.05")
    with pytest.raises(ProviderUnavailable, match="there is no GPU 2: nvidia-smi lists 2"):
        read_gpu(2)


def test_a_driver_that_is_missing_or_broken_is_said(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver(tmp_path, monkeypatch, "echo 'NVIDIA-SMI has failed because it could not communicate'; exit 9")
    with pytest.raises(ProviderUnavailable, match="nvidia-smi does not work: NVIDIA-SMI has failed because"):
        read_gpu()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProviderUnavailable, match="there is no nvidia-smi, so no NVIDIA GPU can be used here"):
        read_gpu()


def test_a_key_changes_with_all_that_an_engine_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    here = environment(L4)
    assert set(here) >= {"gpu", "driver", "tensorrt", "onnxruntime"}
    keys = [key_of("a" * 64, here, {"half": False}), key_of("b" * 64, here, {"half": False})]
    keys.append(key_of("a" * 64, here, {"half": True}))
    keys += [key_of("a" * 64, {**here, name: "other"}, {"half": False}) for name in here]
    assert len(set(keys)) == len(keys)
    assert key_of("a" * 64, dict(reversed(here.items())), {"half": False}) == keys[0]
    assert len(keys[0]) == 64


def test_an_engine_is_built_once_and_found_again(model: Path) -> None:
    builder = Builder()
    built, new = prebuild(model, name="double", shapes={"x": (1, 2, 3, 4)}, build=builder)
    assert new
    assert builder.calls == [
        {
            "providers": ("tensorrt",),
            "shapes": {"x": (1, 2, 3, 4)},
            "half": False,
            "device": 0,
            "cache": built.folder,
        }
    ]
    again, new = prebuild(model, name="double", build=builder)
    assert (again.folder, new, len(builder.calls)) == (built.folder, False, 1)
    assert folder_for(store.sha256_of(model), name="double", half=False, device=0) == built.folder


@pytest.mark.parametrize("change", ["driver", "gpu", "weights", "half", "onnxruntime"])
def test_another_key_builds_again(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    builder = Builder()
    first, _ = prebuild(model, name="double", build=builder)
    options: dict[str, Any] = {}
    match change:
        case "driver":
            driver(tmp_path, monkeypatch, "echo 'NVIDIA L4, 590.10'")
        case "gpu":
            options["device"] = 1
        case "weights":
            graphs.double(model, shape=(1, 2, 3, 5))
        case "half":
            options["half"] = True
        case "onnxruntime":
            monkeypatch.setattr("onnxruntime.__version__", "9.9.9")
    second, new = prebuild(model, name="double", build=builder, **options)
    assert new
    assert second.folder != first.folder


def test_progress_tells_seconds_and_a_growing_cache(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prebuilt, "_TICK", 0.01)
    told: list[tuple[float, int]] = []
    prebuild(
        model,
        name="double",
        build=Builder(steps=3, delay=0.1),
        progress=lambda seconds, size: told.append((seconds, size)),
    )
    sizes = [size for _, size in told]
    assert sizes == sorted(sizes)
    assert sizes[-1] - sizes[0] == 3000
    assert len(set(sizes)) >= 3
    assert [seconds for seconds, _ in told] == sorted(seconds for seconds, _ in told)


def test_a_failed_build_is_not_taken_for_a_built_one(model: Path) -> None:
    with pytest.raises(EngineError, match="no room"):
        prebuild(model, name="double", build=Builder(error=EngineError("no room")))
    _, new = prebuild(model, name="double", build=Builder())
    assert new


def test_a_build_that_leaves_nothing_is_an_error(model: Path) -> None:
    with pytest.raises(EngineError, match=r"TensorRT built nothing for model\.onnx"):
        prebuild(model, name="double", build=Builder(steps=0))


def test_whoever_interrupts_a_build_ends_it(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prebuilt, "_TICK", 0.01)
    stopped = threading.Event()

    def endless(path: Path, settings: Mapping[str, Any], stop: threading.Event) -> None:
        assert stop.wait(10)
        stopped.set()

    def interrupt(seconds: float, size: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prebuild(model, name="double", build=endless, progress=interrupt)
    assert stopped.is_set()


def test_a_process_of_its_own_builds_and_its_errors_come_back(model: Path, tmp_path: Path) -> None:
    in_a_process(model, {"providers": ("cpu",)}, threading.Event())
    broken = tmp_path / "broken.onnx"
    broken.write_text("not a model")
    with pytest.raises(ModelRejected, match=r"broken\.onnx is not a usable ONNX model"):
        in_a_process(broken, {"providers": ("cpu",)}, threading.Event())


def test_what_cannot_be_used_any_more_is_removed_and_the_rest_stays(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, _ = prebuild(model, name="double", build=Builder())
    driver(tmp_path, monkeypatch, "echo 'NVIDIA L4, 590.10'")
    current, _ = prebuild(model, name="double", build=Builder())
    assert {built.folder for built in list_built()} == {old.folder, current.folder}
    (removed,) = clean()
    assert removed.folder == old.folder
    assert (removed.about["name"], removed.about["driver"]) == ("double", "580.95.05")
    assert [built.folder for built in list_built()] == [current.folder]
    assert clean() == []


def test_nothing_is_removed_without_a_driver_to_tell_by(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prebuild(model, name="double", build=Builder())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProviderUnavailable):
        clean()
    assert len(list_built()) == 1


def test_a_run_uses_what_was_built_and_warns_where_nothing_was(
    model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install(monkeypatch, faults := Faults(assigned=[("TensorrtExecutionProvider", "Conv")]))
    card = store.find_card("portrait-fast")
    options = ModelOptions(name=card.name, providers=("tensorrt",), half=True)
    build_segmenter(options, card)
    assert "TensorRT builds its engine now, which takes minutes: `rtseg models build`" in caplog.text
    caplog.clear()
    built, _ = prebuild(store.verify(card), name=card.name, half=True, build=Builder())
    build_segmenter(options, card)
    assert not caplog.records
    assert faults.options[-1]["trt_engine_cache_path"] == str(built.folder)
    assert faults.options[-1]["trt_fp16_enable"] == "1"


def test_without_a_driver_to_ask_nothing_is_kept_and_that_is_said(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert folder_for("a" * 64, name="double", half=False, device=0) is None
    assert "what TensorRT builds is not kept: there is no nvidia-smi" in caplog.text
