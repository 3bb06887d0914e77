"""Pages of drives in a real browser, from files: nothing is asked of anybody, and keys, phones and paper work."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import opened, page, until

import rtseg
from benchmarks.report import made_thumbnails, write_drive
from rtseg.driving.recorded import read_drive
from rtseg.driving.report import drive_page
from rtseg.reports import write_reports

pytestmark = pytest.mark.slow
CURRENT = "[...document.querySelectorAll('.event')].findIndex(e => e.getAttribute('aria-current') === 'true')"
FOCUSED = "[...document.querySelectorAll('.event')].indexOf(document.activeElement)"
EVIL = '"><img src=x onerror=window.hit=1><script>window.hit=1</script>'


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of ten minutes, with a video beside it and a clip of its second event."""
    folder = write_drive(tmp_path_factory.mktemp("report") / "drive", seconds=600, rate=2, seed=5)
    rtseg.run(
        "synthetic:testsrc2=size=160x90:rate=10:duration=2", folder / "drive.webm", codec="vp9", background="none"
    )
    drive = read_drive(folder / "records.jsonl")
    (folder / "clips").mkdir()
    clip = folder / "clips" / f"{drive.events[1].id}.webm"
    clip.write_bytes((folder / "drive.webm").read_bytes())
    text = drive_page(drive, thumbnails=made_thumbnails(6, 600), video=folder / "drive.webm")
    (folder / "report.html").write_text(text, encoding="utf-8")
    return folder / "report.html"


def test_it_opens_from_a_file_and_asks_for_nothing(report: Path) -> None:
    with opened(report) as (tab, asked, wrong):
        tab.wait_for_load_state("load")
        assert [url for url in asked if not url.startswith("data:")] == [report.as_uri()]
        assert wrong == []
        assert tab.title() == "drive"
        assert tab.locator("figure.plot").count() == 5
        assert tab.locator(".strip img").evaluate_all("all => all.every(one => one.naturalWidth > 0)")
        style = "getComputedStyle(document.querySelector('.event')).display"
        assert tab.evaluate(style) == "grid", "the policy lets its own style through"


def test_keys_go_from_event_to_event_and_play_them(report: Path) -> None:
    with opened(report) as (tab, _, wrong):
        tab.keyboard.press("ArrowDown")
        assert tab.evaluate(CURRENT) == -1, "outside of the list it scrolls"
        last = tab.locator(".event").count() - 1
        assert last > 3
        for key, wanted in (
            ("j", 0),
            ("ArrowDown", 1),
            ("k", 0),
            ("End", last),
            ("j", last),
            ("Home", 0),
            ("ArrowUp", 0),
        ):
            tab.keyboard.press(key)
            assert tab.evaluate(CURRENT) == tab.evaluate(FOCUSED) == wanted, key
        assert tab.evaluate("document.querySelector('.cursor').getAttribute('x1')").endswith("%")
        tab.keyboard.press("j")
        tab.keyboard.press("Enter")
        until(tab, "document.querySelector('video').currentTime > 0.2")
        assert tab.evaluate("document.querySelector('video').src").startswith("data:video/webm;base64,")
        assert wrong == []


def test_an_event_without_a_clip_is_shown_in_the_video_beside_the_page(report: Path) -> None:
    with opened(report) as (tab, asked, wrong):
        tab.keyboard.press("j")
        until(tab, "document.querySelector('video').readyState > 0")
        assert asked[-1] == report.with_name("drive.webm").as_uri()
        assert wrong == []


def test_a_clip_that_the_browser_cannot_play_is_shown_in_the_video(report: Path, tmp_path: Path) -> None:
    folder = write_drive(tmp_path / "drive", seconds=600, rate=2, seed=5)
    (folder / "drive.webm").write_bytes(report.with_name("drive.webm").read_bytes())
    (folder / "clips").mkdir()
    first = read_drive(folder / "records.jsonl").events[0]
    (folder / "clips" / f"{first.id}.mp4").write_bytes(b"HEVC")
    with opened(write_reports(folder, pictures=0).first) as (tab, asked, _):
        tab.keyboard.press("j")
        tab.keyboard.press("Enter")
        until(tab, "document.querySelector('video').readyState > 0")
        assert asked[-1] == (folder / "drive.webm").as_uri()
        assert tab.evaluate("document.querySelector('video').error") is None
        assert "cannot be played" not in tab.locator("#now").inner_text()
    (folder / "drive.webm").unlink()
    with opened(write_reports(folder, pictures=0).first) as (tab, _, _):
        tab.keyboard.press("j")
        until(tab, "document.getElementById('now').textContent === 'This clip cannot be played here.'")


