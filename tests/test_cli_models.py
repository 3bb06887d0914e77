from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from commands import Rtseg, runner

from rtseg import store


@pytest.fixture
def rtseg(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Rtseg:
    """With nothing but the models that come with rtseg, and an empty cache."""
    monkeypatch.delenv("RTSEG_MODELS", raising=False)
    monkeypatch.delenv("RTSEG_MIRROR", raising=False)
    monkeypatch.setenv("RTSEG_CACHE", str(tmp_path / "cache"))
    return runner(capsys)


def test_the_list_says_where_weights_are(rtseg: Rtseg) -> None:
    result = rtseg("models", "list")
    assert result.code == 0
    rows = {line.split()[0]: line for line in result.out.splitlines() if line.strip()}
    assert "256x144" in rows["portrait"]
    assert "Apache-2.0" in rows["portrait"]
    assert "not here" not in rows["portrait"]
    assert "not here: pull" in rows["twinlitenet"]


def test_the_list_as_json(rtseg: Rtseg) -> None:
    models = {model["name"]: model for model in rtseg("models", "list", "--json").json}
    assert models["road"]["names"] == ["drivable", "lane", "vehicle", "vulnerable"]
    assert Path(models["road"]["weights"]).name == "rtseg_road.onnx"
    assert (models["twinlitenet"]["weights"], models["twinlitenet"]["pullable"]) == (None, True)


def test_show_says_all_that_the_card_says(rtseg: Rtseg) -> None:
    card = store.find_card("road")
    shown = rtseg("models", "show", "road").out
    for key in type(card).model_fields:
        assert key in shown
    assert card.sha256 in shown
    as_json = rtseg("models", "show", "road", "--json").json
    assert as_json["input"]["size"] == [320, 192]
    assert as_json["metrics"] == card.metrics


def test_verify_takes_all_that_are_here_or_those_named(rtseg: Rtseg) -> None:
    result = rtseg("models", "verify")
    assert result.code == 0
    assert [line.split()[:2] for line in result.out.splitlines()] == [
        ["ok", "nuclei:"],
        ["ok", "portrait:"],
        ["ok", "portrait-fast:"],
        ["ok", "portrait-studio:"],
        ["ok", "road:"],
        ["ok", "road-fast:"],
    ]
    result = rtseg("models", "verify", "portrait", "twinlitenet")
    assert result.code == 3
    assert "refused twinlitenet: the weights of 'twinlitenet' are not here" in result.out


def test_verify_tells_a_flipped_byte(rtseg: Rtseg, tmp_path: Path) -> None:
    card = store.find_card("portrait")
    assert card.folder is not None
    weights = bytearray((card.folder / card.file).read_bytes())
    weights[len(weights) // 2] ^= 1
    (tmp_path / card.file).write_bytes(weights)
    copy = tmp_path / "portrait.toml"
    copy.write_bytes((card.folder / "portrait.toml").read_bytes())
    result = rtseg("models", "verify", copy, "--json")
    assert result.code == 3
    (row,) = result.json
    assert (row["name"], row["ok"]) == ("portrait", False)
    assert "SHA-256" in row["detail"]


def test_pull_fetches_into_the_cache(
    rtseg: Rtseg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: Path
) -> None:
    monkeypatch.setenv("RTSEG_MIRROR", str(shared / "weights"))
    result = rtseg("models", "pull", "twinlitenet")
    file = tmp_path / "cache" / store.find_card("twinlitenet").file
    assert (result.code, result.out) == (0, f"{file} (licence of these weights: MIT)\n")
    assert file.is_file()
    assert rtseg("models", "pull", "twinlitenet", "--json").json["path"] == str(file)


def test_what_cannot_be_pulled_says_why(rtseg: Rtseg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTSEG_MIRROR", str(tmp_path))
    result = rtseg("models", "pull", "twinlitenet")
    assert result.code == 3
    assert f"the mirror folder {tmp_path} holds neither" in result.error()


def test_a_name_that_is_none_is_answered_with_those_there_are(rtseg: Rtseg) -> None:
    for command in ("show", "verify", "pull", "build"):
        result = rtseg("models", command, "raod")
        assert result.code == 3
        assert "did you mean road" in result.error()


def nvidia_smi(folder: Path, monkeypatch: pytest.MonkeyPatch, driver: str) -> None:
    command = folder / "nvidia-smi"
    command.write_text(f"#!/bin/sh\necho 'NVIDIA L4, {driver}'\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")


def leave_an_engine(path: Path, settings: Mapping[str, Any], stop: threading.Event) -> None:
    (settings["cache"] / "part.engine").write_bytes(b"x" * 2_000_000)


def test_build_says_what_is_missing_here(rtseg: Rtseg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = rtseg("models", "build", "portrait")
    assert result.code == 4
    assert "there is no nvidia-smi, so no NVIDIA GPU can be used here: install NVIDIA's driver" in result.error()


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="there is a GPU, which would build")
def test_build_without_tensorrt_is_one_line(rtseg: Rtseg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(tmp_path, monkeypatch, "580.1")
    result = rtseg("models", "build", "portrait-fast")
    assert result.code == 4
    assert "provider 'tensorrt' cannot be used" in result.error()
    assert "It needs pip install 'rtseg[cuda]'" in result.error()


def test_build_keeps_engines_and_clean_removes_old_ones(
    rtseg: Rtseg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtseg.inference.prebuilt.in_a_process", leave_an_engine)
    nvidia_smi(tmp_path, monkeypatch, "580.1")
    made = rtseg("models", "build", "portrait-fast", "--size", "128x72", "--json").json
    assert [(one["name"], one["new"], one["driver"]) for one in made] == [
        ("portrait-fast", True, "580.1"),
        ("portrait-fast 128x72", True, "580.1"),
    ]
    assert "portrait-fast: was there, 2.0 MB in " in rtseg("models", "build", "portrait-fast").out
    assert rtseg("models", "build", "--clean").out == "nothing to remove\n"
    nvidia_smi(tmp_path, monkeypatch, "590.2")
    result = rtseg("models", "build", "--clean")
    assert result.code == 0
    assert sorted(line.split(" (")[0] for line in result.out.splitlines()) == [
        "removed portrait-fast",
        "removed portrait-fast 128x72",
    ]
    assert "NVIDIA L4, 580.1" in result.out
    result = rtseg("models", "build", "portrait-fast", "--half")
    assert result.out.startswith("portrait-fast: built in ")


def test_a_run_uses_the_whole_frame_graph_that_build_made(
    rtseg: Rtseg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def note(path: Path, settings: Mapping[str, Any], stop: threading.Event) -> None:
        seen.append(path.name)
        leave_an_engine(path, settings, stop)

    monkeypatch.setattr("rtseg.inference.prebuilt.in_a_process", note)
    nvidia_smi(tmp_path, monkeypatch, "580.1")
    rtseg("models", "build", "portrait-fast", "--size", "128x72")
    graph = tmp_path / "cache" / "fused" / seen[1]
    before = graph.stat().st_mtime_ns
    pattern = "synthetic:testsrc2=size=128x72:rate=10:duration=0.2"
    options = ("--model", "portrait-fast", "--background", "blur", "--filters", "refine,smooth", "--fused")
    result = rtseg("run", pattern, "-o", tmp_path / "out.mp4", *options)
    assert result.code == 0, result.err
    assert [path.name for path in graph.parent.iterdir()] == [graph.name]
    assert graph.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("portrait", "--providers", "cuda"), "only tensorrt builds engines beforehand, not cuda"),
        (("portrait", "--size", "1280"), "--size '1280' must be even sides joined by an x, such as 1280x720"),
        (("portrait", "--size", "1281x720"), "must be even sides"),
    ],
)
def test_what_build_cannot_do_is_refused(rtseg: Rtseg, options: tuple[str, ...], said: str) -> None:
    result = rtseg("models", "build", *options)
    assert result.code == 2
    assert said in result.error()


def test_build_wants_a_name_or_clean(rtseg: Rtseg) -> None:
    result = rtseg("models", "build")
    assert result.code == 2
    assert "say which model, or --clean" in result.err
