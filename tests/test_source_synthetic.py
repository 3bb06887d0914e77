from __future__ import annotations

import threading
from fractions import Fraction

import pytest

from rtseg.errors import ConfigError
from rtseg.sources.synthetic import Synthetic
from rtseg.types import Colour, Source


def test_a_graph_is_drawn_to_the_number_of_frames() -> None:
    source = Synthetic("testsrc2=size=64x48:rate=5", frames=3)
    assert isinstance(source, Source)
    assert not source.live
    info = source.info
    assert info.size == (64, 48)
    assert info.rate == 5
    assert info.frames == 3
    assert info.seconds == pytest.approx(0.6)
    frames = list(source)
    assert [(frame.index, frame.time) for frame in frames] == [(0, 0.0), (1, 0.2), (2, 0.4)]
    assert {frame.size for frame in frames} == {(64, 48)}
    assert source.counts == {}


def test_the_same_graph_draws_the_same_frames() -> None:
    one, other = (list(Synthetic("testsrc2=size=64x48:rate=5", frames=2)) for _ in range(2))
    assert all((a.planes[0] == b.planes[0]).all() for a, b in zip(one, other, strict=True))
    assert (one[0].planes[0] != one[1].planes[0]).any()


def test_a_colour_is_that_colour() -> None:
    (frame,) = Synthetic("color=white:size=16x16,format=yuv420p", frames=1)
    assert set(frame.planes[0].flat) == {235}
    assert frame.colour == Colour("bt601")


def test_what_ends_by_itself_ends() -> None:
    assert len(list(Synthetic("color=size=16x16:rate=10:duration=0.5"))) == 5


def test_live_is_what_was_asked_for() -> None:
    source = Synthetic("testsrc2=size=16x16", frames=1, live=True)
    assert source.live
    source.close()


@pytest.mark.parametrize(
    "graph",
    [
        "movie=/etc/passwd",
        "amovie=a.wav",
        "testsrc2,[in]movie=x[b]",
        r"mo\vie=a.mp4",
        "'mov''ie'=a.mp4",
        "mo vie=a.mp4",
        "testsrc2,drawtext=textfile=a",
        "testsrc2,metadata=print:file=a.txt",
        "testsrc2,lut3d=a.cube",
    ],
)
def test_a_graph_that_opens_files_is_refused(graph: str) -> None:
    with pytest.raises(ConfigError, match="opens files"):
        Synthetic(graph)


@pytest.mark.parametrize(("graph", "message"), [("nope=1", "cannot draw"), ("", "cannot draw"), ("sine", "no picture")])
def test_a_bad_graph_is_refused_with_an_example(graph: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"{message}.*testsrc2=size"):
        Synthetic(graph)


def test_frames_must_be_positive() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        Synthetic("testsrc2", frames=0)


def test_close_from_another_thread_ends_the_iteration() -> None:
    source = Synthetic("testsrc2=size=64x48")
    third = threading.Event()

    def closer() -> None:
        assert third.wait(10)
        source.close()

    thread = threading.Thread(target=closer)
    thread.start()
    for frame in source:  # has no end of its own
        if frame.index == 2:
            third.set()
    thread.join()
    assert list(source) == []


def test_closing_before_iterating_leaves_nothing_to_iterate() -> None:
    source = Synthetic("testsrc2=size=64x48")
    source.close()
    assert list(source) == []


def test_time_is_counted_in_the_graphs_rate() -> None:
    (first, second) = Synthetic("testsrc2=size=16x16:rate=30000/1001", frames=2)
    assert (second.pts - first.pts) * second.time_base == Fraction(1001, 30000)
