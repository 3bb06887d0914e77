from __future__ import annotations

import pytest

from rtseg.stats import Recorder


def test_percentiles_look_at_the_newest_and_the_mean_at_all() -> None:
    recorder = Recorder()
    for _ in range(10_000):
        recorder.time("segment", 1.0)
    for _ in range(5_000):
        recorder.time("segment", 4.0)
    times = recorder.snapshot().stages["segment"]
    assert (times.count, times.p50, times.p99) == (15_000, 4.0, 4.0)
    assert times.mean == pytest.approx(2.0)


def test_percentiles_of_known_values() -> None:
    recorder = Recorder()
    for value in range(101):
        recorder.time("write", float(value))
    times = recorder.snapshot().stages["write"]
    assert (times.p50, times.p95, times.p99) == (50.0, 95.0, 99.0)


def test_a_run_that_took_no_time_has_no_rate() -> None:
    recorder = Recorder()
    recorder.count("out", 3)
    assert recorder.snapshot().frames_out == 3
    assert recorder.snapshot().fps > 0
