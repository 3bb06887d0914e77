"""Which encoders work on this machine, which of them take pictures of a device, and how many threads they get."""

from __future__ import annotations

import os
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from typing import Any

from av.codec import Codec as Encoder
from av.codec.codec import UnknownCodecError
from av.codec.context import CodecContext
from av.codec.hwaccel import HWAccel
from av.error import FFmpegError

from rtseg.errors import ConfigError
from rtseg.sinks.codecs import CODECS, Codec, CodecChoice, Container, choose, is_fast
from rtseg.types import Size


def has_encoder(codec: Codec) -> bool:
    """Whether the FFmpeg that is installed has the codec's encoder; one of hardware may still not open."""
    try:
        Encoder(codec.encoder, "w")
    except (FFmpegError, ValueError):
        return False
    return True


@cache
def why_closed(name: str) -> str | None:
    """Why the hardware encoder of that name cannot be used here, None where it can: one is opened, once a process.

    FFmpeg lists encoders whose driver or device is missing, and some GPUs for data centres have no encoder at all.
    """
    codec = CODECS[name]
    try:
        hardware = uploader_of(codec)
        context: Any = CodecContext.create(codec.encoder, "w", hwaccel=hardware)
        context.width, context.height, context.pix_fmt = 640, 480, "nv12" if hardware else codec.format
        context.time_base, context.framerate = Fraction(1, 30), Fraction(30)
        context.open()
    except UnknownCodecError:
        return "this FFmpeg does not have it"
    except (FFmpegError, NotImplementedError, OSError, ValueError) as error:
        return str(error) or type(error).__name__
    return None


def check_encoder(codec: Codec) -> None:
    """Raise ConfigError for an encoder whose hardware does not work here."""
    if codec.hardware is not None and (reason := why_closed(codec.name)) is not None:
        raise ConfigError(
            f"the encoder {codec.name} cannot be used here ({reason}): install its driver, or use auto or h264"
        )


def encoder_on(device: int, choice: CodecChoice, container: Container) -> tuple[Codec | None, str]:
    """What "auto" takes for pictures of such a device (DLPack's type), or None and why they have to leave it.

    H.264 alone, and only where no option was given, which would be another encoder's.
    """
    able = [codec for codec in CODECS.values() if codec.takes == device and container in codec.containers]
    if not able or choose(choice, container).name != "h264":
        return None, "no encoder there writes what was asked for"
    if choice.options:
        return None, "the options given are another encoder's"
    reason = why_closed(able[0].name) if able[0].hardware is not None else None
    return (able[0], "") if reason is None else (None, f"{able[0].name} cannot be used here ({reason})")


def uploader_of(codec: Codec) -> HWAccel | None:
    """What brings pictures to an encoder's device where it does not do that itself."""
    return HWAccel("vaapi") if codec.hardware == "vaapi" else None


def threads_for(wish: str | None, options: Mapping[str, str], size: Size) -> int:
    """How many slices of a frame are encoded side by side: they hold no frame back and take little memory.

    x264's fast presets take 13 % more CPU with two than with one (8.0 and 7.1 CPU-ms for a 720p frame), and one is
    enough for them up to 1080p; slower presets take no more (32.8 and 34.9 CPU-ms), and half the time.
    """
    if wish is not None:
        if wish != "auto" and not wish.isdecimal():
            raise ConfigError(f"threads={wish} is no number: write threads=2, or threads=auto for one a processor")
        return 0 if wish == "auto" else int(wish)
    if is_fast(options) and size.width * size.height <= 1920 * 1088:
        return 1
    return min(4, os.cpu_count() or 1)
