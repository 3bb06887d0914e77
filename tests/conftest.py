"""Fixtures that several test files share."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import pytest

from rtseg.ops import kernels

collect_ignore_glob = []
if find_spec("lightning") is None:  # rtseg[train] is an extra
    collect_ignore_glob += ["test_train_*.py"]
if find_spec("fastapi") is None:  # and so is rtseg[serve]
    collect_ignore_glob += ["test_service_*.py"]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of footage, labels, weights and broken files that is not part of the repository."""
    default = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("RTSEG_SHARED", default))
    if not (folder / "SOURCES.md").is_file():
        pytest.skip(f"no shared footage at {folder}: set RTSEG_SHARED to its folder")
    return folder


@pytest.fixture(params=["compiled", "opencv"])
def either_loops(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs a test with the compiled loops and without them."""
    if request.param == "opencv":
        monkeypatch.setattr(kernels, "COMPILED", False)
    elif not kernels.COMPILED:
        pytest.skip("rtseg was installed without a compiler")
