"""`rtseg stream`, `webcam` and `streams` as people use them: with keys, signals and mistakes."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import pytest

from rtseg.cli.live import _options
from rtseg.live.scene import Scene

PATTERN = "synthetic:testsrc2=size=160x96:rate=30"


def rtseg(*arguments: str, stdin: int | None = None, stderr: int | None = subprocess.PIPE) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "rtseg", *arguments], stdin=stdin, stderr=stderr)


def frames_of(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_stream_and_its_file_is_whole(tmp_path: Path, number: int, code: int) -> None:
    out = tmp_path / "out.mkv"
    process = rtseg("stream", PATTERN, "--to", str(out), "--loop", stdin=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 30
        while not out.with_name("out.mkv.part").exists():
            assert process.poll() is None, "it ended"
            assert time.monotonic() < end, "nothing was written"
            time.sleep(0.05)
        time.sleep(1)
        process.send_signal(number)
        process.communicate(timeout=10)
        assert process.returncode == code
    finally:
        process.kill()
        process.communicate()
    assert frames_of(out) > 5
    assert list(tmp_path.iterdir()) == [out]


def test_a_stream_ends_with_its_file_and_says_nothing_when_quiet(tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    process = rtseg("stream", str(clip(tmp_path)), "--to", str(out), "--background", "#00ff00", "-q")
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, b"")
    assert frames_of(out) >= 20
    with av.open(str(out)) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert picture[..., 1].mean() > 200  # a test pattern has nobody in it


def clip(folder: Path) -> Path:
    path = folder / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for index in range(30):
            frame = av.VideoFrame(160, 96, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([60 + index]) * plane.buffer_size)
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_keys_in_a_terminal_change_the_picture_and_end_the_stream(tmp_path: Path) -> None:
    out = tmp_path / "out.mkv"
    keyboard, terminal = pty.openpty()
    process = rtseg("stream", PATTERN, "--to", str(out), "--background", "blur", stdin=terminal, stderr=terminal)
    os.close(terminal)
    try:
        said = read_until(keyboard, b"space slate")
        read_until(keyboard, b"live")
        os.write(keyboard, b"b")
        time.sleep(1.5)
        os.write(keyboard, b"q")
        assert process.wait(15) == 0, said
    finally:
        process.kill()
        process.wait()
        os.close(keyboard)
    with av.open(str(out)) as container:
        last = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)][-1]
    assert abs(last.mean(axis=(0, 1)) - (0, 177, 64)).max() < 12


def read_until(terminal: int, expected: bytes, *, seconds: float = 30.0) -> str:
    text, end = b"", time.monotonic() + seconds
    while expected not in text:
        assert time.monotonic() < end, f"the terminal does not show {expected!r}: {text!r}"
        if select.select([terminal], [], [], 0.5)[0]:
            text += os.read(terminal, 4096)
    return text.decode(errors="replace")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("stream", PATTERN), "nothing to send to"),
        (("stream", PATTERN, "--to", "nowhere"), "'nowhere' is no output"),
        (("stream", "missing.mp4", "--to", "out.mp4"), "missing.mp4"),
        (("stream", PATTERN, "--to", "out.mp4", "--background", "transparent"), "no transparency"),
        (("stream", PATTERN, "--to", "out.mp4", "--lowest", "none"), "lowest = 'none'"),
        (("stream", PATTERN, "--to", "rtmp://me:secret@"), "no host"),
        (("webcam", "/dev/video99", "--to", "out.mp4"), "/dev/video99"),
        (("streams", "missing.toml"), "missing.toml does not exist"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rtseg", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in (2, 5)
    assert message in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "secret" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_streams_of_a_file_run_beside_each_other(tmp_path: Path) -> None:
    source = clip(tmp_path)
    (tmp_path / "streams.toml").write_text(
        f"""
        [[streams]]
        name = "one"
        source = "{source}"
        sinks = ["{tmp_path}/one.mp4"]
        [[streams]]
        name = "two"
        source = "{source}"
        model = "road"
        sinks = ["{tmp_path}/two.mp4", {{ type = "null" }}]
        """
    )
    process = rtseg("streams", str(tmp_path / "streams.toml"))
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert frames_of(tmp_path / "one.mp4") >= 20
    assert frames_of(tmp_path / "two.mp4") >= 3  # a network that a busy machine is too slow for
    assert re.sub(rb"\s", b"", said) == b""


@pytest.mark.parametrize(
    ("framing", "model", "scene"),
    [
        (None, None, {"background": "blur"}),
        ("head", None, {"background": "blur", "framing": "head"}),
        ("none", None, {"background": "blur"}),
        ("body:3", "portrait", {"background": "blur", "framing": "body:3"}),
    ],
)
def test_framing_is_a_part_of_the_scene(framing: str | None, model: str | None, scene: dict[str, str]) -> None:
    made = _options("camera", ["window"], None, None, model, framing, False, None, "half rate", None, None)
    assert made.scene == Scene(**scene)  # type: ignore[arg-type]
