"""Streams over HTTP: added, looked at, changed and removed while they run, within what the operator allows."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from serving import Running, running
from test_service_fetch import serving, trap

from rtseg.errors import Overloaded
from rtseg.live.fleet import LocalFleet
from rtseg.live.options import StreamOptions, parse_stream
from rtseg.live.stream import LiveStream
from rtseg.live.streamset import StreamSet
from rtseg.sections import ModelOptions
from rtseg.service.allow import Allowed, list_backgrounds, parse_place
from rtseg.service.fleet import Streams
from rtseg.service.journal import public_text
from rtseg.service.refusals import Refusal

SOAK = float(os.environ.get("RTSEG_SOAK", "5"))
"""Seconds of changes; a minute and more by hand."""
PATTERN = "synthetic:testsrc2=size=160x96:rate=30"


def until(condition: Callable[[], object], *, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("streams")
    (made / "out").mkdir()
    cv2.imwrite(str(made / "beach.png"), np.full((96, 160, 3), (255, 0, 0), np.uint8))
    (made / "secret.mp4").write_text("the-servers-own-secret")
    return made


def opened(folder: Path) -> Streams:
    allowed = Allowed(
        add=True,
        sources=(parse_place("synthetic"), parse_place("rtsp://cam.example:554")),
        sinks=(parse_place(str(folder / "out")),),
        backgrounds=list_backgrounds([str(folder / "beach.png")]),
        models=frozenset({"portrait", "portrait-fast"}),
    )
    return Streams(LocalFleet(StreamSet(capacity=None)), allowed)


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Running]:
    with running(streams=opened(folder)) as started:
        yield started


@pytest.fixture
def client(server: Running) -> Iterator[httpx.Client]:
    yield server.client
    for stream in server.client.get("/v1/streams").json()["streams"]:
        server.client.delete(f"/v1/streams/{stream['name']}")


def refused(response: httpx.Response, status: int) -> str:
    assert response.status_code == status, response.text
    assert set(response.json()) == {"error"}
    return str(response.json()["error"])


def add(client: httpx.Client, name: str = "door", **more: Any) -> dict[str, Any]:
    response = client.post("/v1/streams", json={"name": name, "source": PATTERN, **more})
    assert response.status_code == 201, response.text
    return dict(response.json())


def test_a_stream_is_added_looked_at_changed_and_removed(client: httpx.Client, folder: Path) -> None:
    made = add(client, sinks=["door.mp4"], scene={"background": "#00ff00"})
    assert made["scene"] == {
        "background": "#00ff00", "overlay": None, "framing": None, "mirror": False,
        "subject": "all",
        "keep_held": False, "frozen": False, "slate": False,
    }  # fmt: skip
    until(lambda: client.get("/v1/streams/door").json()["frames_out"] > 5)
    changed = client.patch("/v1/streams/door", json={"scene": {"mirror": True}}).json()
    assert changed["scene"]["background"] == "#00ff00"
    assert changed["scene"]["mirror"] is True
    (seen,) = client.get("/v1/streams").json()["streams"]
    assert (seen["name"], seen["state"], seen["model"]) == ("door", "live", "portrait")
    assert [sink["name"] for sink in seen["sinks"]] == ["video:door.mp4"]
    assert client.delete("/v1/streams/door").status_code == 204
    assert client.get("/v1/streams").json() == {"streams": []}
    reader = cv2.VideoCapture(str(folder / "out" / "door.mp4"))
    frames, right = 0, False
    while (got := reader.read())[0]:
        frames, right = frames + 1, bool(np.abs(got[1][8, 8].astype(int) - (0, 255, 0)).max() < 12)
    assert frames > 5
    assert right


def test_a_stream_is_added_with_a_preset(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []
    begin = StreamSet._begin

    def watched(self: StreamSet, options: StreamOptions) -> LiveStream:
        begun.append(options)
        return begin(self, options)

    monkeypatch.setattr(StreamSet, "_begin", watched)
    assert add(client, preset="studio")["model"] == "portrait"
    assert begun[0].model_options == ModelOptions(name="portrait", preset="studio")
    refused(client.post("/v1/streams", json={"name": "hall", "source": PATTERN, "preset": "best"}), 422)


def test_a_background_is_one_of_the_listed_files(client: httpx.Client, folder: Path) -> None:
    add(client)
    changed = client.patch("/v1/streams/door", json={"scene": {"background": "beach.png"}}).json()
    assert changed["scene"]["background"] == "beach.png"
    assert str(folder) not in client.get("/v1/streams").text
    for name in (str(folder / "beach.png"), "../beach.png", "secret.mp4", "/etc/passwd", "http://10.0.0.1/x.png"):
        refused(client.patch("/v1/streams/door", json={"scene": {"background": name}}), 403)
    refused(client.patch("/v1/streams/door", json={"scene": {"background": "transparent"}}), 422)
    assert client.get("/v1/streams/door").json()["scene"]["background"] == "beach.png"


def test_outputs_are_added_and_removed_alone(client: httpx.Client, folder: Path) -> None:
    add(client)
    made = client.post("/v1/streams/door/sinks", json={"to": "first.mp4"}).raise_for_status().json()
    client.post("/v1/streams/door/sinks", json={"to": "found.jsonl"}).raise_for_status()
    until(lambda: client.get("/v1/streams/door").json()["sinks"][0]["written"] > 2)
    refused(client.post("/v1/streams/door/sinks", json={"to": "first.mp4"}), 409)
    (one,) = made["sinks"]
    left = client.delete(f"/v1/streams/door/sinks/{one['id']}").raise_for_status().json()
    assert [sink["name"] for sink in left["sinks"]] == ["records:found.jsonl"]
    refused(client.delete(f"/v1/streams/door/sinks/{one['id']}"), 404)
    refused(client.post("/v1/streams/door/sinks", json={"to": "first.mp4"}), 409)  # it is a whole file now
    assert (folder / "out" / "first.mp4").stat().st_size > 0


def test_what_is_wrong_is_said_with_its_own_status(client: httpx.Client) -> None:
    add(client)
    refused(client.post("/v1/streams", json={"name": "door", "source": PATTERN}), 409)
    refused(client.get("/v1/streams/window"), 404)
    refused(client.patch("/v1/streams/window", json={}), 404)
    refused(client.delete("/v1/streams/window"), 404)
    refused(client.patch("/v1/streams/door", json={"scene": {"blurr": 1}}), 422)
    refused(client.patch("/v1/streams/door", json={"scene": {"background": "blur:99"}}), 422)
    refused(client.patch("/v1/streams/door", json={"model": "mine.toml"}), 403)
    refused(client.post("/v1/streams", json={"name": "a b", "source": PATTERN}), 422)
    refused(client.post("/v1/streams", json={"name": "x", "source": "synthetic:movie=secret.mp4"}), 422)
    refused(client.post("/v1/streams", content=b"{"), 400)
    refused(client.patch("/v1/streams/door", content=b"[" * 70_000), 413)
    refused(client.patch("/v1/streams/door", content=b'{"rate": NaN}'), 422)


def test_a_machine_without_room_says_when_to_ask_again(
    client: httpx.Client, server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object) -> None:
        raise Overloaded("a stream more is more than this machine can do")

    assert server.service.streams is not None
    monkeypatch.setattr(server.service.streams.fleet, "add", full)
    response = client.post("/v1/streams", json={"name": "door", "source": PATTERN})
    assert "no room" in refused(response, 503)
    assert response.headers["retry-after"] == "1"


def test_parts_of_scenes_do_not_undo_each_other(
    client: httpx.Client, server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(client)
    assert server.service.streams is not None
    fleet = server.service.streams.fleet
    look = fleet.list

    def slow_look() -> Any:
        seen = look()
        time.sleep(0.05)
        return seen

    monkeypatch.setattr(fleet, "list", slow_look)
    wishes: list[dict[str, Any]] = [{"mirror": True}, {"slate": True}, {"background": "#123456"}, {"frozen": True}]
    threads = [
        threading.Thread(target=client.patch, args=("/v1/streams/door",), kwargs={"json": {"scene": wish}})
        for wish in wishes
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    scene = client.get("/v1/streams/door").json()["scene"]
    people = {"subject": "all", "keep_held": False}
    assert scene == {
        "background": "#123456",
        "overlay": None,
        "framing": None,
        "mirror": True,
        **people,
        "frozen": True,
        "slate": True,
    }


def test_whom_a_stream_shows_is_changed_and_told(client: httpx.Client) -> None:
    add(client)
    changed = client.patch("/v1/streams/door", json={"scene": {"subject": "0.25,0.5", "keep_held": True}})
    assert (changed.json()["scene"]["subject"], changed.json()["scene"]["keep_held"]) == ("0.2500,0.5000", True)
    turned = client.patch("/v1/streams/door", json={"scene": {"mirror": True}})
    assert turned.json()["scene"]["subject"] == "0.7500,0.5000"
    assert client.patch("/v1/streams/door", json={"scene": {"subject": "2,0"}}).status_code == 422


def test_readiness_tells_of_a_stream_that_is_away(client: httpx.Client, server: Running) -> None:
    add(client)
    assert client.get("/ready").json()["status"] == "ready"
    assert server.service.streams is not None
    fleet = server.service.streams.fleet
    assert isinstance(fleet, LocalFleet)
    fleet.streams.get("door").source.state = "lost"  # type: ignore[attr-defined]
    assert client.get("/ready").json()["status"] == "degraded"


def test_streams_are_fixed_where_nobody_allowed_more() -> None:
    fleet = LocalFleet(StreamSet(capacity=None))
    fleet.add(parse_stream({"name": "door", "source": {"type": "synthetic", "graph": "testsrc2=size=96x64"}}))
    with running(streams=Streams(fleet, Allowed())) as server:
        client = server.client
        refused(client.post("/v1/streams", json={"name": "other", "source": PATTERN}), 403)
        refused(client.delete("/v1/streams/door"), 403)
        refused(client.post("/v1/streams/door/sinks", json={"to": "x.mp4"}), 403)
        for wish in ({"source": PATTERN}, {"model": "portrait"}, {"rate": 5}, {"loop": True}):
            refused(client.patch("/v1/streams/door", json=wish), 403)
        assert client.patch("/v1/streams/door", json={"scene": {"slate": True}}).json()["scene"]["slate"] is True


def test_a_service_without_streams_has_no_such_routes() -> None:
    with running() as server:
        assert server.client.get("/v1/streams").status_code == 404
        assert "/v1/streams" not in server.client.get("/openapi.json").text


def test_the_guard_stands_before_streams(folder: Path) -> None:
    with running(streams=opened(folder), token="a-token-of-24-characters") as server:
        assert server.client.get("/v1/streams").status_code == 401
        assert server.client.patch("/v1/streams/door", json={}).status_code == 401
    with running(streams=opened(folder)) as server:
        for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
            assert server.client.delete("/v1/streams/door", headers=headers).status_code == 403


SOURCES = [
    "concat:secret.mp4|secret.mp4", "subfile,,start,0,end,9,,:secret.mp4", "cache:http://cam.example/",
    "file:secret.mp4", "async:rtsp://cam.example:554/", "pipe:0", "data:video/mp4;base64,AAAA", "file:///etc/passwd",
    "/etc/passwd",
    "../secret.mp4", "secret.mp4", "out/../secret.mp4", "..%2fsecret.mp4", "secret.mp4\0.mp4", "secret.mp4\r\nx: y",
    "rtsp://10.0.0.1/", "rtsp://cam.example/", "rtsp://cam.example:555/", "http://cam.example:554/",
    "rtsp://cam.example:554@10.0.0.1/", "rtsp://10.0.0.1#@cam.example:554/", "rtsp://10.0.0.1?@cam.example:554/",
    "rtsp://10.0.0.1\\@cam.example:554/", "rtsp://cam.example:554 http://10.0.0.1/", "rtsp://cam.example.evil:554/",
    "rtsp://cam.example:554/|file:secret.mp4", "rtsp:///etc/passwd", "rtsp+http://cam.example:554/", "camera",
    "/dev/video0", "screen", "sample", "synthetic:", "-", "", "https://169.254.169.254/latest", "ffconcat version 1.0",
    "~/secret.mp4",
    "CON", "x" * 2048, "file:./secret.mp4", "gopher://cam.example:554/", "rtsp://[::1]:554/",
]  # fmt: skip


@pytest.mark.parametrize("source", SOURCES)
def test_sources_that_were_not_listed_are_refused(folder: Path, source: str) -> None:
    allowed = Allowed(
        add=True,
        sources=(parse_place("synthetic"), parse_place("rtsp://cam.example:554"), parse_place(str(folder / "out"))),
    )
    with pytest.raises(Refusal) as caught:
        allowed.source(source)
    assert caught.value.status == 403
    assert str(folder) not in caught.value.message


def test_listed_sources_are_taken(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.mp4").write_text("x")
    (tmp_path / "in" / "out.mp4").symlink_to(folder / "secret.mp4")
    allowed = Allowed(add=True, sources=(parse_place("rtsp://Cam.example"), parse_place(str(tmp_path / "in"))))
    for text in ("rtsp://cam.example/a?b=c", "rtsp://user:p%40ss@CAM.EXAMPLE:8554/x", "rtsp://cam.example."):
        if text.endswith("."):
            with pytest.raises(Refusal):
                allowed.source(text)
        else:
            assert allowed.source(text) == text
    assert allowed.source("a.mp4") == str(tmp_path / "in" / "a.mp4")
    with pytest.raises(Refusal):
        allowed.source("out.mp4")  # a link that leads out


OUTPUTS = [
    "../x.mp4", "/tmp/x.mp4", "a/../../x.mp4", "x.mp4\0", "x\n.mp4", "x.txt", ".x.mp4", "no-folder/x.mp4", "~/x.mp4",
    "mjpeg:8080", "camera", "udp://10.0.0.1:5000", "rtmp://cam.example/live/key", "-", "x", "link/x.mp4", "..", ".", "",
    "x.mp4:stream", "a" * 201 + ".mp4", "\\\\server\\x.mp4", "x.mp4/", "file:x.mp4", "tee:x.mp4",
]  # fmt: skip


@pytest.mark.parametrize("to", OUTPUTS)
def test_outputs_that_lead_elsewhere_are_refused(tmp_path: Path, to: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path)
    with pytest.raises(Refusal) as caught:
        Allowed(add=True, sinks=(parse_place(str(tmp_path / "out")),)).sink(to)
    assert caught.value.status == 403
    assert not list(tmp_path.rglob("*.mp4"))


@pytest.mark.parametrize("item", ["rtsp://", "rtsp://*", "rtsp://host/path", "rtsp://a b", "no-such-folder", "http:x"])
def test_an_item_that_allows_nothing_is_an_error(item: str) -> None:
    with pytest.raises(ValueError, match="give"):
        parse_place(item)


def test_files_in_a_listed_folder_lead_nowhere_else(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.mp4").write_bytes(b"the-servers-own-secret" * 100)
    inside = tmp_path / "in"
    inside.mkdir()
    with trap(serving(b"x")) as target:
        (inside / "list.ffconcat").write_text(f"ffconcat version 1.0\nfile '{tmp_path}/secret.mp4'\n")
        (inside / "list.mp4").write_text("ffconcat version 1.0\nfile '../secret.mp4'\n")
        (inside / "list.m3u8").write_text(f"#EXTM3U\n#EXTINF:3,\nhttp://127.0.0.1:{target.port}/x.ts\n#EXT-X-ENDLIST\n")
        allowed = Allowed(add=True, sources=(parse_place(str(inside)),), models=frozenset({"portrait"}))
        with running(streams=Streams(LocalFleet(StreamSet(capacity=None)), allowed)) as server:
            for name in ("list.ffconcat", "list.mp4", "list.m3u8"):
                answer = server.client.post("/v1/streams", json={"name": "x", "source": name})
                assert 400 <= answer.status_code < 500, answer.text
                assert str(tmp_path) not in answer.text
                assert name in answer.text
            for source in SOURCES:
                for port in ("", f":{target.port}"):
                    text = source.replace("10.0.0.1", f"127.0.0.1{port}")
                    assert server.client.post("/v1/streams", json={"name": "x", "source": text}).status_code in (
                        403,
                        422,
                    )
        assert not target.visits


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/srv/clips/door.mp4 is no video", "door.mp4 is no video"),
        ("'/srv/a/b.mp4': gone", "'b.mp4': gone"),
        ("rtsp://me:pass@cam/a/b: refused", "rtsp://[hidden]@cam/a/b: refused"),
        ("rtsp:/me:pass@cam/a/b?k=pass is none", "rtsp:/cam/a/b?[hidden] is none"),
        ("rtmp://host/live/pass: lost", "rtmp://host/live/[hidden] lost"),
        ("nothing of that: 3/4, a/b, text", "nothing of that: 3/4, a/b, text"),
    ],
)
def test_messages_have_neither_folders_nor_secrets(text: str, shown: str) -> None:
    assert public_text(text) == shown


def test_a_slate_is_shown_although_everything_else_is_being_opened(
    client: httpx.Client, server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(client)
    assert server.service.streams is not None
    entered, released = threading.Semaphore(0), threading.Event()

    def stuck(_: object) -> None:
        entered.release()
        released.wait(20)
        raise Overloaded("it took too long")

    def post(number: int) -> None:
        httpx.post(f"{server.url}/v1/streams", json={"name": f"s{number}", "source": PATTERN}, timeout=30)

    monkeypatch.setattr(server.service.streams.fleet, "add", stuck)
    threads = [threading.Thread(target=post, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert entered.acquire(timeout=10)
    refused(client.post("/v1/streams", json={"name": "more", "source": PATTERN}), 503)
    started = time.monotonic()
    assert client.patch("/v1/streams/door", json={"scene": {"slate": True}}).json()["scene"]["slate"]
    assert client.get("/ready").status_code == 200
    assert time.monotonic() - started < 2
    released.set()
    for thread in threads:
        thread.join()


def test_four_streams_are_changed_at_random_over_rest_without_an_error_or_a_leak(
    client: httpx.Client, folder: Path
) -> None:
    chance, names = random.Random(7), ("a", "b", "c", "d")
    for name in names:
        add(client, name)
    statuses: Counter[tuple[str, int]] = Counter()

    def wish(name: str) -> None:
        where = f"/v1/streams/{name}"
        match chance.randrange(7):
            case 0:
                background = chance.choice(["blur", "blur:4", "#00ff00", "beach.png", None])
                answer = client.patch(
                    where, json={"scene": {"background": background, "mirror": chance.random() < 0.5}}
                )
            case 1:
                answer = client.patch(where, json={"scene": {"slate": chance.random() < 0.5}})
            case 2:
                answer = client.post(f"{where}/sinks", json={"to": f"{name}-{chance.randrange(10**9)}.mp4"})
                if answer.status_code == 422:  # it has eight
                    return
            case 3:
                sinks = client.get(where).raise_for_status().json()["sinks"]
                if not sinks:
                    return
                answer = client.delete(f"{where}/sinks/{chance.choice(sinks)['id']}")
            case 4:
                client.delete(where).raise_for_status()
                answer = client.post("/v1/streams", json={"name": name, "source": PATTERN})
            case 5:
                answer = client.patch(where, json={"rate": chance.choice((5, 10, 15))})
            case _:
                answer = client.get(f"{where}/snapshot.jpg")
        statuses[answer.request.method, answer.status_code] += 1

    def settled() -> tuple[int, int]:
        for name in names:
            client.delete(f"/v1/streams/{name}").raise_for_status()
            add(client, name)
            client.get(f"/v1/streams/{name}/snapshot.jpg").raise_for_status()
        time.sleep(0.7)
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

    for name in names * 2:
        wish(name)
    before = settled()
    end = time.monotonic() + SOAK
    while time.monotonic() < end:
        wish(chance.choice(names))
    after = settled()
    assert all(status < 300 or (method, status) == ("GET", 503) for method, status in statuses), statuses
    assert statuses["GET", 503] <= statuses["GET", 200]  # a slate that was only just begun gives no picture at once
    assert sum(statuses.values()) > 2 * SOAK
    assert after[0] <= before[0] + 2  # threads of pools, which are bounded
    assert after[1] <= before[1] + 2
    assert not list((folder / "out").glob("*.part"))
