"""The measure of a whole drive, in short; and that each of its targets can be missed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.drive import kept, main

GOOD = {"ratio": 3.0, "drive_fps": 30.0, "analyse": 6.0}


@pytest.mark.parametrize("change", [{"ratio": 3.01}, {"drive_fps": 29.9}, {"analyse": 6.1}])
def test_each_target_can_be_missed(change: dict[str, float]) -> None:
    assert kept(GOOD)
    assert not kept(GOOD | change)


@pytest.mark.slow
def test_a_drive_is_measured_beside_its_floor(tmp_path: Path) -> None:
    pytest.importorskip("trackers", reason="rtseg[driving] is not installed")
    main(["--frames", "8", "--rounds", "1", "--json", str(tmp_path / "figures.json")])
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["drive_cpu_ms"] > figures["floor_cpu_ms"] > 0
    assert figures["ratio"] == pytest.approx(figures["drive_cpu_ms"] / figures["floor_cpu_ms"])
    assert set(figures["stages"]) >= {"read", "segment", "analyse", "effect", "composite", "write"}
    assert 0 < figures["analyse"] < figures["drive_cpu_ms"]
