"""The only import of onnxruntime: a session with verified providers, bound buffers, warm-up and a time limit."""

from __future__ import annotations

import contextlib
import io
import logging
import re
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
    ModelNotFound,
    ModelRejected,
    OutOfMemory,
    ProviderUnavailable,
    RtsegError,
)
from rtseg.watchdog import Deadline

__all__ = ["PROVIDERS", "OrtEngine", "available_providers"]

log = logging.getLogger(__name__)

PROVIDERS = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "dml": "DmlExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
"""Short name -> ONNX Runtime's name of every execution provider that can be asked for."""

_AUTO = ("cuda", "coreml", "dml", "openvino", "cpu")  # without TensorRT, whose builds take minutes: ask for it
_SHORT = {name: short for short, name in PROVIDERS.items()}
_INSTALL = {
    "cuda": "pip install 'rtseg[cuda]' and an NVIDIA driver",
    "tensorrt": "pip install 'rtseg[cuda]' 'tensorrt-cu13>=10,<11' and an NVIDIA driver",
    "openvino": "pip install onnxruntime-openvino in place of onnxruntime",
    "coreml": "macOS with the onnxruntime wheel",
    "dml": "Windows with onnxruntime-directml in place of onnxruntime",
}
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
_NO_ROOM = re.compile(r"out of memory|failed to allocate memory|bad[ _]alloc|CUDNN_STATUS_ALLOC_FAILED", re.IGNORECASE)
"""What CUDA, cuDNN, TensorRT and ONNX Runtime's arena say when a device has no room left."""
_SILENT = 4  # log only what is fatal: every other failure reaches the caller as an exception
_WARNING = 2  # ONNX Runtime's default


def available_providers() -> tuple[str, ...]:
    """Short names of the providers that this build of ONNX Runtime contains; their libraries may still be missing."""
    return tuple(_SHORT[name] for name in ort.get_available_providers() if name in _SHORT)


