from __future__ import annotations

import threading
import time
import tracemalloc
from pathlib import Path
from typing import Any

import graphs
import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from rtseg.errors import (
    ConfigError,
    EngineError,
    InferenceFailed,
    InferenceTimeout,
    ModelError,
    ModelNotFound,
    ModelRejected,
    OutOfMemory,
    ProviderUnavailable,
)
from rtseg.inference import providers, sessions
from rtseg.inference.engine import OrtEngine, available_providers
from rtseg.types import Engine

RAMP = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tmp_path / "model.onnx"


def test_engine_gives_what_the_graph_computes(model: Path) -> None:
    engine = OrtEngine(graphs.double(model))
    assert isinstance(engine, Engine)
    assert engine.providers == ("cpu",)
    np.testing.assert_array_equal(engine({"x": RAMP})["y"], 2 * RAMP)
    np.testing.assert_array_equal(engine({"x": RAMP.astype(np.float64) + 1})["y"], 2 * RAMP + 2)


def test_run_reads_the_input_buffers_and_overwrites_the_same_outputs(model: Path) -> None:
    engine = OrtEngine(graphs.double(model))
    engine.inputs["x"][:] = RAMP
    first = engine.run()["y"]
    engine.inputs["x"][:] = -RAMP
    second = engine.run()["y"]
    assert second is first
    np.testing.assert_array_equal(first, -2 * RAMP)
    assert not first.flags.writeable


def test_a_run_allocates_no_array(model: Path) -> None:
    engine = OrtEngine(graphs.double(model, shape=(1, 1, 512, 512)))  # buffers of 1 MiB, flags of 256 KiB
    tracemalloc.start()
    try:
        engine.run()
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(10):
            engine.run()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < 16_384  # numpy reports its arrays to tracemalloc; what is left are frames and lambdas


def test_forks_share_the_session_but_no_buffer(model: Path) -> None:
    engine = OrtEngine(graphs.double(model))
    other = engine.fork()
    engine({"x": RAMP})
    other({"x": RAMP + 100})
    np.testing.assert_array_equal(engine.outputs["y"], 2 * RAMP)
    np.testing.assert_array_equal(other.outputs["y"], 2 * RAMP + 200)
    assert other._session is engine._session


def test_forks_run_at_the_same_time(model: Path) -> None:
    engine = OrtEngine(graphs.double(model, shape=(64, 1024)))
    wrong: list[float] = []

    def work(own: OrtEngine, value: float) -> None:
        own.inputs["x"][:] = value
        wrong.extend(value for _ in range(200) if not (own.run()["y"] == 2 * value).all())

    threads = [threading.Thread(target=work, args=(engine.fork(), float(value))) for value in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        (
            {"x": RAMP[0]},
            r"'x' of model.onnx must be float32 of shape \(1, 2, 3, 4\), not float32 of shape \(2, 3, 4\)",
        ),
        ({"x": RAMP.astype(np.complex64)}, "not complex64"),
        ({"z": RAMP}, r"takes the inputs \['x'\], not \['z'\]"),
        ({}, r"takes the inputs \['x'\], not \[\]"),
    ],
)
def test_wrong_inputs_are_named(model: Path, inputs: dict[str, Any], said: str) -> None:
    engine = OrtEngine(graphs.double(model))
    with pytest.raises(InferenceFailed, match=said):
        engine(inputs)


