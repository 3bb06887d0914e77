"""`rtseg.segment`: single pictures through any model, answered in the shape of `pipeline("image-segmentation")`.

Live frames take the fast way: planes resized by halving, and one class for each pixel of the network's output. A single
picture takes the exact way: resized as PIL does, and scores enlarged to the picture's size before the best is taken,
as transformers does it. So one model gives here what it gives there.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any, Literal, TypeAlias, assert_never

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg import registry, store
from rtseg.build import default_filters
from rtseg.cards import Card, CardInput
from rtseg.config import ModelOptions
from rtseg.engines import build_engine, build_segmenter
from rtseg.errors import ConfigError, InferenceFailed, ModelRejected
from rtseg.layouts import changed, find_layout
from rtseg.loading import MAX_PIXELS, Picture, load_picture
from rtseg.ops.arrays import F32, U8, as_f32, as_u8
from rtseg.ops.resize import enlarge
from rtseg.ops.tensors import best_class, is_sound, softmax
from rtseg.processor import Processor, Sides, turned
from rtseg.segmenters import BoundEngine
from rtseg.segments import ImageSegment, Segments
from rtseg.types import Frame, Instances, Panoptic, Regions, Segmentation, Semantic, Size

__all__ = ["ImageSegmenter", "segment"]

Task: TypeAlias = Literal["semantic", "instance", "panoptic"]


@dataclass(frozen=True, slots=True)
class Family:
    """What a family can be asked for: its tasks, the usual one first, and the options that mean something to it."""

    tasks: tuple[Task, ...]
    options: frozenset[str] = frozenset()


QUERY_OPTIONS = frozenset({"threshold", "mask_threshold", "overlap_mask_area_threshold"})
"""What the "queries" family decides its segments by; its card has the usual values."""

FAMILIES: Mapping[str, Family] = {
    "semantic": Family(("semantic",), frozenset({"probabilities"})),
    "regions": Family(("semantic",), frozenset({"threshold", "mask_threshold"})),
    "touching": Family(("instance",), frozenset({"threshold", "mask_threshold"})),
    "yolo": Family(("instance",), frozenset({"threshold"})),
    "yolox": Family(("instance",), frozenset({"threshold"})),
    "queries": Family(("semantic", "instance", "panoptic"), QUERY_OPTIONS),
    "recurrent": Family(("semantic",), frozenset({"threshold", "mask_threshold"})),
    "prompted": Family(("semantic",), frozenset({"threshold", "mask_threshold", "prompts"})),
}
"""A test holds it against the families of cards."""


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
    allow_urls: bool = False,
    max_pixels: int = MAX_PIXELS,
    providers: Sequence[str] | None = None,
    threads: int | None = None,
) -> Segments:
    """The segments of one picture: a list of `{"label", "score", "mask"}`, as `pipeline("image-segmentation")` gives.

    image: a path, an encoded picture's bytes, a PIL image, RGB uint8 HxWx3, or with `allow_urls` an address.
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

    model: as of `segment`, or a card. timeout: seconds that a run of the network may take, None for the usual.
    engine: one that holds the model's weights already, for its usual size; None opens one.

    Threads may share one; the network runs for one of them at a time. Raises ModelError, EngineError, ConfigError.
    """

    def __init__(
        self,
        model: str | PathLike[str] | Card = "portrait",
        *,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
        timeout: float | None = None,
        engine: BoundEngine | None = None,
    ) -> None:
        name = model.name if isinstance(model, Card) else fspath(model)
        layout = None if isinstance(model, Card) else find_layout(name)
        self.card = layout.card if layout is not None else model if isinstance(model, Card) else store.find_card(name)
        self.names = self.card.names if layout is None else layout.labels
        chosen = None if providers is None else tuple(providers)
        options = ModelOptions(name=name, providers=chosen, threads=threads, timeout=timeout)
        processor = layout.processor if layout is not None else _processor_of(self.card.input)
        exact = self.card.family == "semantic" and processor is not None
        self._exact = _Exact(self.card, processor, options, engine) if exact and processor is not None else None
        self._inexact = None if exact else _Inexact(self.card, options, engine)
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
        allow_urls: bool = False,
        max_pixels: int = MAX_PIXELS,
    ) -> Segments:
        """See `segment`."""
        shares = {
            "threshold": threshold,
            "mask_threshold": mask_threshold,
            "overlap_mask_area_threshold": overlap_mask_area_threshold,
        }
        self._check(task, prompts, shares, probabilities)  # before anything is fetched
        picture = load_picture(image, allow_urls=allow_urls, max_pixels=max_pixels)
        segments, full, places = self._look(picture, task, prompts, shares, probabilities)
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
        return self._look(picture, task, prompts, shares)[0]

    def segmentation(self, frame: Frame) -> Segmentation:
        """What effects are made of, for a frame alone: the segments of `segment` before their masks are enlarged.

        Classes are enlarged already, since scores are before the best of them is taken.
        """
        if self._exact is None:
            return self._result(frame.rgb, None, None, {}, frame=frame)
        with self._lock:
            scores = self._exact.scores(frame.rgb)
        labels, _ = self._best(scores, frame.size)
        return Semantic(labels, self.names, frame.pts, frame.size)

    def _look(
        self,
        picture: U8,
        task: Task | None,
        prompts: Sequence[str] | None,
        shares: Mapping[str, float | None],
        probabilities: bool = False,
    ) -> tuple[Iterator[ImageSegment], F32 | None, list[int]]:
        """The segments, made one by one; class probabilities, where they are wanted; the places of classes."""
        self._check(task, prompts, shares, probabilities)
        if self._exact is not None:
            size = Size(picture.shape[1], picture.shape[0])
            with self._lock:
                scores = self._exact.scores(picture)
            labels, present = self._best(scores, size)
            full = softmax(np.stack([_resized(score, size) for score in scores])) if probabilities else None
            return (_segment(self.names[place], None, _hard(labels == place)) for place in present), full, present
        segmentation = self._result(picture, task, prompts, shares)
        if self.card.queries is not None:
            return self._segments(segmentation, None, None), None, []  # thresholds were the network's own
        return self._segments(segmentation, shares.get("threshold"), shares.get("mask_threshold")), None, []

    def _result(
        self,
        picture: U8,
        task: Task | None,
        prompts: Sequence[str] | None,
        shares: Mapping[str, float | None],
        *,
        frame: Frame | None = None,
    ) -> Segmentation:
        assert self._inexact is not None
        with self._lock:
            self._inexact.ask(task, prompts, shares)
            return self._inexact(self._frame(picture) if frame is None else frame)

    def _frame(self, picture: U8) -> Frame:
        """The picture, resized as its processor does it where that is all it does."""
        frame = Frame.from_rgb(picture)
        if self._resizing is None or self._resizing.plain_size != self.card.input.size:
            return frame
        return frame.with_resized(self._resizing.resized(picture, self.card.input.size))

    def _check(
        self, task: Task | None, prompts: Sequence[str] | None, shares: Mapping[str, float | None], probabilities: bool
    ) -> None:
        given: dict[str, object] = {**shares, "prompts": prompts, "probabilities": probabilities or None}
        family = FAMILIES[self.card.family]
        model = f"model {self.card.name!r} (family {self.card.family!r})"
        if task is not None and task not in family.tasks:
            raise ConfigError(f"{model} has no task {task!r}: it does {', '.join(family.tasks)}")
        for option, value in given.items():
            if value is not None and option not in family.options:
                has = ", ".join(sorted(family.options)) or "none"
                raise ConfigError(f"{model} has no option {option}: leave it out (it has {has})")
        for option, share in shares.items():
            if share is not None and not 0 <= share <= 1:
                raise ConfigError(f"{option} must be from 0 to 1, not {share}")

    def _best(self, scores: F32, size: Size) -> tuple[NDArray[Any], list[int]]:
        """The best class a pixel, and which there are: scores are enlarged first, as transformers does."""
        labels, best = best_class(scores, size=size)
        if not is_sound(best, "softmax"):
            raise InferenceFailed(f"the scores of model {self.card.name!r} hold NaN or infinity: verify the weights")
        return labels, np.flatnonzero(np.bincount(labels.ravel())).tolist()

    def _segments(
        self, segmentation: Segmentation, threshold: float | None, cut: float | None
    ) -> Iterator[ImageSegment]:
        size = segmentation.size
        mask: Callable[[U8], U8]
        match segmentation:
            case Regions() if cut is None:
                mask = functools.partial(enlarge, size=size)
            case Regions() | Instances():
                # Compared in float: no level stands for 0.5 of 255.
                limit = 255.0 * (0.5 if cut is None else cut)
                mask = lambda small: _hard(enlarge(small, size) > limit)  # noqa: E731
            case Semantic() | Panoptic():
                mask = lambda small: as_u8(cv2.resize(small, size, interpolation=cv2.INTER_NEAREST))  # noqa: E731
            case _:
                assert_never(segmentation)
        for each in segmentation.segments():
            if threshold is None or each["score"] is None or each["score"] >= threshold:
                yield _segment(each["label"], each["score"], mask(each["mask"]))


class _Exact:
    """A semantic network fed as its processor says; an engine for each size of tensor, of which a few are kept."""

    KEPT = 4

    def __init__(
        self, card: Card, processor: Processor, options: ModelOptions, engine: BoundEngine | None = None
    ) -> None:
        self._card, self._processor, self._options = card, processor, options
        self._engines: dict[tuple[int, int], BoundEngine] = {} if engine is None else {card.input.size: engine}
        self._engine(card.input.size)

    def scores(self, picture: U8) -> F32:
        """RGB uint8 HxWx3 to the network's scores, float32 Cxhxw, in an array of its own."""
        tensor = self._processor(picture)
        size, usual = (tensor.shape[3], tensor.shape[2]), self._card.input.size
        try:
            engine = self._engine(size)
        except ModelRejected as error:  # the usual size was opened, so it is the size that does not fit
            raise ModelRejected(
                f"model {self._card.name!r} takes {usual[0]}x{usual[1]} only, and preprocessor_config.json makes "
                f"{size[0]}x{size[1]} of this picture: export the model with open sides, or give height and width"
            ) from error
        np.copyto(engine.inputs[self._card.input.name], tensor)
        output = self._card.outputs[0].name
        scores = engine.run()[output]
        if scores.ndim != 4 or scores.shape[:2] != (1, len(self._card.names)):
            raise ModelRejected(
                f"output {output} of model {self._card.name!r} is {scores.shape}, and must be "
                f"1x{len(self._card.names)}xHxW for its {len(self._card.names)} classes: correct them"
            )
        return as_f32(scores[0].astype(np.float32, copy=True))

    def _engine(self, size: tuple[int, int]) -> BoundEngine:
        if size not in self._engines:
            while len(self._engines) >= self.KEPT:
                del self._engines[next(iter(self._engines))]
            sized = self._card.model_copy(update={"input": self._card.input.model_copy(update={"size": size})})
            engine = build_engine(self._options, sized)
            tensor = engine.inputs.get(sized.input.name)
            if tensor is None or tensor.dtype != np.float32:
                found = ", ".join(f"{name} {array.dtype}" for name, array in engine.inputs.items())
                raise ModelRejected(f"model {self._card.name!r} takes {found}, and must take float32 pictures")
            self._engines[size] = engine
        self._engines[size] = self._engines.pop(size)  # the last one used is the last one to go
        return self._engines[size]


