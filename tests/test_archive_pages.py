"""Drives of a drawn road, from the video to pages in a real browser."""

from __future__ import annotations

import time
import urllib.request
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from archives import REPEATED, archive, contents
from browser import opened, until
from drawn_roads import drawn_road
from rtsp_server import free_port

from rtseg.archive.batch import batch
from rtseg.archive.drive import DriveOptions, drive, open_drive
from rtseg.ops.arrays import U8, as_u8

SMALL = DriveOptions(model="road-fast", analyzers=("lanes",), codec=REPEATED, threads=1)
VIDEO = "document.querySelector('video')"


@pytest.mark.slow
@pytest.mark.parametrize("live", [False, True])
def test_a_departure_becomes_an_event_a_clip_and_a_page_that_plays_it(tmp_path: Path, live: bool) -> None:
    pytest.importorskip("trackers", reason="rtseg[driving] is not installed")
    options = DriveOptions(codec=REPEATED, threads=1, live=live, lead=1.0)
    _, summary = drive(drawn_road(tmp_path / "road.mp4"), tmp_path / "out", options)
    (event,) = summary["event_list"]
    assert (event["kind"], event["clip"]["file"]) == ("lane_departure", f"clips/{event['id']}.mp4")
    assert event["clip"]["of"] == ("annotated.mp4" if live else "input")
    with opened(tmp_path / "out" / "report.html") as (tab, asked, wrong):
        tab.keyboard.press("j")
        tab.keyboard.press("Enter")
        until(tab, f"{VIDEO}.currentTime > {event['clip']['event_at']} + 0.1")
        assert tab.evaluate(f"{VIDEO}.error") is None
        assert tab.evaluate(f"[{VIDEO}.videoWidth, {VIDEO}.videoHeight]") == [640, 360]
        assert tab.evaluate(f"{VIDEO}.src").startswith("data:video/mp4;base64,")
        assert [url for url in asked if url.startswith("http")] == []
        assert wrong == []


@pytest.mark.slow
def test_a_live_drive_is_watched_while_it_is_written(tmp_path: Path) -> None:
    port = free_port()
    options = DriveOptions(live=True, to=(f"mjpeg:{port}",), analyzers=("lanes",), codec=REPEATED, threads=1)
    opened_drive = open_drive(drawn_road(tmp_path / "road.mp4"), tmp_path / "out", options)
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(opened_drive.run)
        seen = [picture for _ in range(200) if (picture := snapshot(port, running)) is not None]
        stats, summary = running.result(60)
    assert seen, "nothing was shown while it ran"
    assert {picture.shape for picture in seen} == {(360, 640, 3)}
    assert any(np.abs(picture.astype(int) - seen[0]).max() > 100 for picture in seen[1:]), "it stood still"
    assert stats.status == "done"
    assert summary["events"].keys() == {"lane_departure"}
    assert (tmp_path / "out" / "report.html").is_file()


def snapshot(port: int, running: Future[Any]) -> U8 | None:
    """What the drive shows now; None once it has ended, or before it begins."""
    if running.done():
        return None
    time.sleep(0.05)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/snapshot.jpg", timeout=2) as answer:
            return as_u8(cv2.imdecode(np.frombuffer(answer.read(), np.uint8), cv2.IMREAD_COLOR))
    except OSError:
        return None


@pytest.mark.slow
def test_other_models_give_lanes_and_a_detector_gives_obstacles(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("trackers", reason="rtseg[driving] is not installed")
    monkeypatch.setenv("RTSEG_MODELS", str(shared / "weights"))
    options = DriveOptions(model="twinlitenetplus-nano", detector="yolox-nano", report=False)
    _, summary = drive(shared / "clips" / "road" / "highway_traffic.mp4", tmp_path, options)
    assert (summary["frames"], summary["with_lane"], summary["events"]) == (38, 1.0, {})
    assert summary["tracks"] >= 2
    assert summary["rows"]["tracks"] >= 60


def test_an_archive_has_a_page_of_its_drives_and_of_what_failed(tmp_path: Path) -> None:
    folder = archive(tmp_path / "in", 2)
    (folder / "bad.mp4").write_bytes(b"no video")
    batch(str(folder), tmp_path / "one", SMALL, jobs=2)
    page = (tmp_path / "one" / "index.html").read_text()
    assert "<title>Archive</title>" in page
    assert "./000.mp4/report.html" in page
    assert "./below/001.mp4/report.html" in page
    assert "bad.mp4 is" in page
    assert (tmp_path / "one" / "below" / "001.mp4" / "report.html").is_file()
    batch(str(folder), tmp_path / "other", SMALL, jobs=1)
    assert contents(tmp_path / "one") == contents(tmp_path / "other")


def test_going_on_renews_the_page_of_an_archive(tmp_path: Path) -> None:
    folder, out = archive(tmp_path / "in", 1), tmp_path / "out"
    batch(str(folder), out, SMALL)
    before = (out / "index.html").read_text()
    archive(folder, 2)
    assert batch(str(folder), out, SMALL, resume=True).counts["done"] == 2
    after = (out / "index.html").read_text()
    assert "001.mp4" not in before
    assert "./below/001.mp4/report.html" in after
    (folder / "below" / "001.mp4").unlink()
    batch(str(folder), out, SMALL, resume=True)
    assert (out / "index.html").read_text() == before


def test_an_archive_whose_page_fails_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rtseg.archive.pages.write_index", fails)
    assert batch(str(archive(tmp_path / "in", 1)), tmp_path / "out", SMALL).code == 0
    assert not (tmp_path / "out" / "index.html").exists()
