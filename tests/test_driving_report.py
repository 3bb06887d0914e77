"""Pages of drives: what records become, and that nothing in a file can become markup."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import rtseg
from benchmarks.report import made_thumbnails, write_drive
from rtseg.cli.app import app
from rtseg.driving.markup import clock, joined, tag
from rtseg.driving.page import assembled
from rtseg.driving.plots import plot, way
from rtseg.driving.recorded import Drive, Told, clips_of, read_drive, records_in
from rtseg.driving.report import archive_page, drive_page
from rtseg.errors import SourceNotFound, SourceUnreadable
from rtseg.reports import write_reports
from rtseg.sinks.records import Records
from rtseg.types import Frame, Observation, Output, Regions, Size

HOSTILE = "\"><img src=x onerror=alert(1)></script><script>alert(2)</script>&lt;'"


def record(index: int, *observations: dict[str, Any], **more: Any) -> dict[str, Any]:
    seen = [{"kind": each.pop("kind"), "pts": 90 * index, "values": each} for each in observations]
    base = {"index": index, "pts": 3000 * index, "time_base": "1/90000", "time": index / 30, "held": False}
    return {**base, "size": [64, 36], "segments": [], "observations": seen, "times": {}, **more}


def event(phase: str, severity: str = "warning", **more: Any) -> dict[str, Any]:
    base = {"kind": "event", "id": "cut_in-3000", "severity": severity, "start": 3000, "phase": phase, "seconds": 0.1}
    return {**base, **more}


def lane(offset: object, sigma: object = 0.1) -> dict[str, Any]:
    return {"kind": "lane", "offset": offset, "offset_sigma": sigma}


def written(folder: Path, *records: object) -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / "records.jsonl"
    path.write_text("".join(each if isinstance(each, str) else json.dumps(each) + "\n" for each in records))
    return path


def seen_event(record: dict[str, Any], phase: str, severity: str, **values: object) -> dict[str, Any]:
    """The record with an event; its kind stands in its values, beside that of the observation."""
    fields = event(phase, severity)
    fields.pop("kind")
    named = {f"value_{key}": value for key, value in values.items()}
    record["observations"].append({"kind": "event", "pts": 0, "values": {**fields, "kind": "cut_in", **named}})
    return record


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Drive:
    folder = write_drive(tmp_path_factory.mktemp("drives") / "monday", seconds=300, rate=4, seed=3)
    return read_drive(folder / "records.jsonl")


def test_curves_are_those_of_the_records_and_nothing_where_nothing_is_known(tmp_path: Path) -> None:
    lead = {"kind": "obstacle", "id": 1, "label": "car", "score": 0.9, **dict(zip(("x0", "y0", "x1", "y1"), range(4)))}  # noqa: B905
    path = written(
        tmp_path,
        record(0, lane(0.25), {**lead, "distance": 30.0, "distance_sigma": 1.0, "lead": True}),
        record(1, lane(None), {**lead, "distance": 9.0, "distance_sigma": 1.0, "lead": False}),
        record(2, lane("far left"), {"kind": "fix", "latitude": 48.0, "longitude": 11.0, "sigma": 4.0, "speed": 10.0}),
    )
    drive = read_drive(path)
    assert drive.times.tolist() == [0.0, 1 / 30, 2 / 30]
    assert drive.curves["offset"][0] == 0.25
    assert np.isnan(drive.curves["offset"][1:]).all()
    assert drive.curves["distance"][0] == 30.0
    assert np.isnan(drive.curves["distance"][1:]).all(), "that vehicle is not ahead"
    assert drive.curves["speed"][2] == 10.0
    assert drive.track.tolist() == [[2 / 30, 48.0, 11.0]]


def test_an_event_is_told_once_by_its_worst(tmp_path: Path) -> None:
    steps = [
        ("begin", "warning", 3.0),
        ("on", "critical", 1.4),
        ("on", "critical", 1.2),
        ("on", "critical", 1.3),
        ("end", "warning", 0.5),
    ]
    lines = [seen_event(record(30 + i), phase, severity, ttc=ttc) for i, (phase, severity, ttc) in enumerate(steps)]
    (told,) = read_drive(written(tmp_path, record(0), *lines)).events
    assert told == Told("cut_in-3000", "cut_in", "critical", 3000 / 90000, 34 / 30, {"ttc": 1.2})


def test_what_was_lost_is_counted(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        record(0),
        record(1, held=True),
        "{not json\n",
        "[1, 2]\n",
        '{"index": 1e999, "time": 1, "observations": []}\n',
        '{"index": 5, "time": NaN, "observations": []}\n',
        "\n",
        record(5, time=2.0),
        record(6, time=2.03),
    )
    drive = read_drive(path)
    assert (len(drive.times), drive.held, drive.missing, drive.broken) == (4, 1, 3, 4)
    assert drive.gaps == ((1 / 30, 2.0),)
    page = drive_page(drive)
    for said in ("3 (42.9%)", "Lines of the records that cannot be read", "0:00 to 0:02", "not measured"):
        assert said in page


def test_numbers_that_are_none_and_times_that_begin_anew_are_borne(tmp_path: Path) -> None:
    broken = [lane(10**400), lane(True), lane([1]), {"kind": "view", "cx": 1}, {"kind": "line"}]
    path = written(tmp_path, record(0, time=5.0), *(record(1 + i, each) for i, each in enumerate(broken)), record(9))
    drive = read_drive(path)
    assert (np.diff(drive.times) >= 0).all()
    assert np.isnan(drive.curves["offset"]).all()
    assert drive.broken == 2
    assert "Not known in this drive." in drive_page(drive)


def test_the_records_sink_and_the_report_understand_each_other(tmp_path: Path) -> None:
    grey = np.zeros((36, 64), np.uint8)
    size = Size(64, 36)
    with Records(tmp_path / "records.jsonl") as sink:
        for index in range(3):
            frame = Frame((grey, grey[::2, ::2], grey[::2, ::2]), index=index, pts=index * 3000)
            masks = Regions(np.zeros((1, 4, 4), np.uint8), ("road",), frame.pts, size)
            seen = [Observation("lane", frame.pts, {"offset": math.nan if index else 0.5, "offset_sigma": 0.1})]
            sink.write(Output(frame, masks, seen, frame))
    drive = read_drive(tmp_path / "records.jsonl")
    assert drive.curves["offset"][0] == 0.5
    assert np.isnan(drive.curves["offset"][1])


def test_the_tables_of_a_drive_are_read_too(tmp_path: Path) -> None:
    def rows(name: str, *rows: object) -> None:
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))

    frame = {"stream": "a.mp4", "held": False, "view": "file", "confidence": 0.7, "offset": 0.1, "offset_sigma": 0.02}
    where = {"latitude": 48.0, "longitude": 11.0, "vehicle_speed": 20.0}
    frames = [{**frame, **where, "pts": 3000 * i, "index": i, "time": i / 30} for i in range(4)]
    rows("frames.jsonl", *frames, {"time": "late"})
    track = {"id": 1, "distance": 30.0, "ttc": None, "lead": True}
    rows("tracks.jsonl", {**track, "pts": 3000}, {**track, "pts": 6000, "lead": False}, [1], {**track, "pts": [1]})
    told = {
        "id": "cut_in-0",
        "kind": "cut_in",
        "severity": "warning",
        "start": 0.0,
        "end": 0.1,
        "values": '{"side":"left"}',
    }
    rows("events.jsonl", told, {**told, "id": "x", "start": None}, {**told, "id": "y", "values": "{", "severity": 9})
    clip = {"file": "clips/cut_in-0.mp4", "event_at": 4.5}
    summary = {"status": "done", "lost": {"corrupt_packets": 3}, "event_list": [{"id": "cut_in-0", "clip": clip}, 7]}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "cut_in-0.mp4").write_bytes(b"clip")
    assert records_in(tmp_path) == tmp_path / "frames.jsonl"
    drive = read_drive(tmp_path / "frames.jsonl")
    assert drive.curves["offset"].tolist() == [0.1] * 4
    assert drive.curves["distance"][1] == 30.0
    assert np.isnan(drive.curves["distance"][[0, 2, 3]]).all()
    assert drive.curves["speed"].tolist() == [20.0] * 4
    assert len(drive.track) == 4
    assert drive.events == (
        Told("cut_in-0", "cut_in", "warning", 0.0, 0.1, {"side": "left"}),
        Told("y", "cut_in", "info", 0.0, 0.1, {}),
    )
    assert drive.broken == 2
    page = drive_page(drive)
    assert "corrupt packets" in page
    assert '"clip":0,"at":4.5' in page


def test_a_folder_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match="has no drive in it"):
        write_reports(tmp_path)
    with pytest.raises(SourceNotFound, match="is no folder"):
        write_reports(tmp_path / "none")
    written(tmp_path, "nothing\n", "of use\n")
    with pytest.raises(SourceUnreadable, match="no record of a frame in its 2 lines"):
        write_reports(tmp_path)


def test_records_are_found_under_another_name_where_it_is_the_only_one(tmp_path: Path) -> None:
    path = written(tmp_path, record(0)).rename(tmp_path / "monday.jsonl")
    (tmp_path / "events.jsonl").write_text('{"id": 1}\n')
    assert records_in(tmp_path) == path
    path.with_name("tuesday.jsonl").write_bytes(path.read_bytes())
    assert records_in(tmp_path) is None


class Elements(HTMLParser):
    """Every element of a page, and what is in its scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def elements(page: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = Elements()
    parser.feed(page)
    return parser.found


def test_nothing_from_a_file_becomes_markup(drive: Drive, tmp_path: Path) -> None:
    told = Told(f"cut_in-{HOSTILE}", HOSTILE, "critical", 1.0, 2.0, {HOSTILE: HOSTILE})
    bad = replace(
        drive,
        name=HOSTILE,
        folder=tmp_path,
        events=(told,),
        views={HOSTILE: 1},
        summary={"counts": {HOSTILE: HOSTILE}, "status": HOSTILE},
    )
    video = tmp_path / 'javascript:alert(3)"><u>.mp4'
    pages = [
        drive_page(bad, video=video),
        archive_page([(bad, "./a/report.html")], name=HOSTILE, failed={HOSTILE: HOSTILE}),
    ]
    for page in pages:
        found = elements(page)
        assert not [name for name, _ in found if name in ("img", "u")]
        scripts = [attributes for name, attributes in found if name == "script"]
        assert scripts == [{"type": "application/json", "id": "drive"}, {}]
        assert not [key for _, attributes in found for key in attributes if key.startswith("on")]
        for _, attributes in found:
            for key in ("href", "src"):
                assert not (attributes.get(key) or "./").lower().startswith("javascript:")
        assert HOSTILE not in page
    (data,) = re.findall(r'id="drive">(.*?)</script>', pages[0], re.DOTALL)
    assert json.loads(data)["video"].startswith("./javascript%3Aalert")


def test_a_page_asks_for_nothing_from_elsewhere(drive: Drive) -> None:
    for page in (drive_page(drive, thumbnails=made_thumbnails(2, 10)), archive_page([(drive, "./r.html")], name="all")):
        assert not re.search(r"(src|href|url)\s*[=(]\s*[\"']?(https?:)?//", page)
        ((_, policy),) = [
            (name, attributes["content"]) for name, attributes in elements(page) if "http-equiv" in attributes
        ]
        assert policy is not None
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy


def test_clips_are_in_the_page_where_they_have_room_and_beside_it_where_not(drive: Drive, tmp_path: Path) -> None:
    here = replace(drive, folder=tmp_path)
    first = here.events[0]
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / f"{first.id}.mp4").write_bytes(b"0123456789")
    assert [(told.id, path.name) for told, path in clips_of(here)] == [(first.id, f"{first.id}.mp4")]
    assert "data:video/mp4;base64,MDEyMzQ1Njc4OQ==" in drive_page(here, embedded=10)
    beside = drive_page(here, embedded=9)
    assert f"./clips/{first.id}.mp4" in beside
    assert "base64" not in beside
    outside = replace(here, events=(replace(first, id="../../secret"),))
    (tmp_path.parent / "secret.mp4").write_bytes(b"secret")
    assert list(clips_of(outside)) == []


