from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import graphs
import numpy as np
import onnx
import pytest
from fakes import plain_frame
from numpy.typing import NDArray
from onnx import TensorProto, helper

from rtseg import store
from rtseg.build import default_effects, default_filters, is_matte
from rtseg.cards import Card, read_card
from rtseg.config import BackgroundEffect, ModelOptions, RefineFilter
from rtseg.engines import build_engine, build_segmenter
from rtseg.errors import ConfigError, InferenceFailed, ModelRejected
from rtseg.evaluate.models import cpu_times, load_model
from rtseg.inference.states import with_constants
from rtseg.ops.arrays import F32
from rtseg.segmenters.recurrent import RecurrentSegmenter
from rtseg.streams import open_scheduler
from rtseg.types import Frame, Regions, Segmenter

STATES = ("r1", "r2", "r3", "r4")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RTSEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def running_average(path: Path, *, sides: Sequence[int | str] = ("a", "b", "c", "d")) -> Path:
    """Four states at scales of 1, 1/2, 1/4 and 1/8 of `ratio`; each is half of itself and half of the picture's mean.

    pha is the mean over the states, brought to the picture's size: exact for pictures of one level.
    """
    nodes = [helper.make_node("ReduceMean", ["src"], ["grey"], axes=[1])]
    for index, name in enumerate(STATES):
        nodes += [
            helper.make_node("Mul", ["ratio", f"part{index}"], [f"side{index}"]),
            helper.make_node("Concat", ["ones", f"side{index}", f"side{index}"], [f"scales{index}"], axis=0),
            helper.make_node("Resize", ["grey", "", f"scales{index}"], [f"small{index}"], mode="nearest"),
            helper.make_node("Add", [f"small{index}", f"{name}i"], [f"sum{index}"]),
            helper.make_node("Mul", [f"sum{index}", "half"], [f"{name}o"]),
            helper.make_node("Shape", ["grey"], [f"full{index}"]),
            helper.make_node("Resize", [f"{name}o", "", "", f"full{index}"], [f"large{index}"], mode="nearest"),
        ]
    nodes += [
        helper.make_node("Mean", [f"large{i}" for i in range(4)], ["pha"]),
        helper.make_node("Identity", ["src"], ["fgr"]),
    ]
    constants: dict[str, NDArray[Any]] = {f"part{i}": np.full(1, 0.5**i, np.float32) for i in range(4)}
    constants |= {"half": np.full(1, 0.5, np.float32), "ones": np.ones(2, np.float32)}
    return graphs.save(
        path,
        nodes,
        inputs=[("src", (1, 3, "h", "w")), *((f"{name}i", sides) for name in STATES), ("ratio", (1,))],
        outputs=[
            ("fgr", (1, 3, "h", "w")),
            ("pha", (1, 1, "h", "w")),
            *((f"{name}o", [f"{name}{side}" for side in range(4)]) for name in STATES),
        ],
        constants=constants,
    )


def card_for(path: Path, **changes: Any) -> Card:
    values = {
        "name": "average",
        "description": "",
        "family": "recurrent",
        "file": path.name,
        "sha256": store.sha256_of(path),
        "licence": "CC0-1.0",
        "source": "",
        "names": ["person"],
        "input": {"name": "src", "size": (32, 16)},
        "outputs": [{"name": "pha", "regions": {"person": 0}}],
        "recurrent": {"states": {f"{n}i": f"{n}o" for n in STATES}, "constants": {"ratio": 0.5}},
    }
    card = Card.model_validate(values | changes)
    card._folder = path.parent
    return card


@pytest.fixture
def card(tmp_path: Path) -> Card:
    return card_for(running_average(tmp_path / "average.onnx"))


def white(index: int = 0, *, size: tuple[int, int] = (64, 36), epoch: int = 0) -> Frame:
    return plain_frame(index, size=size, epoch=epoch, level=235)


