"""Pictures that lie on a device: planes handed on by DLPack, and brought to the host once, when somebody asks for them.

Nothing here knows a device's library: arrays are whatever exports DLPack, from a decoder, an engine or NumPy.
"""

from __future__ import annotations

import ctypes
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import cv2
import numpy as np

from rtseg.errors import FrameError
from rtseg.ops.arrays import U8

Device: TypeAlias = tuple[int, int]
"""DLPack's type of a device, and its number."""
Planes: TypeAlias = tuple[U8, U8, U8]

CPU, CUDA = 1, 2
"""DLPack's types of device (DLDeviceType) that are met here."""


class DeviceArray(Protocol):
    """An array on some device, handed on without a copy; who takes the capsule keeps the memory alive."""

    def __dlpack__(self, *, stream: Any = None) -> Any: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...


class DevicePicture:
    """One picture as NV12 on a device; its memory is its own for as long as anybody holds it or its planes.

    y: uint8 HxW, uv: uint8 H/2 x W/2 x 2, of `size` (width, height, both even), with lines `pitch` bytes apart;
    `lines` are the same with their padding. download: gives the same picture as Y, U and V on the host; called once at
    most, in whichever thread asks first. counts: where "downloaded" is added to then.

    Raises FrameError for odd sides and for planes on two devices.
    """

    def __init__(
        self,
        y: DeviceArray,
        uv: DeviceArray,
        *,
        size: tuple[int, int],
        download: Callable[[], Planes],
        pitch: int | None = None,
        counts: Counter[str] | None = None,
    ) -> None:
        if size[0] % 2 or size[1] % 2:
            raise FrameError(f"a picture on a device has even sides, not {size[0]}x{size[1]}")
        self.device: Device = y.__dlpack_device__()
        if (other := uv.__dlpack_device__()) != self.device:
            raise FrameError(f"planes must be on one device, not on {self.device} and {other}")
        self.y, self.uv, self.size, self.pitch = y, uv, size, pitch or size[0]
        self._download, self._counts = download, counts
        self._planes: Planes | None = None
        self._lock = threading.Lock()

    @property
    def lines(self) -> tuple[DeviceArray, DeviceArray]:
        """Y and UV without gaps: HxP and H/2 x P/2 x 2, P being `pitch`."""
        return (self.y, self.uv) if self.pitch == self.size[0] else (WholeLines(self.y), WholeLines(self.uv))

    @property
    def planes(self) -> Planes:
        """Y, U and V on the host, uint8, 4:2:0."""
        with self._lock:  # two sinks may ask at once, each in its thread
            if self._planes is None:
                self._planes = self._download()
                count(self._counts, "downloaded")
            return self._planes


_COUNTING = threading.Lock()


def count(counts: Counter[str] | None, what: str) -> None:
    """Add one, from any thread."""
    if counts is not None:
        with _COUNTING:
            counts[what] += 1


def planar(y: U8, uv: U8) -> Planes:
    """NV12 (HxW and H/2 x W/2 x 2) as Y, U and V in one block of memory, which encoders take as it is."""
    height, width = y.shape
    block = np.empty(height * width * 3 // 2, np.uint8)
    luma = block[: height * width].reshape(height, width)
    u, v = block[height * width :].reshape(2, height // 2, width // 2)
    np.copyto(luma, y)
    cv2.extractChannel(uv, 0, u)
    cv2.extractChannel(uv, 1, v)
    return luma, u, v


def semi_planar(planes: Planes, pitch: int | None = None) -> tuple[U8, U8]:
    """Y, U and V as NV12 of that pitch; the padding is zero."""
    y, u, v = planes
    height, width = y.shape
    line = pitch or width
    luma, chroma = np.zeros((height, line), np.uint8), np.zeros((height // 2, line // 2, 2), np.uint8)
    luma[:, :width] = y
    chroma[:, : width // 2, 0], chroma[:, : width // 2, 1] = u, v
    return luma, chroma


class WholeLines:
    """A plane together with the padding behind its lines: ONNX Runtime takes no array with gaps in it.

    HxW with lines P bytes apart becomes HxP, H/2 x W/2 x 2 becomes H/2 x P/2 x 2; where there is no padding nothing
    changes. The padding belongs to the plane's memory, and nothing sensible is in it.
    """

    def __init__(self, plane: DeviceArray) -> None:
        self._plane = plane

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._plane.__dlpack_device__()

    def __dlpack__(self, *, stream: Any = None) -> Any:
        capsule = self._plane.__dlpack__() if stream is None else self._plane.__dlpack__(stream=stream)
        tensor = _Tensor.from_address(_pointer(capsule, b"dltensor"))
        if tensor.strides:
            tensor.shape[1] = tensor.strides[0] // tensor.strides[1]
        return capsule


class _Tensor(ctypes.Structure):
    """DLTensor of dlpack.h, with which a capsule's DLManagedTensor begins."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype = ctypes.c_void_p
_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
