"""A picture on its way: planes as the decoder gave them, and when and where they belong."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from fractions import Fraction
from typing import Any, NamedTuple, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.device import DevicePicture
from rtseg.errors import FrameError
from rtseg.ops.arrays import U8, as_u8
from rtseg.ops.colour import Colour, merge_rgb, rgb_to_planes
from rtseg.ops.fit import convert
from rtseg.ops.resize import resize


class Size(NamedTuple):
    """Width and height in pixels, in this order everywhere."""

    width: int
    height: int


BT709 = Colour()
JPEG = Colour("bt601", full_range=True)


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture as the decoder gave it: planar YUV, 8 bits, never copied and never converted on the way through.

    A picture `on_device` has its planes there (`device`); `planes` then brings them to the host when first asked for.

    planes: Y (HxW), U and V (each ceil(H / sy) x ceil(W / sx); 4:2:0, 4:2:2 and 4:4:4 alike), uint8, read-only.
    colour: matrix and range of the planes. alpha: None, or coverage HxW, 0 clear .. 255 opaque, not premultiplied.
    index: position in its source, from 0. pts, duration: in ticks of time_base (duration 0: unknown).
    arrived: `time.monotonic()` when the source had it. epoch: grows on seek, reconnect and size change.
    spacing: width and height of a pixel in millimetres, where the source knows them, such as a scan.
    """

    planes: tuple[U8, U8, U8]
    colour: Colour = BT709
    index: int = 0
    pts: int = 0
    time_base: Fraction = Fraction(1, 90000)
    arrived: float = field(default_factory=time.monotonic)
    epoch: int = 0
    duration: int = 0
    alpha: U8 | None = None
    spacing: tuple[float, float] | None = None
    _cache: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        luma, u, v = self.planes
        if luma.ndim != 2 or 0 in luma.shape or not luma.dtype == u.dtype == v.dtype == _U8:
            raise FrameError(
                f"planes must be three non-empty uint8 arrays of 2 dimensions, not {shapes_of(self.planes)}"
            )
        height, width = luma.shape
        half = (width + 1) // 2
        allowed = (((height + 1) // 2, half), (height, half), (height, width))
        if u.shape != v.shape or u.shape not in allowed:
            raise FrameError(
                f"U and V must be 4:2:0, 4:2:2 or 4:4:4 of Y, one of {sorted(allowed)}, not {shapes_of(self.planes)}"
            )
        if self.alpha is not None and (self.alpha.shape != luma.shape or self.alpha.dtype != _U8):
            raise FrameError(f"alpha must be uint8 of the shape of Y, {luma.shape}, not {shapes_of((self.alpha,))}")
        object.__setattr__(self, "planes", (_read_only(luma), _read_only(u), _read_only(v)))
        if self.alpha is not None:
            object.__setattr__(self, "alpha", _read_only(self.alpha))

    @classmethod
    def from_rgb(cls, rgb: U8, *, colour: Colour = JPEG, **meta: Any) -> Self:
        """A frame from RGB uint8 HxWx3 (RGBA: HxWx4, the fourth becomes `alpha`), 4:2:0; `meta` as in `Frame`."""
        if rgb.ndim != 3 or rgb.shape[2] not in (3, 4) or rgb.dtype != np.uint8 or 0 in rgb.shape:
            raise FrameError(f"a picture must be uint8 of shape HxWx3 or HxWx4, not {shapes_of((rgb,))}")
        alpha = np.ascontiguousarray(rgb[..., 3]) if rgb.shape[2] == 4 else None
        return cls(rgb_to_planes(np.ascontiguousarray(rgb[..., :3]), colour), colour, alpha=alpha, **meta)

    @classmethod
    def from_bgr(cls, bgr: U8, **meta: Any) -> Self:
        """The same from OpenCV's BGR uint8 HxWx3."""
        return cls.from_rgb(bgr[..., ::-1] if bgr.ndim == 3 and bgr.shape[2] == 3 else bgr, **meta)

    @classmethod
    def on_device(cls, picture: DevicePicture, colour: Colour = BT709, **meta: Any) -> Self:
        """A frame whose planes stay on a device; `meta` as in `Frame`, without alpha."""
        frame = cls(_NOWHERE, colour, **meta)
        object.__delattr__(frame, "planes")
        frame._cache["device"] = picture
        return frame

    @property
    def device(self) -> DevicePicture | None:
        """The picture on its device, None for one on the host; NV12, 4:2:0, no alpha."""
        return self._cache.get("device")

    @property
    def is_grey(self) -> bool:
        """Whether no pixel has any colour, as in a slate."""
        _, u, v = self.planes
        return not (u != 128).any() and not (v != 128).any()

    @property
    def size(self) -> Size:
        """Width and height."""
        if (picture := self._cache.get("device")) is not None:
            return Size(*picture.size)
        height, width = self.planes[0].shape
        return Size(width, height)

    @property
    def chroma_size(self) -> Size:
        """Width and height of U and V."""
        if (picture := self.device) is not None:
            return Size(picture.size[0] // 2, picture.size[1] // 2)
        height, width = self.planes[1].shape
        return Size(width, height)

    @property
    def time(self) -> float:
        """Presentation time in seconds."""
        return float(self.pts * self.time_base)

    @property
    def rgb(self) -> U8:
        """RGB uint8 HxWx3 at full size, made once and kept: for those who need it, not for the hot path."""
        if "rgb" not in self._cache:
            self._cache["rgb"] = _read_only(merge_rgb(self.planes[0], *self._chroma(self.size), self.colour))
        return self._cache["rgb"]  # type: ignore[no-any-return]

    @property
    def bgr(self) -> U8:
        """BGR uint8 HxWx3 at full size, as OpenCV wants it."""
        return np.ascontiguousarray(self.rgb[..., ::-1])

    def luma(self, size: tuple[int, int]) -> U8:
        """Y at `size` (width, height), uint8 in the frame's own range; made once a size and kept."""
        key = ("luma", *size)
        if key not in self._cache:
            width, height = self.size
            half = (width // 2, height // 2)
            if width % 2 == height % 2 == 0 and size[0] <= half[0] and size[1] <= half[1] and size != half:
                # Several stages ask for small planes: they share the first and dearest halving.
                self._cache[key] = resize(self.luma(half), size)
            else:
                self._cache[key] = resize(self.planes[0], size)
        return self._cache[key]  # type: ignore[no-any-return]

    def resized(self, size: tuple[int, int]) -> U8:
        """RGB uint8 at `size` (width, height), stretched, from planes resized first: what networks take."""
        key = ("rgb", *size)
        if key not in self._cache:
            self._cache[key] = _read_only(merge_rgb(self.luma(size), *self._chroma(size), self.colour))
        return self._cache[key]  # type: ignore[no-any-return]

    def with_resized(self, rgb: U8) -> Frame:
        """The same frame, which answers `resized` of that picture's size with it: for those who resize otherwise."""
        frame = replace(self)
        frame._cache[("rgb", rgb.shape[1], rgb.shape[0])] = _read_only(rgb)
        return frame

    def resized_yuv(self, size: tuple[int, int], colour: Colour) -> U8:
        """Y, U and V in `colour` as uint8 HxWx3 at `size` (width, height): what networks take that know no RGB."""
        small = (self.luma(size), *self._chroma(size))
        return as_u8(cv2.merge(convert(small, self.colour, colour)))

    def with_planes(self, planes: tuple[U8, U8, U8], *, alpha: U8 | None = None) -> Frame:
        """The same moment with other pixels: index, pts, colour and times are kept."""
        return replace(self, planes=planes, alpha=alpha)

    def with_device(self, picture: DevicePicture) -> Frame:
        """The same moment with other pixels, which lie on a device."""
        return type(self).on_device(picture, **self._moment())

    def placed(self, **meta: Any) -> Frame:
        """The same picture at another place of a stream: `meta` as in `Frame`, and what was made of it is kept."""
        frame = replace(self, **meta)
        frame._cache.update(self._cache)
        return frame

    def arrived_at(self, seconds: float) -> Frame:
        """The same picture, had at another time of `time.monotonic()`."""
        return self.at(arrived=seconds)

    def at(self, **moment: Any) -> Frame:
        """The same picture at another place of a stream: index, pts, time_base, duration, epoch or arrived."""
        if (picture := self.device) is not None:
            return type(self).on_device(picture, **{**self._moment(), **moment})
        return replace(self, **moment)

    def shown_at(self, pts: int, time_base: Fraction) -> Frame:
        """The same picture at another presentation time, for a duration that is not known."""
        when = {"pts": pts, "time_base": time_base, "duration": 0}
        if (picture := self.device) is not None:
            return type(self).on_device(picture, **{**self._moment(), **when})
        return replace(self, **when)  # type: ignore[arg-type]

    def _moment(self) -> dict[str, Any]:
        names = (each.name for each in fields(self) if each.init)
        return {name: getattr(self, name) for name in names if name not in ("planes", "alpha")}

    def _chroma(self, size: tuple[int, int]) -> tuple[U8, U8]:
        _, u, v = self.planes
        return resize(u, size), resize(v, size)

    def __repr__(self) -> str:
        width, height = self.size
        where = shapes_of(self.planes) if self.device is None else f"on device {self.device.device}"
        return (
            f"Frame({width}x{height} {where} {self.colour.matrix}"
            f"{' full' if self.colour.full_range else ''}{' alpha' if self.alpha is not None else ''}, "
            f"index={self.index}, pts={self.pts}, time_base={self.time_base}, epoch={self.epoch})"
        )


class _OnDevice:
    """`Frame.planes` where the picture is on a device: asked only for what an instance does not have itself."""

    def __get__(self, frame: Frame | None, _: type[Frame]) -> Any:
        if frame is None or (picture := frame.device) is None:
            raise AttributeError("planes")
        y, u, v = picture.planes
        object.__setattr__(frame, "planes", (_read_only(y), _read_only(u), _read_only(v)))
        return frame.planes


# Set here, for the dataclass would take it for a default. Frames on the host pay nothing for it, unlike __getattr__,
# which makes every attribute of a class slower.
Frame.planes = _OnDevice()  # type: ignore[assignment]

_U8 = np.dtype(np.uint8)
_NOWHERE = (np.zeros((2, 2), np.uint8), np.zeros((1, 1), np.uint8), np.zeros((1, 1), np.uint8))


def _read_only(plane: U8) -> U8:
    if plane.flags.writeable:
        plane = plane.view()
        plane.flags.writeable = False
    return plane


def shapes_of(arrays: Sequence[NDArray[Any]]) -> str:
    """Types and shapes for error messages and reprs: "uint8[4x6], uint8[2x3]"."""
    return ", ".join(f"{a.dtype}[{'x'.join(map(str, a.shape))}]" for a in arrays)
