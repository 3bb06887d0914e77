"""What a worker does for one request: a picture's bytes in, the answer's bytes out. Nothing here knows of HTTP."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar, assert_never

import numpy as np
from pydantic import BaseModel, ValidationError

from rtseg import store
from rtseg.build import build_effect
from rtseg.cards import Card
from rtseg.compositor import Compositor
from rtseg.config import BackgroundEffect, OverlayEffect
from rtseg.effects.background import Background, BackgroundFile, parse_background
from rtseg.errors import ConfigError
from rtseg.families import FAMILIES
from rtseg.layouts import find_layout
from rtseg.segmenting import ImageSegmenter
from rtseg.segments import ImageSegment
from rtseg.service.intake import Upload, decode_base64, parse_json
from rtseg.service.jobs import Answer, Composite, Infer, Job, Segment
from rtseg.service.pictures import MEDIA_TYPES, read_picture, read_pixels, write_mask, write_picture
from rtseg.service.refusals import Refusal
from rtseg.service.schemas import (
    CompositeQuery,
    FoundSegment,
    InferenceRequest,
    InferenceSegment,
    PictureRequest,
    SegmentAnswer,
    SegmentParameters,
)
from rtseg.service.settings import Settings
from rtseg.types import Effect, Picture

Models: TypeAlias = Mapping[str, ImageSegmenter]
"""By the names of their cards, the default first."""

B = TypeVar("B", bound=BaseModel)
T = TypeVar("T")


class _Elsewhere(Exception):
    """The picture is behind an address, which a worker does not go to."""


class Desk:
    """The models of a worker, and the caps on what comes to it."""

    def __init__(self, models: Models, *, max_pixels: int, max_bytes: int) -> None:
        self._models, self._max_pixels, self._max_bytes = models, max_pixels, max_bytes
        self._stages: dict[str, float] = {}

    def do(self, job: Job) -> Answer:
        """What comes of a job: a body, or the address that must be fetched first."""
        self._stages = {}
        try:
            match job:
                case Infer():
                    kind, body = "application/json", self._infer(job)
                case Segment():
                    kind, body = "application/json", self._segment(job)
                case Composite():
                    kind, body = MEDIA_TYPES[job.query.format], self._composite(job)
                case _:
                    assert_never(job)
        except _Elsewhere as elsewhere:
            return Answer(address=str(elsewhere))
        return Answer(media_type=kind, stages=self._stages, body=body)

    def _infer(self, job: Infer) -> bytes:
        """Label, score, mask. A score is 1 where the model gives none: huggingface.js takes null for malformed."""
        model = find_model(self._models, job.model)
        parameters = SegmentParameters()
        if job.upload.json is not None:
            asked = check(InferenceRequest, parse_json(job.upload.json))
            parameters = asked.parameters or parameters
            data = self._behind(asked.inputs, job.upload)
        else:
            data = _image(job.upload)
        pixels = self._read(data)
        options = {
            k: v for k, v in parameters.options().items() if k == "task" or k in FAMILIES[model.card.family].options
        }
        with self._timed("network"):
            segments = model.iterate(pixels, **options)
        with self._timed("encode"):
            found = [
                InferenceSegment(label=s["label"], score=1.0 if s["score"] is None else s["score"], mask=_base64(s))
                for s in segments
            ]
            return json.dumps([each.model_dump() for each in found]).encode()

    def _segment(self, job: Segment) -> bytes:
        started = time.perf_counter()
        model, query = find_model(self._models, job.query.model), job.query
        pixels = self._read(self._files(job.upload)["image"])
        with self._timed("network"):
            segments = model.iterate(pixels, **query.options())
        with self._timed("encode"):
            found = [
                FoundSegment(
                    label=s["label"],
                    score=s["score"],
                    area=round(float(np.asarray(s["mask"]).mean()) / 255.0, 6),
                    mask=_base64(s) if query.masks else None,
                )
                for s in segments
            ]
            return json.dumps(
                SegmentAnswer(
                    model=model.card.name,
                    width=pixels.shape[1],
                    height=pixels.shape[0],
                    segments=found,
                    milliseconds=round(1e3 * (time.perf_counter() - started), 1),
                ).model_dump()
            ).encode()

    def _composite(self, job: Composite) -> bytes:
        query, files = job.query, self._files(job.upload)
        model = find_model(self._models, query.model)
        effect = self._effect(model.card, query, files.get("background"))
        if query.format == "jpeg" and _clears(query):
            raise ConfigError("JPEG has no transparency: ask for the format png or webp, or for an opaque background")
        with self._timed("decode"):
            frame = read_picture(files["image"], max_pixels=self._max_pixels)
        with self._timed("network"):
            segmentation = model.result(frame)
        with self._timed("composite"):
            made = Compositor()(frame, effect(frame, segmentation, ()))
        with self._timed("encode"):
            return write_picture(made, query.format)

    def _effect(self, card: Card, query: CompositeQuery, behind: bytes | None) -> Effect:
        if query.overlay is not None:
            if query.background is not None or behind is not None:
                raise ConfigError("a background and an overlay exclude each other: ask for one of them")
            names = None if query.overlay == "all" else tuple(n.strip() for n in query.overlay.split(","))
            options = OverlayEffect(names=names, legend=query.legend, opacity=query.opacity)
            return build_effect(options, card)
        wanted = (query.background or ("transparent" if behind is None else "picture")).strip()
        if (wanted == "picture") != (behind is not None):
            raise ConfigError('the background "picture" and the form\'s file "background" belong together')
        if behind is not None:
            build_effect(BackgroundEffect(paint="transparent"), card)  # refuses models without a subject
            with self._timed("decode"):
                return Background(Picture(read_picture(behind, max_pixels=self._max_pixels)))
        if wanted == "none" or isinstance(parse_background(wanted), BackgroundFile):  # a path of the server
            raise ConfigError('a background is transparent, blur, blur:N, #rrggbb, a colour\'s name or "picture"')
        return build_effect(BackgroundEffect(paint=wanted), card)

    def _files(self, upload: Upload) -> Mapping[str, bytes]:
        """The pictures of an upload, that of its JSON too."""
        if upload.json is None:
            return {**upload.files, "image": _image(upload)}
        match check(PictureRequest, parse_json(upload.json)):
            case PictureRequest(image=str(text), url=None):
                return {"image": decode_base64(text, max_bytes=self._max_bytes)}
            case PictureRequest(image=None, url=str(url)):
                if upload.fetched is None:
                    raise _Elsewhere(url)
                return {"image": upload.fetched}
            case _:
                raise Refusal(422, 'give one of "image" and "url"')

    def _behind(self, text: str, upload: Upload) -> bytes:
        """What a string of JSON stands for: an address, or base64."""
        if "://" not in text[:64]:
            return decode_base64(text, max_bytes=self._max_bytes)
        if upload.fetched is None:
            raise _Elsewhere(text)
        return upload.fetched

    def _read(self, data: bytes) -> Any:
        with self._timed("decode"):
            return read_pixels(data, max_pixels=self._max_pixels)[..., :3]

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self._stages[stage] = self._stages.get(stage, 0.0) + time.perf_counter() - started


def cards_of(settings: Settings) -> dict[str, Card]:
    """The cards of the models to serve, by name; ConfigError where two have one name, ModelNotFound for none."""
    cards = [store.find_card(n) if (found := find_layout(n)) is None else found.card for n in settings.models]
    if len({card.name for card in cards}) < len(cards):
        raise ConfigError(f"two of the models {', '.join(settings.models)} have one name: name each once")
    return {card.name: card for card in cards}


def load_models(settings: Settings) -> Models:
    """Every model in an engine of its own. Raises ModelError, EngineError and ConfigError."""
    opened = [
        ImageSegmenter(name, providers=settings.providers, threads=settings.threads, timeout=settings.timeout)
        for name in settings.models
    ]
    return {each.card.name: each for each in opened}


def find_model(models: Mapping[str, T], name: str | None) -> T:
    """A loaded model by its name, or "owner/name"; the first for None. Refusal 404: requests load nothing."""
    if name is None:
        return next(iter(models.values()))
    model = models.get(name) or models.get(name.rpartition("/")[2])
    if model is None:
        raise Refusal(404, f"no model is called {name[:100]!r}: there are {', '.join(models)}")
    return model


def check(kind: type[B], value: Any) -> B:
    """A value of JSON as a model; Refusal 422 names the first thing that is wrong."""
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise Refusal(422, problem(error.errors(include_input=False, include_url=False))) from error


def problem(errors: Sequence[Any]) -> str:
    """The first of pydantic's errors as a line."""
    first = errors[0]
    place = ".".join(str(part) for part in first["loc"] if part not in ("query", "body"))
    return f"{place or 'request'}: {first['msg'][0].lower()}{first['msg'][1:]}"[:300]


def _image(upload: Upload) -> bytes:
    if "image" not in upload.files:
        raise Refusal(422, 'the form has no file "image"')
    return upload.files["image"]


def _clears(query: CompositeQuery) -> bool:
    return query.overlay is None and (query.background or "transparent").strip().lower() == "transparent"


def _base64(segment: ImageSegment) -> str:
    return base64.b64encode(write_mask(np.asarray(segment["mask"]))).decode("ascii")
