"""The tables of a drive: exact rows, the same in JSON lines and in Parquet."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import plain_frame

from rtseg.driving.schema import TABLES, Events, TableName, frame_rows
from rtseg.driving.state import (
    Event,
    Fix,
    LaneLine,
    Lanes,
    Measure,
    Obstacle,
    Scene,
    View,
    observe_event,
    observe_fix,
    observe_lanes,
    observe_obstacle,
    observe_view,
)
from rtseg.driving.tables import ROWS, Tables
from rtseg.errors import SinkError
from rtseg.types import Output, Regions

SCENE = Scene(
    View(900.0, (640.0, 360.0), 0.02, -0.01, 0.0, 1.3, 0.002, 0.004, source="lens", confidence=0.8),
    Lanes((LaneLine(1, -1, (-1.8, 0.01, 1e-4, 0.0), 4.0, 40.0, 0.05, "dashed", "white"),), offset=Measure(0.2, 0.05)),
    (
        Obstacle(
            7,
            "vehicle",
            (10.0, 20.0, 60.0, 70.0),
            0.9,
            Measure(22.0, 1.0),
            in_path=True,
            lead=True,
            headway=Measure(2.0, 0.1),
        ),
        Obstacle(8, "person", (1.0, 2.0, 6.0, 7.0), 0.5, Measure(math.inf, 1.0), seen=False),
    ),
    fix=Fix(48.123456789, 11.5, 5.0, speed=Measure(11.0, 0.5), utc=1_777_636_801.25),
)


def event(phase: Any, seconds: float, *, severity: Any = "warning", ttc: float = 1.0) -> Event:
    return Event("forward_collision", severity, 30, phase, seconds, {"ttc": ttc, "label": "vehicle"})


def output(index: int = 45, scene: Scene = SCENE) -> Output:
    frame = plain_frame(index)
    observations = [*observe_lanes(scene.lanes, index)]
    observations += [observe_view(scene.view, index)] if scene.view else []
    observations += [observe_obstacle(each, index) for each in scene.obstacles]
    observations += [observe_event(each, index) for each in scene.events]
    observations += [observe_fix(scene.fix, index)] if scene.fix else []
    return Output(frame, Regions(np.zeros((1, 2, 2), np.uint8), ("road",), index, frame.size), observations, frame)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_what_is_observed_comes_back_with_the_fix() -> None:
    assert Scene.read(output().observations) == SCENE


def test_a_frame_becomes_rows_with_every_column() -> None:
    rows = frame_rows(output(), SCENE, "a.mp4")
    for table, made in rows.items():
        assert all(list(row) == list(TABLES[table]) for row in made)
    (frame,), (line,), (lead, person) = rows["frames"], rows["lanes"], rows["tracks"]
    assert (frame["stream"], frame["pts"], frame["time"]) == ("a.mp4", 45, 1.5)
    assert (frame["latitude"], frame["vehicle_speed"], frame["utc"]) == (48.1234568, 11.0, 1_777_636_801.25)
    assert (frame["offset"], frame["offset_sigma"], frame["heading"]) == (0.2, 0.05, None)
    assert (frame["view"], frame["pitch"], frame["confidence"]) == ("lens", 0.02, 0.8)
    assert (frame["cx"], frame["cy"], frame["pitch_sigma"], frame["yaw_sigma"]) == (640.0, 360.0, 0.002, 0.004)
    assert (frame["lines"], frame["obstacles"], frame["lead"]) == (1, 2, 7)
    assert (line["c0"], line["c1"], line["kind"], line["place"]) == (-1.8, 0.01, "dashed", -1)
    assert (lead["distance"], lead["headway"], lead["ttc"], lead["x1"]) == (22.0, 2.0, None, 60.0)
    assert (lead["headway_sigma"], lead["seen"]) == (0.1, True)
    assert (person["distance"], person["headway"], person["seen"]) == (None, None, False)  # no infinity


@pytest.mark.parametrize(
    ("kind", "table", "otherwise"),
    [
        (Obstacle, "tracks", {"box": "x0"}),
        (LaneLine, "lanes", {"coefficients": "c0"}),
        (Lanes, "frames", {}),
        (View, "frames", {"centre": "cx", "source": "view"}),
        (Fix, "frames", {"sigma": "position_sigma", "speed": "vehicle_speed"}),
    ],
)
def test_everything_that_is_known_has_a_column(kind: type[Any], table: TableName, otherwise: dict[str, str]) -> None:
    names = [field.name for field in dataclasses.fields(kind)]
    assert [name for name in names if otherwise.get(name, name) not in TABLES[table]] == []


def test_an_event_is_one_row_once_it_has_ended() -> None:
    events = Events("a.mp4")
    scenes = [Scene(events=(event("begin", 0.0),)), Scene(events=(event("on", 0.5, severity="critical"),))]
    for place, scene in enumerate(scenes):
        assert events(output(30 + 15 * place, scene), scene) == []
    last = Scene(events=(event("end", 1.0, ttc=math.nan),))
    (row,) = events(output(60, last), last)
    assert row == {
        "stream": "a.mp4",
        "id": "forward_collision-30",
        "kind": "forward_collision",
        "severity": "critical",
        "start_pts": 30,
        "end_pts": 60,
        "start": 1.0,
        "end": 2.0,
        "seconds": 1.0,
        "frames": 3,
        "open": False,
        "values": '{"label":"vehicle","ttc":1.0}',  # those of its only critical frame
    }
    assert events.rest() == []


def told(kind: Any, *values: Mapping[str, float | None]) -> dict[str, Any]:
    """What the row of an event says that had these values, frame by frame."""
    events, rows = Events("a.mp4"), []
    for place, each in enumerate(values):
        phase: Any = "begin" if place == 0 else "on" if place + 1 < len(values) else "end"
        scene = Scene(events=(Event(kind, "warning", 30, phase, place / 10, each),))
        rows += events(output(30 + place, scene), scene)
    return dict(json.loads(str(rows[0]["values"])))


def test_an_event_has_the_values_of_when_it_was_worst() -> None:
    assert told("lane_departure", {"beyond": 0.1}, {"beyond": 0.5}, {"beyond": -0.5}) == {"beyond": 0.5}
    assert told("forward_collision", {"ttc": 2.0}, {"ttc": 1.2}, {"ttc": None}) == {"ttc": 1.2}
    near = {"headway": 0.4, "ttc": 90.0}
    assert told("close_following", {"headway": 0.9, "ttc": 9.0}, near, {"headway": 0.8, "ttc": 5.0}) == near
    assert told("cut_in", {"distance": 9.0}, {"distance": 8.0}, {"distance": 30.0}) == {"distance": 8.0}


def test_an_event_that_goes_on_at_the_end_is_open(tmp_path: Path) -> None:
    with Tables(tmp_path) as tables:
        tables.write(output(30, dataclasses.replace(SCENE, events=(event("begin", 0.0),))))
    assert [row["open"] for row in lines(tmp_path / "events.jsonl")] == [True]
    assert tables.counts == {"frames": 1, "lanes": 1, "tracks": 2, "events": 1}


def test_parquet_has_the_same_rows_in_groups(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: pip install 'rtseg[parquet]'")
    count = ROWS // 2 + 1
    with Tables(tmp_path, stream="a.mp4", parquet=True) as tables:
        for index in range(count):
            tables.write(output(index))
        assert {path.suffix for path in tmp_path.iterdir()} == {".part"}
        assert max(len(file._rows) for _, file in tables._files if hasattr(file, "_rows")) <= ROWS
    for table in TABLES:
        read = parquet.read_table(tmp_path / f"{table}.parquet")
        assert read.schema.metadata[b"rtseg.schema"] == b"2"
        assert [{"schema": 2, **row} for row in read.to_pylist()] == lines(tmp_path / f"{table}.jsonl")
    assert parquet.ParquetFile(tmp_path / "tracks.parquet").num_row_groups == 2
    assert parquet.read_table(tmp_path / "events.parquet").num_rows == 0


def test_the_same_drive_gives_the_same_bytes(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install 'rtseg[parquet]'")
    for name in ("one", "two"):
        with Tables(tmp_path / name, parquet=True) as tables:
            tables.write(output())
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert len(files) == 8
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in files)


def test_a_full_disk_ends_the_tables_and_keeps_the_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = Tables(tmp_path)
    tables.write(output())
    stream = dict(tables._files)["frames"]._stream  # type: ignore[attr-defined]
    monkeypatch.setattr(type(tables._files[0][1]), "write", lambda *_: (_ for _ in ()).throw(SinkError("full")))
    with pytest.raises(SinkError, match="full"):
        tables.write(output(46))
    tables.close()
    assert stream.closed
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{table}.jsonl.part" for table in sorted(TABLES)]
    with pytest.raises(SinkError, match="closed"):
        tables.write(output(47))


def test_every_column_is_documented() -> None:
    page = (Path(__file__).parents[1] / "docs" / "drive.md").read_text()
    for table, columns in TABLES.items():
        section = re.search(rf"### `{table}`\n(.*?)(?=\n##|\Z)", page, re.S)
        assert section is not None, table
        for column in columns:
            assert f"`{column}`" in section[1], f"docs/drive.md does not explain {column} of {table}"
