"""`rtseg run` of a live stream, in a process of its own."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import av
import pytest
from commands import runner, start
from ts_server import clip, paced, serving


def test_a_stream_is_written_until_ctrl_c(tmp_path: Path) -> None:
    with serving(paced(clip(500))) as port:
        child = start("run", f"tcp://127.0.0.1:{port}", "-o", tmp_path / "out.mp4", "--background", "none")
        try:
            deadline = time.monotonic() + 30
            while not (tmp_path / "out.mp4.part").exists():
                assert child.poll() is None, child.communicate()[1]
                assert time.monotonic() < deadline
                time.sleep(0.02)
            time.sleep(0.5)
            child.send_signal(signal.SIGINT)
            _, said = child.communicate(timeout=20)
        finally:
            child.kill()
            child.communicate()
    assert child.returncode == 130, said
    with av.open(str(tmp_path / "out.mp4")) as container:
        times = [frame.pts for frame in container.decode(video=0) if frame.pts is not None]
    assert len(times) >= 5
    assert times == sorted(set(times))


@pytest.mark.parametrize(
    ("source", "code", "message"),
    [
        ("tcp://anna:pw@127.0.0.1:1", 5, "tcp://[hidden]@127.0.0.1:1 cannot be read: Connection refused"),
        ("srt://127.0.0.1:1", 2, "SRT is not in this FFmpeg"),
        ("/dev/video987", 5, "/dev/video987 cannot be read: it is not plugged in"),
        ("camera:987", 5, "camera 987 is not there"),
    ],
)
def test_what_cannot_be_opened_is_one_line_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str, code: int, message: str
) -> None:
    result = runner(capsys)("run", source, "-o", tmp_path / "out.mp4", "--background", "none")
    assert result.code == code
    assert message in result.error()
    assert "pw" not in result.err
    assert not list(tmp_path.iterdir())
