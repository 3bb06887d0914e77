"""What becomes of a suite's figures: ratios, targets, tables and plots."""

from __future__ import annotations

import json
from dataclasses import replace

from rtseg.bench.adaptive import Fidelity
from rtseg.bench.device import EngineTime
from rtseg.bench.job import Report
from rtseg.bench.power import Energy
from rtseg.bench.report import page, tables
from rtseg.bench.results import ClipResult, Results, SizeResult, StartResult
from rtseg.bench.streams import Level


def report(cpu_ms: float, *, dropped: int = 0) -> Report:
    return Report(cpu_ms, 50.0, 10.0, 30.0, 200.0, 100 - dropped, {}, p95_ms=20.0, dropped=dropped)


def size_result(*, every: float = 18.0) -> SizeResult:
    programs = {"floor": report(10), "network": report(2), "every": report(every), "adaptive": report(9)}
    return SizeResult(
        width=1280,
        height=720,
        frames=100,
        programs=programs,
        spread={name: (r.cpu_ms, r.cpu_ms + 1) for name, r in programs.items()},
        stages={"decode": 4.0, "preprocess": 1.0, "network": 2.0, "segment": 3.5, "postprocess": 0.5, "encode": 5.0},
        paced={"every": report(19, dropped=7), "adaptive": report(10)},
        energy=Energy(seconds=4.0, cpu_joules=40.0, unreadable={"gpu": "no nvidia-smi here"}),
        energy_frames=200,
    )


def clip_result(name: str, *, iou: float = 0.99, adaptive_ms: float = 3.0) -> ClipResult:
    return ClipResult(name, Fidelity(100, 0.4, 4.0, adaptive_ms, iou, 0.9, 1.5), every_ms=10.0, adaptive_ms=8.0)


RESULTS = Results(
    input="call.mp4",
    effect="model portrait, background blur",
    background="blur",
    date="2026-11-25T12:00:00+00:00",
    machine={"cpu": "a processor", "rtseg": "0.1.0"},
    sizes={"720p": size_result()},
    clips=(clip_result("one"), clip_result("two", iou=0.96, adaptive_ms=3.5)),
    start=StartResult(7.0, 1.25, 0.8, (6.0, 7.0, 9.0), (1.2, 1.25, 1.5)),
    engine={"network": EngineTime("cpu", 1.0, 1.5, 2.0, 100, 0, 0)},
    streams=None,
    load=None,
    rounds=2,
    unmeasured={"streams at once": "no scheduler"},
)


def test_a_size_is_judged_by_the_floor_and_by_the_limit() -> None:
    size = size_result()
    assert (size.limit_ms, size.to_floor, size.to_limit, size.adaptive_ratio) == (12.0, 1.8, 1.5, 0.5)


def judged(results: Results) -> dict[str, tuple[float, float, bool]]:
    return {target.name: (target.value, target.limit, target.met) for target in results.targets}


def test_targets_are_judged_by_the_worst() -> None:
    assert judged(RESULTS) == {
        "720p, blur: x the limit": (1.5, 1.5, True),
        "720p: CPU-ms beside the limit, sum of stages": (1.5, 2.5, True),
        "adaptive / every, pipeline, worst of 2 clips": (0.875, 0.75, False),
        "adaptive / every, process, worst of 2 clips": (0.8, 0.75, False),
        "adaptive, mean IoU, worst of 2 clips": (0.96, 0.97, False),
        "import rtseg, ms": (7.0, 150.0, True),
        "first frame, s from process start": (1.25, 1.0, False),
    }


def test_a_picture_may_cost_less_than_a_blur() -> None:
    assert judged(replace(RESULTS, background="picture"))["720p, picture: x the limit"] == (1.5, 1.35, False)


def test_what_was_promised_of_something_else_is_not_judged() -> None:
    on_gpu = replace(RESULTS, engine={"network": EngineTime("cuda", 1.0, 1.5, 2.0, 100, 8, 4)})
    for other in (replace(RESULTS, background=None), replace(RESULTS, sizes={"360p": size_result()}), on_gpu):
        assert not [name for name in judged(other) if name.startswith("720p")]


def test_the_json_says_what_follows_from_the_figures() -> None:
    data = json.loads(json.dumps(RESULTS.data))
    assert data["format"] == 1
    assert data["sizes"]["720p"]["to_limit"] == 1.5
    assert data["sizes"]["720p"]["overhead_ms"] == 1.5
    assert data["clips"][1]["pipeline_ratio"] == 0.875
    assert [target["met"] for target in data["targets"]] == [True, True, False, False, False, True, False]


def test_the_page_has_every_figure_and_says_what_is_missing() -> None:
    text = page(replace(RESULTS, load="loaded machine"), ["![whole](whole.png)"])
    assert "cpu a processor, rtseg 0.1.0." in text
    assert "**loaded machine**" in text
    assert "| 720p, blur: x the limit | 1.5 | at most 1.5 | met |" in text
    assert "| 720p | rtseg, every frame | 18.00 | 18.00–19.00 | 50 | 200 | 100 |" in text
    assert "| 720p | 1.80 | 1.50 | 0.50 | 6.00 | 1.50 |" in text
    assert "| network (of segment) | 2.00 |" in text
    assert "| segment |" not in text
    assert "| 720p | rtseg, every frame | 10.0 | 20.0 | 30.0 | 7 | 100 | 19.00 |" in text
    assert "| two | 4.00 | 3.50 | 0.88 | 10.00 | 8.00 | 0.80 |" in text
    assert "| two | 100 | 0.40 | 0.9600 | 0.900 | 1.50 |" in text
    assert "| network | cpu | 1.00 | 1.50 | 2.00 | 1000 | 0.00 | 0.00 |" in text
    assert "| 720p | cpu | 10.0 | 0.200 |" in text
    assert text.endswith("## Not measured here\n\n- streams at once: no scheduler\n")


def test_streams_at_once_have_a_table_where_they_were_measured() -> None:
    many = replace(RESULTS, streams=(Level(2, 10.0, 20.0, 34.0, 50.0, 0.0169, 0.5, 0.48, 8.0, 0.1, 0.0, 0.0),))
    [table] = [table for table in tables(many) if table.title.startswith("Streams")]
    assert table.rows == (("2", "10.0", "20.0", "34.0", "8.0", "0.48", "1.69 %", "no"),)
    assert not [table for table in tables(RESULTS) if table.title.startswith("Streams")]
