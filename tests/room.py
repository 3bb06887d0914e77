"""A red room with a person in its left half, and whether a picture that left shows it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np

from rtseg.types import Frame, Output, StreamInfo

PERSON = 90
"""Luma of the person, who is in the left half of the room."""
RED = 90, 200
"""U and V of the room's wall, which must not leave."""
GREEN = "#00ff00"


def in_a_room(index: int = 0, *, size: tuple[int, int] = (64, 36), epoch: int = 0) -> Frame:
    width, height = size
    luma = np.full((height, width), 200, np.uint8)
    luma[:, : width // 2] = PERSON
    u, v = (np.full(((height + 1) // 2, (width + 1) // 2), level, np.uint8) for level in RED)
    u[:, : width // 4] = v[:, : width // 4] = 128
    return Frame((luma, u, v), index=index, pts=index * 3000, epoch=epoch)


def shows_room(output: Output) -> bool:
    """Whether the room's red is anywhere beyond the person's edge."""
    _, u, v = output.picture.planes
    right = slice(u.shape[1] // 2 + 4, None)
    like = [np.abs(plane[:, right].astype(int) - level) < 20 for plane, level in zip((u, v), RED, strict=True)]
    return bool((like[0] & like[1]).any())


class Tap:
    """A live source that gives a frame when a test says so."""

    live = True

    def __init__(self) -> None:
        self.info, self.counts, self.state = StreamInfo("tap"), {"reconnects": 1}, "live"
        self._frames: list[Frame] = []
        self._changed, self._closed = threading.Condition(), False

    def give(self, frame: Frame) -> None:
        with self._changed:
            self._frames.append(frame)
            self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()

    def __iter__(self) -> Iterator[Frame]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._frames or self._closed, 10)
                if self._closed:
                    return
                frame = self._frames.pop(0)
            yield frame


def until(condition: Callable[[], object], *, seconds: float = 10.0) -> None:
    """Wait for what another thread does; an AssertionError if it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)
