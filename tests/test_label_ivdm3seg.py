from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from rtseg.cli.main import main
from rtseg.datasets import read_mask
from rtseg.errors import ConfigError
from rtseg.labels.folder import read_set

pytest.importorskip("nibabel", reason="needs rtseg[medical]")

from scans import write_nifti

from rtseg.labels.ivdm3seg import read_spines, subjects

SPACING = (4.0, 1.0, 1.0)
SHAPE = (3, 8, 10)
"""Three sagittal slices, 8 from back to front, 10 from feet to head."""
KINDS = ("fat", "inn", "opp", "wat")


def discs() -> NDArray[np.uint8]:
    made = np.zeros(SHAPE, np.uint8)
    made[1, 2:5, 1:3] = made[1, 2:5, 6:8] = 1
    return made


def write_subject(folder: Path, name: str, *, labels: bool = True, beside: bool = True, **more: Any) -> None:
    """A subject as the training data has it: NAME/NAME_fat.nii and so on."""
    place = folder / name
    place.mkdir(parents=True)
    for number, kind in enumerate(KINDS):
        values = np.zeros(SHAPE, np.int16)
        values[:, :, 5:] = 1000 * (number + 1)
        values[number % 3, 0, 0] = 7
        write_nifti(place / f"{name}_{kind}.nii", values, spacing=SPACING)
    if labels:
        there = place if beside else folder / "labels"
        there.mkdir(exist_ok=True)
        write_nifti(there / f"{name}_Labels.nii", more.pop("values", discs()), **{"spacing": SPACING, **more})


@pytest.mark.parametrize("beside", [True, False])
def test_slices_become_pictures_and_discs_their_masks(tmp_path: Path, beside: bool) -> None:
    write_subject(tmp_path / "train", "01", beside=beside)
    done = read_spines(tmp_path / "train", tmp_path / "spine")
    assert (done.made, done.kept, done.notes) == (3, 0, ())
    data = read_set(tmp_path / "spine")
    assert (data.kind, data.regions) == ("index", {"disc": (1,)})
    assert list(data.files) == ["01_000", "01_001", "01_002"]
    mask = read_mask(tmp_path / "spine" / "masks" / "01_001.png")
    # Head up, front at the left: 10 rows from z 9 down, 8 columns from y 7 back.
    np.testing.assert_array_equal(mask, discs()[1, ::-1, ::-1].T)
    assert (mask.shape, mask.max()) == ((10, 8), 1)
    assert not read_mask(tmp_path / "spine" / "masks" / "01_000.png").any()
    sample = data.read("01_001")  # what the trainer and `rtseg eval` read
    np.testing.assert_array_equal(sample.planes["disc"] > 0, mask == 1)
    assert sample.rgb.shape == (10, 8, 3)


def test_three_kinds_are_channels_and_one_is_grey(tmp_path: Path) -> None:
    write_subject(tmp_path / "train", "01")
    write_nifti(tmp_path / "train" / "01" / "01_opp.nii", np.zeros(SHAPE, np.int16), spacing=SPACING)
    read_spines(tmp_path / "train", tmp_path / "three")
    rgb = read_set(tmp_path / "three").read("01_001").rgb
    assert rgb[0, 0].tolist() == [255, 0, 255]  # fat and water are bright at the head, opposed phase nowhere
    read_spines(tmp_path / "train", tmp_path / "one", channels=["wat"])
    grey = cv2.imread(str(tmp_path / "one" / "images" / "01_001.png"))
    assert grey is not None
    assert grey[0, 0].tolist() == [255, 255, 255]


def test_each_disc_may_have_a_number(tmp_path: Path) -> None:
    write_subject(tmp_path / "train", "01")
    read_spines(tmp_path / "train", tmp_path / "spine", instances=True)
    assert sorted(np.unique(read_mask(tmp_path / "spine" / "masks" / "01_001.png"))) == [0, 1, 2]


def test_slices_of_a_subject_stay_on_one_side(tmp_path: Path) -> None:
    for number in range(12):
        write_subject(tmp_path / "train", f"A_{number:02d}")
    data = read_spines(tmp_path / "train", tmp_path / "spine").data
    data = read_set(data.folder)
    held = {stem.rpartition("_")[0] for stem in data.stems("held_out")}
    trained = {stem.rpartition("_")[0] for stem in data.stems("train")}
    assert held
    assert trained
    assert not held & trained


def test_labels_on_another_grid_are_brought_onto_that_of_the_images(tmp_path: Path) -> None:
    shifted = np.zeros((3, 8, 14), np.uint8)
    shifted[:, :, 2:12] = discs()
    affine = np.diag([*SPACING, 1.0])
    affine[2, 3] = -2  # two millimetres lower, and four taller
    write_subject(tmp_path / "train", "16", values=shifted, affine=affine)
    done = read_spines(tmp_path / "train", tmp_path / "spine")
    assert done.notes == ("the labels of 16 lay up to 2.0 mm from its images and were brought onto their grid",)
    mask = read_mask(tmp_path / "spine" / "masks" / "16_001.png")
    np.testing.assert_array_equal(mask, discs()[1, ::-1, ::-1].T)


def test_volumes_that_are_not_of_one_subject_are_refused(tmp_path: Path) -> None:
    write_subject(tmp_path / "train", "01")
    write_nifti(tmp_path / "train" / "01" / "01_wat.nii", np.zeros((3, 8, 11), np.int16), spacing=SPACING)
    with pytest.raises(ConfigError, match=r"01_wat.nii has 3x8x11 voxels, .*01_fat.nii 3x8x10"):
        read_spines(tmp_path / "train", tmp_path / "spine")
    (tmp_path / "train" / "01" / "01_wat.nii").unlink()
    with pytest.raises(ConfigError, match=r"subject 01 has no 01_wat.nii beside"):
        read_spines(tmp_path / "train", tmp_path / "spine")
    assert read_spines(tmp_path / "train", tmp_path / "fat", channels=["fat"]).made == 3


def test_only_subjects_with_labels_are_taken(tmp_path: Path) -> None:
    write_subject(tmp_path / "train", "01")
    write_subject(tmp_path / "train", "02", labels=False)
    assert list(subjects(tmp_path / "train")) == ["01"]
    with pytest.raises(ConfigError, match=r"has no NAME_Labels\.nii"):
        read_spines(tmp_path / "train" / "02", tmp_path / "spine")
    write_subject(tmp_path / "train" / "again", "01")
    with pytest.raises(ConfigError, match="are both Labels of subject 01: keep one"):
        subjects(tmp_path / "train")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"regions": ["lung"]}, "no label is called 'lung': there is disc"),
        ({"channels": ["fat", "wat"]}, "give one or three of fat, inn, opp and wat"),
        ({"channels": ["t2"]}, "give one or three of fat, inn, opp and wat"),
        ({"images": Path("x")}, "leave --images out"),
    ],
)
def test_options_that_cannot_be_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_spines(tmp_path, tmp_path / "spine", **options)


def test_the_command_line_knows_the_layout(tmp_path: Path) -> None:
    write_subject(tmp_path / "train", "01")
    out = str(tmp_path / "spine")
    with pytest.raises(SystemExit) as end:
        main(["label", "import", str(tmp_path / "train"), "-o", out, "--channels", "inn", "--quiet"])
    assert end.value.code in (0, None)
    with pytest.raises(SystemExit) as end:  # what is there is kept, and is no other set
        main(["label", "check", out, "--quiet"])
    assert end.value.code in (0, None)
    assert read_spines(tmp_path / "train", tmp_path / "spine").kept == 3
