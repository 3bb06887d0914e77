"""WebRTC in and out of the service, with aiortc at the other end; and everything given back."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from footage import open_files
from serving import Running, encoded, picture, running

pytest.importorskip("aiortc", reason="needs the extra webrtc")

from aiortc import RTCRtpSender
from aiortc.codecs.vpx import Vp8Decoder, Vp8Encoder

from benchmarks.callers import Caller, Camera, until
from rtseg.live.fleet import LocalFleet
from rtseg.live.opening import open_stream
from rtseg.live.options import parse_stream
from rtseg.live.scene import Scene
from rtseg.live.stream import LiveStream
from rtseg.live.streamset import StreamSet
from rtseg.sections import ModelOptions
from rtseg.service import peers as peers_module
from rtseg.service import webrtc
from rtseg.service.allow import Allowed
from rtseg.service.control import Control
from rtseg.service.fleet import Streams
from rtseg.service.peers import Peers, Session
from rtseg.service.refusals import Refusal
from rtseg.service.webrtc import Peer

GREEN = "#00ff00"
SDP = {"Content-Type": "application/sdp"}
SLOW = 6.0
"""Seconds that opening takes in a test: more than anything else that other tests, running beside it, keep waiting."""


@asynccontextmanager
async def open_peers(**more: Any) -> AsyncIterator[Peers]:
    made = Peers({"portrait": ModelOptions(name="portrait")}, **more)
    try:
        yield made
    finally:
        await made.close()


@asynccontextmanager
async def calling(peers: Peers, **wishes: Any) -> AsyncIterator[tuple[Caller, Session]]:
    """A caller whose camera sees a grey wall, and the session at the other end."""
    async with a_caller() as caller:
        caller.send(Camera())
        scene = Scene(background=GREEN)
        session, answer = await peers.studio(await caller.offer(), model=None, scene=scene, **wishes)
        await caller.take(answer)
        yield caller, session


@asynccontextmanager
async def a_caller() -> AsyncIterator[Caller]:
    caller = Caller()
    try:
        yield caller
    finally:
        await caller.close()


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(main(), 60))


def is_green(caller: Caller) -> bool:
    return bool(caller.seen) and bool(np.abs(caller.seen[-1].mean((0, 1)) - (0, 255, 0)).max() < 4)


def told(caller: Caller, kind: str) -> list[dict[str, Any]]:
    messages = [json.loads(text) for text in caller.messages]
    return [message for message in messages if message["type"] == kind]


def test_a_camera_comes_back_with_its_background_replaced() -> None:
    async def main() -> None:
        async with open_peers() as peers:
            async with calling(peers) as (caller, session):
                await until(lambda: caller.count >= 10 and is_green(caller))
                assert session.stream is not None
                assert session.stream.status().state == "live"
            await until(lambda: not peers.sessions, seconds=3)

    run(main)


def test_wishes_are_obeyed_and_figures_told() -> None:
    async def main() -> None:
        async with (
            open_peers() as peers,
            calling(peers, prepare=lambda session: Control(peers, session) and None) as (caller, _),
        ):
            await until(lambda: is_green(caller))
            caller.channel.send(json.dumps({"type": "ping", "at": 3.5}))
            caller.channel.send(json.dumps({"type": "scene", "background": "#ff0000", "mirror": True}))
            await until(lambda: caller.seen[-1].mean((0, 1))[0] > 240)
            assert told(caller, "pong") == [{"type": "pong", "at": 3.5}]
            last = told(caller, "scene")[-1]
            assert (last["background"], last["mirror"], last["slate"]) == ("#ff0000", True, False)
            await until(lambda: told(caller, "stats"))
            figures = told(caller, "stats")[-1]
            assert figures["state"] == "live"
            assert figures["model"] == "portrait"
            assert figures["size"] == [160, 120]
            assert 0 < figures["latency"]["p50"] <= figures["latency"]["p95"] <= figures["latency"]["p99"]
            assert figures["inference"] > 0
            caller.channel.send(json.dumps({"type": "scene", "slate": True}))
            await until(lambda: caller.seen[-1].mean() < 40)

    run(main)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"type": "scene", "background": "/etc/passwd.png"}, "background"),
        ({"type": "scene", "background": "../x.png"}, "background"),
        ({"type": "scene", "background": "picture"}, "no picture yet"),
        ({"type": "scene", "colour": "red"}, "colour"),
        ({"type": "scene", "overlay": "a\u0000b"}, "overlay"),
        ({"type": "model", "name": "../road"}, "no model"),
        ({"type": "what"}, "message"),
        ([1], "message"),
    ],
)
def test_wishes_that_cannot_be_are_told_and_change_nothing(message: Any, said: str) -> None:
    async def main() -> None:
        async with (
            open_peers() as peers,
            calling(peers, prepare=lambda session: Control(peers, session) and None) as (caller, session),
        ):
            await until(lambda: is_green(caller))
            caller.channel.send(json.dumps(message))
            await until(lambda: told(caller, "error"))
            assert said in told(caller, "error")[-1]["error"]
            assert session.stream is not None
            assert session.stream.scene == Scene(background=GREEN)

    run(main)


def test_sound_and_a_second_video_are_not_taken() -> None:
    async def main() -> None:
        async with open_peers() as peers, a_caller() as caller:
            caller.send(Camera())
            caller.connection.addTransceiver("audio", direction="sendonly")
            caller.connection.addTransceiver("video", direction="sendonly")
            _, answer = await peers.studio(await caller.offer(), model=None, scene=Scene(background=GREEN))
            media = [(part.split()[0], "a=inactive" in part) for part in answer.split("\nm=")[1:]]
            assert [taken for kind, taken in media if kind == "audio"] == [True]
            assert sorted(taken for kind, taken in media if kind == "video") == [False, True]

    run(main)


@pytest.mark.parametrize("body", ["", "v=0", "hello", "v=0\r\nm=video x", "v=0\r\n" + 9 * "m=video 9 X 1\r\n"])
def test_what_is_no_offer_is_refused_and_leaves_nothing(body: str) -> None:
    async def main() -> None:
        async with open_peers() as peers:
            with pytest.raises(Refusal) as refused:
                await peers.studio(body, model=None, scene=Scene(background=GREEN))
            assert refused.value.status == 400
            assert not peers.sessions

    run(main)


def test_an_offer_that_only_looks_is_refused_as_a_camera() -> None:
    async def main() -> None:
        async with open_peers() as peers, a_caller() as caller:
            caller.look()
            with pytest.raises(Refusal, match="no line of video") as refused:
                await peers.studio(await caller.offer(), model=None, scene=Scene(background=GREEN))
            assert refused.value.status == 422
            assert not peers.sessions

    run(main)


def test_a_full_server_says_so_and_when_to_come_again() -> None:
    async def main() -> None:
        async with open_peers(most=1) as peers, calling(peers), a_caller() as second:
            second.send(Camera())
            with pytest.raises(Refusal, match="full") as refused:
                await peers.studio(await second.offer(), model=None, scene=Scene(background=GREEN))
            assert refused.value.status == 503
            assert refused.value.headers["Retry-After"] == "5"

    run(main)


def test_a_network_without_room_is_a_full_server() -> None:
    async def main() -> None:
        async with open_peers(capacity=1e-6) as peers:
            with pytest.raises(Refusal, match="full"):
                async with calling(peers):
                    pass
            assert not peers.sessions

    run(main)


def test_a_peer_that_falls_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webrtc, "SILENCE", 1.0)

    async def main() -> None:
        async with open_peers() as peers, a_caller() as caller:
            camera = Camera(rate=30)
            caller.send(camera)
            session, answer = await peers.studio(await caller.offer(), model=None, scene=Scene(background=GREEN))
            await caller.take(answer)
            await until(lambda: caller.count > 3)
            camera.rate = 1e-3  # the connection stands, and nothing comes
            await until(lambda: not peers.sessions, seconds=4)
            assert session.peer.reason == "nothing was heard for 1 seconds"
            assert session.stream is not None
            assert session.stream.wait(1)

    run(main)


def test_an_offer_whose_peer_never_comes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webrtc, "CONNECT", 0.6)

    async def main() -> None:
        async with open_peers() as peers, a_caller() as caller:
            caller.send(Camera())
            session, _ = await peers.studio(await caller.offer(), model=None, scene=Scene(background=GREEN))
            await until(lambda: not peers.sessions, seconds=4)
            assert session.peer.reason == "no connection within 0.6 seconds"

    run(main)


def test_pictures_are_taken_off_the_queue_whatever_becomes_of_them() -> None:
    async def main() -> None:
        async def nothing(_: Peer) -> None: ...

        peer = Peer("alone", nothing)
        async with a_caller() as caller:
            caller.send(Camera(rate=60))
            await peer.take_offer(await caller.offer(), sends=True, receives=True)  # and no stream reads
            await caller.take(await peer.answer())
            assert peer.source is not None
            await until(lambda: peer.source.counts["replaced"] > 60)  # type: ignore[union-attr]
            queue = peer._connection.getReceivers()[0].track._queue  # type: ignore[attr-defined]
            assert queue.qsize() <= 2
            await peer.close()

    run(main)


def test_a_peer_whose_pictures_cannot_be_decoded_in_time_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webrtc, "BEHIND", 20)
    decode = Vp8Decoder.decode

    def slowly(decoder: Vp8Decoder, encoded_frame: Any) -> Any:
        time.sleep(0.2)
        return decode(decoder, encoded_frame)

    monkeypatch.setattr(Vp8Decoder, "decode", slowly)

    async def main() -> None:
        async with open_peers() as peers, calling(peers) as (_, session):
            await until(lambda: not peers.sessions)
            assert "wait to be decoded" in str(session.peer.reason)
            monkeypatch.undo()  # what waits is decoded before its thread ends

    run(main)


def test_pictures_over_full_hd_end_the_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webrtc, "MAX_PIXELS", 160 * 120 - 1)

    async def main() -> None:
        async with open_peers() as peers, calling(peers) as (_, session):
            await until(lambda: not peers.sessions)
            assert "160x120" in str(session.peer.reason)

    run(main)


def test_a_size_that_changes_on_the_way_comes_back_changed() -> None:
    async def main() -> None:
        async with open_peers() as peers, a_caller() as caller:
            camera = Camera((160, 120))
            caller.send(camera)
            session, answer = await peers.studio(await caller.offer(), model=None, scene=Scene(background=GREEN))
            await caller.take(answer)
            await until(lambda: is_green(caller) and caller.seen[-1].shape == (120, 160, 3))
            camera.size = (120, 90)
            await until(lambda: caller.seen[-1].shape == (90, 120, 3) and is_green(caller))
            assert session.stream is not None
            assert session.stream.status().error is None

    run(main)


@pytest.mark.slow
def test_aborted_connections_give_everything_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webrtc, "CONNECT", 1.5)

    async def abort(peers: Peers, stage: int) -> None:
        async with a_caller() as caller:
            caller.send(Camera())
            session, answer = await peers.studio(await caller.offer(), model=None, scene=Scene(background=GREEN))
            if stage > 0:
                await caller.take(answer)
            if stage > 1:
                await until(lambda: session.peer.connected)
            if stage > 2:
                await until(lambda: caller.count > 1)
            if stage == 0:
                await session.peer.close("left")  # as the page's DELETE does
        await until(lambda: not peers.sessions, seconds=15)

    async def main() -> None:
        async with open_peers() as peers:
            for stage in range(4):  # what is made once
                await abort(peers, stage)
            await asyncio.sleep(0.5)
            threads, files = threads_of_peers(), open_files()
            for number in range(12):
                await abort(peers, number % 4)
            await until(lambda: threads_of_peers() == threads and open_files() <= files)

    run(main)


def threads_of_peers() -> list[str]:
    """Threads that are running, without the two pools, which grow to their size and stay."""
    names = [thread.name for thread in threading.enumerate()]
    return sorted(name for name in names if not name.startswith(("asyncio_", "rtseg-peers")))


def test_a_service_that_leaves_ends_its_peers() -> None:
    async def main() -> None:
        async with a_caller() as caller:
            async with open_peers() as peers:
                caller.send(Camera())
                session, answer = await peers.studio(await caller.offer(), model=None, scene=Scene(background=GREEN))
                await caller.take(answer)
                await until(lambda: caller.count > 3)
            assert session.stream is not None
            assert session.stream.wait(1)
            with pytest.raises(Refusal, match="leaving"):
                await peers.studio("v=0", model=None, scene=Scene())

    run(main)


@pytest.fixture
def service() -> Iterator[Running]:
    with running(models=("portrait",), studio=True) as started:
        yield started


@asynccontextmanager
async def http(service: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=service.url, timeout=20, verify=False) as client:
        yield client


def test_whip_comes_in_and_whep_goes_out(service: Running) -> None:
    async def main() -> None:
        async with http(service) as client, a_caller() as sender, a_caller() as viewer, a_caller() as another:
            sender.send(Camera())
            made = await client.post(
                f"/whip/lab?background={GREEN.replace('#', '%23')}", content=await sender.offer(), headers=SDP
            )
            assert made.status_code == 201
            assert made.headers["Content-Type"].startswith("application/sdp")
            await sender.take(made.text)
            peers = service.service.peers
            assert peers is not None
            stream = peers.stream("lab")
            assert stream is not None
            await until(lambda: stream.status().state == "idle")  # nobody looks: the network rests
            assert stream.status().inferred == 0

            viewer.look()
            seen = await client.post("/whep/lab", content=await viewer.offer(), headers=SDP)
            assert seen.status_code == 201
            await viewer.take(seen.text)
            await until(lambda: viewer.count >= 5 and is_green(viewer))

            another.send(Camera())
            taken = await client.post("/whip/lab", content=await another.offer(), headers=SDP)
            assert taken.status_code == 409

            assert (await client.delete(seen.headers["Location"])).status_code == 200
            await until(lambda: stream.status().state == "idle")
            assert (await client.delete(made.headers["Location"])).status_code == 200
            assert (await client.delete(made.headers["Location"])).status_code == 404
            assert peers.stream("lab") is None
            gone = await client.post("/whep/lab", content="v=0", headers=SDP)
            assert gone.status_code == 404

    run(main)


def test_streams_of_the_operator_are_watched_by_their_names() -> None:
    pattern = {"type": "synthetic", "graph": "testsrc2=size=160x96:rate=30", "live": True}
    streams = StreamSet(capacity=None)
    door = streams.add(parse_stream({"name": "door", "source": pattern, "scene": {"background": GREEN}}))

    async def main(service: Running) -> None:
        async with http(service) as client, a_caller() as viewer, a_caller() as sender:
            await until(lambda: door.status().state == "idle")
            viewer.look()
            seen = await client.post("/whep/door", content=await viewer.offer(), headers=SDP)
            assert seen.status_code == 201
            await viewer.take(seen.text)
            await until(lambda: viewer.count >= 5 and is_green(viewer))
            sender.send(Camera())
            taken = await client.post("/whip/door", content=await sender.offer(), headers=SDP)
            assert taken.status_code == 409
            assert (await client.delete(seen.headers["Location"])).status_code == 200
            await until(lambda: door.status().state == "idle")

    with running(models=("portrait",), studio=True, streams=Streams(LocalFleet(streams), Allowed())) as service:
        run(lambda: main(service))


def test_viewers_go_with_their_stream(service: Running) -> None:
    async def main() -> None:
        async with http(service) as client, a_caller() as sender, a_caller() as viewer:
            sender.send(Camera())
            made = await client.post("/whip/lab", content=await sender.offer(), headers=SDP)
            await sender.take(made.text)
            viewer.look()
            await viewer.take((await client.post("/whep/lab", content=await viewer.offer(), headers=SDP)).text)
            await until(lambda: viewer.count >= 3)
            await client.delete(made.headers["Location"])
            peers = service.service.peers
            assert peers is not None
            await until(lambda: not peers.sessions)

    run(main)


def test_whip_answers_as_its_rfc_says(service: Running) -> None:
    client = service.client
    assert client.post("/whip/lab", content="v=0", headers={"Content-Type": "text/plain"}).status_code == 415
    assert client.post("/whip/lab", content="nonsense", headers=SDP).status_code == 400
    assert client.post("/whip/lab?background=/etc/x.png", content="v=0", headers=SDP).status_code == 422
    assert client.post("/whip/lab?model=nobody", content="v=0", headers=SDP).status_code == 404
    assert client.post("/whip/no.dots", content="v=0", headers=SDP).status_code == 404
    assert client.post("/whip/lab", content="v=0" + 70_000 * "x", headers=SDP).status_code == 413
    for method in ("GET", "PUT"):
        assert client.request(method, "/whip/lab").status_code == 405
        assert client.request(method, "/whip/lab/session").status_code == 405
    patch = client.patch("/whip/lab/session", content="a=ice-ufrag:x", headers={"If-Match": "*"})
    assert patch.status_code == 405  # neither trickle ICE nor restarts: RFC 9725, 4.3
    assert "DELETE" in patch.headers["Allow"]
    assert client.options("/whip/lab").headers["Accept-Post"] == "application/sdp"


def test_pages_of_other_origins_get_nothing(service: Running) -> None:
    own = service.url
    for path in ("/v1/webrtc/offer", "/whip/lab", "/whep/lab"):
        for foreign in ("https://evil.example", "http://localhost:1", "null"):
            answer = service.client.post(path, content="{}", headers={**SDP, "Origin": foreign})
            assert answer.status_code == 403, (path, foreign)
            assert "access-control-allow-origin" not in answer.headers
        assert service.client.post(path, content="{}", headers={**SDP, "Origin": own}).status_code in (400, 404, 422)


def test_the_page_is_open_and_everything_behind_it_wants_the_token() -> None:
    token = "a-token-of-24-characters"
    with running(models=("portrait",), studio=True, token=token) as service:
        page = service.client.get("/studio/")
        assert page.status_code == 200
        assert "script-src 'self'" in page.headers["Content-Security-Policy"]
        assert "unsafe" not in page.headers["Content-Security-Policy"]
        for path in ("/v1/webrtc/offer", "/whip/lab", "/whep/lab", "/v1/webrtc/x/background", "/studio-x"):
            assert service.client.post(path, content="{}", headers=SDP).status_code == 401, path
        authorized = {**SDP, "Authorization": f"Bearer {token}"}
        assert service.client.post("/whep/lab", content="v=0", headers=authorized).status_code == 404


def test_the_page_is_whole_and_nothing_else_is_served(service: Running) -> None:
    client = service.client
    assert {"/v1/webrtc/offer", "/whip/{name}", "/whep/{name}"} <= set(client.get("/openapi.json").json()["paths"])
    assert client.get("/studio").headers["Location"] == "studio/"
    page = client.get("/studio/").text
    assert "http://" not in page.replace("http://www.w3.org", "")
    for name in ("studio.css", "app.js", "link.js", "mark.svg"):
        assert client.get(f"/studio/{name}").status_code == 200
    for name in ("..%2fapp.py", "%2e%2e/app.py", "nothing.js", "__init__.py"):
        assert client.get(f"/studio/{name}").status_code == 404
    with running() as without:
        assert without.client.get("/studio/").status_code == 404
        assert without.client.post("/v1/webrtc/offer", content="{}").status_code == 404


def test_a_background_is_kept_in_private_and_gone_with_its_peer(service: Running) -> None:
    async def main() -> None:
        async with http(service) as client, a_caller() as caller:
            caller.send(Camera())
            offer = {"sdp": await caller.offer(), "scene": {"background": GREEN}}
            made = (await client.post("/v1/webrtc/offer", json=offer)).json()
            await caller.take(made["sdp"])
            await until(lambda: is_green(caller))
            peers = service.service.peers
            assert peers is not None
            session = peers.sessions[made["id"]]
            where = f"/v1/webrtc/{made['id']}/background"

            red = np.full((40, 60, 3), (0, 0, 255), np.uint8)
            for _ in range(2):
                sent = await client.post(where, content=encoded(red))
                assert sent.json()["background"] == "picture"
            await until(lambda: caller.seen[-1].mean((0, 1))[0] > 240)
            folder = Path(session.place)
            assert folder.stat().st_mode & 0o077 == 0
            assert [file.name for file in folder.iterdir()] == ["background-2.png"]

            assert (await client.post(where, content=b"no picture")).status_code == 422
            assert (await client.post("/v1/webrtc/other/background", content=encoded(red))).status_code == 404
            large = encoded(picture((3000, 200)))
            await client.post(where, content=large)
            assert [file.name for file in folder.iterdir()] == ["background-3.png"]

            assert (await client.delete(f"/v1/webrtc/{made['id']}")).status_code == 204
            assert not folder.exists()

    run(main)


def test_the_loop_answers_while_cameras_come_and_go(service: Running, monkeypatch: pytest.MonkeyPatch) -> None:

    def slowly(*arguments: Any, **options: Any) -> LiveStream:
        time.sleep(SLOW)
        return open_stream(*arguments, **options)

    monkeypatch.setattr(peers_module, "open_stream", slowly)

    async def main() -> None:
        async with http(service) as client, a_caller() as caller:
            caller.send(Camera())
            offer = asyncio.ensure_future(client.post("/v1/webrtc/offer", json={"sdp": await caller.offer()}))
            slowest = 0.0
            while not offer.done():
                began = time.monotonic()
                assert (await client.get("/health")).status_code == 200
                slowest = max(slowest, time.monotonic() - began)
            assert offer.result().status_code == 201
            assert slowest < SLOW, "opening a model is nothing for the loop"

    run(main)


def test_a_name_is_taken_while_its_sender_is_still_coming() -> None:
    async def main() -> None:
        async with open_peers(most=2) as peers, a_caller() as one, a_caller() as other:
            one.send(Camera())
            other.send(Camera())
            offers = await one.offer(), await other.offer()
            scene = Scene(background=GREEN)
            results = await asyncio.gather(
                *(peers.whip("lab", offer, model=None, scene=scene) for offer in offers), return_exceptions=True
            )
            refused = [result.status for result in results if isinstance(result, Refusal)]
            assert refused == [409]
            assert len(peers.sessions) == 1

    run(main)


def test_what_is_still_opened_when_the_service_leaves_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[LiveStream] = []
    began = threading.Event()

    def slowly(*arguments: Any, **options: Any) -> LiveStream:
        began.set()
        time.sleep(0.3)
        opened.append(open_stream(*arguments, **options))
        return opened[-1]

    monkeypatch.setattr(peers_module, "open_stream", slowly)

    async def main() -> None:
        async with a_caller() as caller:
            async with open_peers() as peers:
                caller.send(Camera())
                coming = asyncio.ensure_future(
                    peers.studio(await caller.offer(), model=None, scene=Scene(background=GREEN))
                )
                await asyncio.to_thread(began.wait, 5)
            with pytest.raises(Refusal, match="ended before it began"):
                await coming
            assert opened[0].wait(2)

    run(main)


def test_a_slate_is_sent_whole_so_that_the_room_does_not_shimmer_through(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[tuple[float, bool]] = []
    encode = Vp8Encoder.encode

    def seen(encoder: Vp8Encoder, frame: Any, force_keyframe: bool = False) -> Any:
        encoded.append((float(np.frombuffer(frame.planes[0], np.uint8).std()), force_keyframe))
        return encode(encoder, frame, force_keyframe)

    rng = np.random.default_rng(3)
    room = rng.integers(0, 256, (15, 20, 3), np.uint8).repeat(16, axis=0).repeat(16, axis=1)

    async def main() -> None:
        async with open_peers() as peers, a_caller() as caller:
            caller.send(Camera((320, 240), draw=lambda number: np.roll(room, 2 * number, axis=1)))
            session, answer = await peers.studio(await caller.offer(), model=None, scene=Scene())
            await caller.take(answer)
            await until(lambda: caller.count > 20 and caller.seen[-1].std() > 30)
            monkeypatch.setattr(Vp8Encoder, "encode", seen)  # only now: the caller's own encoder is busy as well
            assert session.peer.sink is not None
            session.peer.sink.hidden = True
            await until(lambda: caller.seen[-1].mean() < 50 and np.ptp(caller.seen[-1][:100]) <= 4)
            slates = [key for deviation, key in encoded if deviation < 30]
            assert slates[0]
            assert not all(slates)

    run(main)


def test_h264_is_taken_and_sent_as_well() -> None:
    async def main() -> None:
        async with open_peers() as peers, a_caller() as caller:
            caller.send(Camera())
            (transceiver,) = caller.connection.getTransceivers()
            codecs = RTCRtpSender.getCapabilities("video").codecs
            transceiver.setCodecPreferences([codec for codec in codecs if codec.mimeType == "video/H264"])
            offer = await caller.offer()
            assert "VP8" not in offer
            _, answer = await peers.studio(offer, model=None, scene=Scene(background=GREEN))
            await caller.take(answer)
            await until(lambda: is_green(caller))

    run(main)
