"""The clip that everything is measured on: made once, H.264, of exactly the size and length asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np

RATE = 30
SIZES = {"360p": (640, 360), "720p": (1280, 720), "1080p": (1920, 1080)}
_KEPT = {"preset": "medium", "crf": "20"}


def clip(folder: Path, size: tuple[int, int], frames: int, source: Path | None) -> Path:
    """`frames` frames of `source`, or of the built-in sample, at `size` (width, height); kept in `folder`.

    A shorter source starts again from its beginning. Made under another name and renamed, so that an interrupted
    run leaves nothing half done.
    """
    made_from = f"{source.resolve()} {source.stat().st_mtime_ns}" if source else "sample"
    key = hashlib.sha256(f"{made_from} {size} {frames} {RATE} {_KEPT}".encode()).hexdigest()[:12]
    path = folder / f"clip-{key}.mp4"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"part-{path.name}")
    count = 0
    with av.open(str(part), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options=dict(_KEPT))
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = 1, 1  # BT.709, limited
        while count < frames:
            before = count
            for frame in islice(_frames(source, size, frames), frames - count):
                frame.pts, frame.time_base = count, Fraction(1, RATE)
                frame.pict_type = 0
                container.mux(stream.encode(frame))
                count += 1
            if count == before:
                raise ValueError(f"{source} has no video frame: give another --input")
        container.mux(stream.encode(None))
    part.replace(path)
    return path


def _frames(source: Path | None, size: tuple[int, int], frames: int) -> Iterator[av.VideoFrame]:
    if source is None:
        from rtseg.sources.sample import Sample

        for made in Sample(seconds=frames / RATE, size=size, rate=RATE):
            y, u, v = made.planes
            joined = np.concatenate([y.ravel(), u.ravel(), v.ravel()]).reshape(size[1] * 3 // 2, size[0])
            yield av.VideoFrame.from_ndarray(joined, format="yuv420p")
        return
    with av.open(str(source)) as container:
        for frame in container.decode(video=0):
            yield frame.reformat(*size, "yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")


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
