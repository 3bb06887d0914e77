from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from commands import Rtseg, broken_picture, portrait_photo, runner


@pytest.fixture
def rtseg(capsys: pytest.CaptureFixture[str]) -> Rtseg:
    return runner(capsys)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two photographs of different sizes."""
    folder = tmp_path / "photos"
    folder.mkdir()
    portrait_photo(folder / "wide.jpg", size=(120, 90))
    portrait_photo(folder / "tall.png", size=(80, 101))
    return folder


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def mask_of(path: Path) -> np.ndarray:
    mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert mask is not None
    assert mask.dtype == np.uint8
    return mask


def test_one_region_is_a_probability_at_the_size_of_the_picture(rtseg: Rtseg, photos: Path, tmp_path: Path) -> None:
    result = rtseg("segment", photos, "-o", tmp_path / "masks")
    assert (result.code, result.out) == (0, "")
    assert names_in(tmp_path / "masks") == ["tall.png", "wide.png"]
    wide, tall = mask_of(tmp_path / "masks" / "wide.png"), mask_of(tmp_path / "masks" / "tall.png")
    assert (wide.shape, tall.shape) == ((90, 120), (101, 80))
    assert wide[85, 50] > 250, "the suit, in the middle below"
    assert wide[10, 5] < 5, "the wall, in the corner"


def test_several_regions_have_a_file_each(rtseg: Rtseg, photos: Path, tmp_path: Path) -> None:
    assert rtseg("segment", photos / "wide.jpg", "-o", tmp_path / "masks", "--model", "road-fast").code == 0
    found = names_in(tmp_path / "masks")
    assert found == ["wide.drivable.png", "wide.lane.png", "wide.vehicle.png", "wide.vulnerable.png"]
    assert mask_of(tmp_path / "masks" / "wide.lane.png").shape == (90, 120)


def test_a_class_map_holds_indices(
    rtseg: Rtseg, photos: Path, tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RTSEG_MODELS", str(shared / "weights"))
    assert rtseg("segment", photos / "wide.jpg", "-o", tmp_path / "masks", "--model", "espnetv2-city").code == 0
    assert names_in(tmp_path / "masks") == ["wide.png"]
    labels = mask_of(tmp_path / "masks" / "wide.png")
    assert labels.shape == (90, 120)
    assert set(np.unique(labels)) <= {*range(20), 255}


def test_pictures_do_not_colour_each_other(rtseg: Rtseg, tmp_path: Path) -> None:
    """A mask is the same alone and after others: nothing is smoothed over time."""
    folder = tmp_path / "photos"
    folder.mkdir()
    portrait_photo(folder / "2.png")
    cv2.imwrite(str(folder / "1.png"), np.full((90, 120, 3), 128, np.uint8))
    assert rtseg("segment", folder, "-o", tmp_path / "both").code == 0
    assert rtseg("segment", folder / "2.png", "-o", tmp_path / "alone").code == 0
    assert np.array_equal(mask_of(tmp_path / "both" / "2.png"), mask_of(tmp_path / "alone" / "2.png"))


def test_json_is_a_record_a_picture(rtseg: Rtseg, photos: Path, tmp_path: Path) -> None:
    broken = broken_picture(photos / "broken.png")
    result = rtseg("segment", photos, "-o", tmp_path / "masks", "--json")
    records = {Path(record["image"]).name: record for record in map(json.loads, result.out.splitlines())}
    assert set(records) == {"wide.jpg", "tall.png", "broken.png"}
    assert records["tall.png"]["size"] == [80, 101]
    assert records["wide.jpg"]["segments"][0]["label"] == "person"
    assert 0.1 < records["wide.jpg"]["segments"][0]["coverage"] < 0.7
    assert str(broken) in records["broken.png"]["error"]
    assert result.code == 7


def test_a_broken_picture_is_named_and_the_others_are_done(rtseg: Rtseg, photos: Path, tmp_path: Path) -> None:
    broken = broken_picture(photos / "broken.png")
    result = rtseg("segment", photos, "-o", tmp_path / "masks")
    assert result.code == 7
    assert str(broken) in result.error()
    assert "partial: 2 of 2 frames" in result.err
    assert names_in(tmp_path / "masks") == ["tall.png", "wide.png"]


def test_nothing_but_broken_pictures_is_an_error(rtseg: Rtseg, tmp_path: Path) -> None:
    result = rtseg("segment", broken_picture(tmp_path / "a.png"), "-o", tmp_path / "masks")
    assert result.code == 5
    assert "a.png" in result.error()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("photos missing.jpg -o masks", 5, "missing.jpg does not exist"),
        ("empty -o masks", 2, "no picture in empty"),
        ("photos photos/wide.jpg -o masks", 2, "photos/wide.jpg and photos/wide.jpg would both be written as 'wide'"),
        ("photos other/wide.png -o masks", 2, "would both be written as 'wide'"),
        ("photos -o photos", 2, "would replace the input photos/tall.png"),
        ("photos -o masks --model espnet", 3, "did you mean espnetv2-city"),
        ("photos -o photos/wide.jpg", 6, "photos/wide.jpg"),
    ],
)
def test_what_cannot_be_is_one_line(
    rtseg: Rtseg, photos: Path, monkeypatch: pytest.MonkeyPatch, arguments: str, code: int, message: str
) -> None:
    monkeypatch.chdir(photos.parent)
    for name in ("empty", "other"):
        (photos.parent / name).mkdir()
    portrait_photo(photos.parent / "other" / "wide.png")
    before = {path: path.read_bytes() for path in photos.iterdir()}
    result = rtseg("segment", *arguments.split())
    assert result.code == code
    assert message in result.error()
    assert {path: path.read_bytes() for path in photos.iterdir()} == before
