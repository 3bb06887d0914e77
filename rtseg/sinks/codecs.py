"""Which video codecs there are, what each can hold, and how a user names them: `h264:preset=fast,crf=18`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from rtseg.device import CUDA
from rtseg.errors import ConfigError

Container: TypeAlias = Literal["mp4", "mov", "matroska", "webm"]

CONTAINERS: Mapping[str, Container] = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
}


@dataclass(frozen=True, slots=True)
class CodecChoice:
    """What the user asked for: a name of `CODECS` or "auto", and options handed to the encoder."""

    name: str = "auto"
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Codec:
    """One encoder with the settings that rtseg gives it where the user says nothing.

    format: FFmpeg's pixel format, `alpha_format` the one for pictures with alpha, None where it has no alpha.
    even: the sides must be even. full_range: can say that its samples are full range. least: the smallest side.
    delay: options that make the encoder hold back no more than so many frames, given the options that are set.
    hardware: FFmpeg's name of the device that the encoder needs, None for software. takes: DLPack's type of the
    devices whose pictures it encodes where they lie, None where all come to the host first.
    """

    name: str
    encoder: str
    containers: frozenset[Container]
    format: str
    options: Mapping[str, str]
    alpha_format: str | None = None
    even: bool = True
    full_range: bool = True
    least: int = 2
    delay: Callable[[int, Mapping[str, str]], Mapping[str, str]] = lambda _frames, _options: {}
    hardware: str | None = None
    takes: int | None = None


def is_fast(options: Mapping[str, str]) -> bool:
    """Whether options of x264 make it look ahead by no more than a frame or two."""
    return options.get("preset") in ("ultrafast", "superfast") or "zerolatency" in options.get("tune", "")


def _x264_delay(frames: int, options: Mapping[str, str]) -> Mapping[str, str]:
    if is_fast(options):
        return {}
    if frames < 3:
        return {"tune": "zerolatency"}
    return {"rc-lookahead": str(min(8, frames - 1)), "bf": "2", "x264-params": "sync-lookahead=0"}


def _x265_delay(frames: int, _options: Mapping[str, str]) -> Mapping[str, str]:
    b_frames = min(2, max(0, frames - 2))
    lookahead = max(b_frames + 1, min(8, frames - 1))
    quiet = "log-level=error:frame-threads=1"
    return {"x265-params": f"{quiet}:rc-lookahead={lookahead}:bframes={b_frames}"}


def _vpx_delay(frames: int, _options: Mapping[str, str]) -> Mapping[str, str]:
    return {"lag-in-frames": str(min(8, frames) if frames >= 3 else 0)}


# NVENC holds back a frame for each of its surfaces unless told otherwise, and makes 2 Mbit/s unless "b" is 0.
_NVENC = {
    "preset": "p4",
    "tune": "ll",
    "rc": "vbr",
    "cq": "23",
    "b": "0",
    "bf": "0",
    "delay": "0",
    "zerolatency": "1",
    "forced-idr": "1",
}
_ALL: frozenset[Container] = frozenset({"mp4", "mov", "matroska"})

# Quality: x264 at veryfast, crf 20 is visually clean and takes 18 CPU-ms for a busy 720p frame (2 for a still one);
# superfast takes 11 at 20 % more bits, ultrafast 4 at twice the bits (same PSNR). The others are set to a like
# quality at the fastest setting that is still smaller than x264.
CODECS: Mapping[str, Codec] = {
    codec.name: codec
    for codec in (
        Codec(
            "h264",
            "libx264",
            frozenset({"mp4", "mov", "matroska"}),
            "yuv420p",
            {"preset": "veryfast", "crf": "20", "forced-idr": "1"},
            delay=_x264_delay,
        ),
        Codec(
            "h265",
            "libx265",
            frozenset({"mp4", "mov", "matroska"}),
            "yuv420p",
            {"preset": "superfast", "crf": "24", "forced-idr": "1"},
            least=16,
            delay=_x265_delay,
        ),
        Codec(
            "av1",
            "libsvtav1",
            frozenset({"mp4", "matroska", "webm"}),
            "yuv420p",
            # SVT-AV1 4.1 now and then hangs, or gives packets out of order, in its low-delay mode (pred-struct=1) and
            # with more than one level of parallelism. This holds back ten frames, whatever the rate.
            {
                "preset": "10",
                "crf": "32",
                "svtav1-params": "pred-struct=2:hierarchical-levels=2:lookahead=0:enable-tf=0:lp=1",
            },
            least=4,
        ),
        Codec(
            "vp9",
            "libvpx-vp9",
            frozenset({"mp4", "matroska", "webm"}),
            "yuv420p",
            {
                "crf": "30",
                "b": "0",
                "deadline": "realtime",
                "cpu-used": "6",
                "row-mt": "1",
                "auto-alt-ref": "0",  # libvpx cannot do it with alpha, and it holds frames back
            },
            alpha_format="yuva420p",
            even=False,
            least=1,
            delay=_vpx_delay,
        ),
        Codec(
            "prores4444",
            "prores_ks",
            frozenset({"mov", "matroska"}),
            "yuva444p10le",
            {"profile": "4444", "alpha_bits": "8", "vendor": "apl0"},
            alpha_format="yuva444p10le",
            even=False,
            full_range=False,
            least=1,
        ),
        # Hardware: near the quality of h264, and nothing held back. None of it has run where this was written.
        Codec("h264_nvenc", "h264_nvenc", _ALL, "yuv420p", _NVENC, hardware="cuda", takes=CUDA),
        Codec("hevc_nvenc", "hevc_nvenc", _ALL, "yuv420p", _NVENC, hardware="cuda", takes=CUDA),
        Codec(
            "av1_nvenc",
            "av1_nvenc",
            frozenset({"mp4", "matroska", "webm"}),
            "yuv420p",
            {**_NVENC, "cq": "32"},
            hardware="cuda",
            takes=CUDA,
        ),
        Codec(
            "h264_vaapi",
            "h264_vaapi",
            _ALL,
            "yuv420p",
            {"rc_mode": "CQP", "qp": "23", "bf": "0", "async_depth": "1"},
            hardware="vaapi",
        ),
        Codec(
            "h264_videotoolbox",
            "h264_videotoolbox",
            _ALL,
            "yuv420p",
            {"realtime": "1", "q:v": "60", "bf": "0"},
            full_range=False,
            hardware="videotoolbox",
        ),
    )
}


def parse_codec(text: str) -> CodecChoice:
    """`NAME[:key=value,...]` as a choice, such as `h264:preset=ultrafast,tune=zerolatency,crf=20`.

    The keys are the encoder's own options, and `threads`. Raises ConfigError with the names that are allowed.
    """
    name, colon, rest = text.strip().partition(":")
    _require_known(name)
    options: dict[str, str] = {}
    for item in rest.split(",") if colon else ():
        key, equals, value = item.partition("=")
        if not (key.strip() and equals and value.strip()):
            raise ConfigError(f"codec option {item!r} of {text!r} is not key=value: write for instance h264:crf=18")
        options[key.strip()] = value.strip()
    return CodecChoice(name, options)


def container_of(path: str | os.PathLike[str]) -> Container:
    """The container that the extension of `path` names; ConfigError with those that are known."""
    suffix = Path(path).suffix.lower()
    if suffix not in CONTAINERS:
        raise ConfigError(
            f"{os.fspath(path)!r} does not say what kind of video to write: end the name with {_one_of(CONTAINERS)}"
        )
    return CONTAINERS[suffix]


def choose(choice: CodecChoice, container: Container, *, alpha: bool = False) -> Codec:
    """The codec for a choice: "auto" goes by the container and by whether pictures have alpha.

    Raises ConfigError where the container cannot hold the codec, or the codec no alpha.
    """
    _require_known(choice.name)
    codec = CODECS[_auto(container, alpha=alpha) if choice.name == "auto" else choice.name]
    if container not in codec.containers:
        held = _one_of(c.name for c in CODECS.values() if container in c.containers and c.hardware is None)
        fits = _one_of(suffix for suffix, kind in CONTAINERS.items() if kind in codec.containers)
        raise ConfigError(
            f"{container} cannot hold {codec.name}: use the codec {held}, or a file name that ends with {fits}"
        )
    if alpha and codec.alpha_format is None:
        able = _one_of(c.name for c in CODECS.values() if c.alpha_format is not None)
        raise ConfigError(
            f"{codec.name} in {container} has no transparency: use the codec {able} (.mov, .webm or .mkv), "
            "or a background that is not transparent"
        )
    return codec


def _auto(container: Container, *, alpha: bool) -> str:
    if container == "webm" or (alpha and container == "matroska"):
        return "vp9"
    return "prores4444" if alpha and container == "mov" else "h264"


def _require_known(name: str) -> None:
    if name != "auto" and name not in CODECS:
        raise ConfigError(f"unknown codec {name!r}: use {_one_of(('auto', *CODECS))}")


def _one_of(names: Iterable[str]) -> str:
    words = list(names)
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
