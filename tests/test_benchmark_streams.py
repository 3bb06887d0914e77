from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks import clips
from benchmarks.measure import Load
from benchmarks.streams import Latencies, Level, Paced, _summary, main
from rtseg.stats import Stats
from rtseg.streams import StreamResult


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clips.clip(tmp_path_factory.mktemp("clips"), (64, 36), 10, None)


def test_a_paced_frame_comes_at_its_moment_and_counts_from_it(clip: Path) -> None:
    begin = time.monotonic() + 0.02
    source = Paced(clip, 100.0, 6, begin)
    came = [(frame.index, frame.arrived - begin, time.monotonic() - begin) for frame in source]
    source.close()
    assert [index for index, _, _ in came] == list(range(6))
    assert [arrived for _, arrived, _ in came] == pytest.approx([0.0, 0.01, 0.02, 0.03, 0.04, 0.05])
    assert all(seen >= arrived for _, arrived, seen in came)


def test_a_reader_that_is_late_does_not_shift_the_moments(clip: Path) -> None:
    begin = time.monotonic() - 1.0
    source = Paced(clip, 100.0, 3, begin)
    assert [frame.arrived - begin for frame in source] == pytest.approx([0.0, 0.01, 0.02])
    source.close()


def stats(frames_in: int, frames_out: int, inferred: int) -> Stats:
    return Stats(frames_in, frames_out, frames_in - frames_out, 0, inferred, 1.0, "done")


def test_a_level_is_judged_by_all_frames_of_all_streams() -> None:
    sinks = [Latencies(), Latencies()]
    sinks[0].seconds, sinks[1].seconds = [0.010] * 100, [0.020] * 99
    results = [StreamResult(stats(100, 100, 40)), StreamResult(stats(100, 99, 60))]
    level = _summary(sinks, results, 1.99, 2.0, 0.1, Load(2, None))
    assert [level.p50_ms, level.worst_ms] == pytest.approx([10.0, 20.0])
    assert [level.dropped, level.inferred] == pytest.approx([0.005, 100 / 199])
    assert [level.cpu, level.cpu_ms] == pytest.approx([0.995, 10.0])
    assert level.carried


@pytest.mark.parametrize(("p99", "dropped", "carried"), [(32.9, 0.01, True), (33.0, 0.0, False), (9.0, 0.011, False)])
def test_a_level_is_carried_in_time_and_without_losses(p99: float, dropped: float, carried: bool) -> None:
    values = dict.fromkeys(
        ("p50_ms", "p95_ms", "worst_ms", "inferred", "cpu", "cpu_ms", "load", "foreign", "stolen"), 0.0
    )
    assert Level(streams=1, p99_ms=p99, dropped=dropped, **values).carried is carried


def test_the_error_of_a_stream_is_no_figure() -> None:
    with pytest.raises(OSError, match="gone"):
        _summary([Latencies()], [StreamResult(None, OSError("gone"))], 0.0, 1.0, 0.0, Load(2, None))


def test_the_command_writes_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip: Path) -> None:
    monkeypatch.setenv("RTSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(clips.SIZES, "720p", (64, 36))
    arguments = [str(clip), "--only", "2", "--seconds", "0.4", "--background", "blur", "--model", "portrait-fast"]
    assert main([*arguments, "--folder", str(tmp_path), "--json", str(tmp_path / "out.json")]) == 0
    figures = json.loads((tmp_path / "out.json").read_text())
    (level,) = figures["levels"]
    assert level["streams"] == 2
    assert np.isfinite([level[key] for key in ("p99_ms", "cpu_ms", "load")]).all()
    assert {"cpu", "commit"} <= set(figures["machine"])
