"""A source, a segmenter and a sink of a few lines each, for tests of what joins them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from fractions import Fraction

import numpy as np

from rtseg.errors import InferenceFailed
from rtseg.types import Frame, Output, Regions, Segmentation, Size, StreamInfo


def plain_frame(index: int = 0, *, size: tuple[int, int] = (32, 18), epoch: int = 0, level: int = 100) -> Frame:
    """A grey frame whose pts is its index in ticks of 1/30 s."""
    width, height = size
    chroma = np.full(((height + 1) // 2, (width + 1) // 2), 128, np.uint8)
    luma = np.full((height, width), level, np.uint8)
    return Frame((luma, chroma, chroma), index=index, pts=index, time_base=Fraction(1, 30), epoch=epoch)


class ListSource:
    """Gives the frames of a list, then raises `error` if there is one; `delay` seconds before each frame."""

    def __init__(
        self,
        frames: list[Frame],
        *,
        live: bool = False,
        delay: float = 0.0,
        error: Exception | None = None,
        counts: Mapping[str, int] | None = None,
    ) -> None:
        self.live, self.info, self.counts = live, StreamInfo("list", frames=len(frames)), dict(counts or {})
        self.closed_in: list[str] = []
        self._frames, self._delay, self._error = frames, delay, error

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._frames:
            time.sleep(self._delay)
            yield frame
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        self.closed_in.append(threading.current_thread().name)


class SquareSegmenter:
    """Finds a person in the left half of every frame; fails on the indices given."""

    names = ("person",)

    def __init__(self, *, failing: frozenset[int] = frozenset(), delay: float = 0.0) -> None:
        self.resets = 0
        self._failing, self._delay = failing, delay

    def __call__(self, frame: Frame) -> Segmentation:
        time.sleep(self._delay)
        if frame.index in self._failing:
            raise InferenceFailed(f"asked to fail on frame {frame.index}")
        mask = np.zeros((1, 4, 8), np.uint8)
        mask[:, :, :4] = 255
        return Regions(mask, self.names, frame.pts, frame.size)

    def empty(self, frame: Frame) -> Segmentation:
        return Regions(np.zeros((1, 1, 1), np.uint8), self.names, frame.pts, Size(*frame.size))

    def reset(self) -> None:
        self.resets += 1


class ListSink:
    """Keeps what it is given; raises `error` at output number `fail_at`; sleeps `delay` seconds a write."""

    def __init__(self, *, fail_at: int | None = None, error: Exception | None = None, delay: float = 0.0) -> None:
        self.outputs: list[Output] = []
        self.closed = 0
        self._fail_at, self._error, self._delay = fail_at, error, delay

    def write(self, output: Output) -> None:
        time.sleep(self._delay)
        if len(self.outputs) == self._fail_at and self._error is not None:
            raise self._error
        self.outputs.append(output)

    def close(self) -> None:
        self.closed += 1
