"""The only threads and the only queues: one reader, one worker (the caller), one writer a sink."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, TypeAlias

import cv2

from rtseg.channel import Channel, Closed
from rtseg.stats import LOSSES, Recorder, Stats, Status
from rtseg.types import Frame, Output, Sink, Source

Policy: TypeAlias = Literal["auto", "block", "latest"]

_DEPTH = 4
"""Outputs that wait for a sink, and frames for the worker: rides over a slow one, and 4K stays under 60 MB."""
_GRACE = 2.0
"""Seconds that threads get to end after a failure."""

_log = logging.getLogger("rtseg")


def run(
    source: Source,
    pipeline: Callable[[Frame], Output],
    sinks: Sequence[Sink],
    *,
    policy: Policy = "auto",
    stop: threading.Event | None = None,
    progress: Callable[[Stats], None] | None = None,
) -> Stats:
    """Take every frame of `source` through `pipeline` into all `sinks`, and say what was lost.

    policy: "block" loses nothing, "latest" always works on the newest frame, "auto" is "latest" for a live source.
    stop: set it (from a signal handler, say) to stop the intake; accepted frames are still written and files closed.
    progress: called in this thread about five times a second, and with the final stats.

    Source and sinks are closed before this returns. A sink that fails is left out while the others go on, and its
    error is raised at the end; an error of the source, the pipeline or the last sink ends the run, after what was
    accepted has been written, within two seconds.
    """
    with opencv_in_one_thread():
        return _run(source, pipeline, sinks, policy, stop, progress)


@contextmanager
def opencv_in_one_thread() -> Iterator[None]:
    """OpenCV's own threads gain nothing beside a thread a stage, and burn CPU while they wait for work."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _run(
    source: Source,
    pipeline: Callable[[Frame], Output],
    sinks: Sequence[Sink],
    policy: Policy,
    stop: threading.Event | None,
    progress: Callable[[Stats], None] | None,
) -> Stats:
    latest = source.live if policy == "auto" else policy == "latest"
    rule: Literal["block", "latest"] = "latest" if latest else "block"
    recorder = Recorder()
    stopping = threading.Event() if stop is None else stop
    frames: Channel[Frame] = Channel(1 if latest else _DEPTH, policy=rule, stopping=stopping)
    writers = [_Writer(sink, Channel(_DEPTH, policy=rule), recorder, alone=len(sinks) == 1) for sink in sinks]
    reader = threading.Thread(target=_read, args=(source, frames, stopping, recorder), name="rtseg-reader", daemon=True)
    reader.start()

    def snapshot(status: Status = "running") -> Stats:
        dropped = frames.dropped + sum(writer.outputs.dropped for writer in writers)
        return recorder.snapshot(status, frames_in=frames.accepted, dropped=dropped, counts=source.counts)

    failure: BaseException | None = None
    told = time.monotonic()
    try:
        for frame in frames:
            output = pipeline(frame)
            for stage, milliseconds in output.times.items():
                recorder.time(stage, milliseconds)
            recorder.count("held", output.held)
            recorder.count("inferred", output.inferred)
            if not _deliver(output, writers):
                break
            recorder.count("out")
            if progress is not None and time.monotonic() - told > 0.2:
                told = time.monotonic()
                progress(snapshot())
    except BaseException as error:  # KeyboardInterrupt too must leave whole files behind
        failure = error
    frames.abandon()
    for writer in writers:
        writer.outputs.end()
    failing = failure is not None or any(writer.error for writer in writers)
    deadline = time.monotonic() + _GRACE
    for thread in (reader, *(writer.thread for writer in writers)):
        thread.join(max(0.0, deadline - time.monotonic()) if failing else None)
    for cause in (failure, *(writer.error for writer in writers)):
        if cause is not None:
            raise cause
    lost = any(source.counts.get(cause) for cause in LOSSES)
    final = snapshot("stopped" if stopping.is_set() else "partial" if lost else "done")
    if progress is not None:
        progress(final)
    return final


def _read(source: Source, frames: Channel[Frame], stopping: threading.Event, recorder: Recorder) -> None:
    """The reader thread: opened, iterated and closed in one thread, as decoders want it."""
    failure: BaseException | None = None
    try:
        iterator = iter(source)
        while not stopping.is_set():
            started = time.perf_counter()
            frame = next(iterator, None)
            if frame is None:
                break
            recorder.time("read", (time.perf_counter() - started) * 1e3)
            frames.put(frame)
    except Closed:
        pass
    except BaseException as error:
        failure = error
    finally:
        source.close()
        frames.end(failure)


def _deliver(output: Output, writers: Sequence[_Writer]) -> bool:
    """Hand an output to every sink that still works; false when there were sinks and none works any more."""
    working = not writers
    for writer in writers:
        try:
            writer.outputs.put(output)
            working = True
        except Closed:
            continue
    return working


class _Writer:
    """A sink's own thread, so that a slow one delays nobody but through a full queue."""

    def __init__(self, sink: Sink, outputs: Channel[Output], recorder: Recorder, *, alone: bool) -> None:
        self.outputs = outputs
        self.error: BaseException | None = None
        self._sink, self._recorder, self._alone = sink, recorder, alone
        self.thread = threading.Thread(target=self._write, name=f"rtseg-{type(sink).__name__}", daemon=True)
        self.thread.start()

    def _write(self) -> None:
        try:
            for output in self.outputs:
                started = time.perf_counter()
                self._sink.write(output)
                self._recorder.time("write", (time.perf_counter() - started) * 1e3)
                self._recorder.time("latency", (time.monotonic() - output.frame.arrived) * 1e3)
        except BaseException as error:
            self.error = error
            if not self._alone:  # the others go on, and it may be long until the error is raised
                _log.error("%s stopped: %s", type(self._sink).__name__, error)
        finally:
            self.outputs.abandon()
            try:
                self._sink.close()
            except BaseException as error:
                self.error = self.error or error
