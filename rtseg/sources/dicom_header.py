"""What is read of a DICOM file's header: what pixels mean and where they lie, and nothing about a person.

Values that are not in `TAGS` are skipped unread, so no name, date or number of a patient is ever in memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.filereader import read_file_meta_info
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import DeflatedExplicitVRLittleEndian

from rtseg.errors import DependencyMissing, SourceError, SourceNotFound, SourceTooLarge, SourceUnreadable
from rtseg.sources.slices import unheard
from rtseg.types import Size

TAGS = [
    "SOPClassUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "InstanceNumber",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "SliceLocation",
    "PixelSpacing",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "RescaleSlope",
    "RescaleIntercept",
    "ModalityLUTSequence",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
]

_MAGIC = b"DICM"


@dataclass(frozen=True, slots=True)
class DicomSlice:
    """One picture of a file. place: its frame in the file, from 0. order: what series are sorted by.

    window: centre, width and function of the header. slope, intercept: from stored to measured values.
    """

    path: Path
    place: int
    size: Size
    series: tuple[str, int]
    order: tuple[float, float, int]
    photometric: str
    bits: int
    slope: float = 1.0
    intercept: float = 0.0
    table: bool = False
    window: tuple[float, float, str] | None = None
    spacing: tuple[float, float] | None = None

    @property
    def coloured(self) -> bool:
        """Whether it has colours, which no window changes."""
        return not self.photometric.startswith("MONOCHROME")


def is_dicom(path: Path) -> bool:
    """Whether a file begins as PS3.10 has it: 128 bytes of anything, then DICM."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == _MAGIC
    except OSError:
        return False


def read_slices(path: Path, *, max_pixels: int) -> list[DicomSlice]:
    """Every picture in a file, unread. Raises SourceNotFound, SourceUnreadable, SourceTooLarge, DependencyMissing."""
    try:
        if not path.exists():
            raise SourceNotFound(f"{path} does not exist: give a DICOM file, or a folder of them")
        if not path.is_file() or not is_dicom(path):
            raise SourceUnreadable(f"{path} is no DICOM file: it lacks the mark DICM that PS3.10 demands")
        with harmless(path):
            syntax = read_file_meta_info(path).get("TransferSyntaxUID")
            if syntax == DeflatedExplicitVRLittleEndian:
                raise SourceUnreadable(f"{path} is a deflated data set, whose size is not known: dcmconv +te it first")
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(TAGS))
            _check_decoder(syntax, path)
            return list(_slices(header, path, syntax, max_pixels))
    except SourceError:
        raise
    except OSError as error:
        raise SourceUnreadable(f"{path} cannot be read: {error.strerror or 'damaged'}") from None


@contextmanager
def harmless(path: Path) -> Iterator[None]:
    """Errors of pydicom as ours, which do not quote what is in the header."""
    with unheard("pydicom"):
        try:
            yield
        except (SourceError, DependencyMissing, OSError):
            raise
        except MemoryError:
            raise SourceTooLarge(f"{path} asks for more memory than there is") from None
        except Exception as error:
            raise SourceUnreadable(f"{path} is damaged DICOM ({type(error).__name__} of pydicom)") from None


def _check_decoder(syntax: Any, path: Path) -> None:
    """Refuse a compression that nothing installed can undo, with what can."""
    if syntax is None:
        raise SourceUnreadable(f"{path} does not say how its pixels are written (Transfer Syntax UID)")
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise SourceUnreadable(f"{path} is compressed as {syntax.name}, which nothing here decodes") from None
    if not decoder.is_available:
        raise DependencyMissing(f"{path} is compressed as {syntax.name}: pip install {' '.join(_packages(decoder))}")


def _packages(decoder: Any) -> list[str]:
    """The packages of the last plugin that would do, the lightest; gdcm is no name that pip knows."""
    choices = [re.findall(r"([\w-]+)>=", text) for text in decoder.missing_dependencies if "gdcm" not in text]
    return next((names for names in reversed(choices) if names), ["python-gdcm"])


