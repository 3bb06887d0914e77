from __future__ import annotations

import stat
from pathlib import Path

import pytest

from rtseg.bench.power import metered


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that programs are found in, and no others."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def zone(folder: Path, name: str, microjoules: int, *, most: int = 1_000_000) -> Path:
    place = folder / name
    place.mkdir(parents=True)
    (place / "energy_uj").write_text(f"{microjoules}\n")
    (place / "max_energy_range_uj").write_text(f"{most}\n")
    return place


def nvidia_smi(folder: Path, script: str) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def test_packages_are_added_up_and_their_parts_left_out(alone: Path) -> None:
    first, second = zone(alone / "cap", "intel-rapl:0", 1000), zone(alone / "cap", "intel-rapl:1", 0)
    part = zone(alone / "cap", "intel-rapl:0:0", 0)
    with metered(alone / "cap") as energy:
        (first / "energy_uj").write_text("3000")
        (second / "energy_uj").write_text("500000")
        (part / "energy_uj").write_text("900000")
    assert energy.cpu_joules == pytest.approx(0.502)
    assert energy.seconds > 0
    assert energy.unreadable == {"gpu": "no nvidia-smi here"}


def test_a_counter_that_starts_again_goes_on(alone: Path) -> None:
    place = zone(alone / "cap", "intel-rapl:0", 999_999)
    with metered(alone / "cap") as energy:
        (place / "energy_uj").write_text("199999")
    assert energy.cpu_joules == pytest.approx(0.200001)


def test_what_cannot_be_read_is_said_to_be_so(alone: Path) -> None:
    with metered(alone / "cap") as energy:
        pass
    assert energy.cpu_joules is None
    assert energy.unreadable["cpu"] == f"no RAPL counters in {alone / 'cap'}"
    (alone / "cap" / "intel-rapl:0").mkdir(parents=True)
    with metered(alone / "cap") as energy:
        pass
    assert energy.unreadable["cpu"].startswith("RAPL cannot be read (No such file")


def test_the_power_of_all_gpus_is_added_up(alone: Path) -> None:
    nvidia_smi(alone, "echo 30.5; echo 19.5")
    with metered(alone / "cap") as energy:
        pass
    assert energy.gpu_joules == pytest.approx(50 * energy.seconds)
    assert "gpu" not in energy.unreadable


def test_a_driver_that_tells_no_power_is_no_zero(alone: Path) -> None:
    nvidia_smi(alone, "echo '[N/A]'")
    with metered(alone / "cap") as energy:
        pass
    assert energy.gpu_joules is None
    assert "[N/A]" in energy.unreadable["gpu"]
