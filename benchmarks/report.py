"""How large the page of a long drive is, and how soon a browser shows it: `python -m benchmarks.report`.

The drive is made up: an offset that sways, a vehicle ahead that comes and goes, events, a way by GPS.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from benchmarks.browsers import chromium
from rtseg.driving.recorded import Thumbnail, read_drive
from rtseg.driving.report import drive_page
from rtseg.driving.state import (
    EVENTS,
    Event,
    LaneLine,
    Lanes,
    Measure,
    Obstacle,
    View,
    observe_event,
    observe_lanes,
    observe_obstacle,
    observe_view,
)
from rtseg.types import Observation

TICKS = 90_000


def observed(seconds: float, began: dict[str, float], rng: random.Random) -> Iterator[Observation]:
    """What analyzers would say at that time; began: events that go on, since when."""
    pts = round(seconds * TICKS)
    offset = 0.25 * math.sin(seconds / 7) + 0.1 * math.sin(seconds / 1.7)
    ahead = 40 + 25 * math.sin(seconds / 23)
    speed, closing = 24 + 4 * math.sin(seconds / 31), 25 / 23 * math.cos(seconds / 23)
    view = View(1100.0, (640.0, 360.0), 0.03, 0.0, 0.0, 1.3, 0.004, 0.004, confidence=min(0.95, 0.2 + seconds / 60))
    yield observe_view(view, pts)
    lines = [
        LaneLine(1, -1, (-1.8 - offset, 0.0, 1e-4, 0.0), 4.0, 40.0, 0.05, "dashed", "white"),
        LaneLine(2, 1, (1.8 - offset, 0.0, 1e-4, 0.0), 4.0, 40.0, 0.05, "solid", "white"),
    ]
    known = None if seconds % 61 < 4 else Measure(offset, 0.04)
    yield from observe_lanes(Lanes(tuple(lines), known, Measure(0.01, 0.01), Measure(1e-4, 1e-5)), pts)
    ttc = Measure(ahead / -closing, 1.0) if closing < -0.1 else None
    box = (600.0, 300.0, 700.0, 380.0)
    lead = {"speed": Measure(closing, 0.3), "ttc": ttc, "in_path": True, "lead": True}
    yield observe_obstacle(Obstacle(3, "car", box, 0.9, Measure(ahead, 0.05 * ahead), Measure(0.2, 0.2), **lead), pts)  # type: ignore[arg-type]
    if rng.random() < 0.004 and len(began) < 2:
        began[rng.choice(EVENTS)] = seconds
    for kind in list(began):
        length = seconds - began[kind]
        severity = ("info", "warning", "critical")[sum(map(ord, kind)) % 3]
        phase = "begin" if length == 0 else "end" if length > 2.5 else "on"
        start = round(began[kind] * TICKS)
        yield observe_event(Event(kind, severity, start, phase, length, {"offset": offset}), pts)  # type: ignore[arg-type]
        if phase == "end":
            del began[kind]
    turn = seconds / 200
    where = {"latitude": 48.2 + 0.004 * seconds / 60 * math.cos(turn), "longitude": 11.5 + 0.012 * math.sin(turn)}
    yield Observation("fix", pts, {**where, "sigma": 4.0, "speed": speed, "speed_sigma": 0.4})


def write_drive(folder: Path, *, seconds: float, rate: float, seed: int = 1) -> Path:
    """records.jsonl and summary.json of a made-up drive, as a run leaves them."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, began = random.Random(seed), {}  # type: ignore[var-annotated]
    count = round(seconds * rate)
    with (folder / "records.jsonl").open("w", encoding="utf-8") as lines:
        for index in range(count):
            at = index / rate
            record = {
                "index": index,
                "pts": round(at * TICKS),
                "time_base": f"1/{TICKS}",
                "time": round(at, 6),
                "size": [1280, 720],
                "held": rng.random() < 0.001,
                "segments": [],
                "observations": [
                    {"kind": each.kind, "pts": each.pts, "values": dict(each.values)}
                    for each in observed(at, began, rng)
                ],
                "times": {"segment": 11.0},
            }
            lines.write(json.dumps(record, separators=(",", ":")) + "\n")
    summary = {"status": "partial", "frames_out": count, "counts": {"corrupt_packets": 2, "repaired_timestamps": 0}}
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    return folder


def made_thumbnails(count: int, seconds: float) -> list[Thumbnail]:
    """Noise, which compresses worse than any road."""
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (108, 192, 3), np.uint8) for _ in range(count)]
    times = np.linspace(0, seconds, count).tolist()
    encoded = [cv2.imencode(".jpg", cv2.GaussianBlur(each, (5, 5), 0))[1].tobytes() for each in pictures]
    return [Thumbnail(at, jpeg, 120.0) for at, jpeg in zip(times, encoded, strict=True)]


def opening_ms(page: Path, rounds: int) -> list[float]:
    """Wall milliseconds from asking for the page until it was loaded and drawn, each in a tab of its own."""
    from playwright.sync_api import sync_playwright

    found = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium(), args=["--headless=new", "--no-sandbox"])
        try:
            for _ in range(rounds):
                tab = browser.new_page()
                began = time.perf_counter()
                tab.goto(page.as_uri(), wait_until="load")
                tab.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
                found.append((time.perf_counter() - began) * 1e3)
                tab.close()
        finally:
            browser.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=float, default=30, help="frames a second")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = write_drive(Path(place) / "drive", seconds=60 * options.minutes, rate=options.rate)
        size = (folder / "records.jsonl").stat().st_size
        began = time.process_time()
        drive = read_drive(folder / "records.jsonl")
        read = time.process_time() - began
        began = time.process_time()
        text = drive_page(drive, thumbnails=made_thumbnails(24, drive.seconds))
        made = time.process_time() - began
        page = folder / "report.html"
        page.write_text(text, encoding="utf-8")
        print(f"{len(drive.times)} frames, {len(drive.events)} events, records of {size / 1e6:.1f} MB")
        print(f"read in {read:.2f} CPU-s, page made in {made:.2f} CPU-s, {page.stat().st_size / 1e6:.2f} MB")
        if chromium() is None:
            print("no browser here: apt install chromium")
            return
        times = opening_ms(page, options.rounds)
        print(f"opened in {statistics.median(times):.0f} ms (median of {len(times)}, the first {times[0]:.0f} ms)")


if __name__ == "__main__":
    main()