def _slices(header: Dataset, path: Path, syntax: Any, max_pixels: int) -> Iterator[DicomSlice]:
    rows, columns = int(header.get("Rows") or 0), int(header.get("Columns") or 0)
    if not rows or not columns:
        raise SourceUnreadable(f"{path} has no picture: it is another kind of DICOM object")
    if rows * columns > max_pixels:
        raise SourceTooLarge(
            f"{path} is {columns}x{rows}: allowed are {max_pixels} pixels a slice; scale it down, or raise max_pixels"
        )
    frames = max(int(header.get("NumberOfFrames") or 1), 1)
    samples = int(header.get("SamplesPerPixel") or 1)
    held = path.stat().st_size
    # A fragment has at least a header of 8 bytes, so no file names more frames than it can hold.
    least = 8 * frames if syntax.is_compressed else rows * columns * samples * frames * int(header.BitsAllocated) // 8
    if least > held:
        raise SourceUnreadable(f"{path} ends too early: {frames} pictures of {columns}x{rows} do not fit in it")
    for place in range(frames):
        groups = _groups(header, place)
        yield DicomSlice(
            path=path,
            place=place,
            size=Size(columns, rows),
            series=(str(header.get("SeriesInstanceUID", "")), int(header.get("SeriesNumber") or 0)),
            order=_order(groups, int(header.get("InstanceNumber") or 0), place),
            photometric=str(header.get("PhotometricInterpretation", "MONOCHROME2")),
            bits=int(header.get("BitsStored", header.BitsAllocated)),
            slope=_number(_first(groups, "RescaleSlope"), 1.0),
            intercept=_number(_first(groups, "RescaleIntercept"), 0.0),
            table="ModalityLUTSequence" in header,
            window=_window(groups),
            spacing=_spacing(groups),
        )


def _groups(header: Dataset, place: int) -> list[Dataset]:
    """Where a frame's values may stand, nearest first: its own functional groups, the shared ones, the top."""
    found: list[Dataset] = []
    own, shared = header.get("PerFrameFunctionalGroupsSequence"), header.get("SharedFunctionalGroupsSequence")
    for group in (own[place] if own and place < len(own) else None, shared[0] if shared else None):
        if group is not None:
            found += [element.value[0] for element in group if element.VR == "SQ" and element.value]
    return [*found, header]


def _first(groups: Sequence[Dataset], name: str) -> Any:
    return next((group[name].value for group in groups if name in group and group[name].value not in (None, "")), None)


def _number(value: Any, otherwise: float) -> float:
    """A value, or the first of several, that is finite."""
    try:
        number = float(value[0] if isinstance(value, Sequence) and not isinstance(value, str) else value)
    except (TypeError, ValueError, IndexError):
        return otherwise
    return number if np.isfinite(number) else otherwise


def _numbers(value: Any, count: int) -> list[float] | None:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) < count:
        return None
    numbers = [_number(each, float("nan")) for each in value[:count]]
    return numbers if np.isfinite(numbers).all() else None


def _order(groups: Sequence[Dataset], number: int, place: int) -> tuple[float, float, int]:
    """Where it lies along the normal of its plane, else its location or nothing; then its number, then its place."""
    position = _numbers(_first(groups, "ImagePositionPatient"), 3)
    directions = _numbers(_first(groups, "ImageOrientationPatient"), 6)
    if position is not None and directions is not None:
        along = float(np.dot(np.cross(directions[:3], directions[3:]), position))
    else:
        along = _number(_first(groups, "SliceLocation"), 0.0)
    return round(along, 3), float(number), place


def _window(groups: Sequence[Dataset]) -> tuple[float, float, str] | None:
    centre = _number(_first(groups, "WindowCenter"), float("nan"))
    width = _number(_first(groups, "WindowWidth"), float("nan"))
    if not (np.isfinite(centre) and width > 0):
        return None
    return centre, width, str(_first(groups, "VOILUTFunction") or "LINEAR")


def _spacing(groups: Sequence[Dataset]) -> tuple[float, float] | None:
    """Width and height in mm; the header has the height first. Spacing at a detector is not that of a body."""
    numbers = _numbers(_first(groups, "PixelSpacing"), 2)
    return (numbers[1], numbers[0]) if numbers is not None and min(numbers) > 0 else None
