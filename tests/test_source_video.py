from __future__ import annotations

import gc
import itertools
import threading
import weakref
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.plane import VideoPlane
from footage import Planes, moving, noise, open_files, write_video

from rtseg.errors import ConfigError, SourceError, SourceTooLarge
from rtseg.sources.video import VideoFile
from rtseg.types import Colour, Frame, Size, Source

UNEVEN = [0, 7, 1000, 1001, 1500, 4000]
"""Ticks of a millisecond."""
MJPEG: dict[str, Any] = {"codec": "mjpeg", "pix_fmt": "yuvj420p", "options": {}}
SMALLEST: dict[str, Any] = {"codec": "rawvideo", "options": {}}


def same(frame: Frame, planes: Planes) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(frame.planes, planes, strict=True))


def test_it_is_a_source_that_tells_what_the_file_says_of_itself(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", moving(6), audio=True, pixel=Fraction(4, 3))
    source = VideoFile(path)
    assert isinstance(source, Source)
    info = source.info
    assert (info.name, info.size, info.frames) == ("a.mp4", Size(64, 48), 6)
    assert info.rate == 30
    assert info.time_base == Fraction(1, 15360)
    assert info.seconds == pytest.approx(0.2)
    assert info.sample_aspect_ratio == Fraction(4, 3)
    assert info.audio == str(path)
    assert (info.start, info.end) == (None, None)
    assert not source.live
    assert len(list(source)) == 6
    assert source.info == info


def test_audio_is_none_where_there_is_none(tmp_path: Path) -> None:
    assert VideoFile(write_video(tmp_path / "a.mp4", moving(1))).info.audio is None


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "ts", "flv", "mov", "avi"])
def test_every_container_gives_every_frame(suffix: str, tmp_path: Path) -> None:
    pictures = moving(9)
    source = VideoFile(write_video(tmp_path / f"a.{suffix}", pictures))
    frames = list(source)
    assert [same(frame, planes) for frame, planes in zip(frames, pictures, strict=True)] == [True] * 9
    assert [frame.index for frame in frames] == list(range(9))
    assert {frame.epoch for frame in frames} == {0}
    assert not any(source.counts.values())


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p"])
@pytest.mark.parametrize("size", [(161, 121), (3, 3), (1, 1), (2, 2), (34, 2)], ids=str)
def test_odd_and_tiny_sizes_keep_every_pixel(size: tuple[int, int], pix_fmt: str, tmp_path: Path) -> None:
    pictures = moving(2, size, pix_fmt=pix_fmt)
    source = VideoFile(write_video(tmp_path / "a.nut", pictures, pix_fmt=pix_fmt, **SMALLEST))
    assert source.info.size == size
    frames = list(source)
    assert [same(frame, planes) for frame, planes in zip(frames, pictures, strict=True)] == [True, True]


