"""The load test in short, on a real service; and what it makes of figures."""

from __future__ import annotations

import asyncio
import dataclasses
import os

import pytest

from benchmarks.service import HEALTH_MS, Load, measure, photograph, service

GOOD = Load(
    places=4,
    clients=100,
    seconds=10.0,
    statuses={200: 10, 503: 90},
    single_p99=10.0,
    accepted_p50=50.0,
    accepted_p99=120.0,
    refused_p99=5.0,
    health_p99=5.0,
    health_worst=99.0,
    floor_p99=1.0,
    floor_worst=2.0,
    before_mb=100.0,
    peak_mb=300.0,
    after_mb=129.0,
    fairness=2.0,
    least=5,
    most=10,
)


@pytest.mark.parametrize(
    "change",
    [
        {"statuses": {200: 10, 500: 1}},
        {"statuses": {200: 10, 0: 1}},
        {"statuses": {503: 10}},
        {"accepted_p99": 121.0},
        {"refused_p99": 50.0},
        {"fairness": 2.1},
        {"health_worst": 100.0},
        {"after_mb": 131.0},
    ],
)
def test_each_promise_can_be_broken(change: dict[str, object]) -> None:
    assert all(GOOD.promises.values())
    assert list(dataclasses.replace(GOOD, **change).promises.values()).count(False) == 1  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_hundred_clients_are_answered_or_sent_away() -> None:
    pytest.importorskip("fastapi", reason="rtseg[serve] is not installed")
    with service("--workers", 2, "--queue", 6) as (port, pid):
        load = asyncio.run(measure(port, pid, photograph(), clients=100, seconds=4.0, places=8))
    assert set(load.statuses) == {200, 503}
    # Other tests run beside this one, and not all of the time: a client alone may have had the machine to itself, and
    # the slowest hundredth may have met the dearest test. The usual answer tells whether a place is a place; that the
    # slowest keep their promise too is measured on a machine at rest.
    assert load.accepted_p50 <= 3 * load.single_p99 * load.places * max(1.0, os.getloadavg()[0] / 2)
    assert load.after_mb - load.before_mb < 30
    # Other tests run beside this one: what they take of the machine is not the service's doing.
    assert load.health_p99 < HEALTH_MS * max(2.0, os.getloadavg()[0])
