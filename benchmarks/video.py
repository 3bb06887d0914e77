"""Decoding and encoding by PyAV for loops: what `rtseg.bench.video` has, and frames kept in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.bench.job import Job
from rtseg.bench.video import Writer, decode, read_picture

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Writer", "decode", "picture_of", "planes_of", "read_frames", "read_picture", "save_still"]

_DISTINCT = 10


def read_frames(job: Job) -> Iterator[tuple[int, av.VideoFrame]]:
    """Frames kept in memory, `job.frames` of them with their number, and two before with negative ones, to warm up."""
    kept = [frame for frame, _ in decode(job.clip, min(job.frames, _DISTINCT))]
    for index in range(-2, job.frames):
        yield index, kept[index % len(kept)]


def picture_of(frame: av.VideoFrame) -> Image.Image:
    """A frame as RGB in Pillow's hands."""
    return frame.to_image()  # type: ignore[no-any-return, no-untyped-call]


def planes_of(picture: NDArray[np.uint8], layout: str) -> av.VideoFrame:
    """A picture as the planes that encoders take."""
    return av.VideoFrame.from_ndarray(picture, format=layout).reformat(format="yuv420p")


def save_still(job: Job, index: int, bgr: NDArray[np.uint8]) -> None:
    """The last frame as a PNG, where the job wants one."""
    if job.still and index == job.frames - 1:
        cv2.imwrite(job.still, bgr)
