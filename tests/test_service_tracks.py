"""WebRTC's pictures as frames and back: exact planes, colours, sizes; and whether a machine has room."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from footage import noise, video_frame

pytest.importorskip("aiortc", reason="needs the extra webrtc")

from rtseg.live.slate import slate
from rtseg.ops.fit import convert
from rtseg.service.room import Room
from rtseg.service.tracks import COLOUR, PAUSED, PictureTrack, TrackSink, TrackSource, as_video_frame
from rtseg.sources.planes import PlaneReader
from rtseg.types import Colour, Frame, Output, Regions, Size


def frame(size: tuple[int, int] = (64, 48), *, colour: Colour = COLOUR, pix_fmt: str = "yuv420p") -> Frame:
    y, u, v = noise(size, pix_fmt=pix_fmt)
    return Frame((y, u, v), colour, pts=7, time_base=Fraction(1, 90000))


def output(made: Frame) -> Output:
    nothing = Regions(np.zeros((1, 1, 1), np.uint8), ("person",), made.pts, made.size)
    return Output(made, nothing, (), made, times={"segment": 2.5})


def test_a_source_gives_the_decoders_own_planes_in_the_colour_of_browsers() -> None:
    source = TrackSource("peer")
    planes = noise((1280, 720))
    picture = video_frame(planes, "yuv420p")
    picture.pts, picture.time_base = 90, Fraction(1, 90000)
    source.put(picture)
    got = next(iter(source))
    for have, wanted in zip(got.planes, planes, strict=True):
        np.testing.assert_array_equal(have, wanted)
    assert got.colour == Colour("bt601"), "whatever the size: VP8 says nothing, and players take it so"
    assert (got.pts, got.index, got.epoch) == (90, 0, 0)


def test_a_source_keeps_only_the_newest_picture_and_counts_the_others() -> None:
    source = TrackSource("peer")
    assert source.state == "opening"
    for level in (10, 20, 30):
        y, u, v = (np.full_like(plane, level) for plane in noise((16, 16)))
        source.put(video_frame((y, u, v), "yuv420p"))
    frames = iter(source)
    newest = next(frames)
    assert int(newest.planes[0].max()) == 30
    assert newest.index == 2, "so that a pipeline sees what it missed"
    assert source.counts == {"replaced": 2}
    assert source.state == "live"
    source.put(video_frame(noise((32, 16)), "yuv420p"))
    assert next(frames).epoch == 1
    source.close()
    assert next(frames, None) is None


def test_closing_a_source_wakes_whoever_reads() -> None:
    source = TrackSource("peer")
    reader = threading.Thread(target=lambda: list(source))
    reader.start()
    source.close()
    reader.join(5)
    assert not reader.is_alive()


def test_pictures_of_browsers_own_kind_go_out_as_they_are() -> None:
    made = as_video_frame(frame())
    for have, wanted in zip(PlaneReader()(made)[0], frame().planes, strict=True):
        np.testing.assert_array_equal(have, wanted)
    assert (made.pts, made.time_base) == (7, Fraction(1, 90000))


@pytest.mark.parametrize("colour", [Colour("bt709"), Colour("bt601", full_range=True)])
def test_other_colours_are_turned_into_browsers(colour: Colour) -> None:
    given = frame(colour=colour)
    wanted = convert(given.planes, colour, COLOUR)
    for have, want in zip(PlaneReader()(as_video_frame(given))[0], wanted, strict=True):
        np.testing.assert_array_equal(have, want)


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p"])
@pytest.mark.parametrize("size", [(64, 48), (33, 21)])
def test_other_samplings_and_odd_sides_become_even_ones(pix_fmt: str, size: tuple[int, int]) -> None:
    width, height = size
    y = noise(size)[0]
    like = noise(size, pix_fmt=pix_fmt)[1]
    flat = Frame((y, np.full_like(like, 60), np.full_like(like, 190)), COLOUR)
    made = as_video_frame(flat)
    assert (made.width, made.height) == (width // 2 * 2, height // 2 * 2)
    luma, u, v = PlaneReader()(made)[0]
    np.testing.assert_array_equal(luma, y[: made.height, : made.width])
    assert set(u.ravel()) == {60}
    assert set(v.ravel()) == {190}


def test_a_sink_sends_to_whoever_is_connected_and_a_slate_once_hidden() -> None:
    async def main() -> None:
        track = PictureTrack()
        sink = TrackSink(track)
        sink.write(output(frame()))
        assert not sink.watched
        sink.connected = True
        sink.write(output(frame()))
        sink.write(output(replace(frame(), pts=8)))
        newest = await track.recv()
        assert newest.pts == 8, "the one before was replaced"
        sink.hidden = True
        sink.write(output(replace(frame(), pts=9)))
        hidden = await track.recv()
        assert hidden.pts == 9
        np.testing.assert_array_equal(PlaneReader()(hidden)[0][0], slate(Size(64, 48), PAUSED).planes[0])
        assert [network for _, network in sink.recent] == [2.5, 2.5, 2.5]
        track.stop()

    asyncio.run(main())


def test_a_track_that_ends_wakes_its_sender() -> None:
    from aiortc.mediastreams import MediaStreamError

    async def main() -> None:
        track = PictureTrack()
        waiting = asyncio.ensure_future(track.recv())
        await asyncio.sleep(0)
        track.stop()
        with pytest.raises(MediaStreamError):
            await waiting

    asyncio.run(main())


def test_room_is_what_cameras_were_seen_to_take() -> None:
    room = Room(2)
    assert not room.full(0.0, 0, cpu=0.0)
    assert not room.full(1.0, 1, cpu=0.7), "nothing was measured yet"
    assert not room.full(5.0, 1, cpu=3.5), "0.7 of a core each: two fit into two"
    assert room.full(6.0, 2, cpu=5.0), "and a third would be 2.1"
    assert not room.full(10.0, 2, cpu=5.8), "measured anew they take less: 0.1 each"
    assert not room.full(20.0, 0, cpu=11.0), "all have left"
