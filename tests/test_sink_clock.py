"""A recording beside live outputs: gaps, times that begin anew, other sizes, and what a run makes of a live source."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from fakes import ListSink, ListSource
from on_device import on_device
from written import decode, moving_frame, output_of, plane, times

from rtseg.build import build_sink
from rtseg.config import SinkOptions, StreamSink, VideoSink, VirtualCameraSink
from rtseg.errors import SinkError
from rtseg.sinks.clock import ByClock
from rtseg.sinks.stream import Stream
from rtseg.sinks.video import VideoWriter
from rtseg.types import StreamInfo

FAST = "h264:preset=ultrafast,tune=zerolatency"


class Clock:
    """Says the seconds of a list, one after the other."""

    def __init__(self, *seconds: float) -> None:
        self._seconds = iter(seconds)

    def __call__(self) -> float:
        return next(self._seconds)


def test_a_recording_keeps_gaps_repeats_restarts_and_sizes(tmp_path: Path) -> None:
    path = tmp_path / "live.mp4"
    # regular, then one picture twice, a gap of a minute, and a camera that came back: new times, another size
    seconds = [100.0, 100.04, 100.08, 160.08, 160.1, 160.2]
    frames = [
        moving_frame(0, pts=900_000, time_base=Fraction(1, 90_000)),
        moving_frame(1, pts=903_600, time_base=Fraction(1, 90_000)),
        moving_frame(1, pts=903_600, time_base=Fraction(1, 90_000)),
        moving_frame(2, pts=0, time_base=Fraction(1, 1000)),
        moving_frame(3, pts=40, time_base=Fraction(1, 1000), size=(32, 48)),
        moving_frame(4, pts=10**9, time_base=Fraction(1, 1000)),
    ]
    with ByClock(VideoWriter(path, codec=FAST), clock=Clock(*seconds)) as sink:
        for frame in frames:
            sink.write(output_of(frame))
    assert [float(at) for at in times(path)] == pytest.approx([second - 100 for second in seconds], abs=1e-4)
    pictures = decode(path)
    assert {(picture.width, picture.height) for picture in pictures} == {(64, 48)}
    assert int(np.median(plane(pictures[4], 0)[:, :8])) == pytest.approx(16, abs=2)  # a bar beside 32x48
    assert not list(tmp_path.glob("*.part"))


def test_times_grow_where_the_clock_stands() -> None:
    kept = ListSink()
    sink = ByClock(kept, clock=Clock(5.0, 5.0, 5.0, 4.0))
    for i in range(4):
        sink.write(output_of(moving_frame(i)))
    assert [output.picture.pts for output in kept.outputs] == [0, 1, 2, 3]
    assert all(output.frame.pts == i for i, output in enumerate(kept.outputs))


def test_an_error_and_notes_of_the_sink_are_its_own() -> None:
    sink = ByClock(ListSink(fail_at=0, error=SinkError("full")))
    assert sink.notes == []
    with pytest.raises(SinkError, match="full"):
        sink.write(output_of(moving_frame(0)))


def test_a_picture_on_a_device_stays_there() -> None:
    frame = on_device(moving_frame(7, pts=3, duration=2))
    moved = frame.shown_at(90, Fraction(1, 1000))
    assert moved.device is frame.device is not None
    assert (moved.pts, moved.time_base, moved.duration, moved.index) == (90, Fraction(1, 1000), 0, 7)


@pytest.mark.parametrize(
    ("clock", "live", "expected"), [(None, True, True), (None, False, False), (False, True, False), (True, False, True)]
)
def test_live_input_is_recorded_by_the_clock(tmp_path: Path, clock: bool | None, live: bool, expected: bool) -> None:
    sink = build_sink(VideoSink(path=tmp_path / "a.mp4", clock=clock), ListSource([], live=live))
    assert isinstance(sink, ByClock) is expected
    sink.close()


@pytest.mark.parametrize(
    ("options", "rate", "expected"),
    [
        (StreamSink(url="udp://127.0.0.1:9"), Fraction(25), 25.0),
        (StreamSink(url="udp://127.0.0.1:9"), Fraction(1000), 240.0),
        (StreamSink(url="udp://127.0.0.1:9"), None, 30.0),
        (StreamSink(url="udp://127.0.0.1:9", rate=15.0), Fraction(25), 15.0),
        (VirtualCameraSink(device="/dev/null"), Fraction(15), 15.0),
    ],
    ids=str,
)
def test_a_live_output_has_the_rate_of_its_source(options: SinkOptions, rate: Fraction | None, expected: float) -> None:
    source = ListSource([])
    source.info = StreamInfo("list", rate=rate)
    sink = build_sink(options, source)
    assert sink._rate == expected  # type: ignore[attr-defined]
    assert isinstance(sink, Stream) is isinstance(options, StreamSink)
    sink.close()
