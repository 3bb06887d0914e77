from __future__ import annotations

from pathlib import Path

import pytest

from rtseg.config import (
    BackgroundEffect,
    CameraSource,
    FramingOptions,
    HudEffect,
    ImageSink,
    ImageSource,
    MaskSink,
    OutlineEffect,
    OverlayEffect,
    RecordSink,
    RefineFilter,
    SampleSource,
    ScreenSource,
    SmoothFilter,
    StreamSource,
    SyntheticSource,
    VideoSink,
    VideoSource,
    parse_config,
)
from rtseg.errors import ConfigError
from rtseg.options import configure

FILE = parse_config(
    {
        "source": {"type": "video", "path": "file.mp4", "threads": 2},
        "model": {"name": "road", "timeout": 3},
        "filters": [{"type": "smooth"}],
        "effects": [{"type": "outline"}, {"type": "background", "paint": "black"}],
        "sinks": [{"type": "video", "path": "file-out.mp4", "audio": False}],
    }
)


@pytest.mark.parametrize(
    ("given", "source"),
    [
        ("in.mp4", VideoSource(path=Path("in.mp4"))),
        ("in.gif", VideoSource(path=Path("in.gif"))),
        ("no-suffix", VideoSource(path=Path("no-suffix"))),
        ("a/b.JPG", ImageSource(paths=(Path("a/b.JPG"),))),
        (["a.jpg", Path("b")], ImageSource(paths=(Path("a.jpg"), Path("b")))),
        ("sample", SampleSource()),
        ("synthetic:testsrc2=rate=5", SyntheticSource(graph="testsrc2=rate=5")),
        ("rtsp://host/live", StreamSource(url="rtsp://host/live", attempts=1)),
        ("HTTPS://host/a.m3u8", StreamSource(url="HTTPS://host/a.m3u8", attempts=1)),
        ("camera", CameraSource(attempts=1)),
        ("camera:1", CameraSource(device=1, attempts=1)),
        ("camera:FaceTime HD", CameraSource(device="FaceTime HD", attempts=1)),
        ("/dev/video0", CameraSource(device="/dev/video0", attempts=1)),
        ("screen", ScreenSource(attempts=1)),
        ("screen.mp4", VideoSource(path=Path("screen.mp4"))),
    ],
)
def test_what_an_input_is_shows_in_its_name(given: str | list[str], source: object) -> None:
    assert configure(given).source == source


def test_a_folder_is_pictures_and_a_file_called_sample_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert configure(tmp_path).source == ImageSource(paths=(tmp_path,))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sample").touch()
    assert configure("sample").source == VideoSource(path=Path("sample"))


@pytest.mark.parametrize(
    ("output", "sink"),
    [
        ("out.mp4", VideoSink(path=Path("out.mp4"))),
        ("frames", ImageSink(folder=Path("frames"))),
        ("a/cut.webp", ImageSink(folder=Path("a"), format="webp", names=("cut",))),
    ],
)
def test_what_an_output_is_shows_in_its_name(output: str, sink: object) -> None:
    assert configure("photo.jpg", output).sinks == (sink,)


def test_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    config = configure("~/in.mp4", "~/out.mp4", masks="~/m", records="~/r.jsonl")
    assert config.source == VideoSource(path=Path("/home/ada/in.mp4"))
    assert config.sinks == (
        VideoSink(path=Path("/home/ada/out.mp4")),
        MaskSink(folder=Path("/home/ada/m")),
        RecordSink(path=Path("/home/ada/r.jsonl")),
    )


def test_nothing_given_leaves_the_file_as_it_is() -> None:
    assert configure(config=FILE) == FILE


def test_what_is_given_goes_before_the_file_and_keeps_the_rest() -> None:
    config = configure(
        "other.mp4", "other-out.mp4", config=FILE, background="white", end=2, threads=2, filters="refine,smooth"
    )
    assert config.source == VideoSource(path=Path("other.mp4"), end=2)
    assert config.model.options() == {"name": "road", "timeout": 3, "threads": 2}
    assert config.effects == (BackgroundEffect(paint="white"), OutlineEffect())
    assert config.filters == (RefineFilter(), SmoothFilter())
    assert config.sinks == (VideoSink(path=Path("other-out.mp4"), audio=False),)


def test_a_cut_keeps_the_source_of_the_file() -> None:
    assert configure(config=FILE, start=1).source == VideoSource(path=Path("file.mp4"), threads=2, start=1)


@pytest.mark.parametrize(
    ("background", "overlay", "model", "effects"),
    [
        (None, None, "portrait", None),
        ("blur", None, "portrait", (BackgroundEffect(paint="blur"),)),
        ("none", None, "portrait", ()),
        (None, "road", "road", (OverlayEffect(preset="road"),)),
        (None, "all", "road", (OverlayEffect(),)),
        (None, "drive", "road", (HudEffect(),)),
        (None, "lane, vehicle", "road", (OverlayEffect(names=("lane", "vehicle")),)),
        ("blur", "all", "portrait", (BackgroundEffect(paint="blur"), OverlayEffect())),
        ("none", "none", "portrait", ()),
    ],
)
def test_effects_and_the_model_that_suits_them(
    background: str | None, overlay: str | None, model: str, effects: object
) -> None:
    config = configure(background=background, overlay=overlay)
    assert config.model.name == model
    assert config.effects == effects


def test_framing_is_a_word_with_the_most_it_enlarges() -> None:
    assert configure("in.mp4", framing="body").framing == FramingOptions(look="body")
    assert configure("in.mp4", framing="head:1.5").framing == FramingOptions(look="head", max_zoom=1.5)
    file = parse_config({"framing": {"look": "head"}})
    assert configure(config=file).framing == FramingOptions(look="head")
    assert configure(config=file, framing="none").framing is None
    for wrong in ("tight", "head:", "head:1", "body:5", "body:nan", ""):
        with pytest.raises(ConfigError, match="use body, head, either with the most it enlarges, over 1 to 4"):
            configure("in.mp4", framing=wrong)


def test_filters_none_is_no_filter() -> None:
    assert configure(filters="none").filters == ()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input": []}, "the list of pictures is empty"),
        ({"input": "a\0b"}, "a path cannot have a NUL"),
        ({"input": "in.mp4", "output": "out.png"}, "out.png is one picture, but the input gives many"),
        ({"input": "photo.jpg", "start": 1}, "start and end cut videos"),
        ({"input": "in.mp4", "start": 2, "end": 2}, "end 2 s must be after start 2 s"),
        ({"codec": "h264"}, "codec 'h264' needs an output that is a video"),
        ({"overlay": ","}, "',' names nothing"),
        ({"filters": "sharpen"}, "'sharpen' is unknown: use one of refine, smooth, subject"),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        configure(**arguments)  # type: ignore[arg-type]


def test_hardware_decodes_videos_and_nothing_else() -> None:
    assert configure("a.mp4", hardware="auto").source == VideoSource(path=Path("a.mp4"), hardware="auto")
    assert configure(config=FILE, hardware="cuda").source == VideoSource(
        path=Path("file.mp4"), threads=2, hardware="cuda"
    )
    with pytest.raises(ConfigError, match="hardware 'cuda' decodes videos: this input is none"):
        configure("photo.jpg", hardware="cuda")
