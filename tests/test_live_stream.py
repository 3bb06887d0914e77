"""A live stream as a whole: a source that goes and comes, sinks that are slow, dead or gone, and its figures."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from fakes import ListSink, SquareSegmenter, plain_frame
from room import Tap, until

from rtseg import store
from rtseg.errors import ConfigError, SinkError
from rtseg.live.paced import Paced, SinkState
from rtseg.live.pipeline import LivePipeline, Network
from rtseg.live.scene import Scene
from rtseg.live.slate import slate
from rtseg.live.stream import LiveStream
from rtseg.pipeline import Pipeline
from rtseg.types import Frame, Output, Regions, Sink, Size, StreamInfo


def live_pipeline(scene: Scene | None = None) -> LivePipeline:
    card = store.find_card("portrait")
    return LivePipeline(lambda _name: Network(card, Pipeline(SquareSegmenter(), hold=0)), scene or Scene())


def output(index: int = 0, *, size: tuple[int, int] = (32, 18), level: int = 100) -> Output:
    frame = plain_frame(index, size=size, level=level)
    return Output(frame, Regions(np.zeros((1, 1, 1), np.uint8), ("person",), frame.pts, frame.size), (), frame)


def test_a_paced_sink_writes_new_pictures_at_once_on_a_clock_of_its_own() -> None:
    inner = ListSink()
    paced = Paced(lambda _size: inner, name="out", keep=5.0)
    for index in range(3):
        paced.write(output(index))
        until(lambda index=index: len(inner.outputs) == index + 1)  # type: ignore[misc]
    paced.close()
    pts = [written.picture.pts for written in inner.outputs]
    assert pts == sorted(set(pts))
    assert {written.picture.time_base for written in inner.outputs} == {Fraction(1, 90000)}
    assert inner.closed == 1
    status = paced.status()
    assert (status.state, status.written, status.repeated) == (SinkState.CLOSED, 3, 0)
    assert status.latency is not None
    assert status.latency.count == 3


def test_a_sink_never_gets_the_frame_that_the_picture_was_made_of() -> None:
    inner = ListSink()
    paced = Paced(lambda _size: inner, name="out", keep=0.02)
    made, room = output(level=10), plain_frame(level=200)
    paced.write(Output(room, made.segmentation, (), made.picture))
    until(lambda: len(inner.outputs) >= 3)
    paced.close()
    assert {int(written.frame.planes[0].max()) for written in inner.outputs} == {10}


def test_the_last_picture_is_repeated_and_then_a_slate_says_why() -> None:
    inner = ListSink()
    paced = Paced(lambda _size: inner, name="out", keep=0.02, hold=0.3, text=lambda: "no signal")
    paced.write(output(size=(160, 90)))
    until(lambda: paced.status().repeated > 30)
    paced.close()
    card = slate(Size(160, 90), "no signal")
    first_slate = next(
        place for place, got in enumerate(inner.outputs) if np.array_equal(got.picture.planes[0], card.planes[0])
    )
    assert first_slate > 3
    for place, got in enumerate(inner.outputs):
        expected = card if place >= first_slate else plain_frame(size=(160, 90))
        np.testing.assert_array_equal(got.picture.planes[0], expected.planes[0])


def test_a_sink_with_a_size_of_its_own_begins_with_a_slate() -> None:
    inner = ListSink()
    paced = Paced(lambda _size: inner, name="out", size=Size(64, 36), keep=0.02)
    until(lambda: inner.outputs)
    paced.close()
    assert inner.outputs[0].picture.size == (64, 36)
    assert inner.outputs[0].held


def test_a_sink_that_waits_for_the_first_picture_is_not_opened_before() -> None:
    opened: list[Size] = []

    def open_sink(size: Size) -> Sink:
        opened.append(size)
        return ListSink()

    paced = Paced(open_sink, name="out")
    time.sleep(0.1)
    assert paced.status().state is SinkState.WAITING
    assert opened == []
    paced.write(output(size=(48, 20)))
    until(lambda: opened)
    paced.close()
    assert opened == [(48, 20)]


def test_a_recorder_gets_no_repetitions() -> None:
    inner = ListSink()
    paced = Paced(lambda _size: inner, name="out", keep=0.01, hold=0.05, fresh=True)
    paced.write(output())
    time.sleep(0.3)
    paced.write(output(1))
    until(lambda: len(inner.outputs) == 2)
    paced.close()
    assert len(inner.outputs) == 2


def test_a_sink_that_fails_is_opened_again_and_its_time_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtseg.live.paced._FIRST", 0.02)
    sinks: list[ListSink] = []

    def open_sink(_size: Size) -> Sink:
        if len(sinks) == 1:
            sinks.append(ListSink())
            raise SinkError("the server is not back yet")
        sinks.append(ListSink(fail_at=2, error=SinkError("the server is gone")))
        return sinks[-1]

    paced = Paced(open_sink, name="out", keep=0.01)
    states = set()
    for index in range(400):
        paced.write(output(index))
        states.add(paced.status().state)
        time.sleep(0.002)
        if len(sinks) > 3:
            break
    status = paced.status()
    paced.close()
    assert SinkState.LOST in states
    assert len(sinks) > 3
    assert status.opened >= 2
    assert [sinks[0].closed, sinks[2].closed] == [1, 1]
    for sink in (sinks[0], sinks[2]):
        assert next(got.picture.pts for got in sink.outputs) < 45000  # half a second


def test_a_slow_sink_delays_neither_the_stream_nor_the_others() -> None:
    tap, quick, slow = Tap(), ListSink(), ListSink(delay=0.4)
    sinks = {
        "quick": Paced(lambda _size: quick, name="quick", keep=5.0),
        "slow": Paced(lambda _size: slow, name="slow", keep=5.0),
    }
    stream = LiveStream(tap, live_pipeline(), sinks)
    for index in range(20):
        tap.give(plain_frame(index))
        until(lambda index=index: len(quick.outputs) == index + 1, seconds=1)  # type: ignore[misc]
    status = stream.status()
    stream.close()
    assert status.frames_out == 20
    assert len(slow.outputs) < 5
    assert status.sinks["slow"].replaced > 10
    assert status.sinks["quick"].replaced == 0
    latency = status.sinks["quick"].latency
    assert latency is not None
    assert latency.p99 < 200


def test_a_stream_says_how_it_is_and_ends_when_it_is_closed() -> None:
    tap, inner = Tap(), ListSink()
    before = threading.active_count()
    stream = LiveStream(tap, live_pipeline(Scene(background="blur")), {"out": Paced(lambda _size: inner, name="out")})
    tap.give(plain_frame())
    until(lambda: inner.outputs)
    status = stream.status()
    assert (status.state, status.model, status.rung, status.scene.background) == ("live", "portrait", "full", "blur")
    assert (status.frames_in, status.frames_out, status.inferred, status.counts) == (1, 1, 1, {"reconnects": 1})
    tap.state = "reconnecting"
    assert stream.status().state == "no signal"
    stream.close()
    assert stream.status().state == "ended"
    assert threading.active_count() == before


def test_the_scene_changes_while_it_runs() -> None:
    tap, inner = Tap(), ListSink()
    stream = LiveStream(tap, live_pipeline(), {"out": Paced(lambda _size: inner, name="out", keep=5.0)})
    tap.give(plain_frame(0))
    until(lambda: len(inner.outputs) == 1)
    stream.change(background="#ff0000", mirror=True)
    tap.give(plain_frame(1))
    until(lambda: len(inner.outputs) == 2)
    with pytest.raises(ConfigError, match="colour"):
        stream.change(background="#ff00zz", colour=3)
    stream.close()
    plain, painted = (got.picture.planes[2] for got in inner.outputs)
    assert (plain == 128).all()
    assert painted[:, -1].min() > 200
    assert (painted[:, 0] == 128).all()  # the person


class Demand(ListSink):
    """A sink that serves viewers."""

    def __init__(self) -> None:
        super().__init__()
        self.watched = True


def test_a_stream_that_nobody_watches_asks_no_network_and_wakes_with_the_next_frame() -> None:
    tap, inner = Tap(), Demand()
    stream = LiveStream(tap, live_pipeline(), {"page": Paced(lambda _size: inner, name="page", keep=5.0)})
    tap.give(plain_frame(0))
    until(lambda: len(inner.outputs) == 1)
    inner.watched = False
    for index in range(1, 6):
        tap.give(plain_frame(index))
    until(lambda: stream.status().frames_in == 6)
    assert stream.status().inferred == 1
    assert stream.status().state == "idle"
    inner.watched = True
    tap.give(plain_frame(6))
    until(lambda: len(inner.outputs) == 2)
    assert stream.status().inferred == 2
    stream.close()


def test_sinks_come_and_go_while_a_stream_runs() -> None:
    tap, first, second = Tap(), ListSink(), ListSink()
    stream = LiveStream(tap, live_pipeline(), {"first": Paced(lambda _size: first, name="first")})
    stream.add_sink("second", Paced(lambda _size: second, name="second"))
    tap.give(plain_frame(0))
    until(lambda: first.outputs and second.outputs)
    stream.remove_sink("first")
    stream.remove_sink("never there")
    assert first.closed == 1
    assert list(stream.status().sinks) == ["second"]
    stream.close()
    assert second.closed == 1


class Broken:
    """A source that ends with an error which waiting will not mend."""

    live, info, counts, state = True, StreamInfo("broken"), dict[str, int](), "opening"

    def __iter__(self) -> Iterator[Frame]:
        raise ConfigError("no such protocol: use rtsp://")

    def close(self) -> None:
        return None


def test_an_error_that_waiting_does_not_mend_is_told_and_everything_closed() -> None:
    inner = Demand()
    stream = LiveStream(Broken(), live_pipeline(), {"out": Paced(lambda _size: inner, name="out", size=Size(32, 18))})
    assert stream.wait(5)
    status = stream.status()
    assert (status.state, status.error) == ("failed", "no such protocol: use rtsp://")
    stream.close()


def test_what_listens_to_outputs_cannot_end_the_stream() -> None:
    heard: list[int] = []

    def listen(made: Output) -> None:
        heard.append(made.frame.index)
        raise ValueError("a listener's bug")

    tap = Tap()
    sinks: Mapping[str, Paced] = {}
    stream = LiveStream(tap, live_pipeline(), sinks)
    stop = stream.listen(listen)
    tap.give(plain_frame(0))
    tap.give(plain_frame(1))
    until(lambda: len(heard) == 2)
    stop()
    tap.give(plain_frame(2))
    until(lambda: stream.status().state == "idle")
    stream.close()
    assert heard == [0, 1]


def test_a_rate_is_kept_by_leaving_frames_out() -> None:
    tap, inner = Tap(), ListSink()
    pace = Paced(lambda _size: inner, name="out", keep=5.0)
    stream = LiveStream(tap, live_pipeline(), {"out": pace}, rate=10.0)
    now = time.monotonic()
    for index in range(30):  # thirty frames of a second
        tap.give(replace(plain_frame(index), arrived=now + index / 30))
    until(lambda: stream.status().frames_in == 30)
    status = stream.status()
    stream.close()
    assert (status.frames_out, status.left_out) == (10, 20)
