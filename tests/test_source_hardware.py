"""Decoding on hardware, of which there is none here: what is said then, and what happens when it fails on the way."""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.codec.hwaccel import hwdevices_available
from footage import moving, write_video

from rtseg.errors import ConfigError, SourceError, SourceNotFound
from rtseg.sources import hardware, video
from rtseg.sources.hardware import Handover, Opened
from rtseg.sources.opening import open_media
from rtseg.sources.video import VideoFile
from rtseg.types import Frame

CODED = {"bf": "3", "b-adapt": "0", "g": "12", "sc_threshold": "0", "qp": "1"}


class Fake:
    """A hardware decoder that is software behind NV12, and fails from a packet on."""

    def __init__(self, decoder: Any, fails: Iterator[bool]) -> None:
        self._decoder, self._fails = decoder, fails

    def decode(self, packet: Any = None, /) -> list[av.VideoFrame]:
        if next(self._fails):
            raise av.error.ExternalError(1, "the device is lost")
        return [frame.reformat(format="nv12") for frame in self._decoder.decode(packet)]

    def flush_buffers(self) -> None:
        self._decoder.flush_buffers()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Installs a device that fails where it is told to; NV12 of it counts as being on the device."""

    def install(fails: Any = ()) -> None:
        class Failing(Handover):
            def __init__(self, decoder: Any, software: Any, **more: Any) -> None:
                verdicts = itertools.chain(fails, itertools.repeat(False))
                super().__init__(Fake(decoder, iter(verdicts)), software, **more)

        def open_on(path: Path, name: str, *, max_pixels: int, on_device: bool) -> Opened:
            return Opened(open_media(path, max_pixels=max_pixels), name, open_media(path, max_pixels=max_pixels))

        monkeypatch.setattr(video, "open_on", open_on)
        monkeypatch.setattr(video, "Handover", Failing)
        monkeypatch.setattr(video, "format_on_device", lambda frame: "nv12" if frame.format.name == "nv12" else None)

    return install


def footage(path: Path, **options: str) -> Path:
    return write_video(path, moving(40), options={**CODED, **options})


def planes_equal(found: list[Frame], expected: list[Frame]) -> bool:
    return [frame.pts for frame in found] == [frame.pts for frame in expected] and all(
        np.array_equal(a, b)
        for x, y in zip(found, expected, strict=True)
        for a, b in zip(x.planes, y.planes, strict=True)
    )


def test_a_device_that_ffmpeg_does_not_know_is_refused_with_those_it_knows(tmp_path: Path) -> None:
    path = footage(tmp_path / "a.mp4")
    with pytest.raises(ConfigError) as caught:
        VideoFile(path, hardware="gpu")
    assert "unknown hardware 'gpu'" in str(caught.value)
    assert f"none, auto or what this FFmpeg was built with, {', '.join(hwdevices_available())}" in str(caught.value)


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="there is a device here")
def test_a_device_that_was_named_and_does_not_work_is_an_error(tmp_path: Path) -> None:
    path = footage(tmp_path / "a.mp4")
    name = hwdevices_available()[0]
    for on_device in (False, True):
        with pytest.raises(SourceError) as caught:
            VideoFile(path, hardware=name, on_device=on_device)
        assert f"cannot be decoded on {name}" in str(caught.value)
        assert "use hardware auto or none" in str(caught.value)
    with pytest.raises(SourceNotFound):
        VideoFile(tmp_path / "missing.mp4", hardware=name)


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="there is a device here")
def test_auto_takes_software_where_nothing_works_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = footage(tmp_path / "a.mp4")
    with caplog.at_level(logging.INFO, logger="rtseg"):
        frames = list(VideoFile(path, hardware="auto", on_device=True))
    assert planes_equal(frames, list(VideoFile(path)))
    assert f"auto: {path} is decoded in software" in caplog.text
    assert hardware.reserve_cuda() is None


def test_frames_stay_on_the_device_until_somebody_wants_them_on_the_host(tmp_path: Path, fake: Any) -> None:
    path = footage(tmp_path / "a.mp4")
    expected = list(VideoFile(path))
    fake()
    source = VideoFile(path, hardware="fake", on_device=True)
    frames = list(source)
    assert [(frame.size, frame.pts, frame.colour) for frame in frames] == [(f.size, f.pts, f.colour) for f in expected]
    assert all(frame.device is not None for frame in frames)
    assert not source.counts
    assert planes_equal(frames, expected)
    assert source.counts == {"downloaded": 40}


def test_frames_come_to_the_host_for_a_network_that_is_there(tmp_path: Path, fake: Any) -> None:
    path = footage(tmp_path / "a.mp4")
    expected = list(VideoFile(path))
    fake()
    frames = list(VideoFile(path, hardware="fake"))
    assert all(frame.device is None for frame in frames)
    assert planes_equal(frames, expected)


def test_what_must_be_turned_comes_to_the_host(tmp_path: Path, fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = footage(tmp_path / "a.mp4")
    fake()
    monkeypatch.setattr(VideoFile, "_orientation", lambda self, angle: (0, 1, -1, 0))
    frame = next(iter(VideoFile(path, hardware="fake", on_device=True)))
    assert (frame.device, frame.size) == (None, (48, 64))


@pytest.mark.parametrize(
    ("size", "planes", "stays"), [((64, 48), "nv12", True), ((64, 48), "p010le", False), ((63, 48), "nv12", False)]
)
def test_only_nv12_of_even_sides_stays(size: tuple[int, int], planes: str, stays: bool) -> None:
    picture = hardware.device_picture(av.VideoFrame(*size, "nv12"), Counter(), format=planes)
    assert (picture is not None) is stays


@pytest.mark.parametrize("at", [0, 1, 7, 12, 13, 30, 38])
def test_software_takes_over_in_mid_stream_and_no_frame_is_lost_or_shown_twice(
    at: int, tmp_path: Path, fake: Any, caplog: pytest.LogCaptureFixture
) -> None:
    path = footage(tmp_path / "a.mp4")
    expected = list(VideoFile(path))
    fake([False] * at + [True] * 99)
    source = VideoFile(path, hardware="fake", on_device=True)
    frames = list(source)
    assert planes_equal(frames, expected)
    assert {cause: number for cause, number in source.counts.items() if cause != "downloaded"} == {
        "hardware_failures": 1
    }
    assert "fake fails at decoding" in caplog.text
    assert "no frame is lost" in caplog.text
    assert len(caplog.records) == 1


def test_a_damaged_packet_or_two_are_no_failure_of_the_hardware(tmp_path: Path, fake: Any) -> None:
    fake([False] * 5 + [True, True] + [False] * 9 + [True])
    source = VideoFile(footage(tmp_path / "a.mp4"), hardware="fake")
    assert 30 <= len(list(source)) <= 37
    assert source.counts["corrupt_packets"] == 3
    assert "hardware_failures" not in source.counts


def test_damage_before_the_failure_is_counted_once(tmp_path: Path, fake: Any) -> None:
    path = footage(tmp_path / "a.mp4")
    fake([False] * 14 + [True] + [False] * 3 + [True] * 99)
    source = VideoFile(path, hardware="fake")
    frames = list(source)
    assert source.counts == {"hardware_failures": 1}, "software decodes what the hardware took for damaged"
    pts = [frame.pts for frame in frames]
    assert pts == sorted(set(pts))


@pytest.mark.parametrize("case", ["too many bytes", "no times"])
def test_software_begins_at_the_next_key_frame_where_it_cannot_begin_before(
    case: str, tmp_path: Path, fake: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if case == "too many bytes":
        monkeypatch.setattr(hardware, "_KEPT", 10_000)
    path = footage(tmp_path / ("a.mp4" if case == "too many bytes" else "a.264"), bf="0")
    fake([False] * 15 + [True] * 99)
    source = VideoFile(path, hardware="fake")
    assert len(list(source)) == 15 + 16  # without 15 to 23: the next key frame is 24
    assert source.counts["hardware_failures"] == 1
    assert source.counts["missing_frames"] == 7
    assert source.counts["corrupt_packets"] == 2
    assert "software goes on from the next key frame" in caplog.text


def test_packets_are_dropped_two_key_frames_back(tmp_path: Path) -> None:
    path = footage(tmp_path / "a.mp4")
    with av.open(str(path)) as container, av.open(str(path)) as other:
        contexts = [c.streams.video[0].codec_context for c in (container, other)]
        handover = Handover(*contexts, name="fake", counts={})  # type: ignore[arg-type]
        for packet in container.demux(video=0):
            handover.decode(packet)
            assert len(handover._kept) <= 24


def test_another_place_of_the_file_has_frames_and_packets_of_its_own(tmp_path: Path) -> None:
    path = footage(tmp_path / "a.mp4")
    with av.open(str(path)) as container, av.open(str(path)) as other:
        fails = iter([False] * 30 + [True] * 9)
        contexts = [c.streams.video[0].codec_context for c in (container, other)]
        counts: Counter[str] = Counter()
        handover = Handover(Fake(contexts[0], fails), contexts[1], name="fake", counts=counts)
        for packet in itertools.islice(container.demux(video=0), 30):
            handover.decode(packet)
        container.seek(0)
        handover.begin()
        shown = []
        for packet in container.demux(video=0):
            try:
                shown += handover.decode(packet)
            except av.error.ExternalError:
                counts["corrupt_packets"] += 1  # as the source does
    assert [frame.pts for frame in shown] == [frame.pts for frame in VideoFile(path)]
    assert +counts == {"hardware_failures": 1}


def test_a_failure_while_the_beginning_is_looked_for_is_told_too(tmp_path: Path) -> None:
    with av.open(str(footage(tmp_path / "a.mp4"))) as container:
        context = container.streams.video[0].codec_context
        counts: Counter[str] = Counter()
        handover = Handover(Fake(None, itertools.repeat(True)), context, name="fake", counts=counts)
        for packet in itertools.islice(container.demux(video=0), 3):
            with contextlib.suppress(av.error.ExternalError):
                handover.decode(packet)
        counts.clear()  # as the source does before it looks from further back
        container.seek(0)
        handover.begin()
        shown = [frame for packet in container.demux(video=0) for frame in handover.decode(packet)]
    assert len(shown) == 40
    assert counts == {"hardware_failures": 1}


def test_a_cut_is_found_on_hardware_too(tmp_path: Path, fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = footage(tmp_path / "a.mp4")
    expected = list(VideoFile(path, start=0.5, end=1.2))
    fake([False] * 9 + [True] * 99)
    begun: list[int] = []
    begin = Handover.begin

    def counted(self: Handover) -> None:
        begun.append(len(begun))
        begin(self)

    monkeypatch.setattr(Handover, "begin", counted)
    source = VideoFile(path, start=0.5, end=1.2, hardware="fake", on_device=True)
    assert len(begun) >= 2, "when it is made, and after each seek"
    assert planes_equal(list(source), expected)
