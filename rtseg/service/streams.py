"""Routes under `/v1/streams`: live streams added, looked at, changed and removed while they run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from fastapi import FastAPI, Path, Request
from pydantic import BaseModel, ValidationError
from starlette.responses import Response

from rtseg.service.fleet import Streams
from rtseg.service.intake import CountedBody, parse_json
from rtseg.service.refusals import Refusal
from rtseg.service.schemas import REFUSALS, ErrorAnswer
from rtseg.service.stream_schemas import SinkRequest, StreamAnswer, StreamChange, StreamList, StreamRequest

if TYPE_CHECKING:
    from rtseg.service.settings import Settings

B = TypeVar("B", bound=BaseModel)

_LONGEST = 65536
ANSWERS: dict[int | str, dict[str, Any]] = {
    **{status: REFUSALS[status] for status in (400, 401, 408, 413, 422, 503)},
    403: {"model": ErrorAnswer, "description": "A foreign host or origin, or what the operator has not allowed."},
    404: {"model": ErrorAnswer, "description": "No such stream."},
    409: {"model": ErrorAnswer, "description": "The name is taken, or the output is somebody's already."},
}
StreamName = Annotated[str, Path(alias="name", pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", examples=["door"])]
_Sink = Annotated[str, Path(alias="sink", pattern=r"^[0-9a-f]{12}$")]


def add_streams(app: FastAPI, streams: Streams, settings: Settings) -> None:
    """The routes around a service's streams."""
    seconds = settings.timeout

    async def read(request: Request, kind: type[B]) -> B:
        return await _read(request, kind, seconds=settings.upload_timeout)

    @app.get("/v1/streams", tags=["streams"], responses={503: ANSWERS[503]})
    async def list_streams() -> StreamList:
        """Every stream, as it is now."""
        return await streams.run(streams.all, seconds=seconds, look=True)

    @app.post(
        "/v1/streams",
        tags=["streams"],
        status_code=201,
        response_model=StreamAnswer,
        responses=ANSWERS,
        openapi_extra=_body(StreamRequest),
    )
    async def add_stream(request: Request) -> StreamAnswer:
        """Begin a stream, where the operator has allowed it."""
        return await streams.run(streams.add, await read(request, StreamRequest), seconds=seconds)

    @app.get("/v1/streams/{name}", tags=["streams"], responses=ANSWERS)
    async def get_stream(name: StreamName) -> StreamAnswer:
        """A stream, as it is now."""
        return await streams.run(streams.one, name, seconds=seconds, look=True)

    @app.patch(
        "/v1/streams/{name}",
        tags=["streams"],
        response_model=StreamAnswer,
        responses=ANSWERS,
        openapi_extra=_body(StreamChange),
    )
    async def change_stream(request: Request, name: StreamName) -> StreamAnswer:
        """Change a stream while it runs: its scene, and what else the operator has allowed."""
        return await streams.run(streams.change, name, await read(request, StreamChange), seconds=seconds)

    @app.delete("/v1/streams/{name}", tags=["streams"], status_code=204, responses=ANSWERS, response_class=Response)
    async def remove_stream(name: StreamName) -> Response:
        """End a stream; its files are whole afterwards."""
        await streams.run(streams.remove, name, seconds=seconds)
        return Response(status_code=204)

    @app.post(
        "/v1/streams/{name}/sinks",
        tags=["streams"],
        status_code=201,
        response_model=StreamAnswer,
        responses=ANSWERS,
        openapi_extra=_body(SinkRequest),
    )
    async def add_sink(request: Request, name: StreamName) -> StreamAnswer:
        """One more output."""
        return await streams.run(streams.add_sink, name, (await read(request, SinkRequest)).to, seconds=seconds)

    @app.delete("/v1/streams/{name}/sinks/{sink}", tags=["streams"], responses=ANSWERS)
    async def remove_sink(name: StreamName, sink: _Sink) -> StreamAnswer:
        """An output less; the others go on."""
        return await streams.run(streams.remove_sink, name, sink, seconds=seconds)


async def _read(request: Request, kind: type[B], *, seconds: float) -> B:
    """A small body of JSON; Refusal for one that is too long or too slow, no JSON, or not what it should be."""
    body, taken = CountedBody(request.receive, limit=_LONGEST, seconds=seconds), bytearray()
    while not body.done:
        message = await body()
        if message["type"] != "http.request":
            raise Refusal(400, "the client left before its request had come")
        taken += message.get("body", b"")
    try:
        return kind.model_validate(parse_json(bytes(taken)))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "request"
        raise Refusal(422, f"{place}: {first['msg'][0].lower()}{first['msg'][1:]}"[:300]) from error


def _body(kind: type[BaseModel]) -> dict[str, Any]:
    schema = kind.model_json_schema()
    parts = schema.pop("$defs", {})
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": _inlined(schema, parts)}}}}


def _inlined(value: Any, parts: dict[str, Any]) -> Any:
    """A schema with what it refers to in its place: the document knows nothing of it otherwise."""
    match value:
        case {"$ref": str(ref)}:
            return _inlined(parts[ref.rpartition("/")[2]], parts)
        case dict():
            return {key: _inlined(inner, parts) for key, inner in value.items()}
        case list():
            return [_inlined(inner, parts) for inner in value]
        case _:
            return value