def levels(segmenter: Segmenter, frames: Sequence[Frame]) -> list[int]:
    """The one level of each frame's mask."""
    found = []
    for frame in frames:
        result = segmenter(frame)
        assert isinstance(result, Regions)
        assert result.probabilities.min() == result.probabilities.max()
        found.append(int(result.probabilities[0, 0, 0]))
    return found


HALVING = [128, 191, 223, 239, 247]
"""255 times 1/2, 3/4, 7/8, ..., rounded: what an average of halves makes of white frames."""


def test_states_go_from_frame_to_frame(card: Card) -> None:
    segmenter = build_segmenter(ModelOptions(), card)
    assert isinstance(segmenter, RecurrentSegmenter)
    assert levels(segmenter, [white(i) for i in range(5)]) == HALVING
    result = segmenter(white(5))
    assert isinstance(result, Regions)
    assert (result.names, result.probabilities.shape, result.pts) == (("person",), (1, 16, 32), 5)


def test_a_reset_an_epoch_and_another_size_begin_anew(card: Card) -> None:
    segmenter = build_segmenter(ModelOptions(), card)
    levels(segmenter, [white(i) for i in range(3)])
    segmenter.reset()
    assert levels(segmenter, [white(), white()]) == HALVING[:2]
    assert levels(segmenter, [white(epoch=1), white(epoch=1)]) == HALVING[:2]
    assert levels(segmenter, [white(epoch=1, size=(36, 64)), white(epoch=1, size=(36, 64))]) == HALVING[:2]


def test_pictures_that_stand_alone_are_each_the_first(card: Card) -> None:
    segmenter = build_segmenter(ModelOptions(), card, alone=True)
    assert levels(segmenter, [white(i) for i in range(3)]) == [HALVING[0]] * 3


def test_two_streams_share_no_state(card: Card) -> None:
    engine = build_engine(ModelOptions(), card)
    one, other = RecurrentSegmenter(card, engine), RecurrentSegmenter(card, engine.fork())
    assert levels(one, [white(i) for i in range(3)]) == HALVING[:3]
    assert levels(other, [white(0)]) == HALVING[:1]
    assert levels(one, [white(3)]) == HALVING[3:4]


def test_streams_of_a_scheduler_share_the_network_and_no_state(card: Card) -> None:
    with open_scheduler(ModelOptions(), card=card, parallel=1) as scheduler:
        one, other = (build_segmenter(ModelOptions(), card, engine=scheduler.stream()) for _ in range(2))
        assert scheduler.batches == (1,)
        assert [levels(one, [white(0)]), levels(one, [white(1)]), levels(other, [white(0)])] == [[128], [191], [128]]
        assert levels(one, [white(2)]) == HALVING[2:3]


def test_a_recurrent_model_can_be_measured(card: Card) -> None:
    """`rtseg eval` opens the network a second time for its clock, states and all."""
    model = load_model(card)
    assert set(model.engine.inputs) == {"src", "r1i", "r2i", "r3i", "r4i"}
    assert cpu_times([model], runs=2)[model.name] > 0
    assert levels(model.segmenter, [white()]) == HALVING[:1]


def test_states_are_as_large_as_the_graph_makes_them(card: Card) -> None:
    inputs = build_engine(ModelOptions(), card).inputs
    assert {name: array.shape for name, array in inputs.items()} == {
        "src": (1, 3, 16, 32),
        "r1i": (1, 1, 8, 16),
        "r2i": (1, 1, 4, 8),
        "r3i": (1, 1, 2, 4),
        "r4i": (1, 1, 1, 2),
    }


def test_a_failed_frame_is_forgotten(card: Card) -> None:
    """What spoilt a frame may be in the states: the next frame is the first."""
    engine = build_engine(ModelOptions(), card)
    segmenter = RecurrentSegmenter(card, engine)
    levels(segmenter, [white(i) for i in range(3)])
    engine.inputs["r2i"][0, 0, 0, 0] = np.inf
    with pytest.raises(InferenceFailed):
        segmenter(white(3))
    assert levels(segmenter, [white(4), white(5)]) == HALVING[:2]


