from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labelled import write_picture

from rtseg.cli.main import main
from rtseg.datasets import read_mask
from rtseg.errors import ConfigError
from rtseg.labels.darwin import parsed, read_darwin
from rtseg.labels.folder import read_set

SIZE = (12, 8)


def box(x0: float, y0: float, x1: float, y1: float) -> list[dict[str, float]]:
    return [{"x": x, "y": y} for x, y in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))]


def lung(x0: float, y0: float, x1: float, y1: float) -> dict[str, Any]:
    """As the data set has it: a polygon with a box, and whoever drew it."""
    return {
        "name": "Lung",
        "polygon": {"path": box(x0, y0, x1, y1)},
        "bounding_box": {"x": x0, "y": y0, "w": x1 - x0, "h": y1 - y0},
        "annotators": [{"full_name": "A. Nobody", "email": "nobody@example.com"}],
        "instance_id": {"value": 1},
    }


def tag(name: str) -> dict[str, Any]:
    return {"name": name, "tag": {}}


def write(folder: Path, stem: str, annotations: list[dict[str, Any]], *, picture: bool = True, **image: Any) -> Path:
    """What v7labs/covid-19-xray-dataset has for a picture, Darwin JSON 1.0."""
    name = f"{stem}.jpg"
    if picture:
        write_picture(folder / "images" / name, size=SIZE)
    said = {"width": SIZE[0], "height": SIZE[1], "filename": name, "original_filename": name, "path": "/", **image}
    path = folder / "annotations" / "all-images" / f"{stem}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"dataset": "COVID-19 Chest X-Ray Dataset", "image": said, "annotations": annotations}))
    return path.parent


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """A frontal picture with two lungs and a pacemaker, and a side view that has tags only."""
    hole = {"name": "Lung", "complex_polygon": {"path": [box(7, 1, 11, 7), box(8, 3, 10, 5)]}}
    ignored = {"name": "Ignore", "polygon": {"path": box(1, 1, 3, 2)}}
    write(tmp_path, "front", [ignored, lung(1, 1, 5, 7), hole, tag("COVID-19"), tag("Age/64")])
    return write(tmp_path, "side", [tag("Viral Pneumonia")])


FRONT = np.zeros((8, 12), int)
FRONT[1:7, 1:5] = FRONT[1:7, 7:11] = 1
FRONT[3:5, 8:10] = 0
FRONT[1:2, 1:3] = 255


def test_lungs_become_masks_with_holes_and_what_is_to_be_ignored(export: Path, tmp_path: Path) -> None:
    done = read_darwin(export, tmp_path / "lungs")
    assert (done.made, done.kept) == (1, 0)
    np.testing.assert_array_equal(read_mask(tmp_path / "lungs" / "masks" / "front.png"), FRONT)
    data = read_set(tmp_path / "lungs")
    assert (data.kind, data.regions, data.ignore) == ("index", {"Lung": (1,)}, (255,))
    sample = data.read("front")  # what the trainer and `rtseg eval` read
    np.testing.assert_array_equal(sample.planes["Lung"] > 0, FRONT == 1)
    np.testing.assert_array_equal(sample.known == 0, FRONT == 255)


def test_what_was_left_out_is_told(export: Path, tmp_path: Path) -> None:
    assert read_darwin(export, tmp_path / "lungs").notes == (
        "1 pictures have no area of these regions and were left out",
        "3 tags of whole pictures were left out",
    )
    assert "64" not in (tmp_path / "lungs" / "data.toml").read_text()


def test_each_lung_may_have_a_number(export: Path, tmp_path: Path) -> None:
    read_darwin(export, tmp_path / "lungs", instances=True)
    mask = read_mask(tmp_path / "lungs" / "masks" / "front.png")
    assert (mask[6, 1], mask[6, 7], mask[3, 8], mask[1, 1]) == (1, 2, 0, 0)


