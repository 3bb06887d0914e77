"""Who is shown, chosen on the studio page in a real Chromium whose camera shows two people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.browsers import CLIP, browser, camera_file, chromium, colour_at, studio, until
from rtseg.ops.arrays import U8

pytest.importorskip("aiortc", reason="needs the extra webrtc")
pytest.importorskip("playwright", reason="needs playwright")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium() is None, reason="needs Debian's chromium, or RTSEG_CHROMIUM"),
]

LEFT, RIGHT, WALL = (0.25, 0.75), (0.75, 0.75), (0.5, 0.1)
"""The shirts of both, and what is between them."""


@pytest.fixture(scope="module")
def camera(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The middle of a clip twice, beside itself in the mirror."""
    path = camera_file(shared / CLIP, tmp_path_factory.mktemp("camera"))
    data = path.read_bytes()
    begin, size = data.index(b"\n") + 1, 640 * 480 * 3 // 2
    frames = [data[at : at + size] for at in range(begin + 6, len(data), 6 + size)]
    with path.open("wb") as file:
        file.write(data[:begin])
        for frame in frames:
            planes = np.frombuffer(frame, np.uint8)
            luma, u, v = (
                planes[start : start + width * height].reshape(height, width)
                for start, width, height in ((0, 640, 480), (307200, 320, 240), (384000, 320, 240))
            )
            file.write(b"FRAME\n" + b"".join(twice(plane).tobytes() for plane in (luma, u, v)))
    return path


def twice(plane: U8) -> U8:
    quarter = plane.shape[1] // 4
    middle = plane[:, quarter:-quarter]
    return np.hstack([middle, middle[:, ::-1]])


def is_green(page: Any, place: tuple[float, float]) -> bool:
    return bool(np.abs(colour_at(page, *place).astype(int) - (0, 177, 64)).max() <= 14)


def seen(page: Any, left: bool, right: bool) -> None:
    """Wait until exactly these are shown before green."""
    until(page, lambda: (not is_green(page, LEFT), not is_green(page, RIGHT)) == (left, right))


def click(page: Any, place: tuple[float, float]) -> None:
    box = page.locator("#after").bounding_box()
    page.mouse.click(box["x"] + place[0] * box["width"], box["y"] + place[1] * box["height"])


def test_whom_one_clicks_on_is_shown_and_nobody_else(camera: Path, tmp_path: Path) -> None:
    with studio(tmp_path, "--model", "portrait") as server, browser(tmp_path, camera=camera) as page:
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(f"{server.url}studio/")
        page.click("#start")
        page.wait_for_selector("#state[data-state=live]", timeout=20_000)
        until(page, lambda: page.evaluate("document.getElementById('after').videoWidth") > 0)
        page.click("text=Green")
        until(page, lambda: is_green(page, WALL))
        seen(page, True, True)

        click(page, LEFT)
        seen(page, True, False)
        assert page.input_value("#subject") == "chosen"
        assert "Only who you clicked on" in page.inner_text("#note")
        click(page, RIGHT)
        seen(page, False, True)

        page.click("text=Mirror")
        seen(page, True, False)
        page.click("text=Cream")
        page.click("text=Green")
        seen(page, True, False)
        page.click("text=Mirror")
        seen(page, False, True)

        page.select_option("#subject", "all")
        seen(page, True, True)
        page.select_option("#subject", "chosen")
        seen(page, False, True)
        page.select_option("#subject", "largest")
        until(page, lambda: is_green(page, LEFT) != is_green(page, RIGHT))
        assert problems == []
