from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import graphs
import pytest
from engines import Caller, Machine, until

from rtseg.errors import ConfigError, EngineError, InferenceFailed, OutOfMemory, Overloaded
from rtseg.inference.engine import OrtEngine
from rtseg.inference.scheduler import Scheduler, StreamEngine


def ask(stream: StreamEngine, value: float) -> float:
    stream.inputs["x"][...] = value
    return float(stream.run()["y"][0, 0])


def scheduler_of(machine: Machine, **options: Any) -> Scheduler:
    options = options | {"clock": machine.clock}
    options.setdefault("parallel", 1)
    options.setdefault("capacity", None)
    return Scheduler(machine.open, **options)


def together(machine: Machine, streams: list[StreamEngine]) -> list[float]:
    """Each stream asks for its number, all of them behind a run that is held: one batch as large as can be."""
    machine.gated = True
    waiting = [Caller(partial(ask, stream), float(place)) for place, stream in enumerate(streams)]
    until(lambda: sum(stream._place[1].busy for stream in streams) == len(streams))
    machine.gated = False
    machine.step(50)
    return [value for caller in waiting for value in caller.done()]


def test_a_stream_gets_its_own_results_in_its_own_buffers() -> None:
    with scheduler_of(machine := Machine()) as scheduler:
        streams = [scheduler.stream() for _ in range(5)]
        assert together(machine, streams) == [0.0, 2.0, 4.0, 6.0, 8.0]
        assert [float(stream.inputs["x"][0, 0]) for stream in streams] == [0.0, 1.0, 2.0, 3.0, 4.0]
        assert scheduler.batches == (1, 2, 4, 8)
        assert streams[0].providers == scheduler.providers == ("device",)


# The ladder: a smaller batch, fewer streams, all on the CPU.


def test_a_batch_that_has_no_room_is_given_up_loudly_and_its_frames_are_made(caplog: pytest.LogCaptureFixture) -> None:
    room = [8]
    machine = Machine(room=lambda: room[0])
    with scheduler_of(machine) as scheduler, caplog.at_level(logging.WARNING):
        streams = [scheduler.stream() for _ in range(9)]
        room[0] = 2
        assert together(machine, streams) == [2.0 * value for value in range(9)]
        assert scheduler.batches == (1, 2)
        assert scheduler.counts["smaller_batch"] == 2, "8, then 4"
        assert machine.batches() == [1, 2], "what was given up holds no memory"
    assert "no room for batches of 8, 4 at most" in caplog.text
    assert "no room for batches of 4, 2 at most" in caplog.text


def test_a_batch_that_is_given_up_holds_no_memory_in_an_idle_lane_either() -> None:
    room, held = [8], {value: threading.Event() for value in (1.0, 2.0, 3.0)}

    class Holding(Machine):
        def use(self, batch: int, values: list[float]) -> None:
            if values[0] in held:
                assert held[values[0]].wait(10)
            super().use(batch, values)

    machine = Holding(room=lambda: room[0])
    with scheduler_of(machine, parallel=2) as scheduler:
        streams = [scheduler.stream() for _ in range(4)]
        callers = []
        for stream, value, state in zip(streams, (1.0, 2.0, 3.0, 4.0), 2 * ["running"] + 2 * ["waiting"], strict=True):
            callers.append(Caller(partial(ask, stream), value))
            until(lambda slot=stream._place[1], wanted=state: slot.state == wanted)  # type: ignore[misc]
        held[1.0].set()
        until(lambda: streams[3]._place[1].state == "running")
        held[2.0].set()
        callers[1].done()
        room[0] = 1
        held[3.0].set()
        assert [caller.done() for caller in callers] == [[2.0], [4.0], [6.0], [8.0]]
        assert machine.batches() == [1, 1]


def test_a_batch_that_has_no_room_at_the_start_is_given_up_loudly(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), scheduler_of(Machine(room=lambda: 2)) as scheduler:
        assert scheduler.batches == (1, 2)
        assert scheduler.counts["smaller_batch"] == 1
    assert "no batches of 4 and more: no room for 4" in caplog.text


class Crowded:
    """A device that has room for `fits` streams, and a CPU."""

    def __init__(self, fits: int, *, fallback: bool = True) -> None:
        self.fits, self.crowd = fits, list[StreamEngine]()
        self.device = Machine(room=self.room)
        self.cpu = Machine(provider="cpu")
        self.scheduler = scheduler_of(self.device, fallback=self.cpu.open if fallback else None)

    def room(self) -> int:
        return 1 if sum(stream.providers == ("device",) for stream in self.crowd) <= self.fits else 0

    def places(self) -> list[str]:
        return [stream.providers[0] for stream in self.crowd]


