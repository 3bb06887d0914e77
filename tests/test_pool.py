from __future__ import annotations

import logging

import pytest
from engines import GPU, INTERRUPT, LATE, POISON, Caller, Machine, until

from rtseg.errors import InferenceFailed, InferenceTimeout
from rtseg.inference.pool import Pool, Slot


def pool_of(machine: Machine, *, buckets: tuple[int, ...] = (1, 2, 4, 8), lanes: int | None = 1) -> Pool:
    pool = Pool(machine.open, buckets=buckets, lanes=lanes, gather=0.0025, clock=machine.clock)
    machine.runs.clear()
    return pool


class Asker:
    """A stream at a pool."""

    def __init__(self, pool: Pool) -> None:
        self.pool, self.slot = pool, pool.join()

    def __call__(self, value: float) -> float:
        self.slot.inputs["x"][...] = value
        return float(self.pool.run(self.slot)["y"][0, 0])


def waits(*askers: Asker) -> None:
    until(lambda: all(asker.slot.state == "waiting" for asker in askers))


def queued(pool: Pool, machine: Machine, *values: float) -> tuple[Caller, list[Caller], list[Asker]]:
    """One stream whose run is held at the gate, and behind it one for each value, in this order."""
    machine.gated = True
    first = Asker(pool)
    head = Caller(first, 1.0)
    until(lambda: first.slot.state == "running")
    askers = [Asker(pool) for _ in values]
    callers = []
    for asker, value in zip(askers, values, strict=True):
        callers.append(Caller(asker, value))
        waits(asker)
    return head, callers, askers


def test_streams_that_wait_together_run_in_one_batch_and_get_their_own_results() -> None:
    pool = pool_of(machine := Machine())
    head, callers, _ = queued(pool, machine, 10.0, 20.0, 30.0, 40.0)
    machine.step(2)
    assert head.done() == [2.0]
    assert [caller.done() for caller in callers] == [[20.0], [40.0], [60.0], [80.0]]
    assert machine.runs == [[1.0], [10.0, 20.0, 30.0, 40.0]]
    assert pool.counts == {"alone": 1, "batched": 4}


def test_a_batch_is_padded_where_that_is_cheaper_than_smaller_ones() -> None:
    pool = pool_of(machine := Machine())
    _, callers, _ = queued(pool, machine, 10.0, 20.0, 30.0)
    machine.step(2)
    assert [caller.done() for caller in callers] == [[20.0], [40.0], [60.0]]
    assert machine.runs[1] == [10.0, 20.0, 30.0, 30.0], "3.5 + 3 ms in two runs, 4.5 in one"


def test_a_batch_is_not_padded_where_smaller_ones_are_cheaper() -> None:
    pool = pool_of(machine := Machine({1: 1.0, 2: 1.2, 4: 2.3}), buckets=(1, 2, 4))
    _, callers, _ = queued(pool, machine, 10.0, 20.0, 30.0)
    machine.step(3)
    assert [caller.done() for caller in callers] == [[20.0], [40.0], [60.0]]
    assert [len(run) for run in machine.runs] == [1, 2, 1]


def test_batches_that_do_not_pay_are_not_kept() -> None:
    pool = pool_of(machine := Machine({1: 2.0, 2: 3.0, 4: 6.1, 8: 8.0}))
    assert sorted(pool.costs) == [1, 2]
    assert machine.opened == [1, 2, 4]


def test_who_waits_longest_goes_first_however_others_flood() -> None:
    pool = pool_of(machine := Machine(), buckets=(1,))
    machine.gated = True
    floods = [Asker(pool), Asker(pool), Asker(pool)]
    callers = [Caller(asker, *[float(place)] * 20) for place, asker in enumerate(floods)]
    quiet = Asker(pool)
    for value in (51.0, 52.0, 53.0):
        until(lambda: sum(asker.slot.state == "waiting" for asker in floods) == 2)
        asking = Caller(quiet, value)
        waits(quiet)
        before = len(machine.runs)
        machine.step(4)
        assert asking.done() == [2 * value]
        assert machine.runs.index([value]) - before <= 3, "one run of each that was there before, and then its own"
    machine.step(60)
    assert [len(caller.done()) for caller in callers] == [20, 20, 20]


def test_streams_that_are_open_but_silent_are_not_waited_for() -> None:
    pool = pool_of(Machine())
    Asker(pool), Asker(pool)
    assert Caller(Asker(pool), 1.0, 2.0, 3.0).done() == [2.0, 4.0, 6.0]


def asked_at(machine: Machine, slot: Slot, *ages: float) -> None:
    slot.asked.extend(machine.now - age for age in ages)


def test_a_frame_waits_for_a_stream_that_is_due_and_goes_at_once_with_it() -> None:
    pool = pool_of(machine := Machine())
    first, second = Asker(pool), Asker(pool)
    asked_at(machine, second.slot, 0.066, 0.033)
    caller = Caller(first, 1.0)
    waits(first)
    assert second(2.0) == 4.0
    assert caller.done() == [2.0]
    assert machine.runs == [[1.0, 2.0]]


