"""The studio page in a real Chromium, with a clip for a camera and a real service at the other end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from serving import encoded

from benchmarks.browsers import CLIP, Studio, browser, camera_file, chromium, colour_at, studio, until

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


def test_a_picture_of_ones_own_stands_behind(server: Studio, camera: Path, tmp_path: Path) -> None:
    blue = np.full((300, 400, 3), (200, 60, 20), np.uint8)  # BGR
    (tmp_path / "blue.png").write_bytes(encoded(blue))
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n no picture")
    with browser(tmp_path, camera=camera) as page:
        start(page, server)
        page.set_input_files("#file", tmp_path / "blue.png")
        until(page, lambda: near(colour_at(page, *WALL), (20, 60, 200)))
        assert page.is_checked("input[data-kind=own]")
        assert len(private_folders(server)) == 1

        page.set_input_files("#file", tmp_path / "broken.png")
        page.wait_for_selector("#note.bad:has-text('cannot be used')")
        assert near(colour_at(page, *WALL), (20, 60, 200)), "what was shown goes on"

        page.click("text=Dawn")
        until(page, lambda: not near(colour_at(page, *WALL), (20, 60, 200), within=40))
        page.click("#stop")
        until(page, lambda: private_folders(server) == [], seconds=10)


def test_model_mirror_and_overlay_change_while_it_runs(server: Studio, camera: Path, tmp_path: Path) -> None:
    with browser(tmp_path, camera=camera) as page:
        start(page, server)
        page.click("text=None")
        left, right = (0.07, 0.25), (0.93, 0.25)  # a black frame hangs left, something blue right
        until(page, lambda: colour_at(page, *left).max() < 80 and colour_at(page, *right)[2] > 110)
        page.keyboard.press("m")
        until(page, lambda: colour_at(page, *right).max() < 80 and colour_at(page, *left)[2] > 110)
        page.keyboard.press("m")
        until(page, lambda: colour_at(page, *left).max() < 80)

        page.keyboard.press("a")  # head and shoulders: what hangs left is out of the window
        until(page, lambda: colour_at(page, *left).min() > 110)
        assert page.is_checked("#framing")
        page.click("text=Follow me")
        until(page, lambda: colour_at(page, *left).max() < 80)

        before = colour_at(page, *SHIRT)
        page.click("text=Tint what the model sees")
        until(page, lambda: not near(colour_at(page, *SHIRT), tuple(before), within=30))
        page.select_option("#model", "portrait-fast")
        page.wait_for_selector("#f-more:has-text('by portrait-fast')")
        assert page.inner_text("#state") == "Live"


def private_folders(server: Studio) -> list[Path]:
    """Folders of peers of that server: only it has made any in its own temporary folder."""
    return sorted(server.temporary.glob("rtseg-peer-*"))


def test_snapshots_and_recordings_are_downloaded_and_can_be_played(
    server: Studio, camera: Path, tmp_path: Path
) -> None:
    with browser(tmp_path, camera=camera) as page:
        start(page, server)
        page.click("text=Green")
        until(page, lambda: near(colour_at(page, *WALL), (0, 177, 64)))

        with page.expect_download() as download:
            page.keyboard.press("s")
        picture = cv2.imread(str(download.value.path()))
        assert picture is not None
        assert picture.shape == (480, 640, 3)
        assert near(picture[96, 576][::-1], (0, 177, 64))

        page.keyboard.press("r")
        page.wait_for_selector("#record[aria-pressed=true]")
        page.wait_for_timeout(2500)
        with page.expect_download() as download:
            page.click("#record")
        assert download.value.suggested_filename.endswith(".webm")
        with av.open(str(download.value.path())) as container:
            pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert len(pictures) >= 5, "few on a busy machine: the browser encodes twice"
        assert near(pictures[-1][pictures[-1].shape[0] // 5, pictures[-1].shape[1] * 9 // 10], (0, 177, 64))


def test_one_key_hides_people_at_once_and_shows_them_again(server: Studio, camera: Path, tmp_path: Path) -> None:
    with browser(tmp_path, camera=camera) as page:
        start(page, server)
        page.click("text=Cream")
        until(page, lambda: near(colour_at(page, *WALL), (239, 230, 216)))
        page.keyboard.press("p")
        until(page, lambda: near(colour_at(page, *WALL), (28, 28, 28), within=8), seconds=3)
        assert near(colour_at(page, *SHIRT), (28, 28, 28), within=8)
        assert page.inner_text("#state") == "Nobody sees you"
        page.click("#hide")
        until(page, lambda: near(colour_at(page, *WALL), (239, 230, 216)))
        assert page.inner_text("#state") == "Live"


def test_the_page_finds_a_server_that_was_killed_and_is_back(camera: Path, tmp_path: Path) -> None:
    with browser(tmp_path, camera=camera) as page:
        with studio(tmp_path, "--model", "portrait") as first:
            start(page, first)
            page.click("text=Green")
            until(page, lambda: near(colour_at(page, *WALL), (0, 177, 64)))
        page.wait_for_selector("#trouble:not([hidden])", timeout=15_000)
        assert "does not answer" in page.inner_text("#trouble") or "dropped" in page.inner_text("#trouble")
        with studio(tmp_path, "--model", "portrait", port=int(first.url.rsplit(":", 1)[1].strip("/"))):
            page.wait_for_selector("#state[data-state=live]", timeout=20_000)
            until(page, lambda: near(colour_at(page, *WALL), (0, 177, 64)))


def test_a_full_server_says_so_and_takes_the_next_when_there_is_room(camera: Path, tmp_path: Path) -> None:
    with studio(tmp_path, "--model", "portrait", "--cameras", 1) as small, browser(tmp_path, camera=camera) as page:
        start(page, small)
        second = page.context.new_page()
        second.goto(f"{small.url}studio/")
        second.click("#start")
        second.wait_for_selector("#trouble-title:has-text('The server is full')", timeout=15_000)
        page.click("#stop")
        second.wait_for_selector("#state[data-state=live]", timeout=30_000)


@pytest.mark.parametrize(("has_camera", "title"), [(True, "The camera is not allowed"), (False, "No camera was found")])
def test_what_is_wrong_with_the_camera_is_said(
    server: Studio, camera: Path, tmp_path: Path, has_camera: bool, title: str
) -> None:
    with browser(tmp_path, camera=camera if has_camera else None, refused=has_camera) as page:
        page.goto(f"{server.url}studio/")
        page.click("#start")
        page.wait_for_selector(f"#trouble-title:has-text('{title}')")
        assert title in page.inner_text("#alert"), "aloud too"


def test_a_service_with_a_token_asks_for_it(camera: Path, tmp_path: Path) -> None:
    token = "a-token-of-24-characters"
    with studio(tmp_path, "--model", "portrait", "--token", token) as closed, browser(tmp_path, camera=camera) as page:
        page.goto(f"{closed.url}studio/")
        page.click("#start")
        page.fill("#token", token)
        page.keyboard.press("Enter")
        page.wait_for_selector("#state[data-state=live]", timeout=20_000)


def test_it_fits_a_phone_and_can_be_used_by_keyboard(server: Studio, camera: Path, tmp_path: Path) -> None:
    with browser(tmp_path, camera=camera, viewport={"width": 390, "height": 844}, color_scheme="dark") as page:
        page.goto(f"{server.url}studio/")
        page.focus("#start")
        page.keyboard.press("Enter")
        page.wait_for_selector("#state[data-state=live]", timeout=20_000)
        until(page, lambda: page.evaluate("document.getElementById('after').videoWidth") > 0)
        assert page.evaluate("document.activeElement.id") == "hide", "the keyboard is where it can go on"
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        small = page.evaluate(
            """[...document.querySelectorAll("button, select, .tile, .switch, summary, .button")]
            .filter((each) => each.checkVisibility() && each.getBoundingClientRect().height < 43.5)
            .map((each) => each.id)"""
        )
        assert small == []
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(16, 18, 22)"
        page.focus("input[data-kind=blur]")
        page.keyboard.press("ArrowRight")  # radio buttons: the next one is chosen
        until(page, lambda: near(colour_at(page, *WALL), (0, 177, 64)))
        page.keyboard.press("c")
        page.focus("#split")
        page.keyboard.press("Home")
        assert page.evaluate("getComputedStyle(document.getElementById('stage')).getPropertyValue('--split')") == "0%"
        page.keyboard.press("Tab")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
