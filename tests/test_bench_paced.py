from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from rtseg.bench.paced import Paced
from rtseg.runner import run
from rtseg.sinks.null import Null
from rtseg.sources.synthetic import Synthetic
from rtseg.types import Frame, Output, Regions

GRAPH = "testsrc2=size=64x48:rate=10"


def output_of(frame: Frame) -> Output:
    return Output(frame, Regions(np.zeros((1, 1, 1), np.uint8), ("person",), frame.pts, frame.size), (), frame)


def test_frames_come_by_the_clock_whatever_their_own_times() -> None:
    started = time.monotonic()
    arrived = [frame.arrived for frame in Paced(Synthetic(GRAPH, frames=5), rate=50)]
    assert np.diff(arrived) == pytest.approx([0.02] * 4)
    assert time.monotonic() - started >= 0.08
    assert all(at <= time.monotonic() for at in arrived)


def test_who_is_late_for_a_frame_gets_the_next() -> None:
    def slow(frame: Frame) -> Output:
        time.sleep(0.05)
        return output_of(frame)

    sink = Null()
    stats = run(Paced(Synthetic(GRAPH, frames=12), rate=100), slow, [sink])
    assert stats.dropped > 0
    assert sink.frames + stats.dropped == 12


def test_closing_ends_the_wait_for_a_frame() -> None:
    paced = Paced(Synthetic(GRAPH, frames=2), rate=0.01)
    frames = iter(paced)
    next(frames)
    timer = threading.Timer(0.05, paced.close)
    timer.start()
    assert next(frames, None) is None
    timer.join()
