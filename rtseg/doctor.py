"""Looks at the machine: what is installed, what really works, and how to get the rest."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from rtseg.errors import RtsegError
from rtseg.registry import explain_import

State: TypeAlias = Literal["ok", "missing", "broken"]

_CORE = ("numpy", "cv2", "av", "onnxruntime", "onnx", "pydantic", "rich", "typer")
_EXTRAS = {"skimage": ("demo", "the built-in sample"), "torch": ("train", "training")}
_PACKAGES = {"skimage": ("scikit-image",), "cv2": ("opencv-python", "opencv-python-headless")}
_DEVICES = Path("/dev")
_HARDWARE = {
    "cuda": "an NVIDIA GPU with an encoder, and its driver",
    "vaapi": "an Intel or AMD GPU and its driver, and PyAV built with VAAPI: pip install --no-binary av av",
    "videotoolbox": "macOS",
}
"""How to get the hardware of an encoder."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was tried. state "missing": rtseg works without it; "broken": it does not; fix: how to get it."""

    what: str
    state: State
    detail: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """All checks by topic, in the order in which they are shown."""

    topics: dict[str, list[Check]] = field(default_factory=dict)

    @property
    def broken(self) -> list[Check]:
        """What keeps rtseg from working."""
        return [check for checks in self.topics.values() for check in checks if check.state == "broken"]


def examine() -> Report:
    """Try everything; never raises for what it finds."""
    report = Report()
    report.topics["system"] = [
        Check("rtseg", "ok", _version("rtseg") or "not installed, run from its folder"),
        Check("python", "ok", f"{platform.python_version()} ({sys.executable})"),
        Check("platform", "ok", platform.platform()),
        Check("processors", "ok", f"{_processors()} usable"),
        Check("memory", "ok", _memory()),
    ]
    report.topics["packages"] = [*map(_core, _CORE), *(_extra(name, *about) for name, about in _EXTRAS.items())]
    if not report.broken:  # all that follows stands on these
        report.topics["packages"].append(_loops())
        report.topics["models"] = _models()
        report.topics["providers"] = [*_providers(), _gpu()]
        report.topics["codecs"] = _codecs()
    report.topics["cameras"] = _cameras()
    return report


def _gpu() -> Check:
    from rtseg.inference.prebuilt import read_gpu

    try:
        gpu = read_gpu()
    except RtsegError as error:
        return Check("gpu", "missing", str(error), fix="only needed for the providers cuda and tensorrt")
    return Check("gpu", "ok", f"{gpu.name}, driver {gpu.driver}")


def _core(module: str) -> Check:
    try:
        imported = importlib.import_module(module)
    except ImportError as error:
        return Check(module, "broken", str(error), fix=str(explain_import(error)).rpartition(": ")[2])
    except Exception as error:
        return Check(module, "broken", f"{type(error).__name__}: {error}", fix="reinstall it")
    version = getattr(imported, "__version__", None) or _version(*_PACKAGES.get(module, (module,))) or "?"
    ffmpeg = getattr(imported, "ffmpeg_version_info", None)
    return Check(module, "ok", f"{version} (FFmpeg {ffmpeg})" if ffmpeg else version)


def _extra(module: str, extra: str, purpose: str) -> Check:
    version = _version(*_PACKAGES.get(module, (module,)))
    if version is None:
        return Check(module, "missing", f"only needed for {purpose}", fix=f"pip install 'rtseg[{extra}]'")
    return Check(module, "ok", version)


def _loops() -> Check:
    from rtseg.ops.kernels import COMPILED

    if COMPILED:
        return Check("compiled loops", "ok", "in use")
    fix = "install a C compiler and rtseg again, and unset RTSEG_KERNELS"
    return Check("compiled loops", "missing", "frames cost about a tenth more", fix=fix)


def _version(*packages: str) -> str | None:
    """Of the first of these packages that is installed."""
    for package in packages:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> str:
    try:
        rows = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
        total, free = (int(rows[key].split()[0]) / 2**20 for key in ("MemTotal", "MemAvailable"))
    except (OSError, KeyError, ValueError):
        return "unknown on this system"
    return f"{free:.1f} of {total:.1f} GiB free; a run at 1280x720 takes less than half a GiB"


def _models() -> list[Check]:
    from rtseg import store

    checks = []
    for card in store.list_cards():
        ours = card.name == "portrait"  # what all else falls back on
        try:
            checks.append(Check(card.name, "ok", str(store.verify(card))))
        except FileNotFoundError:
            fix = f"rtseg models pull {card.name}" if card.url else f"put {card.file} into a folder of RTSEG_MODELS"
            checks.append(Check(card.name, "broken" if ours else "missing", "weights are not here", fix=fix))
        except RtsegError as error:
            checks.append(Check(card.name, "broken" if ours else "missing", str(error), fix="get the weights again"))
    return checks


def _providers() -> list[Check]:
    """Each provider of this build runs the portrait model once: being listed is no proof."""
    from rtseg import store
    from rtseg.inference.engine import OrtEngine, available_providers

    checks = []
    for name in available_providers():
        try:
            OrtEngine(store.verify(store.find_card("portrait")), providers=(name,), warmup=1)
        except RtsegError as error:
            checks.append(Check(name, "broken" if name == "cpu" else "missing", str(error)))
        else:
            checks.append(Check(name, "ok", "ran the portrait model"))
    return checks


def _codecs() -> list[Check]:
    from rtseg.sinks.codecs import CODECS
    from rtseg.sinks.encoders import has_encoder, why_closed

    checks = []
    for codec in CODECS.values():
        if codec.hardware is not None:  # each is opened once: being listed is no proof
            reason = why_closed(codec.name)
            found = Check(codec.name, "ok", f"opens on {codec.hardware}")
            checks.append(Check(codec.name, "missing", reason, fix=_HARDWARE[codec.hardware]) if reason else found)
        elif has_encoder(codec):
            checks.append(Check(codec.name, "ok", codec.encoder))
        else:
            state: State = "broken" if codec.name == "h264" else "missing"
            fix = "pip install --force-reinstall --only-binary av av"
            checks.append(Check(codec.name, state, f"this FFmpeg has no {codec.encoder}", fix=fix))
    return checks


def _cameras() -> list[Check]:
    found = sorted(_DEVICES.glob("video*"))
    if not found:
        return [
            Check("cameras", "missing", "no /dev/video*", fix="plug one in; in a container pass --device /dev/video0")
        ]
    return [
        Check(str(path), "ok", "can be opened")
        if os.access(path, os.R_OK | os.W_OK)
        else Check(str(path), "missing", "may not be opened", fix="sudo usermod -aG video $USER, then log in again")
        for path in found
    ]
