"""Logs of position and the time at which a video was recorded."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import av
import pytest

from rtseg.archive.drive import drive
from rtseg.archive.log import PlacedLog, log_of, offset_of
from rtseg.archive.options import DriveOptions
from rtseg.driving.point import Point
from rtseg.driving.sidecars import Log
from rtseg.errors import SourceUnreadable
from rtseg.sources.recording import Recording, recorded_at

BEGAN = datetime(2026, 5, 1, 12, 0, tzinfo=UTC).timestamp()


def video(path: Path, time: str | None, *, frames: int = 40) -> Path:
    """Grey, ten frames a second, recorded then."""
    with av.open(str(path), "w") as made:
        if time is not None:
            made.metadata["creation_time"] = time
        stream = made.add_stream("mpeg4", rate=10)
        stream.width, stream.height = 64, 36
        for _ in range(frames):
            made.mux(stream.encode(av.VideoFrame(64, 36, "yuv420p")))
        made.mux(stream.encode())
    return path


def gpx(path: Path, *, first: int, seconds: int = 6) -> Path:
    """A point a second, `first` seconds after noon."""
    times = [datetime.fromtimestamp(BEGAN + first + each, UTC).isoformat() for each in range(seconds)]
    points = "".join(
        f'<trkpt lat="{46 + i * 1e-4:.4f}" lon="7.5"><time>{t}</time></trkpt>' for i, t in enumerate(times)
    )
    path.write_text(f'<gpx version="1.1"><trk><trkseg>{points}</trkseg></trk></gpx>')
    return path


def log(*, first: float, seconds: float, own: bool = False) -> Log:
    ends = (0.0, seconds)
    return Log(tuple(Point(each, 46.0, 7.5, utc=BEGAN + first + each, own=own) for each in ends))


def test_the_time_of_recording_is_that_of_the_container(tmp_path: Path) -> None:
    assert recorded_at(video(tmp_path / "a.mp4", "2026-05-01T12:00:00Z")) == Recording(BEGAN, 4.0)
    assert recorded_at(video(tmp_path / "a.mkv", "2026-05-01T12:00:00Z")) == Recording(BEGAN, 4.0)


@pytest.mark.parametrize("time", [None, "1970-01-01T00:00:00Z", "1904-01-01T00:00:00Z"])
def test_a_clock_that_was_never_set_is_none(tmp_path: Path, time: str | None) -> None:
    assert recorded_at(video(tmp_path / "a.mp4", time)) is None
    assert recorded_at(tmp_path / "none.mp4") is None


def test_a_log_that_began_earlier_lies_before_the_video(tmp_path: Path) -> None:
    source = video(tmp_path / "a.mp4", "2026-05-01T12:00:00Z")
    path = gpx(tmp_path / "a.gpx", first=-2)
    placed, notes = log_of(source, DriveOptions())
    assert placed == PlacedLog(path, -2.0)
    assert notes == ("the log is placed by the video's time of recording, 2026-05-01T12:00:00+00:00",)
    assert log_of(source, DriveOptions(gps_offset=0.0)) == (PlacedLog(path, 0.0), ())
    assert log_of(video(tmp_path / "a.mp4", None), DriveOptions()) == (PlacedLog(path, 0.0), ())
    with pytest.raises(SourceUnreadable, match="neither GPX nor NMEA"):
        log_of(source, DriveOptions(gps=str(source)))


@pytest.mark.parametrize(
    ("first", "seconds", "offset"),
    [
        (-3600.0, 7200.0, -3600.0),  # a log of the whole day
        (1.0, 60.0, 1.0),
        (-20.0, 60.0, -20.0),
        (-60.0, 60.0, None),  # the camera wrote the time at which it stopped
        (7200.0, 60.0, None),  # or that of its time zone
        (45.0, 60.0, None),
    ],
)
def test_the_clocks_are_believed_where_log_and_video_are_of_one_time(
    first: float, seconds: float, offset: float | None
) -> None:
    recording = Recording(BEGAN, 60.0)
    assert offset_of(log(first=first, seconds=seconds), recording) == offset
    assert offset_of(log(first=first, seconds=seconds, own=True), recording) is None


def test_positions_of_a_drive_are_those_of_its_time(tmp_path: Path) -> None:
    source = video(tmp_path / "a.mp4", "2026-05-01T12:00:00Z")
    gpx(tmp_path / "a.gpx", first=-2)
    options = DriveOptions(analyzers=(), model="road-fast", report=False)
    _, summary = drive(source, tmp_path / "out", options)
    rows = [json.loads(line) for line in (tmp_path / "out" / "frames.jsonl").read_text().splitlines()]
    assert [rows[place]["latitude"] for place in (0, 10, 20)] == [46.0002, 46.0003, 46.0004]
    assert rows[0]["utc"] == BEGAN
    assert summary["notes"] == ["the log is placed by the video's time of recording, 2026-05-01T12:00:00+00:00"]
