from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from commands import Rtseg, runner
from segments import quiet, teller

from rtseg.driving.drives import random_traffic
from rtseg.driving.render import render
from rtseg.driving.state import Measure, Scene
from rtseg.errors import ConfigError
from rtseg.evaluate.boxes import Box, BoxTally, NamedBox, TrackTally, overlaps
from rtseg.evaluate.coco import CocoSet
from rtseg.evaluate.drawn import ObstacleErrors, clipped
from rtseg.evaluate.drive_set import DriveSet, drive_set
from rtseg.evaluate.plan import make_plan
from rtseg.evaluate.road_runs import find_boxes, score_boxes
from rtseg.evaluate.track_files import TrackSet, is_tracks
from rtseg.evaluate.track_runs import score_tracks
from rtseg.types import Instances, Regions, Segmentation, Size


@pytest.fixture
def rtseg(capsys: pytest.CaptureFixture[str]) -> Rtseg:
    return runner(capsys)


def car(x: float, *, score: float = 0.9, name: str = "vehicle") -> NamedBox:
    return NamedBox(name, (x, 10.0, x + 40.0, 50.0), score)


def test_the_overlap_of_boxes_is_their_iou() -> None:
    boxes: list[Box] = [(0, 0, 10, 10), (0, 0, 10, 20)]
    assert overlaps(boxes, [(5, 0, 15, 10), (20, 20, 30, 30)]).tolist() == [[1 / 3, 0], [50 / 250, 0]]
    assert overlaps([], boxes).shape == (0, 2)
    assert overlaps([(0, 0, 0, 0)], [(0, 0, 0, 0)]).tolist() == [[0.0]]


def test_boxes_that_are_right_have_a_precision_of_one() -> None:
    pytest.importorskip("faster_coco_eval", reason="pip install 'rtseg[eval]'")
    tally = BoxTally(("vehicle", "vulnerable"))
    tally.add([car(10), car(100, name="vulnerable")], [car(100, name="vulnerable"), car(10)], (200, 100))
    found = tally.precision
    assert (found.ap, found.ap50, found.ap75, found.ar) == pytest.approx((1.0, 1.0, 1.0, 1.0))
    assert [(one.name, one.truth, one.predicted) for one in found.classes] == [("vehicle", 1, 1), ("vulnerable", 1, 1)]


def test_a_box_that_is_off_counts_up_to_its_overlap_and_a_missed_one_halves_the_recall() -> None:
    pytest.importorskip("faster_coco_eval", reason="pip install 'rtseg[eval]'")
    tally = BoxTally(("vehicle",))
    tally.add([car(10)], [car(20)], (200, 100))  # 30 of 50 columns: 0.6
    assert tally.precision.ap50 == pytest.approx(1.0)
    assert tally.precision.ap == pytest.approx(0.3)  # 0.5, 0.55 and 0.6, of ten
    assert tally.precision.ap75 == pytest.approx(0.0)
    tally = BoxTally(("vehicle",))
    tally.add([car(10), car(100)], [car(10)], (200, 100))
    assert tally.precision.ar == pytest.approx(0.5)
    assert tally.precision.ap50 == pytest.approx(51 / 101)  # the recalls 0, 0.01 to 0.5


def test_boxes_find_each_other_by_class_and_score() -> None:
    truth = [car(10), car(100), NamedBox("vehicle", (0, 60, 200, 100), crowd=True)]
    said = [car(12, score=0.5), car(10), car(100, name="vulnerable"), NamedBox("vehicle", (0, 60, 190, 100))]
    finds = find_boxes(truth, said)
    assert finds.truth.tolist() == [True, False, True]
    assert finds.said.tolist() == [False, True, False, True]
    assert find_boxes([], []).f1 == 1.0
    assert find_boxes([], [car(10)]).f1 == 0.0
    assert find_boxes([car(10)], []).f1 == 0.0


def write_boxes(folder: Path, *, names: tuple[str, ...] = ("car", "person", "tree")) -> Path:
    (folder / "images").mkdir(parents=True)
    cv2.imwrite(str(folder / "images" / "a.png"), np.full((100, 200, 3), 90, np.uint8))
    rows: list[dict[str, Any]] = [
        {"image_id": 1, "category_id": 1, "bbox": [10, 10, 40, 40]},
        {"image_id": 1, "category_id": 2, "bbox": [100, 20, 20, 60]},
        {"image_id": 1, "category_id": 3, "bbox": [150, 0, 40, 90]},
    ]
    labels = {
        "images": [{"id": 1, "file_name": "a.png", "width": 200, "height": 100}],
        "annotations": [{**row, "id": number, "iscrowd": 0} for number, row in enumerate(rows, start=1)],
        "categories": [{"id": number, "name": name} for number, name in enumerate(names, start=1)],
    }
    (folder / "labels.json").write_text(json.dumps(labels))
    return folder / "labels.json"


