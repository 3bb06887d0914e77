"""Presets: what they set, what goes before them, and which of them a machine keeps up with."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from fakes import SquareSegmenter

from rtseg import auto_preset, store
from rtseg.api import load_pipeline
from rtseg.auto_preset import USUAL, Pace, pace_in, pace_of
from rtseg.build import build, build_pipeline, settled
from rtseg.config import Config, ImageSource, ModelOptions, VideoSource, parse_config
from rtseg.effects.background import Background
from rtseg.engines import build_fused
from rtseg.errors import ConfigError
from rtseg.filters.refine import EdgeRefine
from rtseg.generators import stream
from rtseg.pipeline import Pipeline
from rtseg.presets import PRESETS, Costs, choose, edged, measure, settle
from rtseg.sections import BackgroundEffect, CameraSource, OverlayEffect, StreamSource
from rtseg.sources.synthetic import Synthetic
from rtseg.types import Frame, Segmentation, Size, StreamInfo
from rtseg.views import Views

PORTRAIT = store.find_card("portrait")
COSTS = Costs({1: 4.0, 2: 8.0, 4: 16.0}, 1.0, 2.0, 0.5)
SLOW = Costs({1: 40.0, 2: 80.0, 4: 160.0}, 1.0, 2.0, 0.5)
BLUR = BackgroundEffect(paint="blur")
PATTERN = {"type": "synthetic", "graph": "testsrc2=size=96x64:rate=10", "frames": 2}


def config(preset: str | None, *, effects: Sequence[Mapping[str, Any]] | None = None, **model: Any) -> Config:
    table = {"preset": preset, **model} if preset else model
    return parse_config({"source": PATTERN, "model": table, **({} if effects is None else {"effects": effects})})


def model(preset: str, **more: Any) -> ModelOptions:
    return ModelOptions.model_validate({"preset": preset, **more})


def no_choice() -> str:
    raise AssertionError("nothing is to be measured")


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auto_preset, "_known", {})


@pytest.mark.parametrize(
    ("rate", "name"),
    [(30.0, "studio"), (62.5, "studio"), (63.0, "balanced"), (125.0, "balanced"), (126.0, "fast"), (1000.0, "fast")],
)
def test_the_best_preset_within_half_of_a_frames_time_is_chosen(rate: float, name: str) -> None:
    assert choose({"fast": 2.0, "balanced": 4.0, "studio": 8.0}, rate) == name


def test_a_preset_that_costs_less_than_the_one_before_is_taken_by_its_own_cost() -> None:
    assert choose({"fast": 2.0, "balanced": 40.0, "studio": 8.0}, 30.0) == "studio"
    assert choose({"fast": 90.0, "balanced": 90.0, "studio": 90.0}, 30.0) == "fast"


def test_the_best_is_chosen_where_nobody_waits() -> None:
    assert choose({"fast": 2.0, "balanced": 4.0, "studio": 8000.0}, None) == "studio"


def test_a_presets_cost_is_a_network_a_view_its_filters_and_its_edge() -> None:
    costs = Costs(network={1: 2.0, 2: 4.0, 4: 8.0}, filters=1.0, finer=3.0, edge=0.5)
    assert {name: costs.of(preset) for name, preset in PRESETS.items()} == {
        "fast": 3.0,
        "balanced": 7.5,
        "studio": 11.5,
    }


@pytest.mark.parametrize(("preset", "views"), [("fast", None), ("balanced", 2), ("studio", 4)])
def test_a_preset_sets_views_and_nothing_of_a_table_without_one(preset: str, views: int | None) -> None:
    made = settle(model(preset), PORTRAIT, matte=True, chosen=no_choice)
    assert (made.preset, made.views) == (preset, views)
    assert settle(made, PORTRAIT, matte=True, chosen=no_choice) == made
    bare = ModelOptions()
    assert settle(bare, PORTRAIT, matte=True, chosen=no_choice) is bare


def test_what_is_said_of_views_and_focus_goes_before_a_preset() -> None:
    assert settle(model("studio", views=2), PORTRAIT, matte=True, chosen=no_choice).views == 2
    assert settle(model("studio", views=1), PORTRAIT, matte=True, chosen=no_choice).views == 1
    assert settle(model("studio", focus=True), PORTRAIT, matte=True, chosen=no_choice).views is None


def test_a_network_that_views_do_not_suit_keeps_one() -> None:
    planes = PORTRAIT.model_copy(update={"input": PORTRAIT.input.model_copy(update={"fit": "letterbox"})})
    assert settle(model("studio"), planes, matte=True, chosen=no_choice).views is None
    remembers = PORTRAIT.model_copy(update={"family": "recurrent"})
    assert settle(model("studio"), remembers, matte=True, chosen=no_choice).views is None


def test_a_preset_is_for_mattes_and_auto_is_passed_over_for_others() -> None:
    with pytest.raises(ConfigError, match="preset 'studio' is for mattes, and model 'road' is none"):
        build_pipeline(config("studio", name="road", effects=[]))
    assert settled(config("auto", name="road"), store.find_card("road")).model.preset is None
    assert not isinstance(build_pipeline(config("auto", name="road", effects=[])).segmenter, Views)


def test_a_preset_goes_into_backgrounds_that_are_there_and_say_nothing_themselves() -> None:
    green = BackgroundEffect(paint="green")
    kept = (
        BLUR,
        BackgroundEffect(paint="green", decontaminate=False),
        BackgroundEffect(paint="transparent"),
        OverlayEffect(),
    )
    for preset in ("balanced", "studio"):
        assert edged((green, *kept), preset) == (BackgroundEffect(paint="green", decontaminate=True), *kept)
    assert edged((green,), "fast") == edged((green,), None) == (green,)
    assert edged((), "studio") == ()


@pytest.mark.parametrize("preset", [None, "fast"])
def test_the_fast_preset_is_what_a_run_does_without_one(preset: str | None) -> None:
    pipeline = build_pipeline(config(preset))
    assert not isinstance(pipeline.segmenter, Views)
    assert [type(each).__name__ for each in pipeline.filters] == ["TemporalSmooth", "EdgeRefine"]
    assert not decontaminates(pipeline.effects)


@pytest.mark.parametrize("preset", ["balanced", "studio"])
def test_better_presets_look_more_often_and_clean_the_edge(preset: str) -> None:
    job = build(config(preset, effects=[{"type": "background", "paint": "green"}]), more_sinks=[_Nothing()])
    pipeline = job.pipeline
    job.close()
    assert isinstance(pipeline, Pipeline)
    assert isinstance(pipeline.segmenter, Views)
    assert pipeline.segmenter._mirrored is (preset == "studio")
    assert [type(each).__name__ for each in pipeline.filters] == ["TemporalSmooth", "EdgeRefine"]
    assert decontaminates(pipeline.effects)


def test_filters_that_are_named_go_before_a_preset() -> None:
    assert load_pipeline(preset="studio", filters="none").filters == ()


def test_the_default_of_python_and_of_files_is_no_preset() -> None:
    assert not isinstance(load_pipeline().segmenter, Views)
    with pytest.raises(ConfigError, match=r"model.preset = 'best': input should be 'fast', 'balanced', 'studio' or 'a"):
        parse_config({"model": {"preset": "best"}})


def test_a_word_that_is_no_preset_is_said_at_once() -> None:
    with pytest.raises(ConfigError, match="preset 'best' is none: use fast, balanced, studio or auto"):
        stream("nothing.mp4", preset="best")  # type: ignore[arg-type]


def test_a_loop_over_a_source_of_ones_own_takes_a_preset() -> None:
    (first, _) = stream(Synthetic("testsrc2=size=96x64:rate=10", frames=2), preset="balanced", filters="none")
    assert first.segmentation.size == (96, 64)
    with pytest.raises(ConfigError, match="is for mattes"):
        list(stream(Synthetic("testsrc2=size=96x64:rate=10", frames=2), preset="balanced", model="road"))


def test_fused_frames_are_looked_at_once(caplog: pytest.LogCaptureFixture) -> None:
    pipeline = build_pipeline(config("balanced", effects=[]))
    options = settled(config("balanced"), PORTRAIT).model
    with pytest.raises(ConfigError, match="views = 2 more often: leave one, or the preset, out"):
        build_fused(options.model_copy(update={"fused": True}), PORTRAIT, pipeline)
    pipeline.segmenter = _OnDevice()
    with caplog.at_level(logging.INFO, "rtseg"):
        assert build_fused(options, PORTRAIT, pipeline) is pipeline
    assert "a graph looks once" in caplog.text


def test_a_run_that_is_to_be_fused_and_has_a_preset_of_several_views_is_refused() -> None:
    with pytest.raises(ConfigError, match="views = 4 more often"):
        build(config("studio", fused=True, effects=[]), more_sinks=[_Nothing()])


class _OnDevice(SquareSegmenter):
    providers = ("cuda", "cpu")


class _Nothing:
    def write(self, _output: object) -> None: ...
    def close(self) -> None: ...


def decontaminates(effects: Sequence[object]) -> bool:
    (effect,) = effects
    assert isinstance(effect, Background)
    return effect._edges.decontaminate


class Ticking:
    """A clock of CPU that stands still but while it is told that something runs."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Slow(SquareSegmenter):
    def __init__(self, clock: Ticking, takes: float, *, first: float = 0.0) -> None:
        super().__init__()
        self._clock, self._takes, self._first = clock, takes, first

    def __call__(self, frame: Frame) -> Segmentation:
        self._clock.now += self._takes + self._first
        self._first = 0.0
        return super().__call__(frame)


