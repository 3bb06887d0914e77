from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest
from commands import PATTERN, Rtseg, runner

import rtseg as package
from rtseg.bench.results import FORMAT


@pytest.fixture
def rtseg(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Rtseg:
    monkeypatch.setenv("RTSEG_CACHE", str(tmp_path / "cache"))
    return runner(capsys)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Nine frames of the sample, small."""
    source = {"type": "sample", "seconds": 0.9, "size": [320, 180], "rate": 10}
    package.run(None, tmp_path / "in.mp4", config=package.parse_config({"source": source}), background="none")
    return tmp_path / "in.mp4"


def test_a_glance_measures_with_and_without_an_encoder(rtseg: Rtseg, clip: Path) -> None:
    result = rtseg("bench", clip, "--json", "--end", 0.5)
    assert (result.code, result.err) == (0, "")
    runs = result.json["runs"]
    assert list(runs) == ["no output", "h264 ultrafast"]
    for run in runs.values():
        assert run["frames"] == run["frames_out"] == 5
        assert 0 < run["cpu_ms"] < 10_000
        assert run["latency_p99_ms"] >= run["latency_p50_ms"] > 0
        assert {"read", "segment", "composite", "write"} <= set(run["stages"])
    assert 50 < result.json["peak_mb"] < 4000


def test_a_glance_prints_a_table_of_stages_and_one_of_runs(rtseg: Rtseg) -> None:
    result = rtseg("bench", PATTERN, "--overlay", "all", "--model", "road-fast")
    assert result.code == 0
    words = result.out.split()
    assert words.count("segment") == 2
    assert "CPU-ms" in words
    assert "peak memory" in result.out


@pytest.mark.slow
def test_everything_is_measured_and_written_down(rtseg: Rtseg, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "others.json").write_text(json.dumps({"title": "720p", "median": {"a loop": {"cpu_ms": 33.3}}}))
    more = ("--frames", 12, "--size", "160x90", "--input", clip, "--peers", tmp_path / "others.json")
    result = rtseg("bench", clip, "--quick", "-o", tmp_path / "out" / "bench", *more, "--json")
    assert (result.code, result.err) == (0, "")
    found = result.json
    assert json.loads((tmp_path / "out" / "bench" / "bench.json").read_text()) == found
    assert (found["format"], found["input"], found["background"]) == (FORMAT, "in.mp4", "blur")
    assert list(found["sizes"]) == ["160x90"]
    size = found["sizes"]["160x90"]
    assert {name: report["frames"] for name, report in size["programs"].items()} == {
        "floor": 12, "network": 12, "every": 12, "adaptive": 12
    }  # fmt: skip
    programs = {name: report["cpu_ms"] for name, report in size["programs"].items()}
    assert size["to_limit"] == pytest.approx(programs["every"] / (programs["floor"] + programs["network"]))
    assert {kind: report["frames"] + report["dropped"] for kind, report in size["paced"].items()} == {
        "every": 12, "adaptive": 12
    }  # fmt: skip
    assert set(size["stages"]) >= {"decode", "network", "composite", "encode"}
    assert [(clip["clip"], clip["fidelity"]["frames"]) for clip in found["clips"]] == [("in", 9)]
    assert 0.9 < found["clips"][0]["fidelity"]["iou"] <= 1
    assert len(found["start"]["imports"]) == len(found["start"]["first_frames"]) == 3
    assert found["engine"]["network"]["device"] == "cpu"
    assert found["streams"] is None
    assert "streams at once" in found["unmeasured"]
    page = (tmp_path / "out" / "bench" / "bench.md").read_text()
    assert "| a loop | 33.30 |" in page
    for name in ("whole", "stages", "latency", "adaptive"):
        assert f"({name}.png)" in page
        picture = cv2.imread(str(tmp_path / "out" / "bench" / f"{name}.png"))
        assert picture is not None
        assert picture.shape[1] == 1200
    assert [path.suffix for path in (tmp_path / "cache" / "bench").iterdir()] == [".mp4"], "only the clip is kept"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--size", "721x3"), 2, "'721x3' must be one of 360p, 720p, 1080p, 4K"),
        (("--input", "nowhere"), 5, "nowhere does not exist"),
        (("--peers", "nowhere.json"), 2, "nowhere.json is no JSON of peers"),
        (("--quick", "--model", "nobody"), 3, "no model is called 'nobody'"),
        (("--quick", "--config", "missing.toml"), 2, "missing.toml does not exist"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_measured(
    rtseg: Rtseg, tmp_path: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    result = rtseg("bench", "sample", *arguments)
    assert result.code == code
    assert says in result.error()
    assert not (tmp_path / "cache").exists()
