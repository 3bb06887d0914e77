"""Fixed buffers on a device: what CUDA graphs and copies need, run on the CPU as well so that it can be tested there.

A slot is one set of inputs and outputs in device memory, made once and bound once. A captured CUDA graph reads and
writes the addresses that it saw at capture (onnxruntime#10859), and a replay that was bound anew gives stale results
(#20050), so **nothing here can bind a second time**: the binding is known to the slot's run alone, and the values are
read-only mappings. Two slots take turns, so that what one gave can still be read while the other is filled.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, TypeAlias

import onnxruntime as ort
from numpy.typing import NDArray

from rtseg.errors import InferenceFailed
from rtseg.inference.gate import GATE

__all__ = ["Slot", "Slots", "Value", "run_options"]

Value: TypeAlias = Any
"""An `onnxruntime.OrtValue`: a tensor on the device, or on the host where the engine runs there."""

Arrays: TypeAlias = Mapping[str, NDArray[Any]]

_WARMUPS = 2  # runs before a capture: the second may still allocate, which no capture can (onnxruntime#15005)
_NO_CAPTURE = -1  # ONNX Runtime's graph id for a run that is neither captured nor replayed


def run_options(graph: int, *, severity: int) -> Any:
    """Options of a run that is captured as, and replayed from, the graph of that number; -1 for neither."""
    options = ort.RunOptions()
    options.log_severity_level = severity
    options.add_run_config_entry("gpu_graph_id", str(graph))
    return options


class Slot:
    """One set of device buffers and, where graphs are on, the graph that was captured over them.

    session: of ONNX Runtime. inputs, outputs: host arrays whose shapes and types the device's get. memory, device:
    ONNX Runtime's name of the memory ("cuda", "cpu") and the number of the device. graph: a number that no other slot
    of the session has, None for a slot without graphs.
    """

    def __init__(
        self,
        session: Any,
        inputs: Arrays,
        outputs: Arrays,
        *,
        memory: str,
        device: int,
        graph: int | None,
        severity: int,
    ) -> None:
        def like(arrays: Arrays) -> Mapping[str, Value]:
            make = ort.OrtValue.ortvalue_from_shape_and_type
            return MappingProxyType(
                {n: make(a.shape, a.dtype.type, device_type=memory, device_id=device) for n, a in arrays.items()}
            )

        binding = session.io_binding()
        with GATE.working():
            self.inputs, self.outputs = like(inputs), like(outputs)
            for name, value in self.inputs.items():
                value.update_inplace(inputs[name])  # what is there by chance may be no number
                binding.bind_ortvalue_input(name, value)
            for name, value in self.outputs.items():
                binding.bind_ortvalue_output(name, value)
        self._plain = run_options(_NO_CAPTURE, severity=severity)
        self._replayed = self._plain if graph is None else run_options(graph, severity=severity)
        self._run: Callable[[Any], None] = partial(_synchronised, session, binding)
        self._here = threading.local()

    @property
    def options(self) -> tuple[Any, ...]:
        """The run options in use, whose `terminate` ends a run."""
        return (self._plain,) if self._replayed is self._plain else (self._plain, self._replayed)

    def run(self, fill: Callable[[Mapping[str, Value]], None]) -> Mapping[str, Value]:
        """Fill the inputs, run, and give the outputs; the first run in a thread also warms up and captures.

        ONNX Runtime keeps captured graphs for each thread on its own, so another thread has to capture again.
        """
        if self._replayed is self._plain or getattr(self._here, "captured", False):
            with GATE.working():
                fill(self.inputs)
                self._run(self._replayed)
            return self.outputs
        with GATE.capturing():
            fill(self.inputs)
            for _ in range(_WARMUPS):
                self._run(self._plain)
            self._run(self._replayed)
        self._here.captured = True
        return self.outputs


def _synchronised(session: Any, binding: Any, options: Any) -> None:
    binding.synchronize_inputs()  # copies run on a stream of their own: onnxruntime#32673
    session.run_with_iobinding(binding, options)
    binding.synchronize_outputs()


class Slots:
    """Slots that take turns, between host arrays that stay the same.

    session, inputs, outputs, memory, device, severity: as `Slot` has them; the host arrays are copied in and out.
    count: how many slots. graphs: gives a new graph number at each call, None for no graphs.
    """

    def __init__(
        self,
        session: Any,
        inputs: Arrays,
        outputs: Arrays,
        *,
        memory: str,
        device: int = 0,
        count: int = 2,
        graphs: Callable[[], int] | None = None,
        severity: int = 2,
    ) -> None:
        self._host_inputs, self._host_outputs = inputs, outputs
        self._downloads = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in outputs.items()}
        self._slots = [
            Slot(
                session,
                inputs,
                outputs,
                memory=memory,
                device=device,
                graph=None if graphs is None else graphs(),
                severity=severity,
            )
            for _ in range(count)
        ]
        self._turn = 0

    @property
    def options(self) -> tuple[Any, ...]:
        """The run options of all slots."""
        return tuple(option for slot in self._slots for option in slot.options)

    @property
    def inputs(self) -> Mapping[str, Value]:
        """The device inputs of the slot that the next run takes."""
        return self._slots[self._turn].inputs

    def run(self) -> None:
        """Host inputs up, a run, host outputs down."""
        outputs = self._next().run(partial(self._fill, {}))
        with GATE.working():
            for name, value in outputs.items():
                self._downloads[name].update_inplace(value)

    def run_on(self, values: Mapping[str, Value]) -> Mapping[str, Value]:
        """The same from values that are on the device, and checked; what is not among them comes from the host.

        The outputs stay on the device and are overwritten when the slot's turn comes round again.
        """
        return self._next().run(partial(self._fill, values))

    def _next(self) -> Slot:
        slot = self._slots[self._turn]
        self._turn = (self._turn + 1) % len(self._slots)
        return slot

    def _fill(self, values: Mapping[str, Value], inputs: Mapping[str, Value]) -> None:
        for name, value in inputs.items():
            given = values.get(name)
            if given is not value:  # whoever wrote into `inputs` directly has nothing left to copy
                value.update_inplace(self._host_inputs[name] if given is None else given)


def check_value(name: str, value: Value, inputs: Arrays) -> None:
    """InferenceFailed for a tensor that is not of the input's type and shape, but for leading axes of 1."""
    if name not in inputs:
        raise InferenceFailed(f"there is no input {name!r}: there are {', '.join(inputs)}")
    wanted = inputs[name]
    kinds = {"float32": "float", "float64": "double"}
    kind = f"tensor({kinds.get(wanted.dtype.name, wanted.dtype.name)})"
    if value.data_type() != kind or _without_ones(value.shape()) != _without_ones(wanted.shape):
        raise InferenceFailed(
            f"input {name!r} must be {kind} of shape {wanted.shape}, "
            f"not {value.data_type()} of shape {tuple(value.shape())}"
        )


def _without_ones(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(itertools.dropwhile(lambda side: side == 1, shape))
