"""The fused pipeline: the plain one's outputs, and what it does when a graph or a device is no good."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import SquareSegmenter
from graphs import save
from onnx import helper

from rtseg import store
from rtseg.cards import Card
from rtseg.config import ModelOptions
from rtseg.effects.background import Background
from rtseg.effects.outline import Outline
from rtseg.effects.overlay import Overlay
from rtseg.engines import build_segmenter, takes_device_frames
from rtseg.errors import ConfigError, InferenceFailed
from rtseg.filters.refine import EdgeRefine
from rtseg.filters.smooth import TemporalSmooth
from rtseg.framing import Framing
from rtseg.fused_pipeline import FusedPipeline
from rtseg.inference.engine import OrtEngine
from rtseg.pipeline import Pipeline
from rtseg.sources.sample import Sample
from rtseg.types import Blur, Colour, Effect, Filter, Frame, Picture, Regions, Semantic

CARD = store.find_card("portrait")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RTSEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "fused"


def frames(count: int, size: tuple[int, int] = (320, 180), **changes: Any) -> list[Frame]:
    return [
        Frame.from_rgb(frame.rgb, colour=Colour("bt601"), index=frame.index, pts=frame.pts, **changes)
        for frame in itertools.islice(Sample(seconds=2.0, size=size), count)
    ]


def plain(effect: Effect | None = None, filters: tuple[Filter, ...] = ()) -> Pipeline:
    segmenter = build_segmenter(ModelOptions(name="portrait"), CARD)
    return Pipeline(segmenter, filters=filters, effects=[effect or Background(Blur())])


def filters() -> tuple[Filter, ...]:
    return TemporalSmooth(follow=False, tidy=False), EdgeRefine()


class Stale:
    """A device that gives the frame before once more, as TensorRT's graphs did (onnxruntime#20050)."""

    def __init__(self, path: Path) -> None:
        self._engine = OrtEngine(path)
        self.inputs = self._engine.inputs
        self.providers = ("cuda",)
        self._last: dict[str, Any] | None = None

    def run(self) -> Mapping[str, Any]:
        now = {name: array.copy() for name, array in self._engine.run().items()}
        shown, self._last = self._last or now, now
        return shown

    def __call__(self, inputs: Mapping[str, Any], /) -> Mapping[str, Any]:
        raise NotImplementedError


class Failing(Stale):
    """A device that fails on some of its runs."""

    failing: frozenset[int] = frozenset()

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._runs = 0

    def run(self) -> Mapping[str, Any]:
        self._runs += 1
        if self._runs - 1 in self.failing:
            raise InferenceFailed("out of memory on the device")
        return self._engine.run()


def test_outputs_are_the_plain_pipelines() -> None:
    behind = Background(Picture(frames(1)[0]))
    for effect in (Background(Blur()), behind):
        fused = FusedPipeline(CARD, plain(effect, filters()), OrtEngine, reference=OrtEngine)
        stands_for = plain(effect, filters())
        for frame in frames(6):
            found, expected = fused(frame), stands_for(frame)
            for plane, right in zip(found.picture.planes, expected.picture.planes, strict=True):
                assert int(np.abs(plane.astype(int) - right).max()) <= 2
            assert isinstance(found.segmentation, Regions)
            assert isinstance(expected.segmentation, Regions)
            np.testing.assert_allclose(found.segmentation.probabilities, expected.segmentation.probabilities, atol=2)
            assert (found.picture.pts, found.picture.index) == (frame.pts, frame.index)
        assert not fused.counts


def test_fused_frames_are_framed_after_the_graph_and_the_device_is_left() -> None:
    fused, stands_for = (
        Pipeline(p.segmenter, effects=p.effects, framing=Framing(look="head")) for p in (plain(), plain())
    )
    graph = FusedPipeline(CARD, fused, OrtEngine, reference=OrtEngine)

    class OnDevice(SquareSegmenter):
        providers = ("cuda", "cpu")

    there = Pipeline(OnDevice(), effects=[Background(Blur())])
    assert takes_device_frames(FusedPipeline(CARD, there, OrtEngine))
    there.framing = Framing()
    assert not takes_device_frames(FusedPipeline(CARD, there, OrtEngine))
    for sample in frames(3, (160, 90)):
        rgb = np.full((180, 320, 3), 90, np.uint8)
        rgb[90:, 80:240] = sample.rgb
        frame = Frame.from_rgb(rgb, colour=Colour("bt601"), index=sample.index, pts=sample.pts)
        found, expected = graph(frame), stands_for(frame)
        assert found.window == expected.window != (0, 0, *frame.size)
        assert found.frame is frame
        for plane, right in zip(found.picture.planes, expected.picture.planes, strict=True):
            assert int(np.abs(plane.astype(int) - right).max()) <= 2
    assert not graph.counts
    graph.reset()
    assert fused.framing is not None
    assert fused.framing._kind is None


