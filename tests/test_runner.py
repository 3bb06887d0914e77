from __future__ import annotations

import threading
import time

import pytest
from fakes import ListSink, ListSource, SquareSegmenter, plain_frame

from rtseg.adaptive import Adaptive
from rtseg.errors import DiskFull, SourceUnreadable
from rtseg.pipeline import Pipeline
from rtseg.runner import run
from rtseg.stats import Stats
from rtseg.types import Frame


def frames(count: int) -> list:  # type: ignore[type-arg]
    return [plain_frame(i) for i in range(count)]


def test_every_frame_reaches_every_sink_in_order() -> None:
    one, two = ListSink(), ListSink()
    stats = run(ListSource(frames(50)), Pipeline(SquareSegmenter()), [one, two])
    for sink in (one, two):
        assert [output.frame.index for output in sink.outputs] == list(range(50))
        assert sink.closed == 1
    assert (stats.frames_in, stats.frames_out, stats.dropped, stats.status) == (50, 50, 0, "done")
    assert {"read", "segment", "write", "latency"} <= set(stats.stages)
    assert stats.stages["write"].count == 100


def test_a_file_loses_nothing_to_a_slow_sink() -> None:
    sink = ListSink(delay=0.005)
    stats = run(ListSource(frames(40)), Pipeline(SquareSegmenter()), [sink])
    assert len(sink.outputs) == 40
    assert stats.dropped == 0


def test_a_live_source_drops_old_frames_and_counts_them() -> None:
    sink = ListSink()
    source = ListSource(frames(60), live=True, delay=0.002)
    stats = run(source, Pipeline(SquareSegmenter(delay=0.01)), [sink])
    indices = [output.frame.index for output in sink.outputs]
    assert indices == sorted(indices)
    assert stats.dropped > 0
    assert stats.frames_out + stats.dropped == stats.frames_in == 60


def test_a_slow_sink_of_a_live_source_does_not_delay_the_others() -> None:
    fast, slow = ListSink(), ListSink(delay=0.05)
    stats = run(ListSource(frames(40), live=True, delay=0.005), Pipeline(SquareSegmenter()), [fast, slow])
    assert len(fast.outputs) > 30
    assert len(slow.outputs) < 20
    assert stats.dropped > 10


def test_a_source_error_comes_after_the_frames_before_it() -> None:
    sink = ListSink()
    source = ListSource(frames(5), error=SourceUnreadable("cut off"))
    with pytest.raises(SourceUnreadable, match="cut off"):
        run(source, Pipeline(SquareSegmenter()), [sink])
    assert len(sink.outputs) == 5
    assert sink.closed == 1


def test_a_pipeline_error_ends_the_run_within_two_seconds() -> None:
    class Broken(SquareSegmenter):
        def __call__(self, frame):  # type: ignore[no-untyped-def]
            raise ZeroDivisionError("in the middle")

    sink = ListSink()
    started = time.monotonic()
    with pytest.raises(ZeroDivisionError, match="in the middle"):
        run(ListSource(frames(1000), delay=0.01), Pipeline(Broken()), [sink])
    assert time.monotonic() - started < 2.5
    assert sink.closed == 1


def test_a_failed_sink_does_not_stop_the_others_but_is_reported() -> None:
    good, bad = ListSink(), ListSink(fail_at=3, error=DiskFull("no room"))
    with pytest.raises(DiskFull, match="no room"):
        run(ListSource(frames(30)), Pipeline(SquareSegmenter()), [good, bad])
    assert len(good.outputs) == 30
    assert (good.closed, bad.closed) == (1, 1)


def test_when_the_only_sink_fails_the_run_ends_early() -> None:
    bad = ListSink(fail_at=0, error=DiskFull("no room"))
    started = time.monotonic()
    with pytest.raises(DiskFull):
        run(ListSource(frames(2000), delay=0.01), Pipeline(SquareSegmenter()), [bad])
    assert time.monotonic() - started < 2.5


def test_an_error_while_closing_a_sink_is_reported() -> None:
    class Unclosable(ListSink):
        def close(self) -> None:
            raise DiskFull("while closing")

    with pytest.raises(DiskFull, match="while closing"):
        run(ListSource(frames(3)), Pipeline(SquareSegmenter()), [Unclosable()])


def test_stop_writes_what_was_accepted_and_closes() -> None:
    stop, sink = threading.Event(), ListSink()
    source = ListSource(frames(10_000), delay=0.002)
    threading.Timer(0.2, stop.set).start()
    stats = run(source, Pipeline(SquareSegmenter()), [sink], stop=stop)
    assert stats.status == "stopped"
    assert len(sink.outputs) == stats.frames_out == stats.frames_in
    assert sink.closed == 1


def test_the_source_is_closed_in_the_thread_that_read_it() -> None:
    source = ListSource(frames(3))
    run(source, Pipeline(SquareSegmenter()), [])
    assert source.closed_in == ["rtseg-reader"]


def test_losses_on_the_way_in_make_a_run_partial() -> None:
    stats = run(ListSource(frames(3), counts={"corrupt_packets": 2}), Pipeline(SquareSegmenter()), [])
    assert stats.status == "partial"
    assert "2 corrupt packets" in str(stats)
    repaired = run(ListSource(frames(3), counts={"repaired_timestamps": 2}), Pipeline(SquareSegmenter()), [])
    assert repaired.status == "done"


def test_frames_that_the_network_did_not_see_are_counted() -> None:
    still = [Frame(frames(1)[0].planes, index=index, pts=index) for index in range(6)]
    stats = run(ListSource(still), Pipeline(SquareSegmenter(), adaptive=Adaptive(still=2)), [])
    assert (stats.frames_out, stats.inferred) == (6, 2)
    assert "network asked for 2" in str(stats)
    assert "network" not in str(run(ListSource(still), Pipeline(SquareSegmenter()), []))


def test_held_frames_are_counted() -> None:
    stats = run(ListSource(frames(5)), Pipeline(SquareSegmenter(failing=frozenset({1, 3}))), [])
    assert stats.held == 2


def test_progress_is_told_while_running_and_at_the_end() -> None:
    told: list[Stats] = []
    run(ListSource(frames(60), delay=0.01), Pipeline(SquareSegmenter()), [], progress=told.append)
    assert len(told) >= 3
    assert told[-1].status == "done"
    assert [stats.status for stats in told[:-1]] == ["running"] * (len(told) - 1)


def test_a_run_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    run(ListSource(frames(3)), Pipeline(SquareSegmenter()), [ListSink(), ListSink()])
    assert threading.active_count() == before
