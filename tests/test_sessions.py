from __future__ import annotations

import logging
from pathlib import Path

import graphs
import numpy as np
import pytest
from faulty import CPU, CUDA, NO_ROOM, Faults, install

from rtseg.errors import OutOfMemory, ProviderUnavailable
from rtseg.inference.engine import OrtEngine
from rtseg.inference.sessions import runtime_versions


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return graphs.double(tmp_path / "model.onnx")


def test_a_session_that_reports_other_providers_is_refused(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Faults(reports=[CPU]))
    with pytest.raises(ProviderUnavailable, match=r"provider 'cuda' cannot be used: the session does not report it"):
        OrtEngine(model, providers=("cuda",))


def test_a_graph_that_runs_mostly_on_the_cpu_is_refused(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Faults(assigned=[(CUDA, "Conv"), (CPU, "Resize"), (CPU, "Resize")]))
    with pytest.raises(ProviderUnavailable, match=r"2 of 3 nodes of model\.onnx would run on the CPU \(2 Resize, "):
        OrtEngine(model, providers=("cuda",))


def test_nodes_that_run_on_the_cpu_are_counted_aloud(
    model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install(monkeypatch, faults := Faults(assigned=[(CUDA, "Conv"), (CUDA, "Conv"), (CPU, "Resize")]))
    OrtEngine(model, providers=("cuda",))
    assert [record.getMessage() for record in caplog.records] == [
        "1 of 3 nodes of model.onnx run on the CPU (1 Resize, ...): tensors go over the bus there and back"
    ]
    caplog.clear()
    faults.assigned = [(CUDA, "Conv")]
    OrtEngine(model, providers=("cuda",))
    assert not caplog.records


def test_who_names_the_cpu_besides_gets_what_is_left_there(
    model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install(monkeypatch, Faults(assigned=[(CPU, "Resize")]))
    OrtEngine(model, providers=("cuda", "cpu"))
    assert "1 of 1 nodes of model.onnx run on the CPU" in caplog.text


def test_a_graph_that_cannot_be_captured_runs_without_capture_and_says_so(
    model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    message = "This session cannot use the graph capture feature as requested by the user: control flow\nmore"
    install(monkeypatch, faults := Faults(refuses={"enable_cuda_graph": message}))
    engine = OrtEngine(model, providers=("cuda",))
    ramp = np.ones((1, 2, 3, 4), np.float32)
    np.testing.assert_array_equal(engine({"x": ramp})["y"], 2 * ramp)
    assert not engine.cuda_graph
    assert "model.onnx runs without CUDA graphs, since it cannot be captured: This session cannot" in caplog.text
    assert [given["enable_cuda_graph"] for given in faults.options] == ["1", "0"]


def test_a_device_without_room_for_the_weights_is_full_not_missing(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, Faults(refuses={"do_copy_in_default_stream": NO_ROOM}))
    for providers in (("cuda",), ("auto",)):
        with pytest.raises(OutOfMemory, match=r"model\.onnx does not fit on cuda: CUDA failure 2: out of memory"):
            OrtEngine(model, providers=providers)


def test_the_callers_stream_and_device_reach_the_provider(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, faults := Faults())
    engine = OrtEngine(model, providers=("cuda",), device=1, stream=4096)
    (given,) = faults.options
    assert (given["device_id"], given["user_compute_stream"]) == ("1", "4096")
    assert engine.memory == ("cpu", 0)  # where these faulty devices have theirs


def test_auto_passes_over_what_does_not_work(
    model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install(monkeypatch, Faults(reports=[CPU]))
    with caplog.at_level(logging.INFO, logger="rtseg"):
        assert OrtEngine(model, providers=("auto",)).providers == ("cpu",)
    assert "auto: passed over cuda: provider 'cuda' cannot be used" in caplog.text


def test_the_versions_that_an_engine_depends_on_are_known() -> None:
    versions = runtime_versions()
    assert versions["onnxruntime"][0].isdigit()
    assert set(versions) <= {"onnxruntime", "cuda", "cudnn"}
