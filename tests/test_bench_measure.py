"""What figures of programs come from: the meter, children, rounds and medians."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import pytest

from rtseg.bench.job import Job, Meter, Report
from rtseg.bench.machine import Load, machine
from rtseg.bench.measure import LoopFailed, Run, interleaved, median_report, run_child, run_program

JOB = Job("in.mp4", "out.mp4", 3, 64, 48, 30, "", {}, "")
REPORT = Report(2.0, 50.0, 1.0, 3.0, 80.0, 3, {"av": "18"}, p95_ms=2.5)


def program(folder: Path, text: str) -> str:
    (folder / "measured.py").write_text(text)
    return "measured"


def reporting(report: Report) -> str:
    return (
        f"import sys, json\njson.loads(sys.argv[1])['clip']\nprint('loading')\nprint({json.dumps(asdict(report))!r})\n"
    )


def spin(seconds: float) -> None:
    started = time.thread_time()
    while time.thread_time() - started < seconds:
        pass


def test_a_program_reports_by_its_last_line(tmp_path: Path) -> None:
    run = run_program(program(tmp_path, reporting(REPORT)), JOB, root=tmp_path)
    assert run.report == REPORT
    assert run.process_cpu_s > 0


def test_lost_frames_are_no_cheap_run(tmp_path: Path) -> None:
    name = program(tmp_path, reporting(replace(REPORT, frames=2)))
    with pytest.raises(LoopFailed, match="wrote 2 frames of 3"):
        run_program(name, JOB, root=tmp_path)


def test_frames_that_a_paced_run_says_it_dropped_are_not_lost(tmp_path: Path) -> None:
    report = replace(REPORT, frames=2, dropped=1)
    assert run_program(program(tmp_path, reporting(report)), JOB, root=tmp_path).report.dropped == 1


def test_a_program_that_fails_says_how(tmp_path: Path) -> None:
    with pytest.raises(LoopFailed, match=r"measured ended with 1:\n(.*\n)*ValueError: no such thing"):
        run_program(program(tmp_path, "raise ValueError('no such thing')"), JOB, root=tmp_path)


def test_modules_in_the_current_folder_stand_in_for_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "measured.py").write_text("print('the wrong one')")
    monkeypatch.chdir(tmp_path / "here")
    assert run_child(program(tmp_path, "print('right')"), JOB, root=tmp_path) == "right"


def test_each_round_begins_with_another_program() -> None:
    order: list[str] = []

    def step(name: str) -> int:
        order.append(name)
        return len(order)

    found = interleaved({name: partial(step, name) for name in "abc"}, rounds=4)
    assert "".join(order) == "abc" + "bca" + "cab" + "abc"
    assert found == {"a": [1, 6, 8, 10], "b": [2, 4, 9, 11], "c": [3, 5, 7, 12]}


def test_medians_are_taken_figure_by_figure() -> None:
    reports = [replace(REPORT, cpu_ms=cpu, p99_ms=p99, dropped=n) for cpu, p99, n in ((1, 9, 0), (5, 7, 4), (2, 8, 2))]
    middle = median_report([Run(report, 1.0) for report in reports])
    assert (middle.cpu_ms, middle.p99_ms, middle.dropped, middle.frames) == (2, 8, 2, 3)


def test_work_that_is_excluded_does_not_count() -> None:
    meter = Meter()
    meter.start()
    with meter.excluded():
        spin(0.05)
    spin(0.01)
    meter.frame(time.monotonic())
    assert 10 <= meter.report().cpu_ms < 50


def test_latencies_are_percentiles_of_the_frames() -> None:
    meter = Meter()
    meter.start()
    now = time.monotonic()
    for late in range(100):
        meter.frame(now - late)
    report = meter.report()
    assert [round(value / 1e3) for value in (report.p50_ms, report.p95_ms, report.p99_ms)] == [50, 95, 99]
    assert report.frames == 100


def test_a_loaded_machine_is_a_warning() -> None:
    assert Load(2, 0.5).warning is None
    assert "load average was 1.5" in (Load(2, 1.5).warning or "")
    assert "other processes used 0.40 cores" in (Load(2, 0.0, foreign=0.4).warning or "")
    assert "the host took 0.10 cores" in (Load(2, 0.0, stolen=0.1).warning or "")


def test_figures_say_what_they_belong_to() -> None:
    described = machine()
    assert {"cpu", "cores", "python", "commit", "rtseg", "av", "opencv-python"} <= described.keys()
    assert any(name.startswith("onnxruntime") for name in described)
