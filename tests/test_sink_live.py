"""The encoder of live streams: times of the clock, key frames by the second, nothing held back."""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import pairwise

import av
import numpy as np
import pytest
from on_device import on_device
from written import moving_frame

from rtseg.errors import ConfigError
from rtseg.live.slate import slate
from rtseg.ops.arrays import U8
from rtseg.sinks.live import Encoded, LiveEncoder, live_codec
from rtseg.types import Frame


class Clock:
    """A clock that a test moves."""

    now = 50.0

    def __call__(self) -> float:
        return self.now


def encoder(first: Frame, clock: Clock, codec: str = "h264") -> LiveEncoder:
    return LiveEncoder(first, *live_codec(codec), clock=clock)


def run(seconds: list[float], codec: str = "h264") -> list[Encoded]:
    clock = Clock()
    encode = encoder(moving_frame(0), clock, codec)
    packets = []
    for i, second in enumerate(seconds):
        clock.now = 50.0 + second
        got = encode(moving_frame(i, pts=0))
        assert len(got) == 1  # nothing is held back
        packets += got
    assert encode.finish() == []
    return packets


def test_times_are_the_clocks_in_ticks_of_90_kilohertz() -> None:
    packets = run([0.0, 0.04, 0.08, 7.0])
    assert [packet.pts for packet in packets] == [0, 3600, 7200, 630_000]
    assert [packet.dts for packet in packets] == [packet.pts for packet in packets]


def test_times_grow_where_the_clock_stands_or_goes_back() -> None:
    assert [packet.pts for packet in run([1.0, 1.0, 1.0, 0.5])] == [90_000, 90_001, 90_002, 90_003]


@pytest.mark.parametrize("rate", [5, 30, 50])
def test_a_key_frame_comes_every_two_seconds_at_any_rate(rate: int) -> None:
    keys = [packet.pts / 90_000 for packet in run([i / rate for i in range(6 * rate + 1)]) if packet.key]
    assert keys[0] == 0
    assert all(later - earlier <= 2 + 1 / rate for earlier, later in pairwise(keys))
    assert len(keys) == 4


def test_a_key_frame_can_be_decoded_alone() -> None:
    packets = run([0.0, 1.0, 2.0, 3.0])
    assert [packet.key for packet in packets] == [True, False, True, False]
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    frames = [*decoder.decode(av.Packet(packets[2].data)), *decoder.decode(None)]
    assert len(frames) == 1
    assert int(frames[0].to_ndarray()[20, 20]) == pytest.approx(16 + 2 * 3, abs=2)


def test_a_slate_is_sent_whole() -> None:
    """Fault seen in a browser: the person stayed in the card as a shadow of three to five levels."""
    clock = Clock()
    frames = [moving_frame(i) for i in range(3)]
    coloured = [replace(frame, planes=(frame.planes[0], *chroma(frame))) for frame in frames]
    card = slate(coloured[0].size, "paused")
    encode = encoder(coloured[0], clock)
    keys = []
    for frame in (*coloured, card, card, coloured[1]):
        clock.now += 0.04
        keys += [packet.key for packet in encode(frame)]
    assert keys == [True, False, False, True, False, False]


def chroma(frame: Frame) -> tuple[U8, U8]:
    u, v = (np.full_like(plane, 90) for plane in frame.planes[1:])
    return u, v


def test_the_bits_of_a_second_are_limited() -> None:
    clock = Clock()
    noise = np.random.default_rng(0).integers(16, 235, (8, 540, 640), np.uint8)
    frames = [Frame((n[:360], n[360:450].reshape(180, 320), n[450:].reshape(180, 320))) for n in noise]
    encode = LiveEncoder(frames[0], *live_codec("h264"), clock=clock)
    size = 0
    for i in range(90):
        clock.now = 50 + i / 30
        size += sum(len(packet.data) for packet in encode(frames[i % 8]))
    assert size * 8 / 3 < 7.5e6  # bits a second; this noise takes over 20 without a limit


def test_a_picture_on_a_device_is_brought_here() -> None:
    frame = moving_frame(3)
    clock = Clock()
    assert encoder(on_device(frame), clock)(on_device(frame)) == encoder(frame, clock)(frame)


def test_an_encoder_that_is_not_here_is_named() -> None:
    if os.path.exists("/dev/nvidia0"):  # noqa: PTH110
        pytest.skip("here it is")
    with pytest.raises(ConfigError, match="h264_nvenc cannot be used here"):
        live_codec("h264_nvenc")
