"""What a service asks of streams, wherever they run; and looking on at one of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any, Protocol

from rtseg.live.options import StreamOptions, StreamsFile
from rtseg.live.stream import LiveStream, StreamStatus
from rtseg.live.streamset import StreamSet
from rtseg.registry import import_target
from rtseg.types import Output

_OLD = 1.0
"""Seconds after which a picture is not shown any more: nobody should talk to a photograph."""


class Watch(Protocol):
    """Somebody who looks on at a stream: it works as long as there is one. For one thread at a time.

    skipped: outputs that were replaced by newer ones before they were taken, so far.
    """

    skipped: int

    def next(self, timeout: float) -> Output | None:
        """The newest output that was not taken yet; None if there is none in time. KeyError if the stream is gone."""
        ...

    def close(self) -> None:
        """Look away."""
        ...


class Fleet(Protocol):
    """Streams by name. For any thread; a name that there is not is a KeyError."""

    def add(self, options: StreamOptions) -> object:
        """Begin a stream; ConfigError for a name that is taken, and whatever its parts raise."""
        ...

    def options(self, name: str) -> StreamOptions:
        """What the stream was begun with, and what was changed since."""
        ...

    def list(self) -> dict[str, StreamStatus]:
        """One look at each."""
        ...

    def change(self, name: str, values: Mapping[str, Any]) -> StreamOptions:
        """Change parts of a stream's options; what is wrong with the wish is raised, and all stays as it was."""
        ...

    def remove(self, name: str) -> None:
        """End a stream."""
        ...

    def watch(self, name: str) -> Watch:
        """Begin to look on at a stream."""
        ...

    def close(self) -> None:
        """End all streams."""
        ...


class LocalFleet:
    """The streams of a `StreamSet`, in this process."""

    def __init__(self, streams: StreamSet) -> None:
        self.streams = streams
        self.add, self.options, self.list = streams.add, streams.options, streams.list
        self.change, self.remove, self.close = streams.change, streams.remove, streams.close

    def watch(self, name: str) -> Watch:
        """Begin to look on at a stream; also when it begins anew under its name."""
        return LocalWatch(self.streams, name)


class LocalWatch:
    """Listens to a stream of a set, and to its successor of the same name."""

    def __init__(self, streams: StreamSet, name: str) -> None:
        self.skipped = 0
        self._streams, self._name = streams, name
        self._changed = threading.Condition()
        self._newest: Output | None = None
        self._stream = streams.get(name)
        self._stop = self._stream.listen(self._take)

    def next(self, timeout: float) -> Output | None:
        """The newest output that was not taken yet, or None."""
        stream = self._streams.get(self._name)
        if stream is not self._stream:
            self._follow(stream)
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None, timeout)
            newest, self._newest = self._newest, None
            if newest is not None and time.monotonic() - newest.frame.arrived > _OLD:
                self.skipped += 1
                return None
            return newest

    def close(self) -> None:
        """Look away."""
        self._stop()

    def _follow(self, stream: LiveStream) -> None:
        self._stop()
        self._stream = stream
        self._stop = stream.listen(self._take)

    def _take(self, output: Output) -> None:
        with self._changed:
            self.skipped += self._newest is not None
            self._newest = output
            self._changed.notify()


def open_fleet(file: StreamsFile) -> Fleet:
    """The streams of a file, running; what is wrong with one is raised, and none is left."""
    fleet: Fleet
    if file.ray is not None:
        fleet = import_target("rtseg.live.cluster:Cluster", extra="ray")(file.ray)
    else:
        fleet = LocalFleet(StreamSet(capacity=file.capacity))
    try:
        for options in file.streams:
            fleet.add(options)
    except BaseException:
        fleet.close()
        raise
    return fleet
