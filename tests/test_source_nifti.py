from __future__ import annotations

import gzip
import logging
import tracemalloc
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rtseg.errors import ConfigError, SourceNotFound, SourceTooLarge, SourceUnreadable
from rtseg.types import Colour, Size, Source

pytest.importorskip("nibabel", reason="needs rtseg[medical]")

import nibabel
from nibabel import orientations
from scans import PATIENT, write_nifti

from rtseg.sources import volume
from rtseg.sources.nifti import NiftiSlices, finest
from rtseg.sources.volume import read_volume

NIBABEL: Any = nibabel
TURNS: Any = orientations  # neither is typed


def voxels(shape: tuple[int, ...] = (4, 5, 6)) -> NDArray[np.uint8]:
    """Values in which no turn looks like another."""
    return np.random.default_rng(7).integers(0, 256, shape, np.uint8)


def shown(source: NiftiSlices) -> NDArray[np.uint8]:
    return np.stack([frame.planes[0] for frame in source])


AS_IT_IS: tuple[float, float] = (128, 256)  # LINEAR: low 0, high 255


@pytest.mark.parametrize(
    ("plane", "expected"),
    [
        # Front up and the right of the body at the left; head up; head up and the front at the left.
        ("axial", lambda v: [[[v[3 - c, 4 - r, s] for c in range(4)] for r in range(5)] for s in range(6)]),
        ("coronal", lambda v: [[[v[3 - c, s, 5 - r] for c in range(4)] for r in range(6)] for s in range(5)]),
        ("sagittal", lambda v: [[[v[s, 4 - c, 5 - r] for c in range(5)] for r in range(6)] for s in range(4)]),
    ],
)
def test_slices_are_cut_as_radiologists_look_at_them(tmp_path: Path, plane: Any, expected: Any) -> None:
    values = voxels()
    path = write_nifti(tmp_path / "scan.nii", values)
    np.testing.assert_array_equal(shown(NiftiSlices(path, plane=plane, window=AS_IT_IS)), expected(values))


@pytest.mark.parametrize("codes", ["LPS", "RAS", "PIR", "SLA", "AIL"])
def test_volumes_of_any_orientation_show_the_same(tmp_path: Path, codes: str) -> None:
    """The original implementation, nibabel's as_closest_canonical, turns them for the comparison."""
    values = voxels()
    there = TURNS.ornt_transform(TURNS.axcodes2ornt("RAS"), TURNS.axcodes2ornt(codes))
    turned = TURNS.apply_orientation(values, there)
    affine = np.diag([1.0, 2.0, 3.0, 1.0]) @ TURNS.inv_ornt_aff(there, values.shape)
    path = write_nifti(tmp_path / "scan.nii.gz", turned, affine=affine)
    read = read_volume(path)
    canonical = NIBABEL.as_closest_canonical(NIBABEL.load(path))
    np.testing.assert_array_equal(read.stored, np.asarray(canonical.dataobj))
    np.testing.assert_array_equal(read.stored, values)
    assert list(read.spacing) == [1, 2, 3]
    assert read.affine is not None
    np.testing.assert_allclose(read.affine, canonical.affine)


def test_frames_have_times_spacing_and_neutral_chroma(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "scan.nii.gz", voxels(), spacing=(500, 250, 2000), unit="micron")
    source = NiftiSlices(path, rate=5)
    assert isinstance(source, Source)
    assert (source.info.name, source.info.size, source.info.frames, source.info.seconds) == (
        "scan.nii.gz",
        (4, 5),
        6,
        1.2,
    )
    assert source.info.sample_aspect_ratio == Fraction(2)
    frames = list(source)
    assert [frame.pts for frame in frames] == list(range(6))
    first = frames[0]
    assert (first.size, first.time_base, first.duration, first.spacing) == (Size(4, 5), Fraction(1, 5), 1, (0.5, 0.25))
    assert first.colour == Colour("bt601", full_range=True)
    assert all((plane == 128).all() and plane.shape == (3, 2) for plane in first.planes[1:])


def test_the_plane_is_that_of_the_finest_pixels() -> None:
    assert finest((4.0, 1.0, 1.0)) == 0
    assert finest((1.0, 4.0, 1.0)) == 1
    assert finest((1.0, 1.0, 1.0)) == 2


def test_percentiles_of_some_slices_make_one_window(tmp_path: Path) -> None:
    values = np.arange(1000, dtype=np.int16).reshape(10, 10, 10) * 10
    source = NiftiSlices(write_nifti(tmp_path / "scan.nii", values), percentiles=(0, 100))
    low, high = source._bounds
    assert low < 50 * 10
    assert high > 950 * 10
    flat = shown(source)
    assert flat.min() == 0
    assert flat.max() == 255


def test_not_a_number_is_black_and_leaves_the_window_alone(tmp_path: Path) -> None:
    values = np.full((4, 4, 2), 10, np.float32)
    values[:2] = 20
    values[0, 0, 0], values[0, 0, 1] = np.nan, np.inf
    picture = shown(NiftiSlices(write_nifti(tmp_path / "scan.nii", values)))
    assert picture[0, 3, 3] == 0  # the patient's left back corner: x 0, y 0
    assert picture[1, 3, 3] == 255
    assert sorted(np.unique(picture[1])) == [0, 255]


def test_stored_values_are_scaled_before_the_window(tmp_path: Path) -> None:
    stored = np.array([[[0], [500]], [[1000], [1224]]], np.int16)
    path = write_nifti(tmp_path / "scan.nii", stored, scale=(1.0, -1024.0))
    # soft: -160 and below is black, 239 and over is white. The stored 1224 is 200 Hounsfield units.
    picture = shown(NiftiSlices(path, window="soft"))[0]
    hounsfield = np.array([[200, -24], [-524, -1024]])
    np.testing.assert_array_equal(picture.T, np.clip(np.rint((hounsfield + 160) * 255 / 399), 0, 255))


