from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from engines import until
from fakes import ListSink, ListSource, SquareSegmenter, plain_frame

from rtseg import store
from rtseg.build import Job, build
from rtseg.config import Config, parse_config
from rtseg.errors import Overloaded, SourceError
from rtseg.pipeline import Pipeline
from rtseg.stats import Stats
from rtseg.streams import open_scheduler, open_streams, run_streams
from rtseg.types import Frame, Segmentation

CARD = store.find_card("portrait-fast")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTSEG_CACHE", str(tmp_path / "cache"))


def job_of(source: ListSource, sink: ListSink) -> Job:
    return Job(source, Pipeline(SquareSegmenter()), (sink,), CARD)


def test_a_stream_that_fails_leaves_the_others_alone(caplog: pytest.LogCaptureFixture) -> None:
    sinks = [ListSink(), ListSink(), ListSink(fail_at=1, error=OSError("full")), ListSink()]
    sources = [ListSource([plain_frame(i) for i in range(8)]) for _ in sinks]
    sources[1] = ListSource([plain_frame(0)], error=SourceError("gone"))
    told: list[tuple[int, int]] = []
    results = run_streams(
        [job_of(source, sink) for source, sink in zip(sources, sinks, strict=True)],
        progress=lambda place, stats: told.append((place, stats.frames_out)),
    )
    assert [result.stats.frames_out if result.stats else None for result in results] == [8, None, None, 8]
    assert [str(result.error) for result in results] == ["None", "gone", "full", "None"]
    assert [len(sink.outputs) for sink in sinks] == [8, 1, 1, 8]
    assert [sink.closed for sink in sinks] == [1, 1, 1, 1]
    assert sorted(told) == [(0, 8), (3, 8)]
    assert "stream 1 (list) ended: gone" in caplog.text


def test_stopping_ends_every_stream_with_what_it_took_written() -> None:
    stop = threading.Event()
    sinks = [ListSink(), ListSink()]
    jobs = [job_of(ListSource([plain_frame(i) for i in range(2000)], delay=0.001), sink) for sink in sinks]

    def watch() -> None:
        until(lambda: all(sink.outputs for sink in sinks))
        stop.set()

    threading.Thread(target=watch, daemon=True).start()
    for result, sink in zip(run_streams(jobs, stop=stop), sinks, strict=True):
        assert isinstance(result.stats, Stats)
        assert (result.stats.status, result.stats.frames_out) == ("stopped", len(sink.outputs))
        assert len(sink.outputs) < 2000


def test_an_interrupted_run_leaves_every_stream_closed() -> None:
    sinks = [ListSink(), ListSink()]
    jobs = [job_of(ListSource([plain_frame(i) for i in range(5000)], delay=0.001), sink) for sink in sinks]

    main = threading.get_ident()

    def interrupt() -> None:
        until(lambda: all(sink.outputs for sink in sinks))
        signal.pthread_kill(main, signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        run_streams(jobs)
    assert [sink.closed for sink in sinks] == [1, 1]
    assert all(len(sink.outputs) < 5000 for sink in sinks)


def test_a_stream_that_ends_does_not_give_the_others_threads_of_opencv() -> None:
    first_runs, second_runs, first_ended = threading.Event(), threading.Event(), threading.Event()
    seen: list[int] = []

    class First(Job):
        def run(self, **options: Any) -> Stats:
            try:
                return super().run(**options)
            finally:
                first_ended.set()

    class Second(Job):
        def run(self, **options: Any) -> Stats:
            assert first_runs.wait(10)
            return super().run(**options)

    class Short(SquareSegmenter):
        def __call__(self, frame: Frame) -> Segmentation:
            first_runs.set()
            assert second_runs.wait(10)
            return super().__call__(frame)

    class Long(SquareSegmenter):
        def __call__(self, frame: Frame) -> Segmentation:
            second_runs.set()
            assert first_ended.wait(10)
            seen.append(cv2.getNumThreads())
            return super().__call__(frame)

    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    try:
        run_streams(
            [
                First(ListSource([plain_frame()]), Pipeline(Short()), (ListSink(),), CARD),
                Second(ListSource([plain_frame()]), Pipeline(Long()), (ListSink(),), CARD),
            ]
        )
        assert seen == [1]
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(before)


def config_of(seconds: float) -> Config:
    return parse_config(
        {
            "source": {"type": "sample", "seconds": seconds, "size": [160, 90], "rate": 10},
            "sinks": [{"type": "null"}],
            "model": {"name": "portrait-fast"},
        }
    )


def test_streams_around_one_network_make_the_pictures_that_each_makes_alone() -> None:
    configs = [config_of(0.8), config_of(0.5)]
    alone = []
    for config in configs:
        build(config, more_sinks=[sink := ListSink()]).run()
        alone.append(sink)
    together = [ListSink() for _ in configs]
    with open_streams(configs, more_sinks=[[sink] for sink in together]) as jobs:
        first, second = (job.engine for job in jobs)
        assert first is not None
        assert second is not None
        assert first.pool is second.pool
        results = run_streams(jobs)
        assert first.pool.counts["alone"] + first.pool.counts["batched"] == 13
    assert [result.error for result in results] == [None, None]
    for sink, wanted in zip(together, alone, strict=True):
        assert len(sink.outputs) == len(wanted.outputs)
        for found, expected in zip(sink.outputs, wanted.outputs, strict=True):
            for plane, right in zip(found.picture.planes, expected.picture.planes, strict=True):
                assert np.abs(plane.astype(int) - right).max() <= 1, "a batch adds up in another order"


def test_what_was_opened_is_closed_when_a_later_stream_cannot_be(tmp_path: Path) -> None:
    first, missing, closed = config_of(0.1), tmp_path / "missing.mp4", ListSink()
    broken = parse_config({"source": {"type": "video", "path": str(missing)}, "sinks": [{"type": "null"}]})
    with pytest.raises(SourceError, match="missing"), open_streams([first, broken], more_sinks=[[closed], []]):
        pytest.fail("there is nothing to run")
    assert closed.closed == 1


def test_a_stream_too_many_is_refused_before_anything_runs() -> None:
    with pytest.raises(Overloaded, match="a stream of 1000"), open_streams([config_of(0.1)] * 9, rate=1000.0):
        pytest.fail("nine thousand frames a second")


def test_a_job_that_is_not_run_gives_its_place_back() -> None:
    with open_scheduler(config_of(0.1).model, capacity=0.85) as scheduler:
        job = build(config_of(0.1), engine=scheduler.stream(rate=30.0))
        assert scheduler.load > 0
        job.close()
        assert scheduler.load == 0.0


def test_streams_of_one_network_share_its_weights() -> None:
    with open_scheduler(config_of(0.1).model, buckets=(1,), parallel=1, capacity=None) as scheduler:
        streams = [scheduler.stream() for _ in range(3)]
        sessions = {id(stream._place[1].engine._session) for stream in streams}  # type: ignore[union-attr]
        buffers = {stream.inputs["image"].ctypes.data for stream in streams}
    assert (len(sessions), len(buffers)) == (1, 3)
