from __future__ import annotations

import threading
import tracemalloc
from pathlib import Path
from typing import Any

import graphs
import numpy as np
import onnxruntime as ort
import pytest
from faulty import NO_ROOM, Faults, install

from rtseg import store
from rtseg.errors import ConfigError, InferenceFailed, InferenceTimeout, OutOfMemory
from rtseg.inference.engine import OrtEngine
from rtseg.inference.gate import Gate

RAMP = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return graphs.double(tmp_path / "model.onnx")


def on_device(array: Any) -> Any:
    return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))


def test_slots_give_what_the_buffers_give_bit_for_bit() -> None:
    path = store.verify(store.find_card("portrait"))
    direct, slotted = OrtEngine(path), OrtEngine(path, slots=2)
    chance = np.random.default_rng(1)
    (name, buffer), *_ = direct.inputs.items()
    for _ in range(6):
        picture = chance.standard_normal(buffer.shape).astype(np.float32)
        expected = {key: value.copy() for key, value in direct({name: picture}).items()}
        found = slotted({name: picture})
        for key, value in expected.items():
            np.testing.assert_array_equal(found[key], value)
        for key, tensor in slotted.run_on({name: on_device(picture)}).items():
            np.testing.assert_array_equal(tensor.numpy(), expected[key])


def test_host_arrays_stay_the_same_and_outputs_are_read_only(model: Path) -> None:
    engine = OrtEngine(model, slots=2)
    x = engine.inputs["x"]
    x[...] = RAMP
    first = engine.run()["y"]
    x[...] = -RAMP
    assert engine.run()["y"] is first
    assert engine.inputs["x"] is x
    np.testing.assert_array_equal(first, -2 * RAMP)
    assert not first.flags.writeable


def test_the_outputs_of_one_run_are_whole_while_the_next_is_made(model: Path) -> None:
    engine = OrtEngine(model, slots=2)
    first = engine.run_on({"x": on_device(RAMP)})["y"]
    second = engine.run_on({"x": on_device(RAMP + 1)})["y"]
    np.testing.assert_array_equal(first.numpy(), 2 * RAMP)
    np.testing.assert_array_equal(second.numpy(), 2 * RAMP + 2)
    third = engine.run_on({"x": on_device(RAMP + 2)})["y"]
    assert third.data_ptr() == first.data_ptr()


@pytest.mark.parametrize("slots", [0, 2])
def test_device_inputs_can_be_written_directly(model: Path, slots: int) -> None:
    engine = OrtEngine(model, slots=slots)
    for number in range(4):
        values = engine.device_inputs
        values["x"].update_inplace(RAMP + number)
        np.testing.assert_array_equal(engine.run_on(values)["y"].numpy(), 2 * RAMP + 2 * number)


@pytest.mark.parametrize("slots", [0, 2])
def test_what_is_not_on_the_device_comes_from_the_host(tmp_path: Path, slots: int) -> None:
    from onnx import helper

    two: list[graphs.Port] = [("x", (1, 2, 3, 4)), ("z", (1, 2, 3, 4))]
    path = graphs.save(tmp_path / "sum.onnx", [helper.make_node("Sub", ["x", "z"], ["y"])], inputs=two)
    engine = OrtEngine(path, slots=slots)
    engine.inputs["z"][...] = 5
    np.testing.assert_array_equal(engine.run_on({"x": on_device(RAMP)})["y"].numpy(), RAMP - 5)


@pytest.mark.parametrize("slots", [0, 2])
def test_a_plane_needs_no_leading_axes_and_an_output_can_be_an_input(model: Path, slots: int) -> None:
    engine = OrtEngine(model, slots=slots)
    plane = ort.OrtValue.from_dlpack(RAMP[0])
    once = engine.run_on({"x": plane})
    np.testing.assert_array_equal(engine.run_on({"x": once["y"]})["y"].numpy(), 4 * RAMP)


@pytest.mark.parametrize("slots", [0, 2])
@pytest.mark.parametrize(
    ("name", "array", "said"),
    [
        ("x", RAMP.astype(np.float64), r"'x' must be tensor\(float\) of shape \(1, 2, 3, 4\), not tensor\(double\)"),
        ("x", RAMP.reshape(1, 2, 4, 3), r"not tensor\(float\) of shape \(1, 2, 4, 3\)"),
        ("w", RAMP, "there is no input 'w': there are x"),
    ],
)
def test_wrong_tensors_are_named(model: Path, slots: int, name: str, array: Any, said: str) -> None:
    with pytest.raises(InferenceFailed, match=said):
        OrtEngine(model, slots=slots).run_on({name: on_device(array)})


def test_a_run_in_slots_allocates_no_array(tmp_path: Path) -> None:
    engine = OrtEngine(graphs.double(tmp_path / "big.onnx", shape=(1, 1, 512, 512)), slots=2)  # buffers of 1 MiB
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
    assert peak - before < 16_384


def test_forks_have_slots_of_their_own(model: Path) -> None:
    engine = OrtEngine(model, slots=2)
    other = engine.fork()
    kept = engine.run_on({"x": on_device(RAMP)})["y"]
    for number in range(3):
        other.run_on({"x": on_device(RAMP + 100 + number)})
    np.testing.assert_array_equal(kept.numpy(), 2 * RAMP)
    assert other._session is engine._session


