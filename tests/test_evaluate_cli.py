from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from commands import PATTERN, Rtseg, portrait_photo, runner
from segments import true, write_coco

import rtseg as package


@pytest.fixture
def rtseg(capsys: pytest.CaptureFixture[str]) -> Rtseg:
    return runner(capsys)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four photographs of persons with the portrait model's own masks: whatever it is asked, it is right."""
    folder = tmp_path_factory.mktemp("labelled")
    (folder / "images").mkdir()
    for i in range(4):
        portrait_photo(folder / "images" / f"p{i}.png", size=(120 + 8 * i, 90))
    from rtseg.config import ModelOptions
    from rtseg.datasets import read_rgb
    from rtseg.engines import build_segmenter
    from rtseg.ops.resize import enlarge
    from rtseg.store import find_card
    from rtseg.types import Frame, Regions

    segmenter = build_segmenter(ModelOptions(), find_card("portrait"))
    (folder / "masks").mkdir()
    for path in sorted((folder / "images").glob("*")):
        frame = Frame.from_rgb(read_rgb(path))
        result = segmenter(frame)
        assert isinstance(result, Regions)
        mask = np.where(enlarge(result.probabilities[0], frame.size) > 127, np.uint8(255), np.uint8(0))
        cv2.imwrite(str(folder / "masks" / path.name), mask)
    return folder


def test_a_model_that_is_right_scores_one(rtseg: Rtseg, labelled: Path) -> None:
    result = rtseg("eval", "--model", "portrait", "--data", labelled, "--part", "all", "--json")
    assert result.code == 0, result.err
    (scores,) = result.json["sets"]
    assert (scores["model"], scores["part"], scores["pictures"]) == ("portrait", "all", 4)
    (region,) = scores["regions"]
    for key in ("iou_mean", "iou_median", "iou", "accuracy", "boundary_f"):
        assert region[key] == 1.0
    (model,) = result.json["models"]
    assert model["cpu_ms"] > 0
    assert (model["ratio"], model["input"], len(model["sha256"])) == (1.0, [256, 144], 64)


