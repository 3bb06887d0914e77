"""ONNX Runtime's execution providers as data: their names, where their memory is, and every option with its reason.

Numbers such as #15005 are issues of github.com/microsoft/onnxruntime.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rtseg.errors import ConfigError

__all__ = ["AUTO", "INSTALL", "MEMORY", "PROVIDERS", "REASONS", "SHORT", "Wishes", "provider_options"]

PROVIDERS = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "dml": "DmlExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
"""Short name -> ONNX Runtime's name of every execution provider that can be asked for."""

SHORT = {name: short for short, name in PROVIDERS.items()}
AUTO = ("cuda", "coreml", "dml", "openvino", "cpu")
"""What "auto" tries, best first: without TensorRT, whose builds take minutes and which is asked for by name."""

MEMORY = {"tensorrt": "cuda", "cuda": "cuda"}
"""Provider -> ONNX Runtime's name of the memory that its buffers live in; all others take host memory."""

INSTALL = {
    "cuda": "pip install 'rtseg[cuda]' and an NVIDIA driver",
    "tensorrt": "pip install 'rtseg[cuda]' 'tensorrt-cu13>=10,<11' and an NVIDIA driver",
    "openvino": "pip install onnxruntime-openvino in place of onnxruntime",
    "coreml": "macOS with the onnxruntime wheel",
    "dml": "Windows with onnxruntime-directml in place of onnxruntime",
}

_COUNTED = ("cuda", "tensorrt", "dml")  # providers whose devices have numbers
_STREAMS = ("cuda", "tensorrt")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a caller asks of a provider, whichever it becomes.

    half: 16-bit floats (TensorRT only: others run the graph in the precision it is written in). device: number of the
    GPU. cuda_graph: a run is captured once and replayed. cache: folder for TensorRT's engines and timings, None for
    none. stream: address of a CUDA stream that the caller owns and keeps alive; None for the session's own.
    """

    half: bool = False
    device: int = 0
    cuda_graph: bool = True
    cache: Path | None = None
    stream: int | None = None

    def check(self, wanted: Sequence[str]) -> None:
        """ConfigError for what none of the wanted providers can do; "auto" stands for all that it tries."""
        possible = AUTO if tuple(wanted) == ("auto",) else wanted
        if self.device < 0:
            raise ConfigError(f"device must be 0 or more, not {self.device}: `nvidia-smi -L` lists them")
        for asked, option, able in (
            (self.half, "half", ("tensorrt",)),
            (self.device, f"device {self.device}", _COUNTED),
            (self.stream is not None, "stream", _STREAMS),
        ):
            if asked and not set(able) & set(possible):
                raise ConfigError(f"{option} needs one of the providers {', '.join(able)}, not {', '.join(wanted)}")


REASONS = {
    "device_id": "which GPU",
    "enable_cuda_graph": "hundreds of small kernels are launched as one; needs fixed shapes and addresses (#10859)",
    "cudnn_conv_algo_search": "the default, EXHAUSTIVE, searches anew for each shape: 15 times slower (#23006)",
    "do_copy_in_default_stream": "0 lets copies race with kernels (#4829)",
    "tunable_op_enable": "tuning would measure kernels while frames wait",
    "tunable_op_tuning_enable": "the same",
    "arena_extend_strategy": "growing to the next power of two would leave room for fewer sessions on a device",
    "has_user_compute_stream": "copies of the caller and kernels are in one order (#32673)",
    "user_compute_stream": "the same",
    "trt_fp16_enable": "only where it was asked for: masks change",
    "trt_cuda_graph_enable": "as enable_cuda_graph; replays are stale unless addresses are fixed (#20050)",
    "trt_engine_cache_enable": "a build takes minutes",
    "trt_engine_cache_path": "a folder a key, so that no engine is used on another GPU, driver or version (#16889)",
    "trt_timing_cache_enable": "a second build of the same layers takes seconds",
    "trt_timing_cache_path": "the same folder",
    "trt_force_sequential_engine_build": "builds beside each other have crashed (#27089)",
    "ModelFormat": "the older format lacks many operators, which would run on the CPU",
}
"""Why rtseg sets what it sets, by the option's name."""


def provider_options(name: str, wishes: Wishes) -> dict[str, str]:
    """ONNX Runtime's options for the provider of that short name; a test holds each against `REASONS`."""
    counted = {"device_id": str(wishes.device)}
    stream = (
        {} if wishes.stream is None else {"has_user_compute_stream": "1", "user_compute_stream": str(wishes.stream)}
    )
    match name:
        case "cuda":
            return (
                counted
                | stream
                | {
                    "enable_cuda_graph": _flag(wishes.cuda_graph),
                    "cudnn_conv_algo_search": "HEURISTIC",
                    "do_copy_in_default_stream": "1",
                    "tunable_op_enable": "0",
                    "tunable_op_tuning_enable": "0",
                    "arena_extend_strategy": "kSameAsRequested",
                }
            )
        case "tensorrt":
            cache = "" if wishes.cache is None else str(wishes.cache)
            kept = {
                "trt_engine_cache_enable": "1",
                "trt_engine_cache_path": cache,
                "trt_timing_cache_enable": "1",
                "trt_timing_cache_path": cache,
            }
            return (
                counted
                | stream
                | (kept if cache else {})
                | {
                    "trt_fp16_enable": _flag(wishes.half),
                    "trt_cuda_graph_enable": _flag(wishes.cuda_graph),
                    "trt_force_sequential_engine_build": "1",
                }
            )
        case "dml":
            return counted
        case "coreml":
            return {"ModelFormat": "MLProgram"}
        case _:
            return {}


def _flag(value: bool) -> str:
    return "1" if value else "0"