def test_an_unsound_mask_is_forgotten_too(card: Card) -> None:
    engine = build_engine(ModelOptions(), card)
    segmenter = RecurrentSegmenter(card, engine)
    for name in ("r1i", "r2i", "r3i", "r4i"):
        engine.inputs[name].fill(9.0)
    with pytest.raises(InferenceFailed, match="'pha'"):
        segmenter(white())
    assert levels(segmenter, [white(1)]) == HALVING[:1]


def test_the_kept_graph_is_used_again(card: Card, cache: Path) -> None:
    build_engine(ModelOptions(), card)
    (kept,) = (cache / "constants").iterdir()
    before = kept.stat().st_mtime_ns
    build_engine(ModelOptions(), card)
    assert [path.stat().st_mtime_ns for path in (cache / "constants").iterdir()] == [before]


def test_states_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    path = running_average(tmp_path / "average.onnx")
    crossed = card_for(
        path,
        recurrent={"states": {"r1i": "r2o", "r2i": "r1o", "r3i": "r3o", "r4i": "r4o"}, "constants": {"ratio": 0.5}},
    )
    with pytest.raises(ModelRejected, match=r"single zeros|fixed size"):
        build_engine(ModelOptions(), crossed)
    lost = card_for(path, recurrent={"states": {f"{n}i": "gone" for n in STATES}, "constants": {"ratio": 0.5}})
    with pytest.raises(ModelRejected, match="no output 'gone'"):
        build_engine(ModelOptions(), lost)
    half = card_for(path, recurrent={"states": {"r1i": "r1o"}, "constants": {"ratio": 0.5}})
    with pytest.raises(ModelRejected, match="has the inputs"):
        build_engine(ModelOptions(), half)


def test_a_state_whose_first_frame_is_special_is_refused(tmp_path: Path) -> None:
    """y = x + the number of elements of the state: single zeros and zeros throughout are not the same there."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["grey"], axes=[1]),
        helper.make_node("Size", ["si"], ["size"]),
        helper.make_node("Cast", ["size"], ["count"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["count", "tenth"], ["share"]),
        helper.make_node("Add", ["grey", "share"], ["y"]),
        helper.make_node("Add", ["grey", "si"], ["so"]),
    ]
    path = graphs.save(
        tmp_path / "special.onnx",
        nodes,
        inputs=[("x", (1, 3, 16, 32)), ("si", (1, 1, "h", "w"))],
        outputs=[("y", (1, 1, 16, 32)), ("so", (1, 1, "p", "q"))],
        constants={"tenth": np.full(1, 0.1, np.float32)},
    )
    special = card_for(
        path,
        input={"name": "x", "size": (32, 16)},
        outputs=[{"name": "y", "regions": {"person": 0}}],
        recurrent={"states": {"si": "so"}},
    )
    with pytest.raises(ModelRejected, match="first frame needs something else"):
        build_engine(ModelOptions(), special)


def remembering(path: Path, nodes: Sequence[Any], *, before: Sequence[int | str], after: Sequence[int | str]) -> Card:
    """A card of a graph x, si -> y, so, in which y is the picture's mean and so what `nodes` make of si."""
    graphs.save(
        path,
        [helper.make_node("ReduceMean", ["x"], ["y"], axes=[1]), *nodes],
        inputs=[("x", (1, 3, 16, 32)), ("si", before)],
        outputs=[("y", (1, 1, 16, 32)), ("so", after)],
    )
    return card_for(
        path,
        input={"name": "x", "size": (32, 16)},
        outputs=[{"name": "y", "regions": {"person": 0}}],
        recurrent={"states": {"si": "so"}},
    )


def test_a_state_that_grows_is_refused(tmp_path: Path) -> None:
    twice = helper.make_node("Concat", ["si", "si"], ["so"], axis=3)
    growing = remembering(tmp_path / "grows.onnx", [twice], before=(1, 1, 1, "w"), after=(1, 1, 1, "v"))
    with pytest.raises(ModelRejected, match="no fixed size"):
        build_engine(ModelOptions(), growing)