def test_uneven_times_stay_as_they_are(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", moving(6), pts=UNEVEN, time_base=Fraction(1, 1000))
    frames = list(VideoFile(path))
    assert [frame.pts for frame in frames] == UNEVEN
    assert {frame.time_base for frame in frames} == {Fraction(1, 1000)}
    arrived = [frame.arrived for frame in frames]
    assert arrived == sorted(arrived)


def test_durations_are_those_of_the_file(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", moving(6), pts=UNEVEN, time_base=Fraction(1, 1000))
    frames = list(VideoFile(path))
    assert [frame.time for frame in frames] == [tick / 1000 for tick in UNEVEN]
    assert [float(frame.duration * frame.time_base) for frame in frames[:-1]] == [0.007, 0.993, 0.001, 0.499, 2.5]


def test_frames_in_the_order_of_decoding_come_in_the_order_of_showing(tmp_path: Path) -> None:
    pictures = [(np.full((48, 64), 20 * i, np.uint8), *noise((64, 48))[1:]) for i in range(1, 10)]
    path = write_video(tmp_path / "a.mp4", pictures, options={"bf": "3", "b-adapt": "0", "qp": "1"})
    with av.open(str(path)) as container:
        decoding = [packet.pts for packet in container.demux(video=0) if packet.pts is not None]
    assert decoding != sorted(decoding)
    frames = list(VideoFile(path))
    assert [frame.pts for frame in frames] == sorted(decoding)
    assert [round(float(frame.planes[0].mean()) / 20) for frame in frames] == list(range(1, 10))


def test_planes_are_the_decoders_own_memory(tmp_path: Path) -> None:
    for frame in VideoFile(write_video(tmp_path / "a.mp4", moving(2))):
        for plane in frame.planes:
            owner: Any = plane
            while isinstance(owner, np.ndarray):
                assert not owner.flags.owndata
                owner = owner.base
            assert isinstance(owner.obj if isinstance(owner, memoryview) else owner, VideoPlane)
            assert not plane.flags.writeable


def test_frames_outlive_their_source(tmp_path: Path) -> None:
    pictures = moving(40)
    source = VideoFile(write_video(tmp_path / "a.mp4", pictures))
    frames = list(source)
    source.close()
    del source
    gc.collect()
    assert all(same(frame, planes) for frame, planes in zip(frames, pictures, strict=True))


@pytest.mark.parametrize(
    ("height", "tagged", "expected"),
    [
        pytest.param(718, None, Colour("bt601"), id="small"),
        pytest.param(720, None, Colour("bt709"), id="large"),
        pytest.param(48, (1, 1), Colour("bt709"), id="named, limited"),
        pytest.param(720, (6, 2), Colour("bt601", full_range=True), id="named, full"),
        pytest.param(48, (9, 1), Colour("bt2020"), id="wide gamut"),
    ],
)
def test_matrix_and_range_are_those_of_the_file_or_follow_from_its_height(
    height: int, tagged: tuple[int, int] | None, expected: Colour, tmp_path: Path
) -> None:
    pictures = moving(1, (16, height))
    frame = next(iter(VideoFile(write_video(tmp_path / "a.mp4", pictures, colour=tagged))))
    assert frame.colour == expected
    assert same(frame, pictures[0])


def test_another_size_in_mid_stream_begins_a_new_epoch(tmp_path: Path) -> None:
    parts = [moving(3), moving(2, (80, 32)), moving(2)]
    data = b"".join(write_video(tmp_path / "part.264", part).read_bytes() for part in parts)
    (tmp_path / "a.264").write_bytes(data)
    source = VideoFile(tmp_path / "a.264")
    frames = list(source)
    assert [frame.size for frame in frames] == [(64, 48)] * 3 + [(80, 32)] * 2 + [(64, 48)] * 2
    assert [frame.epoch for frame in frames] == [0, 0, 0, 1, 1, 2, 2]
    assert all(same(frame, planes) for frame, planes in zip(frames, itertools.chain(*parts), strict=True))
    assert source.info.size == (64, 48)


def test_raw_streams_without_times_get_even_ones(tmp_path: Path) -> None:
    source = VideoFile(write_video(tmp_path / "a.264", moving(60)))
    frames = list(source)
    assert len(frames) == 60
    steps = {after.pts - before.pts for before, after in itertools.pairwise(frames)}
    assert len(steps) == 1
    assert source.counts["repaired_timestamps"] > 0


class TestCuts:
    """30 frames, 0 to 1 s, key frames every 10."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return write_video(tmp_path / "a.mp4", moving(30), options={"g": "10", "bf": "2", "qp": "0"})

    @pytest.mark.parametrize(
        ("start", "end", "expected"),
        [
            (None, None, range(30)),
            (0.0, None, range(30)),
            (0.5, None, range(15, 30)),
            (None, 0.5, range(15)),
            (1 / 3, 2 / 3, range(10, 20)),
            (0.34, 0.51, range(11, 16)),
            (0.95, 99.0, range(29, 30)),
        ],
    )
    def test_frames_from_start_on_and_before_end(
        self, start: float | None, end: float | None, expected: range, path: Path
    ) -> None:
        source = VideoFile(path, start=start, end=end)
        frames = list(source)
        assert [round(frame.time * 30) for frame in frames] == list(expected)
        pictures = moving(30)
        assert all(same(frame, pictures[number]) for frame, number in zip(frames, expected, strict=True))
        assert [frame.index for frame in frames] == list(range(len(expected)))
        assert (source.info.start, source.info.end) == (start, end)
        assert not any(source.counts.values())

    @pytest.mark.parametrize("suffix", ["ts", "mkv", "flv"])
    def test_start_counts_from_the_beginning_of_the_file(self, suffix: str, tmp_path: Path) -> None:
        """MPEG-TS begins at 1.4 s or so."""
        path = write_video(tmp_path / f"a.{suffix}", moving(30), options={"g": "10", "bf": "0", "qp": "0"})
        with av.open(str(path)) as container:
            begins = (container.start_time or 0) / av.time_base
        source = VideoFile(path, start=0.5, end=0.7)
        pictures = moving(30)
        frames = list(source)
        assert all(same(frame, planes) for frame, planes in zip(frames, pictures[15:21], strict=True))
        assert source.info.start == pytest.approx(begins + 0.5)
        assert source.info.end == pytest.approx(begins + 0.7)
        assert frames[0].time == pytest.approx(begins + 0.5, abs=0.001)

    def test_a_file_that_cannot_seek_is_read_from_its_beginning(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "a.264", moving(30), options={"g": "30", "qp": "0"})
        pictures = moving(30)
        frames = list(VideoFile(path, start=0.4, end=0.8))
        expected = pictures[10:20]  # no rate is stored: FFmpeg assumes 25 a second
        assert [same(frame, planes) for frame, planes in zip(frames, expected, strict=True)] == [True] * len(expected)

    @pytest.mark.parametrize(
        ("start", "end", "says"),
        [(0.5, 0.5, "after start"), (0.5, 0.2, "after start"), (1.0, None, "past the end"), (0.34, 0.35, "between")],
    )
    def test_a_cut_that_holds_nothing_is_refused(self, start: float, end: float | None, says: str, path: Path) -> None:
        before = open_files()
        with pytest.raises(ConfigError, match=says):
            VideoFile(path, start=start, end=end)
        assert open_files() == before


class TestCaps:
    def test_a_video_over_the_cap_is_refused_before_it_is_decoded(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "a.mp4", moving(1, (128, 96)))
        assert len(list(VideoFile(path, max_pixels=128 * 96))) == 1
        before = open_files()
        with pytest.raises(SourceTooLarge, match=r"128x96.*12287 pixels.*scale it down"):
            VideoFile(path, max_pixels=128 * 96 - 1)
        assert open_files() == before

    @pytest.mark.parametrize("suffix", ["ts", "flv", "264", "mkv"])
    def test_the_cap_holds_in_containers_that_do_not_tell_the_size(self, suffix: str, tmp_path: Path) -> None:
        path = write_video(tmp_path / f"a.{suffix}", moving(1, (128, 96)))
        with pytest.raises(SourceTooLarge):
            VideoFile(path, max_pixels=128 * 95)

    def test_a_video_that_grows_over_the_cap_ends_there(self, tmp_path: Path) -> None:
        small = write_video(tmp_path / "small.avi", moving(3), **MJPEG)
        large = write_video(tmp_path / "large.avi", moving(3, (640, 480)), **MJPEG)
        with av.open(str(tmp_path / "a.avi"), "w") as output, av.open(str(small)) as head, av.open(str(large)) as tail:
            stream = output.add_stream_from_template(head.streams.video[0])
            packets = [packet for part in (head, tail) for packet in part.demux(video=0) if packet.size]
            for number, packet in enumerate(packets):
                packet.stream, packet.pts, packet.dts = stream, number, number
                output.mux(packet)
        assert [frame.epoch for frame in VideoFile(tmp_path / "a.avi")] == [0, 0, 0, 1, 1, 1]
        frames = iter(VideoFile(tmp_path / "a.avi", max_pixels=64 * 48))
        assert [frame.size for frame in itertools.islice(frames, 3)] == [(64, 48)] * 3
        with pytest.raises(SourceTooLarge):
            next(frames)


class TestEnding:
    def test_close_from_another_thread_ends_the_iteration(self, tmp_path: Path) -> None:
        source = VideoFile(write_video(tmp_path / "a.mp4", moving(30)))
        seen = []
        for frame in source:
            seen.append(frame.index)
            if frame.index == 4:
                closing = threading.Thread(target=source.close)
                closing.start()
                closing.join()
        assert seen == list(range(5))

    def test_close_while_another_thread_decodes_ends_it_too(self, tmp_path: Path) -> None:
        source = VideoFile(write_video(tmp_path / "a.mp4", moving(300)))
        begun, seen = threading.Event(), []

        def read() -> None:
            for frame in source:
                seen.append(frame.index)
                begun.set()

        reader = threading.Thread(target=read)
        reader.start()
        begun.wait(10)
        source.close()
        reader.join(10)
        assert not reader.is_alive()
        assert seen == list(range(len(seen)))

    def test_a_closed_source_gives_nothing_and_may_be_closed_again(self, tmp_path: Path) -> None:
        source = VideoFile(write_video(tmp_path / "a.mp4", moving(3)))
        source.close()
        source.close()
        assert list(source) == []

    def test_a_source_gives_its_frames_once(self, tmp_path: Path) -> None:
        source = VideoFile(write_video(tmp_path / "a.mp4", moving(3)))
        assert len(list(source)) == 3
        assert list(source) == []

    def test_no_file_stays_open(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "a.mp4", moving(3))
        broken = tmp_path / "broken.mp4"
        broken.write_bytes(path.read_bytes()[:-200])
        before = open_files()
        for _ in range(20):
            list(VideoFile(path))
            VideoFile(path).close()
            next(iter(VideoFile(path)))  # given up half way
            with pytest.raises(SourceError):
                VideoFile(broken)
        gc.collect()
        assert open_files() == before

    def test_what_was_closed_is_freed_at_once(self, tmp_path: Path) -> None:
        """A decoder holds tens of megabytes: a hundred must not wait for the garbage collection."""
        path = write_video(tmp_path / "a.mp4", moving(3))
        gc.disable()
        try:
            source = VideoFile(path)
            gone = weakref.ref(source)
            source.close()
            del source
            assert gone() is None
        finally:
            gc.enable()


def test_more_threads_give_the_same_frames(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", moving(20), options={"bf": "2", "qp": "0", "slices": "4"})
    one, two = (list(VideoFile(path, threads=threads)) for threads in (1, 2))
    assert [frame.pts for frame in one] == [frame.pts for frame in two]
    assert all(same(a, b.planes) for a, b in zip(one, two, strict=True))


def test_a_name_that_looks_like_a_protocol_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("concat:a.mp4", "%03d.mp4", "pipe:0", "-i.mp4"):
        write_video(tmp_path / "plain.mp4", moving(2)).rename(name)
        assert len(list(VideoFile(name))) == 2
