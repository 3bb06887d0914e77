"""A drive: everything that is made of a dashcam's file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import pytest
from archives import PATTERN, REPEATED, Watcher, contents
from commands import Rtseg, runner

from rtseg import registry
from rtseg.api import run
from rtseg.archive.drive import DriveOptions, drive, drive_config, open_drive
from rtseg.errors import ConfigError, ModelNotFound, SourceNotFound, SourceUnreadable
from rtseg.registry import Entry
from rtseg.sinks.clips import Clip

PLAIN = DriveOptions(analyzers=(), codec=REPEATED)


@pytest.fixture(scope="module")
def dashcam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("in") / "dashcam.mp4"
    run(PATTERN, path, background="none", model="portrait-fast")
    return path


@pytest.fixture
def rtseg(capsys: pytest.CaptureFixture[str]) -> Rtseg:
    return runner(capsys)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> DriveOptions:
    real = registry.entries

    def entries(kind: Any) -> dict[str, Entry]:
        return {**real(kind), **({"watcher": Entry("archives:Watcher")} if kind == "analyzer" else {})}

    for module in ("rtseg.registry", "rtseg.config"):
        monkeypatch.setattr(f"{module}.entries", entries)
    return DriveOptions(analyzers=("watcher",), codec=REPEATED, lead=0.1, tail=0.1)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def frames(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_a_drive_is_a_video_tables_clips_and_a_summary(dashcam: Path, tmp_path: Path, watched: DriveOptions) -> None:
    stats, summary = drive(dashcam, tmp_path, watched)
    assert (stats.status, frames(tmp_path / "annotated.mp4")) == ("done", 5)
    assert [row["time"] for row in rows(tmp_path / "frames.jsonl")] == [0.0, 0.1, 0.2, 0.3, 0.4]
    assert {row["stream"] for row in rows(tmp_path / "tracks.jsonl")} == {"dashcam.mp4"}
    (event,) = rows(tmp_path / "events.jsonl")
    assert (event["start"], event["end"], event["frames"]) == (0.1, 0.3, 3)
    assert summary == json.loads((tmp_path / "summary.json").read_text())
    assert (summary["frames"], summary["tracks"], summary["events"]) == (5, 1, {"cut_in": 1})
    clip = summary["event_list"][0]["clip"]
    assert (clip["from"], clip["event_at"]) == (0.0, 0.1)
    assert frames(tmp_path / clip["file"]) == clip["frames"]
    assert not list(tmp_path.rglob("*.part"))


def test_two_drives_are_the_same_and_name_no_place(dashcam: Path, tmp_path: Path, watched: DriveOptions) -> None:
    for name in ("one", "two"):
        drive(dashcam, tmp_path / name, watched)
    one = contents(tmp_path / "one")
    assert len(one) == 8
    assert one == contents(tmp_path / "two")
    assert not [name for name in one if str(tmp_path).encode() in (tmp_path / "one" / name).read_bytes()]


def test_a_log_beside_the_file_is_merged(dashcam: Path, tmp_path: Path) -> None:
    video = tmp_path / "drive.mp4"
    video.write_bytes(dashcam.read_bytes())
    said = "latitude: 46.5 longitude: 7.5 36 km/h"
    log = video.with_suffix(".srt")
    log.write_text(f"1\n00:00:00,000 --> 00:00:01,000\n{said}\n\n2\n00:00:01,000 --> 00:00:02,000\n{said}\n")
    _, summary = drive(video, tmp_path / "out", PLAIN)
    assert {row["vehicle_speed"] for row in rows(tmp_path / "out" / "frames.jsonl")} == {10.0}
    assert (summary["analyzers"], summary["distance"], summary["with_speed"]) == (["gps"], 4.0, 1.0)
    log.write_text("1\n00:00:00,000 --> 00:00:01,000\nhello\n")
    _, summary = drive(video, tmp_path / "out", PLAIN)
    assert "drive.srt has no position" in summary["notes"][0]
    assert str(tmp_path) not in summary["notes"][0]
    with pytest.raises(SourceUnreadable, match="has no position"):
        drive(video, tmp_path / "out", DriveOptions(analyzers=(), gps=str(log)))


def test_a_calibration_goes_to_the_analyzers_that_take_one(watched: DriveOptions) -> None:
    config = drive_config("a.mp4", replace(watched, calibration=Path("camera.toml")))
    assert config.analyzers[0].options() == {"calibration": "camera.toml"}
    assert Watcher(**config.analyzers[0].options()).calibration == "camera.toml"
    with pytest.raises(ConfigError, match="no analyzer here takes the detector yolox-nano"):
        drive_config("a.mp4", DriveOptions(analyzers=(), detector="yolox-nano"))
    with pytest.raises(ConfigError, match=r"no analyzer here takes the calibration camera\.toml"):
        drive_config("a.mp4", DriveOptions(analyzers=(), calibration=Path("camera.toml")))


def test_what_cannot_begin_leaves_no_table(tmp_path: Path, dashcam: Path) -> None:
    with pytest.raises(SourceNotFound):
        drive(tmp_path / "none.mp4", tmp_path / "out", PLAIN)
    with pytest.raises(ModelNotFound):
        drive(dashcam, tmp_path / "out", DriveOptions(model="no-such-model", analyzers=()))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_live_drive_cuts_its_clips_from_what_it_wrote(dashcam: Path, tmp_path: Path, watched: DriveOptions) -> None:
    _, summary = drive(dashcam, tmp_path, replace(watched, live=True))
    assert 1 <= summary["frames"] <= 5
    assert frames(tmp_path / "annotated.mp4") == summary["frames"]
    for event in summary["event_list"]:
        assert event["clip"]["file"].startswith("clips/cut_in-")
        assert event["clip"]["of"] == "annotated.mp4"


def test_a_live_clip_is_cut_where_the_event_was_shown(
    tmp_path: Path, watched: DriveOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A camera's times begin anywhere, those of the file at zero."""
    from rtseg.archive import drive as module

    wanted: list[tuple[Path, float]] = []

    def cut(source: Path, path: Path, *, start: float, end: float) -> Clip:
        wanted.append((source, round(start, 6)))
        return Clip(start, end, 1)

    monkeypatch.setattr(module, "cut", cut)
    opened = open_drive("synthetic:testsrc2=size=160x90:rate=10:duration=0.5,setpts=PTS+50/TB", tmp_path, watched)
    opened.run()
    assert wanted == []  # no file
    module._clips(opened.source, tmp_path, opened.tables, replace(watched, lead=0.0), live=True)
    assert wanted == [(tmp_path / "annotated.mp4", 0.1)]


