"""Accelerators that misbehave, on a machine that has none: real sessions on the CPU behind another name.

`install` puts them in place of ONNX Runtime's sessions, for all that is opened by name; `FaultyEngine` wraps an
engine that is there already.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from rtseg.inference import providers, sessions
from rtseg.segmenters import BoundEngine

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
NO_ROOM = "CUDA failure 2: out of memory ; GPU=0 ; hostname=test"
"""What ONNX Runtime says of a full device."""


@dataclass
class Faults:
    """What goes wrong on the device, and what was seen of it.

    reports: providers that sessions claim to have, None for those asked for. stale: outputs are those of the run
    before; "graphs" for replayed runs only. noise: added to every output of floats. fails: number of a run, of all
    runs together, to the message that it raises. refuses: messages that opening raises, by a provider option that
    is "1". delay: seconds a run. assigned: (provider, operator) of each node.
    """

    reports: Sequence[str] | None = None
    stale: bool | str = False
    noise: float = 0.0
    fails: dict[int, str] = field(default_factory=dict)
    refuses: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    assigned: Sequence[tuple[str, str]] = ((CUDA, "Conv"),)
    runs: list[Run] = field(default_factory=list)
    options: list[dict[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Run:
    """A run that was seen: graph -1 is neither captured nor replayed."""

    graph: int
    thread: int
    began: float
    ended: float
    addresses: tuple[int, ...]


class FaultySession:
    """A session on the CPU that claims the asked-for providers and has `faults`."""

    def __init__(
        self, path: str, options: Any, *, faults: Faults, wanted: list[str], given: list[dict[str, str]]
    ) -> None:
        faults.options.extend(given)
        for settings in given:
            for key, message in faults.refuses.items():
                if settings.get(key) == "1":
                    raise RuntimeError(message)
        self._real = ort.InferenceSession.__wrapped__(path, options, providers=[CPU], enable_fallback=0)
        self._faults, self._wanted = faults, wanted
        self._last: dict[int, list[NDArray[Any]]] = {}

    def get_providers(self) -> list[str]:
        reports = self._faults.reports
        return [*dict.fromkeys([*self._wanted, CPU])] if reports is None else list(reports)

    def get_provider_graph_assignment_info(self) -> list[Any]:
        def nodes(kind: str) -> list[Any]:
            return [SimpleNamespace(op_type=kind)]

        return [
            SimpleNamespace(ep_name=name, get_nodes=lambda kind=kind: nodes(kind))
            for name, kind in self._faults.assigned
        ]

    def io_binding(self) -> FaultyBinding:
        return FaultyBinding(self._real.io_binding())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def run_with_iobinding(self, binding: FaultyBinding, options: Any) -> None:
        faults = self._faults
        began = time.monotonic()
        graph = int(options.get_run_config_entry("gpu_graph_id"))
        time.sleep(faults.delay)
        number = len(faults.runs)
        if (
            graph != 0 and not binding.waited
        ):  # not on the host; a device would compute with what was there before: onnxruntime#32673
            raise RuntimeError("the inputs may still be on their way: nothing waited for their copies")
        binding.waited = False
        self._real.run_with_iobinding(binding.real, options)
        faults.runs.append(Run(graph, threading.get_ident(), began, time.monotonic(), binding.addresses()))
        if number in faults.fails:
            raise RuntimeError(faults.fails[number])
        arrays = [value.numpy() for value in binding.outputs.values()]  # views: these values are on the host
        for array in arrays:
            if array.dtype.kind == "f":
                array += faults.noise
        now = [array.copy() for array in arrays]
        if faults.stale is True or (faults.stale == "graphs" and graph > 0):
            for array, before in zip(arrays, self._last.get(0, now), strict=True):
                array[...] = before
        self._last[0] = now


class FaultyBinding:
    """A binding that knows what is bound."""

    def __init__(self, real: Any) -> None:
        self.real = real
        self.outputs: dict[str, Any] = {}
        self.waited = False
        self._inputs: dict[str, Any] = {}

    def bind_ortvalue_input(self, name: str, value: Any) -> None:
        self._inputs[name] = value
        self.real.bind_ortvalue_input(name, value)

    def bind_ortvalue_output(self, name: str, value: Any) -> None:
        self.outputs[name] = value
        self.real.bind_ortvalue_output(name, value)

    def synchronize_inputs(self) -> None:
        self.waited = True
        self.real.synchronize_inputs()

    def synchronize_outputs(self) -> None:
        self.real.synchronize_outputs()

    def addresses(self) -> tuple[int, ...]:
        return tuple(value.data_ptr() for value in (*self._inputs.values(), *self.outputs.values()))


def install(
    monkeypatch: pytest.MonkeyPatch, faults: Faults, *, built: Sequence[str] = ("tensorrt", "cuda", "cpu")
) -> None:
    """Until the end of the test every session but those on the CPU has `faults`, with its memory on the host."""
    real = ort.InferenceSession

    def session(path: str, options: Any, **more: Any) -> Any:
        wanted = more["providers"]
        if wanted == [CPU]:
            return real(path, options, **more)
        return FaultySession(path, options, faults=faults, wanted=wanted, given=more["provider_options"])

    session.__wrapped__ = real  # type: ignore[attr-defined]
    monkeypatch.setattr(ort, "InferenceSession", session)
    monkeypatch.setattr(ort, "preload_dlls", lambda: None, raising=False)
    monkeypatch.setattr(sessions, "available_providers", lambda: tuple(built))
    for name in providers.MEMORY:
        monkeypatch.setitem(providers.MEMORY, name, HOST)


HOST = "cpu"


class FaultyEngine:
    """An engine with faults of its own: stale gives the results of the run before, fails raises at a run's number.

    delay: seconds a run. providers: those that it claims. Its forks count their runs on their own.
    """

    def __init__(
        self,
        engine: BoundEngine,
        *,
        stale: bool = False,
        fails: Mapping[int, Exception] | None = None,
        delay: float = 0.0,
        providers: tuple[str, ...] = ("cuda", "cpu"),
    ) -> None:
        self.providers = providers
        self.runs = 0
        self._engine, self._stale, self._fails, self._delay = engine, stale, fails or {}, delay
        self._last: dict[str, NDArray[Any]] | None = None

    @property
    def inputs(self) -> Mapping[str, NDArray[Any]]:
        return self._engine.inputs

    def fork(self) -> FaultyEngine:
        forked: BoundEngine = self._engine.fork()  # type: ignore[attr-defined]
        return FaultyEngine(forked, stale=self._stale, fails=self._fails, delay=self._delay, providers=self.providers)

    def run(self) -> Mapping[str, NDArray[Any]]:
        time.sleep(self._delay)
        number, self.runs = self.runs, self.runs + 1
        if number in self._fails:
            raise self._fails[number]
        outputs = self._engine.run()
        if not self._stale:
            return outputs
        now = {name: array.copy() for name, array in outputs.items()}
        shown, self._last = self._last or now, now
        return shown

    def __call__(self, inputs: Mapping[str, NDArray[Any]], /) -> Mapping[str, NDArray[Any]]:
        for name, array in inputs.items():
            self.inputs[name][...] = array
        return self.run()
