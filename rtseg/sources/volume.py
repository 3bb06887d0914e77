"""A NIfTI file's voxels, turned to the axes of the body, without ever having the whole file in memory."""

from __future__ import annotations

import gzip
import math
import tempfile
import zlib
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple, cast

import nibabel
import numpy as np
from nibabel.orientations import io_orientation
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from rtseg.errors import ConfigError, SourceError, SourceNotFound, SourceTooLarge, SourceUnreadable
from rtseg.sources.slices import MAX_PIXELS, unheard

MAX_BYTES = 8 << 30
"""How large a compressed volume, with what stands before it, may be once it is unpacked."""

_MILLIMETRES = {1: 1000.0, 2: 1.0, 3: 0.001}  # of xyzt_units: metre, millimetre, micrometre
_CHUNK = 1 << 20


class Volume(NamedTuple):
    """One volume, turned to RAS. stored: a view of a mapped file, XxYxZ; times slope, plus intercept, are the values.

    spacing: in mm. affine: from places in `stored` to the scanner's, 4x4; None where the header has nonsense.
    """

    stored: NDArray[Any]
    spacing: tuple[float, float, float]
    scale: tuple[float, float]
    affine: NDArray[np.float64] | None

    def slice(self, axis: Literal[0, 1, 2], index: int) -> NDArray[Any]:
        """The values of a slice as it is looked at, HxW: up, and right (or the front), come first."""
        slope, intercept = self.scale
        shown = looked_at(self.stored, axis, index)
        return shown if (slope, intercept) == (1.0, 0.0) else shown * slope + intercept


def looked_at(values: NDArray[Any], axis: Literal[0, 1, 2], index: int) -> NDArray[Any]:
    """A slice of an RAS volume as `Volume.slice` turns it, a view."""
    # np.take would copy the whole volume first, since its lines do not lie in order.
    shown: NDArray[Any] = np.moveaxis(values, axis, 0)[index][::-1, ::-1].T
    return shown


def read_volume(path: Path, *, volume: int = 0, max_pixels: int = MAX_PIXELS) -> Volume:
    """One volume of a file. Raises what `NiftiSlices` raises."""
    try:
        if not path.exists():
            raise SourceNotFound(f"{path} does not exist: give the path of a .nii or .nii.gz file")
        if not path.is_file():
            raise SourceUnreadable(f"{path} is no regular file: give the path of a .nii or .nii.gz file")
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        with cast("IO[bytes]", gzip.open(path, "rb")) if packed else path.open("rb") as stream:
            header = _header(stream.read(540), path)
            return _mapped(header, stream if packed else None, path, volume, max_pixels)
    except SourceError:
        raise
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "its compression is damaged"
        raise SourceUnreadable(f"{path} cannot be read: {reason}") from None


def _header(head: bytes, path: Path) -> Any:
    """The header alone: its extensions, which may be as large as they like, are not read."""
    kind: Any = {b"n+1\0": nibabel.Nifti1Header, b"ni1\0": None}.get(head[344:348])
    kind = nibabel.Nifti2Header if head[4:8] == b"n+2\0" else kind
    if kind is None or len(head) < kind.sizeof_hdr:
        raise SourceUnreadable(
            f"{path} is no NIfTI file: give a .nii or .nii.gz file (pairs of .hdr and .img: convert)"
        )
    with unheard("nibabel"):
        try:
            return kind(head[: kind.sizeof_hdr], check=False)
        except (HeaderDataError, ValueError, TypeError):
            raise SourceUnreadable(f"{path} has a damaged NIfTI header") from None


