"""What a worker does for one request: a picture's bytes in, the answer's parts out. Nothing here knows of HTTP."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rtseg.build import build_effect
from rtseg.compositor import Compositor
from rtseg.config import BackgroundEffect, OverlayEffect
from rtseg.effects.background import Background, BackgroundFile, parse_background
from rtseg.errors import ConfigError
from rtseg.ops.arrays import U8
from rtseg.service.pictures import read_picture, write_mask, write_picture
from rtseg.service.refusals import Refusal
from rtseg.service.schemas import CompositeQuery, FoundSegment, InferenceSegment, SegmentAnswer
from rtseg.service.segments import Choice, segments_of
from rtseg.service.workers import Model, Models
from rtseg.types import Effect, Frame, Picture


@dataclass(frozen=True, eq=False, slots=True)
class Desk:
    """How pictures are worked on: the cap on their pixels, and who wants to know how long each stage took."""

    max_pixels: int
    observe: Callable[[str, float], None]

    def infer(self, models: Models, picture: bytes, name: str | None, choice: Choice) -> list[dict[str, Any]]:
        """The Hugging Face contract: label, score, mask. A score is 1 where the model gives none, never null."""
        model = find_model(models, name)
        frame = self._read(picture)
        with self._timed("network"):
            segmentation = model(frame)
        with self._timed("encode"):
            return [
                InferenceSegment(
                    label=s["label"], score=1.0 if s["score"] is None else s["score"], mask=_base64(s["mask"])
                ).model_dump()
                for s in segments_of(segmentation, choice)
            ]

    def segment(
        self, models: Models, picture: bytes, name: str | None, choice: Choice, *, masks: bool
    ) -> dict[str, Any]:
        """The typed answer."""
        started = time.perf_counter()
        model = find_model(models, name)
        frame = self._read(picture)
        with self._timed("network"):
            segmentation = model(frame)
        with self._timed("encode"):
            found = [
                FoundSegment(
                    label=s["label"],
                    score=s["score"],
                    area=round(float(s["mask"].mean()) / 255.0, 6),
                    mask=_base64(s["mask"]) if masks else None,
                )
                for s in segments_of(segmentation, choice)
            ]
        width, height = frame.size
        return SegmentAnswer(
            model=model.card.name,
            width=width,
            height=height,
            segments=found,
            milliseconds=round(1e3 * (time.perf_counter() - started), 1),
        ).model_dump()

    def composite(self, models: Models, picture: bytes, query: CompositeQuery, behind: bytes | None) -> bytes:
        """The encoded picture with its effect."""
        model = find_model(models, query.model)
        effect = self._effect(model, query, behind)
        if query.format == "jpeg" and _clears(query):
            raise ConfigError("JPEG has no transparency: ask for the format png or webp, or for an opaque background")
        frame = self._read(picture)
        with self._timed("network"):
            segmentation = model(frame)
        with self._timed("composite"):
            made = Compositor()(frame, effect(frame, segmentation, ()))
        with self._timed("encode"):
            return write_picture(made, query.format)

    def _effect(self, model: Model, query: CompositeQuery, behind: bytes | None) -> Effect:
        if query.overlay is not None:
            if query.background is not None or behind is not None:
                raise ConfigError("a background and an overlay exclude each other: ask for one of them")
            names = None if query.overlay == "all" else tuple(n.strip() for n in query.overlay.split(","))
            options = OverlayEffect(names=names, legend=query.legend, opacity=query.opacity)
            return build_effect(options, model.card)
        wanted = (query.background or ("transparent" if behind is None else "picture")).strip()
        if (wanted == "picture") != (behind is not None):
            raise ConfigError('the background "picture" and the form\'s file "background" belong together')
        if behind is not None:
            build_effect(BackgroundEffect(paint="transparent"), model.card)  # refuses models without a subject
            return Background(Picture(self._read(behind)))
        if wanted == "none" or isinstance(parse_background(wanted), BackgroundFile):  # a path of the server
            raise ConfigError('a background is transparent, blur, blur:N, #rrggbb, a colour\'s name or "picture"')
        return build_effect(BackgroundEffect(paint=wanted), model.card)

    def _read(self, data: bytes) -> Frame:
        with self._timed("decode"):
            return read_picture(data, max_pixels=self.max_pixels)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.observe(stage, time.perf_counter() - started)


def find_model(models: Models, name: str | None) -> Model:
    """A loaded model by its name, or "owner/name"; the first for None. Refusal 404: requests load nothing."""
    if name is None:
        return next(iter(models.values()))
    model = models.get(name) or models.get(name.rpartition("/")[2])
    if model is None:
        raise Refusal(404, f"no model is called {name[:100]!r}: there are {', '.join(models)}")
    return model


def _clears(query: CompositeQuery) -> bool:
    return query.overlay is None and (query.background or "transparent").strip().lower() == "transparent"


def _base64(mask: U8) -> str:
    return base64.b64encode(write_mask(mask)).decode("ascii")
