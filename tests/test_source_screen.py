"""The screen as a source: a virtual one by Xvfb, with a window whose colour is known."""

from __future__ import annotations

import itertools
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator

import cv2  # before PyAV, as everywhere in rtseg: what taking the screen in this process would not survive
import numpy as np
import pytest

from rtseg.errors import ConfigError, SourceUnreadable
from rtseg.sources.screen import Screen, screen_address

linux = pytest.mark.skipif(sys.platform != "linux", reason="x11grab is Linux's")


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    """An Xvfb of 320x200 that picks a free number itself."""
    if shutil.which("Xvfb") is None:
        pytest.skip("Xvfb is not installed (package xvfb)")
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "320x200x24", "-nolisten", "tcp", "-br"]
    server = subprocess.Popen(command, pass_fds=[writing], stderr=subprocess.DEVNULL)
    os.close(writing)
    try:
        ready, _, _ = select.select([reading], [], [], 20)
        number = os.read(reading, 16).decode().strip() if ready else ""
        assert number, "Xvfb did not start"
        yield f":{number}"
    finally:
        os.close(reading)
        server.kill()
        server.wait(10)


@linux
@pytest.mark.parametrize(("size", "seen"), [(None, (320, 200)), ((64, 48), (64, 48))])
def test_the_screen_is_read(display: str, size: tuple[int, int] | None, seen: tuple[int, int]) -> None:
    source = (
        Screen(display=display, size=size, offset=(8, 4), rate=20, attempts=1)
        if size
        else Screen(display=display, rate=20, attempts=1, cursor=False)
    )
    frames = []
    for frame in source:
        frames.append(frame)
        if len(frames) == 4:
            break
    assert {frame.size for frame in frames} == {seen}
    assert int(np.median(frames[-1].rgb)) == 0  # the black root window
    steps = [b.pts - a.pts for a, b in itertools.pairwise(frames)]
    assert all(step > 0 for step in steps)


@linux
def test_a_screen_that_is_not_there_is_no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(ConfigError, match="there is no display: set DISPLAY"):
        Screen()
    with pytest.raises(ConfigError, match="there is no display 'file:/etc': set DISPLAY"):
        Screen(display="file:/etc")


@linux
def test_what_ffmpeg_is_told() -> None:
    address = screen_address(":7.0", size=(640, 360), offset=(10, 20), rate=15, cursor=False)
    assert (address.url, address.format) == (":7.0", "x11grab")
    assert address.options == {
        "framerate": "15",
        "video_size": "640x360",
        "grab_x": "10",
        "grab_y": "20",
        "draw_mouse": "0",
    }


@linux
def test_a_display_that_is_not_there_is_told_by_name() -> None:
    assert cv2.__version__
    with pytest.raises(SourceUnreadable, match=r"screen :987 cannot be read: \w+"):
        Screen(display=":987", attempts=1)