def test_models_stand_side_by_side_in_a_table_and_in_files(rtseg: Rtseg, labelled: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    card = (Path(package.__file__).parent.parent / "models" / "portrait.toml").read_text()
    other.write_text(card.replace('name = "portrait"', 'name = "other"'))
    models = Path(package.__file__).parent.parent / "models"
    (tmp_path / "rtseg_portrait.onnx").write_bytes((models / "rtseg_portrait.onnx").read_bytes())
    out = tmp_path / "out"
    result = rtseg(
        "eval", "--model", "portrait", "--model", other, "--data", labelled, "--part", "all", "--limit", 2, "-o", out
    )
    assert result.code == 0, result.err
    assert "2 pictures (all)" in result.out
    assert "bound. F" in result.out
    name = labelled.name
    assert sorted(path.name for path in out.iterdir()) == [
        "report.json",
        "report.md",
        f"worst-other-{name}.png",
        f"worst-portrait-{name}.png",
    ]
    report = json.loads((out / "report.json").read_text())
    assert [model["name"] for model in report["models"]] == ["portrait", "other"]
    assert {"machine", "date", "version", "options"} <= report.keys()
    page = (out / "report.md").read_text()
    assert "| person | other |" in page
    assert report["models"][0]["sha256"] in page
    sheet = cv2.imread(str(out / f"worst-portrait-{name}.png"))
    assert sheet is not None
    assert sheet.shape[1] > 1000


def test_flicker_needs_no_labels(rtseg: Rtseg, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    assert rtseg("run", PATTERN, "-o", clip, "--background", "none").code == 0
    result = rtseg("eval", "--model", "portrait", "--clips", clip, "-o", tmp_path / "out")
    assert result.code == 0, result.err
    assert "Flicker x1000" in result.out
    (scores,) = json.loads((tmp_path / "out" / "report.json").read_text())["clips"]
    assert (scores["clip"], scores["region"], scores["frames"]) == ("clip", "person", 5)
    assert scores["warp"] >= 0


def test_lanes_are_compared_with_a_teacher(rtseg: Rtseg, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    assert rtseg("run", PATTERN, "-o", clip, "--background", "none").code == 0
    plan = tmp_path / "plan.toml"
    plan.write_text('[[clips]]\npath = "clip.mp4"\nregion = "lane"\nteacher = "road"\nstep = 2\n')
    result = rtseg("eval", "--model", "road-fast", "--model", "road", "--data", plan, "-o", tmp_path / "out")
    assert result.code == 0, result.err
    assert "Line F1 against road" in result.out
    (scores,) = json.loads((tmp_path / "out" / "report.json").read_text())[
        "clips"
    ]  # a teacher is not compared with itself
    assert (scores["model"], scores["teacher"], scores["frames"]) == ("road-fast", "road", 3)
    assert 0 <= scores["agreement"] <= 1


def test_regions_that_a_model_does_not_give_are_left_out(rtseg: Rtseg, labelled: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(
        f'[[data]]\nname = "street"\nfolder = "{labelled.as_posix()}"\nkind = "index"\n'
        "regions = { drivable = [0], sky = [255] }\n"
    )
    result = rtseg("eval", "--model", "road", "--model", "portrait", "--data", plan, "--part", "all", "--json")
    assert result.code == 0, result.err
    (scores,) = result.json["sets"]
    assert scores["model"] == "road"
    assert [region["region"] for region in scores["regions"]] == ["drivable"]
    assert scores["miou"] is None  # of a part of the regions it could not be compared


def test_a_set_that_no_model_knows_is_an_error(rtseg: Rtseg, labelled: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(f'[[data]]\nfolder = "{labelled.as_posix()}"\nregions = {{ cat = [] }}\n')
    result = rtseg("eval", "--model", "portrait", "--data", plan)
    assert result.code == 2
    assert "none of the models gives cat" in result.error()


def test_a_part_without_pictures_is_an_error(rtseg: Rtseg, labelled: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(f'[[data]]\nfolder = "{labelled.as_posix()}"\nregions = {{ person = [] }}\nsplit = "train"\n')
    result = rtseg("eval", "--model", "portrait", "--data", plan)
    assert result.code == 2
    assert "--part all" in result.error()


def test_the_help_names_what_data_may_be(rtseg: Rtseg) -> None:
    text = rtseg("eval", "--help").out
    assert "COCO" in text
    assert "[]" not in text  # what the markup of the help would make of [[data]]


def test_nothing_to_measure_is_an_error(rtseg: Rtseg) -> None:
    result = rtseg("eval", "--model", "portrait")
    assert result.code == 2
    assert "nothing to measure" in result.error()


def test_a_folder_without_labels_is_an_error(rtseg: Rtseg, tmp_path: Path) -> None:
    result = rtseg("eval", "--model", "portrait", "--data", tmp_path)
    assert result.code == 2
    assert "has no labelled pictures" in result.error()


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture of discs as a panoptic COCO file, whose nuclei are what the nuclei model says."""
    from rtseg.config import ModelOptions
    from rtseg.datasets import read_rgb
    from rtseg.engines import build_segmenter
    from rtseg.ops.resize import enlarge
    from rtseg.store import find_card
    from rtseg.types import Frame, Instances

    folder = tmp_path_factory.mktemp("cells")
    picture = np.full((240, 320, 3), (215, 190, 225), np.uint8)
    for i in range(12):
        cv2.circle(picture, (40 + 75 * (i % 4), 40 + 75 * (i // 4)), 14 + i % 3, (130, 50, 90), -1, cv2.LINE_AA)
    (folder / "images").mkdir()
    cv2.imwrite(str(folder / "images" / "a.png"), picture)
    result = build_segmenter(ModelOptions(), find_card("nuclei"))(Frame.from_rgb(read_rgb(folder / "images" / "a.png")))
    assert isinstance(result, Instances)
    assert len(result.masks) >= 6
    masks = [enlarge(mask, (320, 240)) > 127 for mask in result.masks]
    free = np.ones((240, 320), bool)
    segments = []
    for mask in masks:
        segments.append(true("nucleus", mask & free))
        free &= ~mask
    segments.append(true("tissue", free))
    categories = {"nucleus": True, "tissue": False}
    write_coco(folder, {"a": segments}, panoptic=True, categories=categories)
    return folder


def test_a_model_of_instances_is_measured_on_panoptic_labels(rtseg: Rtseg, cells: Path, tmp_path: Path) -> None:
    result = rtseg("eval", "--model", "nuclei", "--data", cells / "labels.json", "-o", tmp_path)
    assert result.code == 0, result.err
    assert "panoptic" in result.out
    assert "nuclei does not give tissue of labels" in result.out
    page = (tmp_path / "report.md").read_text()
    assert "| class | model | PQ | SQ | RQ | found | made up | missed |" in page
    assert "nuclei does not give tissue of labels" in page
    (scores,) = json.loads((tmp_path / "report.json").read_text())["sets"]
    assert scores["panoptic"][0]["name"] == "all"
    assert scores["panoptic"][0]["pq"] == pytest.approx(1.0, abs=0.01)
    sheet = cv2.imread(str(tmp_path / "worst-nuclei-labels.png"))
    assert sheet is not None
    assert sheet.shape[1] > 3 * 288


def test_the_task_chooses_what_is_measured(rtseg: Rtseg, cells: Path, tmp_path: Path) -> None:
    pytest.importorskip("faster_coco_eval", reason="pip install 'rtseg[eval]'")
    path = cells / "labels.json"
    found = rtseg("eval", "--model", "nuclei", "--data", path, "--task", "instance", "--json")
    assert found.code == 0, found.err
    (scores,) = found.json["sets"]
    assert scores["precision"]["ap"] > 0.95
    found = rtseg("eval", "--model", "nuclei", "--data", path, "--task", "semantic", "--json", "-o", tmp_path)
    assert (tmp_path / "worst-nuclei-labels.png").exists()
    (scores,) = found.json["sets"]
    assert scores["regions"][0]["iou"] > 0.99
    refused = rtseg("eval", "--model", "nuclei", "--data", path, "--task", "matte")
    assert refused.code == 2
    assert "--task matte cannot be measured" in refused.error()


def test_names_that_do_not_match_are_said(rtseg: Rtseg, cells: Path) -> None:
    result = rtseg("eval", "--model", "portrait", "--data", cells / "labels.json")
    assert result.code == 2
    assert "none of the models gives nucleus or tissue, which 'labels' labels (portrait: person)" in result.error()


def test_a_name_that_is_only_spelled_differently_is_pointed_out(rtseg: Rtseg, tmp_path: Path) -> None:
    path = write_coco(tmp_path, {"a": []}, panoptic=True, categories={"sky": False, "Per-son": True})
    result = rtseg("eval", "--model", "portrait", "--data", path)
    assert result.code == 2
    assert 'region = "Per-son", names = ["person"]' in result.error()


def test_a_video_is_measured_by_its_alphas(rtseg: Rtseg, tmp_path: Path) -> None:
    for name in ("videos", "alphas"):
        (tmp_path / "set" / name).mkdir(parents=True)
        clip = tmp_path / "set" / name / "one.mp4"
        assert rtseg("run", PATTERN, "-o", clip, "--background", "none").code == 0
    result = rtseg("eval", "--model", "portrait", "--data", tmp_path / "set", "-o", tmp_path / "out")
    assert result.code == 0, result.err
    assert "set: 5 frames of 1 clips, mattes" in result.out
    (scores,) = json.loads((tmp_path / "out" / "report.json").read_text())["sets"]
    assert 0 < scores["matte"]["mad"] <= 1000
    assert scores["matte"]["dtssd"] > 0
    assert (tmp_path / "out" / "worst-portrait-set.png").exists()


def test_drivable_surface_has_its_own_table_and_conditions(rtseg: Rtseg, labelled: Path, tmp_path: Path) -> None:
    """The portrait's own masks, called drivable: what is right for it is right for the task."""
    sets = tmp_path / "sets.toml"
    sets.write_text(
        f'[[data]]\nname = "street"\nfolder = "{labelled}"\nregions = {{ drivable = [] }}\n'
        '[eval.conditions]\nfirst = "^p[01]$"\nnone = "^q"\n'
        '[[eval.alias]]\nregion = "drivable"\nnames = ["person"]\n'
    )
    given = ("eval", "--model", "portrait", "--data", sets, "--part", "all", "--task", "drivable")
    result = rtseg(*given)
    assert result.code == 0, result.err
    assert "street: 4 pictures (all), drivable" in result.out
    assert "street: 4 pictures (all), by condition" in result.out
    assert "mean" in result.out  # the column, no row: one region has no mean
    (scores,) = rtseg(*given, "--json").json["sets"]
    (region,) = scores["regions"]
    assert [region[key] for key in ("iou", "precision", "recall", "boundary_f")] == [1.0] * 4
    (first,) = scores["conditions"]
    assert (first["condition"], first["iou"], first["precision"], first["recall"]) == ("first", 1.0, 1.0, 1.0)
