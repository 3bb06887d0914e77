"""Clips have the packets of their input, from a key frame on."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from rtseg.errors import ConfigError, SinkError
from rtseg.sinks.clips import Clip, cut

RATE, GROUP, SECONDS = 10, 10, 5
SAMPLES = 8000


def video(path: Path, *, bframes: int = 2, codec: str = "libx264") -> Path:
    """Five seconds with a key frame each, grey that grows, and a tone."""
    with av.open(str(path), "w") as out:
        options = {
            "g": str(GROUP),
            "keyint_min": str(GROUP),
            "sc_threshold": "0",
            "bf": str(bframes),
            "preset": "veryfast",
        }
        stream: Any = out.add_stream(codec, rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, RATE)
        sound: Any = out.add_stream("aac", rate=SAMPLES, layout="mono")
        for index in range(RATE * SECONDS):
            frame = av.VideoFrame.from_ndarray(np.full((72, 64), 30 + 4 * index, np.uint8), "yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            out.mux(stream.encode(frame))
        tone = av.AudioFrame.from_ndarray(np.zeros((1, SAMPLES * SECONDS), np.float32), "fltp", "mono")
        tone.sample_rate, tone.pts, tone.time_base = SAMPLES, 0, Fraction(1, SAMPLES)
        out.mux(sound.encode(tone))
        out.mux([*stream.encode(None), *sound.encode(None)])
    return path


def packets(path: Path, kind: str) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(**{kind: 0}) if packet.size]


def shown(path: Path) -> list[tuple[float, int]]:
    """Time and grey of each frame."""
    with av.open(str(path)) as container:
        return [(float(f.time), int(f.to_ndarray()[0, 0])) for f in container.decode(video=0)]


@pytest.mark.parametrize("bframes", [0, 2])
@pytest.mark.parametrize("name", ["in.mp4", "in.mkv"])
def test_a_clip_begins_at_the_key_frame_before_and_keeps_every_packet(tmp_path: Path, name: str, bframes: int) -> None:
    source = video(tmp_path / name, bframes=bframes)
    clip = cut(source, tmp_path / f"clip{source.suffix}", start=2.5, end=3.55)
    assert clip.start == pytest.approx(2.0, abs=1e-3)
    assert 15 <= clip.frames <= 16 + 2 * bframes  # frames on which those before the end lean
    whole, part = shown(source), shown(tmp_path / f"clip{source.suffix}")
    assert [grey for _, grey in part][:15] == [grey for _, grey in whole][20:35]
    assert [time for time, _ in part][:15] == pytest.approx([i / RATE for i in range(15)], abs=2e-3)
    ours = packets(tmp_path / f"clip{source.suffix}", "video")
    assert b"".join(ours) in b"".join(packets(source, "video"))
    sound = packets(tmp_path / f"clip{source.suffix}", "audio")
    assert sound
    assert b"".join(sound) in b"".join(packets(source, "audio"))
    assert not list(tmp_path.glob("*.part"))


def test_frames_that_lean_on_the_group_before_are_left_out(tmp_path: Path) -> None:
    source = video(tmp_path / "in.mkv", codec="mpeg2video")
    with av.open(str(source)) as container:
        kept = [(p.pts, p.is_keyframe) for p in container.demux(video=0) if p.size]
    keys = [place for place, (_, key) in enumerate(kept) if key]
    leading = [place for place in keys[1:] if (kept[place + 1][0] or 0) < (kept[place][0] or 0)]
    assert leading, "the encoder made no such frames"
    clip = cut(source, tmp_path / "clip.mkv", start=2.5, end=3.5)
    assert 0 < clip.start <= 2.5
    times = [time for time, _ in shown(tmp_path / "clip.mkv")]
    assert times == pytest.approx([i / RATE for i in range(len(times))], abs=2e-3)
    assert len(times) == clip.frames


def test_a_clip_of_the_beginning_and_of_the_end(tmp_path: Path) -> None:
    source = video(tmp_path / "in.mp4", bframes=0)
    assert cut(source, tmp_path / "first.mp4", start=0.0, end=1.0) == Clip(0.0, 1.0, 10)
    assert cut(source, tmp_path / "last.mp4", start=4.9, end=99.0) == Clip(4.0, 5.0, 10)


def test_where_nothing_can_be_cut_there_is_no_file(tmp_path: Path) -> None:
    source = video(tmp_path / "in.mp4")
    with pytest.raises(ConfigError, match="is the input itself"):
        cut(source, source, start=0, end=1)
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(SinkError, match=r"clip\.mp4"):
        cut(tmp_path / "text.mp4", tmp_path / "clip.mp4", start=0, end=1)
    with pytest.raises(SinkError, match=r"cannot write .*clip\.webm"):
        cut(source, tmp_path / "clip.webm", start=0, end=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "text.mp4"]
