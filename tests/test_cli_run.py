from __future__ import annotations

import contextlib
import json
import logging
import os
import pty
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import cv2
import pytest
from commands import ENDLESS, PATTERN, RTSEG, Rtseg, broken_picture, portrait_photo, runner, start

from rtseg.cli.progress import expected_frames
from rtseg.types import StreamInfo


@pytest.fixture
def rtseg(capsys: pytest.CaptureFixture[str]) -> Rtseg:
    return runner(capsys)


@pytest.fixture
def clip(rtseg: Rtseg, tmp_path: Path) -> Path:
    path = tmp_path / "in.mp4"
    assert rtseg("run", PATTERN, "-o", path, "--background", "none", "-q").code == 0
    return path


def frames_of(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_a_video_comes_out_and_the_last_line_says_what_it_took(rtseg: Rtseg, clip: Path, tmp_path: Path) -> None:
    result = rtseg("run", clip, "-o", tmp_path / "out.mp4")
    assert result.code == 0
    assert result.out == ""
    assert "━" not in result.err, "this is no terminal"
    assert result.err.splitlines()[-1].startswith("done: 5 of 5 frames in ")
    assert frames_of(tmp_path / "out.mp4") == 5


def test_json_is_one_object_and_all_that_is_said(rtseg: Rtseg, clip: Path, tmp_path: Path) -> None:
    result = rtseg("run", clip, "--masks", tmp_path / "masks", "--json")
    assert (result.code, result.err) == (0, "")
    stats = result.json
    assert (stats["status"], stats["frames_in"], stats["frames_out"], stats["model"]) == ("done", 5, 5, "portrait")
    assert {"read", "segment", "filter", "write", "latency"} <= set(stats["stages"])
    assert len(list((tmp_path / "masks").glob("*.png"))) == 5


def test_records_go_to_standard_output(rtseg: Rtseg, clip: Path) -> None:
    result = rtseg("run", clip, "--records", "-", "--quiet")
    assert (result.code, result.err) == (0, "")
    assert [json.loads(line)["index"] for line in result.out.splitlines()] == [0, 1, 2, 3, 4]


def test_an_overlay_alone_takes_the_road_model(rtseg: Rtseg, tmp_path: Path) -> None:
    result = rtseg("run", PATTERN, "-o", tmp_path / "out.mp4", "--overlay", "road", "--json")
    assert (result.code, result.json["model"]) == (0, "road")


def test_one_picture_becomes_one_picture(rtseg: Rtseg, tmp_path: Path) -> None:
    photo = portrait_photo(tmp_path / "photo.jpg")
    assert rtseg("run", photo, "-o", tmp_path / "cut.png", "--background", "transparent").code == 0
    cut = cv2.imread(str(tmp_path / "cut.png"), cv2.IMREAD_UNCHANGED)
    assert cut is not None
    assert cut.shape == (90, 120, 4)
    assert (cut[..., 3].min(), cut[..., 3].max()) == (0, 255)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cut.png", "photo.jpg"]


def test_pictures_of_a_folder_keep_their_names(rtseg: Rtseg, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("b.jpg", "a.jpg"):
        portrait_photo(tmp_path / "in" / name)
    assert rtseg("run", tmp_path / "in", "-o", tmp_path / "out").code == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.png", "b.png"]


def test_a_broken_picture_makes_the_run_partial(rtseg: Rtseg, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    portrait_photo(tmp_path / "in" / "a.jpg")
    broken_picture(tmp_path / "in" / "b.png")
    result = rtseg("run", tmp_path / "in", "--masks", tmp_path / "out", "--quiet")
    assert result.code == 7
    assert "partial: 1 of 1 frames" in result.err
    assert "1 broken images" in result.err


def test_an_output_that_exists_is_replaced(rtseg: Rtseg, clip: Path, tmp_path: Path) -> None:
    written = tmp_path / "out.mp4"
    written.write_bytes(b"what was here before")
    assert rtseg("run", clip, "-o", written).code == 0
    assert frames_of(written) == 5


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("in.mp4", 2, "nothing to write: give an output (-o out.mp4)"),
        ("-o out.mp4", 2, "nothing to read: give an input"),
        ("missing.mp4 -o out.mp4", 5, "missing.mp4"),
        ("in.mp4 -o nowhere/out.mp4", 6, "does not exist: make it first"),
        ("in.mp4 -o out.xyz", 2, "does not say what kind of video to write"),
        ("in.mp4 -o out.mp4 --codec divx", 2, "unknown codec 'divx': use auto, h264"),
        ("in.mp4 -o out.webm --codec h264", 2, "webm cannot hold h264"),
        ("in.mp4 -o out/ --codec h264", 2, "needs an output that is a video"),
        ("in.mp4 -o out.png", 2, "is one picture, but the input gives many"),
        ("in.mp4 -o out.mp4 --model portait", 3, "did you mean portrait"),
        ("in.mp4 -o out.mp4 --background sea", 2, "unknown background 'sea': use blur"),
        ("in.mp4 -o out.mp4 --background sea.jpg", 5, "sea.jpg"),
        ("in.mp4 -o out.mp4 --background blur --model road", 2, "a background needs a person"),
        ("in.mp4 -o out.mp4 --overlay wheels", 2, "has no 'wheels': choose from drivable, lane"),
        ("in.mp4 -o out.mp4 --filters smoth", 2, "'smoth' is unknown: use one of refine, smooth"),
        ("in.mp4 -o out.mp4 --providers qpu", 2, "unknown provider qpu"),
        ("in.mp4 -o out.mp4 --start 3 --end 2", 2, "end 2 s must be after start 3 s"),
        ("sample -o out.mp4 --start 3", 2, "start and end cut videos"),
        ("in.mp4 -o out.mp4 --config none.toml", 2, "none.toml does not exist"),
        ("in.mp4 --records - --json", 2, "both write to standard output"),
        ("in.mp4 -o in.mp4", 2, "would replace the input in.mp4"),
        ("in.mp4 --records ./in.mp4", 2, "would replace the input in.mp4"),
        ("in.mp4 -o frames/ --masks frames", 2, "two outputs go to frames"),
        ("synthetic:nonsense -o out.mp4", 2, "may not use nonsense"),
    ],
)
def test_what_cannot_be_is_one_line_and_leaves_nothing(
    rtseg: Rtseg, clip: Path, monkeypatch: pytest.MonkeyPatch, arguments: str, code: int, message: str
) -> None:
    monkeypatch.chdir(clip.parent)
    before = clip.read_bytes()
    result = rtseg("run", *arguments.split())
    assert result.code == code
    assert message in result.error()
    assert result.out == ""
    assert clip.read_bytes() == before
    assert [path.name for path in clip.parent.iterdir()] == ["in.mp4"]


def test_an_option_that_does_not_exist_is_shown_with_the_usage(rtseg: Rtseg) -> None:
    result = rtseg("run", "in.mp4", "--bakground", "blur")
    assert result.code == 2
    assert "--bakground" in result.err
    assert "Traceback" not in result.err


def test_a_fault_of_ours_is_one_line_and_a_log_file(
    rtseg: Rtseg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("rtseg.build.build", lambda _config: 1 // 0)
    result = rtseg("run", PATTERN, "-o", tmp_path / "out.mp4")
    assert result.code == 1
    (log,) = tmp_path.glob("rtseg-*.log")
    assert f"internal error: ZeroDivisionError: integer division or modulo by zero (the traceback is in {log}" in (
        result.error()
    )
    assert "Traceback (most recent call last)" in log.read_text()


def test_a_package_that_is_missing_is_named_with_its_cure(rtseg: Rtseg, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage.data", None)
    result = rtseg("run", "sample", "--records", "-")
    assert result.code == 2
    assert "pip install 'rtseg[demo]'" in result.error()


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ModuleNotFoundError("No module named 'av'", name="av"), 2, "pip install --force-reinstall rtseg"),
        (ImportError("libGL.so.1: cannot open shared object file"), 2, "apt install libgl1 libglib2.0-0"),
        (ImportError("cannot import name 'Frmae' from 'rtseg.types'", name="rtseg.types"), 1, "internal error"),
    ],
)
def test_an_import_that_fails_is_theirs_or_ours(
    rtseg: Rtseg, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: ImportError, code: int, message: str
) -> None:
    def build(_config: object) -> None:
        raise error

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("rtseg.build.build", build)
    result = rtseg("run", PATTERN, "--records", "-")
    assert result.code == code
    assert message in result.error()


@pytest.mark.parametrize(
    ("info", "frames"),
    [
        (StreamInfo("a", frames=90, seconds=3.0, rate=Fraction(30)), 90),
        (StreamInfo("a", frames=90, seconds=3.0, rate=Fraction(30), start=1.0), 60),
        (StreamInfo("a", frames=90, seconds=3.0, rate=Fraction(30), start=1.0, end=1.5), 15),
        (StreamInfo("a", frames=90, seconds=3.0, rate=Fraction(30), end=9.0), 90),
        (StreamInfo("a", seconds=3.0, rate=Fraction(30)), 90),
        (StreamInfo("a", frames=90, start=1.0), None),
        (StreamInfo("a"), None),
    ],
)
def test_the_bar_knows_how_many_frames_a_cut_has(info: StreamInfo, frames: int | None) -> None:
    assert expected_frames(info) == frames


def test_warnings_are_lines_of_their_own_and_quiet_hides_them(rtseg: Rtseg, capsys: pytest.CaptureFixture[str]) -> None:
    assert rtseg("models", "list").code == 0
    logging.getLogger("rtseg.sources").warning("turned by\n7 degrees")
    assert capsys.readouterr().err == "warning: turned by 7 degrees\n"
    assert rtseg("run", "missing.mp4", "--records", "-", "-q").code == 5
    logging.getLogger("rtseg.sources").warning("turned by 7 degrees")
    assert capsys.readouterr().err == ""


def test_progress_is_drawn_on_a_terminal(tmp_path: Path) -> None:
    terminal, end = pty.openpty()
    command = [*RTSEG, "run", PATTERN, "--masks", str(tmp_path)]
    child = subprocess.Popen(command, stderr=end, env={**os.environ, "TERM": "xterm", "COLUMNS": "120"})
    os.close(end)
    said = b""
    with contextlib.suppress(OSError):  # that is how Linux says that nobody writes any more
        while more := os.read(terminal, 4096):
            said += more
    os.close(terminal)
    assert child.wait(20) == 0
    lines = said.decode()
    assert "━" in lines
    assert " fps " in lines
    assert "done: 5 of 5 frames" in lines


def test_a_reader_who_leaves_is_no_error() -> None:
    child = start("run", ENDLESS, "--records", "-")
    assert child.stdout
    assert child.stderr
    assert json.loads(child.stdout.readline())["index"] == 0
    child.stdout.close()
    assert child.wait(20) == 141
    assert child.stderr.read() == ""
    child.stderr.close()


def test_help_imports_nothing_heavy_and_shows_an_example() -> None:
    code = (
        "import sys\n"
        "from rtseg.cli.main import main\n"
        "try: main(['run', '--help'])\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'numpy', 'cv2', 'av', 'onnx', 'onnxruntime', 'rtseg.config'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Example: rtseg run" in done.stdout


def test_the_version_is_that_of_the_package(rtseg: Rtseg) -> None:
    import rtseg as package

    assert rtseg("--version").out == f"rtseg {package.__version__}\n"