class SlowFilter:
    """Takes a thousandth of a second for each row of a mask."""

    def __init__(self, clock: Ticking) -> None:
        self._clock, self.resets = clock, 0

    def __call__(self, _frame: Frame, found: Segmentation) -> Segmentation:
        self._clock.now += 1e-3 * np.asarray(found.probabilities).shape[1]  # type: ignore[union-attr]
        return found

    def reset(self) -> None:
        self.resets += 1


def test_costs_are_the_medians_by_the_clock() -> None:
    clock = Ticking()
    slow = SlowFilter(clock)
    costs = measure(Slow(clock, 0.004), [slow], (32, 18), Size(128, 72), clock=clock)
    assert costs.network == pytest.approx({1: 4.0, 2: 8.0, 4: 16.0})
    assert costs.filters == pytest.approx(18.0)
    assert costs.finer == pytest.approx(36.0)
    assert costs.edge == 0.0
    assert slow.resets == 3


def test_measuring_stops_where_it_takes_long() -> None:
    clock = Ticking()
    hurried = iter([0.0, 0.5])
    segmenter = Slow(clock, 0.004)
    costs = measure(segmenter, [], (32, 18), Size(128, 72), several=False, clock=clock, wall=lambda: next(hurried))
    assert clock.now == pytest.approx(2 * 0.004)
    assert costs.network == pytest.approx({1: 4.0, 2: 4.0, 4: 4.0})


