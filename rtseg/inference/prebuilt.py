"""TensorRT's engines, built before they are needed and kept under a key of all that they depend on.

A build takes minutes and fits one graph, GPU, driver and set of libraries; on any other it is wrong or refused. So
each has a folder of its own, `tensorrt/KEY` in the cache folder, and another driver means another folder.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import multiprocessing
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtseg import store
from rtseg.errors import EngineError, ProviderUnavailable, RtsegError
from rtseg.inference.engine import OrtEngine
from rtseg.inference.sessions import runtime_versions

__all__ = ["Built", "Gpu", "clean", "environment", "folder_for", "key_of", "list_built", "prebuild", "read_gpu"]

log = logging.getLogger(__name__)

_ABOUT = "about.json"
_TENSORRT = ("tensorrt-cu13", "tensorrt", "tensorrt-cu12")
_QUERY = ("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
_TICK = 0.2

Builder = Callable[[Path, Mapping[str, Any], threading.Event], None]
"""Opens a graph's file with the options of `OrtEngine`, which builds; returns when it is done, or soon after the event
is set."""
Progress = Callable[[float, int], None]
"""Seconds so far, bytes in the cache so far."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as NVIDIA's driver names it, and that driver's version."""

    name: str
    driver: str


@dataclass(frozen=True, slots=True)
class Built:
    """A folder of the cache. about: what its key is made of, and the seconds of a build that came to its end."""

    folder: Path
    about: Mapping[str, Any]

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return _size(self.folder)

    @property
    def engines(self) -> int:
        """How many engines TensorRT left: one for each part of the graph that it took."""
        return len(list(self.folder.glob("*.engine")))


def read_gpu(device: int = 0) -> Gpu:
    """The GPU of that number; ProviderUnavailable where the driver's nvidia-smi is missing or does not know it."""
    try:
        done = subprocess.run(_QUERY, capture_output=True, text=True, timeout=20, check=True)
    except FileNotFoundError as error:
        raise ProviderUnavailable(
            "there is no nvidia-smi, so no NVIDIA GPU can be used here: install NVIDIA's driver, "
            "or start the container with --gpus all"
        ) from error
    except (subprocess.SubprocessError, OSError) as error:
        said = (getattr(error, "stdout", "") or getattr(error, "stderr", "") or str(error)).strip().partition("\n")[0]
        raise ProviderUnavailable(f"nvidia-smi does not work: {said}: reinstall NVIDIA's driver") from error
    rows = [line for line in done.stdout.splitlines() if line.strip()]
    if device >= len(rows):
        raise ProviderUnavailable(
            f"there is no GPU {device}: nvidia-smi lists {len(rows)}; give --device 0 or leave it"
        )
    name, _, driver = rows[device].rpartition(",")
    return Gpu(name.strip(), driver.strip())


def environment(gpu: Gpu) -> dict[str, str]:
    """What an engine depends on besides its graph and options: the GPU, its driver, and versions of libraries."""
    return {"gpu": gpu.name, "driver": gpu.driver, "tensorrt": _tensorrt(), **runtime_versions()}


def key_of(sha256: str, surroundings: Mapping[str, str], options: Mapping[str, Any]) -> str:
    """64 hexadecimal digits that differ where any of the three does: graph, `environment`, options of the build."""
    parts = json.dumps([sha256, dict(surroundings), dict(options)], sort_keys=True)
    return hashlib.sha256(parts.encode()).hexdigest()


def folder_for(sha256: str, *, name: str, half: bool, device: int) -> Path | None:
    """Where TensorRT keeps what it builds of the graph with that hash, made if need be; None for nowhere, said aloud.

    name: of the model, for the list. Says as well that nothing is there yet, since the run that follows then stands
    still for minutes.
    """
    try:
        gpu = read_gpu(device)
    except ProviderUnavailable as error:
        log.warning("what TensorRT builds is not kept: %s", error)
        return None
    built = _folder(sha256, name, gpu, half)
    if not built.engines:
        log.warning("TensorRT builds its engine now, which takes minutes: `rtseg models build` does it beforehand")
    return built.folder


def list_built() -> list[Built]:
    """Everything that is kept, finished or not, by folder name."""
    return [Built(folder, _read(folder)) for folder in sorted(_root().glob("*")) if folder.is_dir()]


