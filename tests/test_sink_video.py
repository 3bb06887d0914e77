"""Video files: every codec and container, times to the tick, alpha, colours, sizes."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from written import decode, moving_frame, output_of, plane, times

from rtseg.errors import ConfigError, SinkError
from rtseg.sinks.codecs import CodecChoice
from rtseg.sinks.video import VideoWriter
from rtseg.types import Colour, Frame, StreamInfo

FAST = "h264:preset=ultrafast,tune=zerolatency"
MILLISECOND = Fraction(1, 1000)
KINDS = [
    ("mp4", "h264", "h264"),
    ("m4v", "h264", "h264"),
    ("mov", "h264", "h264"),
    ("mkv", "h264", "h264"),
    ("mp4", "h265", "hevc"),
    ("mkv", "h265", "hevc"),
    ("mp4", "av1", "libdav1d"),
    ("webm", "av1", "libdav1d"),
    ("webm", "vp9", "vp9"),
    ("mp4", "vp9", "vp9"),
    ("mov", "prores4444", "prores"),
    ("mkv", "prores4444", "prores"),
]


def write(path: Path, frames: list[Frame], *, codec: str = FAST, info: StreamInfo | None = None) -> Path:
    with VideoWriter(path, codec=codec, info=info) as sink:
        for frame in frames:
            sink.write(output_of(frame))
    return path


@pytest.mark.parametrize(("ending", "codec", "decoder"), KINDS, ids=lambda value: value)
def test_a_variable_rate_is_kept_to_the_tick_by_every_codec(
    tmp_path: Path, ending: str, codec: str, decoder: str
) -> None:
    # 10 fps in ticks of 1/200000 s, every third frame late by a fifth, beginning at 0.7 s.
    stamps = [140_000 + i * 20_000 + (4_000 if i % 3 == 2 else 0) for i in range(24)]
    frames = [moving_frame(i, pts=pts, time_base=Fraction(1, 200_000)) for i, pts in enumerate(stamps)]
    path = write(tmp_path / f"out.{ending}", frames, codec=codec, info=StreamInfo("x", rate=Fraction(10)))
    assert times(path) == [Fraction(pts, 200_000) for pts in stamps]
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == decoder
    assert [child.name for child in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("first", [0, 7])
@pytest.mark.parametrize(
    ("time_base", "step"),
    [
        (Fraction(1, 200_000), 20_000),
        (Fraction(1, 1000), 33),
        (Fraction(1, 30_000), 1001),
        (Fraction(1001, 30_000), 1),
        (Fraction(1, 90_000), 3003),
        (Fraction(1, 15_360), 512),
        (Fraction(1, 30), 1),
        (Fraction(1, 1), 1),
        (Fraction(1, 10_000_000), 333_667),
    ],
    ids=str,
)
def test_time_bases_survive_in_mp4_with_reordered_frames(
    tmp_path: Path, time_base: Fraction, step: int, first: int
) -> None:
    stamps = [(first + i) * step for i in range(9)]
    frames = [moving_frame(i, pts=pts, time_base=time_base) for i, pts in enumerate(stamps)]
    info = StreamInfo("x", rate=1 / (time_base * step))
    path = write(tmp_path / "out.mp4", frames, codec="h264", info=info)
    assert times(path) == [pts * time_base for pts in stamps]


def test_matroska_rounds_to_its_millisecond(tmp_path: Path) -> None:
    frames = [moving_frame(i, pts=i * 1001, time_base=Fraction(1, 30_000)) for i in range(40)]
    shown = times(write(tmp_path / "out.mkv", frames, codec="h264"))
    assert len(shown) == 40
    assert max(abs(a - Fraction(i * 1001, 30_000)) for i, a in enumerate(shown)) <= MILLISECOND / 2


def test_a_time_base_finer_than_an_mp4_holds_is_rounded_to_microseconds(tmp_path: Path) -> None:
    stamps = [i * 33_366_700 + 123 for i in range(6)]
    frames = [moving_frame(i, pts=pts, time_base=Fraction(1, 10**9)) for i, pts in enumerate(stamps)]
    shown = times(write(tmp_path / "out.mp4", frames))
    assert max(abs(a - Fraction(pts, 10**9)) for a, pts in zip(shown, stamps, strict=True)) <= Fraction(1, 10**6)


def test_a_cut_begins_at_zero_at_the_moment_of_the_cut(tmp_path: Path) -> None:
    frames = [moving_frame(i, pts=i, time_base=Fraction(1, 25)) for i in range(51, 60)]
    path = write(tmp_path / "out.mp4", frames, info=StreamInfo("x", start=2.0, end=2.4))
    assert times(path) == [Fraction(i - 50, 25) for i in range(51, 60)]


@pytest.mark.parametrize("first", [-3, 25 * 3600])
def test_a_first_frame_before_zero_or_after_a_minute_becomes_zero(tmp_path: Path, first: int) -> None:
    frames = [moving_frame(i, pts=first + i, time_base=Fraction(1, 25)) for i in range(5)]
    assert times(write(tmp_path / "out.mp4", frames)) == [Fraction(i, 25) for i in range(5)]


def test_times_that_do_not_grow_are_moved_on_by_a_tick(tmp_path: Path) -> None:
    frames = [moving_frame(i, pts=pts, time_base=Fraction(1, 1000)) for i, pts in enumerate([0, 40, 40, 30, 120])]
    assert times(write(tmp_path / "out.mp4", frames)) == [Fraction(t, 1000) for t in (0, 40, 41, 42, 120)]


def test_the_last_frame_lasts_as_long_as_it_says(tmp_path: Path) -> None:
    frames = [moving_frame(i, pts=i * 40, duration=40 if i < 4 else 500, time_base=MILLISECOND) for i in range(5)]
    with av.open(str(write(tmp_path / "out.mp4", frames))) as container:
        stream = container.streams.video[0]
        assert stream.duration is not None
        assert stream.time_base is not None
        assert stream.duration * stream.time_base == Fraction(660, 1000)


@pytest.mark.parametrize("codec", ["h264", FAST, "h265", "vp9", "av1"])
def test_keyframes_are_at_most_a_second_apart(tmp_path: Path, codec: str) -> None:
    stamps = [i * 40 for i in range(60)] + [2400 + i * 130 for i in range(20)]
    frames = [moving_frame(i, pts=pts, time_base=MILLISECOND) for i, pts in enumerate(stamps)]
    path = write(tmp_path / "out.mkv", frames, codec=codec, info=StreamInfo("x", rate=Fraction(25)))
    with av.open(str(path)) as container:
        keys = [p.pts for p in container.demux(video=0) if p.is_keyframe and p.pts is not None]
    assert keys[0] == 0
    # One gap may be longer by the step from 40 to 130 ms, which the writer cannot foresee.
    assert all(b - a <= 1000 + 90 for a, b in zip(keys, [*keys[1:], stamps[-1]], strict=True)), keys


def test_alpha_in_prores_is_equal_to_the_byte(tmp_path: Path) -> None:
    for size in ((64, 48), (61, 47)):
        alphas = [np.roll(np.tile(np.arange(size[0], dtype=np.uint8) * 4, (size[1], 1)), i, axis=1) for i in range(4)]
        frames = [moving_frame(i, size=size, alpha=alpha) for i, alpha in enumerate(alphas)]
        decoded = decode(write(tmp_path / "out.mov", frames, codec="auto"))
        assert [frame.format.name for frame in decoded] == ["yuva444p12le"] * 4
        assert (decoded[0].width, decoded[0].height) == size
        for frame, alpha, original in zip(decoded, alphas, frames, strict=True):
            np.testing.assert_array_equal(plane(frame, 3) >> 4, alpha)
            luma = (plane(frame, 0) + 8 >> 4).astype(int)
            assert np.abs(luma - original.planes[0]).max() <= 2  # ProRes is lossy, and its limited range 10 bits


@pytest.mark.parametrize("ending", ["webm", "mkv"])
def test_alpha_in_vp9_is_marked_and_close(tmp_path: Path, ending: str) -> None:
    ramp = np.tile(np.arange(64, dtype=np.uint8) * 4, (48, 1))
    ramp[:, :16], ramp[:, 48:] = 0, 255
    frames = [moving_frame(i, alpha=ramp) for i in range(6)]
    path = write(tmp_path / f"out.{ending}", frames, codec="auto")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "vp9"
        assert {key.lower(): value for key, value in stream.metadata.items()}["alpha_mode"] == "1"
    for frame in decode(path, "libvpx-vp9"):
        error = np.abs(plane(frame, 3).astype(int) - ramp)
        assert error.max() <= 16  # at the two hard edges, at the codec's default quality
        assert error.mean() <= 2


@pytest.mark.parametrize(("codec", "shown"), [(FAST, (162, 122)), ("h265", (162, 122)), ("vp9", (161, 121))])
def test_odd_sides_are_padded_with_the_last_column_and_row_where_the_codec_needs_it(
    tmp_path: Path, codec: str, shown: tuple[int, int]
) -> None:
    frames = [moving_frame(i, size=(161, 121)) for i in range(3)]
    decoded = decode(write(tmp_path / "out.mkv", frames, codec=codec))
    assert len(decoded) == 3
    assert (decoded[0].width, decoded[0].height) == shown
    luma = plane(decoded[0], 0).astype(int)
    assert np.abs(luma[:121, :161] - frames[0].planes[0]).mean() < 3
    assert np.abs(luma[:121, 160] - luma[:121, -1]).mean() < 3


@pytest.mark.parametrize("size", [(1, 1), (3, 3), (2, 5)])
def test_tiny_pictures_are_written(tmp_path: Path, size: tuple[int, int]) -> None:
    decoded = decode(write(tmp_path / "out.mp4", [moving_frame(i, size=size) for i in range(3)]))
    assert [(frame.width, frame.height) for frame in decoded] == [tuple(side + side % 2 for side in size)] * 3


def test_a_side_that_the_codec_cannot_hold_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    sink = VideoWriter(tmp_path / "out.mp4", codec="h265")
    with pytest.raises(ConfigError, match="at least 16 pixels, not 8x64"):
        sink.write(output_of(moving_frame(0, size=(8, 64))))
    sink.close()
    assert list(tmp_path.iterdir()) == []


def test_a_picture_of_another_size_is_scaled_into_the_first_with_bars(tmp_path: Path) -> None:
    bright = moving_frame(1, size=(48, 96))
    bright = bright.with_planes((np.full((96, 48), 235, np.uint8), *bright.planes[1:]))
    decoded = decode(write(tmp_path / "out.mp4", [moving_frame(0, size=(96, 48)), bright], codec=f"{FAST},crf=1"))
    assert [(frame.width, frame.height) for frame in decoded] == [(96, 48)] * 2
    row = plane(decoded[1], 0)[24].astype(int)  # 24 of 96 columns hold the picture
    assert np.abs(row[:34] - 16).max() <= 3
    assert np.abs(row[38:58] - 235).max() <= 3
    assert np.abs(row[62:] - 16).max() <= 3


@pytest.mark.parametrize(
    ("colour", "tags"),
    [
        (Colour("bt709"), (1, 1)),
        (Colour("bt601", full_range=True), (6, 2)),
        (Colour("bt2020"), (9, 1)),
    ],
    ids=str,
)
@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_matrix_range_and_pixel_shape_are_tagged(
    tmp_path: Path, ending: str, colour: Colour, tags: tuple[int, int]
) -> None:
    info = StreamInfo("x", sample_aspect_ratio=Fraction(64, 45))
    path = write(tmp_path / f"out.{ending}", [moving_frame(0, colour=colour)], info=info)
    frame = decode(path)[0]
    assert (int(frame.colorspace), int(frame.color_range)) == tags
    with av.open(str(path)) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(64, 45)


def test_full_range_becomes_limited_where_the_codec_cannot_say_so(tmp_path: Path) -> None:
    white = moving_frame(0, colour=Colour("bt601", full_range=True))
    white = white.with_planes((np.full((48, 64), 255, np.uint8), *white.planes[1:]))
    frame = decode(write(tmp_path / "out.mov", [white], codec="prores4444"))[0]
    assert np.abs(plane(frame, 0).astype(int) - 235 * 16).max() <= 16  # 12 bits; one level of 8


def test_planes_of_a_decoder_and_of_the_compositor_give_the_same_file(tmp_path: Path) -> None:
    whole = [moving_frame(i) for i in range(6)]
    apart = [frame.with_planes(tuple(np.copy(p) for p in frame.planes)) for frame in whole]  # type: ignore[arg-type]
    one, two = (write(tmp_path / name, frames) for name, frames in (("a.mkv", whole), ("b.mkv", apart)))
    for a, b in zip(decode(one), decode(two), strict=True):
        for i in range(3):
            np.testing.assert_array_equal(plane(a, i), plane(b, i))


def test_frames_that_wait_in_the_encoder_are_not_overwritten(tmp_path: Path) -> None:
    # Planes apart are staged in a kept frame; lookahead and threads must not see the next picture in it.
    frames = []
    for i in range(20):
        frame = moving_frame(i)
        frames.append(frame.with_planes((np.full((48, 64), 20 + 10 * i, np.uint8), frame.planes[1], frame.planes[2])))
    for ending, codec in (("mp4", "h264"), ("mp4", "av1"), ("webm", "vp9"), ("mov", "prores4444:threads=4")):
        decoded = decode(write(tmp_path / f"out.{ending}", frames, codec=codec))
        scale = 16 if codec.startswith("prores") else 1
        levels = [float(plane(frame, 0).mean()) / scale for frame in decoded]
        assert levels == pytest.approx([20 + 10 * i for i in range(20)], abs=2), codec


def test_user_options_override_ours(tmp_path: Path) -> None:
    frames = [moving_frame(i) for i in range(12)]
    sizes = [
        write(tmp_path / f"{crf}.mp4", frames, codec=f"h264:preset=ultrafast,crf={crf}").stat().st_size
        for crf in (1, 50)
    ]
    assert sizes[0] > sizes[1]


def test_codec_choices_are_taken_as_they_are(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "out.mkv", codec=CodecChoice("vp9", {"crf": "40"})) as sink:
        sink.write(output_of(moving_frame(0)))
    assert len(decode(tmp_path / "out.mkv")) == 1


@pytest.mark.parametrize(
    ("name", "codec", "message"),
    [
        ("out.avi", "auto", "end the name with .mp4, .m4v, .mov, .mkv or .webm"),
        ("out", "auto", "end the name with"),
        ("out.webm", "h264", "webm cannot hold h264: use the codec av1 or vp9"),
        ("out.mp4", "mpeg2", "unknown codec 'mpeg2'"),
        ("out.mp4", "h264:crf", "is not key=value"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(
    tmp_path: Path, name: str, codec: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        VideoWriter(tmp_path / name, codec=codec)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("codec", "message"),
    [
        ("h264:speed=9", "has no option 'speed'"),
        ("h264:preset=warp", "refuses its options"),
        ("h264:threads=many", "threads"),
    ],
)
def test_options_that_the_encoder_does_not_know_are_refused_at_the_first_frame(
    tmp_path: Path, codec: str, message: str
) -> None:
    sink = VideoWriter(tmp_path / "out.mp4", codec=codec)
    with pytest.raises(ConfigError, match=message):
        sink.write(output_of(moving_frame(0)))
    sink.close()
    assert list(tmp_path.iterdir()) == []


def test_alpha_in_a_codec_without_it_is_refused(tmp_path: Path) -> None:
    sink = VideoWriter(tmp_path / "out.mp4")
    with pytest.raises(ConfigError, match="no transparency"):
        sink.write(output_of(moving_frame(0, alpha=np.zeros((48, 64), np.uint8))))
    sink.close()
    assert list(tmp_path.iterdir()) == []


def test_without_a_frame_there_is_no_file(tmp_path: Path) -> None:
    VideoWriter(tmp_path / "out.mp4").close()
    assert list(tmp_path.iterdir()) == []


def test_closing_twice_is_harmless_and_writing_afterwards_is_not(tmp_path: Path) -> None:
    sink = VideoWriter(tmp_path / "out.mp4", codec=FAST)
    sink.write(output_of(moving_frame(0)))
    sink.close()
    sink.close()
    assert sink.frames == 1
    with pytest.raises(SinkError, match="is closed"):
        sink.write(output_of(moving_frame(1)))
    assert len(decode(tmp_path / "out.mp4")) == 1