def test_a_state_of_another_shape_than_its_output_is_refused(tmp_path: Path) -> None:
    """A shape that numpy would stretch without a word."""
    mean = helper.make_node("ReduceMean", ["si"], ["so"])
    shrinking = remembering(tmp_path / "shrinks.onnx", [mean], before=(1, 1, 4, 4), after=(1, 1, 1, 1))
    segmenter = build_segmenter(ModelOptions(), shrinking)
    with pytest.raises(ModelRejected, match=r"\(1, 1, 4, 4\), but it is float32 \(1, 1, 1, 1\)"):
        segmenter(white())


def test_constants_are_not_written_beside_outside_weights(tmp_path: Path) -> None:
    path = running_average(tmp_path / "average.onnx")
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    with pytest.raises(ModelRejected, match="outside its file"):
        with_constants(path, {"ratio": 0.5})


def test_a_constant_that_is_no_input_is_refused(tmp_path: Path) -> None:
    path = running_average(tmp_path / "average.onnx")
    with pytest.raises(ModelRejected, match="no input 'zoom'"):
        with_constants(path, {"zoom": 1.0})


def test_a_recurrent_graph_is_not_batched_and_has_no_focus(card: Card) -> None:
    with pytest.raises(ModelRejected, match="not batched"):
        build_engine(ModelOptions(), card, batch=2)
    with pytest.raises(ConfigError, match="focus"):
        build_segmenter(ModelOptions(focus=True), card)


def test_one_region_is_a_matte_that_needs_no_smoothing(card: Card) -> None:
    assert is_matte(card)
    assert default_filters(card) == (RefineFilter(),)
    assert default_effects(card) == (BackgroundEffect(paint="blur"),)


def test_a_card_of_the_family_says_what_is_remembered(tmp_path: Path, card: Card) -> None:
    with pytest.raises(ValueError, match=r"\[recurrent\]"):
        Card.model_validate({**card.model_dump(), "recurrent": None})
    with pytest.raises(ValueError, match=r"\[recurrent\]"):
        Card.model_validate({**card.model_dump(), "family": "regions"})
    from rtseg.train.export import write_card

    (tmp_path / "average.toml").write_text(write_card(card))
    assert read_card(tmp_path / "average.toml") == card


def test_a_convolutional_gru_is_what_torch_says(tmp_path: Path) -> None:
    """Ten frames, the states of the ONNX file handed on by us, those of torch by torch: the same to 1e-4."""
    torch = pytest.importorskip("torch", reason="the original is a torch module: the extra `train`")
    from exported_gru import TinyGru, export_gru

    torch.manual_seed(0)
    network = TinyGru().eval()
    path = export_gru(network, tmp_path / "gru.onnx")
    gru = card_for(
        path,
        input={"name": "src", "size": (64, 48)},
        recurrent={"states": {"r1i": "r1o", "r2i": "r2o"}, "constants": {"downsample_ratio": 0.5}},
    )
    engine = build_engine(ModelOptions(), gru)
    segmenter = RecurrentSegmenter(gru, engine)
    rng = np.random.default_rng(1)
    states: list[Any] = [None, None]
    moved: list[F32] = []
    for index in range(10):
        rgb = rng.integers(0, 256, (48, 64, 3), np.uint8)
        result = segmenter(Frame.from_rgb(rgb, index=index))
        with torch.no_grad():
            pha, *states = network(torch.from_numpy(engine.inputs["src"].copy()), *states, 0.5)
        wanted = pha.numpy()
        np.testing.assert_allclose(engine.outputs["pha"], wanted, atol=1e-4)
        np.testing.assert_allclose(engine.outputs["r2o"], states[1].numpy(), atol=1e-4)
        assert np.abs(result.probabilities[0] - 255 * wanted[0, 0]).max() <= 0.53  # rounding, and 1e-4
        moved.append(wanted)
    assert np.abs(moved[1] - moved[0]).max() > 0.01, "the test shows nothing if all frames are alike"
    onnx.checker.check_model(onnx.load(path))
