"""Live streams to real receivers on loopback: what arrives, when, and what is said when the other end is gone."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from fakes import ListSink, ListSource, SquareSegmenter
from rtmp_server import free_port, rtmp_server
from written import moving_frame, output_of

from rtseg.errors import ConfigError, SinkFailed
from rtseg.ops.arrays import U8, as_u8
from rtseg.pipeline import Pipeline
from rtseg.runner import run
from rtseg.sinks import abandoned
from rtseg.sinks.relay import Relay
from rtseg.sinks.stream import Stream
from rtseg.sinks.video import VideoWriter
from rtseg.types import Colour, Frame

SIZE = (320, 240)
STEP = 1 / 60


def send(sink: Stream, indices: range, *, size: tuple[int, int] = SIZE, step: float = STEP) -> None:
    for i in indices:
        sink.write(output_of(moving_frame(i, size=size)))
        time.sleep(step)


def level(index: int) -> int:
    """What `moving_frame` paints in its corner."""
    return 16 + index * 3 % 200


class Reader:
    """Decodes an address in a thread until it ends: when each picture came, its time, and its luma."""

    def __init__(self, url: str, kind: str, **options: str) -> None:
        self.times: list[float] = []
        self.lumas: list[U8] = []
        self.came: list[float] = []
        self.kinds: list[str] = []
        self.frames: list[av.VideoFrame] = []
        self._thread = threading.Thread(target=self._read, args=(url, kind, options))
        self._thread.start()

    def _read(self, url: str, kind: str, options: dict[str, str]) -> None:
        try:
            with _opened(url, kind, options) as container:
                self.kinds = [stream.type for stream in container.streams]
                for frame in container.decode(video=0):
                    self.came.append(time.monotonic())
                    self.times.append(float(frame.time or 0))
                    self.lumas.append(as_u8(frame.to_ndarray())[: frame.height])
                    self.frames.append(frame)
        except (OSError, av.error.FFmpegError):
            pass  # UDP has no end

    def join(self) -> None:
        self._thread.join(15)
        assert not self._thread.is_alive()


def _opened(url: str, kind: str, options: dict[str, str]) -> av.container.InputContainer:
    """Again where `listening` had the port at that moment."""
    while True:
        try:
            return av.open(url, format=kind, timeout=(8, 1.5), options=options)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            time.sleep(0.02)


def listening(port: int, kind: socket.SocketKind) -> None:
    """Until somebody has bound the port."""
    for _ in range(1500):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return
        time.sleep(0.01)
    raise AssertionError(f"nobody listens at {port}")


def transport_stream(scheme: str) -> tuple[str, Reader]:
    port = free_port()
    url = f"{scheme}://127.0.0.1:{port}"
    reader = Reader(f"{url}?listen=1" if scheme == "tcp" else f"{url}?fifo_size=100000", "mpegts")
    listening(port, socket.SOCK_STREAM if scheme == "tcp" else socket.SOCK_DGRAM)
    return url, reader


@pytest.mark.parametrize("scheme", ["udp", "tcp"])
def test_every_picture_arrives_in_order_and_in_time(scheme: str) -> None:
    url, reader = transport_stream(scheme)
    begun = time.monotonic()
    with Stream(url) as sink:
        send(sink, range(60))
        lasted = time.monotonic() - begun
    reader.join()
    assert [int(luma[0, 300]) for luma in reader.lumas] == pytest.approx([level(i) for i in range(60)], abs=2)
    gaps = [later - earlier for earlier, later in pairwise(reader.times)]
    assert min(gaps) > 0
    assert reader.times[-1] - reader.times[0] == pytest.approx(lasted, abs=0.2)


def test_another_size_is_fitted_with_bars() -> None:
    url, reader = transport_stream("tcp")
    with Stream(url) as sink:
        send(sink, range(3))
        send(sink, range(3, 6), size=(100, 200))
        send(sink, range(6, 9), size=(63, 47))
    reader.join()
    assert {luma.shape for luma in reader.lumas} == {(240, 320)}
    # 100x200 becomes 120x240, in the middle: black beside it, the picture inside
    assert int(reader.lumas[3][120, 20]) == pytest.approx(16, abs=2)
    assert int(reader.lumas[3][120, 210]) == pytest.approx(level(3), abs=3)


def test_full_range_becomes_limited_and_says_so() -> None:
    url, reader = transport_stream("tcp")
    grey = np.full((48, 64), 200, np.uint8)
    half = np.full((24, 32), 128, np.uint8)
    with Stream(url) as sink:
        for _ in range(3):
            sink.write(output_of(Frame((grey, half, half), Colour("bt601", full_range=True))))
    reader.join()
    assert int(reader.lumas[0][20, 20]) == pytest.approx(16 + 200 * 219 / 255, abs=1)
    assert reader.frames[0].color_range == 1


def test_silence_is_a_track_of_its_own() -> None:
    url, reader = transport_stream("tcp")
    with Stream(url, silence=True) as sink:
        send(sink, range(30))
    reader.join()
    assert sorted(reader.kinds) == ["audio", "video"]
    assert len(reader.lumas) == 30


def test_datagrams_are_whole_packets_of_mpeg_ts() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        with Stream(f"udp://127.0.0.1:{receiver.getsockname()[1]}") as sink:
            send(sink, range(3), step=0)
        first = receiver.recv(65536)
    assert len(first) <= 1316
    assert len(first) % 188 == 0
    assert {first[i] for i in range(0, len(first), 188)} == {0x47}


def test_nobody_need_listen_to_udp() -> None:
    with Stream(f"udp://127.0.0.1:{free_port()}") as sink:
        send(sink, range(5), step=0.002)
        assert sink.frames == 5


def fails(sink: Stream, *, within: float, action: Callable[[], Any] = lambda: None) -> SinkFailed:
    """The error of a sink that is written to until it fails."""
    action()
    begun = time.monotonic()
    noise = np.random.default_rng(1).integers(16, 235, (540, 640), np.uint8)
    frame = Frame((noise[:360], noise[360:450].reshape(180, 320), noise[450:].reshape(180, 320)))

    def write() -> None:
        while time.monotonic() - begun < within + 5:
            sink.write(output_of(frame))

    with pytest.raises(SinkFailed) as caught:
        write()
    assert time.monotonic() - begun < within + 1
    with pytest.raises(SinkFailed) as again:  # for good
        sink.write(output_of(moving_frame(0)))
    assert again.value is caught.value
    sink.close()
    return caught.value


def test_a_refused_connection_says_so() -> None:
    error = fails(Stream(f"tcp://127.0.0.1:{free_port()}"), within=1)
    assert "Connection refused" in str(error)


@contextmanager
def silent() -> Iterator[int]:
    """The port of a server that accepts and then says nothing and reads nothing."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        server.listen(4)
        yield server.getsockname()[1]


