"""The application: routes, and what they have in common. `guard.py` stands before it."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from rtseg.errors import RtsegError
from rtseg.service.feed_routes import add_feeds
from rtseg.service.fetch import Fetcher
from rtseg.service.fleet import Streams
from rtseg.service.guard import Guard
from rtseg.service.intake import Upload, decode_base64, parse_json, read_upload
from rtseg.service.metrics import MEDIA_TYPE, Metrics
from rtseg.service.pictures import MEDIA_TYPES
from rtseg.service.refusals import Refusal, busy, refusal_of
from rtseg.service.schemas import (
    PICTURE_BODY,
    REFUSALS,
    CompositeQuery,
    Health,
    InferenceRequest,
    InferenceSegment,
    ModelInfo,
    ModelList,
    PictureRequest,
    SegmentAnswer,
    SegmentParameters,
    SegmentQuery,
)
from rtseg.service.settings import Settings
from rtseg.service.stream_metrics import StreamCollector
from rtseg.service.streams import add_streams
from rtseg.service.work import Desk, find_model
from rtseg.service.workers import Models, Workers

T = TypeVar("T")
B = TypeVar("B", bound=BaseModel)


class Service:
    """Settings, workers and counters of one running service; `application` is what a server runs.

    models: one set for each worker (`rtseg.service.workers.load_models`). fetcher: in place of the usual one.
    streams: live streams beside the pictures; they are the service's from now on.
    """

    def __init__(
        self,
        settings: Settings,
        models: Sequence[Models],
        *,
        fetcher: Fetcher | None = None,
        streams: Streams | None = None,
    ) -> None:
        self.settings = settings
        self.streams = streams
        self.models = models[0]
        self.workers = Workers(models)
        self.metrics = Metrics(lambda: self.workers.waiting)
        if streams is not None:
            self.metrics.register(StreamCollector(streams.fleet))
        self.desk = Desk(settings.max_pixels, lambda stage, s: self.metrics.stage.labels(stage).observe(s))
        self.fetcher = fetcher or Fetcher(max_bytes=settings.max_bytes, timeout=settings.upload_timeout)
        self.leaving = False
        self.application: ASGIApp = Guard(make_app(self), settings=settings, metrics=self.metrics)

    async def run(self, job: Callable[[Models], T]) -> T:
        """A job's result; Refusal 503 where it is not there in time: what has not begun then never does."""
        future = asyncio.wrap_future(self.workers.submit(job))
        try:
            async with asyncio.timeout(self.settings.timeout):
                return await future
        except TimeoutError as error:
            if future.done() and not future.cancelled():
                raise  # the job's own
            raise busy(f"not done within {self.settings.timeout:g} seconds: try again") from error

    async def fetch(self, url: str) -> bytes:
        """The picture behind an address; Refusal where fetching is off."""
        if not self.settings.fetch:
            raise Refusal(422, "addresses are not fetched here: send the picture itself")
        try:
            async with asyncio.timeout(self.fetcher.timeout + 1):
                return await asyncio.to_thread(self.fetcher, url)
        except TimeoutError as error:
            raise Refusal(424, "the address could not be fetched from in time") from error

    async def picture(self, text: str) -> bytes:
        """What a string of JSON stands for: an address, or base64."""
        if text[:8].lower().startswith(("http://", "https://")) or "://" in text[:64]:
            return await self.fetch(text)
        return await self.run(lambda _: decode_base64(text, max_bytes=self.settings.max_bytes))

    def close(self) -> None:
        """Finish what was taken, and end the streams."""
        self.leaving = True
        if self.streams is not None:
            self.streams.close()
        self.workers.close()


def make_app(service: Service) -> FastAPI:
    """The routes around a service, without the guard."""
    app = FastAPI(
        title="rtseg",
        version=_version(),
        description="Pictures segmented, and composited.",
        docs_url=None,  # its page loads scripts of others
        redoc_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False,
    )
    app.add_exception_handler(Exception, _failed)
    for kind in (Refusal, RtsegError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, _failed)
    _add_state(app, service)
    _add_inference(app, service)
    _add_v1(app, service)
    if service.streams is not None:
        add_streams(app, service.streams, service.settings)
        add_feeds(app, service.streams, lambda: service.leaving)
    return app


def _add_state(app: FastAPI, service: Service) -> None:
    @app.get("/health", tags=["state"])
    async def health() -> Health:
        """The process answers."""
        return Health(status="ok")

    @app.get("/ready", tags=["state"], responses={503: REFUSALS[503]})
    async def ready() -> Health:
        """Models are loaded, and work is taken; degraded while a stream is away, closed to view or has failed."""
        if service.leaving:
            raise busy("the service is leaving")
        streams = service.streams
        away = streams is not None and await streams.run(lambda: streams.degraded, seconds=5.0, look=True)
        return Health(status="degraded" if away else "ready")

    @app.get("/metrics", tags=["state"], response_class=Response, responses={200: {"content": {MEDIA_TYPE: {}}}})
    async def metrics() -> Response:
        """Counters for Prometheus."""
        return Response(
            await asyncio.to_thread(service.metrics.text), media_type=None, headers={"Content-Type": MEDIA_TYPE}
        )