def _mapped(header: Any, stream: IO[bytes] | None, path: Path, volume: int, max_pixels: int) -> Volume:
    try:
        sizes = [int(size) for size in header.get_data_shape()]
        kind = np.dtype(header.get_data_dtype())
        slope, intercept = header.get_slope_inter()
        scale = (1.0, 0.0) if slope is None else (float(slope), float(intercept or 0))
        offset = int(header["vox_offset"])
        affine = np.asarray(header.get_best_affine(), np.float64)
        zooms = [float(size) for size in header.get_zooms()[:3]]
        unit = _MILLIMETRES.get(int(header["xyzt_units"]) & 7, 1.0)
    except (HeaderDataError, ValueError, TypeError, KeyError, OverflowError):
        raise SourceUnreadable(f"{path} has a damaged NIfTI header") from None
    sizes += [1] * (3 - len(sizes))
    zooms += [1.0] * (3 - len(zooms))
    if min(sizes) < 1 or offset < header.sizeof_hdr:
        raise SourceUnreadable(f"{path} has a damaged NIfTI header: a volume of {'x'.join(map(str, sizes))}")
    if kind.kind not in "iuf" or kind.itemsize > 8:
        raise SourceUnreadable(
            f"{path} holds {kind.name} values: only whole and real numbers of up to 64 bits are shown"
        )
    if math.prod(sizes[4:]) != 1:
        raise SourceUnreadable(f"{path} has {len(sizes)} dimensions: give a volume, or a series of volumes")
    volumes = sizes[3] if len(sizes) > 3 else 1
    if not 0 <= volume < volumes:
        raise ConfigError(f"volume {volume} is not in {path}: it has volumes 0 to {volumes - 1}")
    largest, second = sorted(sizes[:3])[::-1][:2]
    if largest * second > max_pixels:
        raise SourceTooLarge(
            f"{path} has slices of {largest}x{second}: allowed are {max_pixels} pixels; scale it down, "
            "or raise max_pixels"
        )
    count = math.prod(sizes[:3]) * kind.itemsize
    begin = offset + volume * count
    if stream is None:
        file: IO[bytes] = path.open("rb")
        there = path.stat().st_size
    else:
        file, there = _unpacked(stream, begin, count, path)
        begin = 0
    with file:
        if there < begin + count:
            raise SourceUnreadable(f"{path} ends too early: its header promises {begin + count - there} bytes more")
        shape = (sizes[0], sizes[1], sizes[2])
        values = np.memmap(file, kind, "r", begin, shape, order="F")
    orientation = _orientation(affine)
    return Volume(
        _canonical(values, orientation),
        _spacing(zooms, unit, orientation),
        scale,
        _turned(affine, orientation, values.shape) if np.isfinite(affine).all() else None,
    )


def _unpacked(stream: IO[bytes], begin: int, count: int, path: Path) -> tuple[IO[bytes], int]:
    """One volume's bytes in a temporary file without a name, and how many there were."""
    if begin + count > MAX_BYTES:
        size = (begin + count) >> 20
        raise SourceTooLarge(f"{path} would unpack to {size} MB: allowed are {MAX_BYTES >> 20}; gunzip it beforehand")
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    try:
        stream.seek(begin)
        left = count
        while left and (piece := stream.read(min(left, _CHUNK))):
            file.write(piece)
            left -= len(piece)
        file.flush()
    except BaseException:
        file.close()
        raise
    return file, count - left


def _orientation(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each stored axis its axis of the body and direction; as stored where the affine says nothing."""
    straight = np.array([[0, 1], [1, 1], [2, 1]], np.float64)
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        return straight
    found = np.asarray(cast("Any", io_orientation)(affine), np.float64)
    return found if np.isfinite(found).all() else straight


def _canonical(values: NDArray[Any], orientation: NDArray[np.float64]) -> NDArray[Any]:
    turned = values[tuple(slice(None, None, int(direction)) for direction in orientation[:, 1])]
    return turned.transpose(np.argsort(orientation[:, 0]))


def _turned(
    affine: NDArray[np.float64], orientation: NDArray[np.float64], shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """The affine of what `_canonical` made."""
    turn = np.zeros((4, 4))
    turn[3, 3] = 1
    for stored, (axis, direction) in enumerate(orientation):
        turn[stored, int(axis)] = direction
        turn[stored, 3] = 0 if direction > 0 else shape[stored] - 1
    return affine @ turn


def _spacing(zooms: list[float], unit: float, orientation: NDArray[np.float64]) -> tuple[float, float, float]:
    """Millimetres along the axes of the body; 1 where the header has nonsense."""
    sizes = [abs(zoom) * unit if np.isfinite(zoom) and zoom else 1.0 for zoom in zooms]
    x, y, z = (sizes[int(place)] for place in np.argsort(orientation[:, 0]))
    return x, y, z
