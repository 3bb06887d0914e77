"""Labelled pictures: however masks are written, what is read is the same; and the split never moves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

from rtseg.datasets import DataSet, Sample, hash_share, head_to_chest
from rtseg.errors import ConfigError, SourceUnreadable

VALUES = np.array([[0, 1, 2], [127, 128, 255]], np.uint8)


def one(folder: Path, mask: NDArray[Any] = VALUES, *, stem: str = "a", **options: Any) -> DataSet:
    """A set of one picture with this mask."""
    for name in ("images", "masks"):
        (folder / name).mkdir(exist_ok=True)
    cv2.imwrite(str(folder / "images" / f"{stem}.png"), np.full((*mask.shape, 3), (30, 20, 10), np.uint8))
    cv2.imwrite(str(folder / "masks" / f"{stem}.png"), mask)
    return DataSet.model_validate({"folder": folder, "regions": {"person": []}, **options})


def named(folder: Path, *stems: str, **options: Any) -> DataSet:
    """A set of empty files: enough to be split."""
    for place, suffix in (("images", "jpg"), ("masks", "png")):
        (folder / place).mkdir()
        for stem in stems:
            (folder / place / f"{stem}.{suffix}").touch()
    return DataSet.model_validate({"folder": folder, "regions": {"person": []}, **options})


def test_a_picture_is_rgb(tmp_path: Path) -> None:
    assert one(tmp_path).read("a").rgb[0, 0].tolist() == [10, 20, 30]


def test_of_a_binary_mask_what_is_over_127_is_the_region(tmp_path: Path) -> None:
    sample = one(tmp_path).read("a")
    assert sample.planes["person"].tolist() == [[0, 0, 0], [0, 255, 255]]
    assert sample.known.min() == 255


def test_an_alpha_mask_stays_soft(tmp_path: Path) -> None:
    assert one(tmp_path, kind="alpha").read("a").planes["person"].tolist() == VALUES.tolist()


def test_an_index_mask_gives_each_region_its_values_and_ignored_ones_are_unknown(tmp_path: Path) -> None:
    data = one(tmp_path, kind="index", regions={"road": [1, 2], "car": [128]}, ignore=[255])
    sample = data.read("a")
    assert sample.planes["road"].tolist() == [[0, 255, 255], [0, 0, 0]]
    assert sample.planes["car"].tolist() == [[0, 0, 0], [0, 255, 0]]
    assert sample.known.tolist() == [[255, 255, 255], [255, 255, 0]]


def test_of_a_palette_the_indices_count_not_the_colours(tmp_path: Path) -> None:
    data = one(tmp_path, kind="index", regions={"road": [1]})
    picture = Image.fromarray(np.array([[0, 1, 2], [1, 0, 0]], np.uint8), "L").convert("P")
    picture.putdata([0, 1, 2, 1, 0, 0])
    picture.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0])
    picture.save(tmp_path / "masks" / "a.png")
    assert data.read("a").planes["road"].tolist() == [[0, 255, 0], [255, 0, 0]]


def test_instances_of_16_bits_are_one_region_and_keep_their_ids(tmp_path: Path) -> None:
    mask = np.array([[0, 1, 300], [7, 65535, 0]], np.uint16)
    sample = one(tmp_path, mask, kind="instances", ignore=[65535]).read("a")
    assert sample.planes["person"].tolist() == [[0, 255, 255], [255, 0, 0]]
    assert sample.known.tolist() == [[255, 255, 255], [255, 0, 255]]
    assert sample.ids is not None
    assert sample.ids.tolist() == mask.tolist()


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    data = one(tmp_path)
    cv2.imwrite(str(tmp_path / "masks" / "a.png"), np.zeros((5, 4), np.uint8))
    with pytest.raises(SourceUnreadable, match=r"a\.png is 4x5, its picture 3x2"):
        data.read("a")


def test_a_damaged_picture_and_a_damaged_mask_are_named(tmp_path: Path) -> None:
    data = one(tmp_path)
    (tmp_path / "masks" / "a.png").write_bytes(b"no picture")
    with pytest.raises(SourceUnreadable, match=r"masks.a\.png cannot be read as a mask"):
        data.read("a")
    (tmp_path / "images" / "a.png").write_bytes(b"no picture")
    with pytest.raises(SourceUnreadable, match=r"images.a\.png cannot be read as a picture"):
        data.read("a")


def test_a_folder_without_labelled_pictures_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"images/NAME.jpg .* and masks/NAME.png"):
        _ = DataSet(folder=tmp_path, regions={"person": ()}).files


def test_pictures_without_masks_are_left_out(tmp_path: Path) -> None:
    data = named(tmp_path, "a", "b")
    (tmp_path / "masks" / "b.png").unlink()
    assert data.stems() == ["a"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"regions": {}}, "at least one region"),
        ({"regions": {"a": [], "b": []}}, "a set of kind 'binary' has one region"),
        ({"kind": "index", "regions": {"road": []}}, r"which values of the masks are road"),
        ({"regions": {"a": []}, "group": "("}, r"group '\(' is not a regular expression"),
        ({"regions": {"a": []}, "shares": 1}, "shares"),
    ],
)
def test_a_set_that_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DataSet.model_validate({"folder": "x", **options})


def test_the_split_is_fixed_by_the_hash_of_the_name(tmp_path: Path) -> None:
    assert [round(hash_share(stem), 4) for stem in ("a", "b", "c", "d")] == [0.7914, 0.2427, 0.1816, 0.0964]
    data = named(tmp_path, "a", "b", "c", "d", "e", "f", "g", "h")
    assert data.stems("held_out") == ["c", "d", "f"]
    assert data.stems("train") == ["a", "b", "e", "g", "h"]


def test_another_picture_in_the_folder_moves_none_of_the_others(tmp_path: Path) -> None:
    data = named(tmp_path, "a", "c")
    before = {stem: data.is_held_out(stem) for stem in data.stems()}
    (tmp_path / "images" / "b.jpg").touch()
    (tmp_path / "masks" / "b.png").touch()
    again = DataSet(folder=tmp_path, regions={"person": ()})
    assert {stem: again.is_held_out(stem) for stem in before} == before
    assert before == {"a": False, "c": True}


def test_a_drive_stays_together(tmp_path: Path) -> None:
    stems = [f"drive{drive}_{frame}" for drive in (1, 2, 3) for frame in range(5)]
    data = named(tmp_path, *stems, group="^drive[0-9]+")
    assert data.stems("held_out") == [f"drive2_{frame}" for frame in range(5)]
    assert len(data.stems("train")) == 10


def test_named_pictures_and_whole_sets_are_held_back_whatever_their_hash(tmp_path: Path) -> None:
    data = named(tmp_path, "a", "b", "c")
    chosen = data.model_copy(update={"share": 0.0, "held_out": ("b",)})
    assert chosen.stems("held_out") == ["b"]
    assert data.model_copy(update={"split": "held_out"}).stems("held_out") == ["a", "b", "c"]
    assert data.model_copy(update={"split": "train"}).stems("held_out") == []


def test_head_to_chest_cuts_what_a_webcam_sees() -> None:
    rgb = np.arange(200, dtype=np.uint8)[:, None, None].repeat(100, 1).repeat(3, 2)
    person = np.zeros((200, 100), np.uint8)
    person[20:180, 40:60] = 255  # 160 tall: 0.38 of it and a margin are 68 rows, of which 56 are 16:9 here
    ids = (person > 0).astype(np.uint16)
    sample = head_to_chest(Sample("a", rgb, {"person": person}, np.full_like(person, 255), ids))
    assert sample.rgb.shape == (56, 100, 3)
    assert sample.rgb[0, 0, 0] == 13  # a margin of 0.12 of the height over the head
    assert sample.planes["person"].shape == sample.known.shape == (56, 100)
    assert np.flatnonzero(sample.planes["person"][:, 50])[0] == 7
    assert sample.ids is not None
    assert np.array_equal(sample.ids > 0, sample.planes["person"] > 0)


def test_a_picture_without_a_person_is_not_cut() -> None:
    rgb = np.zeros((9, 16, 3), np.uint8)
    empty = np.zeros((9, 16), np.uint8)
    sample = Sample("a", rgb, {"person": empty}, np.full_like(empty, 255))
    assert head_to_chest(sample) is sample