@pytest.mark.parametrize(
    ("fits", "places", "moved"),
    [(2, ["device", "device", "cpu", "cpu"], 2), (1, ["device", "cpu", "cpu", "cpu"], 3)],
)
def test_the_newest_streams_go_on_on_the_cpu_where_the_device_has_no_room_for_all(
    fits: int, places: list[str], moved: int, caplog: pytest.LogCaptureFixture
) -> None:
    crowded = Crowded(fits)
    with crowded.scheduler as scheduler, caplog.at_level(logging.WARNING):
        crowded.crowd = [scheduler.stream() for _ in range(4)]
        assert ask(crowded.crowd[0], 5.0) == 10.0, "the frame that met it is made all the same"
        assert crowded.places() == places
        assert [ask(stream, 3.0) for stream in crowded.crowd] == [6.0] * 4
        assert scheduler.counts["streams_moved"] == moved
        assert scheduler.counts["all_on_cpu"] == 0
        assert scheduler.stream().providers == ("cpu",), "new ones are not put where there is no room"
    assert "2 of 4 streams go on on the CPU" in caplog.text


def test_all_streams_go_on_on_the_cpu_where_the_device_has_no_room_for_one(caplog: pytest.LogCaptureFixture) -> None:
    crowded = Crowded(0)
    with crowded.scheduler as scheduler, caplog.at_level(logging.WARNING):
        crowded.crowd = [scheduler.stream() for _ in range(3)]
        before = len(crowded.device.runs)
        assert [ask(stream, 3.0) for stream in crowded.crowd] == [6.0] * 3
        assert crowded.places() == ["cpu"] * 3
        assert (scheduler.counts["streams_moved"], scheduler.counts["all_on_cpu"]) == (3, 1)
        assert scheduler.counts["alone"] == 3, "what was counted on the device is still counted"
        assert len(crowded.device.runs) - before <= 3
        assert crowded.device.batches() == [], "the device's memory is given back"
        assert scheduler.stream().providers == scheduler.providers == ("cpu",)
    assert "no room for a single stream, all run on the CPU" in caplog.text


