"""The studio page in a real Chromium, with a clip for a camera and a real service at the other end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import CLIP, Studio, browser, camera_file, chromium, colour_at, studio, until

pytest.importorskip("aiortc", reason="needs the extra webrtc")
pytest.importorskip("playwright", reason="needs playwright")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium() is None, reason="needs Debian's chromium, or RTSEG_CHROMIUM"),
]

WALL, SHIRT = (0.9, 0.2), (0.5, 0.75)
"""Places in the clip: a wall that is always background, and a black shirt that is always a person."""


@pytest.fixture(scope="module")
def camera(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return camera_file(shared / CLIP, tmp_path_factory.mktemp("camera"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with studio(tmp_path_factory.mktemp("studio"), "--model", "portrait", "--model", "portrait-fast") as started:
        yield started


def start(page: Any, server: Studio) -> None:
    """Open the page and begin."""
    page.goto(f"{server.url}studio/")
    page.click("#start")
    page.wait_for_selector("#state[data-state=live]", timeout=20_000)
    until(page, lambda: page.evaluate("document.getElementById('after').videoWidth") > 0)


def near(colour: Any, wanted: tuple[int, int, int], *, within: int = 12) -> bool:
    return bool(np.abs(np.asarray(colour, int) - wanted).max() <= within)


def test_people_replace_their_background_and_change_it(server: Studio, camera: Path, tmp_path: Path) -> None:
    with browser(tmp_path, camera=camera) as page:
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda line: problems.extend([line.text] if line.type == "error" else []))
        start(page, server)
        wall = colour_at(page, *WALL)
        assert not near(wall, (0, 177, 64), within=60)

        page.click("text=Green")
        until(page, lambda: near(colour_at(page, *WALL), (0, 177, 64)))
        assert colour_at(page, *SHIRT).max() < 110, "the person is kept"

        page.click("text=Cream")
        until(page, lambda: near(colour_at(page, *WALL), (239, 230, 216)))

        page.click("text=None")
        until(page, lambda: near(colour_at(page, *WALL), tuple(wall), within=25))
        assert problems == []
