"""The clip that everything is measured on: made once, H.264, of exactly the size and length asked for."""

from __future__ import annotations

import contextlib
import hashlib
import os
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np

from rtseg.build import build_source
from rtseg.config import SampleSource, SourceOptions
from rtseg.errors import ConfigError
from rtseg.frame import BT709
from rtseg.ops.arrays import U8, as_u8
from rtseg.ops.resize import resize
from rtseg.sinks.files import make_folder
from rtseg.types import Frame, Source

RATE = 30
SIZES = {"360p": (640, 360), "720p": (1280, 720), "1080p": (1920, 1080), "4K": (3840, 2160)}
_KEPT = {"preset": "medium", "crf": "20"}


def clip(folder: Path, size: tuple[int, int], frames: int, source: SourceOptions | None) -> Path:
    """`frames` frames of `source`, or of the built-in sample, at `size` (width, height), both even; kept in `folder`.

    A shorter source starts again from its beginning. Made under another name and renamed, so that an interrupted
    run leaves nothing half done. Raises what the source raises, and ConfigError for one without a frame.
    """
    made_from = f"{source!r} {_age(source)}" if source else "sample"
    key = hashlib.sha256(f"{made_from} {size} {frames} {RATE} {_KEPT}".encode()).hexdigest()[:12]
    path = folder / f"clip-{key}.mp4"
    if path.exists():
        return path
    make_folder(folder)
    part = path.with_name(f"part-{os.getpid()}-{path.name}")
    try:
        _write(part, size, frames, source)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    part.replace(path)
    return path


def _write(path: Path, size: tuple[int, int], frames: int, source: SourceOptions | None) -> None:
    count = 0
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options=dict(_KEPT))
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = 1, 1  # BT.709, limited
        while count < frames:
            before = count
            with contextlib.closing(_open(source, size, frames)) as opened:
                for frame in islice(opened, frames - count):
                    made = av.VideoFrame.from_ndarray(_scaled(frame, size), format="yuv420p")
                    made.pts, made.time_base = count, Fraction(1, RATE)
                    container.mux(stream.encode(made))
                    count += 1
            if count == before:
                raise ConfigError(f"{source} gives no frame: measure another input")
        container.mux(stream.encode(None))


def _open(source: SourceOptions | None, size: tuple[int, int], frames: int) -> Source:
    if source is None or source == SampleSource():
        return build_source(SampleSource(seconds=frames / RATE, size=size, rate=RATE))
    return build_source(source)


def _age(source: SourceOptions) -> list[int]:
    """When the files that a source reads were changed last."""
    paths = [getattr(source, "path", None), *(getattr(source, "paths", None) or ())]
    return [path.stat().st_mtime_ns for path in paths if isinstance(path, Path) and path.exists()]


def _scaled(frame: Frame, size: tuple[int, int]) -> U8:
    """A frame stretched to `size`, limited BT.709 4:2:0: uint8 of height * 3 / 2 x width, plane after plane."""
    half = (size[0] // 2, size[1] // 2)
    planes: tuple[U8, ...] = frame.planes
    if frame.size != size or frame.colour != BT709 or planes[1].shape != half[::-1]:
        y, u, v = cv2.split(frame.resized_yuv(size, BT709))
        planes = (as_u8(y), resize(as_u8(u), half), resize(as_u8(v), half))
    return np.concatenate([plane.ravel() for plane in planes]).reshape(size[1] * 3 // 2, size[0])


def repeated(clip_path: Path, frames: int) -> Path:
    """The same clip again and again until it has at least `frames` frames: packets copied, nothing encoded."""
    path = clip_path.with_name(f"{clip_path.stem}-x{frames}.mp4")
    if path.exists():
        return path
    part = path.with_name(f"part-{path.name}")
    count, shift = 0, 0
    with av.open(str(part), "w") as output:
        stream = None
        while count < frames:
            with av.open(str(clip_path)) as container:
                first = container.streams.video[0]
                stream = stream or output.add_stream_from_template(first)
                end = 0
                for packet in container.demux(first):
                    if packet.dts is None or packet.pts is None or packet.time_base is None:
                        continue
                    end = max(end, packet.pts + (packet.duration or 0))
                    packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                    output.mux(packet)
                    count += 1
                shift += end
    part.replace(path)
    return path


def picture(folder: Path, size: tuple[int, int]) -> Path:
    """A background picture: soft light, a few edges and a little grain, the same every time."""
    path = folder / f"background-{size[0]}x{size[1]}.png"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    width, height = size
    x, y = np.meshgrid(np.linspace(0, 1, width, dtype=np.float32), np.linspace(0, 1, height, dtype=np.float32))
    image = np.stack([110 + 90 * y, 150 + 60 * (1 - y) * x, 190 - 90 * y * x], axis=-1)
    for left in range(5):  # shelves against a wall
        start = (int(width * (0.05 + 0.19 * left)), int(height * (0.15 + 0.07 * (left % 3))))
        end = (start[0] + width // 8, height - height // 6)
        cv2.rectangle(image, start, end, (60.0 + 30 * left, 90.0, 160.0 - 25 * left), thickness=-1)
    image += np.random.default_rng(0).normal(0, 2, (height, width, 1)).astype(np.float32)
    cv2.imwrite(str(path), np.clip(image, 0, 255).astype(np.uint8))
    return path
