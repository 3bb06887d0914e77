"""The fused graph where pictures lie on a device: NV12 in and out, and no plane comes to the host."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtseg.device import Device, DeviceArray, DevicePicture, planar, semi_planar
from rtseg.errors import EngineError, InferenceFailed
from rtseg.inference.device_engine import DeviceEngine, DeviceValue
from rtseg.ops.arrays import U8, as_u8
from rtseg.types import Frame

IN_FLIGHT = 8
"""Pictures that a test holds at once; a run holds those that wait for the writer and those that its encoder has."""
CLOSE, ALIKE = 6, 0.999
"""A device passes its test when this share of all levels lies within so many of the CPU's: half floats are no fault."""


class DeviceGraph:
    """A fused graph of the layout "nv12" on a device, and what it remembers, which stays there."""

    def __init__(self, engine: DeviceEngine) -> None:
        self._engine = engine
        self._zeros = {
            name: np.zeros(shape, dtype) for name, (shape, dtype) in engine.ports.items() if name.startswith("past_")
        }
        self._past: Mapping[str, DeviceArray] | None = None
        self._shown: list[Frame] = []

    @property
    def device(self) -> Device:
        """Where pictures must be."""
        return self._engine.device

    @property
    def pictures(self) -> int:
        """How many pictures it wants with a frame."""
        return sum(name.startswith("picture") and name.endswith("_y") for name in self._engine.ports)

    def __call__(self, frame: Frame, pictures: Sequence[Frame], counts: Counter[str]) -> tuple[Frame, U8]:
        """The frame with the picture that was made of it, on the device, and the masks CxHxW on the host."""
        picture = frame.device
        assert picture is not None
        y, uv, masks = self.run(*picture.lines, pictures)
        made = DevicePicture(
            y, uv, size=picture.size, download=lambda: planar(as_u8(y.numpy()), as_u8(uv.numpy())), counts=counts
        )
        return frame.with_device(made), masks

    def run(self, y: DeviceArray, uv: DeviceArray, pictures: Sequence[Frame]) -> tuple[DeviceValue, DeviceValue, U8]:
        """The same from planes: Y, UV, and the masks. Raises EngineError; the past is forgotten then."""
        inputs: dict[str, DeviceArray] = {"y": y, "uv": uv}
        for index, picture in enumerate(pictures):
            if index >= len(self._shown) or self._shown[index] is not picture:  # else the engine still has it
                inputs[f"picture{index}_y"], inputs[f"picture{index}_uv"] = semi_planar(picture.planes)
        if self._zeros:
            known = self._past is not None
            inputs |= self._past or self._zeros
            inputs["known"] = np.full((1, 1, 1, 1), known, np.float32)
        try:
            outputs = self._engine.compute(inputs)
            sums = outputs["sums"].numpy()
            if not np.isfinite(sums).all():
                raise InferenceFailed("the network gave NaN or infinity: verify the weights")
            masks = as_u8(outputs["masks"].numpy()[0])
        except EngineError:
            self.reset()
            self._shown = []
            raise
        self._shown = list(pictures)
        if self._zeros:
            self._past = {name: outputs[name.replace("past_", "next_")] for name in self._zeros}
        return outputs["out_y"], outputs["out_uv"], masks

    def reset(self) -> None:
        """No past."""
        self._past = None


def check_on_device(graph: DeviceGraph, reference: DeviceGraph, frame: Frame, other: tuple[U8, U8, U8]) -> None:
    """Compare a device with the CPU on `frame`, then on `other` planes again and again, with all outputs held.

    So it finds a device that gives the frame before once more, and one that writes a picture over another that
    somebody still has. Raises EngineError.
    """
    picture = frame.device
    assert picture is not None
    pictures = [frame.with_planes(other)] * graph.pictures
    first, second = (semi_planar(planes, picture.pitch) for planes in (frame.planes, other))
    wanted = [reference.run(*first, pictures), reference.run(*second, pictures)]
    found = [graph.run(*picture.lines, pictures), graph.run(*second, pictures)]
    reference.reset()
    wanted += [reference.run(*second, pictures)] * (IN_FLIGHT - 2)
    for _ in range(IN_FLIGHT - 2):  # never the first again: it would not show on the first one's memory
        graph.reset()
        found.append(graph.run(*second, pictures))
    for number, (y, uv, masks) in enumerate(found):
        expected = wanted[number]
        pairs = ((y.numpy(), expected[0].numpy()), (uv.numpy(), expected[1].numpy()), (masks, expected[2]))
        if (alike := min(share_alike(*pair) for pair in pairs)) < ALIKE:
            raise EngineError(
                f"the device gave another picture than the CPU in test frame {number + 1} of {IN_FLIGHT} "
                f"({100 * (1 - alike):.1f} % of it): update the driver or ONNX Runtime; frames are made unfused"
            )
    graph.reset()


def share_alike(found: NDArray[Any], right: NDArray[Any]) -> float:
    """Which part of all levels is close."""
    return float(np.mean(np.abs(found.astype(np.int16) - right) <= CLOSE))
