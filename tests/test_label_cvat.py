from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from labelled import write_picture
from PIL import Image

from rtseg.datasets import read_mask
from rtseg.errors import ConfigError
from rtseg.labels.cvat import read_colour_masks, read_labelmap
from rtseg.labels.folder import read_set

LABELMAP = "# label:color_rgb:parts:actions\nbackground:0,0,0::\nroad:128,64,128::\nlane:250,50,83::\nignore:9,9,9::\n"


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """What CVAT exports of one picture, 6x4."""
    folder = tmp_path / "export"
    write_picture(folder / "JPEGImages" / "a.jpg", size=(6, 4))
    (folder / "SegmentationClass").mkdir()
    (folder / "SegmentationObject").mkdir()
    (folder / "labelmap.txt").write_text(LABELMAP)
    rgb = np.zeros((4, 6, 3), np.uint8)
    rgb[1:, :2], rgb[2, 4], rgb[0, 5] = (128, 64, 128), (250, 50, 83), (9, 9, 9)
    Image.fromarray(rgb).save(folder / "SegmentationClass" / "a.png")
    return folder


VALUES = [[0, 0, 0, 0, 0, 255], [1, 1, 0, 0, 0, 0], [1, 1, 0, 0, 2, 0], [1, 1, 0, 0, 0, 0]]


def mask_of(folder: Path) -> list[list[int]]:
    values: list[list[int]] = read_mask(folder / "masks" / "a.png").tolist()
    return values


def test_colours_become_numbers(export: Path, tmp_path: Path) -> None:
    done = read_colour_masks(export, tmp_path / "mine")
    assert (done.made, done.kept) == (1, 0)
    assert mask_of(tmp_path / "mine") == VALUES
    assert read_set(tmp_path / "mine").regions == {"road": (1,), "lane": (2,)}


def test_palettes_are_read_as_their_colours(export: Path, tmp_path: Path) -> None:
    path = export / "SegmentationClass" / "a.png"
    Image.open(path).quantize(8).save(path)
    read_colour_masks(export, tmp_path / "mine")
    assert mask_of(tmp_path / "mine") == VALUES


def test_grey_masks_hold_places_in_the_labelmap(export: Path, tmp_path: Path) -> None:
    places = np.array(VALUES, np.uint8)
    places[places == 255] = 3
    Image.fromarray(places).save(export / "SegmentationClass" / "a.png")
    read_colour_masks(export, tmp_path / "mine")
    assert mask_of(tmp_path / "mine") == VALUES


def test_a_background_of_another_colour_is_nothing(export: Path, tmp_path: Path) -> None:
    (export / "labelmap.txt").write_text(
        LABELMAP.replace("background:0,0,0", "background:128,64,128").replace("road:128,64,128", "road:1,2,3")
    )
    read_colour_masks(export, tmp_path / "mine")
    assert set(np.unique(mask_of(tmp_path / "mine"))) == {0, 2, 255}


def test_only_the_wanted_regions_are_taken(export: Path, tmp_path: Path) -> None:
    read_colour_masks(export, tmp_path / "mine", regions=["lane"])
    assert np.unique(mask_of(tmp_path / "mine")).tolist() == [0, 2, 255]


def test_objects_are_numbered(export: Path, tmp_path: Path) -> None:
    (export / "labelmap.txt").write_text("background:0,0,0::\ncell:1,2,3::\n")
    rgb = np.zeros((4, 6, 3), np.uint8)
    rgb[:2, :2], rgb[3, 3:] = (0, 128, 0), (128, 0, 0)
    Image.fromarray(rgb).save(export / "SegmentationObject" / "a.png")
    read_colour_masks(export, tmp_path / "mine", instances=True)
    assert mask_of(tmp_path / "mine")[0] == [1, 1, 0, 0, 0, 0]
    assert mask_of(tmp_path / "mine")[3] == [0, 0, 0, 2, 2, 2]


def test_objects_of_several_labels_are_refused(export: Path, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(export / "SegmentationObject" / "a.png")
    with pytest.raises(ConfigError, match="export COCO from CVAT"):
        read_colour_masks(export, tmp_path / "mine", regions=["lane"], instances=True)


def test_a_colour_without_a_name_is_an_error(export: Path, tmp_path: Path) -> None:
    (export / "labelmap.txt").write_text(LABELMAP.replace("lane:250,50,83", "lane:1,1,1"))
    with pytest.raises(ConfigError, match=r"1 pixels of colours that labelmap.txt does not name, such as 250,50,83"):
        read_colour_masks(export, tmp_path / "mine")


def test_a_mask_of_another_size_is_an_error(export: Path, tmp_path: Path) -> None:
    write_picture(export / "JPEGImages" / "a.jpg", size=(8, 4))
    with pytest.raises(ConfigError, match="is 6x4, its picture 8x4"):
        read_colour_masks(export, tmp_path / "mine")


def test_a_picture_that_is_missing_is_an_error(export: Path, tmp_path: Path) -> None:
    (export / "JPEGImages" / "a.jpg").unlink()
    with pytest.raises(ConfigError, match=r"1 of 1 pictures .* a.jpg; give their folder with --images"):
        read_colour_masks(export, tmp_path / "mine")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("road 1,2,3", "line 1: 'road 1,2,3' is not name:r,g,b::"),
        ("road:1,2::", "is not name:r,g,b::"),
        ("road:1,2,300::", "colours are 0 to 255"),
        ("road:1,2,3::\nlane:1,2,3::", "line 2: 'lane' or its colour was there before"),
        ("background:0,0,0::", "names no label but the background"),
    ],
)
def test_a_labelmap_that_is_wrong_is_explained(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "labelmap.txt").write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_labelmap(tmp_path / "labelmap.txt")
    assert message in str(caught.value)


def test_a_folder_that_is_no_export_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give the unpacked folder of CVAT"):
        read_colour_masks(tmp_path, tmp_path / "mine")
