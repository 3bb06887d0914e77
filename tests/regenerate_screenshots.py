"""The pictures of reports in the documentation: a made-up drive, drawn, displayed, recorded and reported.

Run `python tests/regenerate_screenshots.py` after a change that is meant to look different, and look at the picture.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import drive_scenes
import numpy as np
from browser import page

from rtseg.compositor import Compositor
from rtseg.driving.hud import Hud
from rtseg.driving.state import Event, LaneLine, Measure, Scene
from rtseg.reports import write_reports
from rtseg.sinks.records import Records
from rtseg.sinks.video import VideoWriter
from rtseg.types import Observation, Output, Size, StreamInfo

IMAGES = Path(__file__).parent.parent / "docs" / "images"
SIZE, RATE, SECONDS = Size(640, 360), 10, 90


def moment(at: float) -> Scene:
    """The scene at a time: the vehicle sways, leaves its lane once, and comes near the one ahead twice."""
    base = drive_scenes.scene(SIZE, calm=True)
    offset = 0.15 * math.sin(at / 3) + 1.4 * math.exp(-(((at - 30) / 2) ** 2))
    ahead = 26 - 16 * math.exp(-(((at - 55) / 6) ** 2)) - 10 * math.exp(-(((at - 75) / 4) ** 2))
    closing = -(moved(at + 0.1) - moved(at - 0.1)) / 0.2
    assert base.view is not None
    lines = tuple(shifted(line, offset) for line in drive_scenes.lanes_of(offset=0.0).lines)
    lanes = replace(base.lanes, lines=lines, offset=Measure(offset, 0.05))
    ttc = Measure(ahead / closing, 0.2) if closing > 0.5 else None
    car = drive_scenes.obstacle(
        base.view, 3, "car", 0.1 - offset, ahead, size=(1.8, 1.5), ttc=ttc, in_path=True, lead=True
    )
    events = []
    for kind, severity, start, end in (
        ("lane_departure", "warning", 28.0, 32.5),
        ("forward_collision", "critical", 49.0, 52.5),
        ("close_following", "info", 53.0, 58.0),
        ("forward_collision", "warning", 71.5, 74.0),
    ):
        if start <= at <= end:
            phase = "begin" if at == start else "end" if at + 1 / RATE > end else "on"
            values = {"ttc": round(ttc.value, 1)} if ttc is not None else {"offset": round(offset, 2)}
            events.append(Event(kind, severity, round(start * 90_000), phase, at - start, values))  # type: ignore[arg-type]
    return Scene(
        replace(base.view, confidence=min(0.9, 0.3 + at / 40)), lanes, (car, *base.obstacles[1:]), tuple(events)
    )


def moved(at: float) -> float:
    """The distance ahead at a time."""
    return 26 - 16 * math.exp(-(((at - 55) / 6) ** 2)) - 10 * math.exp(-(((at - 75) / 4) ** 2))


def shifted(line: LaneLine, offset: float) -> LaneLine:
    c0, *others = line.coefficients
    return replace(line, coefficients=(c0 - offset, *others))  # type: ignore[arg-type]


def record_drive(folder: Path) -> None:
    """A video with the display on it, and its records."""
    info = StreamInfo("drive", SIZE, Fraction(RATE), time_base=Fraction(1, 90_000))
    hud, compositor = Hud(), Compositor()
    with Records(folder / "records.jsonl") as records, VideoWriter(folder / "drive.mp4", info=info) as video:
        for index in range(SECONDS * RATE):
            at = index / RATE
            scene, pts = moment(at), round(at * 90_000)
            frame = replace(drive_scenes.picture(SIZE, scene, pts=pts), index=index)
            masks = replace(drive_scenes.regions(SIZE, scene), pts=pts)
            seen = drive_scenes.observations(scene, pts)[:-1]
            turn = at / 25
            place = {
                "latitude": 48.2 + 0.004 * math.sin(turn),
                "longitude": 11.5 + 0.009 * math.sin(turn / 2),
                "sigma": 4.0,
            }
            seen.append(Observation("fix", pts, {**place, "speed": 24 + 3 * math.sin(at / 9), "speed_sigma": 0.4}))
            picture = compositor(frame, hud(frame, masks, seen))
            output = Output(frame, masks, seen, picture)
            records.write(output)
            video.write(output)


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "monday"
        folder.mkdir()
        record_drive(folder)
        done = write_reports(folder, pictures=12)
        for name, settings in (
            ("report.png", {"viewport": {"width": 1120, "height": 1500}}),
            ("report-phone.png", {"viewport": {"width": 360, "height": 780}, "color_scheme": "dark"}),
        ):
            with page(**settings) as tab:
                tab.goto(done.first.as_uri())
                tab.keyboard.press("n")
                tab.wait_for_timeout(1500)
                tab.keyboard.press("p")
                tab.wait_for_timeout(1500)
                tab.keyboard.press("p")
                tab.screenshot(path=str(IMAGES / name))
            picture = cv2.imread(str(IMAGES / name))
            assert isinstance(picture, np.ndarray)
            cv2.imwrite(str(IMAGES / name), picture, [cv2.IMWRITE_PNG_COMPRESSION, 9])
            print(f"{name}: {(IMAGES / name).stat().st_size} bytes; the page {done.first.stat().st_size}")


if __name__ == "__main__":
    main()
