"""A device on the CPU: pictures as a hardware decoder gives them, and an engine of real OrtValues in fixed slots."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
import onnxruntime as ort

from rtseg.device import CPU, DeviceArray, DevicePicture, planar
from rtseg.inference.device_engine import DeviceValue, Gate, Port
from rtseg.ops.arrays import U8, as_u8
from rtseg.types import Frame

DTYPES: dict[str, Any] = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}


def decoded(frame: Frame) -> av.VideoFrame:
    """The frame as NV12 in FFmpeg's memory, whose lines have padding where the width is no multiple of 16."""
    picture = av.VideoFrame(*frame.size, "nv12")
    y, u, v = frame.planes
    luma, chroma = (np.frombuffer(p, np.uint8).reshape(-1, p.line_size) for p in picture.planes)  # type: ignore[call-overload]
    width, height = frame.size
    luma[:height, :width] = y
    chroma[: height // 2, 0:width:2], chroma[: height // 2, 1:width:2] = u, v
    return picture


def on_device(frame: Frame, counts: Counter[str] | None = None) -> Frame:
    """The same frame with its planes on the device."""
    picture = decoded(frame)
    y, uv = picture.planes

    def download() -> tuple[U8, U8, U8]:
        return planar(as_u8(np.from_dlpack(y)), as_u8(np.from_dlpack(uv)))

    return frame.with_device(DevicePicture(y, uv, size=frame.size, pitch=y.line_size, download=download, counts=counts))


class OrtDevice:
    """Inputs in OrtValues that never move, outputs in OrtValues made for each run."""

    device = (CPU, 0)

    def __init__(self, path: Path) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._binding = self._session.io_binding()
        self.ports: Mapping[str, Port] = {
            port.name: (tuple(port.shape), np.dtype(DTYPES[port.type])) for port in self._session.get_inputs()
        }
        self.slots = {name: ort.OrtValue.ortvalue_from_shape_and_type(*port) for name, port in self.ports.items()}
        for name, slot in self.slots.items():
            self._binding.bind_ortvalue_input(name, slot)
        self.inputs: Mapping[str, Any] = {}
        self.outputs: dict[str, Any] = {}
        self.given: list[set[str]] = []
        self.uploads: Counter[str] = Counter()

    @property
    def providers(self) -> tuple[str, ...]:
        return ("cpu",)

    def compute(self, inputs: Mapping[str, DeviceArray], /) -> Mapping[str, DeviceValue]:
        self.given.append(set(inputs))
        for name, array in inputs.items():
            if isinstance(array, np.ndarray):
                self.uploads[name] += 1
                self.slots[name].update_inplace(array)
            else:
                self.slots[name].update_inplace(ort.OrtValue.from_dlpack(array))
        outputs = self.made()
        for name, value in outputs.items():
            self._binding.bind_ortvalue_output(name, value)
        self._session.run_with_iobinding(self._binding)
        return outputs

    def made(self) -> dict[str, Any]:
        return {
            port.name: ort.OrtValue.ortvalue_from_shape_and_type(port.shape, DTYPES[port.type])
            for port in self._session.get_outputs()
        }

    def run(self) -> Mapping[str, Any]:
        raise NotImplementedError

    def __call__(self, inputs: Mapping[str, Any], /) -> Mapping[str, Any]:
        raise NotImplementedError


class Overwriting(OrtDevice):
    """A device that writes each picture over the one before, which somebody may still have."""

    def made(self) -> dict[str, Any]:
        self._kept: dict[str, Any] = getattr(self, "_kept", None) or super().made()
        return self._kept


class Doubled(OrtDevice):
    """A device with two buffers that take turns: one too few for a picture that waits for its encoder."""

    def made(self) -> dict[str, Any]:
        self._pair: list[dict[str, Any]] = getattr(self, "_pair", None) or [super().made(), super().made()]
        self._pair.reverse()
        return self._pair[0]


class Stale(OrtDevice):
    """A device that gives the frame before once more."""

    def compute(self, inputs: Mapping[str, DeviceArray], /) -> Mapping[str, DeviceValue]:
        now = super().compute(inputs)
        shown = getattr(self, "_last", None) or now
        self._last = now
        return shown


class SlotDevice:
    """Two slots that take turns, as engines on devices have them, and values of the host for what is not given."""

    memory = ("cpu", 0)
    providers = ("cpu",)

    def __init__(self, path: Path) -> None:
        self._slots = [OrtDevice(path), OrtDevice(path)]
        for slot in self._slots:
            slot.outputs = slot.made()
            for name, value in slot.outputs.items():
                slot._binding.bind_ortvalue_output(name, value)
        self.inputs = {name: np.zeros(shape, dtype) for name, (shape, dtype) in self._slots[0].ports.items()}
        self.uploads: Counter[str] = Counter()
        self.gate: Gate = contextlib.nullcontext

    def run_on(self, values: Mapping[str, Any], /) -> Mapping[str, Any]:
        self._slots.reverse()
        slot = self._slots[0]
        for name, value in slot.slots.items():
            if name not in values:
                self.uploads[name] += 1
            value.update_inplace(values.get(name, self.inputs[name]))
        slot._session.run_with_iobinding(slot._binding)
        return slot.outputs

    def run(self) -> Mapping[str, Any]:
        raise NotImplementedError

    def __call__(self, inputs: Mapping[str, Any], /) -> Mapping[str, Any]:
        raise NotImplementedError
