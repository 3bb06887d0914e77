"""The input's audio beside the video: the same packets at the same times, or a note."""

from __future__ import annotations

import logging
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from written import audio_pieces, moving_frame, output_of, times

from rtseg.errors import ConfigError
from rtseg.sinks.video import VideoWriter
from rtseg.types import Frame, StreamInfo

FAST = "h264:preset=ultrafast,tune=zerolatency"
MILLISECOND = Fraction(1, 1000)


def make(path: Path, codec: str, *, seconds: float = 3, audio_seconds: float | None = None, video: bool = True) -> Path:
    """A file of 25 frames a second and a tone, encoded by `codec`."""
    with av.open(str(path), "w") as container:
        picture = container.add_stream("mpeg4", rate=25) if video else None
        tone = container.add_stream(codec, rate=48_000)
        assert isinstance(tone, av.AudioStream)
        tone.layout = "stereo"
        if picture is not None:
            picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
            for i in range(round(25 * seconds)):
                frame = av.VideoFrame.from_ndarray(np.full((72, 64), i, np.uint8), "yuv420p")
                frame.pts, frame.time_base = i, Fraction(1, 25)
                container.mux(picture.encode(frame))
            container.mux(picture.encode(None))
        count = round(25 * (seconds if audio_seconds is None else audio_seconds))
        for i in range(count):
            wave = (np.sin((np.arange(1920) + i * 1920) * 0.05) * 9000).astype(np.int16)
            sound = av.AudioFrame.from_ndarray(np.repeat(wave, 2)[None], format="s16", layout="stereo")
            sound.rate, sound.pts, sound.time_base = 48_000, i * 1920, Fraction(1, 48_000)
            container.mux(tone.encode(sound))
        container.mux(tone.encode(None))
    return path


