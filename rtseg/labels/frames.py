"""Which frames of a video are worth labelling: sharp ones, as different from each other as can be.

Neighbouring frames teach a model the same thing twice, and a person's hour pays for some forty masks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from rtseg.ops.arrays import F32
from rtseg.types import Frame

KEPT = 2048
"""Frames of a video that are compared with each other; of a longer one every second, fourth, ... is."""
ALIKE = 1.5
"""Distance under which two frames are one picture: what noise and encoding change in a still scene."""
BLURRED = 0.35
"""Share of the usual sharpness under which a frame is blurred; usual is the median of the frames around, or of all."""

_EMPTY = 0.02  # the same of all frames, for black ones that last
_AROUND = 15  # looks on each side; a bare wall for a minute is not blurred because trees came before it

_THUMBNAIL = (16, 9)
_LUMA_WIDTH = 480
_BINS = 16
_HISTOGRAM_WEIGHT = 20.0


@dataclass(frozen=True, eq=False, slots=True)
class Look:
    """What is remembered of a frame. index: `Frame.index`. sharpness: variance of the Laplacian of its luma.
    features: float32, such that the root mean square of a difference is about levels of 0..255.
    """  # fmt: skip

    index: int
    sharpness: float
    features: F32


def survey(frames: Iterable[Frame], *, kept: int = KEPT) -> list[Look]:
    """A look at the frames of a stream in one pass, at most `kept` of them, evenly spread however long it is."""
    looks: list[Look] = []
    step = 1
    for number, frame in enumerate(frames):
        if number % step:
            continue
        if len(looks) == kept:
            looks, step = looks[::2], 2 * step
            if number % step:
                continue
        looks.append(look(frame))
    return looks


def look(frame: Frame) -> Look:
    """Thumbnail, histogram and sharpness of a frame; a few tenths of a millisecond for HD."""
    width, height = frame.size
    wide = min(width, _LUMA_WIDTH)
    luma = frame.luma((wide, max(1, round(height * wide / width))))
    sharpness = float(cv2.Laplacian(luma, cv2.CV_32F).var())
    thumbnail = frame.resized(_THUMBNAIL).astype(np.float32).ravel()
    counts = np.bincount((luma // (256 // _BINS)).ravel(), minlength=_BINS)
    # Cumulated, so that a shift by one bin is a small difference and one by many a large one.
    shares = (np.cumsum(counts) / luma.size).astype(np.float32)
    weight = np.float32(_HISTOGRAM_WEIGHT * np.sqrt(thumbnail.size / _BINS))
    return Look(frame.index, sharpness, np.concatenate([thumbnail, weight * shares]))


def choose(looks: Sequence[Look], count: int, *, blurred: float | None = BLURRED, alike: float = ALIKE) -> list[int]:
    """Indices of up to `count` frames, in order of time; fewer where the rest is blurred or shows nothing new.

    blurred: see `BLURRED`; None for pictures that somebody took one by one. alike: see `ALIKE`. Begins with the most
    usual frame, then always takes the one that is least like all taken before, so that a larger `count` only adds to
    what a smaller one gives.
    """
    if not looks:
        return []
    sharp = looks if blurred is None else _sharp(looks, blurred)
    features = np.stack([each.features for each in sharp])
    first = int(np.argmin(_distances(features, features.mean(axis=0))))
    chosen = [first]
    nearest = _distances(features, features[first])
    while len(chosen) < min(count, len(sharp)):
        following = int(np.argmax(nearest))
        if nearest[following] < alike:
            break
        chosen.append(following)
        nearest = np.minimum(nearest, _distances(features, features[following]))
    return sorted(sharp[position].index for position in chosen)


def _sharp(looks: Sequence[Look], blurred: float) -> list[Look]:
    values = np.array([each.sharpness for each in looks])
    median = float(np.median(values))
    around = [float(np.median(values[max(0, i - _AROUND) : i + _AROUND + 1])) for i in range(len(values))]
    least = [max(blurred * min(median, local), _EMPTY * median) for local in around]
    return [each for each, enough in zip(looks, least, strict=True) if each.sharpness >= enough]


def _distances(features: F32, centre: F32) -> F32:
    pixels = 3 * _THUMBNAIL[0] * _THUMBNAIL[1]
    distances: F32 = np.sqrt(np.square(features - centre).sum(axis=1) / np.float32(pixels))
    return distances
