"""Network streams with real parts on the loopback: RTSP by GStreamer, MPEG-TS over TCP and UDP, HLS, MJPEG."""

from __future__ import annotations

import contextlib
import functools
import http.server
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from rtmp_server import rtmp_server
from rtsp_server import RtspServer, free_port, missing
from ts_server import RATE, clip, paced, serving

from rtseg.errors import ConfigError, SourceStalled, SourceTooLarge, SourceUnreadable
from rtseg.sources.reconnect import Backoff, LinkChange, LinkState
from rtseg.sources.stream import LiveVideo, address_of
from rtseg.types import Frame

WHY_NOT = missing()
needs_rtsp = pytest.mark.skipif(WHY_NOT is not None, reason=f"no RTSP server: {WHY_NOT}")
QUICK = Backoff(first=0.05, factor=1.0)


def read(source: LiveVideo, until: Callable[[list[Frame]], bool], *, seconds: float = 15) -> list[Frame]:
    """Frames until they are enough; what takes longer is closed and given as it is."""
    timer = threading.Timer(seconds, source.close)
    timer.start()
    frames: list[Frame] = []
    try:
        for frame in source:
            frames.append(frame)
            if until(frames):
                break
    finally:
        timer.cancel()
        source.close()
    return frames


def enough(count: int) -> Callable[[list[Frame]], bool]:
    return lambda frames: len(frames) >= count


def level(frame: Frame) -> float:
    return float(np.median(frame.planes[0]))


def growing(frames: list[Frame]) -> bool:
    return all(a.pts < b.pts and a.index < b.index for a, b in itertools.pairwise(frames))


def test_a_tcp_server_that_hangs_up_and_listens_again_is_read_again() -> None:
    port, changes = free_port(), list[LinkChange]()
    source = LiveVideo(f"tcp://127.0.0.1:{port}", backoff=QUICK, changed=changes.append)
    back: list[float] = []

    def camera() -> None:
        with serving(paced(clip(20)), port):
            time.sleep(1.5)
        time.sleep(0.6)
        with serving(paced(clip(20)), port):
            back.append(time.monotonic())
            time.sleep(2.5)

    thread = threading.Thread(target=camera)
    thread.start()
    frames = read(source, lambda frames: bool(back) and frames[-1].arrived > back[0] + 0.1)
    thread.join(10)
    assert frames[-1].arrived - back[0] < 2.0
    assert growing(frames)
    assert frames[0].epoch == 0
    gone = [frame for frame in frames if frame.arrived < back[0]][-1]
    gap = (frames[-1].arrived - gone.arrived) - (frames[-1].pts - gone.pts) / 90_000
    assert abs(gap) < 0.6  # what passed is kept, give or take what was decoded at once when it was opened
    assert {change.state for change in changes} >= {LinkState.LIVE, LinkState.LOST, LinkState.RECONNECTING}
    assert frames[-1].epoch == source.counts["reconnects"] >= 1


@pytest.mark.parametrize("sent", [0, 4], ids=["silent", "half-sent"])
def test_a_server_that_falls_silent_is_stalled_within_the_time_out(sent: int) -> None:
    ending = threading.Event()

    def serve(connection: socket.socket) -> None:
        for piece in clip(20)[:sent]:
            connection.sendall(piece)
        ending.wait(20)

    changes, before = list[LinkChange](), set(threading.enumerate())  # others may still let go
    with serving(serve) as port:
        source = LiveVideo(
            f"tcp://127.0.0.1:{port}", open_timeout=0.8, read_timeout=0.4, backoff=QUICK, changed=changes.append
        )
        started = time.monotonic()
        reader = threading.Thread(target=read, args=(source, lambda _: False))
        reader.start()
        while LinkState.STALLED not in [change.state for change in changes] and time.monotonic() < started + 5:
            time.sleep(0.02)
        stalled = time.monotonic() - started
        time.sleep(0.3)
        source.close()
        reader.join(5)

        def left() -> list[str]:
            names = [thread.name for thread in set(threading.enumerate()) - before]
            return [name for name in names if name.startswith("rtseg")]

        deadline = time.monotonic() + 6  # FFmpeg lets go by itself, half a second later
        while left() and time.monotonic() < deadline:
            time.sleep(0.02)
        still = left()
        ending.set()
    assert still == []
    states = [change.state for change in changes]
    assert stalled < 1.8
    first = states.index(LinkState.STALLED)
    assert states[first + 1] is LinkState.RECONNECTING
    assert "no frame for" in changes[first].reason


