from __future__ import annotations

import itertools
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from commands import Rtseg, runner

from rtseg.driving.ground import F64, to_image
from rtseg.driving.render import Drive, Marking, render
from rtseg.errors import ConfigError
from rtseg.evaluate.lane_files import LaneSet, is_lanes
from rtseg.evaluate.lane_metrics import LaneScores, LaneTally, RowScores, at_rows, best_pairs, by_rows, drawn_line
from rtseg.evaluate.road_runs import lines_of
from rtseg.types import Frame

CULANE, TUSIMPLE = (1640, 590), (1280, 720)
ROWS = np.arange(240.0, 720.0, 10.0)


@pytest.fixture
def rtseg(capsys: pytest.CaptureFixture[str]) -> Rtseg:
    return runner(capsys)


def upright(u: float, *, top: float = 250.0, bottom: float = 589.0) -> F64:
    return np.array([(u, bottom), (u, top)])


def test_lines_that_are_right_score_one() -> None:
    tally = LaneTally()
    lines = [upright(400), np.array([(900.0, 589.0), (850.0, 400.0), (700.0, 260.0)])]
    finds = tally.add(lines, lines[::-1], CULANE)
    assert finds.truth.all()
    assert finds.said.all()
    assert tally.scores == LaneScores(2, 2, 2)
    assert (tally.scores.f1, tally.scores.precision, tally.scores.recall) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(("shift", "found"), [(9, 1), (40, 0)])
def test_a_line_is_found_where_it_covers_over_half_of_the_true_one(shift: int, found: int) -> None:
    truth, said = (drawn_line(upright(u), CULANE, 30) for u in (400, 400 + shift))
    across = int(truth[400].sum())
    assert across in (30, 31)
    both, either = int((truth & said)[400].sum()), int((truth | said)[400].sum())
    assert (both, either) == (max(across - shift, 0), across + min(shift, across))
    tally = LaneTally()
    tally.add([upright(400)], [upright(400 + shift)], CULANE)
    assert tally.scores == LaneScores(found, 1, 1)
    assert tally.scores.f1 == found


def test_lines_are_drawn_thinner_in_smaller_pictures() -> None:
    small = (410, 148)
    for shift, found in ((2, 1), (10, 0)):
        tally = LaneTally()
        line = upright(100, top=40, bottom=147)
        tally.add([line], [line + np.array((shift, 0))], small)
        assert tally.scores.found == found


def test_a_missed_line_costs_recall_and_one_made_up_precision() -> None:
    tally = LaneTally()
    tally.add([upright(400), upright(900)], [upright(400)], CULANE)
    assert (tally.scores.precision, tally.scores.recall) == (1.0, 0.5)
    assert tally.scores.f1 == pytest.approx(2 / 3)
    tally.add([], [upright(400)], CULANE)
    assert tally.scores == LaneScores(1, 2, 2)
    empty = LaneTally()
    empty.add([], [], CULANE)
    assert empty.scores.f1 == 1.0


def test_pairs_have_the_greatest_sum_of_all() -> None:
    chance = np.random.default_rng(1)
    for shape in ((3, 3), (2, 5), (5, 2), (1, 4), (0, 3)):
        for _ in range(20):
            scores = chance.random(shape) * (chance.random(shape) < 0.7)
            pairs = best_pairs(scores)
            rows, columns = [row for row, _ in pairs], [column for _, column in pairs]
            assert len(set(rows)) == len(rows)
            assert len(set(columns)) == len(columns)
            short, long = sorted(shape)
            square = scores if shape[0] <= shape[1] else scores.T
            every = (
                sum(square[row, column] for row, column in enumerate(order))
                for order in itertools.permutations(range(long), short)
            )
            assert sum(scores[pair] for pair in pairs) == pytest.approx(max(every))


def test_a_second_line_does_not_take_what_is_the_first_ones() -> None:
    assert sorted(best_pairs(np.array([[0.9, 0.8], [0.85, 0.0]]))) == [(0, 1), (1, 0)]


def test_rows_are_counted_as_tusimple_does() -> None:
    """By hand: 8 of 10 rows are within 20 pixels, which is under 0.85; the second line is all right."""
    rows = np.arange(0.0, 100.0, 10.0)
    true = [np.full(10, 300.0), np.full(10, 600.0)]
    near = np.full(10, 310.0)
    near[:2] = 321.0
    assert by_rows(true, [near, true[1]], rows) == RowScores(0.9, 0.5, 0.5)
    assert by_rows(true, [true[1]], rows) == RowScores(0.5, 0.0, 0.5)
    assert by_rows(true, [], rows) == RowScores(0.0, 0.0, 1.0)


def test_a_slanted_line_may_be_further_off_along_the_row() -> None:
    rows = np.arange(0.0, 100.0, 10.0)
    for slope, accuracy in ((0.0, 0.0), (1.0, 1.0)):  # 20 / cos 45° is 28
        true = 300.0 + slope * rows
        assert by_rows([true], [true + 25], rows).accuracy == accuracy


