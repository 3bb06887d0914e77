"""`rtseg serve --streams` as a process: whole files at its end, and no secret in anything it says."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import httpx
import pytest
from serving import child

pytestmark = pytest.mark.slow
PASSWORD = "hunter2-and-more"
STREAMS = """
[[streams]]
name = "door"
source = "synthetic:testsrc2=size=160x96:rate=25"
scene = { background = "#00ff00" }
sinks = [{ type = "video", path = "door.mp4" }]

[[streams]]
name = "short"
source = { type = "synthetic", graph = "testsrc2=size=96x64:rate=25", frames = 10 }
sinks = [{ type = "video", path = "short.mp4" }]
"""


def until(condition: Callable[[], object], *, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_streams_with_whole_files(tmp_path: Path, number: signal.Signals, code: int) -> None:
    (tmp_path / "streams.toml").write_text(STREAMS)
    with child("--streams", "streams.toml", "--workers", 1, folder=tmp_path) as serving:
        with httpx.Client(base_url=serving.url, timeout=20, verify=False) as client:
            until(lambda: client.get("/v1/streams/door").json()["frames_out"] > 20)
            with client.stream("GET", "/v1/streams/door/stream.mjpeg") as watching:
                pictures = watching.iter_bytes()
                next(pictures)
                started = time.monotonic()
                serving.process.send_signal(number)
                for _ in pictures:
                    pass
        assert serving.process.wait(15) == code
        assert time.monotonic() - started < 8
        log = [json.loads(line) for line in serving.log.read_text().splitlines() if line.startswith("{")]
    assert not list(tmp_path.glob("*.part"))
    assert cv2.VideoCapture(str(tmp_path / "door.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) > 15
    told = [(line["stream"], line["kind"], line.get("after")) for line in log if line["message"] == "stream"]
    assert ("door", "stream", "added") in told
    assert ("door", "state", "live") in told
    assert ("short", "state", "ended") in told
    assert ("door", "sink", "open") in told


def test_a_password_is_in_nothing_that_is_said(tmp_path: Path) -> None:
    options = ("--allow-adding", "--allow-sources", "rtsp://127.0.0.1", "--allow-sinks", "rtmp://127.0.0.1")
    with child(*options, "--allow-sources", "synthetic", folder=tmp_path) as serving:
        with httpx.Client(base_url=serving.url, timeout=30, verify=False) as client:
            heard = [client.post("/v1/streams", json={"name": "plain", "source": "synthetic:testsrc2=size=96x64"}).text]
            for number, source in enumerate(
                (
                    f"rtsp://me:{PASSWORD}@127.0.0.1:9/x",
                    f"rtsp://127.0.0.1:9/x?token={PASSWORD}",
                    f"{PASSWORD}.mp4\n{{}}",
                )
            ):
                heard.append(client.post("/v1/streams", json={"name": f"n{number}", "source": source}).text)
            to = {"to": f"rtmp://me:{PASSWORD}@127.0.0.1:9/live/{PASSWORD}"}
            heard.append(client.post("/v1/streams/plain/sinks", json=to).text)
            heard.append(client.get("/v1/streams/plain/snapshot.jpg").headers["content-type"])
            time.sleep(1.5)
            paths = ("/v1/streams", "/metrics", "/ready", "/openapi.json", "/v1/streams/plain/events?limit=3")
            heard += [client.get(path, headers={"Last-Event-ID": "0-0"}).text for path in paths]
        serving.process.send_signal(signal.SIGTERM)
        serving.process.wait(15)
        log = serving.log.read_text()
    assert [text for text in heard if PASSWORD in text] == []
    assert PASSWORD not in log
    lines = [line for line in log.splitlines() if line and not line.startswith("listening")]
    assert all(json.loads(line)["time"] for line in lines)
