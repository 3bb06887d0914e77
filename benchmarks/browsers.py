"""A real Chromium whose camera plays a clip, and `rtseg studio` for it to talk to."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import av
import numpy as np

from rtseg.ops.arrays import U8

CLIP = "clips/people/sign_again.mkv"
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
    "--autoplay-policy=no-user-gesture-required",
)
SAMPLE = """([x, y]) => {
  const video = document.getElementById("after");
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0);
  return [...context.getImageData(Math.round(x * canvas.width), Math.round(y * canvas.height), 1, 1).data].slice(0, 3);
}"""


Draw: TypeAlias = Callable[[U8, int], None]


def chromium() -> str | None:
    """Debian's Chromium, or what RTSEG_CHROMIUM names."""
    return os.environ.get("RTSEG_CHROMIUM") or shutil.which("chromium")


def camera_file(
    clip: Path, folder: Path, *, size: tuple[int, int] = (640, 480), frames: int = 90, draw: Draw | None = None
) -> Path:
    """The beginning of a clip as the raw video that Chromium plays for a camera, again and again.

    draw: writes into the luma of a frame, HxW, given its number.
    """
    path = folder / "camera.y4m"
    width, height = size
    with av.open(str(clip)) as container, path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F30:1 Ip A1:1 C420jpeg\n".encode())
        for number, frame in enumerate(container.decode(video=0)):
            if number == frames:
                break
            small = frame.reformat(width=width, height=height, format="yuv420p")
            planes = np.array(small.to_ndarray(), np.uint8)
            if draw is not None:
                draw(planes[:height], number)
            file.write(b"FRAME\n" + planes.tobytes())
    return path


@contextmanager
def browser(
    folder: Path, *, camera: Path | None, refused: bool = False, flags: tuple[str, ...] = (), **options: Any
) -> Iterator[Any]:
    """A page of a Chromium of its own. camera: None for a computer without one. refused: the user says no."""
    from playwright.sync_api import sync_playwright

    program = chromium()
    assert program is not None, "needs Debian's chromium, or RTSEG_CHROMIUM"
    chosen = [*FLAGS, *flags]
    if camera is not None:
        chosen += ["--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={camera}"]
    if not refused:
        chosen.append("--use-fake-ui-for-media-stream")
    with sync_playwright() as driver:
        context = driver.chromium.launch_persistent_context(
            str(folder / "profile"),
            executable_path=program,
            args=chosen,
            ignore_default_args=["--enable-automation", "--headless", "--headless=old"],
            headless=True,
            accept_downloads=True,
            **options,
        )
        try:
            yield context.pages[0]
        finally:
            context.close()


@dataclass
class Studio:
    """`rtseg studio` in a process, with a folder of its own for temporary files."""

    process: subprocess.Popen[bytes]
    url: str
    temporary: Path


@contextmanager
def studio(folder: Path, *arguments: object, port: int = 0) -> Iterator[Studio]:
    """It, once it answers; killed at the end if it is still there."""
    log = folder / f"studio-{time.monotonic_ns()}.log"
    command = [sys.executable, "-m", "rtseg", "studio", "--port", str(port), *map(str, arguments)]
    temporary = folder / "temporary"
    temporary.mkdir(exist_ok=True)
    with log.open("wb") as out:
        environment = {**os.environ, "TMPDIR": str(temporary)}
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=folder, env=environment)
    try:
        end = time.monotonic() + 60
        while (found := re.search(r"the studio is at (http://\S+/)studio/", log.read_text())) is None:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.05)
        yield Studio(process, found[1], temporary)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def until(page: Any, condition: Callable[[], object], *, seconds: float = 20.0) -> None:
    """Wait for something of a page, which goes on meanwhile."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        page.wait_for_timeout(50)


def colour_at(page: Any, x: float, y: float) -> U8:
    """RGB of the picture that came back, at a place of 0..1."""
    return np.asarray(page.evaluate(SAMPLE, [x, y]), np.uint8)
