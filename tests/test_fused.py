"""The fused graph against the path that it stands for: the same planes and the same masks, on the CPU provider."""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from graphs import save
from onnx import helper

from rtseg import store
from rtseg.build import build_source
from rtseg.cards import Card
from rtseg.config import ModelOptions, VideoSource
from rtseg.effects.background import Background
from rtseg.effects.overlay import Overlay
from rtseg.engines import build_segmenter
from rtseg.errors import ConfigError, ModelRejected
from rtseg.filters.refine import EdgeRefine
from rtseg.filters.smooth import TemporalSmooth
from rtseg.fused import Layout, fuse
from rtseg.pipeline import Pipeline
from rtseg.sources.sample import Sample
from rtseg.types import Blur, Clear, Colour, Effect, Filter, Frame, Picture, Regions, Size, Solid

LEVELS = 2
"""What planes may differ by from those of the CPU path; one is what is found."""


def photograph(size: tuple[int, int], colour: Colour, *, index: int = 0) -> Frame:
    """A person, from the built-in sample."""
    frame = next(frame for frame in Sample(seconds=1.0, size=size) if frame.index == index)
    return Frame.from_rgb(frame.rgb, colour=colour)


def run_fused(
    card: Card,
    path: Path,
    effects: list[Any],
    frame: Frame,
    *,
    layout: Layout = "nv12",
    pictures: tuple[Frame, ...] = (),
) -> dict[str, Any]:
    layers = [layer for effect in effects for layer in effect.graph_layers(card)]
    model = fuse(card, path, layers, size=frame.size, colour=frame.colour, layout=layout)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feed = planes_of(frame, "", layout)
    for index, picture in enumerate(pictures):
        feed |= planes_of(picture, f"picture{index}_", layout)
    assert {port.name for port in session.get_inputs()} == set(feed)
    return dict(zip([port.name for port in session.get_outputs()], session.run(None, feed), strict=True))


def planes_of(frame: Frame, prefix: str, layout: Layout) -> dict[str, Any]:
    y, u, v = frame.planes
    if layout == "nv12":
        return {f"{prefix}y": y, f"{prefix}uv": np.stack([u, v], axis=-1)}
    return {f"{prefix}{name}": plane[None, None] for name, plane in zip("yuv", (y, u, v), strict=True)}


def expect_same(found: dict[str, Any], frame: Frame, layout: Layout = "nv12") -> None:
    for name, expected in planes_of(frame, "out_", layout).items():
        assert found[name].shape == expected.shape
        off = np.abs(found[name].astype(int) - expected)
        # A blur is a quotient: where hardly any background is near, a level is a level more in a few of a million.
        assert int(off.max()) <= LEVELS + 1, name
        assert np.mean(off > LEVELS) <= 5e-6, name


EFFECTS: dict[str, Any] = {
    "blur": lambda: Background(Blur()),
    "colour": lambda: Background(Solid((20, 180, 90))),
    "overlay": lambda: Overlay(legend=False),
}


@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.parametrize("size", [(1280, 720), (1920, 1080), (640, 480)], ids=str)
@pytest.mark.parametrize("colour", [Colour("bt709"), Colour("bt601", full_range=True)], ids=["709", "601-full"])
def test_a_fused_frame_is_the_pipelines(effect: str, size: tuple[int, int], colour: Colour) -> None:
    card = store.find_card("portrait")
    frame = photograph(size, colour)
    made: Effect = EFFECTS[effect]()
    output = Pipeline(build_segmenter(ModelOptions(name=card.name), card), effects=[made])(frame)
    found = run_fused(card, store.verify(card), [made], frame)
    expect_same(found, output.picture)
    assert isinstance(output.segmentation, Regions)
    assert output.segmentation.probabilities.max() > 200  # somebody is there, or nothing is shown
    np.testing.assert_allclose(found["masks"][0], output.segmentation.probabilities, atol=1)


@pytest.mark.parametrize("layout", ["nv12", "i420"])
def test_pictures_come_with_the_frame(layout: Layout) -> None:
    card = store.find_card("portrait")
    frame = photograph((640, 360), Colour("bt601"))
    behind = photograph((640, 360), Colour("bt601"), index=20)
    effect = Background(Picture(behind))
    output = Pipeline(build_segmenter(ModelOptions(name=card.name), card), effects=[effect])(frame)
    found = run_fused(card, store.verify(card), [effect], frame, layout=layout, pictures=(behind,))
    expect_same(found, output.picture, layout)