@needs_rtsp
def test_a_frozen_rtsp_server_is_stalled_and_read_again_when_it_thaws() -> None:
    with RtspServer() as server:
        changes = list[LinkChange]()
        source = LiveVideo(server.url, open_timeout=2, read_timeout=0.5, backoff=QUICK, changed=changes.append)
        thawed: list[float] = []

        def freeze() -> None:
            with server.frozen():
                time.sleep(1.2)
            thawed.append(time.monotonic())

        timer = threading.Timer(1.0, freeze)
        timer.start()
        frames = read(source, lambda frames: bool(thawed) and frames[-1].epoch > 0)
        timer.join()
        assert frames[-1].arrived - thawed[0] < 2.5
        assert LinkState.STALLED in [change.state for change in changes]
        assert growing(frames)


@needs_rtsp
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_an_rtsp_server_killed_and_started_three_times_is_back_in_two_seconds(transport: str) -> None:
    with RtspServer() as server:
        source = LiveVideo(server.url, transport=transport, read_timeout=2)  # type: ignore[arg-type]
        iterator = iter(source)
        assert next(iterator).size == (320, 180)
        took, files = [], []
        for _ in range(3):
            server.kill()
            time.sleep(0.3)
            server.start()
            back, epoch = time.monotonic(), source_epoch(iterator)
            frame = next(frame for frame in iterator if frame.epoch > epoch or frame.arrived > back)
            took.append(frame.arrived - back)
            files.append(descriptors())
        source.close()
        assert max(took) < 2.0, took
        assert files[-1] <= files[0] + 1


def source_epoch(iterator: Iterator[Frame]) -> int:
    """Of a frame that may have waited since before."""
    return next(iterator).epoch


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@needs_rtsp
def test_rtsp_with_a_password_is_read_and_the_password_is_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    with RtspServer(login=("anna", "s3cr:et")) as server:
        changes = list[LinkChange]()
        url = server.url.replace("://", "://anna:s3cr%3Aet@")
        source = LiveVideo(url, changed=changes.append)
        assert len(read(source, enough(5))) == 5
        wrong = url.replace("s3cr", "wr0ng")
        with pytest.raises(SourceUnreadable) as caught:
            LiveVideo(wrong, attempts=1, changed=changes.append)
    told = f"{source.info} {changes} {caught.value!r} {caplog.text}"
    assert "anna" not in told
    assert "s3cr" not in told
    assert "wr0ng" not in told
    assert source.info.name == f"rtsp://[hidden]@127.0.0.1:{server.port}/test"


def test_a_flood_is_dropped_to_the_newest_frame_and_every_drop_is_counted() -> None:
    pieces = clip(200)
    with serving(paced(pieces, rate=10 * RATE)) as port:
        source = LiveVideo(f"tcp://127.0.0.1:{port}", backoff=Backoff(first=60))
        seen = []
        for frame in source:
            seen.append(frame.index)
            time.sleep(0.04)
            if len(seen) == 12:
                break
        assert seen == sorted(set(seen))
        assert seen[-1] > 60  # a tenth of a second a frame would be behind
        time.sleep(0.5)
        lost = source.counts["dropped_by_source"]
        assert seen[-1] + 1 - len(seen) <= lost < 200


def test_another_size_in_the_middle_is_a_new_epoch() -> None:
    pieces = clip(20) + clip(20, size=(320, 192), first=20)
    with serving(paced(pieces)) as port:
        source = LiveVideo(f"tcp://127.0.0.1:{port}")
        frames = read(source, lambda frames: frames[-1].size == (320, 192))
        assert frames[0].size == (160, 96)
        assert frames[-1].epoch == frames[0].epoch + 1
        assert source.info.size == (320, 192)
        assert growing(frames)


@pytest.mark.parametrize(("shift", "gap"), [(2**33 - 15 * 3600, 0.04), (0, 0.04)], ids=["wrap", "restart"])
def test_a_clock_that_wraps_or_restarts_goes_on(shift: int, gap: float) -> None:
    pieces = clip(90, shift=shift) if shift else clip(15, shift=900_000) + clip(75, first=15, shift=-15 * 3600)
    with serving(paced(pieces)) as port:
        source = LiveVideo(f"tcp://127.0.0.1:{port}")
        frames = read(source, enough(30))
    assert {frame.epoch for frame in frames} == {0}
    assert growing(frames)
    spans = [(b.pts - a.pts) / 90_000 / (b.index - a.index) for a, b in itertools.pairwise(frames)]
    assert np.median(spans) == pytest.approx(gap, abs=0.002)
    assert max(spans) < 0.5
    if not shift:
        assert source.counts["repaired_timestamps"] >= 1