@pytest.mark.parametrize(
    "polygon",
    [
        {"polygon": {"paths": [box(1, 1, 5, 7), box(2, 2, 3, 3)]}},  # 2.0
        {"polygon": {"path": box(1, 1, 5, 7), "additional_paths": [box(2, 2, 3, 3)]}},
        {"complex_polygon": {"path": [box(1, 1, 5, 7), box(2, 2, 3, 3)]}},
    ],
)
def test_both_versions_and_all_ways_of_paths_mean_the_same(tmp_path: Path, polygon: dict[str, Any]) -> None:
    write_picture(tmp_path / "images" / "a.png", size=SIZE)
    item = {"name": "a.png", "path": "/", "slots": [{"width": SIZE[0], "height": SIZE[1], "slot_name": "0"}]}
    (tmp_path / "a.json").write_text(
        json.dumps({"version": "2.0", "item": item, "annotations": [{"name": "Lung", **polygon}]})
    )
    read_darwin(tmp_path, tmp_path / "lungs")
    wanted = np.zeros((8, 12), int)
    wanted[1:7, 1:5] = 1
    wanted[2, 2] = 0
    np.testing.assert_array_equal(read_mask(tmp_path / "lungs" / "masks" / "a.png"), wanted)


def test_regions_are_numbered_in_their_order_and_may_be_chosen(tmp_path: Path) -> None:
    heart = {"name": "Heart", "polygon": {"path": box(4, 4, 6, 6)}}
    source = write(tmp_path, "a", [lung(1, 1, 5, 7), heart])
    write(tmp_path, "b", [heart])
    read_darwin(source, tmp_path / "both")
    assert read_set(tmp_path / "both").regions == {"Lung": (1,), "Heart": (2,)}
    assert read_mask(tmp_path / "both" / "masks" / "a.png")[4, 4] == 2  # the later lies above
    assert read_darwin(source, tmp_path / "lungs", regions=["Lung"]).made == 1
    with pytest.raises(ConfigError, match="no label is called 'Liver': there are Lung, Heart"):
        read_darwin(source, tmp_path / "none", regions=["Liver"])


def test_pictures_are_found_by_either_name_and_in_folders(tmp_path: Path) -> None:
    source = write(tmp_path, "a", [lung(1, 1, 5, 7)], filename="17.jpg")
    write(tmp_path, "b", [lung(1, 1, 5, 7)], picture=False, path="/part")
    write_picture(tmp_path / "images" / "part" / "b.jpg", size=SIZE)
    assert read_darwin(source, tmp_path / "lungs").made == 2
    assert set(read_set(tmp_path / "lungs").files) == {"a", "part_b"}


@pytest.mark.parametrize(
    ("annotation", "image", "message"),
    [
        (lung(1, 1, 5, 7), {"filename": "../../secret.png", "original_filename": None}, "leads out of the folder"),
        (lung(1, 1, 5, 7), {"filename": "x.jpg", "original_filename": None}, "1 of 1 pictures .* are not in"),
        (lung(1, 1, 5, 7), {"width": 24}, r"says that a.jpg is \(24, 8\), but it is \(12, 8\)"),
        (lung(100, 100, 150, 170), {}, "lies outside its picture of 12x8"),
        ({"name": "Lung", "polygon": {"path": box(1, 1, 5, 7)[:2]}}, {}, "a path of 2 points"),
        ({"name": "Lung", "polygon": {"path": [{"x": 1e9, "y": 0}]}}, {}, "is not Darwin JSON: annotations.0.polygon"),
    ],
)
def test_what_a_file_says_wrongly_is_named(
    tmp_path: Path, annotation: dict[str, Any], image: dict[str, Any], message: str
) -> None:
    source = write(tmp_path, "a", [annotation], **image)
    with pytest.raises(ConfigError, match=message):
        read_darwin(source, tmp_path / "lungs")


def test_the_command_line_knows_the_layout(export: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as end:
        main(["label", "import", str(export), "-o", str(tmp_path / "lungs"), "--quiet"])
    assert end.value.code in (0, None)
    assert list(read_set(tmp_path / "lungs").files) == ["front"]
    with pytest.raises(SystemExit) as end:
        main(["label", "import", str(export), "-o", str(tmp_path / "lungs"), "--channels", "fat", "--quiet"])
    assert end.value.code == ConfigError.exit_code


def test_other_json_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"annotations": []}')
    with pytest.raises(ConfigError, match="it names neither an image"):
        parsed(tmp_path / "a.json")
    with pytest.raises(ConfigError, match="has no Darwin JSON"):
        read_darwin(tmp_path / "none", tmp_path / "lungs")
