"""A source that gives its frames by the wall clock, as a camera would: what `rtseg bench` measures latency with."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace

from rtseg.types import Frame, Source, StreamInfo


class Paced:
    """Another source's frames at `rate` a second, live: who is late for one gets the next.

    A frame is decoded when it is due, not before, and `Frame.arrived` is that moment: latency counts the decoder too.
    begin: when the first is due, by `time.monotonic`; None for now. frames: how many at most.
    """

    live = True

    def __init__(self, source: Source, *, rate: float, begin: float | None = None, frames: int | None = None) -> None:
        self._source, self._rate, self._begin, self._frames = source, rate, begin, frames
        self._closed = threading.Event()

    @property
    def info(self) -> StreamInfo:
        """The other source's."""
        return self._source.info

    @property
    def counts(self) -> Mapping[str, int]:
        """The other source's."""
        return self._source.counts

    def __iter__(self) -> Iterator[Frame]:
        frames = iter(self._source)
        begin = time.monotonic() if self._begin is None else self._begin
        for number in itertools.count() if self._frames is None else range(self._frames):
            due = begin + number / self._rate
            if self._closed.wait(max(0.0, due - time.monotonic())):
                return
            frame = next(frames, None)
            if frame is None:
                return
            yield replace(frame, arrived=due)

    def close(self) -> None:
        """End the iteration at once, from any thread."""
        self._closed.set()
        self._source.close()
