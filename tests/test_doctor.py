from __future__ import annotations

import importlib
import os
from pathlib import Path
from types import ModuleType

import pytest
from commands import Rtseg, runner

from rtseg import doctor
from rtseg.doctor import Check, Report, examine
from rtseg.errors import ProviderUnavailable


@pytest.fixture
def rtseg(capsys: pytest.CaptureFixture[str]) -> Rtseg:
    return runner(capsys)


def found(report: Report, topic: str) -> dict[str, Check]:
    return {check.what: check for check in report.topics[topic]}


def test_a_machine_that_runs_these_tests_is_sound() -> None:
    report = examine()
    assert report.broken == []
    assert set(report.topics) == {"system", "packages", "models", "providers", "codecs", "cameras"}
    assert found(report, "models")["portrait"].state == "ok"
    assert found(report, "providers")["cpu"] == Check("cpu", "ok", "ran the portrait model")
    assert found(report, "codecs")["h264"] == Check("h264", "ok", "libx264")
    assert "FFmpeg" in found(report, "packages")["av"].detail


def test_all_that_is_missing_comes_with_its_cure() -> None:
    for checks in examine().topics.values():
        for check in checks:
            assert check.state == "ok" or check.fix or "It needs" in check.detail, check


def test_a_package_that_cannot_be_imported_breaks_it_and_ends_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def broken(name: str, package: str | None = None) -> ModuleType:
        if name == "cv2":
            raise ImportError("libGL.so.1: cannot open shared object file: No such file or directory")
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", broken)
    report = examine()
    assert [check.what for check in report.broken] == ["cv2"]
    assert report.broken[0].fix == "apt install libgl1 libglib2.0-0"
    assert "providers" not in report.topics


def test_a_provider_that_is_listed_but_does_not_run_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    class Engine:
        def __init__(self, path: Path, *, providers: tuple[str, ...], warmup: int) -> None:
            if providers != ("cpu",):
                raise ProviderUnavailable("no driver. It needs one")

    monkeypatch.setattr("rtseg.inference.engine.OrtEngine", Engine)
    monkeypatch.setattr("rtseg.inference.engine.available_providers", lambda: ("cuda", "cpu"))
    checks = found(examine(), "providers")
    assert checks["cuda"] == Check("cuda", "missing", "no driver. It needs one")
    assert checks["cpu"].state == "ok"


def test_the_gpu_is_what_its_driver_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert found(examine(), "providers")["gpu"].state == "missing"
    command = tmp_path / "nvidia-smi"
    command.write_text("#!/bin/sh\necho 'NVIDIA L4, 580.95.05'\n")
    command.chmod(0o755)
    assert found(examine(), "providers")["gpu"] == Check("gpu", "ok", "NVIDIA L4, driver 580.95.05")


def test_a_damaged_portrait_model_breaks_it_and_others_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rtseg import store

    for name in ("portrait", "road"):
        card = store.find_card(name)
        assert card.folder is not None
        (tmp_path / f"{name}.toml").write_bytes((card.folder / f"{name}.toml").read_bytes())
        (tmp_path / card.file).write_bytes(b"not the model")
    monkeypatch.setenv("RTSEG_MODELS", str(tmp_path))
    checks = found(examine(), "models")
    assert checks["portrait"].state == "broken"
    assert checks["road"].state == "missing"
    assert "SHA-256" in checks["road"].detail


def test_cameras_are_the_devices_that_may_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_DEVICES", tmp_path)
    assert found(examine(), "cameras")["cameras"].detail == "no /dev/video*"
    for name in ("video0", "video1"):
        (tmp_path / name).touch()
    monkeypatch.setattr(os, "access", lambda path, mode: str(path).endswith("0"))
    checks = examine().topics["cameras"]
    assert [(Path(check.what).name, check.state) for check in checks] == [("video0", "ok"), ("video1", "missing")]
    assert "usermod -aG video" in checks[1].fix


def test_the_command_ends_with_1_only_when_the_core_is_broken(rtseg: Rtseg, monkeypatch: pytest.MonkeyPatch) -> None:
    report = Report({"codecs": [Check("h265", "missing", "no libx265", fix="pip install av")]})
    monkeypatch.setattr(doctor, "examine", lambda: report)
    result = rtseg("doctor")
    assert result.code == 0
    assert "missing h265: no libx265" in result.out
    assert "get it: pip install av" in result.out
    report.topics["codecs"].append(Check("h264", "broken", "no libx264"))
    result = rtseg("doctor")
    assert result.code == 1
    assert "rtseg does not work here: mend h264" in result.out
    assert rtseg("doctor", "--json").json == {
        "ok": False,
        "codecs": [
            {"what": "h265", "state": "missing", "detail": "no libx265", "fix": "pip install av"},
            {"what": "h264", "state": "broken", "detail": "no libx264", "fix": ""},
        ],
    }
