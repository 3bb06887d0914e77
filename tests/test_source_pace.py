"""Bursts and backlogs against a clock that the test sets."""

from __future__ import annotations

from rtseg.sources.pace import Backlog, Pacer


def skipped(packets: list[tuple[float, float]], *, gop: int = 5) -> list[int]:
    """Numbers of the packets left out; a packet is its own time and ours, every fifth is a key frame."""
    backlog = Backlog()
    return [i for i, (at, now) in enumerate(packets) if backlog.skips(at, key=i % gop == 0, now=now)]


def test_what_keeps_up_loses_nothing() -> None:
    assert skipped([(100 + i / 10, i / 10) for i in range(100)]) == []


def test_what_falls_behind_goes_on_at_the_next_key_frame() -> None:
    slow = [(i / 10, i / 5) for i in range(18)]  # half as fast as it should be: 1.6 s behind at the 17th
    caught_up = [(i / 10, max(i / 10, 3.4)) for i in range(18, 40)]  # what is left out takes no time
    assert skipped(slow + caught_up) == [16, 17, 18, 19]


def test_a_clock_that_runs_slower_costs_a_group_and_no_more() -> None:
    drifting = [(i / 10, i / 10 * 1.05) for i in range(800)]  # 4 s behind at the end, with nothing waiting
    lost = skipped(drifting)
    assert len(lost) <= 2 * 5


def test_a_clock_that_falls_back_costs_a_group_and_no_more() -> None:
    restarted = [(50 + i / 10, i / 10) for i in range(18)] + [(i / 10, 1.8 + i / 10) for i in range(50)]
    assert skipped(restarted) == [18, 19]


def test_a_packet_without_a_time_is_left_out_with_the_others() -> None:
    backlog = Backlog()
    assert not backlog.skips(0.0, key=True, now=0.0)
    assert backlog.skips(0.1, key=False, now=2.0)
    assert backlog.skips(None, key=False, now=2.0)
    assert not backlog.skips(2.0, key=True, now=2.0)
    assert not backlog.skips(None, key=False, now=2.0)


def test_a_burst_is_given_at_its_own_pace() -> None:
    pacer = Pacer()
    assert pacer.wait(100.0, now=5.0) == 0.0
    assert pacer.wait(100.5, now=5.0) == 0.5
    assert pacer.wait(101.0, now=5.5) == 0.5
    assert pacer.wait(101.5, now=6.75) == 0.0  # a little late: what follows is not
    assert pacer.wait(102.0, now=6.75) == 0.25


def test_what_is_much_too_late_or_leaps_begins_anew() -> None:
    pacer = Pacer()
    pacer.wait(100.0, now=5.0)
    assert pacer.wait(100.5, now=9.0) == 0.0
    assert pacer.wait(101.0, now=9.0) == 0.5
    assert pacer.wait(5000.0, now=9.5) == 0.0
    assert pacer.wait(5000.25, now=9.5) == 0.25
    assert pacer.wait(0.0, now=9.75) == 0.0
