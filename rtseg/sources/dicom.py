"""DICOM as frames: a file, or a folder with a series of slices, through the window that its header names."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut
from pydicom.pixels.utils import pixel_array

from rtseg.errors import ConfigError, SourceError, SourceUnreadable
from rtseg.ops.arrays import U8
from rtseg.ops.colour import Colour, rgb_to_planes
from rtseg.sources.dicom_header import DicomSlice, harmless, is_dicom, read_slices
from rtseg.sources.passing import Passing
from rtseg.sources.slices import (
    MAX_PIXELS,
    RATE,
    Bounds,
    Window,
    bounds_of,
    grey,
    grey_frame,
    middle,
    percentile_bounds,
    pixel_ratio,
    rate_of,
)
from rtseg.types import Frame, StreamInfo

# What is needed beside the pixels: tables from stored values to measured ones, and to colours.
_NAMES = ["ModalityLUTSequence"]
_NAMES += [f"{c}PaletteColorLookupTable{what}" for c in ("Red", "Green", "Blue") for what in ("Descriptor", "Data")]
_TABLES = [tag for name in _NAMES if (tag := tag_for_keyword(name)) is not None]
_PICTURES = Colour("bt601", full_range=True)


class DicomSlices:
    """Slices of a DICOM file or of a series in a folder, sorted along the body, in grey; what has colours keeps them.

    Slices are shown as they are stored. One window serves a whole series, that of its middle slice, so that nothing
    flickers; without one, pictures of 8 bits are shown as they are and others between their percentiles.

    path: a file (of one picture or many), or a folder, of which all DICOM files are taken. series: its number, where
    the folder has several. window: see `rtseg.sources.slices.Window`. rate: slices a second. max_pixels: width x height
    above which slices are refused, before they are read.

    Memory holds a slice. `Frame.spacing` is the header's PixelSpacing; nothing else of the header is handed on. Slices
    that cannot be decoded are passed over, counted as broken_images and explained in `failures`; one of another size
    begins a new epoch. Raises SourceNotFound, SourceUnreadable, SourceTooLarge, ConfigError for several series, and
    DependencyMissing for a compression that needs a plugin.
    """

    live = False

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        series: int | None = None,
        window: Window | None = None,
        rate: float = RATE,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        path = Path(path)
        given = None if window is None else bounds_of(window)
        self._rate = rate_of(rate)
        self._passing = Passing(self._rate)
        self._slices = self._found(path, series, max_pixels)
        self._sigmoid: tuple[float, float] | None = None
        self._bounds = given or self._header_bounds() or self._sampled_bounds()
        first = self._slices[0]
        self._info = StreamInfo(
            name=path.name,
            size=first.size,
            rate=self._rate,
            frames=len(self._slices),
            seconds=float(len(self._slices) / self._rate),
            time_base=1 / self._rate,
            sample_aspect_ratio=pixel_ratio(first.spacing),
        )

    def __len__(self) -> int:
        return len(self._slices)

    @property
    def info(self) -> StreamInfo:
        """The number of slices, their size and rate."""
        return self._info

    @property
    def failures(self) -> dict[Path, str]:
        """The files that could not be used so far, each with the reason."""
        return self._passing.failures

    @property
    def counts(self) -> Mapping[str, int]:
        """Files that could not be read so far."""
        return self._passing.counts

    def __iter__(self) -> Iterator[Frame]:
        return self._passing.frames(self._slices, lambda found: found.path, self._frame)

    def close(self) -> None:
        """End the iteration at the next slice."""
        self._passing.closed = True

    def _found(self, path: Path, series: int | None, max_pixels: int) -> list[DicomSlice]:
        if not path.is_dir():
            return read_slices(path, max_pixels=max_pixels)
        slices: list[DicomSlice] = []
        error: SourceError | None = None
        for file in dicom_files(path):
            try:
                slices += read_slices(file, max_pixels=max_pixels)
            except SourceError as caught:
                self.failures[file] = str(caught)
                error = caught
        if not slices:
            raise error or SourceUnreadable(f"{path} has no DICOM file: give the folder of a series")
        return sorted(_chosen(slices, series, path), key=lambda found: (found.order, str(found.path)))

    def _header_bounds(self) -> Bounds | None:
        found = self._slices[len(self._slices) // 2]
        if found.window is None:
            plain = found.bits <= 8 and (found.slope, found.intercept, found.table) == (1.0, 0.0, False)
            return Bounds(0, 2**found.bits - 1) if plain else None
        centre, width, function = found.window
        match function:
            case "SIGMOID":
                self._sigmoid = (centre, width)
                return Bounds(0, 1)
            case "LINEAR_EXACT":
                return Bounds(centre - width / 2, centre + width / 2)
            case _:
                return bounds_of((centre, max(width, 1)))

    def _sampled_bounds(self) -> Bounds:
        sampled = []
        for place in middle(len(self._slices)):
            found = self._slices[place]
            if not found.coloured:
                try:
                    sampled.append(_measured(found))
                except SourceError:
                    continue  # told when its turn comes
        return percentile_bounds(sampled)

    def _frame(self, found: DicomSlice) -> Frame:
        picture = self._picture(found)
        if picture.ndim == 2:
            return grey_frame(picture, spacing=found.spacing)
        return Frame(rgb_to_planes(picture, _PICTURES, subsample=(1, 1)), _PICTURES, spacing=found.spacing)

    def _picture(self, found: DicomSlice) -> U8:
        """Grey HxW, or RGB HxWx3."""
        values = _measured(found)
        if found.coloured:
            return values
        if self._sigmoid is not None:
            centre, width = self._sigmoid
            values = 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -80, 80)))
        shown = grey(values, self._bounds)
        return np.subtract(255, shown) if found.photometric == "MONOCHROME1" else shown


def dicom_files(folder: Path) -> list[Path]:
    """The DICOM files of a folder and of those in it, by name; an index called DICOMDIR is none."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name.upper() != "DICOMDIR")
    return sorted(path for path in files if is_dicom(path))


def _chosen(slices: Sequence[DicomSlice], number: int | None, path: Path) -> list[DicomSlice]:
    """The slices of one series; ConfigError where there are several, or not that one."""
    held = Counter(found.series for found in slices)
    wanted = [series for series in held if number is None or series[1] == number]
    if len(wanted) == 1:
        return [found for found in slices if found.series == wanted[0]]
    there = ", ".join(f"{series[1]} ({count} slices)" for series, count in sorted(held.items(), key=lambda x: x[0][1]))
    raise ConfigError(
        f"{path} holds the series {there}: choose one by its number (series = {min(held, key=lambda s: s[1])[1]} "
        "under [source]), or give a folder of one series"
    )


def _measured(found: DicomSlice) -> NDArray[Any]:
    """One slice's values HxW as the modality measured them, or RGB uint8 HxWx3."""
    with harmless(found.path):
        header = Dataset()
        values = pixel_array(found.path, index=found.place, ds_out=header, specific_tags=_TABLES)
        if found.photometric == "PALETTE COLOR":
            values = apply_color_lut(values, header)
        if values.shape[:2] != (found.size.height, found.size.width):
            raise SourceUnreadable(f"{found.path} holds a picture of another size than its header says")
        if values.ndim == 3:
            values = values[..., :3] >> (8 * (values.dtype.itemsize - 1)) if values.dtype != np.uint8 else values
            return np.ascontiguousarray(values[..., :3], np.uint8)
        if found.table:
            return np.asarray(apply_modality_lut(values, header))
        plain = (found.slope, found.intercept) == (1.0, 0.0)
        return values if plain else values * np.float32(found.slope) + np.float32(found.intercept)