def test_another_epoch_forgets_the_past() -> None:
    fused = FusedPipeline(CARD, plain(filters=filters()), OrtEngine)
    (first,), second = frames(1), frames(9)[8]
    alone = fused(second).picture.planes[0].copy()
    fused(first)
    remembered = fused(second).picture.planes[0]
    forgotten = fused(frames(9, epoch=1)[8]).picture.planes[0]
    np.testing.assert_array_equal(forgotten, alone)
    assert (remembered != alone).any()


def test_a_device_that_gives_the_frame_before_is_left_loudly(caplog: pytest.LogCaptureFixture) -> None:
    fused = FusedPipeline(CARD, plain(), Stale, reference=OrtEngine)
    expected = plain()
    for frame in frames(2):
        np.testing.assert_array_equal(fused(frame).picture.planes[0], expected(frame).picture.planes[0])
    assert fused.counts == {"unfused": 2}
    assert "gave another picture than the CPU in test frame 2 of 2" in caplog.text
    assert len(caplog.records) == 1


def test_a_device_that_fails_with_cuda_graphs_is_tried_without(caplog: pytest.LogCaptureFixture) -> None:
    fused = FusedPipeline(CARD, plain(), Stale, cautious=OrtEngine, reference=OrtEngine)
    expected = plain()
    for frame in frames(2):
        found, right = fused(frame).picture.planes[0].astype(int), expected(frame).picture.planes[0]
        assert int(np.abs(found - right).max()) <= 2
    assert fused.counts == {"without_cuda_graph": 1}
    assert "tried again without CUDA graphs" in caplog.text


def test_a_frame_that_fails_is_made_by_the_cpu_and_three_in_a_row_end_it(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Failing, "failing", frozenset({1, 4, 5, 6}))
    fused = FusedPipeline(CARD, plain(), Failing)
    expected = plain()
    for frame in frames(9):
        found, right = fused(frame).picture.planes[0].astype(int), expected(frame).picture.planes[0]
        assert int(np.abs(found - right).max()) <= 2
    assert fused.counts == {"failed": 4, "unfused": 2}
    assert "failed on frame 1, which is made the usual way: out of memory on the device" in caplog.text
    assert "left for the usual way after 3 failures in a row" in caplog.text


def test_frames_that_no_graph_takes_are_made_unfused() -> None:
    fused = FusedPipeline(CARD, plain(), OrtEngine)
    (odd,) = frames(1, size=(321, 181))
    assert fused(odd).picture.size == (321, 181)
    clear = np.full((181, 321), 9, np.uint8)
    assert fused(odd.with_planes(odd.planes, alpha=clear)).picture.alpha is not None
    assert fused.counts == {"unfused": 2}


def test_graphs_are_kept_and_made_anew_for_whatever_changes(cache: Path) -> None:
    (frame,) = frames(1)
    first = FusedPipeline(CARD, plain(), OrtEngine)
    first(frame)
    (kept,) = cache.iterdir()
    made = kept.stat().st_mtime_ns
    FusedPipeline(CARD, plain(), OrtEngine)(frame)
    assert [path.stat().st_mtime_ns for path in cache.iterdir()] == [made]

    changed = CARD.model_copy(update={"sha256": "0" * 64})
    others = {
        first.key(frame),
        FusedPipeline(changed, plain(), OrtEngine).key(frame),
        FusedPipeline(CARD, plain(Background(Blur(3.0))), OrtEngine).key(frame),
        FusedPipeline(CARD, plain(filters=filters()), OrtEngine).key(frame),
        first.key(frames(1, size=(640, 360))[0]),
        first.key(Frame(frame.planes, Colour("bt601", full_range=True))),
    }
    assert len(others) == 6
    assert kept.stem in others