def test_a_row_without_a_point_is_right_where_both_have_none() -> None:
    rows = np.arange(0.0, 100.0, 10.0)
    true, said = np.full(10, 300.0), np.full(10, 300.0)
    true[:4], said[:3] = -2, -2
    assert by_rows([true], [said], rows).accuracy == pytest.approx(0.9)


def test_of_five_true_lines_the_worst_is_left_out_and_three_too_many_are_none() -> None:
    rows = np.arange(0.0, 100.0, 10.0)
    five = [np.full(10, 100.0 + 200 * n) for n in range(5)]
    assert by_rows(five, five[:4], rows) == RowScores(1.0, 0.0, 0.0)
    half = np.where(rows < 50, five[4], five[4] + 50)
    assert by_rows(five, [*five[:4], half], rows) == RowScores(1.0, 0.2, 0.0)
    assert by_rows(five[:1], five[:4], rows) == RowScores(0.0, 0.0, 1.0)
    assert by_rows(five[:2], five[:4], rows) == RowScores(1.0, 0.5, 0.0)


@pytest.mark.parametrize(("shift", "right"), [(10, 1.0), (40, 0.0)])
def test_a_shifted_line_is_right_in_rows_within_twenty_pixels(shift: float, right: float) -> None:
    tally = LaneTally()
    line = upright(500, top=240, bottom=710)
    tally.add([line], [line + np.array((shift, 0))], TUSIMPLE, rows=ROWS, lanes=[np.full(len(ROWS), 500.0)])
    assert tally.scores.rows == RowScores(right, 1 - right, 1 - right)


def test_a_line_has_no_point_beyond_its_ends() -> None:
    rows = np.array([0.0, 10.0, 15.0, 20.0, 30.0])
    assert at_rows(np.array([(7.0, 20.0), (5.0, 10.0)]), rows).tolist() == [-2, 5, 6, 7, -2]
    assert at_rows(np.array([(7.0, 20.0), (-5.0, 10.0)]), rows).tolist() == [-2, -2, 1, 7, -2]


def drawn() -> tuple[list[F64], np.ndarray, np.ndarray]:
    """A drawn road: its true lines in the picture, the lane mask, and the picture."""
    drive = Drive(seconds=0.05, rate=20, markings=tuple(Marking(x) for x in (-5.4, -1.8, 1.8, 5.4)), wander=0.0)
    frame = next(iter(render(drive, pictures=True)))
    z = np.geomspace(3.0, 45.0, 80)
    lines = []
    for line in frame.lanes.lines:
        u, v = to_image(frame.view, [line.at(each) for each in z], z)
        lines.append(np.stack([u, v], axis=-1) - 0.5)
    return lines, frame.regions.probabilities[1], frame.frame.rgb


def test_a_single_mask_gives_its_lines_in_the_picture() -> None:
    lines, mask, rgb = drawn()
    said = lines_of(mask, Frame.from_rgb(rgb))
    rows = np.arange(370.0, 720.0, 10.0)
    lanes = [at_rows(line, rows) for line in lines]
    tally = LaneTally()
    tally.add(lines, said, (1280, 720), rows=rows, lanes=lanes)
    assert (tally.scores.found, tally.scores.said, tally.scores.truth) == (4, 4, 4)
    assert tally.scores.rows is not None
    assert tally.scores.rows.accuracy > 0.97
    assert lines_of(np.zeros_like(mask), Frame.from_rgb(rgb)) == []


def write_tusimple(folder: Path) -> Path:
    lines, _, rgb = drawn()
    (folder / "clips").mkdir(parents=True)
    for name in ("a", "b"):
        cv2.imwrite(str(folder / "clips" / f"{name}.png"), rgb[..., ::-1])
    rows = np.arange(370.0, 720.0, 10.0)
    lanes = [at_rows(line, rows).round().tolist() for line in lines]
    about = [{"raw_file": f"clips/{name}.png", "lanes": lanes, "h_samples": rows.tolist()} for name in "ab"]
    path = folder / "labels.json"
    path.write_text("\n".join(map(json.dumps, about)) + "\n")
    return path


def write_culane(folder: Path) -> Path:
    lines, _, rgb = drawn()
    (folder / "drive").mkdir(parents=True)
    cv2.imwrite(str(folder / "drive" / "00.jpg"), rgb[..., ::-1])
    text = "\n".join(" ".join(f"{value:.2f}" for value in line.ravel()) for line in lines)
    (folder / "drive" / "00.lines.txt").write_text(f"{text}\n5 5\n")
    return folder