def test_infinity_is_found_after_the_download(tmp_path: Path) -> None:
    engine = OrtEngine(graphs.logarithm(tmp_path / "log.onnx"), slots=2, warmup=0)
    engine({"x": RAMP + 1})
    with pytest.raises(InferenceFailed, match="holds NaN or infinity"):
        engine({"x": RAMP})


def test_a_slot_that_never_ends_is_stopped_and_the_next_works(tmp_path: Path) -> None:
    engine = OrtEngine(graphs.endless(tmp_path / "endless.onnx"), slots=2, timeout=0.5)
    for _ in range(2):
        with pytest.raises(InferenceTimeout, match=r"ran for more than 0\.5 s"):
            engine({"x": np.ones((), np.float32)})
        assert engine({"x": np.zeros((), np.float32)})["y"] == 0.0


def test_less_than_no_slots_are_refused(model: Path) -> None:
    with pytest.raises(ConfigError, match="slots must be 0 or more, not -1"):
        OrtEngine(model, slots=-1)


def test_a_graph_is_captured_after_two_plain_runs_and_over_addresses_that_never_change(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, faults := Faults())
    engine = OrtEngine(model, providers=("cuda",))
    for number in range(6):
        np.testing.assert_array_equal(engine({"x": RAMP + number})["y"], 2 * RAMP + 2 * number)
    assert [run.graph for run in faults.runs] == [-1, -1, 1, -1, -1, 2, 1, 2, 1, 2, 1, 2]
    addresses = {run.graph: run.addresses for run in faults.runs if run.graph > 0}
    assert all(run.addresses == addresses[run.graph] for run in faults.runs if run.graph > 0)
    assert not set(addresses[1]) & set(addresses[2])
    with pytest.raises(TypeError):
        engine.device_inputs["x"] = on_device(RAMP)  # type: ignore[index]


def test_forks_never_share_a_graph(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, faults := Faults())
    engine = OrtEngine(model, providers=("cuda",))
    other = engine.fork()
    other.run()
    other.run()
    assert {run.graph for run in faults.runs} == {-1, 1, 2, 3, 4}


def test_every_other_thread_captures_for_itself(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime keeps captured graphs by thread; numbers of threads that ended are used again."""
    install(monkeypatch, faults := Faults())
    engine = OrtEngine(model, providers=("cuda",))

    def work() -> None:
        for _ in range(4):
            engine.run()

    for _ in range(2):
        faults.runs.clear()
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert [run.graph for run in faults.runs] == [-1, -1, 1, -1, -1, 2, 1, 2]
    faults.runs.clear()
    work()
    assert [run.graph for run in faults.runs] == [1, 2, 1, 2]


def test_without_graphs_nothing_is_captured(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, faults := Faults())
    engine = OrtEngine(model, providers=("cuda",), cuda_graph=False)
    np.testing.assert_array_equal(engine({"x": RAMP})["y"], 2 * RAMP)
    assert {run.graph for run in faults.runs} == {-1}
    assert faults.options[0]["enable_cuda_graph"] == "0"
    assert not engine.cuda_graph


def test_no_run_is_under_way_while_another_thread_captures(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, faults := Faults(delay=0.002))
    engine = OrtEngine(model, providers=("cuda",))
    faults.runs.clear()
    stop = threading.Event()

    def work(own: OrtEngine) -> None:
        while not stop.is_set():
            own.run()

    busy = threading.Thread(target=work, args=(engine.fork(),))
    busy.start()
    for _ in range(3):
        engine.fork().run()
    stop.set()
    busy.join()
    captures = [run for run in faults.runs if run.graph == -1]
    others = [run for run in faults.runs if run.graph > 0]
    assert len(captures) >= 8
    for capture in captures:
        for run in others:
            assert run.thread == capture.thread or run.ended <= capture.began or run.began >= capture.ended


def test_a_failed_capture_is_done_again(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, faults := Faults(fails={2: "CUDA failure 901: capture invalidated"}))
    engine = OrtEngine(model, providers=("cuda",), warmup=0)
    with pytest.raises(InferenceFailed, match="failed on cuda: CUDA failure 901"):
        engine.run()
    engine.run()
    np.testing.assert_array_equal(engine({"x": RAMP})["y"], 2 * RAMP)
    assert [run.graph for run in faults.runs] == [-1, -1, 1, -1, -1, 2, -1, -1, 1]


def test_a_full_device_is_an_error_of_its_own(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Faults(fails={8: NO_ROOM}))
    engine = OrtEngine(model, providers=("cuda",))
    engine.run()
    engine.run()
    with pytest.raises(OutOfMemory, match="failed on cuda: CUDA failure 2: out of memory"):
        engine.run()
    np.testing.assert_array_equal(engine({"x": RAMP})["y"], 2 * RAMP)


def test_the_gate_lets_work_go_on_together_and_captures_alone() -> None:
    gate = Gate()
    order: list[str] = []
    inside = threading.Event()

    def capture() -> None:
        inside.set()
        with gate.capturing():
            order.append("capture")

    with gate.working(), gate.working():  # two at once
        thread = threading.Thread(target=capture)
        thread.start()
        inside.wait()
        thread.join(timeout=0.05)
        order.append("work")
    thread.join()
    assert order == ["work", "capture"]
