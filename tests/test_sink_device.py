"""Pictures of a device into an encoder that is there too, and what happens without one: here the device is the CPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from on_device import on_device
from written import decode, moving_frame, output_of, plane

from rtseg.device import CPU, CUDA
from rtseg.errors import ConfigError
from rtseg.sinks import codecs, encoders
from rtseg.sinks.codecs import CODECS, Codec
from rtseg.sinks.encoders import why_closed
from rtseg.sinks.planes import Converter
from rtseg.sinks.video import VideoWriter
from rtseg.types import Frame

HARDWARE = [codec for codec in CODECS.values() if codec.hardware is not None]
NO_GPU = pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="there is a device here")
EXACT = {"preset": "ultrafast", "qp": "0"}


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Codec]]:
    """The codecs with one more, which is tried before all others of the device: x264 that takes pictures of the CPU."""
    here = Codec("x264_here", "libx264", CODECS["h264"].containers, "yuv420p", EXACT, takes=CPU)
    lossless = replace(CODECS["h264"], options=EXACT)
    table = {"x264_here": here, **CODECS, "h264": lossless}
    for module in (codecs, encoders):
        monkeypatch.setattr(module, "CODECS", table)
    yield table
    why_closed.cache_clear()


def write(path: Path, frames: list[Frame], codec: str = "auto") -> VideoWriter:
    with VideoWriter(path, codec=codec) as sink:
        for frame in frames:
            sink.write(output_of(frame))
    return sink


def test_pictures_stay_on_their_device_and_are_the_same_when_decoded(
    tmp_path: Path, encoder: dict[str, Codec], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="rtseg")
    for size in ((64, 48), (66, 48)):  # without padding behind lines, and with
        frames, counts = [moving_frame(i, size=size) for i in range(6)], Counter[str]()
        for codec in ("auto", "x264_here"):
            sink = write(tmp_path / f"{codec}.mp4", [on_device(frame, counts) for frame in frames], codec)
            assert not sink.notes
            decoded = decode(tmp_path / f"{codec}.mp4")
            assert [frame.pts for frame in decoded] == [frame.pts for frame in decode(tmp_path / "auto.mp4")]
            for found, wanted in zip(decoded, frames, strict=True):
                for index in range(3):
                    np.testing.assert_array_equal(plane(found, index), wanted.planes[index])
        assert not counts, "a picture came to the host"
    assert "pictures are encoded on their device, by x264_here" in caplog.text


def test_the_encoder_gets_the_devices_own_memory(
    tmp_path: Path, encoder: dict[str, Codec], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, list[int]]] = []
    convert = Converter.__call__

    def spy(self: Converter, frame: Frame) -> av.VideoFrame:
        made = convert(self, frame)
        seen.append((made.format.name, [p.buffer_ptr for p in made.planes]))
        return made

    monkeypatch.setattr(Converter, "__call__", spy)
    frames = [on_device(moving_frame(i)) for i in range(3)]
    write(tmp_path / "out.mp4", frames)
    owners: list[Any] = [frame.device for frame in frames]
    assert seen == [("nv12", [picture.y.buffer_ptr, picture.uv.buffer_ptr]) for picture in owners]


def test_pictures_of_the_host_another_size_or_another_colour_are_brought_to_the_encoder(
    tmp_path: Path, encoder: dict[str, Codec]
) -> None:
    counts: Counter[str] = Counter()
    frames = [moving_frame(i) for i in range(4)]
    small = moving_frame(4, size=(32, 48))
    shown = [on_device(frames[0], counts), frames[1], on_device(small, counts), on_device(frames[3], counts)]
    write(tmp_path / "out.mp4", [frame if i != 2 else small_at(frame, 2) for i, frame in enumerate(shown)])
    decoded = decode(tmp_path / "out.mp4")
    for index in (0, 1, 3):
        np.testing.assert_array_equal(plane(decoded[index], 0), frames[index].planes[0])
    assert (plane(decoded[2], 0)[:, :16] == 16).all(), "bars beside the smaller picture"
    assert counts == {"downloaded": 1}


def small_at(frame: Frame, pts: int) -> Frame:
    assert frame.device is not None
    return moving_frame(pts).with_device(frame.device)


def test_without_an_encoder_there_pictures_are_brought_to_software_once_each_and_that_is_said(
    tmp_path: Path, encoder: dict[str, Codec]
) -> None:
    del encoder["x264_here"]
    frames, counts = [moving_frame(i) for i in range(4)], Counter[str]()
    sink = write(tmp_path / "out.mp4", [on_device(frame, counts) for frame in frames])
    assert counts == {"downloaded": 4}
    (note,) = sink.notes
    assert note.startswith("pictures left their device to be encoded by libx264: no encoder there writes")
    for found, wanted in zip(decode(tmp_path / "out.mp4"), frames, strict=True):
        np.testing.assert_array_equal(plane(found, 1), wanted.planes[1])


def test_an_encoder_that_opens_and_then_fails_is_left_for_software(tmp_path: Path, encoder: dict[str, Codec]) -> None:
    encoder["x264_here"] = replace(encoder["x264_here"], options={"preset": "none such"})
    frames = [moving_frame(i) for i in range(4)]
    sink = write(tmp_path / "out.mp4", [on_device(frame) for frame in frames])
    (note,) = sink.notes
    assert "x264_here fails (the encoder libx264 refuses its options" in note
    assert len(decode(tmp_path / "out.mp4")) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
    with pytest.raises(ConfigError, match="refuses its options"):
        write(tmp_path / "named.mp4", [on_device(frame) for frame in frames], "x264_here")


@pytest.mark.parametrize(
    ("codec", "ending"), [("auto:crf=18", "mp4"), ("vp9", "mp4"), ("auto", "webm"), ("h264", "mp4")]
)
def test_what_the_user_asked_for_is_not_given_up_for_the_device(
    codec: str, ending: str, tmp_path: Path, encoder: dict[str, Codec]
) -> None:
    counts: Counter[str] = Counter()
    sink = write(tmp_path / f"out.{ending}", [on_device(moving_frame(0), counts)], codec)
    assert counts == {"downloaded": 1}
    assert len(sink.notes) == codec.startswith("auto")
    with av.open(str(tmp_path / f"out.{ending}")) as container:
        assert container.streams.video[0].codec_context.name == (
            "vp9" if "vp9" in codec or ending == "webm" else "h264"
        )


@NO_GPU
def test_a_gpu_without_an_encoder_is_told_with_the_reason() -> None:
    codec, reason = encoders.encoder_on(CUDA, codecs.CodecChoice(), "mp4")
    assert codec is None
    assert reason.startswith("h264_nvenc cannot be used here (")


@NO_GPU
@pytest.mark.parametrize("codec", HARDWARE, ids=lambda codec: codec.name)
def test_a_hardware_encoder_that_was_named_and_does_not_open_is_refused_at_once(codec: Codec, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        VideoWriter(tmp_path / "out.mp4", codec=codec.name)
    assert f"the encoder {codec.name} cannot be used here" in str(caught.value)
    assert "install its driver, or use auto or h264" in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("codec", HARDWARE, ids=lambda codec: codec.name)
def test_the_options_of_hardware_encoders_are_ones_that_they_have(codec: Codec) -> None:
    if not encoders.has_encoder(codec):
        pytest.skip(f"this FFmpeg has no {codec.encoder}")
    known = av.CodecContext.create(codec.encoder, "w").supported_options
    options = {option.name: option for option in (*known.generic, *known.private)}
    for name, value in codec.options.items():
        assert name in options
        choices = [choice.name for choice in options[name].choices]
        assert not choices or value in choices or value.isdecimal(), f"{name}={value}"


def test_an_encoder_is_opened_once_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    class Context:
        @staticmethod
        def create(name: str, *_: object, **__: object) -> Any:
            tried.append(name)
            raise NotImplementedError("no such device")

    monkeypatch.setattr(encoders, "CodecContext", Context)
    why_closed.cache_clear()
    try:
        assert [why_closed("h264_nvenc") for _ in range(3)] == ["no such device"] * 3
        assert tried == ["h264_nvenc"]
    finally:
        why_closed.cache_clear()