def _add_inference(app: FastAPI, service: Service) -> None:
    body = {"application/json": {"schema": InferenceRequest.model_json_schema(ref_template=_REFS)}, **PICTURE_BODY}
    extra = _body(body)

    async def infer(request: Request, name: str | None) -> Response:
        find_model(service.models, name)
        upload = await read_upload(request, max_bytes=service.settings.max_bytes)
        parameters = SegmentParameters()
        picture = upload.files.get("image")
        if (data := upload.json) is not None:
            asked = await service.run(lambda _: check(InferenceRequest, parse_json(data)))
            parameters = asked.parameters or parameters
            picture = await service.picture(asked.inputs)
        if picture is None:
            raise Refusal(422, 'the form has no file "image"')
        choice = parameters.choice()
        return JSONResponse(await service.run(functools.partial(_infer, service.desk, picture, name, choice)))

    @app.post(
        "/", tags=["Hugging Face"], response_model=list[InferenceSegment], responses=REFUSALS, openapi_extra=extra
    )
    async def infer_default(request: Request) -> Response:
        """Image segmentation as Hugging Face's inference API has it, by the first model."""
        return await infer(request, None)

    @app.post(
        "/models/{owner}/{name}",
        tags=["Hugging Face"],
        response_model=list[InferenceSegment],
        responses=REFUSALS,
        openapi_extra=extra,
    )
    async def infer_model(request: Request, owner: str, name: str) -> Response:
        """The same by a model; models of rtseg's own may have any owner."""
        return await infer(request, f"{owner}/{name}")


def _infer(desk: Desk, picture: bytes, name: str | None, choice: Any, models: Models) -> list[dict[str, Any]]:
    return desk.infer(models, picture, name, choice)


def _add_v1(app: FastAPI, service: Service) -> None:
    form = {"multipart/form-data": {"schema": _form("image")}}
    json = {"application/json": {"schema": PictureRequest.model_json_schema(ref_template=_REFS)}}
    both = {"multipart/form-data": {"schema": _form("image", "background")}}

    async def pictures(request: Request) -> dict[str, bytes]:
        upload = await read_upload(request, max_bytes=service.settings.max_bytes)
        files = await _from_json(service, upload) if upload.json is not None else dict(upload.files)
        if "image" not in files:
            raise Refusal(422, 'the form has no file "image"')
        return files

    @app.get("/v1/models", tags=["v1"])
    async def models() -> ModelList:
        """The models that were loaded, the default first."""
        cards = [model.card for model in service.models.values()]
        return ModelList(
            models=[
                ModelInfo(
                    name=card.name,
                    family=card.family,
                    labels=list(card.names),
                    description=card.description,
                    licence=card.licence,
                    input_size=card.input.size,
                )
                for card in cards
            ]
        )

    @app.post(
        "/v1/segment",
        tags=["v1"],
        response_model=SegmentAnswer,
        responses=REFUSALS,
        openapi_extra=_body({**PICTURE_BODY, **form, **json}),
    )
    async def segment(request: Request, query: Annotated[SegmentQuery, Query()]) -> Response:
        """The segments of a picture, with their masks."""
        find_model(service.models, query.model)
        picture, choice = (await pictures(request))["image"], query.choice()
        return JSONResponse(
            await service.run(lambda m: service.desk.segment(m, picture, query.model, choice, masks=query.masks))
        )

    @app.post(
        "/v1/composite",
        tags=["v1"],
        response_class=Response,
        responses={**REFUSALS, 200: {"content": {kind: {} for kind in MEDIA_TYPES.values()}}},
        openapi_extra=_body({**PICTURE_BODY, **both, **json}),
    )
    async def composite(request: Request, query: Annotated[CompositeQuery, Query()]) -> Response:
        """A picture with its background removed or replaced, or with its classes in colours."""
        find_model(service.models, query.model)
        files = await pictures(request)
        made = await service.run(lambda m: service.desk.composite(m, files["image"], query, files.get("background")))
        return Response(made, media_type=MEDIA_TYPES[query.format])


async def _from_json(service: Service, upload: Upload) -> dict[str, bytes]:
    data = upload.json or b""
    asked = await service.run(lambda _: check(PictureRequest, parse_json(data)))
    match asked:
        case PictureRequest(image=str(text), url=None):
            return {"image": await service.run(lambda _: decode_base64(text, max_bytes=service.settings.max_bytes))}
        case PictureRequest(image=None, url=str(url)):
            return {"image": await service.fetch(url)}
        case _:
            raise Refusal(422, 'give one of "image" and "url"')


def check(kind: type[B], value: Any) -> B:
    """A value of JSON as a model; Refusal 422 names the first thing that is wrong."""
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise Refusal(422, _problem(error.errors(include_input=False, include_url=False))) from error


def _problem(errors: Sequence[Any]) -> str:
    first = errors[0]
    place = ".".join(str(part) for part in first["loc"] if part not in ("query", "body"))
    return f"{place or 'request'}: {first['msg'][0].lower()}{first['msg'][1:]}"[:300]


async def _failed(_: Request, error: Exception) -> Response:
    match error:
        case HTTPException():
            refusal = Refusal(error.status_code, str(error.detail).lower(), error.headers or {})
        case RequestValidationError():
            refusal = Refusal(422, _problem(error.errors()))
        case _:
            refusal = refusal_of(error)
    return JSONResponse(refusal.body, refusal.status, dict(refusal.headers))


_REFS = "#/components/schemas/{model}"


def _body(content: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": content}}


def _form(*names: str) -> dict[str, Any]:
    files = {name: {"type": "string", "format": "binary"} for name in names}
    return {"type": "object", "properties": files, "required": ["image"], "additionalProperties": False}


def _version() -> str:
    try:
        return version("rtseg")
    except PackageNotFoundError:
        return "0"
