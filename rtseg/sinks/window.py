"""A preview window on the screen, where there is one."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

import cv2

from rtseg.errors import ConfigError, DependencyMissing, SinkFailed
from rtseg.types import Output

_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")


def has_display(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether there is a screen: asked first, since OpenCV ends the process where there is none."""
    return sys.platform != "linux" or any(environment.get(name) for name in _DISPLAYS)


def hangs(maps: str) -> bool:
    """Whether, by the libraries that a process has mapped, OpenCV would wait for ever when it opens a window.

    The packages of PyAV and OpenCV each bring their own libxcb. OpenCV's windows go with PyAV's only when OpenCV was
    imported first (https://github.com/PyAV-Org/PyAV/issues/978).
    """
    bundled = re.findall(r"/(\w+)\.libs/libxcb-shm", maps)
    return "av" in bundled and not any(name.startswith("opencv") for name in bundled)


class Window:
    r"""Shows each output's picture in a window.

    on_key: called with the character of each key that is pressed in the window, such as "q" or "\x1b" for Escape, in
    the thread that writes. title: of the window; two windows need two titles. The window is made with the first
    picture, has its size and can be resized; when it is closed by hand, `closed_by_hand` is true, pictures are dropped,
    and `on_key` is told "q", as if that had been pressed.

    All writes and `close` must come from one thread, on macOS from the main one. Raises ConfigError where av was
    imported before cv2, DependencyMissing without a screen or with an OpenCV that has no windows
    (opencv-python-headless), SinkFailed where OpenCV cannot show a picture. A screen that goes away ends the process:
    that is how the toolkit takes it.
    """

    def __init__(self, *, title: str = "rtseg", on_key: Callable[[str], None] | None = None) -> None:
        if not has_display():
            raise DependencyMissing(
                f"there is no screen to show a window on: neither {' nor '.join(_DISPLAYS)} is set; use mjpeg:8090 "
                "and look at it in a browser"
            )
        if sys.platform == "linux" and hangs(Path("/proc/self/maps").read_text()):
            raise ConfigError(
                "av was imported before cv2, and OpenCV's windows would hang: put `import cv2` first in your program"
            )
        self.frames = 0
        self.closed_by_hand = False
        self.on_key = on_key
        self._title = title
        self._open = False
        self._closed = False

    def write(self, output: Output, /) -> None:
        """Show `output.picture`, and tell of the keys that were pressed."""
        if self._closed:
            raise SinkFailed(f"the window {self._title!r} is closed: nothing more can be shown in it")
        if self.closed_by_hand:
            return
        try:
            self._show(output)
        except cv2.error as error:
            if "not implemented" in str(error):
                raise DependencyMissing(
                    "this OpenCV has no windows: pip uninstall opencv-python-headless, pip install opencv-python"
                ) from error
            raise SinkFailed(
                f"the window {self._title!r} cannot be shown ({error.err}): is the screen there?"
            ) from error

    def close(self) -> None:
        """Close the window."""
        self._closed = True
        if self._open:
            self._open = False
            cv2.destroyWindow(self._title)
            cv2.waitKey(1)  # the toolkit closes it only now

    def _show(self, output: Output) -> None:
        if not self._open:
            cv2.namedWindow(self._title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
            cv2.resizeWindow(self._title, *output.picture.size)
            self._open = True
        elif cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1:
            self.closed_by_hand, self._open = True, False
            if self.on_key is not None:
                self.on_key("q")
            return
        cv2.imshow(self._title, output.picture.bgr)
        self.frames += 1
        key = cv2.waitKey(1)
        if key > 0 and self.on_key is not None:
            self.on_key(chr(key & 0xFF))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