class OrtEngine:
    """Runs an ONNX file with fixed shapes in buffers that are bound once, so that a frame costs no allocation.

    Write into `inputs` and call `run()`, or call the engine with arrays, which are copied into those buffers.
    What comes back are the output buffers themselves: the next run overwrites them. An engine belongs to one
    stream; `fork()` gives another stream its own buffers around the same session.

    path: of the ONNX file (never bytes, against which external data would resolve in the current folder).
    providers: of `PROVIDERS`, best first, or ("auto",) for the best that works; a session that would run on others
    raises `ProviderUnavailable`. threads: for one operator; with more than one, `spinning` burns CPU to gain
    latency. timeout: seconds a run may take, None for ever; the run then ends within a second. warmup: runs on
    zeros before the constructor returns. shapes: input name -> shape, needed where the graph leaves axes open.

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
    ) -> None:
        if threads < 1:
            raise ConfigError(f"threads must be at least 1, not {threads}")
        if timeout is not None and not timeout > 0:
            raise ConfigError(f"timeout must be above 0 seconds, or None for no limit, not {timeout}")
        self._path = Path(path)
        self._timeout = timeout
        self._session = _open(self._path, tuple(providers), threads=threads, spinning=spinning)
        self._shapes = _input_shapes(self._path, self._session, shapes or {})
        self._bind()
        for _ in range(warmup):
            self.run()

    @property
    def providers(self) -> tuple[str, ...]:
        """Short names of the providers that the session really has, best first."""
        return tuple(_SHORT.get(name, name) for name in self._session.get_providers())

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
        other._path, other._timeout = self._path, self._timeout
        other._session, other._shapes = self._session, self._shapes
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
        self._execute(self._session.run_with_iobinding, self._binding, self._options)
        for name, values, finite in self._floats:
            if not np.isfinite(values, out=finite).all():
                raise InferenceFailed(f"output {name!r} of {self._path.name} holds NaN or infinity")
        return self._outputs

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
            self._options.terminate = False
        if failure is None:  # even if it came just as the run was about to be stopped: a result is a result
            return result
        if late:
            raise InferenceTimeout(
                f"{self._path.name} ran for more than {self._timeout:g} s and was stopped: "
                "use a faster model, or allow more with timeout="
            ) from failure
        kind = OutOfMemory if _NO_ROOM.search(str(failure)) else InferenceFailed
        raise kind(f"{self._path.name} failed on {self.providers[0]}: {_first_line(failure)}") from failure

    def _bind(self) -> None:
        self._options = ort.RunOptions()
        self._options.log_severity_level = _SILENT
        # ONNX Runtime's default, said aloud: looking for it in vain costs an exception a run (57 us against 2).
        self._options.add_run_config_entry("gpu_graph_id", "0")
        options = self._options
        self._deadline = None if self._timeout is None else Deadline(self._timeout, lambda: _terminate(options))
        self._binding = self._session.io_binding()
        try:
            inputs = {
                node.name: np.zeros(self._shapes[node.name], _dtype(self._path, node))
                for node in self._session.get_inputs()
            }
            outputs = self._allocate(inputs)
            for name, array in inputs.items():
                self._binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array))
            for name, array in outputs.items():
                self._binding.bind_ortvalue_output(name, ort.OrtValue.ortvalue_from_numpy(array))
        except RtsegError:
            raise
        except Exception as error:  # MemoryError, ValueError of sizes over 2**63, ONNX Runtime's own
            raise ModelRejected(f"{self._path}: its buffers cannot be made: {_first_line(error)}") from error
        self._inputs: Mapping[str, NDArray[Any]] = MappingProxyType(inputs)
        self._outputs: Mapping[str, NDArray[Any]] = MappingProxyType({n: _read_only(a) for n, a in outputs.items()})
        self._floats = [(n, a.ravel(), np.empty(a.size, np.bool_)) for n, a in outputs.items() if a.dtype.kind == "f"]

    def _allocate(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        nodes = self._session.get_outputs()
        types = [_dtype(self._path, node) for node in nodes]
        if all(_is_fixed(node.shape) for node in nodes):
            return {node.name: np.zeros(node.shape, dtype) for node, dtype in zip(nodes, types, strict=True)}
        names = [node.name for node in nodes]  # open axes: one plain run tells how large the outputs are
        arrays = self._execute(self._session.run, names, inputs, self._options)
        return {name: np.zeros_like(array) for name, array in zip(names, arrays, strict=True)}


def _terminate(options: Any) -> None:
    options.terminate = True


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


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


def _open(path: Path, wanted: tuple[str, ...], *, threads: int, spinning: bool) -> Any:
    if not path.is_file():
        raise ModelNotFound(f"{path} is not a file: an ONNX model is loaded from a file of its own")
    if wanted != ("auto",):
        return _open_with(path, wanted, threads=threads, spinning=spinning)
    for name in (name for name in _AUTO if name in available_providers()):
        try:
            session = _open_with(path, (name,), threads=threads, spinning=spinning)
        except ProviderUnavailable as error:
            log.info("auto: passed over %s: %s", name, error)
        else:
            log.info("auto: %s runs on %s", path.name, name)
            return session
    raise ProviderUnavailable("no provider of ONNX Runtime works here, not even cpu: reinstall onnxruntime")


def _open_with(path: Path, wanted: tuple[str, ...], *, threads: int, spinning: bool) -> Any:
    if not wanted or (unknown := [name for name in wanted if name not in PROVIDERS]):
        allowed = ", ".join(PROVIDERS)
        raise ConfigError(f"unknown provider {', '.join(unknown) if wanted else '()'}: use {allowed} or auto alone")
    for name in wanted:
        if name not in available_providers():
            raise _unavailable(name, "this build of ONNX Runtime does not contain it")
    missed = ""
    ort.set_default_logger_severity(_SILENT)
    try:
        if {"cuda", "tensorrt"} & set(wanted):
            missed = _preload()
        session = _session(path, wanted, threads=threads, spinning=spinning)
    except Exception as error:  # besides its own, UnicodeDecodeError for some broken files
        if wanted != ("cpu",) and _loads_on_cpu(path):
            raise _unavailable(wanted[0], _first_line(error)) from error
        raise ModelRejected(f"{path} is not a usable ONNX model: {_first_line(error)}") from error
    finally:
        ort.set_default_logger_severity(_WARNING)
    for name in wanted:
        if PROVIDERS[name] not in session.get_providers():
            raise _unavailable(name, missed or "the session does not report it")
    return session


def _session(path: Path, wanted: Sequence[str], *, threads: int = 1, spinning: bool = False) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _SILENT
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    # Never session.set_denormal_as_zero: it changes the arithmetic of the calling thread, and of those it starts.
    return ort.InferenceSession(str(path), options, providers=[PROVIDERS[name] for name in wanted], enable_fallback=0)


def _loads_on_cpu(path: Path) -> bool:
    """Whether the graph itself is sound, so that a failure elsewhere is the provider's."""
    try:
        _session(path, ("cpu",))
    except Exception:  # as in _open_with: what broken files raise is no closed list
        return False
    return True


def _unavailable(name: str, reason: str) -> ProviderUnavailable:
    return ProviderUnavailable(
        f"provider {name!r} cannot be used: {reason}. It needs {_INSTALL.get(name, 'another onnxruntime')}; "
        f"built in here: {', '.join(available_providers())}; 'auto' takes the best that works"
    )


def _preload() -> str:
    """Load the CUDA libraries that pip installed; what is missing ONNX Runtime only prints: its first line."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        ort.preload_dlls()
    return next(iter(said.getvalue().strip().splitlines()), "")