def test_the_worst_boxes_are_on_a_sheet(rtseg: Rtseg, tmp_path: Path) -> None:
    pytest.importorskip("faster_coco_eval", reason="pip install 'rtseg[eval]'")
    cars, out = write_boxes(tmp_path / "a"), tmp_path / "out"
    result = rtseg("eval", "--model", "road-fast", "--task", "obstacles", "--data", cars, "-o", out)
    assert result.code == 0, result.err
    assert "labels: 1 pictures (held out), boxes" in result.out
    assert (out / "worst-road-fast-labels.png").is_file()


def told(result: Segmentation, data: CocoSet) -> Any:
    ((scores, _),) = score_boxes([teller(result.names, [result])], data, progress=quiet)
    return scores.boxes


def test_a_detector_is_measured_by_the_groups_of_its_classes(tmp_path: Path) -> None:
    pytest.importorskip("faster_coco_eval", reason="pip install 'rtseg[eval]'")
    boxes = np.array([(10, 10, 50, 50), (100, 20, 120, 80), (0, 0, 9, 9)], np.float32)
    masks, scores = np.zeros((3, 1, 1), np.uint8), np.array([0.9, 0.8, 0.7], np.float32)
    names = ("truck", "person", "kite")
    found = told(
        Instances(masks, boxes, np.arange(3), scores, names, 0, Size(200, 100)),
        CocoSet(file=write_boxes(tmp_path)),
    )
    assert (found.ap, found.truth, found.predicted) == (pytest.approx(1.0), 2, 2)


def test_parts_of_masks_are_boxes_too(tmp_path: Path) -> None:
    pytest.importorskip("faster_coco_eval", reason="pip install 'rtseg[eval]'")
    planes = np.zeros((2, 100, 200), np.uint8)
    planes[0, 10:50, 10:50] = planes[1, 20:80, 100:120] = 255
    found = told(Regions(planes, ("vehicle", "vulnerable"), 0, Size(200, 100)), CocoSet(file=write_boxes(tmp_path)))
    assert found.ap50 == pytest.approx(1.0)
    assert found.ap == pytest.approx(1.0)


def test_labels_and_models_without_obstacles_are_refused(rtseg: Rtseg, tmp_path: Path) -> None:
    trees = write_boxes(tmp_path / "trees", names=("tree", "sky", "grass"))
    result = rtseg("eval", "--model", "road-fast", "--task", "obstacles", "--data", trees)
    assert result.code == 2
    assert "none of them is an obstacle" in result.err
    cars = write_boxes(tmp_path / "cars")
    result = rtseg("eval", "--model", "portrait-fast", "--task", "lanes", "--data", cars)
    assert result.code == 2
    assert "labels 'lane'" in result.err
    result = rtseg("eval", "--model", "nuclei", "--task", "obstacles", "--data", cars)
    assert result.code == 2
    assert "gives an obstacle" in result.err


def two_tracks(*, swap: bool) -> TrackTally:
    tally = TrackTally()
    tally.begin()
    boxes: list[Box] = [(0, 0, 10, 10), (100, 0, 110, 10)]
    for frame in range(10):
        numbers = (8, 7) if swap and frame >= 5 else (7, 8)
        tally.add({1: boxes[0], 2: boxes[1]}, dict(zip(numbers, boxes, strict=True)))
    return tally


def test_tracks_that_are_right_score_one() -> None:
    pytest.importorskip("trackers", reason="pip install 'rtseg[driving]'")
    scores = two_tracks(swap=False).scores
    assert (scores.hota, scores.detection, scores.association, scores.idf1) == pytest.approx((1.0, 1.0, 1.0, 1.0))
    assert scores.switches == 0


def test_numbers_that_change_half_way_leave_a_third_of_the_association() -> None:
    """Of each pair 5 frames are together, 5 of the truth and 5 of the answer are not: 5 / 15."""
    pytest.importorskip("trackers", reason="pip install 'rtseg[driving]'")
    scores = two_tracks(swap=True).scores
    assert scores.detection == pytest.approx(1.0)
    assert scores.association == pytest.approx(1 / 3)
    assert scores.hota == pytest.approx(math.sqrt(1 / 3))
    assert scores.idf1 == pytest.approx(0.5)
    assert scores.switches == 2