def frames_of(path: Path, *, start: float = 0, end: float = 1e9) -> list[Frame]:
    """A frame for each one of a file, with its times; the pictures do not matter here."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None
        stamps = sorted(p.pts for p in container.demux(stream) if p.pts is not None)
        base = stream.time_base
    return [
        moving_frame(i, pts=pts, time_base=base) for i, pts in enumerate(stamps) if start <= float(pts * base) < end
    ]


def copy(source: Path, target: Path, frames: list[Frame], *, codec: str = FAST, **cut: float) -> VideoWriter:
    info = StreamInfo(str(source), rate=Fraction(25), audio=str(source), **cut)  # type: ignore[arg-type]
    with VideoWriter(target, codec=codec, info=info) as sink:
        for frame in frames:
            sink.write(output_of(frame))
    return sink


@pytest.mark.parametrize("name", ["highway_dusk.mp4", "highway_traffic.mp4", "highway_white.mp4"])
def test_the_audio_of_real_clips_is_the_same_packet_for_packet(shared: Path, tmp_path: Path, name: str) -> None:
    source = shared / "clips" / "road" / name
    frames = frames_of(source)
    sink = copy(source, tmp_path / "out.mp4", frames)
    assert len(audio_pieces(source)) > 70
    assert audio_pieces(tmp_path / "out.mp4") == audio_pieces(source)
    assert times(tmp_path / "out.mp4") == [frame.pts * frame.time_base for frame in frames]
    assert sink.notes == []


@pytest.mark.parametrize(
    ("source", "codec", "target"),
    [
        ("in.mp4", "aac", "out.mp4"),
        ("in.mp4", "aac", "out.mov"),
        ("in.mp4", "libmp3lame", "out.mp4"),
        ("in.mp4", "libopus", "out.mp4"),
        ("in.mkv", "flac", "out.mp4"),
        ("in.mp4", "aac", "out.mkv"),
        ("in.mkv", "pcm_s16le", "out.mkv"),
        ("in.mkv", "ac3", "out.mkv"),
        ("in.mkv", "libopus", "out.webm"),
        ("in.mp4", "libopus", "out.webm"),
    ],
)
def test_packets_and_times_are_kept_where_the_container_can(
    tmp_path: Path, source: str, codec: str, target: str
) -> None:
    original = make(tmp_path / source, codec)
    frames = frames_of(original)
    sink = copy(original, tmp_path / target, frames, codec="vp9" if target.endswith("webm") else FAST)
    before, after = audio_pieces(original), audio_pieces(tmp_path / target)
    assert sink.notes == []
    assert len(before) > 30
    assert [piece.digest for piece in after] == [piece.digest for piece in before]
    # mp4 keeps the audio's own ticks; Matroska on either side has milliseconds. What a decoder throws away comes
    # before zero, and must not move the video.
    allowed = MILLISECOND if any(name.endswith(("mkv", "webm")) for name in (source, target)) else Fraction(0)
    assert max(abs(a.pts - b.pts) for a, b in zip(after, before, strict=True)) <= allowed
    shown = [frame.pts * frame.time_base for frame in frames]
    assert max(abs(a - b) for a, b in zip(times(tmp_path / target), shown, strict=True)) <= allowed


def test_a_cut_keeps_the_audio_in_time_with_the_video(tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", "aac", seconds=4)
    copy(source, tmp_path / "out.mp4", frames_of(source, start=1.5, end=2.5), start=1.5, end=2.5)
    expected = [piece for piece in audio_pieces(source) if Fraction(3, 2) <= piece.pts < Fraction(5, 2)]
    got = audio_pieces(tmp_path / "out.mp4")
    assert len(expected) > 40
    assert [(piece.pts + Fraction(3, 2), piece.digest) for piece in got] == [(p.pts, p.digest) for p in expected]
    assert times(tmp_path / "out.mp4")[0] == Fraction(38, 25) - Fraction(3, 2)  # the first frame at or after 1.5 s


def test_audio_that_outlasts_the_video_is_kept(tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", "aac", seconds=2, audio_seconds=4)
    copy(source, tmp_path / "out.mp4", frames_of(source))
    assert audio_pieces(tmp_path / "out.mp4") == audio_pieces(source)


def test_audio_ends_with_a_video_that_was_stopped_early(tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", "aac", seconds=6)
    copy(source, tmp_path / "out.mp4", frames_of(source)[:50])
    got = audio_pieces(tmp_path / "out.mp4")
    assert Fraction(19, 10) < got[-1].pts < Fraction(2)
    assert got == audio_pieces(source)[: len(got)]


def test_audio_shorter_than_the_video_does_not_hold_the_video_back(tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", "aac", seconds=4, audio_seconds=1)
    copy(source, tmp_path / "out.mp4", frames_of(source))
    assert audio_pieces(tmp_path / "out.mp4") == audio_pieces(source)
    assert len(times(tmp_path / "out.mp4")) == 100


def test_packets_of_both_streams_lie_side_by_side_in_the_file(tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", "aac", seconds=4)
    copy(source, tmp_path / "out.mkv", frames_of(source))
    with av.open(str(tmp_path / "out.mkv")) as container:
        order = [(p.dts * p.time_base, p.stream.type) for p in container.demux() if p.dts is not None]
    assert {kind for _, kind in order} == {"audio", "video"}
    assert max(a - b for (a, _), (b, _) in pairwise(order)) < Fraction(1, 5)


def test_aac_out_of_a_transport_stream_is_reframed_for_mp4(tmp_path: Path) -> None:
    source = make(tmp_path / "in.ts", "aac")
    copy(source, tmp_path / "out.mp4", frames_of(source))
    with av.open(str(source)) as a, av.open(str(tmp_path / "out.mp4")) as b:
        one, two = ([frame.to_ndarray() for frame in c.decode(audio=0)] for c in (a, b))
    assert len(one) > 130
    np.testing.assert_array_equal(np.hstack(one), np.hstack(two))
    assert [p.pts for p in audio_pieces(tmp_path / "out.mp4")] == [p.pts for p in audio_pieces(source)]


@pytest.mark.parametrize(
    ("source", "codec", "target"),
    [("in.mp4", "libopus", "out.mov"), ("in.mp4", "aac", "out.webm"), ("in.mkv", "pcm_s16le", "out.mp4")],
)
def test_audio_that_the_container_cannot_hold_is_left_out_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, source: str, codec: str, target: str
) -> None:
    original = make(tmp_path / source, codec)
    with caplog.at_level(logging.WARNING, "rtseg"):
        sink = copy(original, tmp_path / target, frames_of(original), codec="auto")
    assert len(times(tmp_path / target)) == 75
    assert audio_pieces(tmp_path / target) == []
    assert [r.message for r in caplog.records if r.name.startswith("rtseg")] == sink.notes
    assert len(sink.notes) == 1
    assert "cannot hold" in sink.notes[0]
    assert ".mkv" in sink.notes[0]


def test_audio_can_be_switched_off(tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", "aac")
    info = StreamInfo(str(source), audio=str(source))
    with VideoWriter(tmp_path / "out.mp4", codec=FAST, info=info, audio=False) as sink:
        sink.write(output_of(moving_frame(0)))
    assert audio_pieces(tmp_path / "out.mp4") == []


def test_an_input_without_audio_or_that_has_gone_gives_a_silent_video(tmp_path: Path) -> None:
    silent = tmp_path / "in.mp4"
    with VideoWriter(silent, codec=FAST) as sink:
        sink.write(output_of(moving_frame(0)))
    assert copy(silent, tmp_path / "one.mp4", [moving_frame(0)]).notes == []
    gone = copy(tmp_path / "gone.mp4", tmp_path / "two.mp4", [moving_frame(0)])
    assert "cannot be opened" in gone.notes[0]
    assert len(times(tmp_path / "one.mp4")) == len(times(tmp_path / "two.mp4")) == 1


def test_damaged_audio_does_not_cost_the_video(tmp_path: Path) -> None:
    source = make(tmp_path / "in.ts", "aac")
    frames = frames_of(source)
    data = bytearray(source.read_bytes())
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    source.write_bytes(data)
    copy(source, tmp_path / "out.mp4", frames)
    assert len(times(tmp_path / "out.mp4")) == 75
    assert 30 < len(audio_pieces(tmp_path / "out.mp4")) < 100


def test_the_output_must_not_be_the_input(tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", "aac")
    link = tmp_path / "link.mp4"
    link.symlink_to(source)
    for name in (source, link):
        with pytest.raises(ConfigError, match="is the input itself"):
            VideoWriter(name, info=StreamInfo(str(source), audio=str(source)))
    assert len(audio_pieces(source)) > 100