def test_a_network_that_has_no_room_at_the_start_runs_on_the_cpu(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        scheduler = scheduler_of(Machine(room=lambda: 0), fallback=Machine(provider="cpu").open)
    with scheduler, scheduler.stream() as stream:
        assert (ask(stream, 2.0), stream.providers) == (4.0, ("cpu",))
        assert scheduler.counts["all_on_cpu"] == 1
    assert "all streams run on the CPU" in caplog.text


def test_without_a_fallback_the_frame_fails_and_no_streams_are_taken_on(caplog: pytest.LogCaptureFixture) -> None:
    crowded = Crowded(1, fallback=False)
    with crowded.scheduler as scheduler, caplog.at_level(logging.WARNING):
        crowded.crowd = [scheduler.stream(), scheduler.stream()]
        with pytest.raises(OutOfMemory):
            ask(crowded.crowd[0], 1.0)
        with pytest.raises(Overloaded, match="ran out of memory"):
            scheduler.stream()
        with pytest.raises(Overloaded, match="ran out of memory"):
            scheduler.stream(rate=None)
        assert scheduler.counts["streams_refused"] == 2
        crowded.crowd.pop().close()
        crowded.crowd.append(scheduler.stream())
    assert "no streams are taken on" in caplog.text


def test_a_frame_that_waits_while_its_stream_is_moved_is_made_on_the_cpu() -> None:
    crowded = Crowded(4)
    with crowded.scheduler as scheduler:
        crowded.crowd = [scheduler.stream() for _ in range(2)]
        crowded.device.gated = True
        held = Caller(lambda value: ask(crowded.crowd[0], value), 1.0)
        until(lambda: crowded.crowd[0]._place[1].state == "running")
        waiting = Caller(lambda value: ask(crowded.crowd[1], value), 7.0)
        until(lambda: crowded.crowd[1]._place[1].state == "waiting")
        crowded.fits = 1
        crowded.device.step(5)
        assert (held.done(), waiting.done()) == ([2.0], [14.0])
        assert crowded.places() == ["device", "cpu"]


# Admission.


def busy(machine: Machine, stream: StreamEngine, *, rate: float, seconds: float = 3.0) -> None:
    """Ask at a steady pace; the clock moves with the runs and between them."""
    start = machine.now
    for number in range(round(rate * seconds)):
        machine.now = max(machine.now, start + number / rate)
        ask(stream, 1.0)
    machine.now = max(machine.now, start + seconds)


TEN_MS: dict[int, float] = {1: 10.0}


def test_streams_are_refused_above_the_measured_capacity() -> None:
    with scheduler_of(Machine(TEN_MS), capacity=0.85, buckets=(1,)) as scheduler:
        first, _ = scheduler.stream(rate=30.0), scheduler.stream(rate=30.0)
        assert scheduler.load == pytest.approx(0.6)
        with pytest.raises(Overloaded, match=r"takes 0\.30 .*10\.0 ms each.* 0\.60 of 0\.85 is taken; close a stream"):
            scheduler.stream(rate=30.0)
        assert scheduler.counts["streams_refused"] == 1
        first.close()
        assert scheduler.load == pytest.approx(0.3)
        scheduler.stream(rate=30.0)


def test_lanes_multiply_the_capacity() -> None:
    with scheduler_of(Machine(TEN_MS), capacity=0.85, buckets=(1,), parallel=2) as scheduler:
        for _ in range(5):
            scheduler.stream(rate=30.0)
        with pytest.raises(Overloaded):
            scheduler.stream(rate=30.0)


def test_batches_multiply_the_capacity() -> None:
    with scheduler_of(Machine(), capacity=0.85) as scheduler:
        for _ in range(37):  # 30 frames a second of 0.75 ms each
            scheduler.stream(rate=30.0)
        with pytest.raises(Overloaded):
            scheduler.stream(rate=30.0)


def test_streams_that_ask_for_fewer_frames_than_declared_leave_room_for_more() -> None:
    machine = Machine(TEN_MS)
    with scheduler_of(machine, capacity=0.85, buckets=(1,)) as scheduler:
        sparing = scheduler.stream(rate=30.0)
        busy(machine, sparing, rate=10.0)
        assert scheduler.load == pytest.approx(0.1, rel=0.05)
        for _ in range(6):
            scheduler.stream(rate=30.0)
        assert scheduler.load == pytest.approx(0.7, rel=0.05)


def test_load_follows_what_streams_do_and_not_what_they_declared() -> None:
    machine = Machine(TEN_MS)
    with scheduler_of(machine, buckets=(1,)) as scheduler:
        stream, silent = scheduler.stream(rate=5.0), scheduler.stream(rate=30.0)
        busy(machine, stream, rate=50.0)
        assert scheduler.load == pytest.approx(0.5, rel=0.05)
        assert silent.share(machine.now) == 0.0
        machine.now += 30
        assert scheduler.load < 0.03, "a stream that is dead but not closed takes nothing"


def test_capacity_falls_when_runs_become_slower() -> None:
    machine = Machine(dict(TEN_MS))
    with scheduler_of(machine, capacity=0.85, buckets=(1,)) as scheduler:
        stream = scheduler.stream(rate=30.0)
        machine.costs = {1: 20.0}
        busy(machine, stream, rate=30.0, seconds=5.0)
        assert scheduler.load == pytest.approx(0.6, rel=0.05)
        with pytest.raises(Overloaded, match=r"20\.0 ms each"):
            scheduler.stream(rate=30.0)


def test_streams_without_a_pace_are_always_taken() -> None:
    with scheduler_of(Machine({1: 1000.0}), capacity=0.85, buckets=(1,)) as scheduler:
        scheduler.stream(rate=None)
        with pytest.raises(Overloaded):
            scheduler.stream(rate=1.0)


def test_a_closed_scheduler_gives_no_streams_and_a_closed_stream_no_results() -> None:
    scheduler = scheduler_of(Machine())
    stream = scheduler.stream()
    scheduler.close()
    with pytest.raises(InferenceFailed, match="closed"):
        ask(stream, 1.0)
    with pytest.raises(EngineError, match="closed"):
        scheduler.stream()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"buckets": (2, 4)}, "buckets must be batch sizes with 1"),
        ({"gather": -1.0}, "gather must be"),
        ({"parallel": 0}, "parallel must be"),
        ({"capacity": 0.0}, "capacity must be"),
    ],
)
def test_options_that_mean_nothing_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        scheduler_of(Machine(), **options)


def test_a_stream_refuses_inputs_that_are_not_the_networks() -> None:
    with scheduler_of(Machine()) as scheduler, scheduler.stream() as stream:
        assert stream({"x": stream.inputs["x"] + 4})["y"][0, 0] == 8.0
        with pytest.raises(InferenceFailed, match="takes the inputs"):
            stream({"z": stream.inputs["x"]})
        with pytest.raises(ConfigError, match="rate must be"):
            scheduler.stream(rate=0.0)


def test_a_real_network_gives_every_stream_what_it_gives_alone(tmp_path: Path) -> None:
    files = {batch: graphs.double(tmp_path / f"{batch}.onnx", shape=(batch, 2, 3, 4)) for batch in (1, 2)}
    opened: Callable[[int], OrtEngine] = lambda batch: OrtEngine(files[batch])  # noqa: E731
    with Scheduler(opened, buckets=(1, 2), capacity=None) as scheduler:

        def repeat(first: float) -> Caller:
            stream = scheduler.stream(rate=None)

            def once(value: float) -> float:
                stream.inputs["x"].fill(value)
                outputs = stream.run()
                assert (outputs["y"] == outputs["y"][0, 0, 0, 0]).all()
                return float(outputs["y"][0, 0, 0, 0])

            return Caller(once, *[first + number for number in range(200)])

        callers = [repeat(1000.0 * place) for place in range(5)]
        for place, caller in enumerate(callers):
            assert caller.done() == [2 * (1000.0 * place + number) for number in range(200)]
