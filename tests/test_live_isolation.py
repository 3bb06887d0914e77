"""Whatever happens to one stream, another one's pictures and their beat are what they are without it."""

from __future__ import annotations

import itertools
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rtseg.errors import InferenceFailed, RtsegError, SinkError
from rtseg.live import streamset
from rtseg.live.fleet import LocalFleet
from rtseg.live.options import StreamOptions, parse_stream
from rtseg.live.paced import Paced
from rtseg.live.stream import LiveStream
from rtseg.live.streamset import StreamSet
from rtseg.types import Frame, Output

pytestmark = pytest.mark.slow
RATE = 15
SECONDS = 2.0
SOAK = float(os.environ.get("RTSEG_SOAK", "6"))
"""Seconds of changes; a minute and more by hand."""


def until(condition: Callable[[], object], *, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def pattern(name: str, **more: object) -> StreamOptions:
    source = {"type": "synthetic", "graph": f"testsrc2=size=160x96:rate={RATE}"}
    return parse_stream({"name": name, "source": source, "filters": [], "lowest": "full", **more})


@pytest.fixture
def streams() -> Iterator[StreamSet]:
    made = StreamSet(capacity=None)
    yield made
    made.close()


def watched(stream: LiveStream, seconds: float) -> tuple[dict[int, int], list[float]]:
    """Pictures by the index of their frame, as a sum, and when they came."""
    pictures: dict[int, int] = {}
    times: list[float] = []

    def take(output: Output) -> None:
        weights = np.arange(1, output.picture.planes[0].size + 1, dtype=np.int64)
        pictures[output.frame.index] = int((output.picture.planes[0].ravel() * weights).sum())
        times.append(time.monotonic())

    stop = stream.listen(take)
    time.sleep(seconds)
    stop()
    return pictures, times


def broken_source(stream: LiveStream, _: pytest.MonkeyPatch) -> None:
    stream.source._source.close()  # type: ignore[attr-defined]


def garbage(stream: LiveStream, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline, real = stream._pipeline, stream._pipeline.__class__.__call__

    def spoilt(self: Any, frame: Frame) -> Output | None:
        if self is pipeline:
            object.__setattr__(frame, "planes", tuple(plane[:3, ::7] for plane in frame.planes))
        return real(self, frame)

    monkeypatch.setattr(pipeline.__class__, "__call__", spoilt)


def faulty_effect(stream: LiveStream, _: pytest.MonkeyPatch) -> None:
    def effect(*_: object) -> list[object]:
        raise ZeroDivisionError("a bug in an effect")

    stream._pipeline._effects = (effect,)  # type: ignore[assignment]


def faulty_network(stream: LiveStream, monkeypatch: pytest.MonkeyPatch) -> None:
    def segment(*_: object) -> object:
        raise InferenceFailed("the network gave NaN")

    monkeypatch.setattr(stream._pipeline._network.pipeline, "segmenter", segment)


def worker_bug(stream: LiveStream, monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(_: object) -> None:
        raise MemoryError("none left")

    monkeypatch.setattr(stream, "_count", leave)


class _Dead:
    def __init__(self, *, hangs: threading.Event | None) -> None:
        self._hangs = hangs

    def write(self, _: object) -> None:
        if self._hangs is not None:
            self._hangs.wait(20)
        raise SinkError("the receiver has gone")

    def close(self) -> None:
        pass


def dead_sink(stream: LiveStream, _: pytest.MonkeyPatch) -> None:
    stream.add_sink("dead", Paced(lambda _size: _Dead(hangs=None), name="dead"))


RELEASED = threading.Event()


def hanging_sink(stream: LiveStream, _: pytest.MonkeyPatch) -> None:
    RELEASED.clear()
    stream.add_sink("hanging", Paced(lambda _size: _Dead(hangs=RELEASED), name="hanging"))


def faulty_listener(stream: LiveStream, _: pytest.MonkeyPatch) -> None:
    def listener(_: object) -> None:
        raise RuntimeError("a bug in a listener")

    stream.listen(listener)


FAULTS = [
    broken_source, garbage, faulty_effect, faulty_network, worker_bug, dead_sink, hanging_sink, faulty_listener,
]  # fmt: skip


@pytest.fixture(scope="module")
def alone() -> dict[int, int]:
    """Pictures of the stream when it is the only one."""
    made = StreamSet(capacity=None)
    try:
        stream = made.add(pattern("good", scene={"background": "#00ff00"}))
        return watched(stream, SECONDS * 1.6)[0]
    finally:
        made.close()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_of_one_stream_is_not_seen_in_another(
    streams: StreamSet,
    alone: dict[int, int],
    fault: Callable[[LiveStream, pytest.MonkeyPatch], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bad = streams.add(pattern("bad", scene={"background": "blur"}, sinks=[{"type": "null"}]))
    until(lambda: bad.status().frames_out > 2)
    good = streams.add(pattern("good", scene={"background": "#00ff00"}))
    fault(bad, monkeypatch)
    pictures, times = watched(good, SECONDS)
    common = pictures.keys() & alone.keys()
    assert len(common) > 0.6 * RATE * SECONDS
    assert {index: pictures[index] for index in common} == {index: alone[index] for index in common}
    assert max(later - earlier for earlier, later in itertools.pairwise(times)) < 0.5
    assert good.status().state in ("live", "idle")  # by now nobody looks on
    assert good.status().error is None
    RELEASED.set()


@pytest.mark.parametrize("seed", [1])
def test_four_streams_are_changed_at_random_without_an_error_or_a_leak(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    fleet = LocalFleet(StreamSet(capacity=None))
    names = ("a", "b", "c", "d")
    backgrounds = ("blur", "blur:4", "#00ff00", "white", None)

    def wish(name: str) -> None:
        match chance.randrange(6):
            case 0:
                fleet.change(
                    name, {"scene": {"background": chance.choice(backgrounds), "mirror": chance.random() < 0.5}}
                )
            case 1:
                fleet.change(name, {"scene": {"slate": chance.random() < 0.5, "background": "blur"}})
            case 2:
                path = str(tmp_path / f"{name}-{chance.randrange(10**9)}.mp4")
                fleet.change(name, {"sinks": [{"type": "null"}, {"type": "video", "path": path}]})
            case 3:
                fleet.change(name, {"sinks": [{"type": "null"}]})
            case 4:
                fleet.remove(name)
                fleet.add(pattern(name, sinks=[{"type": "null"}]))
            case _:
                fleet.change(name, {"rate": chance.choice((5, 10, 15))})

    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    def settle() -> tuple[int, int]:
        for name in names:
            fleet.change(name, {"sinks": [{"type": "null"}], "scene": {"background": "blur"}})
        until(lambda: all(status.state == "live" for status in fleet.list().values()))
        time.sleep(0.5)
        return threading.active_count(), descriptors()

    try:
        for name in names:
            fleet.add(pattern(name, sinks=[{"type": "null"}]))
        for name in names:
            wish(name)
        before = settle()
        end = time.monotonic() + SOAK
        wishes = 0
        while time.monotonic() < end:
            wish(chance.choice(names))
            wishes += 1
            time.sleep(chance.uniform(0, 0.1))
        after = settle()
        assert wishes > 5 * SOAK
        assert [status.error for status in fleet.list().values()] == [None] * 4
        assert after[0] <= before[0]
        assert after[1] <= before[1] + 1
    finally:
        fleet.close()
    assert not list(tmp_path.glob("*.part"))


def test_a_source_that_does_not_open_keeps_nobody_else_waiting(
    streams: StreamSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams.add(pattern("good"))
    real, entered, released = streamset.open_source, threading.Event(), threading.Event()

    def slow(options: StreamOptions) -> Any:
        if options.name == "stuck":
            entered.set()
            released.wait(10)
            raise RtsegError("it never answered")
        return real(options)

    monkeypatch.setattr(streamset, "open_source", slow)
    caught: list[BaseException] = []

    def add() -> None:
        try:
            streams.add(pattern("stuck"))
        except RtsegError as error:
            caught.append(error)

    thread = threading.Thread(target=add)
    thread.start()
    assert entered.wait(5)
    started = time.monotonic()
    streams.change("good", {"scene": {"slate": True}})
    assert streams.get("good").scene.slate
    assert list(streams.list()) == ["good"]
    with pytest.raises(ValueError, match="already"):
        streams.add(pattern("stuck"))
    assert time.monotonic() - started < 2
    released.set()
    thread.join()
    assert str(caught[0]) == "it never answered"
    monkeypatch.undo()
    streams.add(pattern("stuck"))