def test_a_frame_waits_no_longer_than_the_deadline() -> None:
    pool = pool_of(machine := Machine())
    first, second = Asker(pool), Asker(pool)
    asked_at(machine, second.slot, 0.066, 0.033)
    caller = Caller(first, 1.0)
    waits(first)
    machine.now += 0.0024
    assert first.slot.state == "waiting"
    machine.now += 0.0002
    assert caller.done() == [2.0]
    assert machine.runs == [[1.0]]


@pytest.mark.parametrize("ages", [(0.4, 0.3), (0.043, 0.01)], ids=["dead", "not yet"])
def test_a_frame_does_not_wait_for_a_stream_that_will_not_come_in_time(ages: tuple[float, float]) -> None:
    pool = pool_of(machine := Machine())
    first, second = Asker(pool), Asker(pool)
    asked_at(machine, second.slot, *ages)
    assert Caller(first, 1.0).done() == [2.0]


def test_a_frame_waits_no_longer_than_a_batch_saves() -> None:
    pool = pool_of(machine := Machine({1: 1.0, 2: 1.5}), buckets=(1, 2))
    first, second = Asker(pool), Asker(pool)
    asked_at(machine, second.slot, 0.066, 0.033)
    caller = Caller(first, 1.0)
    waits(first)
    machine.now += 0.00051
    assert caller.done() == [2.0]


def test_two_lanes_run_beside_each_other() -> None:
    pool = pool_of(machine := Machine(), lanes=2)
    machine.gated = True
    askers = [Asker(pool), Asker(pool)]
    callers = [Caller(asker, float(place)) for place, asker in enumerate(askers)]
    until(lambda: all(asker.slot.state == "running" for asker in askers))
    machine.step(2)
    assert [caller.done() for caller in callers] == [[0.0], [2.0]]


def test_only_the_stream_whose_frame_is_at_fault_fails() -> None:
    pool = pool_of(machine := Machine())
    _, callers, _ = queued(pool, machine, 10.0, POISON, 30.0, 40.0)
    machine.step(6)
    assert [caller.done() for caller in callers] == [[20.0], [], [60.0], [80.0]]
    assert isinstance(callers[1].error, InferenceFailed)
    assert pool.counts["retried_batches"] == 1
    assert machine.runs[2:] == [[10.0], [POISON], [30.0], [40.0]]


def test_a_run_that_took_too_long_is_not_tried_again_frame_by_frame() -> None:
    pool = pool_of(machine := Machine())
    _, callers, _ = queued(pool, machine, 10.0, LATE)
    machine.step(2)
    for caller in callers:
        assert caller.done() == []
        assert isinstance(caller.error, InferenceTimeout)
    assert callers[0].error is not callers[1].error
    assert len(machine.runs) == 2


def test_a_stream_that_is_closed_while_it_waits_fails_and_blocks_nobody() -> None:
    pool = pool_of(machine := Machine(), buckets=(1,))
    _, callers, askers = queued(pool, machine, 10.0, 20.0)
    pool.leave(askers[0].slot)
    assert callers[0].done() == []
    assert isinstance(callers[0].error, InferenceFailed)
    machine.step(2)
    assert callers[1].done() == [40.0]
    with pytest.raises(InferenceFailed, match="closed"):
        askers[0](1.0)


def test_a_thread_that_is_interrupted_leaves_its_fellows_frames_to_the_next() -> None:
    pool = pool_of(machine := Machine())
    _, callers, _ = queued(pool, machine, INTERRUPT, 20.0, 30.0)
    machine.step(3)
    assert isinstance(callers[0].done() or callers[0].error, KeyboardInterrupt)
    assert [caller.done() for caller in callers[1:]] == [[40.0], [60.0]]


def test_a_dissolved_pool_fails_what_waits_and_what_comes() -> None:
    pool = pool_of(machine := Machine(), buckets=(1,))
    head, callers, _ = queued(pool, machine, 10.0)
    pool.dissolve("over")
    assert callers[0].done() == []
    machine.step(1)
    assert head.done() == [2.0], "what is under way is finished"
    with pytest.raises(InferenceFailed, match="over"):
        Asker(pool)(1.0)


def test_a_batch_that_mixes_frames_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine()

    def mixing(batch: int) -> object:
        engine = machine.open(batch)
        if batch > 1:
            run = engine.run
            engine.run = lambda: {"y": run()["y"][::-1]}  # type: ignore[method-assign]
        return engine

    with caplog.at_level(logging.WARNING):
        pool = Pool(mixing, buckets=(1, 2), lanes=1, gather=0.0, clock=machine.clock)  # type: ignore[arg-type]
    assert sorted(pool.costs) == [1]
    assert "no batches of 2" in caplog.text


def test_what_a_frame_costs_follows_what_runs_are_measured_to_take() -> None:
    machine = Machine(dict(GPU))
    pool = pool_of(machine)
    assert [round(pool.milliseconds(count), 3) for count in (1, 2, 3, 4, 20)] == [3.0, 1.75, 1.5, 1.125, 0.75]
    machine.costs = {batch: 2 * cost for batch, cost in GPU.items()}
    Caller(Asker(pool), *[1.0] * 100).done()
    assert pool.milliseconds(1) == pytest.approx(6.0, rel=0.01)
