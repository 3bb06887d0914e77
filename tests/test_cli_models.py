from __future__ import annotations

from pathlib import Path

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
    for command in ("show", "verify", "pull"):
        result = rtseg("models", command, "raod")
        assert result.code == 3
        assert "did you mean road" in result.error()
