"""Small videos for the tests of the sources: known pixels, times and turns."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

Planes: TypeAlias = tuple[NDArray[np.uint8], ...]
LOSSLESS = {"qp": "0", "preset": "ultrafast"}
"""x264 that gives back every pixel."""


def noise(size: tuple[int, int], *, pix_fmt: str = "yuv420p", seed: int = 0) -> Planes:
    """Planes in which no two places look alike, 16..235."""
    width, height = size
    sx, sy = {"yuv420p": (2, 2), "yuv422p": (2, 1), "yuv444p": (1, 1)}[pix_fmt]
    chroma = (-(-height // sy), -(-width // sx))
    random = np.random.default_rng(seed)
    return tuple(random.integers(16, 236, shape, np.uint8) for shape in ((height, width), chroma, chroma))


def write_video(
    path: Path,
    pictures: Sequence[Planes],
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: Mapping[str, str] = LOSSLESS,
    pts: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 30),
    rate: Fraction = Fraction(30),
    matrix: Sequence[int] | None = None,
    colour: tuple[int, int] | None = None,
    pixel: Fraction | None = None,
    container: Mapping[str, str] | None = None,
    audio: bool = False,
) -> Path:
    """A file of these planes. matrix: a display matrix of 9 fixed-point numbers. colour: matrix and range, as numbers
    of H.273 and FFmpeg. pixel: its aspect ratio. audio: a second stream of silence."""
    height, width = pictures[0][0].shape
    with av.open(str(path), "w", container_options=dict(container or {})) as output:
        stream = output.add_stream(codec, rate=rate, options=dict(options))
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt, stream.codec_context.time_base = width, height, pix_fmt, time_base
        if matrix is not None:
            stream.set_display_matrix(matrix)
        if pixel is not None:
            stream.codec_context.sample_aspect_ratio = pixel
        if colour is not None:
            stream.codec_context.colorspace, stream.codec_context.color_range = colour
        sound = output.add_stream("aac", rate=48_000) if audio else None
        for number, planes in enumerate(pictures):
            frame = video_frame(planes, pix_fmt)
            frame.pts, frame.time_base = (number if pts is None else pts[number]), time_base
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if sound is not None:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 2048), np.float32), format="fltp", layout="mono")
            silence.sample_rate, silence.pts = 48_000, 0
            output.mux(sound.encode(silence))
            output.mux(sound.encode(None))
    return path


def video_frame(planes: Planes, pix_fmt: str) -> av.VideoFrame:
    """FFmpeg's frame of these planes."""
    height, width = planes[0].shape
    frame = av.VideoFrame(width, height, pix_fmt)
    for plane, pixels in zip(frame.planes, planes, strict=True):
        lines = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        octets = np.ascontiguousarray(pixels).view(np.uint8)
        lines[: octets.shape[0], : octets.shape[1]] = octets
    return frame


def moving(count: int, size: tuple[int, int] = (64, 48), *, pix_fmt: str = "yuv420p") -> list[Planes]:
    """A different picture of noise for each frame."""
    return [noise(size, pix_fmt=pix_fmt, seed=number) for number in range(count)]


def in_child(script: str, *arguments: str) -> str:
    """What a Python script prints, in a process of its own."""
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def open_files() -> int:
    """How many files this process holds open."""
    return len(list(Path("/proc/self/fd").iterdir()))
