"""What `pip install` puts on a machine: the package, the cards of all models and the weights of ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: what an earlier build left in the repository would get into it."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "setup.py", "LICENSE", "README.md"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, source)
    for name in ("rtseg", "models"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    isolation = [] if setuptools_is_old() else ["--no-build-isolation"]
    done = pip("wheel", "--no-deps", *isolation, "--wheel-dir", str(folder), str(source))
    if done.returncode and "No matching distribution found for setuptools" in done.stderr:
        pytest.skip("no package index here that has setuptools to build with")
    assert done.returncode == 0, done.stderr
    (made,) = folder.glob("*.whl")
    return made


def test_the_wheel_holds_the_package_the_cards_and_our_weights(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    source = wheel.parent / "source"
    code = {path.relative_to(source).as_posix() for path in (source / "rtseg").rglob("*.py")}
    models = {f"rtseg/_models/{path.name}" for path in (source / "models").iterdir() if path.is_file()}
    assert {"rtseg/_models/rtseg_portrait.onnx", "rtseg/_models/portrait.toml"} <= models
    page = {path.relative_to(source).as_posix() for path in (source / "rtseg/service/studio").iterdir()}
    assert "rtseg/service/studio/index.html" in page
    packed = {name for name in names if ".dist-info/" not in name}
    compiled = {name for name in packed if Path(name).suffix in (".so", ".pyd")}
    assert {Path(name).name.partition(".")[0] for name in compiled} <= {"_kernels"}
    report = {f"rtseg/driving/page/report.{suffix}" for suffix in ("css", "html", "js")}
    assert packed - compiled == code | models | page | report | {"rtseg/py.typed"}


def test_an_installed_wheel_finds_verifies_and_runs_its_model(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    done = pip("install", "--no-deps", "--no-index", "--target", str(target), str(wheel))
    assert done.returncode == 0, done.stderr
    script = """
from rtseg import store
from rtseg.inference.engine import OrtEngine
card = store.find_card("portrait")
path = store.verify(card)
engine = OrtEngine(path)
engine.inputs[card.input.name].fill(0.5)
print(path, engine.run()["alpha"].shape)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**environment(), "PYTHONPATH": str(target), "RTSEG_MODELS": "", "RTSEG_CACHE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == f"{target / 'rtseg/_models/rtseg_portrait.onnx'} (1, 1, 144, 256)"


def setuptools_is_old() -> bool:
    """Older than pyproject.toml asks for, or not here at all."""
    try:
        return int(version("setuptools").split(".")[0]) < 77
    except PackageNotFoundError:
        return True


def pip(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "--quiet", "--no-input", *arguments]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=100, check=False)


def environment() -> dict[str, str]:
    """Ours, without what the test run's coverage measurement put into it."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COV_")} | {"PIP_RETRIES": "1"}
