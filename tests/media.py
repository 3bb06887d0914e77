"""Small media files, made on the spot, whose every sample is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

RATE = 25
TIME_BASE = Fraction(1, RATE)


def picture(index: int = 0, *, size: tuple[int, int] = (64, 48), pixel_format: str = "yuv420p") -> av.VideoFrame:
    """A picture of 8-bit planes, different in every corner and for every index."""
    frame = av.VideoFrame(*size, pixel_format)
    for number, plane in enumerate(frame.planes):
        y, x = np.mgrid[: plane.height, : plane.width]
        values = (60 + 20 * number + 5 * index + x * 120 // plane.width + y * 40 // plane.height) % 256
        fill(plane, values.astype(np.uint8))
    return frame


def fill(plane: Any, values: NDArray[Any]) -> None:
    """Write samples of any depth into a plane, leaving the padding of its lines alone."""
    lines: NDArray[Any] = np.frombuffer(plane, values.dtype).reshape(plane.height, -1)
    lines[:, : values.shape[1]] = values


def samples(frame: av.VideoFrame) -> list[NDArray[np.uint8]]:
    """The 8-bit planes of a decoded frame, copied."""
    planes: Sequence[Any] = frame.planes
    return [np.frombuffer(p, np.uint8).reshape(-1, p.line_size)[: p.height, : p.width].copy() for p in planes]


def write_video(
    path: Path,
    frames: Iterable[av.VideoFrame],
    *,
    codec: str = "ffv1",
    pts: Sequence[int] | None = None,
    time_base: Fraction = TIME_BASE,
    options: Mapping[str, str] | None = None,
    container_options: Mapping[str, str] | None = None,
    turned: float | None = None,
    mirrored: bool = False,
    tags: Mapping[str, int] | None = None,
) -> Path:
    """A video of these frames; FFV1 keeps every sample. tags: colorspace, color_range, color_trc of the stream."""
    with av.open(str(path), "w", container_options=dict(container_options or {})) as container:
        stream: Any = None
        for index, frame in enumerate(frames):
            if stream is None:
                stream = container.add_stream(codec, rate=RATE)
                stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, frame.format.name
                stream.time_base = stream.codec_context.time_base = time_base
                stream.codec_context.options = dict(options or {})
                for name, value in (tags or {}).items():
                    setattr(stream.codec_context, name, value)
                if turned is not None:
                    stream.set_display_rotation(turned, hflip=mirrored)
            frame.pts, frame.time_base = index if pts is None else pts[index], time_base
            for name, value in (tags or {}).items():
                setattr(frame, name, value)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_picture(path: Path, frame: av.VideoFrame, *, codec: str) -> Path:
    """A picture file: the one packet of an encoder."""
    context: Any = av.CodecContext.create(codec, "w")
    context.width, context.height, context.pix_fmt = frame.width, frame.height, frame.format.name
    context.time_base = TIME_BASE
    if frame.format.name.startswith("yuvj"):
        context.color_range = 2
    frame.pts = 0
    path.write_bytes(b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)]))
    return path