@pytest.mark.parametrize("scheme", ["tcp", "rtmp", "rtsp"])
def test_a_server_that_takes_nothing_fails_within_the_timeout(scheme: str) -> None:
    with silent() as port:
        url = f"{scheme}://ada:secret@127.0.0.1:{port}" + ("" if scheme == "tcp" else "/live/key")
        ticks: list[float] = []
        stop = threading.Event()

        def tick() -> None:
            while not stop.wait(0.02):
                ticks.append(time.monotonic())

        ticker = threading.Thread(target=tick)
        ticker.start()
        # noise at 15 Mbit fills what the system buffers in a moment; 3 s for a child to start on a busy machine
        error = fails(Stream(url, codec="h264:crf=10,maxrate=90M,bufsize=90M", timeout=1.0), within=1 + 3)
        stop.set()
        ticker.join()
    assert "ada" not in str(error)
    # FFmpeg would have held the interpreter's lock meanwhile
    assert max(later - earlier for earlier, later in pairwise(ticks)) < 0.9


def test_a_name_server_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: released.wait(20))
    assert abandoned.left_behind() == 0
    error = fails(Stream("tcp://camera.example:5000", timeout=0.2), within=0.2)
    assert "nothing happened for 0.2 s" in str(error)
    assert abandoned.left_behind() == 1
    released.set()
    for _ in range(100):
        if abandoned.left_behind() == 0:
            break
        time.sleep(0.01)
    assert abandoned.left_behind() == 0


@pytest.mark.slow
def test_pictures_go_through_a_real_rtmp_server(tmp_path: Path) -> None:
    with rtmp_server(tmp_path) as server, Stream(server.url, silence=True) as sink:
        send(sink, range(2))
        reader = Reader(server.url, "flv", rtmp_live="live", fflags="nobuffer", probesize="32", analyzeduration="0")
        sent: list[float] = []
        while len(reader.lumas) < 25 and len(sent) < 300:  # a viewer begins with the next key frame
            sent.append(time.monotonic())
            send(sink, range(len(sent) + 1, len(sent) + 2), step=1 / 30)
        sink.close()
        reader.join()
    newest = len(sent) + 1
    seen = [int(luma[0, 300]) for luma in reader.lumas]
    assert len(seen) >= 25
    last = len(seen) - 1
    assert seen == pytest.approx([level(newest - last + i) for i in range(len(seen))], abs=2)
    expected = moving_frame(newest, size=SIZE).planes[0]
    error = np.mean((reader.lumas[last].astype(float) - expected) ** 2)
    assert 10 * np.log10(255**2 / error) > 38
    assert reader.came[last] - sent[-1] < 1.0  # seconds; 7 ms in the middle of a stream where little else runs


def test_a_killed_server_is_an_error_within_the_timeout_and_a_new_sink_goes_on(tmp_path: Path) -> None:
    with rtmp_server(tmp_path) as server:
        sink = Stream(server.url, timeout=2.0)
        send(sink, range(5))
        error = fails(sink, within=2, action=server.kill)
        assert "secret-key" not in str(error)
        assert f"rtmp://127.0.0.1:{server.port}/live/[hidden]" in str(error)
        with pytest.raises(SinkFailed, match="refused"):
            Stream(server.url, timeout=2.0).write(output_of(moving_frame(0)))
        server.start()
        with Stream(server.url, timeout=2.0) as again:
            send(again, range(5))
            assert again.frames == 5


