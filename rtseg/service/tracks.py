"""WebRTC's tracks as a source and as a sink of live streams: the newest picture, both ways."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction

import av
import cv2
import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from rtseg.live.slate import slate
from rtseg.ops.arrays import U8, as_u8
from rtseg.ops.fit import convert
from rtseg.sources.planes import PlaneReader
from rtseg.types import Colour, Frame, Output, Size, StreamInfo

COLOUR = Colour("bt601")
"""What browsers make of cameras and take pictures for, whatever their size: neither VP8 nor aiortc's H.264 says it."""
MAX_PIXELS = 1920 * 1088
"""Of a peer's picture: full HD, with the lines that H.264 adds."""
PAUSED = "rtseg: paused"
_STALLED = 1.0
_UNSPECIFIED = 2  # H.273


class TrackSource:
    """The newest picture of a peer's track; `put` comes from the event loop, the iteration from a stream's thread.

    What came before a picture was read is replaced by it and counted ("replaced"). Planes are the decoder's own. A
    picture of another size begins an epoch. state: "opening" before the first picture, "live", or "stalled" after a
    second without one.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._changed = threading.Condition()
        self._newest: tuple[av.VideoFrame, float, int] | None = None
        self._closed = False
        self._count = self._replaced = 0
        self._read = PlaneReader()
        self.size: Size | None = None
        self.arrived: float | None = None

    @property
    def live(self) -> bool:
        """An unread picture is worth nothing."""
        return True

    @property
    def info(self) -> StreamInfo:
        """The name and the size of the newest picture."""
        return StreamInfo(self._name, size=self.size, time_base=Fraction(1, 90000))

    @property
    def counts(self) -> Mapping[str, int]:
        """Pictures that were replaced before they were read."""
        return {"replaced": self._replaced}

    @property
    def state(self) -> str:
        """See the class."""
        if self.arrived is None:
            return "opening"
        return "live" if time.monotonic() - self.arrived < _STALLED else "stalled"

    def put(self, picture: av.VideoFrame) -> None:
        """Leave a picture, in place of one that nobody has read."""
        with self._changed:
            self._replaced += self._newest is not None
            self.arrived = time.monotonic()
            self._newest = (picture, self.arrived, self._count)
            self._count += 1
            self._changed.notify()

    def __iter__(self) -> Iterator[Frame]:
        epoch, size = 0, None
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._newest is not None or self._closed)
                if self._newest is None or self._closed:
                    return
                (picture, arrived, index), self._newest = self._newest, None
            planes, colour, _ = self._read(picture)
            if picture.colorspace == _UNSPECIFIED:
                colour = Colour(COLOUR.matrix, colour.full_range)
            now = Size(picture.width, picture.height)
            epoch, size = epoch + (size not in (None, now)), now
            self.size = size
            yield Frame(
                planes,
                colour,
                index=index,
                pts=picture.pts or 0,
                time_base=picture.time_base or Fraction(1, 90000),
                arrived=arrived,
                epoch=epoch,
            )

    def close(self) -> None:
        """End the iteration; what was not read is gone."""
        with self._changed:
            self._closed, self._newest = True, None
            self._changed.notify()


class PictureTrack(MediaStreamTrack):
    """A track that gives its newest picture to whoever sends it; pictures are left from any thread.

    encode: milliseconds from giving a picture until the next was asked for, which is when it was encoded and sent.
    """

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._home = asyncio.get_running_loop()
        self._left = asyncio.Event()
        self._newest: av.VideoFrame | None = None
        self.encode: float | None = None
        self._given: float | None = None

    def leave(self, picture: av.VideoFrame) -> None:
        """Leave a picture from any thread; one that was not sent yet is replaced."""
        self._newest = picture
        self.call(self._left.set)

    def call(self, work: Callable[[], object]) -> None:
        """Have something done in the event loop, from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop has ended, and with it whoever would look
            self._home.call_soon_threadsafe(work)

    async def recv(self) -> av.VideoFrame:
        """The newest picture that was not sent yet; raises MediaStreamError at the end."""
        if self._given is not None:
            took = (time.monotonic() - self._given) * 1e3
            self.encode = took if self.encode is None else 0.9 * self.encode + 0.1 * took
        while self.readyState == "live":
            picture, self._newest = self._newest, None
            if picture is not None:
                self._given = time.monotonic()
                return picture
            self._left.clear()
            if self._newest is None:
                await self._left.wait()
        raise MediaStreamError

    def stop(self) -> None:
        """End the track, and whoever waits for a picture."""
        super().stop()
        self._newest = None
        self._left.set()


class TrackSink:
    """Hands pictures to a track; never waits.

    connected: whether the track's other end is there. hidden: set it, from any thread, and from the next picture on
    slates are handed over in place of pictures, whatever the stream is busy with. recent: of the last pictures the
    milliseconds from their arrival, and those of the network where it was asked. renew: called in the event loop
    before the first of pictures without colour, slates among them, so that the encoder sends it whole: at low rates
    codecs leave places that hardly differ as they were, and the room would shimmer through the card.
    """

    def __init__(self, track: PictureTrack, *, renew: Callable[[], None] = lambda: None) -> None:
        self._track, self._renew = track, renew
        self._grey = False
        self.connected = self.hidden = False
        self.recent: deque[tuple[float, float | None]] = deque(maxlen=90)

    @property
    def watched(self) -> bool:
        """Whether anybody looks."""
        return self.connected

    def write(self, output: Output) -> None:
        """Leave the picture, as browsers take it, for the track."""
        if not self.connected:
            return
        picture = output.picture
        if self.hidden:
            picture = replace(slate(picture.size, PAUSED), pts=picture.pts, time_base=picture.time_base)
        before, self._grey = self._grey, picture.is_grey
        if self._grey and not before:
            self._track.call(self._renew)
        self._track.leave(as_video_frame(picture))
        if not output.held:
            network = output.times.get("segment") if output.inferred else None
            self.recent.append(((time.monotonic() - output.frame.arrived) * 1e3, network))

    def close(self) -> None:
        """Nothing: the track belongs to its connection."""


def as_video_frame(frame: Frame) -> av.VideoFrame:
    """A picture as codecs of WebRTC take it: 4:2:0, BT.601 of limited range, even sides; a copy of its own.

    An odd last line or column is left out. pts and time base are the frame's.
    """
    y, u, v = frame.planes
    if frame.colour != COLOUR:
        y, u, v = convert((y, u, v), frame.colour, COLOUR)
    width, height = (side // 2 * 2 for side in frame.size)
    made = av.VideoFrame(width, height, "yuv420p")
    half = (width // 2, height // 2)
    for target, source in zip(made.planes, (y[:height, :width], _halved(u, half), _halved(v, half)), strict=True):
        lines = np.frombuffer(target, np.uint8).reshape(-1, target.line_size)  # type: ignore[call-overload]
        lines[: source.shape[0], : source.shape[1]] = source
    made.pts, made.time_base = frame.pts, frame.time_base
    return made


def _halved(plane: U8, size: tuple[int, int]) -> U8:
    width, height = size
    if plane.shape[0] - height <= 1 and plane.shape[1] - width <= 1:
        return plane[:height, :width]
    return as_u8(cv2.resize(plane, size, interpolation=cv2.INTER_AREA))
