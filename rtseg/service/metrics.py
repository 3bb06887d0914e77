"""Counters for Prometheus, of one service."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

MEDIA_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """Requests by route and status, their seconds, what was refused and why, what waits, and who works.

    waiting, alive, restarts: asked at each reading for the queue's length, the workers and how many were started anew.
    """

    def __init__(self, waiting: Callable[[], int], *, alive: Callable[[], int], restarts: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self.requests = Counter(
            "rtseg_requests", "Requests answered.", ("route", "method", "status"), registry=self._registry
        )
        self.seconds = Histogram(
            "rtseg_request_seconds", "From headers to last byte.", ("route",), buckets=_SECONDS, registry=self._registry
        )
        self.refused = Counter(
            "rtseg_refused", "Requests refused before their work began.", ("reason",), registry=self._registry
        )
        self.inside = Gauge(
            "rtseg_requests_inside", "Requests that hold a place, uploads included.", registry=self._registry
        )
        self.stage = Histogram(
            "rtseg_stage_seconds",
            "Of a picture's way, by stage.",
            ("stage",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        Gauge("rtseg_queue_length", "Pictures that wait for a worker.", registry=self._registry).set_function(waiting)
        for name, text, count in (
            ("rtseg_workers", "Workers that have their models.", alive),
            ("rtseg_worker_restarts", "Workers that ended and were started anew.", restarts),
        ):
            Gauge(name, text, registry=self._registry).set_function(count)

    def register(self, collector: Collector) -> None:
        """Further figures, asked for at each reading."""
        self._registry.register(collector)

    def text(self) -> bytes:
        """All of it in Prometheus's text format."""
        return generate_latest(self._registry)