def largest_card(tmp_path: Path) -> Card:
    """Of a class map: the channel that is the greatest."""
    names = ("red", "green", "blue")
    path = save(
        tmp_path / "largest.onnx",
        [helper.make_node("Identity", ["image"], ["scores"])],
        inputs=[("image", (1, 3, 48, 64))],
        outputs=[("scores", (1, 3, 48, 64))],
    )
    card = Card.model_validate(
        {
            "name": "largest", "description": "the greatest colour", "family": "semantic", "file": path.name,
            "sha256": store.sha256_of(path), "licence": "CC0-1.0", "source": "a test", "names": names,
            "input": {"name": "image", "size": (64, 48)}, "outputs": [{"name": "scores"}],
        }
    )  # fmt: skip
    card._folder = tmp_path
    return card


def test_classes_come_as_a_map_of_them(tmp_path: Path) -> None:
    card = largest_card(tmp_path)
    effect = Overlay(legend=False, palette=dict(zip(card.names, ("#ff0000", "#00ff00", "#0000ff"), strict=True)))
    stands_for = Pipeline(build_segmenter(ModelOptions(name="largest"), card), effects=[effect])
    fused = FusedPipeline(card, stands_for, OrtEngine)
    (frame,) = frames(1)
    found, expected = fused(frame), stands_for(frame)
    assert isinstance(found.segmentation, Semantic)
    assert isinstance(expected.segmentation, Semantic)
    np.testing.assert_array_equal(found.segmentation.labels, expected.segmentation.labels)
    assert len(np.unique(found.segmentation.labels)) == 3
    assert not fused.counts
    for ours, theirs in zip(found.picture.planes, expected.picture.planes, strict=True):
        assert np.abs(ours.astype(int) - theirs).max() <= 2


@pytest.mark.parametrize(("lines", "levels"), [((), 2), (("green",), 6)])
def test_some_classes_and_a_line_are_drawn_in_a_graph_as_without(
    tmp_path: Path, lines: tuple[str, ...], levels: int
) -> None:
    """Beside a class that is not shown the tint fades without a fringe; a line's steep ramp multiplies a level."""
    card = largest_card(tmp_path)
    effect = Overlay(legend=False, names=["green", "red"], lines=lines, palette={"red": "#ff0000"})
    stands_for = Pipeline(build_segmenter(ModelOptions(name="largest"), card), effects=[effect])
    (frame,) = frames(1)
    found, expected = FusedPipeline(card, stands_for, OrtEngine)(frame), stands_for(frame)
    for ours, theirs, plain in zip(found.picture.planes, expected.picture.planes, frame.planes, strict=True):
        assert np.abs(ours.astype(int) - theirs).max() <= levels
        assert np.abs(ours.astype(int) - plain).max() > 10


def test_a_network_that_gives_infinity_is_found_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = save(
        tmp_path / "infinite.onnx",
        [
            helper.make_node("Sub", ["image", "image"], ["zero"]),
            helper.make_node("Exp", ["zero"], ["one"]),
            helper.make_node("Div", ["one", "zero"], ["alpha"]),
        ],
        inputs=[("image", (1, 3, 48, 64))],
        outputs=[("alpha", (1, 3, 48, 64))],
    )
    card = CARD.model_copy(
        update={
            "name": "infinite", "file": path.name, "sha256": store.sha256_of(path), "recipe": "",
            "input": CARD.input.model_copy(update={"size": (64, 48)}),
        }
    )  # fmt: skip
    card._folder = tmp_path
    fused = FusedPipeline(card, plain(), OrtEngine)
    (frame,) = frames(1)
    np.testing.assert_array_equal(fused(frame).picture.planes[0], plain()(frame).picture.planes[0])
    assert fused.counts == {"unfused": 1}
    assert "output 'sums'" in caplog.text
    assert "holds NaN or infinity" in caplog.text


def test_what_no_graph_can_hold_is_refused_at_the_start() -> None:
    class Odd(EdgeRefine):
        pass

    with pytest.raises(ConfigError, match="the filter Odd cannot be fused"):
        FusedPipeline(CARD, plain(filters=(Odd(),)), OrtEngine)
    with pytest.raises(ConfigError, match="the effect Outline cannot be fused"):
        FusedPipeline(CARD, plain(Outline()), OrtEngine)
    with pytest.raises(ConfigError, match="legend"):
        FusedPipeline(CARD, plain(Overlay()), OrtEngine)
    with pytest.raises(ConfigError, match="family 'touching' are not fused yet"):
        FusedPipeline(store.find_card("nuclei"), plain(), OrtEngine)
