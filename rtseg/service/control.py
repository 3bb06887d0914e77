"""What a peer says over its data channel, and what it is told: wishes in, figures out."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from rtseg.errors import RtsegError
from rtseg.live.scene import Scene
from rtseg.live.stream import LiveStream
from rtseg.service.peers import Peers, Session, message
from rtseg.service.refusals import Refusal, one_line
from rtseg.subject import WORDS, in_words

EVERY = 0.5
"""Seconds between two tellings of figures."""
PICTURE = "picture"
"""Clients' word for the picture that they sent: no word of theirs ever is a path."""


class _Checked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SceneWish(_Checked):
    """Parts of a scene, as clients may ask for them; what is not given stays.

    background: none (the room is shown), blur, blur:N, #rrggbb, or picture, the one that was sent.
    """

    background: Annotated[str, Field(pattern=r"^(none|blur|blur:\d{1,2}(\.\d{1,2})?|#[0-9a-fA-F]{6}|picture)$")] = (
        "blur"
    )
    overlay: Annotated[str, Field(pattern=r"^[\w ,.-]{0,200}$", description="all, names joined by commas, or ''.")] = ""
    framing: Annotated[
        str, Field(pattern=r"^((body|head)(:[1-4](\.\d{1,2})?)?)?$", description="body, head, head:1.5, or ''.")
    ] = ""
    mirror: bool = False
    subject: Annotated[str, Field(pattern=WORDS, description="Who is shown: all, largest, or x,y from 0 to 1.")] = "all"
    keep_held: Annotated[bool, Field(description="With what the subject holds.")] = False
    frozen: bool = False
    slate: bool = False

    def values(self, session: Session | None = None) -> dict[str, Any]:
        """As `Scene.changed` takes them; Refusal 422 for a picture that was never sent."""
        given = self.model_dump(exclude_unset=True)
        match given.get("background"):
            case "none":
                given["background"] = None
            case "picture":
                if session is None or not session.pictures:
                    raise Refusal(422, "there is no picture yet: send one first")
                given["background"] = str(picture_path(session))
        for key in ("overlay", "framing"):
            if given.get(key) == "":
                given[key] = None
        return given

    def scene(self) -> Scene:
        """A whole scene, with the room hidden where nothing is said of it."""
        return Scene(background="blur").changed(self.values())


class _SceneMessage(SceneWish):
    type: Literal["scene"]


class _ModelMessage(_Checked):
    type: Literal["model"]
    name: Annotated[str, Field(max_length=200)]


class _Ping(_Checked):
    type: Literal["ping"]
    at: float


_Message: TypeAlias = Annotated[_SceneMessage | _ModelMessage | _Ping, Field(discriminator="type")]
_MESSAGES: TypeAdapter[_Message] = TypeAdapter(_Message)


class Control:
    """Obeys one peer.

    Wishes are made real one after another, off the loop; those that come meanwhile are put together, the newest of
    each kind. To hide everything waits for nothing: the very next picture is a slate.
    """

    def __init__(self, peers: Peers, session: Session) -> None:
        self._peers, self._session = peers, session
        self._scene: dict[str, Any] = {}
        self._model: str | None = None
        self._wished = asyncio.Event()
        session.peer.on_message = self.hear
        session.peer.on_connected = self._begin

    def hear(self, text: str) -> None:
        """A message of the peer; whatever is wrong with it is told, and changes nothing."""
        peer = self._session.peer
        try:
            asked = _MESSAGES.validate_json(text)
        except ValidationError as error:
            problem = error.errors(include_input=False, include_url=False)[0]
            place = ".".join(map(str, problem["loc"][1:])) or "message"
            peer.tell(message("error", error=one_line(f"{place}: {problem['msg']}")[:200]))
            return
        match asked:
            case _Ping():
                peer.tell(message("pong", at=asked.at))
            case _ModelMessage():
                self._model = asked.name
                self._wished.set()
            case _SceneMessage():
                if asked.slate and peer.sink is not None:
                    peer.sink.hidden = True
                self._scene |= asked.model_dump(exclude_unset=True, exclude={"type"})
                self._wished.set()

    def _begin(self) -> None:
        self._session.peer.run(self._obey())
        self._session.peer.run(self._tell())

    async def _obey(self) -> None:
        session = self._session
        while True:
            await self._wished.wait()
            self._wished.clear()
            scene, self._scene = self._scene, {}
            model, self._model = self._model, None
            stream = session.stream
            if stream is None:
                continue
            try:
                async with session.changing:
                    if scene:
                        await self._change(stream, scene)
                    if model is not None:
                        await self._swap(stream, model)
            except (RtsegError, Refusal) as error:
                session.peer.tell(message("error", error=one_line(str(error))[:300]))
            session.peer.tell(message("scene", **described(stream)))

    async def _change(self, stream: LiveStream, scene: dict[str, Any]) -> None:
        values = SceneWish.model_validate(scene).values(self._session)
        await self._peers.off_loop(lambda: stream.change(**values))
        sink = self._session.peer.sink
        if sink is not None and not self._scene.get("slate", False):
            sink.hidden = stream.scene.slate

    async def _swap(self, stream: LiveStream, model: str) -> None:
        if model not in self._peers.models:
            raise Refusal(404, f"no model {model[:80]!r} here: use one of {', '.join(self._peers.models)}")
        await self._peers.off_loop(lambda: stream.swap(self._peers.models[model].name))

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            stream = self._session.stream
            if stream is not None:
                # Not by the threads that open models: a page without figures takes the connection for lost.
                figures = await asyncio.to_thread(self._figures, stream)
                self._session.peer.tell(message("stats", **figures))

    def _figures(self, stream: LiveStream) -> dict[str, Any]:
        """Latency: ms in here, from a picture's arrival until the encoder had it, of the last three seconds."""
        status, peer = stream.status(), self._session.peer
        recent = [] if peer.sink is None else list(peer.sink.recent)
        network = [ms for _, ms in recent if ms is not None]
        sink = status.sinks.get("peer")
        size = None if peer.source is None else peer.source.size
        p50, p95, p99 = np.percentile([ms for ms, _ in recent] or [0.0], [50, 95, 99])
        return {
            "state": status.state,
            "fps": round(status.fps, 1),
            "latency": {"p50": round(p50, 1), "p95": round(p95, 1), "p99": round(p99, 1)},
            "encode": None if peer.track is None or peer.track.encode is None else round(peer.track.encode, 1),
            "inference": round(float(np.median(network)), 2) if network else None,
            "dropped": sum(status.counts.values()) + status.left_out + (0 if sink is None else sink.replaced),
            "rung": status.rung,
            "model": status.model,
            "size": None if size is None else list(size),
            "error": None if status.error is None else one_line(status.error)[:300],
        }


def described(stream: LiveStream) -> dict[str, Any]:
    """What a stream shows, in the words of clients."""
    scene = stream.scene.model_dump()
    background = scene["background"]
    scene["background"] = "none" if background is None else PICTURE if "/" in background else background
    scene["overlay"], scene["framing"] = scene["overlay"] or "", scene["framing"] or ""
    scene["subject"] = in_words(stream.scene.subject)
    return scene


def picture_path(session: Session, number: int | None = None) -> Any:
    """Where a peer's picture lies; the newest without a number. A name each, since effects keep what they read."""
    return session.place / f"background-{session.pictures if number is None else number}.png"
