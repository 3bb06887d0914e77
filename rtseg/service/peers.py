"""All peers of a service: who may come in, the streams between them, and everything given back when they leave."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeAlias, TypeVar

from rtseg.errors import Overloaded
from rtseg.live.opening import open_stream
from rtseg.live.paced import Paced
from rtseg.live.scene import Scene
from rtseg.live.stream import LiveStream
from rtseg.sections import ModelOptions
from rtseg.service.memory import give_back
from rtseg.service.refusals import Refusal
from rtseg.service.room import Room
from rtseg.service.webrtc import Peer
from rtseg.streams import Networks
from rtseg.types import Sink

log = logging.getLogger("rtseg.service")

T = TypeVar("T")
Kind: TypeAlias = Literal["studio", "whip", "whep"]
FULL = {"Retry-After": "5"}
_RATE = 30.0
_IDLE = 1.0
"""Seconds after the last peer has left until memory is given back."""
_TOO_LATE = "the service is leaving"


@dataclass(eq=False)
class Session:
    """A peer, what kind it is, and what it holds. stream: its own, of a viewer the one that it looks at."""

    peer: Peer
    kind: Kind
    name: str
    stream: LiveStream | None = None
    folder: TemporaryDirectory[str] | None = None
    pictures: int = 0
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def place(self) -> Path:
        """A folder that only this service can read, gone with the peer."""
        if self.folder is None:
            self.folder = TemporaryDirectory(prefix="rtseg-peer-")
        return Path(self.folder.name)


class Peers:
    """Makes sessions from offers and ends them; belongs to one event loop, but for `find_stream`.

    models: options by the names that clients use, the default first. most: cameras at a time. capacity: of a network,
    as in `Networks`. find_stream: streams of others that viewers may ask for by name. Work that blocks (models opened,
    threads ended, pictures read) is done by a few threads of its own, so that neither the loop nor the encoders wait.
    """

    def __init__(
        self,
        models: Mapping[str, ModelOptions],
        *,
        most: int = 8,
        capacity: float | None = 0.85,
        find_stream: Callable[[str], LiveStream | None] = lambda _name: None,
    ) -> None:
        self.models = dict(models)
        self.sessions: dict[str, Session] = {}
        self._most = most
        self._find_stream = find_stream
        self._networks = Networks(capacity=capacity)
        self._work = ThreadPoolExecutor(4, thread_name_prefix="rtseg-peers")
        self._room = Room(os.cpu_count() or 1)
        self._closed = False

    async def off_loop(self, work: Callable[[], T]) -> T:
        """The result of something that may block."""
        return await asyncio.get_running_loop().run_in_executor(self._work, work)

    async def studio(
        self, sdp: str, *, model: str | None, scene: Scene, prepare: Callable[[Session], None] = lambda _session: None
    ) -> tuple[Session, str]:
        """A camera that comes and goes back composited; the session and the answer. Raises Refusal.

        prepare: called with the session before it can be connected to.
        """
        return await self._camera("studio", secrets.token_urlsafe(18), sdp, model, scene, prepare)

    async def whip(self, name: str, sdp: str, *, model: str | None, scene: Scene) -> tuple[Session, str]:
        """A camera that comes, under a name for viewers. Raises Refusal, 409 where the name is taken."""
        taken = any(session.kind == "whip" and session.name == name for session in self.sessions.values())
        if taken or self._find_stream(name) is not None:
            raise Refusal(409, f"somebody else sends as {name!r}: use another name, or end that session first")
        return await self._camera("whip", name, sdp, model, scene)

    async def whep(self, name: str, sdp: str) -> tuple[Session, str]:
        """A viewer of a stream. Raises Refusal, 404 where there is no stream of that name."""
        stream = self.stream(name)
        if stream is None:
            raise Refusal(404, f"nobody sends as {name!r}")
        self._check_room(cameras=False)
        session = Session(self._peer(), "whep", name, stream)
        answer = await self._taken(session, sdp, sends=True, receives=False)
        peer, sink = session.peer, session.peer.sink
        assert sink is not None
        await self.off_loop(lambda: stream.add_sink(peer.id, _paced(peer.id, sink)))
        if peer.id not in self.sessions:  # it left meanwhile
            await self.off_loop(lambda: stream.remove_sink(peer.id))
        return session, answer

    def stream(self, name: str) -> LiveStream | None:
        """What is sent under a name: by WHIP, or one of others."""
        for session in self.sessions.values():
            if session.kind == "whip" and session.name == name:
                return session.stream
        return self._find_stream(name)

    async def close(self) -> None:
        """End all, and take nobody any more."""
        self._closed = True
        await asyncio.gather(*(session.peer.close(_TOO_LATE) for session in tuple(self.sessions.values())))
        await self.off_loop(self._networks.close)
        self._work.shutdown(wait=False)

    async def _camera(
        self,
        kind: Kind,
        name: str,
        sdp: str,
        model: str | None,
        scene: Scene,
        prepare: Callable[[Session], None] = lambda _session: None,
    ) -> tuple[Session, str]:
        options = self._options(model)
        self._check_room(cameras=True)
        session = Session(self._peer(), kind, name)
        prepare(session)
        return session, await self._taken(
            session, sdp, sends=kind == "studio", receives=True, open_with=(options, scene)
        )

    async def _taken(
        self,
        session: Session,
        sdp: str,
        *,
        sends: bool,
        receives: bool,
        open_with: tuple[ModelOptions, Scene] | None = None,
    ) -> str:
        peer = session.peer
        self.sessions[peer.id] = session
        try:
            await peer.take_offer(sdp, sends=sends, receives=receives)
            if open_with is not None:
                await self._open(session, *open_with)
            return await peer.answer()
        except Overloaded as error:
            await peer.close("the network is full")
            raise full() from error
        except BaseException:
            await peer.close("it could not begin")
            raise

    async def _open(self, session: Session, options: ModelOptions, scene: Scene) -> None:
        peer = session.peer
        assert peer.source is not None
        sinks = {} if peer.sink is None else {"peer": _paced(peer.id, peer.sink)}
        opening = partial(
            open_stream,
            peer.source,
            sinks,
            networks=self._networks,
            model=options,
            scene=scene,
            rate=_RATE,
            name=f"{session.kind}-{peer.id[:8]}",
        )
        coming = asyncio.ensure_future(self.off_loop(opening))
        try:
            stream = await asyncio.shield(coming)
        except asyncio.CancelledError:  # the thread goes on: what it opens is nobody's
            coming.add_done_callback(_discard)
            raise
        if peer.reason is not None:
            await asyncio.to_thread(stream.close)
            raise Refusal(503, f"it ended before it began: {peer.reason}", FULL)
        session.stream = stream

    def _options(self, model: str | None) -> ModelOptions:
        name = next(iter(self.models)) if model is None else model
        if name not in self.models:
            raise Refusal(404, f"no model {name[:80]!r} here: use one of {', '.join(self.models)}")
        return self.models[name]

    def _peer(self) -> Peer:
        return Peer(secrets.token_urlsafe(18), self._left)

    def _check_room(self, *, cameras: bool) -> None:
        if self._closed:
            raise Refusal(503, _TOO_LATE, FULL)
        here = sum(session.kind != "whep" for session in self.sessions.values())
        viewers = len(self.sessions) - here
        if (here if cameras else viewers) >= self._most or self._room.full(time.monotonic(), here):
            raise full()

    async def _left(self, peer: Peer) -> None:
        """Give back what a peer had; its viewers go with it."""
        session = self.sessions.pop(peer.id, None)
        if session is None:
            return
        stream, kind = session.stream, session.kind
        if kind == "whip" and stream is not None:
            for other in tuple(self.sessions.values()):
                if other.kind == "whep" and other.stream is stream:
                    other.peer.close_soon("the stream has ended")
        if stream is not None:
            await self.off_loop(partial(stream.remove_sink, peer.id) if kind == "whep" else stream.close)
        if session.folder is not None:
            await self.off_loop(session.folder.cleanup)
        asyncio.get_running_loop().call_later(_IDLE, self._rest)

    def _rest(self) -> None:
        if not self.sessions and not self._closed:
            self._work.submit(give_back)


def _discard(coming: asyncio.Future[LiveStream]) -> None:
    if not coming.cancelled() and coming.exception() is None:
        threading.Thread(target=coming.result().close, name="rtseg-discard", daemon=True).start()


def full() -> Refusal:
    """503: no camera more."""
    return Refusal(503, "the server is full: try again in a few seconds", FULL)


def _paced(name: str, sink: Sink) -> Paced:
    return Paced(lambda _size: sink, name=f"peer-{name[:8]}", text=lambda: "rtseg: no signal")


def message(kind: str, **values: Any) -> str:
    """A message of the data channel."""
    return json.dumps({"type": kind, **values}, separators=(",", ":"))