def test_an_archive_has_a_page_for_each_drive_and_one_for_all(tmp_path: Path) -> None:
    for seed, name in enumerate(("monday", "tuesday", "week 2/wednesday")):
        write_drive(tmp_path / name, seconds=60, rate=2, seed=seed)
    written(tmp_path / "torn", "{")
    write_drive(tmp_path / ".work" / "half", seconds=2, rate=2)
    files = [
        {"file": "night.mp4", "status": "failed", "reason": "no video in it"},
        {"file": "monday", "status": "done"},
        5,
    ]
    (tmp_path / "batch.json").write_text(json.dumps({"files": files}))
    done = write_reports(tmp_path)
    assert done.first == tmp_path / "index.html"
    assert sorted(page.parent.name for page in done.pages) == ["monday", "tuesday", "wednesday"]
    assert list(done.failed) == ["torn"]
    page = done.first.read_text(encoding="utf-8")
    links = {attributes["href"] for name, attributes in elements(page) if name == "a"}
    assert "./week%202/wednesday/report.html" in links
    assert "no record of a frame" in page
    assert "<td>night.mp4</td><td>no video in it</td>" in page
    assert not list(tmp_path.rglob("*.part"))


def test_the_command_tells_where_the_page_is_and_fails_in_part(tmp_path: Path) -> None:
    write_drive(tmp_path / "monday", seconds=20, rate=2)
    runner = CliRunner()
    done = runner.invoke(app, ["report", str(tmp_path), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {
        "page": str(tmp_path / "index.html"),
        "pages": [str(tmp_path / "monday" / "report.html")],
        "failed": {},
    }
    written(tmp_path / "torn", "{")
    assert runner.invoke(app, ["report", str(tmp_path)]).exit_code == 7


def test_pictures_come_from_the_video_beside_the_records(tmp_path: Path) -> None:
    write_drive(tmp_path, seconds=2, rate=5)
    rtseg.run("synthetic:testsrc2=size=320x180:rate=5:duration=2", tmp_path / "drive.mp4", background="none")
    done = write_reports(tmp_path, pictures=3)
    page = done.first.read_text(encoding="utf-8")
    times = [attributes["data-seconds"] for name, attributes in elements(page) if "data-seconds" in attributes]
    assert times == ["0.300", "0.900", "1.500"]
    assert page.count("data:image/jpeg;base64,") == 3
    assert "0 of the 3 pictures above are dark" in page
    (data,) = re.findall(r'id="drive">(.*?)</script>', page, re.DOTALL)
    assert json.loads(data)["video"] == "./drive.mp4"


def test_a_video_that_is_shorter_than_its_records_or_none_gives_what_it_has(tmp_path: Path) -> None:
    write_drive(tmp_path, seconds=4, rate=5)
    rtseg.run("synthetic:testsrc2=size=160x90:rate=5:duration=2", tmp_path / "drive.mp4", background="none")
    page = write_reports(tmp_path, pictures=4).first.read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") == 2
    (tmp_path / "drive.mp4").write_bytes(b"no video")
    page = write_reports(tmp_path, pictures=4).first.read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") == 0
    assert "not measured: there are no pictures" in page


def test_a_long_curve_keeps_its_peaks(drive: Drive) -> None:
    values = np.zeros(50_000)
    values[31_234], values[40_000:41_000] = 1.0, np.nan
    long = replace(drive, times=np.linspace(0, 100, 50_000), events=())
    made = plot(long, values, title="x", unit="m", least=-1, most=2)
    assert len(made) < 60_000
    (path,) = re.findall(r'd="([^"]+)" class="curve"', made)
    rows = [float(row) for row in re.findall(r"[ML][\d.]+ ([\d.]+)", path)]
    assert (min(rows), max(rows)) == (6.0, 114.0)
    assert path.count("M") == 2, "interrupted where nothing is known"


def test_of_very_many_events_the_worst_are_listed(drive: Drive) -> None:
    many = [Told(f"cut_in-{i}", "cut_in", "info", float(i % 300), i % 300 + 1.0, {}) for i in range(1500)]
    bad = [replace(many[7], id="bad-1", severity="critical"), replace(many[9], id="bad-2", severity="warning")]
    page = drive_page(replace(drive, events=(*many, *bad)))
    buttons = [attributes for name, attributes in elements(page) if name == "button"]
    assert len(buttons) == 1000
    assert {"event-bad-1", "event-bad-2"} <= {attributes["id"] for attributes in buttons}
    assert "The 1000 worst of 1502 events." in page
    assert len(page) < 1_500_000


def test_a_band_is_as_wide_as_what_is_not_known(drive: Drive) -> None:
    values, sigma = np.array([0.0, 0.0, np.nan, 0.0, 0.0]), np.array([0.5, 0.5, 0.5, np.nan, 0.5])
    few = replace(drive, times=np.arange(5.0), events=())
    made = plot(few, values, title="x", unit="m", least=-1, most=1, sigma=sigma)
    (path,) = re.findall(r'd="([^"]+)" class="band"', made)
    assert path == "M0.0 6.0L250.0 6.0L250.0 114.0L0.0 114.0z", "a frame alone, or without a sigma, has none"


def test_the_way_has_the_shape_that_was_driven(drive: Drive) -> None:
    corner = np.array([[0.0, 60.0, 10.0], [1.0, 60.01, 10.0], [2.0, 60.01, 10.02]])  # as far east as north
    turned = replace(drive, track=corner, events=())
    made = way([turned])
    assert made is not None
    (points,) = re.findall(r'points="([^"]+)"', made)
    pairs = [tuple(map(float, pair.split(","))) for pair in points.split()]
    (x0, y0), (x1, y1), (x2, y2) = pairs[:3]
    assert x0 == x1
    assert y1 == y2
    assert y0 - y1 == pytest.approx(x2 - x1, abs=0.5)
    assert turned.metres == pytest.approx(2 * 1111.95, rel=1e-3)
    assert way([replace(drive, track=np.zeros((0, 3)))]) is None


def test_markup_escapes_all_but_itself() -> None:
    assert tag("p", "<b>", tag("i", 2.50), title='"') == '<p title="&quot;">&lt;b&gt;<i>2.5</i></p>'
    assert joined("a&b", None, math.nan) == "a&amp;b"
    assert [clock(seconds) for seconds in (-1, 59.6, 125, 3725)] == ["0:00", "1:00", "2:05", "1:02:05"]


def test_data_of_a_page_cannot_end_its_element() -> None:
    value = "</script><b>&\u2028<!--"
    page = assembled("title", joined(), {"value": value})
    (data,) = re.findall(r'id="drive">(.*?)</script>', page, re.DOTALL)
    assert not set("<>&\u2028") & set(data)
    assert json.loads(data) == {"value": value}
