"""Small scans whose every voxel is known: NIfTI volumes and DICOM files, written as devices write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import cv2
import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

PATIENT = "Doe^Jane"
SERIES = generate_uid(entropy_srcs=["series"])


def write_nifti(
    path: Path,
    values: NDArray[Any],
    *,
    affine: NDArray[Any] | None = None,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    unit: str = "mm",
    scale: tuple[float, float] | None = None,
    second: bool = False,
) -> Path:
    """A volume; without an affine its axes are those of RAS. second: NIfTI-2."""
    made = nibabel.Nifti2Image if second else nibabel.Nifti1Image
    image = cast("Any", made)(values, np.diag([*spacing, 1.0]) if affine is None else affine)
    image.header.set_xyzt_units(unit)
    image.header["descrip"] = PATIENT.encode()
    if scale is not None:
        image.header.set_slope_inter(*scale)
    image.to_filename(path)
    return path


def write_dicom(path: Path, pixels: NDArray[Any], *, syntax: Any = ExplicitVRLittleEndian, **values: Any) -> Path:
    """A file of one picture HxW or HxWx3, or of many NxHxW; `values` are of the header, by keyword."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = CTImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.PatientName, data.PatientID, data.PatientBirthDate = PATIENT, "4711", "19700101"
    data.SeriesInstanceUID, data.SeriesNumber, data.InstanceNumber = SERIES, 3, 1
    coloured = pixels.ndim == 3 and pixels.shape[2] == 3
    data.SamplesPerPixel = 3 if coloured else 1
    data.PhotometricInterpretation = "RGB" if coloured else "MONOCHROME2"
    if coloured:
        data.PlanarConfiguration = 0
    if pixels.ndim == 3 and not coloured:
        data.NumberOfFrames = len(pixels)
    data.Rows, data.Columns = pixels.shape[:2] if coloured else pixels.shape[-2:]
    data.BitsAllocated = data.BitsStored = 8 * pixels.dtype.itemsize
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    data.PixelData = pixels.tobytes()
    data["PixelData"].VR = "OB" if pixels.dtype.itemsize == 1 else "OW"
    for name, value in values.items():
        setattr(data, name, value)
    if syntax != ExplicitVRLittleEndian:
        data.compress(syntax, generate_instance_uid=False)
    data.save_as(path, enforce_file_format=True)
    return path


def write_series(folder: Path, volume: NDArray[Any], *, thickness: float = 5.0, **values: Any) -> Path:
    """A file for each slice of SxHxW, lying upwards; names and numbers run against their order along the body."""
    folder.mkdir(parents=True, exist_ok=True)
    for place, pixels in enumerate(volume):
        write_dicom(
            folder / f"{len(volume) - place:03d}.dcm",
            pixels,
            **{
                "InstanceNumber": len(volume) - place,
                "ImagePositionPatient": [0, 0, thickness * place],
                "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
                **values,
            },
        )
    return folder


def nuclei(shared: Path, *, count: int = 4, size: int = 256) -> NDArray[np.uint8]:
    """A volume SxHxW of fluorescence: one picture of real nuclei that fades in and out, as focus does."""
    folder = shared / "data" / "medical" / "nuclei"
    if not folder.is_dir():
        pytest.skip(f"no nuclei in {folder}")
    picture = cv2.imread(str(sorted((folder / "images").glob("*.png"))[0]), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    picture = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
    strengths = 1 - 0.4 * np.abs(np.linspace(-1, 1, count))
    return np.stack([np.rint(picture * strength).astype(np.uint8) for strength in strengths])


def group(**values: Any) -> Dataset:
    """An item of a sequence."""
    made = Dataset()
    for name, value in values.items():
        setattr(made, name, value)
    return made