def test_a_volume_of_a_series_is_chosen(tmp_path: Path) -> None:
    values = voxels((4, 5, 3, 2))
    for name in ("scan.nii", "scan.nii.gz"):
        path = write_nifti(tmp_path / name, values)
        np.testing.assert_array_equal(read_volume(path, volume=1)[0], values[..., 1])
    with pytest.raises(ConfigError, match=r"volume 2 is not in .*: it has volumes 0 to 1"):
        NiftiSlices(path, volume=2)


def test_nifti_2_and_other_byte_orders_are_read(tmp_path: Path) -> None:
    values = voxels().astype(">i2")
    np.testing.assert_array_equal(read_volume(write_nifti(tmp_path / "a.nii", values, second=True))[0], values)
    image = NIBABEL.Nifti1Image(values, np.eye(4), NIBABEL.Nifti1Header(endianness=">"))
    image.to_filename(tmp_path / "b.nii")
    np.testing.assert_array_equal(read_volume(tmp_path / "b.nii")[0], values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: b"", "is no NIfTI file"),
        (lambda data: b"\0" * 400, "is no NIfTI file"),
        (lambda data: data[:344] + b"ni1\0" + data[348:], "is no NIfTI file"),
        (lambda data: data[:-10], "ends too early: its header promises 10 bytes more"),
        (lambda data: data[:42] + b"\xff\xff" + data[44:], "damaged NIfTI header"),  # a side of -1
        (lambda data: data[:70] + b"\x20\x00" + data[72:], "holds complex64 values"),
        (lambda data: data[:70] + b"\x63\x63" + data[72:], "damaged NIfTI header"),  # a type that is none
        (lambda data: gzip.compress(data)[:-60], "cannot be read: its compression is damaged"),
        (lambda data: gzip.compress(data)[:60] + b"\xff" * 40, "cannot be read: its compression is damaged"),
    ],
)
def test_a_broken_file_is_named_before_anything_is_shown(tmp_path: Path, change: Any, message: str) -> None:
    path = write_nifti(tmp_path / "scan.nii", voxels())
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(SourceUnreadable, match=message):
        NiftiSlices(path)


def test_what_is_not_there_or_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match="does not exist"):
        NiftiSlices(tmp_path / "none.nii")
    with pytest.raises(SourceUnreadable, match="no regular file"):
        NiftiSlices(tmp_path)


def test_a_bomb_is_refused_by_its_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_nifti(tmp_path / "scan.nii", voxels())
    data = bytearray(path.read_bytes())
    data[42:48] = np.array([30_000, 30_000, 30_000], "<i2").tobytes()
    (tmp_path / "bomb.nii.gz").write_bytes(gzip.compress(bytes(data)))
    tracemalloc.start()
    with pytest.raises(SourceTooLarge, match="slices of 30000x30000: allowed are 50000000 pixels"):
        NiftiSlices(tmp_path / "bomb.nii.gz")
    data[42:48] = np.array([7000, 7000, 7000], "<i2").tobytes()
    (tmp_path / "bomb.nii.gz").write_bytes(gzip.compress(bytes(data)))
    with pytest.raises(SourceTooLarge, match="would unpack to 327110 MB: allowed are 8192"):
        NiftiSlices(tmp_path / "bomb.nii.gz")
    assert tracemalloc.get_traced_memory()[1] < 2 << 20
    tracemalloc.stop()
    with pytest.raises(SourceTooLarge, match="allowed are 29 pixels"):
        NiftiSlices(path, max_pixels=29)
    monkeypatch.setattr(volume, "MAX_BYTES", 100)
    with pytest.raises(SourceTooLarge, match="would unpack"):
        NiftiSlices(write_nifti(tmp_path / "scan.nii.gz", voxels()))


def test_no_more_is_unpacked_than_the_header_promises(tmp_path: Path) -> None:
    values = voxels((64, 64, 16))
    path = write_nifti(tmp_path / "scan.nii", values)
    bomb = tmp_path / "bomb.nii.gz"
    bomb.write_bytes(gzip.compress(path.read_bytes() + bytes(64 << 20), 9))
    tracemalloc.start()
    np.testing.assert_array_equal(read_volume(bomb)[0], values)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
def test_memory_holds_a_slice_and_not_the_volume(tmp_path: Path, name: str, plane: Any) -> None:
    values = np.zeros((160, 160, 160), np.int16)  # 8 MB
    values[::3] = 1000
    source = NiftiSlices(write_nifti(tmp_path / name, values), plane=plane, window=(500, 1000))
    tracemalloc.start()
    assert sum(1 for _ in source) == 160
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_a_closed_source_ends(tmp_path: Path) -> None:
    source = NiftiSlices(write_nifti(tmp_path / "scan.nii", voxels()))
    frames = iter(source)
    next(frames)
    source.close()
    assert list(frames) == []


def test_nothing_of_the_header_is_handed_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_nifti(tmp_path / "scan.nii", voxels())
    assert PATIENT.encode() in path.read_bytes()
    data = bytearray(path.read_bytes())
    data[123] = 7  # xyzt_units that mean nothing
    path.write_bytes(bytes(data))
    with caplog.at_level(logging.DEBUG):
        source = NiftiSlices(path)
        frames = list(source)
    assert PATIENT not in caplog.text + repr(source.info) + repr(frames)


@pytest.mark.parametrize("percentiles", [(50, 50), (-1, 50), (1, 101)])
def test_percentiles_that_are_none_are_refused(tmp_path: Path, percentiles: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match="percentiles must be two numbers 0 to 100"):
        NiftiSlices(tmp_path / "scan.nii", percentiles=percentiles)
