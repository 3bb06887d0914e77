"""The application: routes, and what they have in common. `guard.py` stands before it."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from rtseg.cards import Card
from rtseg.errors import RtsegError
from rtseg.registry import import_target
from rtseg.service.feed_routes import add_feeds
from rtseg.service.fetch import Fetcher
from rtseg.service.fleet import Streams
from rtseg.service.guard import Guard, client_of
from rtseg.service.intake import read_upload
from rtseg.service.jobs import Answer, Composite, Infer, Job, Segment
from rtseg.service.logs import log_failure
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
    SegmentQuery,
)
from rtseg.service.settings import Settings
from rtseg.service.stream_metrics import StreamCollector
from rtseg.service.streams import add_streams
from rtseg.service.work import cards_of, find_model, problem
from rtseg.service.workers import Workers

if TYPE_CHECKING:
    from rtseg.service.peers import Peers


class Service:
    """Settings, workers and counters of one running service; `application` is what a server runs.

    cards: what the workers have loaded, None for what the settings name. fetcher: in place of the usual one.
    streams: live streams beside the pictures; they are the service's from now on.
    """

    def __init__(
        self,
        settings: Settings,
        workers: Workers,
        *,
        cards: Sequence[Card] | None = None,
        fetcher: Fetcher | None = None,
        streams: Streams | None = None,
    ) -> None:
        self.settings = settings
        self.streams = streams
        self.cards = cards_of(settings) if cards is None else {card.name: card for card in cards}
        self.workers = workers
        self.metrics = Metrics(lambda: workers.waiting, alive=lambda: workers.alive, restarts=lambda: workers.restarts)
        if streams is not None:
            self.metrics.register(StreamCollector(streams.fleet))
        self.fetcher = fetcher or Fetcher(max_bytes=settings.max_bytes, timeout=settings.upload_timeout)
        self.leaving = False
        self.peers: Peers | None = None
        self.application: ASGIApp = Guard(make_app(self), settings=settings, metrics=self.metrics)

    async def respond(self, request: Request, job: Job) -> Response:
        """A job's result; Refusal 503 where it is not there in time: what has not begun then never does."""
        answer = await self._answer(request, job)
        if answer.address is not None:
            upload = dataclasses.replace(job.upload, fetched=await self.fetch(answer.address))
            answer = await self._answer(request, dataclasses.replace(job, upload=upload))
        return Response(answer.body, media_type=answer.media_type)

    async def _answer(self, request: Request, job: Job) -> Answer:
        try:
            async with asyncio.timeout(self.settings.timeout):
                answer = await self.workers.run(client_of(request.scope), job)
        except TimeoutError as error:
            raise busy(f"not done within {self.settings.timeout:g} seconds: try again") from error
        for stage, seconds in answer.stages.items():
            self.metrics.stage.labels(stage).observe(seconds)
        if answer.trace is not None:
            log_failure(answer.trace, id=request.state.id)
        if answer.status >= 300:
            raise Refusal(answer.status, json.loads(answer.body)["error"], answer.headers)
        return answer

    async def fetch(self, url: str) -> bytes:
        """The picture behind an address; Refusal where fetching is off."""
        if not self.settings.fetch:
            raise Refusal(422, "addresses are not fetched here: send the picture itself")
        try:
            async with asyncio.timeout(self.fetcher.timeout + 1):
                return await asyncio.to_thread(self.fetcher, url)
        except TimeoutError as error:
            raise Refusal(424, "the address could not be fetched from in time") from error

    def health(self, status: Literal["ok", "ready"]) -> Health:
        """How the workers are."""
        alive, restarts = self.workers.alive, self.workers.restarts
        whole = status == "ready" or alive == self.settings.workers
        return Health(status=status if whole else "degraded", workers=alive, restarts=restarts)

    def close(self) -> None:
        """End the workers, when what was taken is finished, and the streams."""
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
    if service.settings.studio:
        import_target("rtseg.service.live_routes:add_live", extra="webrtc")(app, service)
    return app


def _add_state(app: FastAPI, service: Service) -> None:
    @app.get("/health", tags=["state"])
    async def health() -> Health:
        """The process answers; how many of its workers do, and how many it has lost."""
        return service.health("ok")

    @app.get("/ready", tags=["state"], responses={503: REFUSALS[503]})
    async def ready() -> Health:
        """Models are loaded, and work is taken; degraded while a stream is away, closed to view or has failed."""
        if service.leaving:
            raise busy("the service is leaving")
        if not service.workers.alive:
            raise busy("no worker is alive: one is being started")
        streams = service.streams
        away = streams is not None and await streams.run(lambda: streams.degraded, seconds=5.0, look=True)
        health = service.health("ready")
        return health.model_copy(update={"status": "degraded"}) if away else health

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
        find_model(service.cards, name)
        upload = await read_upload(request, max_bytes=service.settings.max_bytes)
        return await service.respond(request, Infer(upload, name))

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


def _add_v1(app: FastAPI, service: Service) -> None:
    form = {"multipart/form-data": {"schema": _form("image")}}
    json = {"application/json": {"schema": PictureRequest.model_json_schema(ref_template=_REFS)}}
    both = {"multipart/form-data": {"schema": _form("image", "background")}}

    @app.get("/v1/models", tags=["v1"])
    async def models() -> ModelList:
        """The models that were loaded, the default first."""
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
                for card in service.cards.values()
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
        find_model(service.cards, query.model)
        upload = await read_upload(request, max_bytes=service.settings.max_bytes)
        return await service.respond(request, Segment(upload, query))

    @app.post(
        "/v1/composite",
        tags=["v1"],
        response_class=Response,
        responses={**REFUSALS, 200: {"content": {kind: {} for kind in MEDIA_TYPES.values()}}},
        openapi_extra=_body({**PICTURE_BODY, **both, **json}),
    )
    async def composite(request: Request, query: Annotated[CompositeQuery, Query()]) -> Response:
        """A picture with its background removed or replaced, or with its classes in colours."""
        find_model(service.cards, query.model)
        upload = await read_upload(request, max_bytes=service.settings.max_bytes)
        return await service.respond(request, Composite(upload, query))


async def _failed(_: Request, error: Exception) -> Response:
    match error:
        case HTTPException():
            refusal = Refusal(error.status_code, str(error.detail).lower(), error.headers or {})
        case RequestValidationError():
            refusal = Refusal(422, problem(error.errors()))
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
