"""A frame's planes as the `av.VideoFrame` that an encoder wants, with one copy at most.

A picture on the encoder's own device is handed over as it lies there.
4:2:0 planes that lie one after the other in memory (the compositor makes them so) are handed over as they are.
Others are copied into a frame that is kept. Other subsamplings, sizes and colours go through one `VideoReformatter`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import av
import numpy as np
from av.video.frame import CudaContext
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from rtseg.device import CUDA, DevicePicture
from rtseg.ops.arrays import U8
from rtseg.ops.fit import convert
from rtseg.types import Colour, Frame, Size

# ISO/IEC 23091-2 (H.273) code points: matrix, primaries, transfer; 2 is "unspecified".
# BT.601 says nothing of primaries here, since webcams and standard definition differ in them.
H273 = {"bt601": (6, 2, 2), "bt709": (1, 1, 1), "bt2020": (9, 9, 14)}
LIMITED, FULL = 1, 2
# swscale's own numbers of the matrices (libswscale/swscale.h)
_SWS = {"bt601": 5, "bt709": 1, "bt2020": 9}


class Converter:
    """Turns frames into encoder frames of one size, pixel format and colour, all taken from the first frame.

    format: of the encoder, 8-bit planar YUV or YUVA, or the 10-bit yuva444p10le. even: sides are padded to even
    numbers by repeating the last column and row. A frame of another size is scaled into the first one's, its shape
    kept, with black bars (clear ones where there is alpha). The returned frame is valid until the next call: the
    encoder must have copied it by then.

    takes: DLPack's type of device whose pictures the encoder takes where they lie; `on_device` says whether the first
    is such a one. Those may be kept by the encoder for as long as it likes; all others come as `format` all the same.
    """

    def __init__(
        self,
        first: Frame,
        format: str,  # noqa: A002
        *,
        even: bool,
        colour: Colour,
        takes: int | None = None,
    ) -> None:
        picture = first.device
        self.on_device = picture is not None and picture.device[0] == takes and first.colour == colour
        self._device = None if picture is None else picture.device
        self._context: CudaContext | None = None
        self.shown = first.size
        self.size = Size(*(side + side % 2 for side in first.size)) if even else first.size
        self.format = format
        self.colour = colour
        self._alpha = format.startswith("yuva")
        self._staged: dict[tuple[Size, str], av.VideoFrame] = {}
        self._reformatter = VideoReformatter()

    def __call__(self, frame: Frame) -> av.VideoFrame:
        """`frame` for the encoder; pts, duration and picture type are for the caller to set."""
        picture = frame.device if self.on_device and frame.colour == self.colour else None
        if picture is not None and picture.device == self._device and frame.size == self.shown:
            return self._hand_over(picture)
        native = _FORMATS[_subsampling(frame), self._alpha and not _deep(self.format)]
        same_size = frame.size == self.shown
        if same_size and native == self.format and frame.colour == self.colour:
            return _adopt(frame, self.format) if self._fits(frame) else self._stage(frame, self.size, native)
        if same_size:
            return self._reformat(self._stage(frame, self.size, native), frame, self.size)
        inner = _fit(frame.size, self.size)
        return self._letterbox(self._reformat(self._stage(frame, frame.size, native), frame, inner), inner)

    @property
    def pixels(self) -> str:
        """FFmpeg's name of what the encoder gets, as its context must say."""
        if not self.on_device or self._device is None:
            return self.format
        return "cuda" if self._device[0] == CUDA else "nv12"

    def _hand_over(self, picture: DevicePicture) -> av.VideoFrame:
        if picture.device[0] == CUDA and self._context is None:  # one for all, for the encoder stays with the first
            self._context = CudaContext(device_id=picture.device[1])
        return av.VideoFrame.from_dlpack((picture.y, picture.uv), format="nv12", cuda_context=self._context)

    def _fits(self, frame: Frame) -> bool:
        return self.format == "yuv420p" and self.size == frame.size and _contiguous(frame.planes)

    def _stage(self, frame: Frame, size: Size, format: str) -> av.VideoFrame:  # noqa: A002
        """`frame` copied into a kept frame of at least its size."""
        staged = self._keep(size, format)
        planes = [*frame.planes]
        if format.startswith("yuva"):
            planes.append(_alpha_of(frame))
        for target, source in zip(_views(staged), planes, strict=True):
            height, width = source.shape
            target[:height, :width] = source
            if target.shape[1] > width:
                target[:height, width:] = source[:, -1:]
            if target.shape[0] > height:
                target[height:] = target[height - 1]
        return staged

    def _reformat(self, staged: av.VideoFrame, frame: Frame, size: Size) -> av.VideoFrame:
        converted = self._reformatter.reformat(
            staged,
            width=size.width,
            height=size.height,
            format=self.format,
            src_colorspace=_SWS[frame.colour.matrix],
            dst_colorspace=_SWS[self.colour.matrix],
            src_color_range=FULL if frame.colour.full_range else LIMITED,
            dst_color_range=FULL if self.colour.full_range else LIMITED,
            interpolation="AREA" if size.width < frame.size.width else "BILINEAR",
        )
        if self._alpha and _deep(self.format) and (size == frame.size or size == self.size):
            # swscale dithers alpha; eight bits repeated in ten come back exactly.
            alpha = _alpha_of(frame).astype(np.uint16)
            plane = _views(converted)[3]
            padded = np.pad(alpha, [(0, p - a) for p, a in zip(plane.shape, alpha.shape, strict=True)], mode="edge")
            np.bitwise_or(padded << 2, padded >> 6, out=plane)
        return converted

    def _letterbox(self, picture: av.VideoFrame, inner: Size) -> av.VideoFrame:
        if inner == self.size:
            return picture
        whole = av.VideoFrame(self.size.width, self.size.height, self.format)
        scale = 4 if _deep(self.format) else 1
        left, top = ((outer - side) // 4 * 2 for outer, side in zip(self.size, inner, strict=True))
        luma = _views(whole)[0].shape
        for i, (target, source) in enumerate(zip(_views(whole), _views(picture), strict=True)):
            target[:] = 128 * scale if i in (1, 2) else 0 if i == 3 or self.colour.full_range else 16 * scale
            x, y = left * target.shape[1] // luma[1], top * target.shape[0] // luma[0]
            target[y : y + source.shape[0], x : x + source.shape[1]] = source
        return whole

    def _keep(self, size: Size, format: str) -> av.VideoFrame:  # noqa: A002
        if (size, format) not in self._staged:
            if len(self._staged) > 1:  # a size that changes again and again must not pile up frames
                self._staged.clear()
            self._staged[size, format] = av.VideoFrame(size.width, size.height, format)
        return self._staged[size, format]


_FORMATS = {
    ((1, 1), False): "yuv444p",
    ((2, 1), False): "yuv422p",
    ((2, 2), False): "yuv420p",
    ((1, 1), True): "yuva444p",
    ((2, 1), True): "yuva422p",
    ((2, 2), True): "yuva420p",
}


def _deep(format: str) -> bool:  # noqa: A002
    return format.endswith("10le")


def _subsampling(frame: Frame) -> tuple[int, int]:
    luma, u, _ = frame.planes
    # A side of one pixel has a chroma side of one in every subsampling: taken as subsampled.
    return (2 if u.shape[1] < luma.shape[1] or luma.shape[1] == 1 else 1), (
        2 if u.shape[0] < luma.shape[0] or (luma.shape[0] == 1 and u.shape[1] < luma.shape[1]) else 1
    )


def _alpha_of(frame: Frame) -> U8:
    return frame.alpha if frame.alpha is not None else np.broadcast_to(np.uint8(255), frame.planes[0].shape)


def _contiguous(planes: tuple[U8, U8, U8]) -> bool:
    """Whether the planes are one block of memory, Y then U then V, of one array with even sides."""
    luma, u, v = planes
    if luma.base is None or luma.shape[0] % 2 or luma.shape[1] % 2:
        return False
    start = luma.__array_interface__["data"][0]
    return (
        luma.flags.c_contiguous
        and u.flags.c_contiguous
        and v.flags.c_contiguous
        and _owner(luma) is _owner(u) is _owner(v)
        and u.__array_interface__["data"][0] == start + luma.size
        and v.__array_interface__["data"][0] == start + luma.size + u.size
    )


def _owner(array: U8) -> Any:
    owner: Any = array
    while isinstance(owner, np.ndarray) and owner.base is not None:
        owner = owner.base
    return owner


def _adopt(frame: Frame, format: str) -> av.VideoFrame:  # noqa: A002
    """The planes' own memory as a frame; only for planes that `_contiguous` holds for."""
    luma = frame.planes[0]
    height, width = luma.shape
    block = np.lib.stride_tricks.as_strided(luma, (height * 3 // 2, width), writeable=False)
    return av.VideoFrame.from_numpy_buffer(block, format)


def _views(frame: av.VideoFrame) -> list[NDArray[Any]]:
    """The planes of a frame as writable arrays, without the padding of their lines."""
    kind = np.dtype(np.uint16 if _deep(frame.format.name) else np.uint8)
    return [
        np.frombuffer(plane, kind).reshape(-1, plane.line_size // kind.itemsize)[: plane.height, : plane.width]  # type: ignore[call-overload]
        for plane in frame.planes
    ]


def _fit(size: Size, into: Size) -> Size:
    """The largest size of the same shape within `into`, with even sides."""
    scale = min(into.width / size.width, into.height / size.height)
    width, height = (max(1, round(side * scale)) for side in size)
    return Size(*(min(outer, side + side % 2) for outer, side in zip(into, (width, height), strict=True)))


def recoloured(frame: Frame, colour: Colour) -> Frame:
    """The frame with planes of another matrix and range, cheaper than by swscale, which is up to two levels off."""
    if frame.colour == colour:
        return frame
    return replace(frame, planes=convert(frame.planes, frame.colour, colour), colour=colour)
