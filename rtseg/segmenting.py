"""`rtseg.segment`: single pictures through any model, answered in the shape of `pipeline("image-segmentation")`.

Live frames take the fast way: planes resized by halving, and one class for each pixel of the network's output. A single
picture takes the exact way: resized as PIL does, and scores enlarged to the picture's size before the best is taken,
as transformers does it. So one model gives here what it gives there.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from os import PathLike, fspath
from typing import Any, assert_never

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg import registry, store
from rtseg.build import default_filters
from rtseg.cards import Card, Task
from rtseg.config import ModelOptions
from rtseg.engines import build_engine, build_segmenter
from rtseg.errors import InferenceFailed
from rtseg.exact import ExactQueries, ExactScores, asked_of, processor_of, takes_any_size
from rtseg.families import check_asked
from rtseg.filters.cut import Cut, solid
from rtseg.layouts import changed, find_layout
from rtseg.loading import MAX_PIXELS, AllowUrls, Picture, load_picture
from rtseg.ops.arrays import F32, U8, as_f32, as_u8
from rtseg.ops.resize import enlarge
from rtseg.ops.tensors import best_class, is_sound, softmax
from rtseg.segmenters import BoundEngine
from rtseg.segments import ImageSegment, Segments
from rtseg.types import Filter, Frame, Instances, Panoptic, Regions, Segmentation, Semantic, Size

__all__ = ["ImageSegmenter", "segment"]


def segment(
    image: Picture,
    *,
    model: str | PathLike[str] = "portrait",
    task: Task | None = None,
    prompts: Sequence[str] | None = None,
    threshold: float | None = None,
    mask_threshold: float | None = None,
    overlap_mask_area_threshold: float | None = None,
    probabilities: bool = False,
    allow_urls: AllowUrls = False,
    max_pixels: int = MAX_PIXELS,
    providers: Sequence[str] | None = None,
    threads: int | None = None,
) -> Segments:
    """The segments of one picture: a list of `{"label", "score", "mask"}`, as `pipeline("image-segmentation")` gives.

    image: a path, an encoded picture's bytes, a PIL image, RGB uint8 HxWx3, or with `allow_urls` an address
    ("private": also one of this machine's network).
    model: the name or the path of a card, a folder, or a hub's repository (see `docs/models.md`). The last two models
    stay open, so calls that follow are fast. task: what to make of it, None for what the model does.

    Masks are PIL "L" of the picture's size: 0 and 255 for classes and instances, 0..255 for soft regions unless
    `mask_threshold` (0..1) cuts them. threshold: the least score, 0..1. probabilities: fill `Segments.probabilities`,
    4 bytes for each pixel and class. An option that the model's family does not have is a ConfigError.

    Raises `RtsegError`: of the picture FrameError or SourceError, of the model ModelError, of its run EngineError.
    """
    name = fspath(model)
    opened = _opened(name, None if providers is None else tuple(providers), threads, changed(name))
    return opened(
        image,
        task=task,
        prompts=prompts,
        threshold=threshold,
        mask_threshold=mask_threshold,
        overlap_mask_area_threshold=overlap_mask_area_threshold,
        probabilities=probabilities,
        allow_urls=allow_urls,
        max_pixels=max_pixels,
    )


class ImageSegmenter:
    """A model held open for single pictures: what `segment` keeps, for those who want to hold it themselves.

    model: as of `segment`, or a card. filters: in place of those that suit the model, such as () for none. timeout:
    seconds that a run of the network may take, None for the usual. engine: one that holds the model's weights already,
    for its usual size; None opens one.

    Threads may share one; the network runs for one of them at a time. Raises ModelError, EngineError, ConfigError.
    """

    def __init__(
        self,
        model: str | PathLike[str] | Card = "portrait",
        *,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
        filters: Sequence[Filter] | None = None,
        timeout: float | None = None,
        engine: BoundEngine | None = None,
    ) -> None:
        name = model.name if isinstance(model, Card) else fspath(model)
        layout = None if isinstance(model, Card) else find_layout(name)
        self.card = layout.card if layout is not None else model if isinstance(model, Card) else store.find_card(name)
        self.names = self.card.names if layout is None else layout.labels
        chosen = None if providers is None else tuple(providers)
        options = ModelOptions(name=name, providers=chosen, threads=threads, timeout=timeout)
        processor = layout.processor if layout is not None else processor_of(self.card.input)
        self._exact: ExactScores | ExactQueries | None = None
        if self.card.family == "semantic" and processor is not None:
            self._exact = ExactScores(self.card, processor, options, engine=engine)
        elif layout is not None and self.card.queries is not None and takes_any_size(self.card, layout.processor):
            self._exact = ExactQueries(self.card, layout.processor, options, engine=engine)
        self._inexact = None if self._exact is not None else _Inexact(self.card, options, filters, engine)
        self._resizing = processor if layout is not None else None
        self._lock = threading.Lock()

    def __call__(
        self,
        image: Picture,
        *,
        task: Task | None = None,
        prompts: Sequence[str] | None = None,
        threshold: float | None = None,
        mask_threshold: float | None = None,
        overlap_mask_area_threshold: float | None = None,
        probabilities: bool = False,
        allow_urls: AllowUrls = False,
        max_pixels: int = MAX_PIXELS,
    ) -> Segments:
        """See `segment`."""
        shares = {
            "threshold": threshold,
            "mask_threshold": mask_threshold,
            "overlap_mask_area_threshold": overlap_mask_area_threshold,
        }
        asked = {**shares, "prompts": prompts, "probabilities": probabilities or None}
        check_asked(self.card, task, asked)  # before anything is fetched
        picture = load_picture(image, allow_urls=allow_urls, max_pixels=max_pixels)
        segments, full, places = self._look(picture, task, prompts, shares, probabilities=probabilities)
        return Segments(segments, names=self.names, places=places, probabilities=full)

    def iterate(
        self,
        picture: U8,
        *,
        task: Task | None = None,
        prompts: Sequence[str] | None = None,
        **shares: float | None,
    ) -> Iterator[ImageSegment]:
        """The same of RGB uint8 HxWx3, each mask made when it is asked for, so that one at a time is in memory.

        shares: `threshold`, `mask_threshold` and `overlap_mask_area_threshold`.
        """
        check_asked(self.card, task, {**shares, "prompts": prompts})
        return self._look(picture, task, prompts, shares)[0]

    def result(self, frame: Frame) -> Segmentation:
        """What effects are made of, for a frame alone: masks as the network gave them, classes at the frame's size."""
        if isinstance(self._exact, ExactScores):
            return Semantic(self._classes(frame.rgb, frame.size)[0], self.card.names, frame.pts, frame.size)
        return replace(self._queried(frame.rgb, None, None, {}, frame=frame), pts=frame.pts)

    def segmentation(
        self,
        image: Picture,
        *,
        task: Task | None = None,
        prompts: Sequence[str] | None = None,
        threshold: float | None = None,
        mask_threshold: float | None = None,
        overlap_mask_area_threshold: float | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> Segmentation:
        """The same as one of the four results, for sinks and effects; class maps and regions have the picture's size.

        A region under `threshold` keeps its name and has an empty mask.
        """
        shares = {
            "threshold": threshold,
            "mask_threshold": mask_threshold,
            "overlap_mask_area_threshold": overlap_mask_area_threshold,
        }
        check_asked(self.card, task, {**shares, "prompts": prompts})
        picture = load_picture(image, max_pixels=max_pixels)
        size = Size(picture.shape[1], picture.shape[0])
        if isinstance(self._exact, ExactScores):
            return Semantic(self._classes(picture, size)[0], self.card.names, 0, size)
        found = self._queried(picture, task, prompts, shares)
        if self.card.queries is not None:
            return found  # thresholds were the network's own
        # Scores are those of the masks as the network gave them, before they are enlarged and cut.
        match found := Cut(threshold=threshold)(Frame.from_rgb(picture), found):
            case Regions():
                return replace(found, probabilities=solid(_enlarged(found.probabilities, size), mask_threshold))
            case Instances() if mask_threshold is not None:
                return replace(found, masks=solid(_enlarged(found.masks, size), mask_threshold))
            case _:
                return found

    def empty(self, frame: Frame) -> Segmentation:
        """The result that claims nothing, of the kind that the model usually gives."""
        if not isinstance(self._exact, ExactScores):
            claims_nothing = self._inexact if self._exact is None else self._exact
            assert claims_nothing is not None
            return claims_nothing.empty(frame)
        dtype = np.uint8 if len(self.card.names) <= 255 else np.uint16
        labels = np.full((frame.size.height, frame.size.width), np.iinfo(dtype).max, dtype)
        return Semantic(labels, self.card.names, frame.pts, frame.size)

    def _look(
        self,
        picture: U8,
        task: Task | None,
        prompts: Sequence[str] | None,
        shares: Mapping[str, float | None],
        *,
        probabilities: bool = False,
    ) -> tuple[Iterator[ImageSegment], F32 | None, list[int]]:
        """The segments, made one by one; class probabilities, where they are wanted; the places of classes."""
        if isinstance(self._exact, ExactScores):
            size = Size(picture.shape[1], picture.shape[0])
            labels, scores = self._classes(picture, size)
            present = np.flatnonzero(np.bincount(labels.ravel())).tolist()
            full = softmax(np.stack([_resized(score, size) for score in scores])) if probabilities else None
            return (_segment(self.names[place], None, _hard(labels == place)) for place in present), full, present
        found = self._queried(picture, task, prompts, shares)
        if self.card.queries is not None:
            return self._segments(found, None, None), None, []  # thresholds were the network's own
        return self._segments(found, shares.get("threshold"), shares.get("mask_threshold")), None, []

    def _queried(
        self,
        picture: U8,
        task: Task | None,
        prompts: Sequence[str] | None,
        shares: Mapping[str, float | None],
        *,
        frame: Frame | None = None,
    ) -> Segmentation:
        """What any network but one of class scores finds; frame: in place of one made of the picture."""
        with self._lock:
            if isinstance(self._exact, ExactQueries):
                return self._exact(picture, asked_of(self.card, task, shares))
            assert self._inexact is not None
            self._inexact.ask(task, prompts, shares)
            return self._inexact(self._frame(picture) if frame is None else frame)

    def _frame(self, picture: U8) -> Frame:
        """The picture, resized as its processor does it where that is all it does."""
        frame = Frame.from_rgb(picture)
        if self._resizing is None or self._resizing.plain_size != self.card.input.size:
            return frame
        return frame.with_resized(self._resizing.resized(picture, self.card.input.size))

    def _classes(self, picture: U8, size: Size) -> tuple[NDArray[np.uint8] | NDArray[np.uint16], F32]:
        """The best class a pixel, and all scores: these are enlarged first, as transformers does."""
        assert isinstance(self._exact, ExactScores)
        with self._lock:
            scores = self._exact.scores(picture)
        labels, best = best_class(scores, size=size)
        if not is_sound(best, "softmax"):
            raise InferenceFailed(f"the scores of model {self.card.name!r} hold NaN or infinity: verify the weights")
        return labels, scores

    def _segments(
        self, segmentation: Segmentation, threshold: float | None, cut: float | None
    ) -> Iterator[ImageSegment]:
        size = segmentation.size
        mask: Callable[[U8], U8]
        match segmentation:
            case Regions() if cut is None:
                mask = functools.partial(enlarge, size=size)
            case Regions() | Instances():
                limit = 0.5 if cut is None else cut
                mask = lambda small: solid(enlarge(small, size), limit)  # noqa: E731
            case Semantic() | Panoptic():
                mask = lambda small: as_u8(cv2.resize(small, size, interpolation=cv2.INTER_NEAREST))  # noqa: E731
            case _:
                assert_never(segmentation)
        for each in segmentation.segments():
            if threshold is None or each["score"] is None or each["score"] >= threshold:
                yield _segment(each["label"], each["score"], mask(each["mask"]))


class _Inexact:
    """Any other family: its segmenter, as for pictures of a folder, and the filters that suit these."""

    def __init__(
        self, card: Card, options: ModelOptions, filters: Sequence[Filter] | None, engine: BoundEngine | None
    ) -> None:
        self._options, self._card = options, card
        self._engine = build_engine(options, card) if engine is None and card.queries is not None else engine
        self._segmenter: Any = build_segmenter(options, card, engine=self._engine, alone=True)
        self._asked = card.queries
        self._prompts = card.names
        suited = default_filters(card, alone=True) if filters is None else ()
        self._filters = filters or [registry.load("filter", each.type)(**each.options()) for each in suited]

    def ask(self, task: Task | None, prompts: Sequence[str] | None, shares: Mapping[str, float | None]) -> None:
        """What the next pictures are looked through for; what is None is as the card says."""
        if self._card.queries is not None and (asked := asked_of(self._card, task, shares)) != self._asked:
            card = self._card.model_copy(update={"queries": asked})
            self._segmenter = build_segmenter(self._options, card, engine=self._engine, alone=True)
            self._asked = asked
        if self._card.text is not None:
            wanted = self._card.names if prompts is None else tuple(prompts)
            if wanted != self._prompts:
                self._segmenter.prompts = wanted
                self._prompts = wanted

    def empty(self, frame: Frame) -> Segmentation:
        found: Segmentation = self._segmenter.empty(frame)
        return found

    def __call__(self, frame: Frame) -> Segmentation:
        for part in (self._segmenter, *self._filters):
            part.reset()
        segmentation: Segmentation = self._segmenter(frame)
        for each in self._filters:
            segmentation = each(frame, segmentation)
        return segmentation


def _segment(label: str, score: float | None, mask: U8) -> ImageSegment:
    from PIL import Image

    return {"label": label, "score": score, "mask": Image.fromarray(np.ascontiguousarray(mask))}


def _enlarged(masks: U8, size: tuple[int, int]) -> U8:
    """Each of NxHxW."""
    large = np.empty((len(masks), size[1], size[0]), np.uint8)
    for mask, target in zip(masks, large, strict=True):
        enlarge(mask, size, out=target)
    return large


def _hard(mask: Any) -> U8:
    return np.where(mask, np.uint8(255), np.uint8(0))


def _resized(scores: F32, size: tuple[int, int]) -> F32:
    return as_f32(cv2.resize(scores, size, interpolation=cv2.INTER_LINEAR))


@functools.lru_cache(maxsize=2)
def _opened(
    model: str,
    providers: tuple[str, ...] | None,
    threads: int | None,
    changed: tuple[int, ...],  # noqa: ARG001 - a model that was written anew is another key
) -> ImageSegmenter:
    return ImageSegmenter(model, providers=providers, threads=threads)
