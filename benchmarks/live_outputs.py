"""CPU-milliseconds that a live output takes for a 720p frame: `python -m benchmarks.live_outputs [VIDEO]`.

Programs take turns frame by frame; a figure is the median over frames.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import cv2

from rtseg.ops.arrays import as_u8
from rtseg.sinks.jpeg import JpegEncoder
from rtseg.sinks.live import LiveEncoder, live_codec
from rtseg.sinks.planes import Converter, recoloured
from rtseg.sources.sample import Sample
from rtseg.sources.video import VideoFile
from rtseg.types import Colour, Frame, Source

SIZE, FRAMES = (1280, 720), 90


def frames_of(path: str | None, colour: Colour) -> list[Frame]:
    source: Source = Sample(seconds=4, size=SIZE) if path is None else VideoFile(Path(path))
    try:
        rgbs = [as_u8(cv2.resize(frame.rgb, SIZE)) for frame in islice(source, FRAMES)]
    finally:
        source.close()
    return [Frame.from_rgb(rgb, colour=colour) for rgb in rgbs]


def by_opencv(frame: Frame) -> bytes:
    return cv2.imencode(".jpg", frame.bgr, [cv2.IMWRITE_JPEG_QUALITY, 75])[1].tobytes()


def main(path: str | None) -> None:
    cv2.setNumThreads(1)
    limited, full = frames_of(path, Colour("bt709")), frames_of(path, Colour("bt601", full_range=True))
    swscale = Converter(full[0], "yuv420p", even=True, colour=Colour("bt601"))
    programs: dict[str, tuple[Callable[[Frame], Any], list[Frame]]] = {
        "stream": (LiveEncoder(limited[0], *live_codec("h264")), limited),
        "stream, full range in": (LiveEncoder(full[0], *live_codec("h264")), full),
        "stream, veryfast": (LiveEncoder(limited[0], *live_codec("h264:preset=veryfast")), limited),
        "stream, ultrafast": (LiveEncoder(limited[0], *live_codec("h264:preset=ultrafast")), limited),
        "mjpeg": (JpegEncoder(), limited),
        "mjpeg, by OpenCV from BGR": (by_opencv, limited),
        "range turned by recoloured": (lambda frame: recoloured(frame, Colour("bt601")), full),
        "range turned by swscale": (swscale, full),
    }
    spent: dict[str, list[float]] = {name: [] for name in programs}
    for index in range(len(limited)):
        for name, (program, frames) in programs.items():
            started = time.process_time()
            program(frames[index])
            spent[name].append(1e3 * (time.process_time() - started))
    for name, values in spent.items():
        print(f"{name:28} {statistics.median(values):6.2f} CPU-ms")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
