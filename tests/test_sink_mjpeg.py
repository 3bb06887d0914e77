"""Pictures over HTTP: colours as they were, the newest only, and who is refused."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import av
import cv2
import numpy as np
import pytest
from browser import page
from on_device import on_device
from written import moving_frame, output_of

from rtseg.errors import ConfigError, SinkFailed
from rtseg.ops.arrays import U8, as_u8
from rtseg.sinks.jpeg import JpegEncoder
from rtseg.sinks.mjpeg import Mjpeg
from rtseg.types import Colour, Frame

COLOURS = [Colour("bt601"), Colour("bt709"), Colour("bt601", full_range=True), Colour("bt709", full_range=True)]
PATCHES = [(200, 40, 40), (40, 180, 60), (30, 60, 190), (128, 128, 128), (250, 250, 250), (5, 5, 5)]


def patches(size: tuple[int, int] = (96, 64)) -> U8:
    """Two rows of three colours."""
    width, height = size
    rgb = np.zeros((height, width, 3), np.uint8)
    for i, colour in enumerate(PATCHES):
        y, x = divmod(i, 3)
        rgb[y * height // 2 : (y + 1) * height // 2, x * width // 3 : (x + 1) * width // 3] = colour
    return rgb


def middles(rgb: U8) -> list[tuple[int, ...]]:
    height, width = rgb.shape[:2]
    return [
        tuple(map(int, rgb[height // 4 + y * height // 2, width // 6 + x * width // 3]))
        for y in (0, 1)
        for x in range(3)
    ]


def assert_same_colours(rgb: U8) -> None:
    # two levels each of planes in eight bits, twice, and of JPEG's steps
    assert np.abs(np.array(middles(rgb)) - np.array(PATCHES)).max() <= 5


def decoded(data: bytes) -> U8:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return as_u8(picture[..., ::-1])


def get(sink: Mjpeg, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes]:
    place = urlsplit(sink.url)
    connection = http.client.HTTPConnection(str(place.hostname), place.port or 0, timeout=5)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, b"" if "multipart" in str(answer.headers["content-type"]) else answer.read()
    finally:
        connection.close()


def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@contextmanager
def feeding(sink: Mjpeg, frames: list[Frame], *, step: float = 0.02) -> Iterator[None]:
    """The frames, again and again, until done."""
    stop = threading.Event()

    def feed() -> None:
        i = 0
        while not stop.wait(step):
            sink.write(output_of(frames[i % len(frames)]))
            i += 1

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("colour", COLOURS, ids=str)
def test_a_jpeg_has_the_colours_of_its_frame(colour: Colour) -> None:
    assert_same_colours(decoded(JpegEncoder(quality=90)(Frame.from_rgb(patches(), colour=colour))))


@pytest.mark.parametrize("size", [(96, 64), (97, 65), (1, 1), (3, 2)])
@pytest.mark.parametrize("steps", [(2, 2), (2, 1), (1, 1)])
def test_every_size_and_subsampling_can_be_a_jpeg(size: tuple[int, int], steps: tuple[int, int]) -> None:
    width, height = size
    luma = np.full((height, width), 90, np.uint8)
    half = np.full((-(-height // steps[1]), -(-width // steps[0])), 128, np.uint8)
    picture = decoded(JpegEncoder()(Frame((luma, half, half), Colour("bt601", full_range=True))))
    assert picture.shape == (height, width, 3)
    assert np.abs(picture.astype(int) - 90).max() <= 2


def test_quality_decides_the_bytes() -> None:
    frame = Frame.from_rgb(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    sizes = [len(JpegEncoder(quality=quality)(frame)) for quality in (10, 50, 75, 95)]
    assert sizes == sorted(sizes)
    assert sizes[0] * 2 < sizes[-1]
    with pytest.raises(ConfigError, match="quality 0"):
        JpegEncoder(quality=0)


def test_a_picture_on_a_device_can_be_shown() -> None:
    frame = Frame.from_rgb(patches(), colour=Colour("bt709"))
    assert_same_colours(decoded(JpegEncoder(quality=90)(on_device(frame))))


def test_a_snapshot_is_the_newest_picture() -> None:
    with Mjpeg(port=0) as sink:
        assert get(sink, "/snapshot.jpg")[0] == 503
        sink.write(output_of(moving_frame(1)))
        sink.write(output_of(Frame.from_rgb(patches(), colour=Colour("bt709"))))
        status, data = get(sink, "/snapshot.jpg")
        assert status == 200
        assert_same_colours(decoded(data))
        assert get(sink, "/snapshot.jpg") == (200, data)
        assert sink.encoded == 1  # once for all, and nothing for the picture that nobody saw
        assert get(sink, "/snapshot.jpg", "HEAD") == (200, b"")


def test_a_stream_is_read_by_ffmpeg_with_its_changes_of_size() -> None:
    frames = [Frame.from_rgb(patches(), colour=Colour("bt709"))]
    with (
        Mjpeg(port=0, quality=90) as sink,
        feeding(sink, frames),
        av.open(sink.url, format="mpjpeg", timeout=(5, 5)) as container,
    ):
        seen = []
        for frame in container.decode(video=0):
            seen.append(frame)
            if len(seen) == 5:
                frames[:] = [Frame.from_rgb(patches((48, 36)))]
            if frame.width == 48 or len(seen) > 200:
                break
        assert_same_colours(as_u8(seen[0].to_ndarray(format="rgb24")))
        assert (seen[-1].width, seen[-1].height) == (48, 36)


def test_many_watch_and_a_picture_is_encoded_once() -> None:
    with Mjpeg(port=0) as sink:
        captures = [socket.create_connection(("127.0.0.1", urlsplit(sink.url).port or 0)) for _ in range(3)]
        for capture in captures:
            capture.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: sink.watching == 3)
        for i in range(10):
            sink.write(output_of(moving_frame(i)))
            until(lambda: all(_parts(capture) for capture in captures))
        assert sink.encoded == 10
        for capture in captures:
            capture.close()
        until(lambda: sink.watching == 0)
        sink.write(output_of(moving_frame(0)))
        time.sleep(0.05)
        assert sink.encoded == 10  # nobody watches


def _parts(capture: socket.socket) -> int:
    """Reads what came up to the end of a picture."""
    capture.settimeout(5)
    data = b""
    while b"\xff\xd9\r\n--" not in data:
        data += capture.recv(65536)
    return 1


def test_a_client_that_reads_nothing_is_dropped_and_delays_nobody() -> None:
    noise = Frame.from_rgb(np.random.default_rng(0).integers(0, 256, (720, 1280, 3), np.uint8))
    with (
        Mjpeg(port=0, timeout=0.5) as sink,
        socket.create_connection(("127.0.0.1", urlsplit(sink.url).port or 0)) as dead,
    ):
        dead.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: sink.watching == 1)
        longest = 0.0
        begun = time.monotonic()
        while sink.watching and time.monotonic() - begun < 10:
            before = time.monotonic()
            sink.write(output_of(noise))
            longest = max(longest, time.monotonic() - before)
            time.sleep(0.02)
        assert sink.watching == 0
        assert longest < 0.3  # no encoding and no sending in `write`


def test_only_so_many_may_watch() -> None:
    with Mjpeg(port=0, clients=1) as sink, feeding(sink, [moving_frame(0)]):
        with av.open(sink.url, format="mpjpeg", timeout=(5, 5)):
            assert sink.watching == 1
            status, words = get(sink, "/")
            assert status == 503
            assert b"1 watch already" in words
            assert get(sink, "/snapshot.jpg")[0] == 200
        until(lambda: sink.watching == 0)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:1"}, 200),
        ({"Host": "[::1]:1"}, 200),
        ({"Host": "attacker.example"}, 403),
        ({"Host": "127.0.0.1.attacker.example"}, 403),
        ({"Origin": "http://localhost:3000"}, 200),
        ({"Origin": "https://attacker.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 200),
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/", "/snapshot.jpg"])
def test_pages_of_others_see_nothing(path: str, headers: dict[str, str], status: int) -> None:
    with Mjpeg(port=0) as sink:
        sink.write(output_of(moving_frame(0)))
        assert get(sink, path, **headers)[0] == status


def test_a_token_opens_it_for_others() -> None:
    with Mjpeg(port=0, host="0.0.0.0", token="only-for-friends") as sink:
        sink.write(output_of(moving_frame(0)))
        assert "friends" not in sink.url
        assert get(sink, "/snapshot.jpg", Host="camera.example")[0] == 401
        assert get(sink, "/snapshot.jpg?token=wrong")[0] == 401
        assert get(sink, "/snapshot.jpg?token=only-for-friends", Host="camera.example")[0] == 200
        assert get(sink, "/snapshot.jpg", Authorization="Bearer only-for-friends")[0] == 200


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"host": "0.0.0.0"}, "set a token"),
        ({"host": "camera.example"}, "set a token"),
        ({"token": "short"}, "too short"),
        ({"port": 70000}, "port 70000"),
        ({"clients": 0}, "clients 0"),
        ({"quality": 101}, "quality 101"),
    ],
)
def test_a_place_that_must_not_be_served_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Mjpeg(**options)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /other HTTP/1.1\r\nHost: localhost\r\n\r\n", b"404"),
        (b"GET /../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", b"404"),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"405"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET http://elsewhere/ HTTP/1.1\r\nHost: localhost\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"403"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n", b"408"),
    ],
    ids=lambda value: value[:20] if isinstance(value, bytes) else "",
)
def test_odd_requests_are_refused(request_: bytes, status: bytes) -> None:
    with (
        Mjpeg(port=0, timeout=0.5) as sink,
        socket.create_connection(("127.0.0.1", urlsplit(sink.url).port or 0)) as client,
    ):
        client.settimeout(5)
        client.sendall(request_)
        assert client.recv(4096).split(b" ")[1] == status


def test_no_thread_is_left_and_the_port_is_free_again() -> None:
    before = threading.active_count()
    sink = Mjpeg(port=0)
    port = urlsplit(sink.url).port or 0
    with pytest.raises(SinkFailed, match="choose another port"):
        Mjpeg(port=port)
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
    for client in clients[:2]:
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    until(lambda: sink.watching == 2)
    sink.close()
    sink.close()
    until(lambda: threading.active_count() == before)
    with pytest.raises(SinkFailed, match="is closed"):
        sink.write(output_of(moving_frame(0)))
    for client in clients:
        client.close()
    Mjpeg(port=port).close()


DRAW = """async (url) => {
    const image = new Image(), canvas = document.createElement("canvas");
    image.src = url;
    while (!image.naturalWidth) await new Promise(done => setTimeout(done, 20));
    canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
    const read = () => {
        const context = canvas.getContext("2d");
        context.drawImage(image, 0, 0);
        return Array.from(context.getImageData(0, 0, canvas.width, canvas.height).data);
    };
    const first = read();
    let now = first;
    for (let i = 0; i < 150 && now[0] === first[0]; i++) {
        await new Promise(done => setTimeout(done, 20));
        now = read();
    }
    return [canvas.width, canvas.height, first, now];
}"""


def test_a_browser_shows_the_pictures_and_their_colours() -> None:
    one = Frame.from_rgb(patches((240, 160)), colour=Colour("bt709"))
    two = Frame.from_rgb(as_u8(patches((240, 160))[::-1]), colour=Colour("bt709"))
    with Mjpeg(port=0, quality=90) as sink, feeding(sink, [one] * 5 + [two] * 5, step=0.04), page() as browser:
        browser.goto(f"{sink.url}snapshot.jpg")  # a page of the same origin, whose canvas may be read
        width, height, first, later = browser.evaluate(DRAW, sink.url)
        assert (width, height) == (240, 160)
        seen = [np.array(values, np.uint8).reshape(160, 240, 4)[..., :3] for values in (first, later)]
        upright = [picture if middles(picture)[0][0] > 150 else picture[::-1] for picture in seen]
        assert not np.array_equal(seen[0], seen[1])
        for picture in upright:
            assert_same_colours(as_u8(picture))
