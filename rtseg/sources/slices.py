"""What sources of medical slices share: measured values become grey, and one window serves a whole series."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import lru_cache
from typing import Any, Literal, NamedTuple, TypeAlias, assert_never

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import ConfigError
from rtseg.ops.arrays import U8
from rtseg.types import Colour, Frame

Preset: TypeAlias = Literal["lung", "bone", "soft"]
Window: TypeAlias = Preset | tuple[float, float]
"""A preset, or centre and width in the values of the scan: Hounsfield units in CT."""

MAX_PIXELS = 50_000_000
"""Width x height above which a slice is refused."""
RATE = 10.0
"""Slices a second, where nothing else is said."""
PERCENTILES = (0.5, 99.5)

_quiet = threading.RLock()  # warnings and loggers belong to the whole process
_SAMPLE = 250_000
_FULL = Colour("bt601", full_range=True)


class Bounds(NamedTuple):
    """The values that become black and white."""

    low: float
    high: float


def bounds_of(window: Window) -> Bounds:
    """The bounds of a window as PS3.3 C.11.2.1.2.1 has them (LINEAR). Raises ConfigError.

    Centre c and width w show c - 0.5 - (w - 1) / 2 as black and c - 0.5 + (w - 1) / 2 as white.
    """
    match window:
        case "lung":
            centre, width = -600.0, 1500.0
        case "bone":
            centre, width = 400.0, 1800.0
        case "soft":
            centre, width = 40.0, 400.0
        case (centre, width):
            if not (np.isfinite(centre) and np.isfinite(width) and width >= 1):
                raise ConfigError(f"window {centre:g},{width:g} must be a centre and a width of at least 1")
        case str():
            raise ConfigError(f"window {window!r} is unknown: use lung, bone, soft, or a centre and a width")
        case _:
            assert_never(window)
    return Bounds(centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2)


def percentile_bounds(slices: Iterable[NDArray[Any]], percentiles: tuple[float, float] = PERCENTILES) -> Bounds:
    """Bounds that leave out the darkest and brightest values of some slices; NaN and infinity do not count."""
    samples = []
    for values in slices:
        flat = values.reshape(-1)[:: max(values.size // _SAMPLE, 1)].astype(np.float64)
        samples.append(flat[np.isfinite(flat)])
    values = np.concatenate(samples) if samples else np.zeros(0)
    if not values.size:
        return Bounds(0.0, 1.0)
    low, high = (float(bound) for bound in np.percentile(values, percentiles))
    return Bounds(low, high if high > low else low + 1)


def grey(values: NDArray[Any], bounds: Bounds) -> U8:
    """Values HxW to uint8, `low` and below to 0, `high` and above to 255, rounded to the nearest; NaN to 0."""
    low, high = bounds
    if high <= low:
        return np.where(values > low, np.uint8(255), np.uint8(0))
    scaled = (values.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low))
    shown: U8 = np.rint(np.clip(np.nan_to_num(scaled, nan=0.0), 0, 255)).astype(np.uint8)
    return shown


def grey_planes(luma: U8) -> tuple[tuple[U8, U8, U8], Colour]:
    """Planes of a grey picture, 4:2:0 with neutral chroma, and their colour: full range."""
    luma = np.ascontiguousarray(luma)
    chroma = _neutral((luma.shape[0] + 1) // 2, (luma.shape[1] + 1) // 2)
    return (luma, chroma, chroma), _FULL


def grey_frame(luma: U8, **meta: Any) -> Frame:
    """A grey picture, uint8 HxW, as a frame; `meta` as in `Frame`."""
    planes, colour = grey_planes(luma)
    return Frame(planes, colour, **meta)


def rate_of(rate: float) -> Fraction:
    """Slices a second as a fraction. Raises ConfigError."""
    if not 0 < rate <= 1000:
        raise ConfigError(f"rate must be over 0 and at most 1000 slices a second, not {rate}")
    return Fraction(rate).limit_denominator(1001)


def pixel_ratio(spacing: tuple[float, float] | None) -> Fraction | None:
    """Width to height of a pixel, for players; None for square ones and where it is not known."""
    if spacing is None:
        return None
    ratio = Fraction(spacing[0] / spacing[1]).limit_denominator(1000)
    return None if ratio == 1 or ratio <= 0 else ratio


def middle(count: int, most: int = 5) -> list[int]:
    """Up to `most` places spread evenly over `count`, the middle one among them."""
    if count <= most:
        return list(range(count))
    return [round((count - 1) * (i + 1) / (most + 1)) for i in range(most)]


@contextmanager
def unheard(library: str) -> Iterator[None]:
    """Keep what a library warns of and logs to itself: it quotes headers, which hold names of patients."""
    log = logging.getLogger(library)
    with _quiet, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        passed_on, log.propagate = log.propagate, False
        kept, log.handlers = log.handlers, [logging.NullHandler()]
        try:
            yield
        finally:
            log.propagate, log.handlers = passed_on, kept


@lru_cache(maxsize=4)
def _neutral(height: int, width: int) -> U8:
    return np.full((height, width), 128, np.uint8)
