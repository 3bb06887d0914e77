"""The routes of the studio page, and WHIP and WHEP for everybody else (RFC 9725, draft-ietf-wish-whep)."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, RedirectResponse, Response

from rtseg.live.fleet import LocalFleet
from rtseg.live.scene import Scene
from rtseg.ops.resize import resize
from rtseg.sections import ModelOptions
from rtseg.service.control import Control, SceneWish, described, picture_path
from rtseg.service.intake import read_upload
from rtseg.service.peers import Peers, Session
from rtseg.service.pictures import read_picture, write_picture
from rtseg.service.refusals import Refusal
from rtseg.types import Frame

if TYPE_CHECKING:
    from rtseg.service.app import Service

_SDP = "application/sdp"
_MOST_SDP = 65536
_LARGEST = (1920, 1080)
"""Of a background picture, after it was decoded; what is larger is made smaller before it is kept."""
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Permissions-Policy": "camera=(self), microphone=(self), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Offer(BaseModel):
    """What the page sends: its offer, whole (no trickle), and what it wants to see first."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    sdp: Annotated[str, Field(max_length=_MOST_SDP)]
    model: Annotated[str, Field(max_length=200)] | None = None
    scene: SceneWish = SceneWish()


class WhipQuery(SceneWish):
    """What is shown of a camera that comes by WHIP."""

    model: Annotated[str, Field(max_length=200)] | None = None

    def scene(self) -> Scene:
        """Without the model, which is no part of it."""
        return SceneWish(**self.model_dump(exclude_unset=True, exclude={"model"})).scene()


def add_live(app: FastAPI, service: Service) -> None:
    """Routes and peers; the server ends the peers (`Service.peers`)."""
    settings = service.settings
    options = [
        ModelOptions(name=name, providers=settings.providers, threads=settings.threads, timeout=5.0)
        for name in settings.models
    ]
    models = dict(zip(service.cards, options, strict=True))
    fleet = None if service.streams is None else service.streams.fleet
    find = fleet.streams.find if isinstance(fleet, LocalFleet) else lambda _name: None
    peers = service.peers = Peers(models, most=settings.cameras, find_stream=find)
    own = APIRouter(dependencies=[Depends(_own_origin)])
    _add_studio(own, service, peers)
    _add_whip(own, peers)
    app.include_router(own)
    _add_page(app)


async def _own_origin(request: Request) -> None:
    """A page of another origin gets nothing, whatever it may know: there is no CORS here.

    It waits for nothing, but is a coroutine, since FastAPI puts plain functions into threads of their own.
    """
    origin = request.headers.get("origin")
    if origin is None:
        return
    try:
        theirs = urlsplit(origin)
    except ValueError:
        theirs = None
    if theirs is None or theirs.netloc.lower() != request.headers.get("host", "").lower():
        raise Refusal(403, "pages of other origins may not use this service's cameras")


def _add_studio(router: APIRouter, service: Service, peers: Peers) -> None:
    schema = Offer.model_json_schema()
    del schema["$defs"]  # OpenAPI finds references of its own only
    schema["properties"]["scene"] = SceneWish.model_json_schema()
    body = {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}

    @router.post("/v1/webrtc/offer", tags=["live"], status_code=201, openapi_extra=body)
    async def offer(request: Request) -> Response:
        """Begin: a camera comes, and goes back composited. Scene changes and figures go over the data channel."""
        body = await _body(request, 2 * _MOST_SDP)
        try:
            asked = Offer.model_validate_json(body)
        except ValidationError as error:
            raise Refusal(422, _problem(error)) from error
        session, sdp = await peers.studio(asked.sdp, model=asked.model, scene=asked.scene.scene(), prepare=control)
        assert session.stream is not None
        scene = described(session.stream)
        return JSONResponse({"id": session.peer.id, "sdp": sdp, "model": asked.model, "scene": scene}, 201)

    def control(session: Session) -> None:
        Control(peers, session)

    @router.delete("/v1/webrtc/{id}", tags=["live"], status_code=204)
    async def leave(id: str) -> None:  # noqa: A002
        """End a session of the page."""
        await _find(peers, id, "studio").peer.close("the page left")

    @router.post("/v1/webrtc/{id}/background", tags=["live"])
    async def background(request: Request, id: str) -> Response:  # noqa: A002
        """A picture to stand behind: kept in a private folder until another comes, or the peer leaves."""
        session = _find(peers, id, "studio")
        upload = await read_upload(request, max_bytes=service.settings.max_bytes)
        data = upload.files.get("image")
        if data is None:
            raise Refusal(422, 'send the picture as the body, or as a form with a file "image"')
        made = await peers.off_loop(lambda: _small(data, service.settings.max_pixels))
        async with session.changing:
            if session.stream is None or session.peer.id not in peers.sessions:
                raise Refusal(404, "this session has ended: begin another")
            stream = session.stream

            def show() -> None:
                number = session.pictures + 1
                path = picture_path(session, number)
                path.write_bytes(made)
                stream.change(background=str(path))
                session.pictures = number
                picture_path(session, number - 1).unlink(missing_ok=True)

            await peers.off_loop(show)
        return JSONResponse(described(stream))


