from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labelled import index_mask, labelled, write_picture

from rtseg.datasets import read_mask
from rtseg.errors import ConfigError, DependencyMissing
from rtseg.labels.coco import Form, read_coco, write_coco
from rtseg.labels.folder import read_set

SQUARE = [2, 3, 6, 3, 6, 5, 2, 5]


def coco(**changes: Any) -> dict[str, Any]:
    """A file about a picture of 24x16 with a square of road."""
    annotation = {"id": 7, "image_id": 1, "category_id": 3, "segmentation": [SQUARE], "iscrowd": 0}
    return {
        "images": [{"id": 1, "file_name": "a.png", "width": 24, "height": 16, **changes.get("image", {})}],
        "annotations": [{**annotation, **changes.get("annotation", {})}, *changes.get("more", [])],
        "categories": changes.get("categories", [{"id": 3, "name": "road"}, {"id": 9, "name": "lane"}]),
    }


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with images/a.png, to be in."""
    write_picture(tmp_path / "images" / "a.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def taken(content: Any, **options: Any) -> np.ndarray:
    Path("c.json").write_text(content if isinstance(content, str) else json.dumps(content))
    read_coco(Path("c.json"), Path("mine"), **options)
    return read_mask(Path("mine/masks/a.png"))


@pytest.mark.parametrize("form", ["polygon", "rle"])
def test_index_masks_come_back_identical(tmp_path: Path, form: Form) -> None:
    masks = {"a": index_mask(), "b": index_mask()[::-1, ::-1], "empty": np.zeros((16, 24), np.uint8)}
    data = labelled(tmp_path / "mine", masks)
    pictures, annotations = write_coco(data, tmp_path / "c.json", segmentation=form)
    assert (pictures, annotations) == (3, 2 * (1 + 3 + 1)), "a road, three lanes and an unknown corner"
    done = read_coco(tmp_path / "c.json", tmp_path / "back", images=tmp_path / "mine" / "images")
    assert (done.made, done.kept) == (3, 0)
    back = read_set(tmp_path / "back")
    assert (back.kind, back.regions, back.ignore) == (data.kind, data.regions, data.ignore)
    for stem in masks:
        assert (tmp_path / "back/masks" / f"{stem}.png").read_bytes() == (
            tmp_path / "mine/masks" / f"{stem}.png"
        ).read_bytes()


@pytest.mark.parametrize("form", ["polygon", "rle"])
def test_binary_masks_come_back_as_the_same_region(tmp_path: Path, form: Form) -> None:
    mask = np.where(index_mask() == 1, np.uint8(255), np.uint8(0))
    data = labelled(tmp_path / "mine", {"a": mask}, kind="binary", regions={"person": (255,)})
    assert write_coco(data, tmp_path / "c.json", segmentation=form) == (1, 1)
    read_coco(tmp_path / "c.json", tmp_path / "back", images=tmp_path / "mine" / "images")
    assert np.array_equal(read_set(tmp_path / "back").read("a").planes["person"], mask)


@pytest.mark.parametrize("form", ["polygon", "rle"])
def test_instances_come_back_with_their_numbers(tmp_path: Path, form: Form) -> None:
    ids = np.zeros((16, 24), np.uint16)
    ids[2:5, 2:5], ids[2:5, 5:9], ids[8:10, 1:3], ids[12:14, 9:12] = 1, 2, 3, 3
    data = labelled(tmp_path / "mine", {"a": ids}, kind="instances", regions={"cell": ()})
    assert write_coco(data, tmp_path / "c.json", segmentation=form) == (1, 3), "one of them in two parts"
    read_coco(tmp_path / "c.json", tmp_path / "back", images=tmp_path / "mine" / "images", instances=True)
    assert np.array_equal(read_mask(tmp_path / "back" / "masks" / "a.png"), ids)


def test_more_instances_than_a_byte_holds(tmp_path: Path) -> None:
    ids = np.zeros((40, 40), np.uint16)
    ids[::2, ::2] = np.arange(1, 401).reshape(20, 20)
    data = labelled(tmp_path / "mine", {"a": ids}, kind="instances", regions={"cell": ()})
    assert write_coco(data, tmp_path / "c.json") == (1, 400)
    read_coco(tmp_path / "c.json", tmp_path / "back", images=tmp_path / "mine" / "images", instances=True)
    assert np.array_equal(read_mask(tmp_path / "back" / "masks" / "a.png"), ids)


def test_the_file_is_what_coco_says(tmp_path: Path) -> None:
    mask = np.zeros((16, 24), np.uint8)
    mask[3:5, 2:6] = 2
    data = labelled(tmp_path / "mine", {"a": mask})
    write_coco(data, tmp_path / "c.json")
    content = json.loads((tmp_path / "c.json").read_text())
    assert content["images"] == [{"id": 1, "file_name": "a.png", "width": 24, "height": 16}]
    assert {c["id"]: c["name"] for c in content["categories"]} == {1: "road", 2: "lane", 255: "ignore"}
    (annotation,) = content["annotations"]
    assert {key: annotation[key] for key in ("image_id", "category_id", "bbox", "area", "iscrowd")} == {
        "image_id": 1,
        "category_id": 2,
        "bbox": [2, 3, 4, 2],
        "area": 8,
        "iscrowd": 0,
    }
    (polygon,) = annotation["segmentation"]
    assert {(2, 3), (6, 3), (6, 5), (2, 5)} == set(zip(polygon[::2], polygon[1::2], strict=True))


def test_areas_with_holes_are_runs(tmp_path: Path) -> None:
    write_coco(labelled(tmp_path / "mine", {"a": index_mask()}), tmp_path / "c.json")
    annotations = json.loads((tmp_path / "c.json").read_text())["annotations"]
    kinds = [(a["category_id"], type(a["segmentation"]).__name__, a["iscrowd"]) for a in annotations]
    assert kinds.count((1, "dict", 1)) == 1
    assert kinds.count((2, "list", 0)) == 3


def test_categories_keep_their_numbers(place: Path) -> None:
    mask = taken(coco())
    assert set(np.unique(mask)) == {0, 3}
    assert read_set(place / "mine").regions == {"road": (3,), "lane": (9,)}


def test_categories_of_numbers_that_do_not_fit_are_counted(place: Path) -> None:
    big = [{"id": 3, "name": "road"}, {"id": 70000, "name": "lane"}]
    assert set(np.unique(taken(coco(categories=big)))) == {0, 1}
    assert read_set(place / "mine").regions == {"road": (1,), "lane": (2,)}


def test_only_the_wanted_regions_are_taken(place: Path) -> None:
    more = [{"image_id": 1, "category_id": 9, "segmentation": [[10, 10, 12, 10, 12, 12, 10, 12]]}]
    assert set(np.unique(taken(coco(more=more), regions=["lane"]))) == {0, 9}


def test_of_areas_that_overlap_the_later_is_seen(place: Path) -> None:
    more = [{"image_id": 1, "category_id": 9, "segmentation": [[4, 3, 6, 3, 6, 5, 4, 5]]}]
    assert taken(coco(more=more))[3, 2:7].tolist() == [3, 3, 9, 9, 0]


def test_boxes_are_left_out_and_counted(place: Path) -> None:
    Path("c.json").write_text(json.dumps(coco(more=[{"image_id": 1, "category_id": 9, "segmentation": []}])))
    done = read_coco(Path("c.json"), Path("mine"))
    assert done.notes == ("1 annotations are boxes without an area and were left out",)


def test_names_in_subfolders_do_not_collide(place: Path) -> None:
    write_picture(place / "images" / "day" / "b.png")
    content = coco(image={"file_name": "day/b.png"})
    Path("c.json").write_text(json.dumps(content))
    read_coco(Path("c.json"), Path("mine"))
    assert Path("mine/images/day_b.png").exists()


def test_masks_that_are_there_are_kept_unless_replaced(place: Path) -> None:
    assert taken(coco())[3, 2] == 3
    moved = coco(annotation={"category_id": 9})
    assert taken(moved)[3, 2] == 3
    assert taken(moved, replace=True)[3, 2] == 9


def test_compressed_runs_are_read(place: Path) -> None:
    tools: Any = pytest.importorskip("pycocotools.mask", reason="pip install 'rtseg[labels]'")
    mask = index_mask() == 1
    runs = tools.encode(np.asfortranarray(mask.astype(np.uint8)))
    area = {"size": [16, 24], "counts": runs["counts"].decode()}
    assert np.array_equal(taken(coco(annotation={"segmentation": area})) == 3, mask)


def test_compressed_runs_that_do_not_fit_are_an_error(place: Path) -> None:
    pytest.importorskip("pycocotools", reason="pip install 'rtseg[labels]'")
    with pytest.raises(ConfigError, match="annotation 7 is broken"):
        taken(coco(annotation={"segmentation": {"size": [16, 24], "counts": "o" * 50}}))


def test_compressed_runs_need_an_extra(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools.mask", None)
    with pytest.raises(DependencyMissing, match=r"pip install 'rtseg\[labels\]'"):
        taken(coco(annotation={"segmentation": {"size": [16, 24], "counts": "0P1"}}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "c.json is not a COCO file"),
        ("[]", "is not a COCO file"),
        ("{}", "images: field required"),
        (coco(image={"file_name": "../a.png"}), "leads out of the folder"),
        (coco(image={"file_name": "x/../../a.png"}), "leads out of the folder"),
        (coco(image={"file_name": "/etc/passwd"}), "leads out of the folder"),
        (coco(image={"file_name": "..\\a.png"}), "leads out of the folder"),
        (coco(image={"file_name": "C:\\a.png"}), "leads out of the folder"),
        (coco(image={"file_name": "a\0.png"}), "leads out of the folder"),
        (coco(image={"file_name": ""}), "leads out of the folder"),
        (coco(image={"file_name": "b.png"}), "1 of 1 pictures of c.json are not in images: b.png"),
        (coco(image={"width": 25}), "says that a.png is 25x16, but it is 24x16"),
        (coco(image={"width": 0}), "images.0.width"),
        (coco(annotation={"image_id": 2}), "annotation 7 is of image 2"),
        (coco(annotation={"category_id": 5}), "is of category 5: known are 3 road, 9 lane"),
        (coco(annotation={"segmentation": [[100, 100, 120, 100, 120, 120]]}), "outside its picture of 24x16"),
        (coco(annotation={"segmentation": [[1, 1, 2, 2]]}), "a polygon of 4 numbers"),
        (coco(annotation={"segmentation": [[1, 1, 2, 2, 3, 3, 4]]}), "a polygon of 7 numbers"),
        (coco(annotation={"segmentation": [[1, 1, 2, float("nan"), 3, 3]]}), "is not a COCO file"),
        (coco(annotation={"segmentation": [[1, 1, 2, 1e300, 3, 3]]}), "is not a COCO file"),
        (coco(annotation={"segmentation": {"size": [24, 16], "counts": [384]}}), "has runs for 16x24 pixels"),
        (coco(annotation={"segmentation": {"size": [16, 24], "counts": [4]}}), "cover 4 pixels, not 24x16 = 384"),
        (coco(annotation={"segmentation": {"size": [16, 24], "counts": [-2, 386]}}), "annotation 7 is broken"),
        (coco(categories=[{"id": 3, "name": "road"}, {"id": 4, "name": "road"}]), "two categories called 'road'"),
        (coco(categories=[{"id": 3, "name": "a\nb"}]), "no name for a region"),
        ({**coco(), "images": coco()["images"] * 2}, "has picture 1, a.png, twice"),
        (coco(categories=[]), "no label is left of an empty list"),
    ],
)
def test_what_is_wrong_is_named(place: Path, content: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        taken(content)
    assert message in str(caught.value)


def test_what_is_asked_for_and_not_there_is_named(place: Path) -> None:
    with pytest.raises(ConfigError, match=r"no label is called 'raod': there are road, lane"):
        taken(coco(), regions=["raod"])
    with pytest.raises(ConfigError, match="choose one with --regions"):
        taken(coco(), instances=True)
    with pytest.raises(ConfigError, match="nowhere is not a folder"):
        taken(coco(), images=Path("nowhere"))


def test_a_folder_of_other_regions_is_left_alone(place: Path) -> None:
    taken(coco())
    with pytest.raises(ConfigError, match="choose another folder"):
        taken(coco(), regions=["lane"])
