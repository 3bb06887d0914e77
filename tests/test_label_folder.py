"""Writing, checking and pre-labelling folders, without a model."""

from __future__ import annotations

import tomllib
from pathlib import Path

import cv2
import numpy as np
import pytest
from labelled import INDEX, index_mask, labelled, write_picture
from PIL import Image

from rtseg.datasets import DataSet, read_rgb
from rtseg.errors import ConfigError, SourceUnreadable
from rtseg.labels.check import check
from rtseg.labels.folder import copy_picture, open_folder, read_set, read_upright_size
from rtseg.labels.prelabel import mask_values, plan
from rtseg.types import Regions, Semantic, Size

SIZE = Size(4, 2)


def regions(**planes: list[list[int]]) -> Regions:
    return Regions(np.array(list(planes.values()), np.uint8), tuple(planes), 0, SIZE)


def test_data_toml_is_what_training_reads(tmp_path: Path) -> None:
    labelled(tmp_path / "mine", {"a": index_mask()}, regions={"road": (1,), "lane marking": (2,), 'a "b"': (3,)})
    (table,) = tomllib.loads((tmp_path / "mine" / "data.toml").read_text())["data"]
    folder = tmp_path / "mine" / table.pop("folder")
    data = DataSet.model_validate({**table, "folder": folder})
    assert (data.name, data.kind, data.ignore) == ("mine", "index", (255,))
    assert data.regions == {"road": (1,), "lane marking": (2,), 'a "b"': (3,)}
    assert data.read("a").planes["road"][10, 3] == 255


def test_a_set_is_read_from_its_folder_or_its_file(tmp_path: Path) -> None:
    labelled(tmp_path / "mine", {"a": index_mask()})
    assert read_set(tmp_path / "mine").stems() == read_set(tmp_path / "mine" / "data.toml").stems() == ["a"]


def test_what_was_added_to_data_toml_by_hand_stays(tmp_path: Path) -> None:
    labelled(tmp_path, {"a": index_mask()})
    path = tmp_path / "data.toml"
    path.write_text(path.read_text() + 'share = 0.5\nscene = "road"\n')
    before = path.read_text()
    assert open_folder(tmp_path, "index", INDEX).share == 0.5
    assert path.read_text() == before


