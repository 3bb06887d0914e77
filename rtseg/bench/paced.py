"""A source that gives its frames by the wall clock, as a camera would: what `rtseg bench` measures latency with."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace

from rtseg.types import Frame, Source, StreamInfo


class Paced:
    """Another source's frames at `rate` a second, live: who is late for one gets the next.

    `Frame.arrived` is when a frame was due, so that a decoder that does not keep up shows as latency too.
    """

    live = True

    def __init__(self, source: Source, *, rate: float) -> None:
        self._source, self._rate = source, rate
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
        started: float | None = None
        for number, frame in enumerate(self._source):
            if started is None:
                started = time.monotonic()
            due = started + number / self._rate
            if self._closed.wait(max(0.0, due - time.monotonic())):
                return
            yield replace(frame, arrived=due)

    def close(self) -> None:
        """End the iteration at once, from any thread."""
        self._closed.set()
        self._source.close()