def test_both_kinds_of_labels_are_read(tmp_path: Path) -> None:
    lines, _, _ = drawn()
    tusimple, culane = write_tusimple(tmp_path / "t"), write_culane(tmp_path / "c")
    assert is_lanes(tusimple)
    assert is_lanes(culane)
    assert not is_lanes(tmp_path / "t")
    by_row = LaneSet(file=tusimple)
    assert by_row.stems("held_out") == ["clips/a", "clips/b"]
    assert by_row.stems("train") == []
    picture = by_row.read("clips/a")
    assert picture.rgb.shape == (720, 1280, 3)
    assert picture.rows is not None
    assert len(picture.lanes) == len(picture.lines) == 4
    assert all((line[:, 0] >= 0).all() for line in picture.lines)
    by_point = LaneSet(file=culane)
    assert by_point.stems() == ["drive/00"]
    picture = by_point.read("drive/00")
    assert picture.rows is None
    assert len(picture.lines) == 4  # a line of one point is none
    assert np.abs(picture.lines[0] - lines[0]).max() <= 0.005


ROW = {"raw_file": "a.png", "lanes": [[1, 2]], "h_samples": [10, 20]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (json.dumps({**ROW, "lanes": [[1]]}), "line 1, is not TuSimple's: .*must have 2 values"),
        (f"{json.dumps(ROW)}\n{{", "line 2, is not TuSimple's"),
        (f"{json.dumps(ROW)}\n{json.dumps(ROW)}", "has the picture a.png twice"),
        ("\n", "has no line"),
        (json.dumps({**ROW, "raw_file": "../a.png"}), "outside"),
        (json.dumps(ROW), "put it there"),
    ],
)
def test_labels_that_are_wrong_are_told(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "labels.json").write_text(text)
    data = LaneSet(file=tmp_path / "labels.json")
    with pytest.raises(ConfigError, match=said):
        [data.read(stem) for stem in data.stems()]


@pytest.mark.parametrize(("text", "said"), [("1 2 x", "no number"), ("1 2 3", "pairs of x and y"), ("", "no picture")])
def test_lines_that_are_wrong_are_told(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.lines.txt").write_text(text)
    if text:
        cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ConfigError, match=said):
        LaneSet(file=tmp_path).read("a")


def test_a_model_is_measured_on_both_kinds_of_labels(rtseg: Rtseg, tmp_path: Path) -> None:
    paths = [write_tusimple(tmp_path / "t"), write_culane(tmp_path / "c")]
    given = [argument for path in paths for argument in ("--data", path)]
    out = tmp_path / "out"
    result = rtseg("eval", "--model", "road-fast", "--task", "lanes", *given, "-o", out, "--json")
    assert result.code == 0, result.err
    by_row, by_point = result.json["sets"]
    assert (by_row["kind"], by_row["task"], by_row["pictures"]) == ("lane-lines", "lanes", 2)
    assert by_row["lanes"]["truth"] == 8
    assert by_row["lanes"]["found"] == 8
    assert by_row["lanes"]["rows"]["accuracy"] > 0.8
    assert (by_point["lanes"]["truth"], by_point["lanes"]["rows"]) == (4, None)
    page = (out / "report.md").read_text()
    assert "lines by rows (TuSimple)" in page
    assert "lines drawn thick (CULane)" in page
    assert (out / "worst-road-fast-labels.png").is_file()


def test_what_labels_no_lanes_is_refused(rtseg: Rtseg, tmp_path: Path) -> None:
    for task in ("drivable", "obstacles", "semantic"):
        result = rtseg("eval", "--model", "road-fast", "--task", task, "--data", write_tusimple(tmp_path / task))
        assert result.code == 2
        assert "use --task lanes" in result.err
    given = ("--task", "lanes", "--data", write_tusimple(tmp_path / "t"))
    result = rtseg("eval", "--model", "road-fast", *given, "--part", "train")
    assert result.code == 2
    assert "no picture of labels is in the part 'train'" in result.err
    result = rtseg("eval", "--model", "portrait", *given)
    assert result.code == 2
    assert "none of the models gives lane" in result.err


def test_lane_masks_are_measured_by_distance(rtseg: Rtseg, tmp_path: Path) -> None:
    _, mask, rgb = drawn()
    for kind, picture in (("images", rgb[..., ::-1]), ("masks", cv2.resize(mask, (1280, 720)))):
        (tmp_path / kind).mkdir()
        cv2.imwrite(str(tmp_path / kind / "a.png"), picture)
    given = ("--model", "road-fast", "--data", tmp_path, "--part", "all")
    result = rtseg("eval", *given, "--task", "lanes", "--json")
    assert result.code == 0, result.err
    (scores,) = result.json["sets"]
    (region,) = scores["regions"]
    assert (scores["task"], region["region"]) == ("lanes", "lane")
    assert region["line_f1"] > 0.8
    result = rtseg("eval", *given, "--task", "obstacles")
    assert result.code == 2
    assert "show no boxes of single obstacles" in result.err
