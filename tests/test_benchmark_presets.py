from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.presets import Row, main, table


def test_a_table_has_the_limits_that_were_asked_for() -> None:
    rows = [Row("call", "bare", 2.04, 0.0, None), Row("call", "balanced", 5.96, 3.94, 5.0)]
    assert table(rows)[2:] == ["| call | bare | 2.0 | 0.0 |  |  |", "| call | balanced | 6.0 | 3.9 | 4 | 5.0 |"]


def test_bare_and_all_presets_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "made" / "presets.json"
    assert main(["sample", "--size", "160x90", "--frames", "4", "--json", str(file)]) == 0
    made = json.loads(file.read_text())
    assert [row["name"] for row in made["rows"]] == ["bare", "fast", "balanced", "studio"]
    assert made["rows"][0]["over"] == 0.0
    assert all(row["total"] > 0.0 for row in made["rows"])
    assert "160x90, portrait, one thread" in capsys.readouterr().out