def test_the_same_numbers_in_another_sequence_are_other_things() -> None:
    pytest.importorskip("trackers", reason="pip install 'rtseg[driving]'")
    tally = TrackTally()
    box: Box = (0, 0, 10, 10)
    for number in (1, 2):
        tally.begin()
        for _ in range(4):
            tally.add({5: box}, {number: box})
    assert tally.scores.hota == pytest.approx(1.0)


def test_what_is_told_of_obstacles_is_compared_with_the_truth() -> None:
    pytest.importorskip("trackers", reason="pip install 'rtseg[driving]'")
    drive = replace(random_traffic(1, seconds=0.5), rough=replace(random_traffic(1).rough, missed=0.0))
    exact, off, young, silent = (ObstacleErrors() for _ in range(4))
    near = 0
    for errors in (exact, off, young, silent):
        errors.tracks.begin()
    for truth in render(drive):
        seen = [each for each in truth.obstacles if clipped(each.box, truth.frame.size)]
        near += sum(each.distance is not None and each.distance.value <= 40 for each in seen)
        old = [replace(each, age=15) for each in seen]
        far = [replace(each, distance=Measure(each.distance.value * 1.1, 0.0)) for each in old if each.distance]
        exact.add(truth, Scene(obstacles=tuple(old)))
        off.add(truth, Scene(obstacles=tuple(far)))
        young.add(truth, Scene(obstacles=tuple(replace(each, age=14) for each in old)))
        silent.add(truth, Scene(obstacles=tuple(replace(each, distance=None) for each in old)))
    assert near > 0
    found = exact.scores
    assert found.distance is not None
    assert (found.distance.high, found.distance.many, found.distance_told) == (0.0, near, 1.0)
    assert found.tracks.hota > 0.9
    assert off.scores.distance is not None
    assert off.scores.distance.median == pytest.approx(0.1)
    assert (young.scores.distance, young.scores.distance_told) == (None, None)
    assert (silent.scores.distance, silent.scores.distance_told) == (None, 0.0)


def test_drawn_drives_measure_obstacles_without_a_model(rtseg: Rtseg) -> None:
    pytest.importorskip("trackers", reason="pip install 'rtseg[driving]'")
    result = rtseg("eval", "--task", "obstacles", "--data", "rendered:2", "--json")
    assert result.code == 0, result.err
    assert result.json["models"] == []
    for scores, name in zip(result.json["sets"], ("drawn masks", "drawn boxes"), strict=True):
        assert (scores["model"], scores["kind"], scores["pictures"]) == (name, "drawn-drives", 2)
        found = scores["driven_obstacles"]
        assert found["distance"]["median"] < 0.05
        assert found["distance_told"] > 0.9
        assert found["tracks"]["hota"] > 0.6
        assert found["tracks"]["idf1"] > 0.7
    result = rtseg("eval", "--task", "obstacles", "--data", "rendered:1")
    assert result.code == 0, result.err
    assert "1 drawn drive, tracks" in result.out


def test_drawn_drives_measure_lanes(rtseg: Rtseg) -> None:
    result = rtseg("eval", "--data", "rendered:1", "--json")
    assert result.code == 0, result.err
    (scores,) = result.json["sets"]
    found = scores["driven_lanes"]
    assert (scores["model"], scores["task"]) == ("drawn masks", "lanes")
    assert found["offset"]["mean"] < 0.1
    assert found["heading"]["mean"] < 0.5
    assert found["both"] > 0.95
    assert found["recall"] == found["precision"] == 1.0


def write_mot(folder: Path, rows: str) -> Path:
    for name in ("img1", "gt"):
        (folder / name).mkdir(parents=True)
    for number in range(1, 11):
        cv2.imwrite(str(folder / "img1" / f"{number:06d}.png"), np.full((100, 200, 3), 90, np.uint8))
    (folder / "gt" / "gt.txt").write_text(rows)
    (folder / "seqinfo.ini").write_text("[Sequence]\nname=a\nframeRate=10\n")
    return folder


CARS = "".join(
    f"{frame},{number},{x + frame},11,40,40,1,3,1\n" for frame in range(1, 11) for number, x in ((4, 10), (9, 120))
)
"""Two cars, left and right, that move a pixel a frame."""


def cars_told(frame: int, *, more: tuple[Box, ...] = ()) -> Instances:
    boxes = [(x + frame - 1, 10, x + frame + 39, 50) for x in (10, 120)] + list(more)
    many = len(boxes)
    masks, scores = np.zeros((many, 1, 1), np.uint8), np.full(many, 0.9, np.float32)
    return Instances(
        masks, np.array(boxes, np.float32), np.zeros(many, np.int64), scores, ("car",), frame, Size(200, 100)
    )


