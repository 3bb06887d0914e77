"""Which analyzers a drive has, and what is wrong known before anything is written."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from commands import runner

from rtseg.archive.analysis import Analysis, analysis_of, check_installed
from rtseg.archive.batch import batch
from rtseg.archive.drive import drive
from rtseg.archive.options import DriveOptions
from rtseg.errors import ConfigError, DependencyMissing


@pytest.fixture
def without_trackers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trackers", None)
    for name in ("rtseg.driving.tracking", "rtseg.driving.obstacles"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_lanes_come_before_obstacles_and_are_told_the_lens() -> None:
    pytest.importorskip("trackers", reason="rtseg[driving] is not installed")
    lens = DriveOptions(height=1.4, fov=70.0, analyzers=("obstacles", "lanes"))
    told = {"type": "lanes", "height": 1.4, "fov": 70.0}
    assert analysis_of(lens) == Analysis((told, {"type": "obstacles"}))
    assert analysis_of(DriveOptions(height=1.4)).tables[0] == {"type": "lanes", "height": 1.4}
    alone = DriveOptions(height=1.4, fov=70.0, analyzers=("obstacles",), detector="yolox-nano")
    told = {"type": "obstacles", "detector": {"name": "yolox-nano"}, "height": 1.4, "fov": 70.0}
    assert analysis_of(alone).tables == (told,)


def test_a_camera_that_is_told_twice_or_by_half_is_refused() -> None:
    with pytest.raises(ConfigError, match="leave it or height out"):
        analysis_of(DriveOptions(calibration=Path("camera.toml"), height=1.4))
    with pytest.raises(ConfigError, match="need both the camera's height and its fov"):
        analysis_of(DriveOptions(fov=70.0, analyzers=("obstacles",)))
    with pytest.raises(ConfigError, match=r"no analyzer here takes the height 1\.4"):
        analysis_of(DriveOptions(height=1.4, analyzers=()))


def test_what_the_model_knows_nothing_of_is_left_out_and_said() -> None:
    made = analysis_of(DriveOptions(model="twinlitenet"))
    assert [table["type"] for table in made.tables] == ["lanes"]
    assert made.notes[0].startswith("no obstacles: the model 'twinlitenet' knows no vehicles")
    boxes = analysis_of(DriveOptions(model="twinlitenet", detector="yolox-nano"))
    assert [table["type"] for table in boxes.tables] == ["lanes", "obstacles"]
    assert boxes.notes == ()
    with pytest.raises(ConfigError, match="give a --detector, such as yolox-nano"):
        analysis_of(DriveOptions(model="twinlitenet", analyzers=("lanes", "obstacles")))
    with pytest.raises(ConfigError, match="'nuclei' knows no lane lines"):
        analysis_of(DriveOptions(model="nuclei"))


def test_a_missing_extra_is_told_before_anything_is_written(tmp_path: Path, without_trackers: None) -> None:
    given, out = tmp_path / "street.mp4", tmp_path / "out"
    given.write_bytes(b"")
    message = r"obstacles: .*: pip install 'rtseg\[driving\]'; or leave them out: --analyzers lanes"
    with pytest.raises(DependencyMissing, match=message):
        drive(given, out)
    with pytest.raises(DependencyMissing, match=message):
        batch(str(tmp_path), out)
    assert not out.exists()
    assert analysis_of(DriveOptions(analyzers=("lanes",))).tables == ({"type": "lanes"},)


def test_libraries_of_outputs_are_looked_for_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    for options, extra in ((DriveOptions(parquet=True), "parquet"), (DriveOptions(kafka="a:1"), "kafka")):
        with pytest.raises(DependencyMissing, match=rf"rtseg\[{extra}\]"):
            check_installed(options)
        with pytest.raises(DependencyMissing, match=rf"rtseg\[{extra}\]"):
            batch(str(tmp_path), tmp_path / "out", options)
    check_installed(DriveOptions())
    assert not (tmp_path / "out").exists()


def test_the_command_takes_a_lens_and_analyzers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rtseg = runner(capsys)
    lens = ("--height", "1.2", "--fov", "80", "--analyzers", "lanes", "--model", "road-fast", "--no-report")
    source = "synthetic:testsrc2=size=160x90:rate=10:duration=0.3"
    done = rtseg("drive", source, "-o", tmp_path / "out", *lens, "--json")
    assert (done.code, done.json["analyzers"]) == (0, ["lanes"])
    assert '"height":1.2,' in (tmp_path / "out" / "frames.jsonl").read_text()
    assert '"view":"lens"' in (tmp_path / "out" / "frames.jsonl").read_text()
    assert rtseg("drive", source, "-o", tmp_path / "no", "--height", "9").code == 2
    done = rtseg("batch", tmp_path, "-o", tmp_path / "no", "--as", "run", "--fov", "60")
    assert "--fov is of rtseg drive" in done.error()
