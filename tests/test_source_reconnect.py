"""`Reconnecting` around sources made here: each ends, fails, hangs or floods as told."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from fakes import ListSource, plain_frame

from rtseg.errors import ConfigError, SourceStalled, SourceUnreadable
from rtseg.sources.reconnect import Backoff, LinkChange, LinkState, Reconnecting
from rtseg.types import Frame, Source

QUICK = Backoff(first=0.01, factor=1.0, longest=0.01)


class Paced(ListSource):
    """Frames that come `delay` seconds apart and are there when they come."""

    def __iter__(self) -> Iterator[Frame]:
        for frame in super().__iter__():
            yield frame.arrived_at(time.monotonic())


class Hanging:
    """Gives a frame, then nothing for ever, whatever is closed."""

    live = True
    counts: Mapping[str, int] = {}

    def __init__(self, release: threading.Event) -> None:
        self.info = ListSource([]).info
        self._release = release

    def __iter__(self) -> Iterator[Frame]:
        yield plain_frame()
        self._release.wait(20)

    def close(self) -> None:
        pass


def make(*sources: Any, **more: Any) -> tuple[Reconnecting, list[LinkChange]]:
    """Opens one after the other; the last one again and again. An exception is raised, a function is called."""
    left = list(sources)

    def open_next() -> Source:
        step = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(step, BaseException):
            raise step
        made: Source = step() if callable(step) else step
        return made

    changes: list[LinkChange] = []
    options: dict[str, Any] = {"backoff": QUICK, "changed": changes.append, **more}
    return Reconnecting(open_next, name="camera", **options), changes


def paced(count: int = 3, *, size: tuple[int, int] = (32, 18)) -> Callable[[], Source]:
    return lambda: Paced([plain_frame(i, size=size) for i in range(count)], delay=0.04)


def take(source: Reconnecting, count: int) -> list[Frame]:
    frames = []
    for frame in source:
        frames.append(frame)
        if len(frames) == count:
            break
    return frames


def test_a_source_that_ends_is_opened_again_with_a_new_epoch_and_a_clock_that_grows() -> None:
    source, changes = make(paced())
    frames = take(source, 7)
    assert [frame.index for frame in frames] == list(range(7))
    assert [frame.epoch for frame in frames] == [0, 0, 0, 1, 1, 1, 2]
    assert {frame.time_base.denominator for frame in frames} == {90_000}
    steps = [b.pts - a.pts for a, b in itertools.pairwise(frames)]
    assert [steps[i] for i in (0, 1, 3, 4)] == [3000] * 4  # 1/30 s, as the inner source says
    assert all(900 < steps[i] < 90_000 for i in (2, 5))  # what passed: 40 ms of delay, 10 ms of waiting
    assert source.counts == {"reconnects": 2}
    states = [change.state for change in changes]
    assert states[:4] == [LinkState.LIVE, LinkState.LOST, LinkState.RECONNECTING, LinkState.LIVE]
    assert [change.previous for change in changes[1:]] == states[:-1]


@pytest.mark.parametrize("error", [SourceUnreadable("broken"), OSError("refused"), ValueError("?"), EOFError()])
def test_no_class_of_error_ends_it(error: Exception) -> None:
    source, changes = make(error, error, paced(50))
    assert [frame.epoch for frame in take(source, 3)] == [0, 0, 0]
    assert [change.attempt for change in changes if change.state is LinkState.LOST] == [1, 2]
    assert "reconnects" not in source.counts


def test_an_option_that_is_wrong_ends_it_at_once() -> None:
    source, changes = make(ConfigError("no such mode"))
    with pytest.raises(ConfigError, match="no such mode"):
        take(source, 1)
    assert changes == []


def test_attempts_are_counted_until_the_first_frame() -> None:
    calls = []

    def failing() -> Source:
        calls.append(1)
        raise SourceUnreadable("refused")

    with pytest.raises(SourceUnreadable, match="refused"):
        make(failing, attempts=3)
    assert len(calls) == 3
    source, _ = make(SourceUnreadable("refused"), paced(), attempts=2)
    assert source.state is LinkState.LIVE
    assert len(take(source, 7)) == 7  # no limit any more


def test_attempts_that_hang_are_a_stall() -> None:
    release = threading.Event()

    def hang() -> Source:
        release.wait(20)
        raise OSError("let go")

    with pytest.raises(SourceStalled, match=r"camera gives nothing: no frame for 0\.1 s"):
        make(hang, attempts=1, open_timeout=0.1)
    release.set()


def test_what_hangs_is_left_behind_and_the_source_goes_on() -> None:
    release = threading.Event()
    source, changes = make(Hanging(release), paced(), read_timeout=0.1)
    frames = take(source, 3)
    assert frames[1].pts < 90_000  # at once, though the opening had ten seconds
    assert [frame.epoch for frame in frames] == [0, 1, 1]
    assert [change.state for change in changes[:4]] == [
        LinkState.LIVE,
        LinkState.STALLED,
        LinkState.RECONNECTING,
        LinkState.LIVE,
    ]
    assert source.counts["hung_readers"] == 1
    release.set()
    assert _soon(lambda: "hung_readers" not in source.counts)


def test_what_was_given_up_is_heard_no_more() -> None:
    released, resumed = threading.Event(), threading.Event()

    class Late(Hanging):
        def __iter__(self) -> Iterator[Frame]:
            yield from super().__iter__()
            resumed.set()
            yield plain_frame(level=7)

    source, _ = make(Late(released), paced(500), read_timeout=0.1)
    levels = []
    for frame in source:
        levels.append(int(frame.planes[0][0, 0]))
        if frame.epoch == 1:
            released.set()
        if resumed.is_set() and len(levels) > 10:
            break
    assert set(levels) == {100}
    assert frame.epoch == 1


def test_no_more_than_four_threads_hang() -> None:
    release = threading.Event()
    opened = []

    def hang() -> Source:
        opened.append(1)
        release.wait(20)
        raise OSError("let go")

    source, _ = make(hang, open_timeout=0.03, read_timeout=0.03)
    reader = threading.Thread(target=lambda: take(source, 1))
    reader.start()
    try:
        assert _soon(lambda: len(opened) == 4)
        time.sleep(0.3)
        assert (len(opened), source.counts["hung_readers"]) == (4, 4)
    finally:
        source.close()
        release.set()
        reader.join(5)
    assert not reader.is_alive()


def test_only_the_newest_frame_waits_and_the_others_are_counted() -> None:
    source, _ = make(lambda: Paced([plain_frame(i) for i in range(50)]), Hanging(threading.Event()), attempts=1)
    assert _soon(lambda: source.state is LinkState.LIVE and source.counts.get("reconnects") == 1)
    (frame,) = take(source, 1)
    assert frame.index == 50
    assert source.counts["dropped_by_source"] == 50


@pytest.mark.parametrize("state", ["opening", "live", "waiting"])
def test_close_ends_the_iteration_within_a_second(state: str) -> None:
    release = threading.Event()

    def hang() -> Source:
        release.wait(20)
        raise OSError("let go")

    inner = {"opening": hang, "live": Hanging(release), "waiting": OSError("refused")}[state]
    source, _ = make(inner, backoff=Backoff(first=60))
    ended: list[float] = []

    def read() -> None:
        list(source)
        ended.append(time.monotonic())

    reader = threading.Thread(target=read)
    reader.start()
    time.sleep(0.1)
    closed = time.monotonic()
    source.close()
    reader.join(5)
    release.set()
    assert ended
    assert ended[0] - closed < 1.0


def test_another_size_and_another_epoch_of_the_inner_source_are_new_epochs() -> None:
    inner = [plain_frame(0), plain_frame(1, epoch=1, size=(64, 36)), plain_frame(2, epoch=1, size=(64, 36))]
    source, _ = make(lambda: Paced(inner, delay=0.02))
    assert [frame.epoch for frame in take(source, 5)] == [0, 1, 1, 2, 3]
    assert source.info.name == "camera"


def test_who_is_told_may_close_it_and_may_fail() -> None:
    told = []

    def changed(change: LinkChange) -> None:
        told.append(change.state)
        if change.state is LinkState.LOST:
            source.close()
        raise RuntimeError("a bug of the listener's")

    source, _ = make(paced(), changed=changed)
    assert list(source)
    assert _soon(lambda: told == [LinkState.LIVE, LinkState.LOST, LinkState.RECONNECTING])


def test_twenty_returns_leave_no_thread() -> None:
    before = threading.active_count()
    source, _ = make(lambda: Paced([plain_frame()]))
    for frame in source:
        if frame.epoch == 20:
            break
    assert _soon(lambda: threading.active_count() == before)


@pytest.mark.parametrize("option", [{"open_timeout": 0}, {"read_timeout": -1}, {"attempts": 0}])
def test_time_outs_and_attempts_are_positive(option: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="must be"):
        make(paced(), **option)


def _soon(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()