def test_open_axes_are_closed_by_shapes(model: Path) -> None:
    graphs.double(model, shape=("n", 2, "h", "w"))
    engine = OrtEngine(model, shapes={"x": (1, 2, 3, 4)})
    np.testing.assert_array_equal(engine({"x": RAMP})["y"], 2 * RAMP)


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        (None, r"does not fit input 'x' \('n', 2, 'h'\); give shapes="),
        ({"x": (1, 3, 4)}, r"shape \(1, 3, 4\) does not fit"),
        ({"x": (1, 2)}, "does not fit"),
        ({"x": (1, 2, 0)}, "does not fit"),
        ({"y": (1, 2, 4)}, "has no input y; it has x"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(model: Path, shapes: dict[str, Any] | None, said: str) -> None:
    graphs.double(model, shape=("n", 2, "h"))
    with pytest.raises(ModelRejected, match=said):
        OrtEngine(model, shapes=shapes)


@pytest.mark.parametrize("bad", [0.0, -1.0])
def test_nan_and_infinity_never_leave_the_engine(model: Path, bad: float) -> None:
    engine = OrtEngine(graphs.logarithm(model), warmup=0)
    engine({"x": RAMP + 1})
    spoilt = RAMP + 1
    spoilt[0, 1, 2, 3] = bad  # the last of 24 values
    with pytest.raises(InferenceFailed, match=r"output 'y' of model.onnx holds NaN or infinity"):
        engine({"x": spoilt})
    np.testing.assert_array_equal(engine({"x": np.ones_like(RAMP)})["y"], np.zeros_like(RAMP))


def test_a_graph_that_fails_in_a_run_says_so(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    node = helper.make_node("Reshape", ["x", "shape"], ["y"])
    graphs.save(
        model, [node], inputs=[("x", ("n", 4))], outputs=[("y", ("a", 3))], constants={"shape": np.array([-1, 3])}
    )
    with pytest.raises(InferenceFailed, match=r"model.onnx failed on cpu: .*Reshape"):
        OrtEngine(model, shapes={"x": (2, 4)})
    assert capfd.readouterr() == ("", "")


def test_a_run_that_never_ends_is_stopped_and_the_next_one_works(model: Path) -> None:
    engine = OrtEngine(graphs.endless(model), timeout=0.3)
    one, zero = np.ones((), np.float32), np.zeros((), np.float32)
    for _ in range(2):
        began = time.monotonic()
        with pytest.raises(InferenceTimeout, match=r"model.onnx ran for more than 0.3 s and was stopped"):
            engine({"x": one})
        assert time.monotonic() - began < 1.3  # the deadline and a second
        assert engine({"x": zero})["y"] == 0.0


def test_one_fork_stopped_leaves_the_other_alone(model: Path) -> None:
    engine = OrtEngine(graphs.endless(model), timeout=0.3)
    other = engine.fork()
    failures: list[BaseException] = []

    def hang() -> None:
        try:
            engine({"x": np.ones((), np.float32)})
        except InferenceTimeout as error:
            failures.append(error)

    thread = threading.Thread(target=hang)
    thread.start()
    runs = 0
    while thread.is_alive():
        assert other({"x": np.zeros((), np.float32)})["y"] == 0.0
        runs += 1
    thread.join()
    assert len(failures) == 1
    assert runs > 0


def test_without_a_limit_no_watchdog_is_asked(model: Path) -> None:
    engine = OrtEngine(graphs.double(model), timeout=None)
    np.testing.assert_array_equal(engine({"x": RAMP})["y"], 2 * RAMP)


def test_an_accelerator_that_would_not_be_used_is_refused_with_reason_and_fix(
    model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    graphs.double(model)
    missing = []
    for name in providers.PROVIDERS:
        try:
            assert name in OrtEngine(model, providers=(name,)).providers
        except ProviderUnavailable as error:
            said = str(error)
            assert said.startswith(f"provider {name!r} cannot be used: ")
            assert "the session does not report it" not in said
            assert providers.INSTALL[name] in said
            missing.append(name)
    assert {"coreml", "dml"} & set(missing)  # no machine has both
    assert "cpu" not in missing
    assert capfd.readouterr() == ("", "")


def test_an_accelerator_that_raises_at_the_start_is_unavailable_not_a_bad_model(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs.double(model)
    real = ort.InferenceSession

    def session(path: str, options: Any, providers: list[str], **more: Any) -> Any:
        if providers != ["CPUExecutionProvider"]:
            raise RuntimeError("CUDA failure 35: CUDA driver version is insufficient\nat somewhere.cc:123")
        return real(path, options, providers=providers, **more)

    monkeypatch.setattr(ort, "InferenceSession", session)
    monkeypatch.setattr(ort, "preload_dlls", lambda: None, raising=False)
    monkeypatch.setattr(sessions, "available_providers", lambda: ("cuda", "cpu"))
    with pytest.raises(ProviderUnavailable, match=r"'cuda' cannot be used: CUDA failure 35: .*insufficient\. It needs"):
        OrtEngine(model, providers=("cuda",))
    model.write_text("not a model")
    with pytest.raises(ModelRejected):
        OrtEngine(model, providers=("cuda",))


def test_auto_takes_what_works(model: Path) -> None:
    engine = OrtEngine(graphs.double(model), providers=("auto",))
    np.testing.assert_array_equal(engine({"x": RAMP})["y"], 2 * RAMP)
    assert set(engine.providers) <= set(available_providers())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"threads": 0}, "threads must be at least 1, not 0"),
        ({"timeout": 0.0}, "timeout must be above 0 seconds, or None for no limit, not 0.0"),
        ({"timeout": float("nan")}, "timeout must be above 0"),
        ({"providers": ()}, r"unknown provider \(\): use "),
        ({"providers": ("gpu",)}, "unknown provider gpu: use tensorrt, cuda, "),
        ({"providers": ("auto", "cpu")}, "or auto alone"),
    ],
)
def test_wrong_options_are_refused(model: Path, options: dict[str, Any], said: str) -> None:
    graphs.double(model)
    with pytest.raises(ConfigError, match=said):
        OrtEngine(model, **options)