def test_what_is_first_is_not_counted() -> None:
    clock, hurried = Ticking(), iter([0.0, 0.5])
    segmenter = Slow(clock, 0.004, first=1.0)
    costs = measure(segmenter, [], (32, 18), Size(128, 72), several=False, clock=clock, wall=lambda: next(hurried))
    assert costs.network[1] == pytest.approx(4.0)


def test_measuring_real_parts_gives_a_cost_to_each() -> None:
    costs = measure(Slow(Ticking(), 0.0), [EdgeRefine()], (128, 72), Size(640, 360))
    assert costs.filters > 0.0
    assert costs.finer > 0.0


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Costs]:
    """What measuring finds next, in place of measuring."""
    found: list[Costs] = []
    monkeypatch.setattr(auto_preset, "measure", lambda *_, **__: found.pop(0))
    return found


def test_auto_is_measured_once_for_a_model_and_a_pace(measured: list[Costs], caplog: pytest.LogCaptureFixture) -> None:
    measured += [COSTS, SLOW]
    caplog.set_level(logging.INFO, "rtseg")
    for _ in range(2):
        assert settled(config("auto"), PORTRAIT, pace=Pace(Size(1280, 720), 30.0)).model.preset == "balanced"
    assert caplog.messages == [
        "preset balanced: fast 5.0, balanced 10.5, studio 18.5 CPU-ms a frame of 1280x720 expected, 16.7 allowed at 30 "
        "a second"
    ]
    assert settled(config("auto"), PORTRAIT, pace=Pace(Size(1280, 720), 60.0)).model.preset == "fast"
    assert measured == []


def test_auto_counts_the_views_that_there_will_be(measured: list[Costs]) -> None:
    measured += [COSTS] * 2
    for options in ({"views": 1}, {"focus": True}):
        made = settled(config("auto", **options), PORTRAIT, pace=Pace(Size(1280, 720), 30.0)).model
        assert (made.preset, made.views) == ("studio", options.get("views"))


def test_auto_leaves_fused_frames_alone() -> None:
    for options in ({"fused": True}, {"providers": ["cuda", "cpu"]}):
        assert settled(config("auto", **options), PORTRAIT).model.preset == "fast"


def test_auto_of_pictures_is_the_best(measured: list[Costs]) -> None:
    measured.append(Costs(dict.fromkeys((1, 2, 4), 4000.0), 1.0, 2.0, 0.5))
    pictures = config("auto").model_copy(update={"source": ImageSource.model_validate({"paths": ("a.png",)})})
    assert settled(pictures, PORTRAIT).model.preset == "studio"


def test_auto_measures_a_real_network_at_the_sources_size(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "rtseg")
    made = settled(config("auto"), PORTRAIT).model
    assert made.preset in PRESETS
    assert "of 96x64 expected" in caplog.text
    assert "50.0 allowed at 10 a second" in caplog.text


def test_the_pace_is_what_a_source_says_and_else_the_usual_one(tmp_path: Any) -> None:
    assert pace_of(parse_config({"source": PATTERN}).source) == (Size(96, 64), 10.0)
    assert pace_of(CameraSource(size=(1920, 1080), rate=60.0)) == (Size(1920, 1080), 60.0)
    assert pace_of(CameraSource()) == pace_of(StreamSource(url="rtsp://host/a")) == pace_of(None) == USUAL
    assert pace_of(VideoSource(path=tmp_path / "none.mp4")) == USUAL
    assert pace_in(StreamInfo("a")) == USUAL
