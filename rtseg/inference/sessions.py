"""Sessions of ONNX Runtime that run where they were asked to run, or say why they do not."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnxruntime as ort

from rtseg.errors import ConfigError, ModelNotFound, ModelRejected, OutOfMemory, ProviderUnavailable
from rtseg.inference.gate import GATE
from rtseg.inference.providers import AUTO, INSTALL, MEMORY, PROVIDERS, SHORT, Wishes, provider_options

log = logging.getLogger(__name__)

SILENT = 4  # log only what is fatal: every other failure reaches the caller as an exception
_WARNING = 2  # ONNX Runtime's default
NO_ROOM = re.compile(r"out of memory|failed to allocate memory|bad[ _]alloc|CUDNN_STATUS_ALLOC_FAILED", re.IGNORECASE)
"""What CUDA, cuDNN, TensorRT and ONNX Runtime's arena say when a device has no room left."""
_NO_CAPTURE = re.compile(r"graph capture|cuda graph|capturing", re.IGNORECASE)
"""What ONNX Runtime says of graphs that it cannot capture: with control flow, or with nodes on the CPU."""
_BUILDS = threading.Lock()  # TensorRT's sessions made at the same time have crashed: onnxruntime#27089


@dataclass(frozen=True, eq=False, slots=True)
class Opened:
    """A session and what became of the wishes: name is the short name of its best provider."""

    session: Any
    name: str
    wishes: Wishes

    @property
    def memory(self) -> str:
        """Where its buffers belong: "cuda" or "cpu"."""
        return MEMORY.get(self.name, "cpu")


def available_providers() -> tuple[str, ...]:
    """Short names of the providers that this build of ONNX Runtime contains; their libraries may still be missing."""
    return tuple(SHORT[name] for name in ort.get_available_providers() if name in SHORT)


def runtime_versions() -> dict[str, str]:
    """Versions of ONNX Runtime and of what it was built with, by name; what a kept engine depends on."""
    built = {name: str(getattr(ort, f"{name}_version", "") or "") for name in ("cuda", "cudnn")}
    return {"onnxruntime": str(ort.__version__), **{name: version for name, version in built.items() if version}}