def _small(data: bytes, max_pixels: int) -> bytes:
    """The picture as a PNG no larger than `_LARGEST`, opaque."""
    frame = read_picture(data, max_pixels=max_pixels)
    width, height = frame.size
    scale = min(1.0, _LARGEST[0] / width, _LARGEST[1] / height)
    if scale < 1:
        size = (max(2, round(width * scale)), max(2, round(height * scale)))
        frame = Frame.from_rgb(resize(frame.rgb, size))
    return write_picture(replace(frame, alpha=None), "png")


def _add_whip(router: APIRouter, peers: Peers) -> None:
    responses: dict[int | str, dict[str, Any]] = {201: {"content": {_SDP: {}}}}

    @router.post("/whip/{name}", tags=["live"], status_code=201, response_class=Response, responses=responses)
    async def publish(request: Request, name: str, query: Annotated[WhipQuery, Query()]) -> Response:
        """Send a camera in under a name (WHIP). It is shown to viewers only, with the room blurred unless asked."""
        session, sdp = await peers.whip(_name(name), await _sdp(request), model=query.model, scene=query.scene())
        return _created(session, sdp)

    @router.post("/whep/{name}", tags=["live"], status_code=201, response_class=Response, responses=responses)
    async def view(request: Request, name: str) -> Response:
        """See what is sent under a name (WHEP)."""
        session, sdp = await peers.whep(_name(name), await _sdp(request))
        return _created(session, sdp)

    @router.delete("/whip/{name}/{id}", tags=["live"])
    async def unpublish(name: str, id: str) -> Response:  # noqa: A002
        """End a session."""
        await _find(peers, id, "whip", name).peer.close("the session was deleted")
        return Response(status_code=200)

    @router.delete("/whep/{name}/{id}", tags=["live"])
    async def leave(name: str, id: str) -> Response:  # noqa: A002
        """End a session."""
        await _find(peers, id, "whep", name).peer.close("the session was deleted")
        return Response(status_code=200)

    for kind in ("whip", "whep"):
        # RFC 9725, 4.3: who has neither trickle ICE nor restarts answers 405 to PATCH; clients then begin anew.
        router.add_api_route(f"/{kind}/{{name}}/{{id}}", _no_patch, methods=["PATCH"], include_in_schema=False)
        for path in (f"/{kind}/{{name}}", f"/{kind}/{{name}}/{{id}}"):
            router.add_api_route(path, _options, methods=["OPTIONS"], include_in_schema=False)


async def _no_patch() -> Response:
    return JSONResponse(
        {"error": "neither trickle ICE nor restarts are done here: send a whole offer, and begin anew"},
        405,
        {"Allow": "DELETE, OPTIONS"},
    )


async def _options() -> Response:
    return Response(status_code=204, headers={"Accept-Post": _SDP})


def _created(session: Session, sdp: str) -> Response:
    where = f"/{session.kind}/{session.name}/{session.peer.id}"
    return Response(sdp, 201, {"Location": where}, media_type=_SDP)


def _find(peers: Peers, id: str, kind: str, name: str | None = None) -> Session:  # noqa: A002
    session = peers.sessions.get(id)
    if session is None or session.kind != kind or (name is not None and session.name != name):
        raise Refusal(404, "no such session: it may have ended")
    return session


def _name(name: str) -> str:
    if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii() or len(name) > 64:
        raise Refusal(404, "names of streams are at most 64 letters, digits, - and _")
    return name


async def _sdp(request: Request) -> str:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _SDP:
        raise Refusal(415, f"the body must be an offer of type {_SDP}", {"Accept-Post": _SDP})
    return await _body(request, _MOST_SDP)


async def _body(request: Request, most: int) -> str:
    """The body as text; read no further than it may be."""
    read = bytearray()
    try:
        async for chunk in request.stream():
            read += chunk
            if len(read) > most:
                raise Refusal(413, f"an offer may have {most} bytes", {"Connection": "close"})
        return read.decode()
    except UnicodeDecodeError as error:
        raise Refusal(400, "the body is no text") from error
    except ClientDisconnect as error:
        raise Refusal(400, "the client left before its request had come") from error


def _problem(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'request'}: {first['msg']}"[:300]


def _add_page(app: FastAPI) -> None:
    folder = files("rtseg.service") / "studio"
    pages = {entry.name: entry.read_bytes() for entry in folder.iterdir() if _suffix(entry.name) in _TYPES}

    @app.get("/studio", include_in_schema=False)
    async def studio() -> Response:
        return RedirectResponse("studio/")

    @app.get("/studio/", include_in_schema=False)
    async def index() -> Response:
        return _file("index.html")

    @app.get("/studio/{name}", include_in_schema=False)
    async def part(name: str) -> Response:
        if name not in pages:
            raise Refusal(404, "the studio has no such part")
        return _file(name)

    def _file(name: str) -> Response:
        return Response(pages[name], headers={**_HEADERS, "Content-Type": _TYPES[_suffix(name)]})


def _suffix(name: str) -> str:
    return name[name.rfind(".") :]
