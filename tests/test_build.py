from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from commands import portrait_photo
from fakes import ListSink, SquareSegmenter

import rtseg.build
from rtseg import store
from rtseg.adaptive import Adaptive
from rtseg.build import build, build_pipeline, build_source, default_effects, default_filters
from rtseg.config import (
    BackgroundEffect,
    Config,
    ModelOptions,
    OverlayEffect,
    RefineFilter,
    SampleSource,
    SmoothFilter,
    VideoSource,
    parse_config,
)
from rtseg.effects.background import Background
from rtseg.effects.overlay import Overlay
from rtseg.engines import build_fused, takes_device_frames
from rtseg.errors import ConfigError, InferenceFailed, ModelNotFound, SinkError, SourceNotFound
from rtseg.focus import Focus
from rtseg.fused_pipeline import FusedPipeline
from rtseg.ops.arrays import as_u8
from rtseg.pipeline import Pipeline
from rtseg.registry import BUILTIN, Entry
from rtseg.segmenters.regions import RegionSegmenter
from rtseg.types import Blur, Frame, Layer, Regions, Segmentation, Solid

PATTERN = {"type": "synthetic", "graph": "testsrc2=size=96x64:rate=10", "frames": 4}


def config(**tables: Any) -> Config:
    return parse_config({"source": PATTERN, "effects": [], **tables})


def test_a_job_runs_from_source_to_sinks(tmp_path: Path) -> None:
    sink = ListSink()
    job = build(config(sinks=[{"type": "records", "path": str(tmp_path / "r.jsonl")}]), more_sinks=[sink])
    stats = job.run()
    assert stats.frames_out == len(sink.outputs) == len((tmp_path / "r.jsonl").read_text().splitlines()) == 4
    assert job.card.name == "portrait"
    assert job.notes == []


def test_a_job_that_is_closed_leaves_nothing(tmp_path: Path) -> None:
    job = build(config(sinks=[{"type": "video", "path": str(tmp_path / "a.mp4")}]))
    job.close()
    assert list(tmp_path.iterdir()) == []


def test_what_was_opened_before_an_error_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []
    monkeypatch.setattr("rtseg.sources.synthetic.Synthetic.close", lambda self: closed.append(self))
    with pytest.raises(SinkError, match="does not exist: make it first"):
        build(config(sinks=[{"type": "video", "path": "/nowhere/at/all.mp4"}]))
    assert len(closed) == 1


def test_defaults_suit_the_model() -> None:
    portrait, road = store.find_card("portrait"), store.find_card("road")
    semantic = store.find_card("espnetv2-city")
    assert default_filters(portrait) == (SmoothFilter(), RefineFilter())
    assert default_filters(portrait, alone=True) == (RefineFilter(),)
    assert default_filters(road) == (SmoothFilter(),)
    assert default_filters(road, alone=True) == default_filters(semantic) == ()
    assert default_effects(portrait) == (BackgroundEffect(paint="blur"),)
    assert default_effects(road) == default_effects(semantic) == (OverlayEffect(),)


def test_masks_alone_need_no_effect(tmp_path: Path) -> None:
    tables = {"source": PATTERN, "sinks": [{"type": "masks", "folder": str(tmp_path)}]}
    masks = build(parse_config(tables)).pipeline
    assert isinstance(masks, Pipeline)
    assert masks.effects == ()
    with_video = [*tables["sinks"], {"type": "video", "path": str(tmp_path / "a.mp4")}]
    video = build(parse_config({**tables, "sinks": with_video})).pipeline
    assert isinstance(video, Pipeline)
    assert len(video.effects) == 1


def test_frames_are_fused_where_that_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTSEG_CACHE", str(tmp_path))
    tables = {"source": PATTERN, "sinks": [{"type": "null"}], "model": {"fused": True}}
    job = build(parse_config(tables))
    assert isinstance(job.pipeline, FusedPipeline)
    assert job.run().frames_out > 0
    assert not job.pipeline.counts
    assert len(list((tmp_path / "fused").glob("*.onnx"))) == 1
    with pytest.raises(ConfigError, match="effect Outline cannot be fused"):
        build(parse_config({**tables, "effects": [{"type": "outline"}]}))


