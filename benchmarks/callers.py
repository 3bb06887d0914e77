"""aiortc's other end: a peer that sends a moving picture and looks at what comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from fractions import Fraction

import av
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from rtseg.ops.arrays import U8


class Camera(MediaStreamTrack):
    """`rate` pictures a second of one grey level, or of what `draw` gives for a number: RGB uint8 HxWx3."""

    kind = "video"

    def __init__(
        self, size: tuple[int, int] = (160, 120), *, rate: float = 30.0, draw: Callable[[int], U8] | None = None
    ) -> None:
        super().__init__()
        self.size, self.rate, self.sent = size, rate, 0
        self._draw = draw
        self._began = time.monotonic()

    async def recv(self) -> av.VideoFrame:
        """The next picture, when it is due."""
        if self.readyState != "live":
            raise MediaStreamError
        await asyncio.sleep(max(0.0, self._began + self.sent / self.rate - time.monotonic()))
        width, height = self.size
        rgb = np.full((height, width, 3), 200, np.uint8) if self._draw is None else self._draw(self.sent)
        picture = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format="yuv420p")
        picture.pts, picture.time_base = round(self.sent * 90000 / self.rate), Fraction(1, 90000)
        self.sent += 1
        return picture


class Caller:
    """A connection of the client's; `seen` has the newest pictures that came back, as RGB."""

    def __init__(self) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.seen: list[U8] = []
        self.messages: list[str] = []
        self.count = 0
        self._reading: asyncio.Task[None] | None = None
        self.connection.on("track", self._take)
        self.channel = self.connection.createDataChannel("rtseg")
        self.channel.on("message", self.messages.append)

    def send(self, track: MediaStreamTrack) -> None:
        """Offer to send a track, and to take one back."""
        self.connection.addTrack(track)

    def look(self) -> None:
        """Offer to take a picture."""
        self.connection.addTransceiver("video", direction="recvonly")

    async def offer(self) -> str:
        """The offer as SDP, with all addresses."""
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return str(self.connection.localDescription.sdp)

    async def take(self, answer: str) -> None:
        """Take the answer, and begin."""
        await self.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    def _take(self, track: MediaStreamTrack) -> None:
        self._reading = asyncio.ensure_future(self._read(track))

    async def _read(self, track: MediaStreamTrack) -> None:
        while True:
            try:
                picture = await track.recv()
            except MediaStreamError:
                return
            self.count += 1
            self.seen = [*self.seen[-4:], np.asarray(picture.to_ndarray(format="rgb24"), np.uint8)]  # type: ignore[union-attr]

    async def close(self) -> None:
        """End the connection, whatever became of it."""
        await self.connection.close()
        if self._reading is not None:
            self._reading.cancel()  # of a connection that never stood the track never ends
            await asyncio.gather(self._reading, return_exceptions=True)


async def until(condition: Callable[[], object], *, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.01)
