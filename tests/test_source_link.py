"""The state machine of a connection, and the clock of a stream that was cut: no thread, no network, exact values."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest

from rtseg.sources.link import Backoff, Link, LinkState
from rtseg.sources.live_clock import LiveClock

PLAIN = Backoff(first=0.25, factor=1.5, longest=15.0, jitter=0.0)
MILLI = Fraction(1, 1000)


def make_link() -> Link:
    return Link(open_timeout=10, read_timeout=5, backoff=PLAIN, rng=random.Random(0))


def test_an_opening_that_gives_frames_is_live_and_each_frame_moves_the_time_out() -> None:
    link = make_link()
    link.opening(100.0)
    assert (link.state, link.due, link.waiting) == (LinkState.OPENING, 110.0, False)
    (change,) = link.frame(101.0)
    assert (change.state, change.previous, change.at, change.attempt) == (LinkState.LIVE, LinkState.OPENING, 101.0, 1)
    assert link.frame(103.0) == []
    assert (link.due, link.attempt) == (108.0, 0)


def test_silence_is_a_stall_and_is_tried_again() -> None:
    link = make_link()
    link.opening(0.0)
    link.frame(1.0)
    changes = link.late(6.0)
    assert [change.state for change in changes] == [LinkState.STALLED, LinkState.RECONNECTING]
    assert changes[0].reason == "no frame for 5 s"
    assert (link.waiting, link.due) == (True, 6.25)


def test_an_opening_without_a_frame_is_a_stall_after_its_own_time_out() -> None:
    link = make_link()
    link.opening(0.0)
    assert [change.reason for change in link.late(10.0)] == ["no frame for 10 s"] * 2


def test_an_end_is_a_loss_and_a_return_is_live_again() -> None:
    link = make_link()
    link.opening(0.0)
    link.frame(1.0)
    lost, again = link.ended("the stream ended", 2.0)
    assert (lost.state, lost.reason, again.state) == (LinkState.LOST, "the stream ended", LinkState.RECONNECTING)
    link.opening(2.25)
    (back,) = link.frame(3.0)
    assert (back.state, back.previous, back.reason) == (LinkState.LIVE, LinkState.RECONNECTING, "frames again")


def test_waits_grow_until_there_is_a_frame_again() -> None:
    link = make_link()
    waits = []
    for _ in range(3):
        link.opening(0.0)
        link.ended("refused", 0.0)
        waits.append(link.due)
    assert waits == [0.25, 0.375, 0.5625]
    link.opening(0.0)
    link.frame(0.0)
    link.ended("gone", 0.0)
    assert link.due == 0.25


@pytest.mark.parametrize(("failures", "seconds"), [(1, 0.25), (2, 0.375), (11, 14.416), (12, 15.0), (10_000, 15.0)])
def test_a_wait_is_a_power_up_to_the_longest(failures: int, seconds: float) -> None:
    assert PLAIN.delay(failures, random.Random(0)) == pytest.approx(seconds, abs=1e-3)


def test_jitter_only_shortens() -> None:
    waits = [Backoff(jitter=0.2).delay(1, random.Random(seed)) for seed in range(200)]
    assert 0.2 <= min(waits) < 0.205
    assert 0.245 < max(waits) <= 0.25


def ticks_of(*frames: tuple[int, float, bool]) -> tuple[list[int], int]:
    """Frames as milliseconds claimed, seconds of arrival, and whether the connection is new."""
    clock = LiveClock()
    return [clock(pts, MILLI, arrived=arrived, anew=anew) for pts, arrived, anew in frames], clock.repaired


def test_times_of_a_connection_are_its_own_however_late_they_arrive() -> None:
    assert ticks_of((5000, 1.0, True), (5040, 1.9, False), (5080, 1.9, False)) == ([0, 3600, 7200], 0)


def test_the_gap_between_connections_is_what_passed() -> None:
    assert ticks_of((5000, 1.0, True), (5040, 1.04, False), (0, 3.04, True)) == ([0, 3600, 183600], 0)


def test_a_clock_that_falls_back_goes_on_and_is_counted() -> None:
    assert ticks_of((5000, 1.0, True), (0, 1.04, False), (40, 1.08, False)) == ([0, 3600, 7200], 1)


@pytest.mark.parametrize("leap", [2**33, -(2**33)])
def test_a_wrap_of_33_bits_goes_on_and_is_counted(leap: int) -> None:
    clock = LiveClock()
    clock(2**33, Fraction(1, 90_000), arrived=1.0, anew=True)
    assert clock(2**33 + leap + 3600, Fraction(1, 90_000), arrived=1.5, anew=False) == 45_000
    assert clock(2**33 + leap + 7200, Fraction(1, 90_000), arrived=1.5, anew=False) == 48_600
    assert clock.repaired == 1


def test_a_pause_that_the_stream_tells_of_is_no_leap() -> None:
    assert ticks_of((0, 1.0, True), (60_000, 61.0, False)) == ([0, 5_400_000], 0)


def test_frames_at_one_instant_still_grow() -> None:
    assert ticks_of((0, 1.0, True), (0, 1.0, True), (0, 1.0, True))[0] == [0, 1, 2]