def test_a_stream_that_begins_in_the_middle_is_shown_from_its_key_frame_on() -> None:
    with serving(paced(clip(40)[3:])) as port:
        source = LiveVideo(f"tcp://127.0.0.1:{port}")
        frames = read(source, enough(5))
    assert level(frames[0]) >= 40 + 3 * 10 - 2  # the key frame is the eleventh
    assert source.counts["skipped_packets"] == 7
    assert not {"damaged_frames", "corrupt_packets"} & source.counts.keys()


def test_a_sender_may_be_listened_to() -> None:
    port = free_port()
    source = LiveVideo(f"tcp://127.0.0.1:{port}", listen=True)

    def send() -> None:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as connection:
                paced(clip(40))(connection)
                return
            time.sleep(0.05)

    sender = threading.Thread(target=send)
    sender.start()
    assert len(read(source, enough(5))) == 5
    sender.join(10)
    assert not sender.is_alive()


def test_udp_is_read() -> None:
    port = free_port(socket.SOCK_DGRAM)
    source = LiveVideo(f"udp://127.0.0.1:{port}")
    ending = threading.Event()

    def send() -> None:
        pieces = clip(50)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for number in range(500):
                if ending.wait(1 / RATE):
                    return
                piece = pieces[number % 50]
                for at in range(0, len(piece), 1316):
                    sender.sendto(piece[at : at + 1316], ("127.0.0.1", port))

    sender = threading.Thread(target=send)
    sender.start()
    try:
        assert len(read(source, enough(5))) == 5
    finally:
        ending.set()
        sender.join(5)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web server's address, and its folder."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            if self.path.startswith("/elsewhere"):
                self.send_response(302)
                self.send_header("Location", "/live.m3u8")
                self.end_headers()
            elif self.path == "/mjpeg":
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                for number in range(100):
                    ok, jpeg = cv2.imencode(".jpg", np.full((48, 64, 3), 100 + number, np.uint8))
                    assert ok
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                    self.wfile.write(head.encode() + jpeg.tobytes() + b"\r\n")
                    time.sleep(0.04)
            else:
                super().do_GET()

        def handle(self) -> None:
            with contextlib.suppress(OSError):  # the reader has left
                super().handle()

    handler = functools.partial(Quiet, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", tmp_path
    server.shutdown()
    thread.join(5)
    server.server_close()


def write_hls(folder: Path, *, ended: bool) -> None:
    for number in range(3):
        (folder / f"{number}.ts").write_bytes(b"".join(clip(25, first=25 * number, gop=25)))
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:1", "#EXT-X-MEDIA-SEQUENCE:0"]
    lines += [line for number in range(3) for line in ("#EXTINF:1.0,", f"{number}.ts")]
    (folder / "live.m3u8").write_text("\n".join([*lines, *(["#EXT-X-ENDLIST"] if ended else []), ""]))


def test_hls_is_read(web: tuple[str, Path]) -> None:
    url, folder = web
    write_hls(folder, ended=False)
    source = LiveVideo(f"{url}/live.m3u8?token=abc", attempts=1)
    frames = read(source, lambda frames: frames[-1].index >= 30)
    assert frames[-1].size == (160, 96)
    assert growing(frames)
    # A segment comes at once; it is shown as it was taken, 25 frames a second.
    assert frames[-1].arrived - frames[0].arrived == pytest.approx((frames[-1].pts - frames[0].pts) / 90_000, abs=0.1)
    assert len(frames) > 20
    assert source.info.name.endswith("/live.m3u8?[hidden]")


def push(url: str, ending: threading.Event) -> None:
    """Sends 25 frames a second to a media server until it is to end, ten seconds at most."""
    with contextlib.suppress(OSError), av.open(url, "w", format="flv", timeout=(5.0, 5.0)) as container:
        stream: Any = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        stream.codec_context.gop_size = 10
        stream.codec_context.options = {"preset": "ultrafast", "tune": "zerolatency"}
        for number in range(10 * RATE):
            if ending.wait(1 / RATE):
                return
            frame = av.VideoFrame.from_ndarray(np.full((144, 160), 128, np.uint8), "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            for packet in stream.encode(frame):
                container.mux(packet)


def test_rtmp_is_read(tmp_path: Path) -> None:
    with rtmp_server(tmp_path) as server:
        ending, url = threading.Event(), server.url
        sender = threading.Thread(target=push, args=(url, ending))
        sender.start()
        source = LiveVideo(url, backoff=QUICK, open_timeout=2)
        frames = read(source, enough(10))
        ending.set()
        sender.join(10)
    assert len(frames) == 10
    assert frames[-1].size == (160, 96)
    assert growing(frames)
    assert source.info.name == f"rtmp://127.0.0.1:{server.port}/live/[hidden]"


def test_a_recording_on_a_web_server_is_refused_for_good(web: tuple[str, Path]) -> None:
    url, folder = web
    write_hls(folder, ended=True)
    with pytest.raises(ConfigError, match="is a recording, not a live stream: download it"):
        LiveVideo(f"{url}/live.m3u8", attempts=5)


def test_mjpeg_is_read(web: tuple[str, Path]) -> None:
    frames = read(LiveVideo(f"{web[0]}/mjpeg", attempts=1), enough(5))
    assert frames[-1].size == (64, 48)
    assert frames[-1].colour.full_range


def test_no_redirect_is_followed(web: tuple[str, Path]) -> None:
    url, folder = web
    write_hls(folder, ended=False)
    with pytest.raises(SourceUnreadable):
        LiveVideo(f"{url}/elsewhere", attempts=1)


@pytest.mark.parametrize(
    "target", ["file:{file}", "concat:{file}", "subfile,,start,0,end,0,,:{file}", "tcp://127.0.0.1:{port}"]
)
def test_a_playlist_reaches_neither_files_nor_other_protocols(web: tuple[str, Path], target: str) -> None:
    """Fault: a server whose playlist names what only this machine can reach."""
    url, folder = web
    secret = folder / "secret.ts"
    secret.write_bytes(b"".join(clip(25)))
    hits = []

    def trap(connection: socket.socket) -> None:
        hits.append(1)
        connection.sendall(secret.read_bytes())

    with serving(trap) as port:
        named = target.format(file=secret, port=port)
        (folder / "evil.m3u8").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1.0,\n{named}\n")
        with pytest.raises((SourceUnreadable, SourceStalled)):
            LiveVideo(f"{url}/evil.m3u8", attempts=1, open_timeout=1.5)
    assert hits == []


def test_a_description_that_opens_ports_here_is_no_stream(web: tuple[str, Path]) -> None:
    """FFmpeg as it comes would listen at the port that a web server names. Either list alone keeps it from that."""
    url, folder = web
    port = free_port(socket.SOCK_DGRAM)
    (folder / "ports.sdp").write_text(
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
        f"m=video {port} RTP/AVP 96\na=rtpmap:96 H264/90000\n"
    )
    with pytest.raises(SourceUnreadable, match="Invalid argument"):
        LiveVideo(f"{url}/ports.sdp", attempts=1, open_timeout=2)


def test_too_large_a_stream_is_refused() -> None:
    with serving(paced(clip(20))) as port, pytest.raises(SourceTooLarge, match="160x96: allowed are 1000 pixels"):
        LiveVideo(f"tcp://127.0.0.1:{port}", attempts=1, max_pixels=1000)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("srt://host:1", r"SRT is not in this FFmpeg\. .*udp://127\.0\.0\.1:5000"),
        ("rstp://anna:pw@host/x", r"'rstp://\[hidden\]@host/x' is no address of a stream: use rtsp, rtsps"),
        ("file:///etc/passwd", "is no address of a stream"),
        ("concat:a|b", "is no address of a stream"),
        ("tcp://host", r"tcp://host has no port: write tcp://HOST:PORT"),
        ("rtsp://host:99999999/x", "has a host or port that is none"),
    ],
)
def test_an_address_that_cannot_be_one_is_refused_before_any_contact(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        LiveVideo(url)
    assert "pw" not in str(caught.value).replace("passwd", "")


def test_options_of_an_address_are_checked() -> None:
    with pytest.raises(ConfigError, match="only tcp addresses can be listened at"):
        LiveVideo("udp://127.0.0.1:1", listen=True)
    with pytest.raises(ConfigError, match="transport must be tcp or udp, not 'tpc'"):
        address_of("rtsp://host/x", transport="tpc")  # type: ignore[arg-type]


def test_nothing_grows_over_twenty_connections() -> None:
    with serving(paced(clip(6))) as port:
        source = LiveVideo(f"tcp://127.0.0.1:{port}", backoff=Backoff(first=0.01, factor=1.0))
        threads, files = {}, {}
        for frame in source:
            threads[frame.epoch], files[frame.epoch] = threading.active_count(), descriptors()
            if frame.epoch >= 20:
                break
    # The least of the last ones: of one connection the threads may still be ending while the next one is counted.
    assert min(threads[e] for e in threads if e > 15) <= max(threads[e] for e in threads if e <= 3) + 1
    assert min(files[e] for e in files if e > 15) <= max(files[e] for e in files if e <= 3) + 2
