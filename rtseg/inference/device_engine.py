"""Engines that take and give arrays where they lie: what is asked of one, and how others become one.

`OnSlots` makes one of an engine with fixed device slots, `OnHost` of any engine on the CPU: the reference that devices
are tested against.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from rtseg.device import CPU, CUDA, Device, DeviceArray
from rtseg.errors import InferenceFailed
from rtseg.segmenters import BoundEngine

Port: TypeAlias = tuple[tuple[int, ...], "np.dtype[Any]"]
"""Shape and type of an input."""
Gate: TypeAlias = Callable[[], contextlib.AbstractContextManager[Any]]
"""What copies wait in: nothing may touch a CUDA device while another thread captures a graph (error 900)."""

_DEVICES = {"cpu": CPU, "cuda": CUDA}


class DeviceValue(DeviceArray, Protocol):
    """An output on the device."""

    def numpy(self) -> NDArray[Any]:
        """The same on the host."""
        ...


@runtime_checkable
class DeviceEngine(Protocol):
    """An engine that takes and gives arrays where they lie. It serves one stream."""

    @property
    def device(self) -> Device:
        """Where its inputs and outputs are."""
        ...

    @property
    def ports(self) -> Mapping[str, Port]:
        """The inputs by name."""
        ...

    def compute(self, inputs: Mapping[str, DeviceArray], /) -> Mapping[str, DeviceValue]:
        """Copy `inputs` into the engine's fixed memory, run, and give outputs that **no later run overwrites**.

        An input of the device is copied there, one of the host (NumPy) is uploaded; what is not named keeps what it
        held. Arrays are contiguous and of the port's shape and type; they are read when this returns, and the outputs
        are whole then. Raises EngineError.
        """
        ...


@runtime_checkable
class SlotEngine(Protocol):
    """An engine whose device buffers are fixed: `run_on` takes OrtValues and gives its own, to be overwritten soon."""

    @property
    def memory(self) -> tuple[str, int]:
        """ONNX Runtime's name of the device, and its number."""
        ...

    @property
    def inputs(self) -> Mapping[str, NDArray[Any]]:
        """The inputs on the host, which are taken where `run_on` is not given one."""
        ...

    def run_on(self, values: Mapping[str, Any], /) -> Mapping[str, Any]:
        """The outputs for these inputs on the device."""
        ...


def device_engine_of(engine: object) -> DeviceEngine | None:
    """The engine as a `DeviceEngine`, None for one that cannot be; copies wait in its `gate`, if it has one."""
    if isinstance(engine, DeviceEngine):
        return engine
    if isinstance(engine, SlotEngine) and engine.memory[0] in _DEVICES:
        return OnSlots(engine, gate=getattr(engine, "gate", contextlib.nullcontext))
    return None


class OnSlots:
    """An engine with fixed slots as a `DeviceEngine`: outputs are copied out of the slot, on the device.

    So a picture may wait for its encoder for as long as it likes. The copies come from ONNX Runtime's arena, which
    takes the memory back when nobody holds it any more: Python, DLPack, or the encoder.
    """

    def __init__(self, engine: SlotEngine, *, gate: Gate = contextlib.nullcontext) -> None:
        name, number = engine.memory
        self.device: Device = (_DEVICES[name], number)
        self.ports: Mapping[str, Port] = _ports_of(engine.inputs)
        self._engine, self._gate, self._name = engine, gate, name
        self._kept: dict[str, Any] = {}

    def compute(self, inputs: Mapping[str, DeviceArray], /) -> Mapping[str, DeviceValue]:
        """As `DeviceEngine` says."""
        with self._copying():
            given = {name: self._value(name, array) for name, array in inputs.items()}
        outputs = self._engine.run_on({**self._kept, **given})
        with self._copying():
            return {name: _Held(self._copy(value), self._gate) for name, value in outputs.items()}

    @contextlib.contextmanager
    def _copying(self) -> Iterator[None]:
        try:
            with self._gate():
                yield
        except (RuntimeError, ValueError, TypeError) as error:  # what ONNX Runtime raises for arrays
            raise InferenceFailed(f"a copy on the device {self.device} failed: {error}") from error

    def _value(self, name: str, array: DeviceArray) -> Any:
        if not isinstance(array, np.ndarray):
            self._kept.pop(name, None)
            return ort.OrtValue.from_dlpack(array)
        shape, dtype = self.ports[name]
        if name not in self._kept:
            self._kept[name] = self._made(shape, dtype.type)
        self._kept[name].update_inplace(array.reshape(shape))
        return self._kept[name]

    def _copy(self, value: Any) -> Any:
        made = self._made(value.shape(), value.element_type())
        made.update_inplace(value)
        return made

    def _made(self, shape: Any, kind: Any) -> Any:
        return ort.OrtValue.ortvalue_from_shape_and_type(
            tuple(shape), kind, device_type=self._name, device_id=self.device[1]
        )


class _Held:
    """A tensor that is our own; brought to the host within the gate."""

    def __init__(self, value: Any, gate: Gate) -> None:
        self._value, self._gate = value, gate

    def numpy(self) -> NDArray[Any]:
        with self._gate():
            return self._value.numpy()  # type: ignore[no-any-return]

    def __dlpack__(self, *, stream: Any = None) -> Any:
        return self._value.__dlpack__(stream=stream)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._value.__dlpack_device__()  # type: ignore[no-any-return]


class OnHost:
    """An engine with kept buffers on the CPU as a `DeviceEngine`; its outputs are copies."""

    device: Device = (CPU, 0)

    def __init__(self, engine: BoundEngine) -> None:
        self._engine = engine
        self.ports: Mapping[str, Port] = _ports_of(engine.inputs)

    def compute(self, inputs: Mapping[str, DeviceArray], /) -> Mapping[str, DeviceValue]:
        """As `DeviceEngine` says."""
        for name, array in inputs.items():
            given = array if isinstance(array, np.ndarray) else np.from_dlpack(array)  # read-only ones export none
            np.copyto(self._engine.inputs[name], given)
        return {name: _OfHost(array.copy()) for name, array in self._engine.run().items()}


class _OfHost:
    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array

    def numpy(self) -> NDArray[Any]:
        return self._array

    def __dlpack__(self, *, stream: Any = None) -> Any:
        return self._array.__dlpack__(stream=stream)

    def __dlpack_device__(self) -> tuple[int, int]:
        return CPU, 0


def _ports_of(inputs: Mapping[str, NDArray[Any]]) -> dict[str, Port]:
    return {name: (array.shape, array.dtype) for name, array in inputs.items()}