@pytest.mark.parametrize("kind", ["missing", "folder", "empty", "text", "half"])
def test_what_is_no_model_is_refused_in_silence(model: Path, kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    expected: type[ModelError] = ModelRejected
    match kind:
        case "missing":
            expected = ModelNotFound
        case "folder":
            model.mkdir()
            expected = ModelNotFound
        case "empty":
            model.touch()
        case "text":
            model.write_text("this is a text about models\n" * 100)
        case "half":
            whole = graphs.double(model).read_bytes()
            model.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(expected, match=r"model\.onnx"):
        OrtEngine(model)
    assert capfd.readouterr() == ("", "")


def test_ports_of_other_types_are_refused(model: Path) -> None:
    graphs.save(model, [helper.make_node("Identity", ["x"], ["y"])], dtype=TensorProto.STRING)
    with pytest.raises(ModelRejected, match=r"'x' is a tensor\(string\); allowed are tensor\(float\)"):
        OrtEngine(model)


@pytest.mark.parametrize("side", [10**6, 2**40])
def test_tensors_that_no_memory_holds_are_refused(model: Path, side: int) -> None:
    graphs.double(model, shape=(side, side))
    with pytest.raises(ModelRejected, match=r"its buffers cannot be made"):
        OrtEngine(model)


def test_an_output_that_is_not_as_declared_is_an_error(model: Path) -> None:
    node = helper.make_node("NonZero", ["x"], ["y"])  # as many columns as x has values other than 0
    graphs.save(model, [node, helper.make_node("Cast", ["y"], ["z"], to=TensorProto.FLOAT)], outputs=[("z", (4, 24))])
    with pytest.raises(EngineError, match=r"model\.onnx failed on cpu"):
        OrtEngine(model)


def test_integers_pass_unchecked(model: Path) -> None:
    graphs.save(model, [helper.make_node("Add", ["x", "x"], ["y"])], dtype=TensorProto.INT64)
    engine = OrtEngine(model)
    np.testing.assert_array_equal(engine({"x": RAMP.astype(np.int32)})["y"], 2 * RAMP)


def test_the_callers_arithmetic_is_left_alone(model: Path) -> None:
    """ONNX Runtime's denormal option would switch subnormal numbers off for the whole calling thread."""
    OrtEngine(graphs.double(model))
    assert np.float32(1e-38) * np.float32(0.01) > 0


def test_no_room_for_a_run_is_an_error_of_its_own(model: Path) -> None:
    """A real one: x is expanded to 2**45 floats and summed up again."""
    huge = helper.make_tensor("huge", TensorProto.INT64, [4], [2**15, 2**10, 2**10, 2**10])
    nodes = [helper.make_node("Expand", ["x", "huge"], ["wide"]), helper.make_node("ReduceSum", ["wide"], ["y"])]
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 1, 1]) for name in "xy"]
    graph = helper.make_graph(nodes, "huge", value[:1], value[1:], [huge])
    model.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    )
    with pytest.raises(OutOfMemory, match=r"model\.onnx failed on cpu"):
        OrtEngine(model)