def first_line(error: Exception) -> str:
    """What an exception says, without what follows about files and lines."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def open_session(path: Path, wanted: tuple[str, ...], wishes: Wishes, *, threads: int, spinning: bool) -> Opened:
    """A session on exactly the wanted providers, best first, or ("auto",) for the best that works.

    A graph that cannot be captured loses `wishes.cuda_graph`, with a warning. Raises `ModelNotFound`,
    `ModelRejected`, `ConfigError`, `OutOfMemory` for a full device, and `ProviderUnavailable` where the session, or
    most of its nodes, would run elsewhere.
    """
    wishes.check(wanted)
    if not path.is_file():
        raise ModelNotFound(f"{path} is not a file: an ONNX model is loaded from a file of its own")
    if wanted != ("auto",):
        return _open_with(path, wanted, wishes, threads=threads, spinning=spinning)
    for name in (name for name in AUTO if name in available_providers()):
        try:
            opened = _open_with(path, (name,), wishes, threads=threads, spinning=spinning)
        except ProviderUnavailable as error:
            log.info("auto: passed over %s: %s", name, error)
        else:
            log.info("auto: %s runs on %s", path.name, name)
            return opened
    raise ProviderUnavailable("no provider of ONNX Runtime works here, not even cpu: reinstall onnxruntime")


def _open_with(path: Path, wanted: tuple[str, ...], wishes: Wishes, *, threads: int, spinning: bool) -> Opened:
    if not wanted or (unknown := [name for name in wanted if name not in PROVIDERS]):
        allowed = ", ".join(PROVIDERS)
        raise ConfigError(f"unknown provider {', '.join(unknown) if wanted else '()'}: use {allowed} or auto alone")
    for name in wanted:
        if name not in available_providers():
            raise unavailable(name, "this build of ONNX Runtime does not contain it")
    wishes = replace(wishes, cuda_graph=wishes.cuda_graph and bool(set(MEMORY) & set(wanted)))
    missed = ""
    ort.set_default_logger_severity(SILENT)
    try:
        if set(MEMORY) & set(wanted):
            missed = _preload()
        try:
            session = _session(path, wanted, wishes, threads=threads, spinning=spinning)
        except Exception as error:  # what it raises is no closed list
            if not (wishes.cuda_graph and _NO_CAPTURE.search(str(error))):
                raise
            log.warning("%s runs without CUDA graphs, since it cannot be captured: %s", path.name, first_line(error))
            wishes = replace(wishes, cuda_graph=False)
            session = _session(path, wanted, wishes, threads=threads, spinning=spinning)
    except Exception as error:  # besides its own, UnicodeDecodeError for some broken files
        if wanted != ("cpu",) and _loads_on_cpu(path):
            if NO_ROOM.search(str(error)):
                raise OutOfMemory(f"{path.name} does not fit on {wanted[0]}: {first_line(error)}") from error
            raise unavailable(wanted[0], first_line(error)) from error
        raise ModelRejected(f"{path} is not a usable ONNX model: {first_line(error)}") from error
    finally:
        ort.set_default_logger_severity(_WARNING)
    for name in wanted:
        if PROVIDERS[name] not in session.get_providers():
            raise unavailable(name, missed or "the session does not report it")
    if wanted[0] != "cpu":
        _check_assignment(path, session, wanted)
    return Opened(session, wanted[0], wishes)


def _session(path: Path, wanted: Sequence[str], wishes: Wishes, *, threads: int = 1, spinning: bool = False) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = SILENT
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    if wanted[0] != "cpu":
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    if "dml" in wanted:
        options.enable_mem_pattern = False  # DirectML has no use for patterns and refuses them
    # Never session.set_denormal_as_zero: it changes the arithmetic of the calling thread, and of those it starts.
    with contextlib.ExitStack() as held:
        if "tensorrt" in wanted:
            held.enter_context(_BUILDS)
        if set(MEMORY) & set(wanted):
            held.enter_context(GATE.working())
        return ort.InferenceSession(
            str(path),
            options,
            providers=[PROVIDERS[name] for name in wanted],
            provider_options=[provider_options(name, wishes) for name in wanted],
            enable_fallback=0,
        )


def _check_assignment(path: Path, session: Any, wanted: Sequence[str]) -> None:
    """Say how many nodes run on the CPU after all; ProviderUnavailable for more than half of them."""
    nodes = [
        (part.ep_name, node.op_type)
        for part in session.get_provider_graph_assignment_info()
        for node in part.get_nodes()
    ]
    strays = Counter(kind for provider, kind in nodes if provider == PROVIDERS["cpu"])
    if not strays:
        return
    kinds = ", ".join(f"{number} {kind}" for kind, number in strays.most_common(3))
    share = f"{strays.total()} of {len(nodes)} nodes of {path.name} would run on the CPU ({kinds}, ...)"
    if 2 * strays.total() > len(nodes) and "cpu" not in wanted:
        raise unavailable(wanted[0], f"{share}: ask for cpu, or export the model with operators that {wanted[0]} has")
    log.warning("%s: tensors go over the bus there and back", share.replace("would run", "run"))


def _loads_on_cpu(path: Path) -> bool:
    """Whether the graph itself is sound, so that a failure elsewhere is the provider's."""
    try:
        _session(path, ("cpu",), Wishes())
    except Exception:  # as in _open_with: what broken files raise is no closed list
        return False
    return True


def unavailable(name: str, reason: str) -> ProviderUnavailable:
    """The error for a provider that cannot be used, with what it needs."""
    return ProviderUnavailable(
        f"provider {name!r} cannot be used: {reason}. It needs {INSTALL.get(name, 'another onnxruntime')}; "
        f"built in here: {', '.join(available_providers())}; 'auto' takes the best that works"
    )


def _preload() -> str:
    """Load the CUDA libraries that pip installed; what is missing ONNX Runtime only prints: its first line."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        ort.preload_dlls()
    return next(iter(said.getvalue().strip().splitlines()), "")
