"""`rtseg segment` and `rtseg.segment`: one answer for a picture, whichever door it came through."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from checkpoints import make_folder
from commands import Rtseg, portrait_photo, runner
from PIL import Image
from test_families import MASKS, constant_card

import rtseg as api
from rtseg.errors import InferenceFailed
from rtseg.options import configure
from rtseg.stills import StillFiles, StillSegmenter, build_stills
from rtseg.types import Semantic


@pytest.fixture
def rtseg(capsys: pytest.CaptureFixture[str]) -> Rtseg:
    return runner(capsys)


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """A JPEG and a PNG of other sizes than any network's."""
    folder = tmp_path / "photos"
    folder.mkdir()
    portrait_photo(folder / "wide.jpg", size=(121, 90))
    portrait_photo(folder / "tall.png", size=(80, 101))
    return [folder / "wide.jpg", folder / "tall.png"]


def read(path: Path) -> Any:
    mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert mask is not None
    return mask


def test_a_class_map_is_that_of_the_exact_path(rtseg: Rtseg, photos: list[Path], tmp_path: Path) -> None:
    """Decided at the picture's size, from pixels as PIL decodes and resizes them."""
    model = make_folder(tmp_path / "model")
    assert rtseg("segment", *photos, "-o", tmp_path / "masks", "--model", model).code == 0
    for photo in photos:
        wanted = api.as_label_map(api.segment(photo, model=model))
        np.testing.assert_array_equal(read(tmp_path / "masks" / f"{photo.stem}.png"), wanted)
        assert len(np.unique(wanted)) > 1


@pytest.mark.parametrize("options", [{}, {"mask_threshold": 0.5}, {"threshold": 1.0}])
def test_a_matte_is_that_of_segment(rtseg: Rtseg, photos: list[Path], tmp_path: Path, options: Any) -> None:
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
    told = rtseg("segment", *photos, "-o", tmp_path / "masks", *words, "--json")
    assert told.code == 0
    for photo, line in zip(photos, told.out.splitlines(), strict=True):
        found = api.segment(photo, **options)
        scores = [segment["score"] for segment in json.loads(line)["segments"]]
        assert scores == pytest.approx([segment["score"] for segment in found], abs=1e-4)
        mask = read(tmp_path / "masks" / f"{photo.stem}.png")
        np.testing.assert_array_equal(mask, np.asarray(found[0]["mask"]) if found else np.zeros_like(mask))
        assert bool(found) == ("threshold" not in options)


def test_tasks_and_thresholds_reach_the_queries(rtseg: Rtseg, photos: list[Path], tmp_path: Path) -> None:
    classes = np.zeros((1, 2, 3), np.float32)
    classes[0, 0, 0], classes[0, 1, 1] = 9, 1.1
    masks = np.full((1, 2, MASKS[1], MASKS[0]), -9, np.float32)
    masks[0, 0, :, :3], masks[0, 1, :, 5:] = 9, 9
    tables = 'outputs = [{ name = "c" }, { name = "m" }]\nqueries = { kind = "maskformer", classes = "c", masks = "m" }'
    outputs = {"c": classes, "m": masks}
    model = constant_card(tmp_path, outputs, family="queries", names=["person", "car"], tables=tables)
    asked: dict[str, Any] = {"task": "instance", "threshold": 0.9}
    for place, (options, count) in enumerate((([], 2), (["--task", "instance", "--threshold", 0.9], 1))):
        folder = tmp_path / str(place)
        assert rtseg("segment", photos[0], "-o", folder, "--model", model, *options).code == 0
        numbers = read(folder / "wide.png")
        found = api.segment(photos[0], model=model, **(asked if options else {}))
        assert len(found) == count == numbers.max()
        for number, segment in enumerate(found, start=1):
            np.testing.assert_array_equal(numbers == number, np.asarray(segment["mask"]) > 0)
    refused = rtseg("segment", photos[0], "-o", tmp_path / "2", "--task", "panoptic")
    assert (refused.code, "has no task 'panoptic': it does semantic" in refused.error()) == (2, True)


def test_slices_of_a_scan_are_numbered_and_answered_as_pictures(rtseg: Rtseg, tmp_path: Path) -> None:
    pytest.importorskip("nibabel", reason="scans are in rtseg[medical]")
    from scans import write_nifti

    values = np.random.default_rng(5).integers(0, 255, (24, 20, 3)).astype(np.uint8)
    scan = write_nifti(tmp_path / "scan.nii.gz", values)
    model = make_folder(tmp_path / "model")
    told = rtseg("segment", scan, "-o", tmp_path / "masks", "--model", model, "--window", "127,256", "--json")
    assert told.code == 0
    assert [json.loads(line)["index"] for line in told.out.splitlines()] == [0, 1, 2]
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == ["000000.png", "000001.png", "000002.png"]
    job = build_stills(configure(scan, masks=tmp_path / "again", model=str(model), window="127,256"))
    for frame in job.source:
        wanted = api.as_label_map(api.segment(frame.resized(frame.size), model=model))
        np.testing.assert_array_equal(read(tmp_path / "masks" / f"{frame.index:06}.png"), wanted)
    job.close()
    several = rtseg("segment", scan, scan, "-o", tmp_path / "masks")
    assert (several.code, "is a scan: give it alone" in several.error()) == (2, True)


def test_a_broken_slice_is_named_and_the_others_are_done(rtseg: Rtseg, tmp_path: Path) -> None:
    pytest.importorskip("pydicom", reason="scans are in rtseg[medical]")
    from scans import write_dicom

    series = tmp_path / "series"
    series.mkdir()
    for number in range(3):
        pixels = np.full((24, 20), 40 * number + 20, np.uint8)
        write_dicom(series / f"{number}.dcm", pixels, InstanceNumber=number)
    whole = (series / "1.dcm").read_bytes()
    (series / "1.dcm").write_bytes(whole[:-200])
    told = rtseg("segment", series, "-o", tmp_path / "masks", "--model", make_folder(tmp_path / "model"))
    assert told.code == 7
    assert "1.dcm" in told.err
    assert len(list((tmp_path / "masks").iterdir())) == 2


def test_frames_carry_the_pixels_that_pil_decoded(photos: list[Path]) -> None:
    for frame, photo in zip(StillFiles(photos), photos, strict=True):
        np.testing.assert_array_equal(frame.resized(frame.size), np.asarray(Image.open(photo)))


def test_a_picture_that_fails_never_gets_the_mask_of_another(
    photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_folder(tmp_path / "model")
    job = build_stills(configure([photos[1]], masks=tmp_path / "masks", model=str(model)))
    frame = next(iter(job.source))
    assert job.pipeline(frame).held is False

    def fail(*_: Any, **__: Any) -> None:
        raise InferenceFailed("made up")

    monkeypatch.setattr(StillSegmenter, "__call__", fail)
    output = job.pipeline(frame)
    job.close()
    assert output.held
    assert isinstance(output.segmentation, Semantic)
    assert np.unique(output.segmentation.labels).tolist() == [255]