def test_an_address_names_an_event(report: Path) -> None:
    drive = read_drive(report.with_name("records.jsonl"))
    with page() as tab:
        tab.goto(f"{report.as_uri()}#event-{drive.events[2].id}")
        assert tab.evaluate(CURRENT) == 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_never_scrolls_sideways(report: Path, scheme: str) -> None:
    settings = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True, "color_scheme": scheme}
    with opened(report, **settings) as (tab, _, _):
        assert tab.evaluate("document.documentElement.scrollWidth") == 360
        tab.locator(".event").nth(1).tap()
        assert tab.evaluate(CURRENT) == 1
        ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(255, 255, 255)") == (scheme == "light")


def test_on_paper_there_is_no_player_and_all_is_dark_on_light(report: Path) -> None:
    with opened(report, color_scheme="dark") as (tab, _, _):
        assert tab.locator("video").is_visible()
        tab.emulate_media(media="print", color_scheme="dark")
        assert not tab.locator("video").is_visible()
        assert not tab.locator(".keys").is_visible()
        assert tab.locator(".event").first.is_visible()
        assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert tab.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"


def test_names_from_files_run_nothing(tmp_path: Path) -> None:
    folder = write_drive(tmp_path / EVIL.replace("/", "-"), seconds=30, rate=2)
    path = folder / "records.jsonl"
    path.write_text(
        path.read_text()
        .replace('"car"', '"<script>window.hit=1</script>"')
        .replace("estimated", "<img src=x onerror=window.hit=1>")
    )
    line = (
        path.read_text()
        .splitlines()[-1]
        .replace(
            '"observations":[',
            '"observations":[{"kind":"event","pts":0,"values":{"id":"e","kind":"<img src=x onerror=window.hit=1>",'
            '"severity":"</style><script>window.hit=1</script>","start":0,"phase":"on","seconds":1,'
            '"value_<b onload=window.hit=1>":"</script><script>window.hit=1</script>"}},',
        )
    )
    path.write_text(path.read_text() + line + "\n")
    done = write_reports(tmp_path)
    for each in (done.first, *done.pages):
        with opened(each) as (tab, _, wrong):
            tab.wait_for_load_state("load")
            assert tab.evaluate("window.hit") is None
            assert tab.locator("img").count() == 0
            assert wrong == []


def test_a_script_that_is_not_ours_would_not_run(report: Path) -> None:
    """What the policy is for: even markup that slipped through."""
    slipped = report.read_text(encoding="utf-8").replace(
        "<h1>", "<script>window.hit=1</script><img src=x onerror=window.hit=1><h1>"
    )
    other = report.with_name("slipped.html")
    other.write_text(slipped, encoding="utf-8")
    with opened(other) as (tab, _, wrong):
        tab.wait_for_load_state("load")
        assert tab.evaluate("window.hit") is None
        assert len(wrong) >= 2


def test_an_archive_leads_to_its_drives(tmp_path: Path) -> None:
    for seed, name in enumerate(("monday", "tuesday")):
        write_drive(tmp_path / name, seconds=120, rate=2, seed=seed)
    done = write_reports(tmp_path)
    with opened(done.first, viewport={"width": 360, "height": 740}) as (tab, asked, wrong):
        assert [url for url in asked if not url.startswith("data:")] == [done.first.as_uri()]
        assert tab.evaluate("document.documentElement.scrollWidth") == 360
        assert tab.locator(".drives tbody tr").count() == 2
        tab.locator("main table a").last.click()
        assert "/report.html#event-" in tab.url
        assert tab.evaluate(CURRENT) >= 0
        assert wrong == []
