"""How codecs are named and chosen."""

from __future__ import annotations

import pytest

from rtseg.errors import ConfigError
from rtseg.sinks.codecs import CODECS, CodecChoice, Container, choose, container_of, parse_codec


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("auto", CodecChoice()),
        ("h264", CodecChoice("h264")),
        (" vp9 ", CodecChoice("vp9")),
        (
            "h264:preset=ultrafast,tune=zerolatency,crf=20",
            CodecChoice("h264", {"preset": "ultrafast", "tune": "zerolatency", "crf": "20"}),
        ),
        ("h265:x265-params=aq-mode=2:me=1", CodecChoice("h265", {"x265-params": "aq-mode=2:me=1"})),
    ],
)
def test_a_name_and_the_encoders_options_are_read(text: str, choice: CodecChoice) -> None:
    assert parse_codec(text) == choice


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "unknown codec ''"),
        ("H264", "unknown codec 'H264': use auto, h264, h265, av1, vp9, prores4444, h264_nvenc,"),
        ("h264:", "codec option ''"),
        ("h264:crf", "codec option 'crf' of 'h264:crf' is not key=value"),
        ("h264:crf=", "is not key=value"),
        ("h264:=3", "is not key=value"),
        ("h264:crf=3,", "codec option ''"),
    ],
)
def test_what_is_no_choice_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_codec(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "container"),
    [("a.mp4", "mp4"), ("a.M4V", "mp4"), ("b/a.MOV", "mov"), ("a.b.mkv", "matroska"), ("a.webm", "webm")],
)
def test_the_ending_decides_the_container(name: str, container: Container) -> None:
    assert container_of(name) == container


@pytest.mark.parametrize(
    ("container", "alpha", "name"),
    [
        ("mp4", False, "h264"),
        ("mov", False, "h264"),
        ("matroska", False, "h264"),
        ("webm", False, "vp9"),
        ("mov", True, "prores4444"),
        ("matroska", True, "vp9"),
        ("webm", True, "vp9"),
    ],
)
def test_auto_goes_by_container_and_alpha(container: Container, alpha: bool, name: str) -> None:
    assert choose(CodecChoice(), container, alpha=alpha).name == name


@pytest.mark.parametrize(
    ("choice", "container", "message"),
    [
        ("auto", "mp4", "no transparency: use the codec vp9 or prores4444"),
        ("h265", "mov", "h265 in mov has no transparency"),
        ("prores4444", "mp4", "mp4 cannot hold prores4444: use the codec h264, h265, av1 or vp9"),
    ],
)
def test_alpha_that_cannot_be_kept_is_refused(choice: str, container: Container, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        choose(CodecChoice(choice), container, alpha=True)
    assert message in str(caught.value)


@pytest.mark.parametrize("frames", range(1, 13))
def test_x264_holds_back_no_more_frames_than_allowed(frames: int) -> None:
    codec = CODECS["h264"]
    options = codec.delay(frames, codec.options)
    held = int(options["rc-lookahead"]) if "rc-lookahead" in options else 0
    assert held < max(frames, 1)
    assert ("tune" in options) == (held == 0)


def test_fast_presets_are_left_as_they_are() -> None:
    assert CODECS["h264"].delay(10, {"preset": "ultrafast"}) == {}
    assert CODECS["h264"].delay(10, {"preset": "slow", "tune": "zerolatency"}) == {}