def test_a_device_gets_fused_frames_unless_the_effects_cannot_be() -> None:
    class OnDevice(SquareSegmenter):
        providers = ("cuda", "cpu")

    card, model = store.find_card("portrait"), ModelOptions(name="portrait")
    blur, legend = Pipeline(OnDevice(), effects=[Background(Blur())]), Pipeline(OnDevice(), effects=[Overlay()])
    assert isinstance(build_fused(model, card, blur), FusedPipeline)
    assert build_fused(model, card, legend) is legend
    assert build_fused(ModelOptions(name="portrait", fused=False), card, blur) is blur
    on_cpu = Pipeline(SquareSegmenter(), effects=[Background(Blur())])
    assert build_fused(model, card, on_cpu) is on_cpu


def test_frames_stay_on_the_device_only_for_a_fused_network_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    class OnDevice(SquareSegmenter):
        providers = ("cuda", "cpu")

    opened: list[dict[str, Any]] = []
    monkeypatch.setattr(rtseg.build, "_make", lambda kind, options, **more: opened.append(more))
    card, model = store.find_card("portrait"), ModelOptions(name="portrait")
    fused = build_fused(model, card, Pipeline(OnDevice(), effects=[Background(Blur())]))
    assert takes_device_frames(fused)
    assert not takes_device_frames(Pipeline(OnDevice()))
    on_cpu = Pipeline(SquareSegmenter(), effects=[Background(Blur())])
    assert not takes_device_frames(build_fused(ModelOptions(name="portrait", fused=True), card, on_cpu))
    for hardware, on_device in (("cuda", True), ("auto", True), ("cuda", False), ("none", True), (None, True)):
        build_source(VideoSource(path=Path("in.mp4"), hardware=hardware), on_device=on_device)
    build_source(SampleSource(), on_device=True)
    assert opened == [{"on_device": True}, {"on_device": True}, {}, {}, {}, {}]


