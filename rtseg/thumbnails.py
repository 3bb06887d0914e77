"""Small pictures of a video at given times, for reports."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

import cv2

from rtseg.driving.recorded import Thumbnail
from rtseg.errors import ConfigError
from rtseg.sources.video import VideoFile

WIDTH = 192
_QUALITY = 70


def thumbnails_of(video: Path, seconds: Iterable[float], *, zero: float = 0.0) -> list[Thumbnail]:
    """A picture at each time, `WIDTH` pixels wide; times where the video has none are left out.

    zero: what the video's first frame is in those seconds. Each costs decoding from the key frame before it. Raises
    SourceError where the video cannot be read.
    """
    made = []
    for at in seconds:
        try:
            with contextlib.closing(VideoFile(video, start=max(0.0, at - zero))) as source:
                frame = next(iter(source), None)
        except ConfigError:  # it is not as long
            continue
        if frame is None:
            continue
        height = max(1, round(WIDTH * frame.size.height / frame.size.width))
        small = cv2.resize(frame.bgr, (WIDTH, height), interpolation=cv2.INTER_AREA)
        done, jpeg = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        if done:
            made.append(Thumbnail(at, jpeg.tobytes(), float(frame.planes[0].mean())))
    return made
