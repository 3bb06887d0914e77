"""What all compared programs but rtseg share: decoding and encoding with PyAV, and reading the background picture."""

from __future__ import annotations

import time
from collections.abc import Iterator
from fractions import Fraction
from types import TracebackType
from typing import TYPE_CHECKING, Self

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.job import Job

if TYPE_CHECKING:
    from PIL import Image

_DISTINCT = 10


def decode(path: str, frames: int) -> Iterator[tuple[av.VideoFrame, float]]:
    """The first frames of a video, each with the `time.monotonic()` at which it was decoded; in one thread."""
    with av.open(path) as container:
        container.streams.video[0].thread_type = "NONE"
        for count, frame in enumerate(container.decode(video=0), 1):
            yield frame, time.monotonic()
            if count == frames:
                return


def read_picture(path: str, width: int, height: int) -> NDArray[np.uint8]:
    """A picture file as BGR uint8 of that size."""
    image = cv2.imread(path)
    if image is None:
        raise FileNotFoundError(f"{path} is no picture that OpenCV reads")
    return cv2.resize(image, (width, height)).astype(np.uint8)


class Writer:
    """An H.264 file; `write` takes any frame that swscale can bring to yuv420p."""

    def __init__(self, job: Job) -> None:
        self._container = av.open(job.output, "w")
        self._stream = self._container.add_stream("libx264", rate=job.rate, options=dict(job.encoder))
        self._stream.width, self._stream.height, self._stream.pix_fmt = job.width, job.height, "yuv420p"
        self._time_base = Fraction(1, job.rate)
        self._count = 0

    def write(self, frame: av.VideoFrame) -> None:
        """Number, convert, encode and mux one frame."""
        frame.pts, frame.time_base = self._count, self._time_base
        self._count += 1
        self._container.mux(self._stream.encode(frame))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._container.mux(self._stream.encode(None))
        self._container.close()


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