def clean(device: int = 0) -> list[Built]:
    """Remove, and give back, what cannot be used any more: of another GPU, driver or version.

    With several GPUs only those like `device` are kept. Raises ProviderUnavailable where there is something, but no
    GPU to tell by.
    """
    if not (built := list_built()):
        return []
    now = environment(read_gpu(device))
    old = [one for one in built if any(one.about.get(name) != value for name, value in now.items())]
    for one in old:
        shutil.rmtree(one.folder)
    return old


def prebuild(
    path: Path,
    *,
    name: str,
    providers: tuple[str, ...] = ("tensorrt",),
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    half: bool = False,
    device: int = 0,
    build: Builder | None = None,
    progress: Progress | None = None,
) -> tuple[Built, bool]:
    """Have TensorRT build the engine of a graph's file into its folder; true if there was none yet.

    name: of the model, for the list. build: other than by a process of its own. Raises ProviderUnavailable and what
    `OrtEngine` raises; an unfinished folder is left for the timings in it, and built on.
    """
    built = _folder(store.sha256_of(path), name, read_gpu(device), half)
    if built.engines and "seconds" in built.about:
        return built, False
    settings = {"providers": providers, "shapes": shapes, "half": half, "device": device, "cache": built.folder}
    began = time.monotonic()
    _watched(lambda stop: (build or in_a_process)(path, settings, stop), built.folder, began, progress)
    if not Built(built.folder, {}).engines:
        raise EngineError(f"TensorRT built nothing for {path.name}: it takes none of its operators; use cuda instead")
    about = {**built.about, "seconds": round(time.monotonic() - began, 1)}
    _write(built.folder, about)
    return Built(built.folder, about), True


def _folder(sha256: str, name: str, gpu: Gpu, half: bool) -> Built:
    """The folder for that graph here and now, made if need be."""
    surroundings = environment(gpu)
    folder = _root() / key_of(sha256, surroundings, {"half": half})
    if not (about := _read(folder)):
        folder.mkdir(parents=True, exist_ok=True)
        about = {"name": name, "sha256": sha256, "half": half, **surroundings}
        _write(folder, about)
    return Built(folder, about)


def _write(folder: Path, about: Mapping[str, Any]) -> None:
    part = folder / f"{_ABOUT}.part"
    part.write_text(json.dumps(about, indent=1), encoding="utf-8")
    part.replace(folder / _ABOUT)


def _watched(work: Callable[[threading.Event], None], folder: Path, began: float, progress: Progress | None) -> None:
    """Do it in a thread, and report until it is done."""
    stop, done = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1, thread_name_prefix="rtseg-build") as pool:
        task = pool.submit(work, stop)
        task.add_done_callback(lambda _: done.set())
        try:
            while not done.wait(_TICK):
                if progress is not None:
                    progress(time.monotonic() - began, _size(folder))
        finally:
            stop.set()
        task.result()
    if progress is not None:
        progress(time.monotonic() - began, _size(folder))


def in_a_process(path: Path, settings: Mapping[str, Any], stop: threading.Event) -> None:
    """Build in a process of its own: ONNX Runtime holds the interpreter's lock for the whole of it (#27063)."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_build, args=(there, path, dict(settings)), daemon=True)
    process.start()
    there.close()
    try:
        while not here.poll(_TICK):
            if stop.is_set():
                return
        failure = here.recv()
    except EOFError:
        process.join()
        raise EngineError(
            f"the build of {path.name} ended with code {process.exitcode}: is there enough memory on the GPU?"
        ) from None
    finally:
        process.terminate()
        process.join()
        here.close()
    if failure is not None:
        raise failure


def _build(answer: Any, path: Path, settings: dict[str, Any]) -> None:
    try:
        OrtEngine(path, **settings, timeout=None)
    except RtsegError as error:
        answer.send(error)
    else:
        answer.send(None)


def _root() -> Path:
    return store.cache_folder() / "tensorrt"


def _read(folder: Path) -> dict[str, Any]:
    try:
        about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return about if isinstance(about, dict) else {}


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*") if file.is_file())


def _tensorrt() -> str:
    for package in _TENSORRT:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "not by pip"
