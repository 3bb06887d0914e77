"""The network: a verified session, bound buffers, warm-up and a time limit."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from rtseg.errors import (
    ConfigError,
    InferenceFailed,
    InferenceTimeout,
    ModelRejected,
    OutOfMemory,
    RtsegError,
)
from rtseg.inference.gate import GATE
from rtseg.inference.providers import MEMORY, PROVIDERS, SHORT, Wishes
from rtseg.inference.sessions import NO_ROOM, SILENT, available_providers, first_line, open_session
from rtseg.inference.slots import Slots, Value, check_value, run_options
from rtseg.inference.watchdog import Deadline

__all__ = ["PROVIDERS", "OrtEngine", "Value", "available_providers"]

log = logging.getLogger(__name__)

_DTYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}


class OrtEngine:
    """Runs an ONNX file with fixed shapes in buffers that are bound once, so that a frame costs no allocation.

    Write into `inputs` and call `run()`, or call the engine with arrays, which are copied into those buffers.
    What comes back are the output buffers themselves: the next run overwrites them. An engine belongs to one
    stream; `fork()` gives another stream its own buffers around the same session. Where the provider has memory of
    its own, the buffers are copied to and from fixed slots there (`rtseg.inference.slots`), and `run_on` takes what
    is there already.

    path: of the ONNX file (never bytes, against which external data would resolve in the current folder).
    providers: of `PROVIDERS`, best first, or ("auto",) for the best that works; a session that would run on others
    raises `ProviderUnavailable`. threads: for one operator; with more than one, `spinning` burns CPU to gain
    latency. timeout: seconds a run may take, None for ever; the run then ends within a second. warmup: runs on
    zeros before the constructor returns. shapes: input name -> shape, needed where the graph leaves axes open.
    half, device, cuda_graph, cache, stream: as `rtseg.inference.providers.Wishes` says. slots: how many sets of device
    buffers take turns, None for two where there is such memory and none elsewhere; a number forces them on any
    provider.

    Raises `ModelNotFound`, `ModelRejected` (not a usable graph), `ProviderUnavailable`, `ConfigError`; a run
    raises `InferenceTimeout` or `InferenceFailed` (also for NaN or infinity in an output) and can be repeated.
    """

    def __init__(
        self,
        path: Path,
        *,
        providers: Sequence[str] = ("cpu",),
        threads: int = 1,
        spinning: bool = False,
        timeout: float | None = 10.0,
        warmup: int = 2,
        shapes: Mapping[str, tuple[int, ...]] | None = None,
        half: bool = False,
        device: int = 0,
        cuda_graph: bool = True,
        cache: Path | None = None,
        stream: int | None = None,
        slots: int | None = None,
    ) -> None:
        if threads < 1:
            raise ConfigError(f"threads must be at least 1, not {threads}")
        if timeout is not None and not timeout > 0:
            raise ConfigError(f"timeout must be above 0 seconds, or None for no limit, not {timeout}")
        if slots is not None and slots < 0:
            raise ConfigError(f"slots must be 0 or more, not {slots}")
        self._path = Path(path)
        self._timeout = timeout
        wishes = Wishes(half, device, cuda_graph, cache, stream)
        self._opened = open_session(self._path, tuple(providers), wishes, threads=threads, spinning=spinning)
        self._session = self._opened.session
        self._graphs = itertools.count(1)
        self._count = (2 if self._opened.name in MEMORY else 0) if slots is None else slots
        self._shapes = _input_shapes(self._path, self._session, shapes or {})
        self._bind()
        for _ in range(warmup):
            self.run()

    @property
    def providers(self) -> tuple[str, ...]:
        """Short names of the providers that the session really has, best first."""
        return tuple(SHORT.get(name, name) for name in self._session.get_providers())

    gate = staticmethod(GATE.working)
    """What copies between runs wait in, as its own do, while another thread captures."""

    @property
    def cuda_graph(self) -> bool:
        """Whether runs are captured and replayed."""
        return self._opened.wishes.cuda_graph

    @property
    def memory(self) -> tuple[str, int]:
        """Where `run_on` takes and gives values without the bus: ("cuda", number of the device), or ("cpu", 0)."""
        return self._opened.memory, self._opened.wishes.device if self._opened.memory != "cpu" else 0

    @property
    def inputs(self) -> Mapping[str, NDArray[Any]]:
        """The bound input buffers, to be written in place before `run()`."""
        return self._inputs

    @property
    def outputs(self) -> Mapping[str, NDArray[Any]]:
        """The bound output buffers, read-only, as the last run left them."""
        return self._outputs

    def fork(self) -> OrtEngine:
        """An engine with the same session, whose weights are shared, and buffers of its own."""
        other = object.__new__(type(self))
        other._path, other._timeout, other._opened = self._path, self._timeout, self._opened
        other._session, other._shapes = self._session, self._shapes
        other._graphs, other._count = self._graphs, self._count  # no two slots of a session may share a graph
        other._bind()
        return other

    def __call__(self, inputs: Mapping[str, NDArray[Any]], /) -> Mapping[str, NDArray[Any]]:
        """Copy `inputs` (name -> array of the buffer's shape, of a type that it holds) and run."""
        if inputs.keys() != self._inputs.keys():
            raise InferenceFailed(f"{self._path.name} takes the inputs {sorted(self._inputs)}, not {sorted(inputs)}")
        for name, buffer in self._inputs.items():
            array = inputs[name]
            if array.shape != buffer.shape or not np.can_cast(array.dtype, buffer.dtype, "same_kind"):
                raise InferenceFailed(
                    f"input {name!r} of {self._path.name} must be {buffer.dtype} of shape {buffer.shape}, "
                    f"not {array.dtype} of shape {array.shape}"
                )
            np.copyto(buffer, array, casting="same_kind")
        return self.run()

    def run(self) -> Mapping[str, NDArray[Any]]:
        """Run on what the input buffers hold; the outputs are views that the next run overwrites."""
        if self._slots is None:
            self._execute(self._session.run_with_iobinding, self._binding, self._options[0])
        else:
            self._execute(self._slots.run)
        for name, values, finite in self._floats:
            if not np.isfinite(values, out=finite).all():
                raise InferenceFailed(f"output {name!r} of {self._path.name} holds NaN or infinity")
        return self._outputs

    @property
    def device_inputs(self) -> Mapping[str, Value]:
        """The input tensors of the next run, in the provider's memory; what is written there is passed to `run_on`."""
        return self._bound[0] if self._slots is None else self._slots.inputs

    def run_on(self, values: Mapping[str, Value]) -> Mapping[str, Value]:
        """Run on tensors that are in the provider's memory already; nothing but what is missing crosses the bus.

        values: input name -> `onnxruntime.OrtValue` of the input's type and shape (leading axes of 1 apart), such as
        `OrtValue.from_dlpack(plane)`, an earlier output, or one of `device_inputs` itself, which is not copied; inputs
        that are not named are those of `inputs`. Gives the outputs by name, in the same memory, until two runs later
        (one on the CPU), and does not look for NaN in them. Raises InferenceFailed.
        """
        for name, value in values.items():
            check_value(name, value, self._inputs)
        if self._slots is not None:
            return self._execute(self._slots.run_on, values)  # type: ignore[no-any-return]
        inputs, outputs = self._bound
        for name, value in values.items():
            if value is not inputs[name]:
                inputs[name].update_inplace(value)
        self._execute(self._session.run_with_iobinding, self._binding, self._options[0])
        return outputs

    def _execute(self, call: Callable[..., Any], *arguments: Any) -> Any:
        failure: Exception | None = None
        if self._deadline is not None:
            self._deadline.start()
        try:
            result = call(*arguments)
        except Exception as error:
            failure = error
        late = self._deadline is not None and self._deadline.stop()
        if late:
            for options in self._options:
                options.terminate = False
        if failure is None:  # even if it came just as the run was about to be stopped: a result is a result
            return result
        if late:
            raise InferenceTimeout(
                f"{self._path.name} ran for more than {self._timeout:g} s and was stopped: "
                "use a faster model, or allow more with timeout="
            ) from failure
        kind = OutOfMemory if NO_ROOM.search(str(failure)) else InferenceFailed
        raise kind(f"{self._path.name} failed on {self.providers[0]}: {first_line(failure)}") from failure

    def _bind(self) -> None:
        # ONNX Runtime's default, said aloud: looking for it in vain costs an exception a run (57 us against 2).
        self._options = [run_options(-1 if self._count else 0, severity=SILENT)]
        late = self._options
        self._deadline = None if self._timeout is None else Deadline(self._timeout, lambda: _terminate(late))
        self._slots: Slots | None = None
        try:
            inputs = {
                node.name: np.zeros(self._shapes[node.name], _dtype(self._path, node))
                for node in self._session.get_inputs()
            }
            outputs = self._allocate(inputs)
            if self._count:
                self._bind_slots(inputs, outputs)
            else:
                self._bind_host(inputs, outputs)
        except RtsegError:
            raise
        except Exception as error:  # MemoryError, ValueError of sizes over 2**63, ONNX Runtime's own
            kind = OutOfMemory if self._count and NO_ROOM.search(str(error)) else ModelRejected
            raise kind(f"{self._path}: its buffers cannot be made: {first_line(error)}") from error
        self._inputs: Mapping[str, NDArray[Any]] = MappingProxyType(inputs)
        self._outputs: Mapping[str, NDArray[Any]] = MappingProxyType({n: _read_only(a) for n, a in outputs.items()})
        self._floats = [(n, a.ravel(), np.empty(a.size, np.bool_)) for n, a in outputs.items() if a.dtype.kind == "f"]

    def _bind_host(self, inputs: dict[str, NDArray[Any]], outputs: dict[str, NDArray[Any]]) -> None:
        """The host's arrays themselves, without a copy."""
        self._binding = self._session.io_binding()
        made = [{name: ort.OrtValue.ortvalue_from_numpy(a) for name, a in part.items()} for part in (inputs, outputs)]
        self._bound = MappingProxyType(made[0]), MappingProxyType(made[1])
        for name, value in self._bound[0].items():
            self._binding.bind_ortvalue_input(name, value)
        for name, value in self._bound[1].items():
            self._binding.bind_ortvalue_output(name, value)

    def _bind_slots(self, inputs: dict[str, NDArray[Any]], outputs: dict[str, NDArray[Any]]) -> None:
        memory, device = self.memory
        self._slots = Slots(
            self._session,
            inputs,
            outputs,
            memory=memory,
            device=device,
            count=self._count,
            graphs=self._graphs.__next__ if self.cuda_graph else None,
            severity=SILENT,
        )
        self._options.extend(self._slots.options)

    def _allocate(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        nodes = self._session.get_outputs()
        types = [_dtype(self._path, node) for node in nodes]
        if all(_is_fixed(node.shape) for node in nodes):
            return {node.name: np.zeros(node.shape, dtype) for node, dtype in zip(nodes, types, strict=True)}
        names = [node.name for node in nodes]  # open axes: one plain run tells how large the outputs are
        arrays = self._execute(self._session.run, names, inputs, self._options[0])
        return {name: np.zeros_like(array) for name, array in zip(names, arrays, strict=True)}


def _terminate(runs: Sequence[Any]) -> None:
    for options in runs:
        options.terminate = True


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view


def _is_fixed(shape: Sequence[Any]) -> bool:
    return all(isinstance(side, int) and side > 0 for side in shape)


def _dtype(path: Path, node: Any) -> type[np.generic]:
    if node.type not in _DTYPES:
        raise ModelRejected(f"{path}: {node.name!r} is a {node.type}; allowed are {', '.join(_DTYPES)}")
    return _DTYPES[node.type]


def _input_shapes(path: Path, session: Any, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    nodes = {node.name: node for node in session.get_inputs()}
    if strangers := sorted(set(shapes) - set(nodes)):
        raise ModelRejected(f"{path} has no input {', '.join(strangers)}; it has {', '.join(nodes) or 'none'}")
    chosen = {}
    for name, node in nodes.items():
        shape = tuple(shapes.get(name, node.shape))
        declared = tuple(side if isinstance(side, int) else None for side in node.shape)
        fits = len(shape) == len(declared) and all(d in (None, s) for s, d in zip(shape, declared, strict=False))
        if not (_is_fixed(shape) and fits):
            raise ModelRejected(f"{path}: shape {shape} does not fit input {name!r} {tuple(node.shape)}; give shapes=")
        chosen[name] = shape
    return chosen
