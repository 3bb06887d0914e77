from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import graphs
import numpy as np
import pytest
from faulty import NO_ROOM, Faults, FaultyEngine, install

from rtseg import store
from rtseg.config import ModelOptions
from rtseg.engines import build_segmenter
from rtseg.errors import EngineError, InferenceFailed, OutOfMemory, ProviderUnavailable
from rtseg.inference.engine import OrtEngine
from rtseg.inference.selftest import _telling_pair, check_engine
from rtseg.types import Frame

CARD = store.find_card("portrait-fast")


@pytest.fixture
def network() -> Callable[[], OrtEngine]:
    path = store.verify(CARD)
    return lambda: OrtEngine(path, warmup=0)


def opened(**options: object) -> str:
    """The provider that the segmenter really runs on."""
    segmenter = build_segmenter(ModelOptions.model_validate({"name": CARD.name, **options}), CARD)
    frame = Frame.from_rgb(np.full((72, 128, 3), 90, np.uint8))
    assert segmenter(frame).size == (128, 72)
    return segmenter.providers[0]  # type: ignore[attr-defined,no-any-return]


def test_a_device_that_computes_the_same_passes(network: Callable[[], OrtEngine]) -> None:
    check_engine(FaultyEngine(network()), network())


def test_a_device_that_gives_the_result_before_is_caught_by_the_second_input(
    network: Callable[[], OrtEngine],
) -> None:
    with pytest.raises(
        InferenceFailed, match=r"cuda gave another '\w+' than the CPU for test input 2 of 2: off by 100"
    ):
        check_engine(FaultyEngine(network(), stale=True), network())
    with pytest.raises(InferenceFailed, match="test input 2 of 2"):
        check_engine(FaultyEngine(network(), stale=True), network(), half=True)


def test_a_device_that_fails_in_a_run_fails_the_test(network: Callable[[], OrtEngine]) -> None:
    broken = FaultyEngine(network(), fails={1: InferenceFailed("CUDA failure 700: illegal address")})
    with pytest.raises(EngineError, match="illegal address"):
        check_engine(broken, network())


@pytest.mark.parametrize(("share", "half", "passes"), [(0.01, False, True), (0.1, False, False), (0.1, True, True)])
def test_rounding_is_no_fault_and_half_floats_round_more(
    network: Callable[[], OrtEngine], share: float, half: bool, passes: bool
) -> None:
    class Rounding(FaultyEngine):
        def run(self) -> dict[str, np.ndarray]:
            outputs = super().run()
            return {name: array + share * scales[name] for name, array in outputs.items()}

    pair = _telling_pair(network())
    scales = {name: pair.scale(name) for name in pair.expected[0]}
    if passes:
        check_engine(Rounding(network()), network(), half=half)
    else:
        with pytest.raises(InferenceFailed, match=r"off by 10 % .* where 5 % are allowed"):
            check_engine(Rounding(network()), network(), half=half)


@pytest.mark.parametrize("name", ["portrait", "portrait-fast", "portrait-studio", "road", "road-fast", "nuclei"])
def test_the_inputs_of_the_test_make_a_stale_result_visible_in_each_of_our_models(name: str) -> None:
    card = store.find_card(name)
    engine = OrtEngine(store.verify(card), shapes={card.input.name: card.input.shape}, warmup=0)
    assert _telling_pair(engine).telling == 1.0


def test_a_network_that_answers_all_alike_is_said_to_prove_little(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from onnx import helper

    zero = np.zeros((1, 2, 3, 4), np.float32)
    path = graphs.save(
        tmp_path / "zero.onnx", [helper.make_node("Mul", ["x", "zero"], ["y"])], constants={"zero": zero}
    )
    check_engine(FaultyEngine(OrtEngine(path)), OrtEngine(path))
    assert "the test of cuda cannot tell a result from the one before" in caplog.text


def test_a_sound_device_is_used(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    install(monkeypatch, Faults())
    assert opened(providers=("cuda",)) == "cuda"
    assert not caplog.records


def test_stale_replays_turn_graphs_off_loudly_and_the_device_is_kept(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install(monkeypatch, faults := Faults(stale="graphs"))
    assert opened(providers=("cuda",)) == "cuda"
    assert [given["enable_cuda_graph"] for given in faults.options] == ["1", "0"]
    (record,) = caplog.records
    assert "failed its test and is tried again without CUDA graphs: cuda gave another" in record.getMessage()


def test_graphs_that_are_not_wanted_are_never_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, faults := Faults())
    assert opened(providers=("cuda",), cuda_graph=False) == "cuda"
    assert [given["enable_cuda_graph"] for given in faults.options] == ["0"]


def test_a_wrong_device_is_an_error_for_those_who_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Faults(stale=True))
    with pytest.raises(
        ProviderUnavailable, match=r"the device failed its test: cuda gave another .*; update its driver"
    ):
        opened(providers=("cuda",))


def test_auto_leaves_a_wrong_device_for_the_cpu_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install(monkeypatch, Faults(noise=1.0))
    assert opened(providers=("auto",)) == "cpu"
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert "so the network runs on the CPU: cuda gave another" in caplog.records[1].getMessage()


def test_a_device_that_cannot_even_warm_up_is_left_in_the_same_way(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install(monkeypatch, Faults(fails=dict.fromkeys(range(20), "CUDA failure 719: unspecified launch failure")))
    assert opened(providers=("auto",)) == "cpu"
    assert "CUDA failure 719" in caplog.text


def test_auto_leaves_a_full_device_for_the_cpu_and_says_so_and_others_get_the_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install(monkeypatch, Faults(refuses={"do_copy_in_default_stream": NO_ROOM}))
    with pytest.raises(OutOfMemory, match="does not fit on cuda"):
        opened(providers=("cuda",))
    assert opened(providers=("auto",)) == "cpu"
    assert "so the network runs on the CPU: rtseg_portrait_fast.onnx does not fit on cuda" in caplog.text


def test_the_cpu_is_not_tested_against_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtseg.inference.selftest.check_engine", None)
    assert opened(providers=("cpu",)) == "cpu"
    assert opened() == "cpu"


@pytest.mark.parametrize("providers", [None, ("cpu",)])
def test_a_network_that_fails_on_the_cpu_says_so_once_and_plainly(
    providers: tuple[str, ...] | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object, **__: object) -> OrtEngine:
        raise InferenceFailed("output 'y' holds NaN or infinity")

    monkeypatch.setattr("rtseg.engines.OrtEngine", fails)
    with pytest.raises(InferenceFailed, match="holds NaN") as raised:
        opened(providers=providers)
    assert type(raised.value) is InferenceFailed
    assert not caplog.records


def test_what_has_no_graphs_is_not_tried_without_them(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install(monkeypatch, Faults(stale=True, assigned=()), built=("openvino", "cpu"))
    with pytest.raises(ProviderUnavailable, match="failed its test: openvino gave another"):
        opened(providers=("openvino",))
    assert not caplog.records


def test_a_tested_device_finds_the_same_person_as_the_cpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from rtseg.sources.sample import Sample

    frame = next(iter(Sample(seconds=0.1, size=(256, 144))))
    expected = build_segmenter(ModelOptions(name=CARD.name), CARD)(frame)
    install(monkeypatch, Faults())
    found = build_segmenter(ModelOptions(name=CARD.name, providers=("cuda",)), CARD)(frame)
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)  # type: ignore[union-attr]