def test_ffmpeg_is_on_the_gpu_before_the_network_is(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    monkeypatch.setattr("rtseg.sources.hardware.reserve_cuda", lambda: order.append("ffmpeg"))

    def build_pipeline(*_: Any, **__: Any) -> Any:
        order.append("network")
        raise ConfigError("enough")

    monkeypatch.setattr(rtseg.build, "build_pipeline", build_pipeline)
    video = {"type": "video", "path": "in.mp4", "hardware": "auto"}
    for source, model, expected in (
        (video, {"providers": ["cuda"]}, ["ffmpeg", "network"]),
        (video, {"providers": ["auto"]}, ["ffmpeg", "network"]),
        (video, {"providers": ["cuda"], "fused": False}, ["network"]),
        (video, {}, ["network"]),
        ({**video, "hardware": "none"}, {"providers": ["cuda"]}, ["network"]),
    ):
        order.clear()
        with pytest.raises(ConfigError, match="enough"):
            build(parse_config({"source": source, "model": model, "sinks": [{"type": "null"}]}))
        assert order == expected


def test_fused_and_adaptive_exclude_each_other(caplog: pytest.LogCaptureFixture) -> None:
    class OnDevice(SquareSegmenter):
        providers = ("cuda", "cpu")

    card = store.find_card("portrait")
    plain = Pipeline(OnDevice(), effects=[Background(Blur())], adaptive=Adaptive())
    with pytest.raises(ConfigError, match="--adaptive and --focus less: leave one out"):
        build_fused(ModelOptions(fused=True, adaptive=True), card, plain)
    with caplog.at_level("INFO", logger="rtseg"):
        assert isinstance(build_fused(ModelOptions(adaptive=True), card, plain), FusedPipeline)
    assert "adaptive is left out: on cuda" in caplog.text
    assert build_fused(ModelOptions(adaptive=True, fused=False), card, plain) is plain
    on_cpu = Pipeline(SquareSegmenter(), effects=[Background(Blur())], adaptive=Adaptive())
    assert build_fused(ModelOptions(adaptive=True), card, on_cpu) is on_cpu


def test_focus_is_for_mattes() -> None:
    pipeline = build_pipeline(config(model={"focus": True}))
    assert isinstance(pipeline.segmenter, Focus)
    assert pipeline.segmenter.providers == ("cpu",)
    with pytest.raises(ConfigError, match="model 'road' is no matte: use --model portrait"):
        build_pipeline(config(model={"name": "road", "focus": True}))


def test_focus_goes_before_fused_frames(caplog: pytest.LogCaptureFixture) -> None:
    class OnDevice(SquareSegmenter):
        providers = ("cuda", "cpu")

    card = store.find_card("portrait")
    plain = Pipeline(Focus(OnDevice()), effects=[Background(Blur())])
    with pytest.raises(ConfigError, match="--adaptive and --focus less: leave one out"):
        build_fused(ModelOptions(fused=True, focus=True), card, plain)
    with caplog.at_level("INFO", logger="rtseg"):
        assert build_fused(ModelOptions(focus=True), card, plain) is plain
    assert "a graph has no focus" in caplog.text


def test_framing_glides_in_videos_and_fits_each_picture_of_a_folder(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((64, 96, 3), 200, np.uint8))
    assert build_pipeline(config()).framing is None
    video = build_pipeline(config(framing={"look": "head", "max_zoom": 1.5})).framing
    assert video is not None
    assert (video._look, video._zoom, video._glides) == ("head", 1.5, True)
    tables = {"source": {"type": "images", "paths": [str(tmp_path)]}, "framing": {}}
    pictures = build_pipeline(parse_config(tables)).framing
    assert pictures is not None
    assert (pictures._look, pictures._zoom, pictures._glides) == ("body", 2.0, False)


def test_pictures_of_a_folder_have_nothing_to_do_with_each_other(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((64, 96, 3), 200, np.uint8))
    tables = {"source": {"type": "images", "paths": [str(tmp_path)]}, "model": {"focus": True}}
    segmenter = build_pipeline(parse_config(tables)).segmenter
    assert isinstance(segmenter, Focus)
    assert segmenter.every == 1
    assert build_pipeline(config(model={"focus": True})).segmenter.every == 30  # type: ignore[attr-defined]


def painted(paint: str) -> list[int]:
    """A frame with nobody on it, with that background: BGR at its centre."""
    pipeline = build_pipeline(config(effects=[{"type": "background", "paint": paint}]))
    flat = np.full((64, 96, 3), 200, np.uint8)
    centre: list[int] = pipeline(Frame.from_bgr(flat)).picture.bgr[32, 48].tolist()
    return centre


def test_a_picture_that_fails_shows_nobody_in_the_mask_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file holds its last mask for a moment; pictures that have nothing to do with each other must not, and a live
    stream would show the room where somebody was."""  # fmt: skip
    portrait_photo(tmp_path / "a.png", size=(120, 90))
    sources: list[dict[str, Any]] = [{"type": "images", "paths": [str(tmp_path / "a.png")]}]
    sources.append({"type": "synthetic", "graph": "testsrc2=size=120x90:rate=5"})
    sources.append({"type": "synthetic", "graph": "testsrc2=size=120x90:rate=5", "live": True})
    sources.append({"type": "camera"})
    for source, shown in zip(sources, (0, 255, 0, 0), strict=True):
        pipeline = build_pipeline(parse_config({"source": source}), pictures=False)
        frame = Frame.from_bgr(as_u8(cv2.imread(str(tmp_path / "a.png"))))
        assert pipeline(frame).segmentation.segments()[0]["mask"].max() == 255
        with monkeypatch.context() as broken:
            broken.setattr(RegionSegmenter, "__call__", _fail)
            held = pipeline(frame)
        assert held.held
        assert held.segmentation.segments()[0]["mask"].max() == shown


def _fail(*_: Any) -> None:
    raise InferenceFailed("made up")


def test_a_background_is_a_colour_a_picture_or_a_video(tmp_path: Path) -> None:
    red = np.full((40, 40, 3), (20, 30, 220), np.uint8)
    cv2.imwrite(str(tmp_path / "red.png"), red)
    build(
        config(
            source={"type": "synthetic", "graph": "color=#dc1e14:size=64x64:rate=10", "frames": 3},
            sinks=[{"type": "video", "path": str(tmp_path / "red.mp4")}],
        )
    ).run()
    for paint in ("#dc1e14", str(tmp_path / "red.png"), str(tmp_path / "red.mp4")):
        assert painted(paint) == pytest.approx([20, 30, 220], abs=6), paint


def test_a_background_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    for name in ("sea.jpg", "sea.mp4"):
        with pytest.raises(SourceNotFound, match=name):
            build_pipeline(config(effects=[{"type": "background", "paint": str(tmp_path / name)}]))


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"effects": [{"type": "background", "paint": "none"}]}, "is no effect: leave the effect out"),
        ({"effects": [{"type": "overlay", "names": ["hat"]}]}, "has no 'hat': choose from person"),
        ({"effects": [{"type": "overlay", "preset": "road", "opacity": 0.3}]}, "'road' chooses opacity itself"),
        ({"effects": [{"type": "background", "paint": "blur", "regions": ["dog"]}]}, "has no 'dog'"),
        (
            {"effects": [{"type": "background", "paint": "blur"}], "model": {"name": "road"}},
            "needs a person in front of it, and model 'road' knows only drivable, lane",
        ),
    ],
)
def test_effects_that_do_not_suit_the_model_are_refused(tables: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_pipeline(config(**tables))


def test_regions_to_keep_make_a_background_of_any_model() -> None:
    effect = {"type": "background", "paint": "black", "regions": ["drivable"]}
    pipeline = build_pipeline(config(effects=[effect], model={"name": "road-fast"}))
    assert len(pipeline.effects) == 1


def test_an_overlay_may_show_what_the_model_knows_of_a_list() -> None:
    effect = {"type": "overlay", "names": ["person", "hat"], "partial": True}
    assert len(build_pipeline(config(effects=[effect])).effects) == 1


def test_colours_of_an_overlay_are_the_cards_but_for_those_given() -> None:
    def colour(palette: dict[str, str]) -> list[tuple[int, int, int]]:
        effect = {"type": "overlay", "names": ["lane", "vehicle"], "palette": palette, "legend": False}
        (made,) = build_pipeline(config(effects=[effect], model={"name": "road-fast"})).effects
        frame = Frame.from_bgr(np.zeros((8, 8, 3), np.uint8))
        found = Regions(np.full((4, 2, 2), 255, np.uint8), store.find_card("road-fast").names, 0, frame.size)
        return [layer.paint.rgb for layer in made(frame, found, ()) if isinstance(layer.paint, Solid)]

    assert colour({}) == [(240, 228, 66), (213, 94, 0)]
    assert colour({"lane": "#010203"}) == [(1, 2, 3), (213, 94, 0)]


def test_a_model_that_is_not_there_is_said_before_anything_is_written(tmp_path: Path) -> None:
    sinks = [{"type": "images", "folder": str(tmp_path / "frames")}]
    with pytest.raises(ModelNotFound, match="did you mean portrait"):
        build(config(model={"name": "portait"}, sinks=sinks))
    assert list(tmp_path.iterdir()) == []


class Tint:
    """An effect of another package."""

    def __init__(self, *, strength: float = 1.0) -> None:
        self.strength = strength

    def __call__(self, frame: Frame, segmentation: Segmentation, observations: object, /) -> list[Layer]:
        return []


def test_a_plug_in_gets_its_options_and_says_what_it_does_not_take(monkeypatch: pytest.MonkeyPatch) -> None:
    effects = {**BUILTIN["effect"], "tint": Entry(f"{__name__}:Tint")}
    monkeypatch.setattr("rtseg.config.entries", lambda _kind: effects)
    monkeypatch.setattr("rtseg.registry.entries", lambda _kind: effects)
    (effect,) = build_pipeline(config(effects=[{"type": "tint", "strength": 0.5}])).effects
    assert isinstance(effect, Tint)
    assert effect.strength == 0.5
    with pytest.raises(ConfigError, match=r"effect 'tint' does not take strenth: got an unexpected keyword"):
        build_pipeline(config(effects=[{"type": "tint", "strenth": 0.5}]))


@pytest.mark.parametrize(
    ("sink", "harmless"),
    [
        ({"type": "masks", "folder": "."}, "photo.jpg"),
        ({"type": "images", "folder": "."}, "photo.jpg"),
        ({"type": "images", "folder": ".", "names": ["other"]}, "photo.png"),
        ({"type": "images", "folder": "elsewhere"}, "photo.png"),
    ],
)
def test_outputs_beside_the_inputs_are_fine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sink: dict[str, Any], harmless: str
) -> None:
    monkeypatch.chdir(tmp_path)
    portrait_photo(tmp_path / harmless)
    before = (tmp_path / harmless).read_bytes()
    build(config(source={"type": "images", "paths": [harmless]}, sinks=[sink])).run()
    assert (tmp_path / harmless).read_bytes() == before


@pytest.mark.parametrize(
    ("picture", "sink"),
    [
        ("photo.png", {"type": "masks", "folder": "."}),
        ("photo.png", {"type": "images", "folder": "."}),
        ("photo.jpg", {"type": "images", "folder": "../work", "format": "jpg"}),
        ("photo.JPG", {"type": "images", "folder": ".", "format": "jpg", "names": ["photo"]}),
        ("photo.png", {"type": "records", "path": "photo.png"}),
        ("photo.png", {"type": "records", "path": "link.png"}),
    ],
)
def test_an_input_is_never_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, picture: str, sink: dict[str, Any]
) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    portrait_photo(folder / picture)
    (folder / "link.png").symlink_to(picture)
    with pytest.raises(ConfigError, match=f"would replace the input {picture}"):
        build(config(source={"type": "images", "paths": [picture]}, sinks=[sink]))


def test_pictures_come_out_under_the_names_that_they_have(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.jpg"):
        portrait_photo(tmp_path / name)
    sink = ListSink()
    source = {"type": "images", "paths": [str(tmp_path / "b.jpg"), str(tmp_path / "a.jpg")]}
    build(config(source=source, sinks=[{"type": "masks", "folder": str(tmp_path / "m")}]), more_sinks=[sink]).run()
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == ["a.png", "b.png"]
    assert [output.frame.index for output in sink.outputs] == [0, 1]


def test_obstacles_take_a_detector_and_nothing_else(monkeypatch: pytest.MonkeyPatch, shared: Path) -> None:
    pytest.importorskip("trackers", reason="rtseg[driving] is not installed")
    monkeypatch.setenv("RTSEG_MODELS", str(shared / "weights"))
    table = {"type": "obstacles", "fov": 60.0, "height": 1.3, "detector": {"name": "yolox-nano", "score": 0.4}}
    config = parse_config({"model": {"name": "road"}, "analyzers": [table], "effects": []})
    [analyzer] = build_pipeline(config).analyzers
    assert "car" in analyzer._detector.names  # type: ignore[attr-defined]
    wrong = parse_config({"analyzers": [{"type": "obstacles", "detector": {"name": "road"}}]})
    with pytest.raises(ConfigError, match="obstacles need a detector, and model 'road' is none"):
        build_pipeline(wrong)
