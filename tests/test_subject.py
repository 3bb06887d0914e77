"""Whom a run shows, from what people write to what comes out, live and beside the other ways to spare the network."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from people import SIZE, Figure, drawn, shown

from rtseg import store
from rtseg.adaptive import Adaptive
from rtseg.build import build_pipeline
from rtseg.cli.live import _options
from rtseg.config import Config, ModelOptions, SmoothFilter, SubjectFilter, parse_config
from rtseg.effects.background import Background
from rtseg.errors import ConfigError
from rtseg.filters.refine import EdgeRefine
from rtseg.filters.smooth import TemporalSmooth
from rtseg.filters.subject import Subject
from rtseg.focus import Focus
from rtseg.live.ladder import Ladder, Rung
from rtseg.live.pipeline import LivePipeline, Network
from rtseg.live.scene import Scene
from rtseg.live.streamset import _scene_of
from rtseg.ops.arrays import U8, as_u8
from rtseg.options import configure
from rtseg.pipeline import Pipeline
from rtseg.subject import Who, in_words, parse_who, turned
from rtseg.types import Frame, Output, Regions, Segmentation, Size, Solid

LEFT, RIGHT = Figure(60, r=30), Figure(190, r=28, seed=4)


class Crowd:
    """A network that finds figures, wherever they are in the frame that it is shown, by their level of U."""

    names = ("person",)

    def __init__(self, size: tuple[int, int] = SIZE) -> None:
        self.size, self.asked = size, 0

    def __call__(self, frame: Frame) -> Segmentation:
        self.asked += 1
        far = np.abs(cv2.resize(frame.planes[1], self.size, interpolation=cv2.INTER_AREA).astype(np.int32) - 128)
        return Regions(as_u8(np.clip(far * 64, 0, 255).astype(np.uint8))[np.newaxis], self.names, frame.pts, frame.size)

    def empty(self, frame: Frame) -> Segmentation:
        return Regions(np.zeros((1, 1, 1), np.uint8), self.names, frame.pts, Size(*frame.size))

    def reset(self) -> None:
        """Nothing."""


def mask_of(output: Output | None) -> U8:
    assert output is not None
    assert isinstance(output.segmentation, Regions)
    return as_u8(cv2.resize(output.segmentation.probabilities[0], SIZE))


def who_is_in(output: Output | None, *figures: Figure) -> list[bool]:
    return [shown(mask_of(output), figure) > 0.5 for figure in figures or (LEFT, RIGHT)]


@pytest.mark.parametrize(
    ("given", "who"),
    [("all", "all"), ("largest", "largest"), ("0.3,0.5", (0.3, 0.5)), (" 0 , 1", (0.0, 1.0)), ([0.25, 1], (0.25, 1.0))],
)
def test_what_people_write(given: Any, who: Who) -> None:
    assert parse_who(given) == who
    assert configure("a.mp4", "b.mp4", subject=given).model.subject == who
    assert parse_config({"filters": [{"type": "subject", "who": given}]}).filters == (SubjectFilter(who=given),)
    assert parse_who(in_words(who)) == who
    assert turned(turned(who)) == who


def test_it_stands_before_edges_are_redrawn() -> None:
    plain = build_pipeline(configure("a.mp4", "b.mp4", subject="largest"))
    assert [type(each) for each in plain.filters] == [TemporalSmooth, Subject, EdgeRefine]
    alone = build_pipeline(configure("a.mp4", "b.mp4", subject="0.5,0.5", filters="none"))
    assert [type(each) for each in alone.filters] == [Subject]
    own = Config(model=ModelOptions(subject=(0.1, 0.2)), filters=(SubjectFilter(keep_held=True), SmoothFilter()))
    first, _ = build_pipeline(own).filters
    assert isinstance(first, Subject)
    assert first.who == (0.1, 0.2)
    assert Subject not in {type(each) for each in build_pipeline(configure("a.mp4", "b.mp4", subject="all")).filters}


def test_a_model_without_people_has_no_subject() -> None:
    with pytest.raises(ConfigError, match="model 'road' finds none: use --model portrait"):
        build_pipeline(configure("a.mp4", "b.mp4", model="road", subject="largest"))


def test_a_fused_graph_cannot_choose_and_says_so() -> None:
    from rtseg.engines import build_fused

    config = configure("a.mp4", "b.mp4", subject="largest", fused=True)
    plain = build_pipeline(config)
    with pytest.raises(ConfigError, match="the filter Subject cannot be fused"):
        build_fused(config.model, store.find_card("portrait"), plain)


def test_a_live_stream_of_the_command_line_has_it_in_its_scene() -> None:
    plain = ("camera", ["window"], "blur", None, None, None, True, None, "full", None, None)
    options = _options(*plain, subject="0.2,0.5")
    assert _scene_of(options).subject == (0.2, 0.5)
    assert not _scene_of(options).keep_held


def live(scene: Scene, *, segmenters: dict[str | None, Crowd] | None = None, **options: Any) -> LivePipeline:
    card = store.find_card("portrait")
    known = segmenters or {None: Crowd()}

    def opened(name: str | None) -> Network:
        segmenter = known.get(name, Crowd((160, 90)))
        return Network(card, Pipeline(segmenter, hold=0, filters=[EdgeRefine()]))

    return LivePipeline(opened, scene, **options)


def test_a_stream_changes_whom_it_shows_while_it_runs() -> None:
    stream = live(Scene(background="#00ff00"))
    frames = [drawn(LEFT, RIGHT, index=index) for index in range(8)]
    assert who_is_in(stream(frames[0])) == [True, True]
    stream.change(stream.scene.changed({"subject": "0.75,0.6"}))
    output = stream(frames[1])
    assert who_is_in(output) == [False, True]
    assert output is not None
    assert (output.picture.planes[0][60:120, 30:90] == output.picture.planes[0][0, 0]).all(), "green all over"
    stream.change(stream.scene.changed({"subject": "largest"}))
    assert who_is_in(stream(frames[2])) == [True, False]
    stream.change(stream.scene.changed({"subject": None}))
    assert who_is_in(stream(frames[3])) == [True, True]


def test_what_an_adaptive_stream_kept_is_not_shown_after_a_change() -> None:
    stream = live(Scene(background="#00ff00"), ladder=Ladder(lighter=False, lowest=Rung.ADAPTIVE))
    stream.ladder.rung = Rung.ADAPTIVE
    still = [drawn(LEFT, RIGHT, index=index) for index in range(6)]
    for frame in still[:3]:
        assert who_is_in(stream(frame)) == [True, True]
    stream.change(stream.scene.changed({"subject": (0.2, 0.6)}))
    assert [who_is_in(stream(frame)) for frame in still[3:]] == [[True, False]] * 3


def test_adaptive_keeps_and_moves_the_subject_alone() -> None:
    network = Crowd()
    pipeline = Pipeline(network, filters=[Subject(who=(0.2, 0.6))], adaptive=Adaptive())
    for index in range(40):
        step = max(0, index - 20) / 2
        left, right = Figure(60 + step, r=30), Figure(190 - step, r=28, seed=4)
        output = pipeline(drawn(left, right, index=index))
        assert who_is_in(output, left, right) == [True, False], index
    assert network.asked < 30, "so it was adaptive"


def test_another_network_goes_on_with_the_same_person() -> None:
    """The two have changed places since one was chosen: a network that chose anew would take the other."""
    stream = live(Scene(background="#00ff00", subject=(0.25, 0.3)))
    for index in range(60):
        left = Figure(60 + 2.2 * index, 40, r=24)
        right = Figure(190 - 2.2 * index, 100, r=24, seed=4)
        assert who_is_in(stream(drawn(left, right, index=index)), left, right) == [True, False], index
    stream.swap("portrait-fast")
    assert who_is_in(stream(drawn(left, right, index=60)), left, right) == [True, False]


def test_a_mirror_keeps_the_person_and_tells_the_place() -> None:
    stream = live(Scene(background="#00ff00", subject=(0.2, 0.6)))
    assert who_is_in(stream(drawn(LEFT, RIGHT, index=0))) == [True, False]
    stream.change(stream.scene.changed({"mirror": True}))
    assert stream.scene.subject == (0.8, 0.6)
    there = Figure(256 - LEFT.x, r=30), Figure(256 - RIGHT.x, r=28)
    assert who_is_in(stream(drawn(LEFT, RIGHT, index=1)), *there) == [True, False]


def test_a_mirror_keeps_the_person_who_walked_to_the_others_place() -> None:
    stream = live(Scene(background="#00ff00", subject=(0.25, 0.3)))
    for index in range(60):
        left = Figure(60 + 2.2 * index, 40, r=24)
        right = Figure(190 - 2.2 * index, 100, r=24, seed=4)
        stream(drawn(left, right, index=index))
    stream.change(stream.scene.changed({"mirror": True}))
    there = [Figure(256 - each.x, each.y, each.r) for each in (left, right)]
    assert who_is_in(stream(drawn(left, right, index=60)), *there) == [True, False]


def part_of(pipeline: Pipeline) -> tuple[int, ...] | None:
    assert isinstance(pipeline.segmenter, Focus)
    return pipeline.segmenter.part


def test_focus_sees_all_people_and_the_same_one_is_chosen() -> None:
    """Two small people near each other: focus looks at the part with both, and at the whole again and again."""
    pipeline = Pipeline(Focus(Crowd((128, 72)), every=10), filters=[Subject(who=(0.4, 0.5))])
    parts: list[tuple[int, ...] | None] = []
    for index in range(60):
        sway = 4 * np.sin(index / 5)
        left, right = Figure(100 + sway, 70, r=10), Figure(140 - sway, 80, r=12, seed=4)
        output = pipeline(drawn(left, right, index=index))
        assert who_is_in(output, left, right) == [True, False], index
        parts.append(part_of(pipeline))
    assert any(part is not None for part in parts), "so it was focused"


def test_a_background_covers_the_bystander() -> None:
    pipeline = Pipeline(Crowd(), filters=[Subject(who=(0.2, 0.6))], effects=[Background(Solid((0, 255, 0)))])
    frame = drawn(LEFT, RIGHT)
    picture = pipeline(frame).picture
    assert np.array_equal(picture.planes[0][80:100, 50:70], frame.planes[0][80:100, 50:70])
    assert len(np.unique(picture.planes[0][:, 130:])) == 1


@pytest.mark.parametrize("subject", ["smallest", "2,0", (0.5,), 7])
def test_a_scene_refuses_what_is_no_subject(subject: Any) -> None:
    with pytest.raises(ConfigError, match="subject"):
        Scene().changed({"subject": subject})
