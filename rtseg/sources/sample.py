"""The built-in sample: a clip to try everything on, when no footage is at hand."""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.errors import ConfigError, DependencyMissing
from rtseg.frame import BT709
from rtseg.ops.arrays import U8, as_u8
from rtseg.ops.colour import rgb_to_planes
from rtseg.types import Frame, Size, StreamInfo

# The photograph, 512x512, with a person whose hair begins 15 pixels under its upper edge. The camera sees a
# window of WINDOW pixels along the longer side and never leaves the photograph.
_WINDOW = 468.0
_MARGIN = 22.0
_FACE_X = 225.0
# Enlarged once with Lanczos, so that the bilinear warp of each frame is not what makes the picture soft.
_ENLARGED = 3
# Standard deviation of the noise in Y and in U, V: a webcam indoors, before its encoder smooths it away.
_NOISE = (2.5, 1.2)
_NOISE_SPARE = 64


class Sample:
    """Animates the public-domain photograph that scikit-image ships as `astronaut`, like a hand-held webcam.

    The camera pans, zooms and rolls slowly, exposure drifts by 6 %, the sensor is noisy; the same seed gives the
    same frames, byte for byte. Frames are 4:2:0, BT.709, limited range, `seconds` x `rate` of them at `size`
    (width, height). Works offline. Raises DependencyMissing without scikit-image (extra `demo`).
    """

    live = False

    def __init__(
        self,
        *,
        seconds: float = 5.0,
        size: tuple[int, int] = (1280, 720),
        rate: int = 30,
        seed: int = 0,
    ) -> None:
        if seconds <= 0 or rate <= 0 or min(size) < 16 or max(size) > 8192:
            raise ConfigError(
                f"a sample of {seconds} s at {size[0]}x{size[1]}, {rate} frames/s cannot be made: "
                "seconds and rate must be positive and the sides 16 to 8192 pixels"
            )
        self._size = Size(*size)
        self._rate = rate
        self._frames = max(1, round(seconds * rate))
        self._photograph = _photograph()
        self._closed = False
        rng = np.random.default_rng(seed)
        # Two slow waves for each of pan x, pan y, roll, zoom and exposure: frequency in Hz, phase.
        self._frequencies = rng.uniform(0.12, 0.45, (5, 2))
        self._phases = rng.uniform(0.0, 2.0 * math.pi, (5, 2))
        self._noise = [
            _noise(rng, plane_size, sigma) for plane_size, sigma in zip(self._plane_sizes(), _NOISE, strict=True)
        ]
        self._offsets = rng.integers(0, _NOISE_SPARE, (self._frames, 3, 2))

    @property
    def info(self) -> StreamInfo:
        """Everything is known beforehand."""
        return StreamInfo(
            name="sample",
            size=self._size,
            rate=Fraction(self._rate),
            frames=self._frames,
            seconds=self._frames / self._rate,
            time_base=Fraction(1, self._rate),
        )

    @property
    def counts(self) -> Mapping[str, int]:
        """Nothing is ever lost."""
        return {}

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self._frames):
            if self._closed:
                return
            yield Frame(
                self._render(index),
                BT709,
                index=index,
                pts=index,
                time_base=Fraction(1, self._rate),
                arrived=time.monotonic(),
                duration=1,
            )

    def close(self) -> None:
        """End the iteration at the next frame."""
        self._closed = True

    def _plane_sizes(self) -> tuple[Size, Size]:
        width, height = self._size
        return Size(width, height), Size(-(-width // 2), -(-height // 2))

    def _render(self, index: int) -> tuple[U8, U8, U8]:
        seconds = index / self._rate
        angles = 2.0 * math.pi * self._frequencies * seconds + self._phases
        pan_x, pan_y, roll, zoom, exposure = np.sin(angles).mean(axis=1)
        luma_size, chroma_size = self._plane_sizes()
        levels = np.arange(256)
        gain = 1.0 + 0.06 * exposure
        curves = (16.0 + gain * (levels - 16), 128.0 + gain * (levels - 128))
        planes = []
        for number, plane in enumerate(self._photograph):
            luma = number == 0
            size, step = (luma_size, 1) if luma else (chroma_size, 2)
            camera = self._camera(pan_x, pan_y, roll, zoom, step=step)
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            moved = cv2.warpAffine(plane, camera, size, flags=flags, borderMode=cv2.BORDER_REFLECT_101)
            exposed = cv2.LUT(moved, np.clip(np.rint(curves[0 if luma else 1]), 0, 255).astype(np.uint8))
            left, top = self._offsets[index, number]
            noise = self._noise[0 if luma else 1][top : top + size.height, left : left + size.width]
            noisy = as_u8(cv2.add(exposed, noise, dtype=cv2.CV_8U))
            planes.append(np.clip(noisy, 16, 235 if luma else 240, out=noisy))
        return planes[0], planes[1], planes[2]

    def _camera(self, pan_x: float, pan_y: float, roll: float, zoom: float, *, step: int) -> NDArray[Any]:
        """2x3: pixel of a plane that is `step` times smaller than the frame -> pixel of the enlarged photograph."""
        width, height = self._size
        scale = _WINDOW / max(width, height)
        view = (scale * width, scale * height)
        side = self._photograph[0].shape[0] / _ENLARGED
        # The head is just under the upper edge; pan and roll together stay within the photograph.
        centre_x = min(max(_FACE_X, view[0] / 2 + _MARGIN), side - view[0] / 2 - _MARGIN) + 14.0 * pan_x
        centre_y = min(view[1] / 2 + 10.0, side / 2) + 5.0 * pan_y
        scale *= 1.0 - 0.03 * abs(zoom)
        angle = math.radians(1.2 * roll)
        turn = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        # Pixel centres lie at i + 0.5; the photograph's planes are _ENLARGED / step times the photograph.
        enlarged = _ENLARGED / step
        linear = turn * step * enlarged
        start = turn @ (0.5 * step - np.array([width, height]) / 2) + (centre_x, centre_y)
        return np.column_stack([linear, start * enlarged - 0.5])


def _photograph() -> tuple[U8, U8, U8]:
    try:
        data = importlib.import_module("skimage.data")  # half a second to import, and an extra
    except ImportError as error:
        raise DependencyMissing(
            f"the sample is a photograph of scikit-image ({error}): pip install 'rtseg[demo]', or name a file of yours"
        ) from error
    rgb = as_u8(data.astronaut())
    side = rgb.shape[0] * _ENLARGED
    large = as_u8(cv2.resize(rgb, (side, side), interpolation=cv2.INTER_LANCZOS4))
    return rgb_to_planes(large, BT709)


def _noise(rng: np.random.Generator, size: Size, sigma: float) -> NDArray[Any]:
    shape = (size.height + _NOISE_SPARE, size.width + _NOISE_SPARE)
    return np.rint(rng.normal(0.0, sigma, shape)).astype(np.int16)
