"""NIfTI volumes as frames: a slice a frame, turned as radiologists look at them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, TypeAlias

from rtseg.errors import ConfigError
from rtseg.ops.arrays import U8
from rtseg.sources.slices import (
    MAX_PIXELS,
    PERCENTILES,
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
from rtseg.sources.volume import read_volume
from rtseg.types import Frame, Size, StreamInfo

Plane: TypeAlias = Literal["axial", "coronal", "sagittal"]
Axis: TypeAlias = Literal[0, 1, 2]

_AXES: dict[Plane, Axis] = {"sagittal": 0, "coronal": 1, "axial": 2}


class NiftiSlices:
    """Slices of a .nii or .nii.gz file, in grey; from the feet up, from right to left, or from the back to the front.

    The volume is turned to the nearest axes of the body by its affine. A slice shows what a radiologist expects: up is
    up (or the front, in axial slices), and the patient's right is at the left (the front, in sagittal ones).

    plane: how the volume is cut; None for the plane of finest pixels, in which it was taken. volume: which of a series
    of volumes. window: see `rtseg.sources.slices.Window`; None for `percentiles` of five slices spread over the volume.
    rate: slices a second. max_pixels: width x height above which slices are refused, before the volume is read.

    A plain file is mapped, a compressed one unpacked to a nameless temporary file first, and no further than its header
    promises; so memory holds a slice. `Frame.spacing` is in millimetres. Nothing else of the header is handed on.
    Raises SourceNotFound, SourceUnreadable, SourceTooLarge, and ConfigError for a volume that is not there.
    """

    live = False
    counts: Mapping[str, int] = {}

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        plane: Plane | None = None,
        volume: int = 0,
        window: Window | None = None,
        percentiles: tuple[float, float] = PERCENTILES,
        rate: float = RATE,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        path = Path(path)
        if not 0 <= percentiles[0] < percentiles[1] <= 100:
            raise ConfigError(f"percentiles must be two numbers 0 to 100, the first smaller, not {list(percentiles)}")
        given = None if window is None else bounds_of(window)
        self._rate = rate_of(rate)
        self._closed = False
        self._volume = read_volume(path, volume=volume, max_pixels=max_pixels)
        stored, spacing, *_ = self._volume
        self._axis = finest(spacing) if plane is None else _AXES[plane]
        across, down = _in_plane(self._axis)
        self._spacing = (spacing[across], spacing[down])
        width, height = stored.shape[across], stored.shape[down]
        self._bounds: Bounds = given or percentile_bounds(
            (self._volume.slice(self._axis, place) for place in middle(len(self))), percentiles
        )
        self._info = StreamInfo(
            name=path.name,
            size=Size(width, height),
            rate=self._rate,
            frames=len(self),
            seconds=float(len(self) / self._rate),
            time_base=1 / self._rate,
            sample_aspect_ratio=pixel_ratio(self._spacing),
        )

    def __len__(self) -> int:
        return int(self._volume.stored.shape[self._axis])

    @property
    def info(self) -> StreamInfo:
        """All of it is known beforehand."""
        return self._info

    def __iter__(self) -> Iterator[Frame]:
        for index in range(len(self)):
            if self._closed:
                return
            yield grey_frame(
                self.grey(index),
                index=index,
                pts=index,
                time_base=1 / self._rate,
                duration=1,
                arrived=time.monotonic(),
                spacing=self._spacing,
            )

    def close(self) -> None:
        """End the iteration at the next slice."""
        self._closed = True

    def grey(self, index: int) -> U8:
        """One slice through the window, uint8 HxW."""
        return grey(self._volume.slice(self._axis, index), self._bounds)


def finest(spacing: tuple[float, float, float]) -> Axis:
    """The axis of the thickest slices; the last of several."""
    thick = max(spacing)
    return 2 if spacing[2] >= 0.999 * thick else 1 if spacing[1] >= 0.999 * thick else 0


def _in_plane(axis: Axis) -> tuple[int, int]:
    """The axes that run across and down a slice."""
    match axis:
        case 0:
            return 1, 2
        case 1:
            return 0, 2
        case 2:
            return 0, 1
