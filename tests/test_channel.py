from __future__ import annotations

import threading
import time

import pytest

from rtseg.channel import Channel, Closed


def test_block_loses_nothing_and_keeps_order() -> None:
    channel: Channel[int] = Channel(2)

    def give() -> None:
        for i in range(1000):
            channel.put(i)
        channel.end()

    thread = threading.Thread(target=give)
    thread.start()
    assert list(channel) == list(range(1000))
    thread.join()
    assert channel.dropped == 0


def test_latest_keeps_the_newest_and_counts_the_rest() -> None:
    channel: Channel[int] = Channel(1, policy="latest")
    for i in range(10):
        channel.put(i)
    channel.end()
    assert list(channel) == [9]
    assert channel.dropped == 9


def test_what_was_queued_comes_before_the_error() -> None:
    channel: Channel[int] = Channel(4)
    channel.put(1)
    channel.end(ValueError("broken"))
    taker = iter(channel)
    assert next(taker) == 1
    with pytest.raises(ValueError, match="broken"):
        next(taker)


def test_a_giver_that_waits_is_told_when_the_taker_leaves() -> None:
    channel: Channel[int] = Channel(1)
    channel.put(1)
    told = threading.Event()

    def give() -> None:
        with pytest.raises(Closed):
            channel.put(2)
        told.set()

    thread = threading.Thread(target=give)
    thread.start()
    time.sleep(0.05)
    channel.abandon()
    assert told.wait(1.0)
    thread.join()


def test_nothing_is_accepted_once_a_stopped_taker_has_left() -> None:
    stopping = threading.Event()
    channel: Channel[int] = Channel(2, stopping=stopping)
    channel.put(1)
    stopping.set()
    assert list(channel) == [1]
    with pytest.raises(Closed):
        channel.put(2)
    assert channel.accepted == 1


def test_stopping_wakes_an_idle_taker() -> None:
    stopping = threading.Event()
    channel: Channel[int] = Channel(1, stopping=stopping)
    threading.Timer(0.05, stopping.set).start()
    started = time.monotonic()
    assert list(channel) == []
    assert time.monotonic() - started < 0.5