def test_a_folder_about_other_things_is_refused(tmp_path: Path) -> None:
    labelled(tmp_path, {"a": index_mask()})
    with pytest.raises(ConfigError, match=r"index masks of road \[1\], lane \[2\], but .* binary masks of person"):
        open_folder(tmp_path, "binary", {"person": (255,)})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data = 3", "must have one [[data]] table"),
        ("[[data]]\n[[data]]\n", "must have one [[data]] table"),
        ("[[data]", "is not a TOML file"),
        ('[[data]]\nfolder = "."\n', "regions: field required"),
        ('[[data]]\nfolder = "."\nkind = "binary"\nregions = { a = [1], b = [2] }\n', "has one region"),
    ],
)
def test_a_broken_data_toml_is_explained(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "data.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_set(tmp_path)
    assert message in str(caught.value)


def test_a_folder_without_data_toml_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give a folder that `rtseg label` made"):
        read_set(tmp_path)


def test_index_masks_have_a_palette_and_numbers(tmp_path: Path) -> None:
    labelled(tmp_path, {"a": index_mask()})
    with Image.open(tmp_path / "masks" / "a.png") as image:
        assert image.mode == "P"
        assert np.array_equal(np.asarray(image), index_mask())
        colours = np.asarray(image.convert("RGB"))
    assert colours[0, 0].tolist() == [0, 0, 0]
    assert len({tuple(colours[at]) for at in ((0, 0), (10, 3), (9, 6), (0, 23))}) == 4


def test_pictures_are_copied_byte_for_byte(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    path = write_picture(tmp_path / "in" / "a.PNG")
    frame = copy_picture(path, tmp_path, "a")
    assert frame.size == (24, 16)
    assert (tmp_path / "images" / "a.png").read_bytes() == path.read_bytes()


def test_pictures_that_exif_turns_are_written_upright(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    rgb = np.zeros((16, 24, 3), np.uint8)
    rgb[:, :8] = 255
    exif = Image.Exif()
    exif[274] = 6  # to be turned clockwise: what is left is above
    Image.fromarray(rgb).save(tmp_path / "a.jpg", exif=exif, quality=95)
    assert read_upright_size(tmp_path / "a.jpg") == (16, 24)
    copy_picture(tmp_path / "a.jpg", tmp_path, "a")
    with Image.open(tmp_path / "images" / "a.jpg") as image:
        assert (image.size, dict(image.getexif())) == ((16, 24), {})
    upright = read_rgb(tmp_path / "images" / "a.jpg")
    assert upright[:6].mean() > 245
    assert upright[10:].mean() < 10


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(SourceUnreadable):
        copy_picture(tmp_path / "a.jpg", tmp_path, "a")
    with pytest.raises(SourceUnreadable):
        read_upright_size(tmp_path / "a.jpg")


def test_the_likeliest_region_over_a_half_wins() -> None:
    result = regions(road=[[200, 127, 128, 250], [0, 0, 90, 130]], lane=[[210, 100, 128, 10], [0, 255, 80, 131]])
    values = mask_values(result, SIZE, "index", {"road": 1, "lane": 2})
    assert values.tolist() == [[2, 0, 1, 1], [0, 2, 0, 2]], "of equals the first"


def test_regions_that_are_not_asked_for_do_not_hide_others() -> None:
    result = regions(road=[[200, 200, 0, 0]] * 2, lane=[[210, 0, 0, 0]] * 2)
    assert mask_values(result, SIZE, "index", {"road": 1})[0].tolist() == [1, 1, 0, 0]


def test_binary_is_cut_at_a_half_and_alpha_is_not() -> None:
    result = regions(person=[[0, 127, 128, 255]] * 2)
    assert mask_values(result, SIZE, "binary", {"person": 255})[0].tolist() == [0, 0, 255, 255]
    assert mask_values(result, SIZE, "alpha", {"person": 255})[0].tolist() == [0, 127, 128, 255]


def test_classes_count_from_one_and_no_class_is_unknown() -> None:
    result = Semantic(np.array([[0, 1, 2, 255]] * 2, np.uint8), ("road", "car", "sky"), 0, SIZE)
    assert mask_values(result, SIZE, "index", {"road": 1, "car": 2, "sky": 3})[0].tolist() == [1, 2, 3, 255]
    assert mask_values(result, SIZE, "index", {"sky": 1})[0].tolist() == [0, 0, 1, 255]
    assert mask_values(result, SIZE, "binary", {"car": 255})[0].tolist() == [0, 255, 0, 0]


def test_masks_have_the_size_of_their_picture() -> None:
    assert mask_values(regions(person=[[255] * 4] * 2), Size(9, 7), "binary", {"person": 255}).shape == (7, 9)


def test_the_kind_follows_the_model() -> None:
    assert (plan("portrait").kind, dict(plan("portrait").regions)) == ("binary", {"person": 255})
    assert plan("portrait", kind="alpha").kind == "alpha"
    assert dict(plan("road").regions) == {"drivable": 1, "lane": 2, "vehicle": 3, "vulnerable": 4}
    assert (plan("road").kind, plan("road", regions=["lane"]).kind) == ("index", "binary")
    assert plan("espnetv2-city").kind == "index"
    with pytest.raises(ConfigError, match="knows no region 'dog': choose from person"):
        plan("portrait", regions=["dog"])
    with pytest.raises(ConfigError, match="choose one with --regions, or use --kind index"):
        plan("road", kind="alpha")


def test_a_good_folder_has_no_problems(tmp_path: Path) -> None:
    checked = check(labelled(tmp_path, {"a": index_mask(), "b": index_mask() * 0}), sheet=tmp_path / "overlay.png")
    assert (checked.pictures, checked.problems, checked.unlabelled) == (2, {}, ())
    assert checked.present == {"road": 1, "lane": 1}
    assert checked.coverage["lane"] == pytest.approx((12 + 3 + 1) / (16 * 24))
    sheet = cv2.imread(str(tmp_path / "overlay.png"))
    assert sheet is not None
    assert sheet.shape[1] == 2 * 326 + 6


def test_what_training_would_trip_over_is_found(tmp_path: Path) -> None:
    data = labelled(tmp_path, {name: index_mask() for name in ("small", "colours", "values", "broken", "lost", "good")})
    masks = tmp_path / "masks"
    Image.fromarray(index_mask()[:8]).save(masks / "small.png")
    Image.fromarray(np.zeros((16, 24, 3), np.uint8)).save(masks / "colours.png")
    Image.fromarray(index_mask() + 3).save(masks / "values.png")
    (masks / "broken.png").write_bytes(b"\x89PNG")
    (tmp_path / "images" / "lost.png").unlink()
    write_picture(tmp_path / "images" / "new.jpg")
    checked = check(data, sheet=tmp_path / "overlay.png")
    found = {path.stem: reason for path, reason in checked.problems.items()}
    assert "is 24x8, its picture 24x16" in found.pop("small")
    assert "save it as an indexed (palette) PNG" in found.pop("colours")
    assert "holds 3, 4, 5, which mean nothing: allowed are 0, 1, 2, 255" in found.pop("values")
    assert "cannot be read as a mask" in found.pop("broken")
    assert "has no picture" in found.pop("lost")
    assert not found
    assert (checked.pictures, checked.unlabelled) == (1, ("new",))


def test_binary_masks_that_editors_saved_otherwise_are_found(tmp_path: Path) -> None:
    white = np.where(index_mask() == 1, np.uint8(255), np.uint8(0))
    data = labelled(tmp_path, dict.fromkeys("abcde", white), kind="binary", regions={"person": (255,)})
    masks = tmp_path / "masks"
    Image.fromarray(white).convert("1").convert("P").save(masks / "a.png")
    Image.fromarray(np.dstack([white * 0, white, white * 0])).save(masks / "b.png")
    Image.fromarray(np.dstack([white] * 3)).save(masks / "c.png")
    Image.fromarray(white).convert("1").save(masks / "d.png")
    checked = check(data)
    assert {path.stem: reason.partition("holds ")[2] for path, reason in checked.problems.items()} == {
        "a": "a palette: save it as grey, white for the region",
        "b": "colours: save it as grey, white for the region",
    }
    assert checked.coverage["person"] == pytest.approx((white > 0).mean()), "c, d and e are good"