@pytest.mark.parametrize("gain", [3.0, 0.0], ids=["stretched", "flat"])
def test_a_stretched_map_is_the_pipelines(tmp_path: Path, gain: float) -> None:
    """A graph that is 3 times the grey, less 1, is brought back to 0..1; one that is flat becomes nothing."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["grey"], axes=[1]),
        helper.make_node("Mul", ["grey", "gain"], ["much"]),
        helper.make_node("Sub", ["much", "one"], ["y"]),
    ]
    constants = {"gain": np.full(1, gain, np.float32), "one": np.ones(1, np.float32)}
    path = save(
        tmp_path / "grey.onnx",
        nodes,
        inputs=[("x", (1, 3, 72, 128))],
        outputs=[("y", (1, 1, 72, 128))],
        constants=constants,
    )
    card = Card.model_validate(
        {
            "name": "grey",
            "description": "",
            "family": "regions",
            "file": "grey.onnx",
            "sha256": store.sha256_of(path),
            "licence": "",
            "source": "",
            "input": {"name": "x", "size": (128, 72)},
            "outputs": [{"name": "y", "activation": "minmax", "regions": {"subject": 0}}],
            "names": ["subject"],
        }
    )
    card._folder = tmp_path
    frame, effect = photograph((640, 360), Colour()), Background(Blur())
    output = Pipeline(build_segmenter(ModelOptions(), card), effects=[effect])(frame)
    assert isinstance(output.segmentation, Regions)
    masks = output.segmentation.probabilities
    assert (int(masks.min()), int(masks.max())) == ((0, 255) if gain else (0, 0))
    found = run_fused(card, path, [effect], frame)
    np.testing.assert_allclose(found["masks"][0], masks, atol=1)
    expect_same(found, output.picture)


def test_several_regions_and_effects_are_laid_over_one_another() -> None:
    card = store.find_card("road")
    frame = photograph((1280, 720), Colour())
    effects: list[Effect] = [Overlay.road(legend=False), Background(Blur(5.0), regions=("drivable", "vehicle"))]
    output = Pipeline(build_segmenter(ModelOptions(name=card.name), card), effects=effects)(frame)
    expect_same(run_fused(card, store.verify(card), effects, frame), output.picture)


def test_masks_are_steadied_and_refined_as_by_the_filters(shared: Path) -> None:
    card = store.find_card("portrait")
    effect = Background(Blur())
    filters: list[Filter] = [TemporalSmooth(follow=False, tidy=False), EdgeRefine()]
    pipeline = Pipeline(build_segmenter(ModelOptions(name="portrait"), card), filters=filters, effects=[effect])
    model: onnx.ModelProto | None = None
    moved = 0
    with contextlib.closing(build_source(VideoSource(path=shared / "clips" / "people" / "sign_book.mkv"))) as video:
        for frame in itertools.islice(video, 12):
            if model is None:
                layers = effect.graph_layers(card)
                model = fuse(
                    card, store.verify(card), layers, size=frame.size, colour=frame.colour, steady=True, refine=True
                )
                session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
                state: dict[str, Any] = {
                    "past_masks": np.zeros((1, 1, 144, 256), np.uint8),
                    "past_luma": np.zeros((1, 1, 72, 128), np.uint8),
                    "known": np.zeros((1, 1, 1, 1), np.float32),
                }
            output = pipeline(frame)
            names = [port.name for port in session.get_outputs()]
            found = dict(zip(names, session.run(None, planes_of(frame, "", "nv12") | state), strict=True))
            assert isinstance(output.segmentation, Regions)
            np.testing.assert_allclose(found["masks"][0], output.segmentation.probabilities, atol=2)
            expect_same(found, output.picture)
            moved += int(not np.array_equal(state["past_masks"], found["next_masks"]))
            state = {
                "past_masks": found["next_masks"], "past_luma": found["next_luma"],
                "known": np.ones((1, 1, 1, 1), np.float32),
            }  # fmt: skip
    assert moved == 12


@pytest.mark.parametrize("model", ["road", "road-fast"])
def test_a_street_is_laid_over_as_by_the_pipeline(model: str, shared: Path) -> None:
    card = store.find_card(model)
    with contextlib.closing(build_source(VideoSource(path=shared / "clips" / "road" / "highway_dusk.mp4"))) as video:
        frame = next(frame for frame in video if frame.index == 30)
    effect = Overlay.road(legend=False)
    output = Pipeline(build_segmenter(ModelOptions(name=model), card), effects=[effect])(frame)
    assert isinstance(output.segmentation, Regions)
    assert (output.segmentation.probabilities.reshape(4, -1).max(axis=1)[:2] > 200).all()  # road and lanes
    found = run_fused(card, store.verify(card), [effect], frame)
    np.testing.assert_allclose(found["masks"][0], output.segmentation.probabilities, atol=1)
    expect_same(found, output.picture)


@pytest.mark.parametrize(
    ("change", "channels", "names"),
    [
        ({"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "colour": "bgr"}, 3, ("a", "b", "c")),
        ({"fit": "letterbox", "size": (64, 64)}, 3, ("a", "b", "c")),
        ({"colour": "yuv", "matrix": "bt601", "full_range": True}, 3, ("a", "b", "c")),
    ],
    ids=["imagenet-bgr", "letterbox", "planes"],
)
def test_inputs_are_made_as_the_card_says(
    change: dict[str, Any], channels: int, names: tuple[str, ...], tmp_path: Path
) -> None:
    width, height = change.get("size", (64, 48))
    path = save(
        tmp_path / "copy.onnx",
        [helper.make_node("Sigmoid", ["image"], ["maps"])],
        inputs=[("image", (1, channels, height, width))],
        outputs=[("maps", (1, channels, height, width))],
    )
    card = made_card(path, names, {"name": "image", "size": (width, height), **change})
    frame = photograph((128, 64), Colour("bt601", full_range=True))
    effect = Overlay(legend=False, palette=dict(zip(names, ("#ff0000", "#00ff00", "#0000ff"), strict=True)))
    segmenter = build_segmenter(ModelOptions(name="copy"), card)
    output = Pipeline(segmenter, effects=[effect])(frame)
    found = run_fused(card, path, [effect], frame)
    assert isinstance(output.segmentation, Regions)
    np.testing.assert_allclose(found["masks"][0], output.segmentation.probabilities, atol=1)
    expect_same(found, output.picture)


def made_card(path: Path, names: tuple[str, ...], layout: dict[str, Any]) -> Card:
    card = Card.model_validate(
        {
            "name": "copy", "description": "its input", "family": "regions", "file": path.name,
            "sha256": store.sha256_of(path), "licence": "CC0-1.0", "source": "a test", "names": names,
            "input": layout, "outputs": [{"name": "maps", "regions": {name: i for i, name in enumerate(names)}}],
        }
    )  # fmt: skip
    card._folder = path.parent
    return card


def test_what_no_graph_can_say_is_refused_by_name() -> None:
    card = store.find_card("portrait")
    layers = Background(Blur()).graph_layers(card)
    with pytest.raises(ModelRejected, match="even sides, not 641x360"):
        fuse(card, store.verify(card), layers, size=Size(641, 360), colour=Colour())
    with pytest.raises(ConfigError, match="transparent background cannot be fused"):
        Background(Clear()).graph_layers(card)
    with pytest.raises(ConfigError, match="legend cannot be fused"):
        Overlay().graph_layers(card)


def test_the_graph_has_no_control_flow_and_no_late_shapes() -> None:
    card = store.find_card("road")
    model = fuse(
        card, store.verify(card), Overlay(legend=False).graph_layers(card),
        size=(1280, 720), colour=Colour(),
    )  # fmt: skip
    assert model.opset_import[0].version >= 17
    typed = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    shapes = {value.name: value.type.tensor_type.shape for value in (*typed.value_info, *typed.output)}
    for node in model.graph.node:
        assert node.op_type not in {"If", "Loop", "Scan", "Shape", "NonZero"}
        for name in node.output:
            assert all(side.dim_value > 0 for side in shapes[name].dim), name