class _Inexact:
    """Any other family: its segmenter, as for pictures of a folder, and the filters that suit these."""

    def __init__(self, card: Card, options: ModelOptions, engine: BoundEngine | None = None) -> None:
        self._options, self._card = options, card
        wanted = card.queries is not None and engine is None
        self._engine = build_engine(options, card) if wanted else engine
        self._segmenter: Any = build_segmenter(options, card, engine=self._engine, alone=True)
        self._asked = card.queries
        self._prompts = card.names
        self._filters = [
            registry.load("filter", each.type)(**each.options()) for each in default_filters(card, alone=True)
        ]

    def ask(self, task: Task | None, prompts: Sequence[str] | None, shares: Mapping[str, float | None]) -> None:
        """What the next pictures are looked through for; what is None is as the card says."""
        if (usual := self._card.queries) is not None:
            given = {name: value for name, value in {"task": task, **shares}.items() if value is not None}
            if (asked := usual.model_copy(update={"resolution": "frame", **given})) != self._asked:
                card = self._card.model_copy(update={"queries": asked})
                self._segmenter = build_segmenter(self._options, card, engine=self._engine, alone=True)
                self._asked = asked
        if self._card.text is not None:
            wanted = self._card.names if prompts is None else tuple(prompts)
            if wanted != self._prompts:
                self._segmenter.prompts = wanted
                self._prompts = wanted

    def __call__(self, frame: Frame) -> Segmentation:
        for part in (self._segmenter, *self._filters):
            part.reset()
        segmentation: Segmentation = self._segmenter(frame)
        for each in self._filters:
            segmentation = each(frame, segmentation)
        return segmentation


def _processor_of(wanted: CardInput) -> Processor | None:
    """What a card's input says, as a processor; None for a letterbox or for YUV, which have none."""
    if wanted.fit != "stretch" or wanted.colour == "yuv":
        return None
    flip = wanted.colour == "bgr"
    return Processor(
        size=Sides(width=wanted.size[0], height=wanted.size[1]),
        rescale_factor=1 / wanted.scale,
        image_mean=turned(wanted.mean, flip),
        image_std=turned(wanted.std, flip),
        do_flip_channel_order=flip,
    )


def _segment(label: str, score: float | None, mask: U8) -> ImageSegment:
    from PIL import Image

    return {"label": label, "score": score, "mask": Image.fromarray(np.ascontiguousarray(mask))}


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
