"""Streams for Prometheus: their figures as they are when somebody reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rtseg.live.fleet import Fleet
from rtseg.live.ladder import Rung
from rtseg.live.stream import StreamStatus
from rtseg.service.journal import public_name

STATES = ("live", "no signal", "closed to view", "idle", "failed", "ended")
_RUNGS = {rung.name.lower().replace("_", " "): int(rung) for rung in Rung}
_NO_DROPS = frozenset({"reconnects", "repaired_timestamps", "ignored_rotations", "hung_readers", "hardware_failures"})
"""What sources count besides frames that they lost."""


class StreamCollector(Collector):
    """All streams of a fleet. Labels are names of streams, of their outputs, and of causes, which the code lists."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def describe(self) -> Iterator[Metric]:
        """Nothing beforehand: the streams are asked at each reading."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """One look at each stream."""
        found = self._fleet.list()
        for name, help_text, value in _GAUGES:
            gauge = GaugeMetricFamily(f"rtseg_stream_{name}", help_text, labels=("stream",))
            for stream, status in found.items():
                gauge.add_metric((stream,), value(status))
            yield gauge
        for name, help_text, count in _COUNTERS:
            counter = CounterMetricFamily(f"rtseg_stream_{name}", help_text, labels=("stream",))
            for stream, status in found.items():
                counter.add_metric((stream,), count(status))
            yield counter
        yield _state(found)
        yield _latency(found)
        yield _dropped(found)
        yield from _sinks(found)


_Figure = tuple[str, str, Callable[[StreamStatus], float]]
_GAUGES: tuple[_Figure, ...] = (
    ("fps", "Pictures a second, over the last seconds.", lambda status: status.fps),
    ("rung", "What gave way under load: 0 nothing, 1 adaptive, 2 lighter, 3 half rate.", lambda s: _RUNGS[s.rung]),
)
_COUNTERS: tuple[_Figure, ...] = (
    ("frames_in", "Frames seen.", lambda status: status.frames_in),
    ("frames_out", "Pictures handed to outputs.", lambda status: status.frames_out),
    ("closed_frames", "Pictures that were closed to view.", lambda status: status.held),
    ("inferences", "Frames that the network saw.", lambda status: status.inferred),
    (
        "skipped_inferences",
        "Pictures whose mask was an earlier frame's, moved or kept.",
        lambda status: max(0, status.frames_out - status.inferred - status.held),
    ),
    ("reconnects", "Times that the source came back.", lambda status: status.counts.get("reconnects", 0)),
)


def _state(found: dict[str, StreamStatus]) -> Metric:
    state = GaugeMetricFamily("rtseg_stream_state", "1 for the state that it is in.", labels=("stream", "state"))
    for stream, status in found.items():
        for each in STATES:
            state.add_metric((stream, each), float(status.state == each))
    return state


def _latency(found: dict[str, StreamStatus]) -> Metric:
    latency = GaugeMetricFamily(
        "rtseg_stream_latency_seconds",
        "From a frame's arrival until its picture was handed to the outputs.",
        labels=("stream", "quantile"),
    )
    for stream, status in found.items():
        if (age := status.stages.get("age")) is not None:
            for quantile, milliseconds in (("0.5", age.p50), ("0.95", age.p95), ("0.99", age.p99)):
                latency.add_metric((stream, quantile), milliseconds / 1e3)
    return latency


def _dropped(found: dict[str, StreamStatus]) -> Metric:
    dropped = CounterMetricFamily("rtseg_stream_dropped", "Frames lost, by cause.", labels=("stream", "cause"))
    for stream, status in found.items():
        dropped.add_metric((stream, "left_out"), status.left_out)
        for cause, count in status.counts.items():
            if cause not in _NO_DROPS:
                dropped.add_metric((stream, cause), count)
    return dropped


def _sinks(found: dict[str, StreamStatus]) -> Iterator[Metric]:
    labels = ("stream", "sink")
    up = GaugeMetricFamily("rtseg_sink_open", "Whether the output is open.", labels=labels)
    written = CounterMetricFamily("rtseg_sink_written", "Pictures written.", labels=labels)
    replaced = CounterMetricFamily("rtseg_sink_replaced", "Pictures too late for a slow output.", labels=labels)
    for stream, status in found.items():
        for number, (key, sink) in enumerate(status.sinks.items()):
            label = (stream, f"{number}:{public_name(key)}")
            up.add_metric(label, float(sink.state.value == "open"))
            written.add_metric(label, sink.written)
            replaced.add_metric(label, sink.replaced)
    yield from (up, written, replaced)
