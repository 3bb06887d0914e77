"""One peer over WebRTC: its camera through a live stream and back, or into a stream that others watch, or a viewer.

Only video is taken. Sound stays where it is (`docs/studio.md` says why): an offered audio line, and any video line
after the first, is answered as inactive, so that nothing is received that nobody reads.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Awaitable, Callable, Coroutine
from queue import Empty, Queue
from typing import Any

from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError

from rtseg.service.refusals import Refusal
from rtseg.service.tracks import MAX_PIXELS, PictureTrack, TrackSink, TrackSource

log = logging.getLogger("rtseg.service")

CONNECT = 8.0
"""Seconds from the answer until the connection must stand."""
SILENCE = 5.0
"""Seconds without a picture, or, of a viewer, without a report, after which a peer is taken for gone."""
BEHIND = 60
"""Pictures that may wait to be decoded, two seconds of them: later ones would only be older."""
_TICK = 0.5
_MOST_LINES, _MOST_CANDIDATES = 8, 64


class Peer:
    """A connection and what hangs on it; belongs to one event loop.

    id: not to be guessed, since whoever knows it may end the peer. on_close: called once, when nothing can be sent any
    more, to give back what the peer had. Anything that goes wrong closes the peer, and `reason` says what it was.
    """

    def __init__(self, id: str, on_close: Callable[[Peer], Awaitable[None]]) -> None:  # noqa: A002 - what it is
        self.id = id
        self.reason: str | None = None
        self.source: TrackSource | None = None
        self.track: PictureTrack | None = None
        self.sink: TrackSink | None = None
        self.on_connected: Callable[[], None] = lambda: None
        self.on_message: Callable[[str], None] | None = None
        self._on_close = on_close
        # No servers for ICE: nothing outside is asked, so peers must reach this machine by an address of its own.
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._channel: Any = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing: asyncio.Task[None] | None = None
        self._connected_at: float | None = None
        self._connection.on("connectionstatechange", self._changed)
        self._connection.on("datachannel", self._take_channel)

    @property
    def connected(self) -> bool:
        """Whether media flows, or could."""
        return self._connected_at is not None and self._closing is None

    async def take_offer(self, sdp: str, *, sends: bool, receives: bool) -> None:
        """Read an offer and make the tracks; sends: this side sends pictures. receives: it takes the peer's.

        Raises Refusal 400 for what is no offer, and 422 for one without such a line of video.
        """
        _check(sdp)
        try:
            await self._connection.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
        except Exception as error:  # aiortc's parser raises what it likes
            raise Refusal(400, "the body is no offer (SDP) that can be answered") from error
        chosen: RTCRtpTransceiver | None = None
        for transceiver in self._connection.getTransceivers():
            offered = transceiver._offerDirection or "inactive"  # as seen from here
            fits = (not receives or "recv" in offered) and (not sends or "send" in offered)
            if chosen is None and transceiver.kind == "video" and fits:
                chosen = transceiver
            else:
                transceiver.direction = "inactive"
        if chosen is None:
            what = "sends and takes" if sends and receives else "sends" if receives else "takes"
            raise Refusal(422, f"the offer has no line of video that {what} pictures")
        if sends:
            self.track = PictureTrack()
            self.sink = TrackSink(self.track, renew=chosen.sender._send_keyframe)
            chosen.sender.replaceTrack(self.track)
        chosen.direction = "sendrecv" if sends and receives else "recvonly" if receives else "sendonly"
        if receives:
            self.source = TrackSource(self.id)
            self._do(self._drain(chosen.receiver.track, self.source))

    async def answer(self) -> str:
        """The answer as SDP; from now on the connection must come about in time."""
        await self._connection.setLocalDescription(await self._connection.createAnswer())
        self._do(self._watch(time.monotonic()))
        return str(self._connection.localDescription.sdp)

    def tell(self, text: str) -> None:
        """Send a message over the data channel; dropped where there is none, or where nobody reads."""
        channel = self._channel
        if channel is not None and channel.readyState == "open" and channel.bufferedAmount < 65536:
            channel.send(text)

    def close_soon(self, reason: str) -> None:
        """Begin to close, once."""
        if self._closing is None:
            self.reason = reason
            log.info("peer %s ends: %s", self.id[:8], reason)
            self._closing = asyncio.ensure_future(self._close())

    async def close(self, reason: str = "closed") -> None:
        """Close, and wait until everything is given back."""
        self.close_soon(reason)
        assert self._closing is not None
        await asyncio.shield(self._closing)

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something for as long as the peer is there; an error closes it."""
        self._do(work)

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        async def doing() -> None:
            try:
                await work
            except Exception as error:
                log.exception("peer %s", self.id[:8])
                self.close_soon(f"an error: {type(error).__name__}")

        task = asyncio.ensure_future(doing())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _drain(self, track: MediaStreamTrack, source: TrackSource) -> None:
        # Whatever happens to the pictures, they are taken: aiortc's queue has no end.
        while True:
            try:
                picture = await track.recv()
            except MediaStreamError:
                self.close_soon("the peer ended its track")
                return
            if picture.width * picture.height > MAX_PIXELS:  # type: ignore[union-attr]
                self.close_soon(f"pictures of {picture.width}x{picture.height}: at most full HD is taken")  # type: ignore[union-attr]
                return
            source.put(picture)  # type: ignore[arg-type]

    async def _watch(self, began: float) -> None:
        while self._closing is None:
            await asyncio.sleep(_TICK)
            now = time.monotonic()
            if self._connected_at is None:
                if now - began > CONNECT:
                    self.close_soon(f"no connection within {CONNECT:g} seconds")
                continue
            behind = max((queue.qsize() for queue in self._undecoded()), default=0)
            if behind > BEHIND:
                self.close_soon(f"{behind} pictures wait to be decoded: this machine is too slow for so many")
            last = await self._heard()
            if now - max(self._connected_at, last or 0.0) > SILENCE:
                self.close_soon(f"nothing was heard for {SILENCE:g} seconds")

    def _undecoded(self) -> list[Queue[Any]]:
        """What waits for aiortc's decoders: queues without an end as well, which aiortc shows to nobody."""
        found = (vars(each).get("_RTCRtpReceiver__decoder_queue") for each in self._connection.getReceivers())
        return [queue for queue in found if queue is not None]

    async def _heard(self) -> float | None:
        """When the peer was last heard of, by `time.monotonic()`."""
        if self.source is not None:
            return self.source.arrived
        now, wall = time.monotonic(), time.time()
        for sender in self._connection.getSenders():
            for report in (await sender.getStats()).values():
                if report.type == "remote-inbound-rtp":
                    return now - wall + float(report.timestamp.timestamp())
        return None

    def _changed(self) -> None:
        match self._connection.connectionState:
            case "connected":
                if self._connected_at is None:
                    self._connected_at = time.monotonic()
                    if self.sink is not None:
                        self.sink.connected = True
                    self.on_connected()
            case "failed" | "closed" as state:
                self.close_soon(f"the connection {'failed' if state == 'failed' else 'was closed'}")

    def _take_channel(self, channel: Any) -> None:
        if self._channel is not None or self.on_message is None:
            channel.close()
            return
        self._channel = channel
        channel.on("message", self._hear)

    def _hear(self, message: object) -> None:
        if self.on_message is not None and isinstance(message, str) and len(message) <= 4096:
            self.on_message(message)

    async def _close(self) -> None:
        if self.sink is not None:
            self.sink.connected = False
        if self.track is not None:
            self.track.stop()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for queue in self._undecoded():  # aiortc waits for its decoder, and all else in the loop with it
            with contextlib.suppress(Empty):
                while True:
                    queue.get_nowait()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SILENCE):
                    await self._connection.close()
        except Exception:
            log.exception("peer %s", self.id[:8])
        finally:
            if self.source is not None:
                self.source.close()
            self._channel = None
            await self._on_close(self)


def _check(sdp: str) -> None:
    """Refuse what would make much work of little text."""
    lines = len(re.findall(r"^m=", sdp, re.MULTILINE))
    candidates = len(re.findall(r"^a=candidate:", sdp, re.MULTILINE))
    if not sdp.startswith("v=0") or not lines:
        raise Refusal(400, "the body is no offer: SDP begins with v=0 and has lines of media")
    if lines > _MOST_LINES or candidates > _MOST_CANDIDATES:
        raise Refusal(
            400, f"the offer has {lines} media and {candidates} addresses: at most {_MOST_LINES} and {_MOST_CANDIDATES}"
        )