def held() -> tuple[int, int]:
    """Descriptors and threads of this process."""
    return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()


@pytest.mark.slow
def test_sinks_that_fail_again_and_again_leave_nothing(tmp_path: Path) -> None:
    with rtmp_server(tmp_path) as server:
        urls = [server.url, f"tcp://127.0.0.1:{free_port()}", f"rtmp://127.0.0.1:{free_port()}/live/key"]
        before = (0, 0)
        for cycle in range(5):
            for url in urls:
                sink = Stream(url, timeout=5.0)
                with contextlib.suppress(SinkFailed):
                    send(sink, range(2), step=0)
                if sink.frames:
                    server.kill()
                    with contextlib.suppress(SinkFailed):
                        send(sink, range(200), step=0.005)
                    server.start()
                with pytest.raises(SinkFailed):
                    sink.write(output_of(moving_frame(0)))
                sink.close()
            if cycle == 1:
                before = held()
        assert held() == before


def test_no_child_outlives_its_sink(tmp_path: Path) -> None:
    with rtmp_server(tmp_path) as server:
        sink = Stream(server.url)
        send(sink, range(2))
        assert isinstance(sink._transport, Relay)
        process = Path(f"/proc/{sink._transport.pid}")
        assert "secret-key" not in (process / "cmdline").read_text()
        sink.close()
        assert not process.exists()
        sink.close()


PARENT = """
import os, signal, sys
from written import moving_frame, output_of
from rtseg.sinks.stream import Stream

sink = Stream(sys.argv[1], timeout=2.0)
sink.write(output_of(moving_frame(0)))
print(sink._transport.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_no_child_outlives_a_killed_parent(tmp_path: Path) -> None:
    with rtmp_server(tmp_path) as server:
        path = os.pathsep.join(map(str, (Path(__file__).parent, Path(__file__).parent.parent)))
        command = [sys.executable, "-c", PARENT, server.url]
        parent = subprocess.run(
            command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}, timeout=60, check=False
        )
        assert parent.returncode == -9
        child = Path("/proc", parent.stdout.decode().strip(), "cmdline")
        for _ in range(500):
            if not child.exists() or not child.read_bytes():  # gone, or ended and not yet waited for
                break
            time.sleep(0.01)
        else:
            pytest.fail("the child still runs")


def test_pictures_are_published_to_a_real_rtsp_server(tmp_path: Path) -> None:
    check = "import gi; gi.require_version('GstRtspServer', '1.0')"
    if subprocess.run(["/usr/bin/python3", "-c", check], stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("no RTSP server: apt install gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-bad")
    port, recorded = free_port(), tmp_path / "recorded.h264"
    script = Path(__file__).with_name("rtsp_recorder.py")
    server = subprocess.Popen(["/usr/bin/python3", script, str(port), recorded], stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        with Stream(f"rtsp://127.0.0.1:{port}/live") as sink:
            send(sink, range(45))
        with pytest.raises(SinkFailed, match="takes no more"):
            Stream(f"rtsp://127.0.0.1:{port}/other").write(output_of(moving_frame(0)))
        time.sleep(0.2)
        with av.open(str(recorded)) as container:
            seen = [int(frame.to_ndarray()[0, 300]) for frame in container.decode(video=0)]
        assert seen == pytest.approx([level(i) for i in range(45)], abs=2)
    finally:
        server.kill()
        server.wait()
        assert server.stdout is not None
        server.stdout.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"url": "srt://host:1"}, "begins with 'srt'"),
        ({"codec": "h265"}, "h265 is not"),
        ({"codec": "h264:nonsense=1"}, "no option 'nonsense'"),
        ({"codec": "h264:preset=nonsense"}, "refuses its options"),
        ({"rate": 0.0}, "rate 0"),
        ({"timeout": 0.0}, "timeout 0"),
    ],
)
def test_what_cannot_work_is_a_configuration_error(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Stream(**{"url": "udp://127.0.0.1:5000", **options}).write(output_of(moving_frame(0)))


def test_a_dead_stream_ends_alone_and_the_others_go_on(tmp_path: Path) -> None:
    frames = [moving_frame(i, size=SIZE) for i in range(40)]
    dead = Stream(f"tcp://127.0.0.1:{free_port()}")
    kept = ListSink()
    with VideoWriter(tmp_path / "kept.mp4", codec="h264:preset=ultrafast") as recording:
        with pytest.raises(SinkFailed, match="Connection refused"):
            run(ListSource(frames, delay=0.002), Pipeline(SquareSegmenter()), [dead, recording, kept])
        assert recording.frames == len(kept.outputs) == 40
    assert (tmp_path / "kept.mp4").is_file()


def test_nothing_is_opened_for_a_sink_that_gets_no_picture() -> None:
    with Stream(f"tcp://127.0.0.1:{free_port()}") as sink:
        assert sink.frames == 0
    with pytest.raises(SinkFailed, match="is closed"):
        sink.write(output_of(moving_frame(0)))
