from __future__ import annotations

import threading
from fractions import Fraction
from pathlib import Path

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
        "cellauto=a.txt",
        "life=a.txt",
        "testsrc2,curves=plot=a.txt",
        "color[a];color[b];[a][b]psnr=f=a.txt",
        "testsrc2,split[a][b];[a][b]ssim=a.txt",
        "testsrc2,@curves@here=plot=a.txt",
        "testsrc2, \n curves = plot=a.txt",
        "testsrc2=size=16x16,geq=lum='p(X,Y)'[a];[a]curves=plot=a.txt",
        "color,geq=lum='[',curves=plot=a.txt,geq=lum=']'",
        "color[a'];[a']curves=plot=a.txt,geq=lum=']'",
        r"testsrc2,geq=lum=\'p(X,Y),curves=plot=a.txt,geq=lum='p(X,Y)'",
    ],
)
def test_a_graph_that_may_open_files_is_refused(graph: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="may not use"):
        Synthetic(graph)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "graph",
    [
        "testsrc2=size=32x32,geq=lum='p(X,Y)':cb=128:cr=128",
        r"testsrc2=size=32x32,geq=lum=p(X\,Y):cb=128:cr=128",
        " color = red : size = 32x32 [a] ; testsrc2=size=16x16[b];[a][b] overlay@over = 4:4 , hue=h='mod(t\\,360)'",
        "color=c=red:size=16x16[a];color=c=blue:size=16x16[b];[a][b]hstack",
        "gradients=size=32x32,format=yuv444p,rotate=0.1,gblur=2,noise=alls=9",
    ],
)
def test_graphs_of_several_filters_are_drawn(graph: str) -> None:
    (frame,) = Synthetic(graph, frames=1)
    assert frame.size == (32, 32) if "hstack" not in graph else (32, 16)


@pytest.mark.parametrize(
    ("graph", "message"),
    [("nope=1", "may not use nope"), ("color=nope", "cannot draw"), ("", "cannot draw"), ("sine", "no picture")],
)
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
