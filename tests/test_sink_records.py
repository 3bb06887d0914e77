"""Records: one JSON object a line, and what each key holds."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from written import moving_frame, output_of

from rtseg.errors import SinkError
from rtseg.sinks.null import Null
from rtseg.sinks.records import Records, record
from rtseg.types import Instances, Observation, Output, Regions, Segmentation, Semantic, Size


def output_with(segmentation: Segmentation, *observations: Observation, held: bool = False, **times: float) -> Output:
    frame = moving_frame(3, pts=1001, time_base=Fraction(1, 30_000), size=(80, 40))
    return Output(frame, segmentation, observations, frame, times, held)


def test_a_record_says_when_what_and_where() -> None:
    masks = np.zeros((2, 4, 8), np.uint8)
    masks[0, 1:3, 2:5] = 255
    masks[0, 1, 2] = 128  # at least as likely as not
    masks[0, 0, 0] = 127  # not
    found = record(output_with(Regions(masks, ("road", "lane"), 1001, Size(80, 40)), segment=4.23456, write=1.0))
    assert found == {
        "index": 3,
        "pts": 1001,
        "time_base": "1/30000",
        "time": 0.033367,
        "size": [80, 40],
        "held": False,
        "segments": [
            # Five of six pixels at 1, one at 128/255; six of thirty-two pixels; each is 10x10 of the frame.
            {"label": "road", "coverage": 0.1875, "box": [20, 10, 50, 30], "score": 0.917},
            {"label": "lane", "coverage": 0.0, "box": None, "score": 0.0},
        ],
        "observations": [],
        "times": {"segment": 4.2346, "write": 1.0},
    }


def test_a_framed_picture_has_its_window_and_boxes_stay_the_frames() -> None:
    regions = Regions(np.full((1, 4, 8), 255, np.uint8), ("person",), 1001, Size(80, 40))
    found = record(replace(output_with(regions), window=(10.0, 5.123456, 50.0, 25.123456)))
    assert found["window"] == [10.0, 5.12, 50.0, 25.12]
    assert found["segments"][0]["box"] == [0, 0, 80, 40]


def test_a_box_covers_every_pixel_that_its_mask_touches() -> None:
    mask = np.zeros((1, 3, 3), np.uint8)
    mask[0, 1, 1] = 255
    found = record(output_with(Regions(mask, ("x",), 0, Size(80, 40))))
    # Columns 80/3 .. 160/3 and rows 40/3 .. 80/3, outwards.
    assert found["segments"][0]["box"] == [26, 13, 54, 27]


def test_classes_that_are_present_have_no_score() -> None:
    labels = np.array([[0, 0], [2, 255]], np.uint8)
    found = record(output_with(Semantic(labels, ("road", "car", "sky"), 0, Size(80, 40))))
    assert [(s["label"], s["coverage"], s["score"]) for s in found["segments"]] == [
        ("road", 0.5, None),
        ("sky", 0.25, None),
    ]


def test_instances_have_their_own_boxes_and_tracks() -> None:
    masks = np.full((1, 2, 2), 255, np.uint8)
    boxes = np.array([[1.25, 2, 30.5, 20]], np.float32)
    found = Instances(
        masks, boxes, np.array([0]), np.array([0.75], np.float32), ("car",), 0, Size(80, 40), np.array([12])
    )
    assert record(output_with(found))["segments"] == [
        {"label": "car", "coverage": 1.0, "box": [1.25, 2.0, 30.5, 20.0], "score": 0.75, "track": 12}
    ]


def test_observations_are_kept_and_what_json_cannot_say_is_null() -> None:
    seen = Observation("lane", 1001, {"offset": math.nan, "n": 2, "name": "left\n\u2028", "ok": True, "far": math.inf})
    empty = Regions(np.zeros((1, 1, 1), np.uint8), ("person",), 0, Size(80, 40))
    found = record(output_with(empty, seen, held=True, read=math.nan))
    assert found["held"] is True
    assert found["observations"] == [
        {
            "kind": "lane",
            "pts": 1001,
            "values": {"offset": None, "n": 2, "name": "left\n\u2028", "ok": True, "far": None},
        }
    ]
    assert found["times"] == {"read": None}


def test_observations_keep_six_digits_however_small() -> None:
    seen = Observation("area", 0, {"small": 0.0000123456789, "large": 5054.222222})
    empty = Regions(np.zeros((1, 1, 1), np.uint8), ("person",), 0, Size(80, 40))
    assert record(output_with(empty, seen))["observations"][0]["values"] == {"small": 1.23457e-05, "large": 5054.22}


def test_each_line_is_there_as_soon_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with Records(path) as sink:
        for i in range(3):
            sink.write(output_of(moving_frame(i)))
            lines = (tmp_path / "out.jsonl.part").read_text().splitlines()
            assert [json.loads(line)["index"] for line in lines] == list(range(i + 1))
        assert not path.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["out.jsonl"]
    assert path.read_bytes().count(b"\n") == 3


def test_a_line_stays_one_line_whatever_it_holds(tmp_path: Path) -> None:
    label = "a\nb\r\x1b[2J\u2028"
    regions = Regions(np.zeros((1, 1, 1), np.uint8), (label,), 0, Size(80, 40))
    with Records(tmp_path / "out.jsonl") as sink:
        sink.write(output_with(regions))
    data = (tmp_path / "out.jsonl").read_bytes()
    assert data.isascii()
    assert len(data.splitlines()) == 1
    assert json.loads(data)["segments"][0]["label"] == label


def test_standard_output_is_written_and_left_open(capsys: pytest.CaptureFixture[str]) -> None:
    with Records("-") as sink:
        sink.write(output_of(moving_frame(7)))
    print("after")
    first, second = capsys.readouterr().out.splitlines()
    assert json.loads(first)["index"] == 7
    assert second == "after"


def test_without_a_record_there_is_no_file(tmp_path: Path) -> None:
    Records(tmp_path / "out.jsonl").close()
    assert list(tmp_path.iterdir()) == []


def test_writing_after_closing_is_refused(tmp_path: Path) -> None:
    sink = Records(tmp_path / "out.jsonl")
    sink.close()
    sink.close()
    with pytest.raises(SinkError, match="is closed"):
        sink.write(output_of(moving_frame(0)))


def test_null_counts() -> None:
    with Null() as sink:
        for i in range(4):
            sink.write(output_of(moving_frame(i)))
    assert sink.frames == 4
