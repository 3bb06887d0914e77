"""Units and images: what can be said of them without systemd's user manager and without Docker."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
UNITS = sorted((ROOT / "packaging/systemd").glob("*.service"))
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def verify(unit: Path, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """What systemd says of a unit whose program is there."""
    (tmp_path / "run").mkdir(exist_ok=True)
    text = unit.read_text().replace("%h/.local/bin/rtseg", "/bin/true")
    assert "/bin/true" in text
    copy = tmp_path / unit.name
    copy.write_text(text)
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    command = ["systemd-analyze", "verify", "--user", str(copy)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_understands_every_line_of_a_unit(unit: Path, tmp_path: Path) -> None:
    done = verify(unit, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    broken = tmp_path / f"broken-{unit.name}"
    broken.write_text(unit.read_text().replace("Restart=on-failure", "Restart=sometimes"))
    assert "sometimes" in verify(broken, tmp_path).stderr


def test_what_waiting_does_not_mend_is_not_started_again() -> None:
    from rtseg.errors import ConfigError, ModelError

    codes = f"RestartPreventExitStatus={ConfigError.exit_code} {ModelError.exit_code}\n"
    assert UNITS
    assert all(codes in unit.read_text() for unit in UNITS)


def copied() -> list[str]:
    """What the Dockerfile takes from the repository."""
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    return [name for line in lines for name in line.split()]


def test_all_that_the_image_copies_is_there_and_not_ignored() -> None:
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert len(copied()) > 6
    for name in copied():
        assert (ROOT / name).exists()
        assert any(name == entry or name.startswith(f"{entry}/") for entry in kept), name


def test_the_wheel_of_the_image_has_all_its_parts() -> None:
    needed = {"pyproject.toml", "setup.py", "MANIFEST.in", PROJECT["readme"], *PROJECT["license-files"]}
    assert needed | {"rtseg", "models", "constraints.txt"} <= set(copied())


def test_libraries_of_the_image_are_those_of_its_extras() -> None:
    requirements = runpy.run_path(str(ROOT / "packaging/docker/requirements.py"))["requirements"]
    optional = PROJECT["optional-dependencies"]
    assert requirements(PROJECT, "") == PROJECT["dependencies"]
    both = requirements(PROJECT, "serve,cuda")
    assert both == [*PROJECT["dependencies"], *optional["serve"], *optional["cuda"]]
    assert not [library for library in both if library.startswith("rtseg")]
    with pytest.raises(SystemExit, match="no extra 'severe'"):
        requirements(PROJECT, "severe")


def test_compose_starts_nothing_that_others_may_use_without_a_token() -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert set(services) == {"rtseg", "rtseg-gpu"}
    for service in services.values():
        assert service["environment"]["RTSEG_TOKEN"].startswith("${RTSEG_TOKEN:?")
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
    assert services["rtseg-gpu"]["build"]["args"] == {"EXTRAS": "serve,cuda"}
    assert services["rtseg-gpu"]["profiles"] == ["gpu"]


def test_the_image_runs_without_root_and_without_build_tools() -> None:
    final = (ROOT / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    assert re.search(r"^USER [1-9]\d*$", final, re.MULTILINE)
    assert not re.search(r"\bgcc\b|-dev\b", final)
