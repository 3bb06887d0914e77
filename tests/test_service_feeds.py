"""Feeds: events and records by server-sent events and WebSocket, pictures, and how they end."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from serving import Running, decoded, running
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from rtseg.live.fleet import LocalFleet
from rtseg.live.options import StreamOptions, parse_stream
from rtseg.live.stream import StreamStatus
from rtseg.live.streamset import StreamSet
from rtseg.service.allow import Allowed
from rtseg.service.feeds import plain
from rtseg.service.fleet import Streams
from rtseg.service.stream_metrics import StreamCollector


def until(condition: Callable[[], object], *, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def pattern(name: str = "door", **more: object) -> StreamOptions:
    source = {"type": "synthetic", "graph": "testsrc2=size=160x96:rate=25"}
    return parse_stream({"name": name, "source": source, "scene": {"background": "#0000ff"}, **more})


@pytest.fixture
def server() -> Iterator[Running]:
    fleet = LocalFleet(StreamSet(capacity=None))
    fleet.add(pattern())
    with running(streams=Streams(fleet, Allowed(add=True))) as started:
        yield started


def stream_of(server: Running) -> Any:
    assert server.service.streams is not None
    fleet = server.service.streams.fleet
    assert isinstance(fleet, LocalFleet)
    return fleet.streams.get("door")


def told(response: httpx.Response) -> Iterator[dict[str, Any]]:
    """Events of a stream of server-sent events, with "event" and "id" beside what they say."""
    current: dict[str, Any] = {}
    for line in response.iter_lines():
        key, _, value = line.partition(": ")
        if key == "data":
            current |= json.loads(value)
        elif key in ("event", "id"):
            current[key] = value
        elif not line and current:
            yield current
            current = {}


def test_records_of_frames_come_at_their_rate_and_say_what_was_left_out(server: Running) -> None:
    started = time.monotonic()
    with server.client.stream("GET", "/v1/streams/door/events?rate=5&limit=6") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        records = [part for part in told(response) if part["event"] == "record"]
    assert time.monotonic() - started > 0.55
    assert len(records) >= 3
    assert records[0]["size"] == [160, 96]
    assert {segment["label"] for segment in records[0]["segments"]} <= {"person"}
    assert [record["index"] for record in records] == sorted({record["index"] for record in records})
    assert sum(record["skipped"] for record in records[1:]) > 3


def test_a_stream_sleeps_until_somebody_looks_and_wakes_within_two_frames(server: Running) -> None:
    stream = stream_of(server)
    until(lambda: stream.status().frames_in > 3)
    assert (stream.status().inferred, stream.status().state) == (0, "idle")
    seen: list[int] = []
    until(lambda: stream.status().frames_in > 5)
    before = stream.status().frames_in
    stop = stream.listen(lambda output: seen.append(stream.status().frames_in))
    until(lambda: seen)
    stop()
    assert seen[0] - before <= 2
    until(lambda: stream.status().state == "idle")


def test_a_snapshot_is_the_composited_picture(server: Running) -> None:
    response = server.client.get("/v1/streams/door/snapshot.jpg").raise_for_status()
    assert response.headers["content-type"] == "image/jpeg"
    picture = decoded(response.content)
    assert picture.shape == (96, 160, 3)
    assert np.abs(picture[5, 5].astype(int) - (255, 0, 0)).max() < 12
    until(lambda: stream_of(server).status().state == "idle")
    assert server.client.get("/v1/streams/window/snapshot.jpg").status_code == 404


def test_pictures_come_as_parts_while_somebody_looks(server: Running) -> None:
    response = server.client.get("/v1/streams/door/stream.mjpeg?limit=3&rate=30").raise_for_status()
    parts = response.content.split(b"--rtseg-frame\r\n")[1:]
    assert len(parts) == 3
    for part in parts:
        head, _, jpeg = part.partition(b"\r\n\r\n")
        assert b"Content-Type: image/jpeg" in head
        assert decoded(jpeg.removesuffix(b"\r\n")).shape == (96, 160, 3)


def test_a_viewer_sees_a_slate_and_no_old_picture_when_pictures_end(server: Running) -> None:
    stream = stream_of(server)
    with server.client.stream("GET", "/v1/streams/door/stream.mjpeg?limit=300&rate=60") as response:
        content, ended = bytearray(), 0.0
        for chunk in response.iter_bytes():
            content += chunk
            if not ended:
                ended = time.monotonic()
                stream.source.close()
            last = bytes(content).split(b"--rtseg-frame\r\n")[-1].partition(b"\r\n\r\n")[2]
            if time.monotonic() - ended > 0.8 and last.endswith(b"\xff\xd9\r\n"):
                break
    assert np.ptp(decoded(last)[:8].astype(int)) < 8  # one grey
    assert decoded(last)[0, 0].max() < 80


def test_events_are_numbered_and_those_that_were_missed_come_again(server: Running) -> None:
    client = server.client
    with client.stream("GET", "/v1/streams/door/events?records=false&limit=2", headers={"Last-Event-ID": "0-0"}) as r:
        first = list(told(r))
    assert [event["kind"] for event in first] == ["stream", "state"]
    assert first[0]["after"] == "added"
    stream_of(server).source.state = "lost"
    with client.stream(
        "GET", "/v1/streams/door/events?records=false&limit=20", headers={"Last-Event-ID": first[-1]["id"]}
    ) as response:
        for event in told(response):
            assert int(event["id"].partition("-")[2]) > int(first[-1]["id"].partition("-")[2])
            if (event["kind"], event["after"]) == ("link", "lost"):
                break
            assert event["kind"] in ("link", "state")


def test_a_stream_that_is_removed_says_so_and_the_feed_ends(server: Running) -> None:
    parts: list[dict[str, Any]] = []

    def read() -> None:
        with httpx.stream("GET", f"{server.url}/v1/streams/door/events?rate=1", timeout=10) as response:
            parts.extend(told(response))

    reader = threading.Thread(target=read)
    reader.start()
    until(lambda: parts or stream_of(server).status().frames_out)
    assert server.client.delete("/v1/streams/door").status_code == 204
    reader.join(10)
    assert not reader.is_alive()
    assert (parts[-1]["kind"], parts[-1]["after"]) == ("stream", "removed")


def test_pictures_end_when_their_stream_is_removed(server: Running) -> None:
    with server.client.stream("GET", "/v1/streams/door/stream.mjpeg") as response:
        pictures = response.iter_bytes()
        next(pictures)
        assert httpx.delete(f"{server.url}/v1/streams/door").status_code == 204
        started = time.monotonic()
        for _ in pictures:
            assert time.monotonic() - started < 5


def test_a_picture_that_waited_too_long_is_not_shown(server: Running) -> None:
    assert server.service.streams is not None
    watch = server.service.streams.fleet.watch("door")
    until(lambda: watch.next(0.1))
    stream_of(server).source.close()
    until(lambda: stream_of(server).status().state == "ended")
    time.sleep(1.1)
    assert watch.next(0.0) is None
    watch.close()


def test_records_come_by_websocket(server: Running) -> None:
    address = server.url.replace("http", "ws")
    with connect(f"{address}/v1/streams/door/events?limit=3&last_event_id=0-0", proxy=None) as connection:
        parts = [json.loads(message) for message in connection]
    assert [part["type"] for part in parts[:2]] == ["event", "event"]
    with connect(f"{address}/v1/streams/door/events?rate=20", proxy=None) as connection:
        assert json.loads(connection.recv(5))["type"] == "record"
    until(lambda: stream_of(server).status().state == "idle")


@pytest.mark.parametrize("headers", ["Host: localhost\r\nOrigin: https://evil.example", "Host: evil.example"])
def test_pages_of_others_get_no_websocket(server: Running, headers: str) -> None:
    where = urlsplit(server.url)
    with socket.create_connection((where.hostname or "", where.port or 0)) as sock:
        sock.sendall(
            f"GET /v1/streams/door/events HTTP/1.1\r\n{headers}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        assert sock.recv(100).startswith(b"HTTP/1.1 403")
    until(lambda: 'method="other",route="other",status="4' in server.client.get("/metrics").text)


def test_clients_that_leave_are_noticed_and_their_number_is_bounded(server: Running) -> None:
    where = urlsplit(server.url)
    with contextlib.ExitStack() as held:
        for _ in range(24):
            sock = held.enter_context(socket.create_connection((where.hostname or "", where.port or 0)))
            sock.sendall(b"GET /v1/streams/door/events?rate=1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert sock.recv(100).startswith(b"HTTP/1.1 200")
        response = server.client.get("/v1/streams/door/events?limit=1")
        assert response.status_code == 503
        assert "retry-after" in response.headers
        until(lambda: len(stream_of(server)._listeners) == 24, seconds=5)  # the head is sent before one listens
    until(lambda: not stream_of(server)._listeners, seconds=5)
    assert server.client.get("/v1/streams/door/events?limit=1").status_code == 200


def test_a_client_that_does_not_read_delays_nobody(server: Running) -> None:
    where = urlsplit(server.url)
    with socket.create_connection((where.hostname or "", where.port or 0)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.sendall(b"GET /v1/streams/door/stream.mjpeg?rate=60 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: stream_of(server).status().frames_out > 5)
        with server.client.stream("GET", "/v1/streams/door/events?rate=60&limit=30") as response:
            started = time.monotonic()
            indices = [part["index"] for part in told(response) if part["event"] == "record"]
        assert time.monotonic() - started < 4
        assert len(indices) > 20
        assert server.client.get("/health").elapsed.total_seconds() < 0.5


def test_the_service_leaves_soon_although_somebody_reads(server: Running) -> None:
    def read() -> None:
        with httpx.stream("GET", f"{server.url}/v1/streams/door/stream.mjpeg", timeout=10) as response:
            for _ in response.iter_bytes():
                pass

    reader = threading.Thread(target=read)
    reader.start()
    until(lambda: stream_of(server).status().frames_out > 2)
    server.service.leaving = True
    reader.join(5)
    assert not reader.is_alive()


def test_metrics_tell_of_each_stream(server: Running) -> None:
    server.client.get("/v1/streams/door/stream.mjpeg?limit=5").raise_for_status()
    lines = [line for line in server.client.get("/metrics").text.splitlines() if not line.startswith("#")]
    values = {key: float(value) for key, _, value in (line.rpartition(" ") for line in lines)}
    assert values['rtseg_stream_frames_out_total{stream="door"}'] >= 5
    assert values['rtseg_stream_frames_in_total{stream="door"}'] >= 5
    assert 0 < values['rtseg_stream_latency_seconds{quantile="0.99",stream="door"}'] < 2
    assert values['rtseg_stream_rung{stream="door"}'] == 0
    states = {key: value for key, value in values.items() if key.startswith("rtseg_stream_state")}
    assert sum(states.values()) == 1
    for name in ("reconnects_total", "skipped_inferences_total", "closed_frames_total", "fps"):
        assert f'rtseg_stream_{name}{{stream="door"}}' in values
    assert 'rtseg_stream_dropped_total{cause="left_out",stream="door"}' in values


def test_a_feed_goes_on_when_its_stream_begins_anew(server: Running) -> None:
    assert server.service.streams is not None
    with server.client.stream("GET", "/v1/streams/door/events?rate=30") as response:
        parts = (part for part in told(response) if part["event"] == "record")
        last = next(part["index"] for part in parts if part["index"] > 20)
        first = stream_of(server)
        server.service.streams.fleet.change("door", {"rate": 10})
        for part in parts:
            if part["index"] < last:  # those of a source that began anew
                break
            last = part["index"]
    until(lambda: not stream_of(server)._listeners)
    assert not first._listeners


def test_a_websocket_wants_the_token_too() -> None:
    token = "a-token-of-24-characters"
    fleet = LocalFleet(StreamSet(capacity=None))
    fleet.add(pattern())
    with running(streams=Streams(fleet, Allowed()), token=token) as server:
        address = f"{server.url.replace('http', 'ws')}/v1/streams/door/events"
        with pytest.raises(InvalidStatus), connect(address, proxy=None):
            pass
        with connect(address, proxy=None, additional_headers={"Authorization": f"Bearer {token}"}) as connection:
            assert json.loads(connection.recv(5))["type"] in ("event", "record")


def test_only_what_was_lost_is_counted_as_dropped(server: Running) -> None:
    counts = {"corrupt_packets": 3, "repaired_timestamps": 5, "reconnects": 2}
    status = replace(stream_of(server).status(), counts=counts)
    metrics = {metric.name: metric for metric in StreamCollector(_Fixed(status)).collect()}  # type: ignore[arg-type]
    dropped = {sample.labels["cause"]: sample.value for sample in metrics["rtseg_stream_dropped"].samples}
    assert dropped == {"left_out": status.left_out, "corrupt_packets": 3}
    assert [sample.value for sample in metrics["rtseg_stream_reconnects"].samples] == [2]


class _Fixed:
    def __init__(self, status: StreamStatus) -> None:
        self._status = status

    def list(self) -> dict[str, StreamStatus]:
        return {"door": self._status}


def test_what_a_feed_says_is_json_without_secrets() -> None:
    said = plain({"detail": '"http://me:pass@host/x?key=pass" is lost', "values": [{"from": "rtmp://host/live/pass"}]})
    assert "pass" not in said
    assert "\n" not in said
    assert json.loads(said)["detail"] == '"http://[hidden]@host/x?[hidden]" is lost'
