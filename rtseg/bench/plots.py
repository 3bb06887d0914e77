"""The plots of a suite: which bars there are, as PNG."""

from __future__ import annotations

from pathlib import Path

import cv2

from rtseg.bench.charts import Bar, Chart, draw
from rtseg.bench.results import ADAPTIVE_RATIO, Results
from rtseg.bench.streams import LATENCY_MS
from rtseg.sinks.files import encode_image


def plots(results: Results) -> dict[str, tuple[str, bytes]]:
    """Name of the file without its suffix -> title and PNG."""
    charts = {
        "whole": _whole(results),
        "stages": _stages(results),
        "latency": _latency(results),
        "adaptive": _adaptive(results),
    }
    return {name: (chart.title, _png(chart)) for name, chart in charts.items()}


def _png(chart: Chart) -> bytes:
    return bytes(encode_image(draw(chart)[..., ::-1], Path("chart.png"), (cv2.IMWRITE_PNG_COMPRESSION, 9)))


def _whole(results: Results) -> Chart:
    """As multiples of the limit, so that small and large pictures stand on one axis."""
    groups = {}
    for name, size in results.sizes.items():
        limit = size.limit_ms
        floor, network, every, adaptive = (
            size.programs[program].cpu_ms for program in ("floor", "network", "every", "adaptive")
        )
        groups[name] = [
            Bar("limit", ((0, floor / limit), (1, network / limit)), f"{limit:.1f} ms"),
            Bar("every frame", ((2, every / limit),), f"{every / limit:.2f} x, {every:.1f} ms"),
            Bar("adaptive", ((3, adaptive / limit),), f"{adaptive / limit:.2f} x, {adaptive:.1f} ms"),
        ]
    legend = ("decode and encode", "network", "rtseg, every frame", "rtseg, adaptive")
    return Chart("CPU time a frame, as a multiple of decode + encode + network", groups, legend, (1.0, "the limit"))


def _stages(results: Results) -> Chart:
    names = list(dict.fromkeys(s for size in results.sizes.values() for s in size.stages if s != "segment"))
    bars = []
    for size_name, size in results.sizes.items():
        total = sum(size.stages.get(name, 0.0) for name in names)
        shares = tuple((i, size.stages.get(name, 0.0) / total) for i, name in enumerate(names))
        bars.append(Bar(size_name, shares, f"{total:.1f} ms"))
    return Chart("Where the CPU time of a frame goes, stages by themselves", {"": bars}, tuple(names))


def _latency(results: Results) -> Chart:
    groups = {}
    for name, size in results.sizes.items():
        for kind, words in (("every", "every frame"), ("adaptive", "adaptive")):
            if (report := size.paced.get(kind)) is None:
                continue
            lost = f", {report.dropped} of {report.frames + report.dropped} dropped"
            groups[f"{name}, {words}"] = [
                Bar("p50", ((0, report.p50_ms),), f"{report.p50_ms:.1f} ms"),
                Bar("p95", ((1, report.p95_ms),), f"{report.p95_ms:.1f} ms"),
                Bar("p99", ((3, report.p99_ms),), f"{report.p99_ms:.1f} ms{lost}"),
            ]
    return Chart("Latency at 30 frames a second", groups, line=(LATENCY_MS, f"{LATENCY_MS:.0f} ms"))


def _adaptive(results: Results) -> Chart:
    bars = []
    for clip in results.clips:
        f = clip.fidelity
        note = f"{clip.pipeline_ratio:.2f}, IoU {f.iou:.3f}, dtSSD {f.dtssd:.1f}"
        bars.append(Bar(clip.clip, ((2 if clip.pipeline_ratio <= ADAPTIVE_RATIO else 3, clip.pipeline_ratio),), note))
    title = "Adaptive: CPU time of the pipeline as a share of every frame's"
    return Chart(title, {"": bars}, line=(ADAPTIVE_RATIO, f"{ADAPTIVE_RATIO:g}"))
