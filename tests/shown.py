"""Runs in a display of its own (`xvfb-run python shown.py FOLDER`): a window, its pixels, its keys, its end.

FOLDER is where Xvfb keeps its picture (-fbdir). Prints what happened as JSON.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from rtseg.ops.arrays import U8  # OpenCV before PyAV: see rtseg/sinks/window.py
from rtseg.sinks.window import Window
from rtseg.types import Frame


def screen(folder: Path) -> Any:
    """The display's pixels, RGB; the file is in the format of xwd."""
    data = (folder / "Xvfb_screen0").read_bytes()
    head = struct.unpack(">25I", data[:100])
    width, height, pitch, colours = head[4], head[5], head[12], head[19]
    pixels = np.frombuffer(data, np.uint8, pitch * height, head[0] + 12 * colours).reshape(height, pitch // 4, 4)
    return pixels[:, :width, 2::-1]


def windows() -> list[str]:
    """Those of the display that are called rtseg."""
    command = ["xdotool", "search", "--onlyvisible", "--name", "^rtseg$"]
    return subprocess.run(command, capture_output=True, check=False, text=True).stdout.split()


def show(folder: Path, rgb: U8, seen: dict[str, Any]) -> None:
    """Write pictures until a key came, as a runner does: all in a thread that is not the main one."""
    from written import output_of

    keys: list[str] = []
    sink = Window(on_key=keys.append)
    for i in range(100):
        sink.write(output_of(Frame.from_rgb(rgb)))
        time.sleep(0.02)
        if i == 10:
            seen["open"] = windows()
            subprocess.run(["xdotool", "mousemove", "60", "60", "key", "q"], check=True)
        if i > 10 and keys:
            break
    seen["pixels"] = screen(folder)[[120, 120], [40, 280]].tolist()
    sink.close()
    sink.close()
    time.sleep(0.1)
    seen.update(keys=keys, left=windows(), frames=sink.frames)


def main(folder: Path) -> dict[str, Any]:
    """Two colours side by side."""
    rgb = np.zeros((240, 320, 3), np.uint8)
    rgb[:, :160], rgb[:, 160:] = (200, 40, 40), (40, 60, 200)
    seen: dict[str, Any] = {}
    thread = threading.Thread(target=show, args=(folder, rgb, seen))
    thread.start()
    thread.join(20)
    return seen


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
