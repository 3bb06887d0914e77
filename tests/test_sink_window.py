"""A window on a screen, and what is said where there is none."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from written import moving_frame, output_of

from rtseg.errors import DependencyMissing, SinkFailed
from rtseg.sinks import window
from rtseg.sinks.window import Window, hangs, has_display

ROOT = Path(__file__).resolve().parent.parent


def test_without_a_screen_the_browser_is_named_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "has_display", lambda: False)
    with pytest.raises(DependencyMissing, match="neither DISPLAY nor WAYLAND_DISPLAY is set; use mjpeg:8090"):
        Window()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [({}, False), ({"DISPLAY": ""}, False), ({"DISPLAY": ":0"}, True), ({"WAYLAND_DISPLAY": "wayland-0"}, True)],
)
def test_a_screen_is_what_the_environment_names(environment: dict[str, str], expected: bool) -> None:
    assert has_display(environment) is expected


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if there were a screen, whatever was imported first."""
    monkeypatch.setattr(window, "has_display", lambda: True)
    monkeypatch.setattr(window, "hangs", lambda _maps: False)


@pytest.mark.usefixtures("screen")
def test_an_opencv_without_windows_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise cv2.error("The function is not implemented. Rebuild the library with Windows, GTK+ 2.x or Cocoa support")

    monkeypatch.setattr(cv2, "namedWindow", refuse)
    with pytest.raises(DependencyMissing, match="opencv-python-headless"):
        Window().write(output_of(moving_frame(0)))


@pytest.mark.usefixtures("screen")
def test_a_closed_window_takes_no_picture() -> None:
    sink = Window()
    sink.close()
    with pytest.raises(SinkFailed, match="is closed"):
        sink.write(output_of(moving_frame(0)))


def in_display(folder: Path, *command: str) -> tuple[int, str, str]:
    """What a Python program says in a display of its own, all of whose processes have ended."""
    if shutil.which("xvfb-run") is None or shutil.which("xdotool") is None:
        pytest.skip("no display to make: apt install xvfb xauth xdotool")
    process = subprocess.Popen(
        ["xvfb-run", "-a", "-s", f"-screen 0 640x480x24 -fbdir {folder}", sys.executable, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
    )
    try:
        said, errors = process.communicate(timeout=40)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return process.returncode, said, errors


def test_a_window_shows_pictures_and_tells_of_keys(tmp_path: Path) -> None:
    code, said, errors = in_display(tmp_path, str(ROOT / "tests" / "shown.py"), str(tmp_path))
    assert code == 0, errors
    seen = json.loads(said.splitlines()[-1])
    assert seen["keys"] == ["q"], errors
    assert len(seen["open"]) == 1
    assert seen["left"] == []
    assert seen["frames"] > 10
    for pixel, expected in zip(seen["pixels"], [(200, 40, 40), (40, 60, 200)], strict=True):
        assert pixel == pytest.approx(expected, abs=3)  # there and back through YUV


@pytest.mark.skipif(sys.platform != "linux", reason="only there the packages bring libraries that clash")
def test_a_window_that_would_hang_is_refused(tmp_path: Path) -> None:
    program = "import av, cv2\nfrom rtseg.sinks.window import Window\nWindow()"
    code, _, errors = in_display(tmp_path, "-c", program)
    assert code == 1
    assert "put `import cv2` first" in errors


@pytest.mark.parametrize(
    ("maps", "expected"),
    [
        ("7f site-packages/av.libs/libxcb-shm-1.so\n7f site-packages/opencv_python.libs/libQt5Core.so", True),
        ("7f site-packages/av.libs/libxcb-1.so\n7f site-packages/opencv_python.libs/libxcb-shm-1.so", False),
        (
            "7f site-packages/av.libs/libxcb-shm-1.so\n7f site-packages/opencv_contrib_python.libs/libxcb-shm-1.so",
            False,
        ),
        ("7f /usr/lib/x86_64-linux-gnu/libxcb-shm.so.0", False),
        ("", False),
    ],
)
def test_libraries_decide_whether_a_window_would_hang(maps: str, expected: bool) -> None:
    assert hangs(maps) is expected


@pytest.mark.usefixtures("screen")
def test_a_window_that_is_closed_by_hand_takes_pictures_and_shows_none(monkeypatch: pytest.MonkeyPatch) -> None:
    visible, shown = [1.0, 0.0], list[str]()
    for name in ("namedWindow", "resizeWindow", "destroyWindow"):
        monkeypatch.setattr(cv2, name, lambda *_: None)
    monkeypatch.setattr(cv2, "waitKey", lambda _: -1)
    monkeypatch.setattr(cv2, "imshow", lambda title, _: shown.append(title))
    monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: visible.pop(0))
    with Window(title="preview") as sink:
        for i in range(5):
            sink.write(output_of(moving_frame(i)))
    assert shown == ["preview", "preview"]
    assert (sink.frames, sink.closed_by_hand) == (2, True)