def test_labelled_sequences_are_read(tmp_path: Path) -> None:
    data = TrackSet(folder=write_mot(tmp_path / "a", CARS + "1,5,1,1,20,20,0,3,1\n2,6,1,1,20,20,1,12,1\n"))
    assert is_tracks(tmp_path / "a")
    assert is_tracks(tmp_path)
    assert TrackSet(folder=tmp_path).sequences == data.sequences == [tmp_path / "a"]
    frames, rate = data.frames(tmp_path / "a")
    assert (len(frames), rate, frames[0].number) == (10, 10.0, 1)
    assert frames[0].truth == {"vehicle": {4: (10, 10, 50, 50), 9: (120, 10, 160, 50)}, "vulnerable": {}}
    assert [frame.ignored for frame in frames[:3]] == [((0, 0, 20, 20),), ((0, 0, 20, 20),), ()]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("1,1,x,1,5,5\n", "line 1, has a word that is no number"),
        ("1,1,1,1,5\n", "line 1, must be frame, number, left"),
        ("1,1,1,1,0,5\n", "line 1, must be frame, number, left"),
        ("1,1,1,1,5,5,1,3\n1,1,1,1,5,5,1,3\n", "line 2: the number 1 is in frame 1 twice"),
        ("11,1,1,1,5,5,1,3\n", "boxes in frame 11"),
    ],
)
def test_sequences_that_are_wrong_are_told(tmp_path: Path, rows: str, said: str) -> None:
    data = TrackSet(folder=write_mot(tmp_path / "a", rows))
    with pytest.raises(ConfigError, match=said):
        data.frames(tmp_path / "a")


def test_a_model_that_is_right_is_followed_rightly(tmp_path: Path) -> None:
    """Things have a number from their second frame on: of 20 boxes 18, so the detection is 0.9."""
    pytest.importorskip("trackers", reason="pip install 'rtseg[driving]'")
    pytest.importorskip("faster_coco_eval", reason="pip install 'rtseg[eval]'")
    data = TrackSet(folder=write_mot(tmp_path / "a", CARS + "3,5,81,71,21,21,0,3,1\n"))
    results = [cars_told(frame, more=((80, 70, 100, 90),) if frame == 3 else ()) for frame in range(1, 11)]
    (scores,) = score_tracks([teller(("car",), results)], data, progress=quiet)
    assert scores.pictures == 10
    assert scores.boxes is not None
    assert scores.boxes.ap == pytest.approx(1.0)  # what is marked with 0 is no mistake
    assert (scores.boxes.truth, scores.boxes.predicted) == (20, 20)
    assert scores.tracks is not None
    assert scores.tracks.detection == pytest.approx(0.9)
    assert scores.tracks.switches == 0
    assert scores.tracks.idf1 == pytest.approx(2 * 18 / 38)
    (scores,) = score_tracks([teller(("car",), results)], data, limit=3, progress=quiet)
    assert scores.pictures == 3


@pytest.mark.parametrize("text", ["rendered:0", "rendered:x", "rendered:", "rendered:99999", "rendered:-1"])
def test_a_number_of_drives_that_is_none_is_told(text: str) -> None:
    with pytest.raises(ConfigError, match="write rendered:1 to rendered:2000"):
        drive_set(Path(text))


def test_drives_come_from_a_name_or_a_table(tmp_path: Path) -> None:
    assert drive_set(Path("rendered")) == DriveSet(count=20)
    assert drive_set(Path("rendered:7")) == DriveSet(count=7)
    assert drive_set(Path("renders")) is None
    (tmp_path / "drives.toml").write_text('[[drives]]\ncount = 3\nfirst = 4\nname = "later"\n')
    plan = make_plan([tmp_path / "drives.toml"], [])
    assert plan.drives == (DriveSet(count=3, first=4, name="later"),)


def test_what_needs_a_model_says_so(rtseg: Rtseg, tmp_path: Path) -> None:
    for data in (write_boxes(tmp_path / "a"), tmp_path):
        result = rtseg("eval", "--data", data)
        assert result.code == 2
        assert "give a --model" in result.err


def test_an_unknown_task_is_told_with_those_there_are(rtseg: Rtseg) -> None:
    result = rtseg("eval", "--task", "road", "--data", "rendered:1")
    assert result.code == 2
    for task in ("semantic", "drivable", "lanes", "obstacles"):
        assert task in result.err