def test_it_is_shown_where_one_looks_on_while_it_is_written(dashcam: Path, tmp_path: Path) -> None:
    _, summary = drive(dashcam, tmp_path / "out", DriveOptions(analyzers=(), to=(str(tmp_path / "shown.mp4"),)))
    assert frames(tmp_path / "shown.mp4") == frames(tmp_path / "out" / "annotated.mp4") == summary["frames"]
    with pytest.raises(ConfigError, match="'nowhere' is no output"):
        drive(dashcam, tmp_path / "none", DriveOptions(analyzers=(), to=("nowhere",)))
    assert not list((tmp_path / "none").iterdir())


def test_the_command_prints_the_summary(dashcam: Path, tmp_path: Path, rtseg: Rtseg) -> None:
    done = rtseg("drive", dashcam, "-o", tmp_path, "--json", "--threads", 1, "--no-clips")
    assert (done.code, done.json["frames"], done.json["model"]) == (0, 5, "road")
    assert rtseg("drive", tmp_path / "none.mp4", "-o", tmp_path).code == 5
    told = rtseg("drive", dashcam, "-o", tmp_path, "--threads", 1, "--analyzers", "none").err
    assert f"report: {tmp_path / 'report.html'}" in told


def test_the_report_is_of_what_was_written_and_has_its_clips(
    dashcam: Path, tmp_path: Path, watched: DriveOptions
) -> None:
    _, summary = drive(dashcam, tmp_path, watched)
    assert (summary["report"], summary["notes"]) == ("report.html", [])
    page = (tmp_path / "report.html").read_text()
    assert "<title>dashcam.mp4</title>" in page
    assert page.count("data:image/jpeg") == 24
    assert page.count("data:video/mp4") == 1
    assert json.loads((tmp_path / "summary.json").read_text())["report"] == "report.html"


def test_a_report_that_fails_is_a_note_and_the_drive_is_whole(
    dashcam: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> Path:
        raise MemoryError(f"no room in {tmp_path}")

    monkeypatch.setattr("rtseg.archive.pages.write_report", fails)
    stats, summary = drive(dashcam, tmp_path, PLAIN)
    assert (stats.status, summary["report"]) == ("done", None)
    assert summary["notes"] == ["no report.html: internal error: MemoryError: no room in ."]
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    _, summary = drive(dashcam, tmp_path, replace(PLAIN, report=False))
    assert "report" not in summary
    assert not (tmp_path / "report.html").exists()


def test_nothing_of_an_earlier_drive_stays_and_files_of_others_do(
    dashcam: Path, tmp_path: Path, watched: DriveOptions
) -> None:
    pytest.importorskip("pyarrow", reason="not installed: pip install 'rtseg[parquet]'")
    drive(dashcam, tmp_path, replace(watched, parquet=True))
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "clips" / "mine.mp4").write_text("mine")
    drive(dashcam, tmp_path, replace(PLAIN, report=False))
    tables = {f"{table}.jsonl" for table in ("frames", "lanes", "tracks", "events")}
    assert contents(tmp_path).keys() == {"annotated.mp4", "summary.json", "notes.txt", "clips/mine.mp4", *tables}


def test_an_input_of_the_drive_that_is_there_is_refused_and_nothing_is_lost(
    dashcam: Path, tmp_path: Path, watched: DriveOptions
) -> None:
    _, summary = drive(dashcam, tmp_path, watched)
    before = contents(tmp_path)
    for name in (summary["event_list"][0]["clip"]["file"], "annotated.mp4"):
        with pytest.raises(ConfigError, match="give another folder"):
            drive(tmp_path / name, tmp_path, watched)
    assert contents(tmp_path) == before
