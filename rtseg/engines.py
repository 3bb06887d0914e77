"""A model made real: its weights in an engine that was tested, behind its family's segmenter or in whole frames."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from rtseg import registry, store
from rtseg.cards import Card, CardQueries
from rtseg.config import ModelOptions
from rtseg.errors import ConfigError, ModelRejected
from rtseg.families import check_asked, with_asked
from rtseg.focus import Focus
from rtseg.fused_pipeline import FusedPipeline
from rtseg.inference import prebuilt, states
from rtseg.inference.batching import batched
from rtseg.inference.engine import OrtEngine
from rtseg.inference.selftest import open_tested
from rtseg.pipeline import Pipeline
from rtseg.segmenters import BoundEngine
from rtseg.types import Segmenter
from rtseg.views import Views, takes_views

log = logging.getLogger(__name__)

_ENGINE_OPTIONS = ("providers", "threads", "timeout", "half", "device", "cuda_graph")
"""Of a model's options, those that are the engine's."""


def build_segmenter(
    options: ModelOptions, card: Card, *, engine: BoundEngine | None = None, alone: bool = False
) -> Segmenter:
    """The segmenter of the card's family around `engine`, or around the card's weights, verified, in an engine.

    alone: for pictures that have nothing to do with each other. Raises ConfigError for `focus` without a matte, for
    `score` without a detector, for prompts to a model that cannot read, and for tasks and thresholds that the family
    does not have. Queries decide by these thresholds; for others they are a filter (`rtseg.filters.cut`).
    """
    if options.focus and (card.family != "regions" or len(card.names) > 1):
        raise ConfigError(f"focus follows one subject, and model {card.name!r} is no matte: use --model portrait")
    if (options.views or 1) > 1:
        _check_views(options, card)
    card = _scored(card, options.score)
    kind = registry.load("segmenter", card.family)
    check_asked(card, options.task, options.shares, live=True)
    card = with_asked(with_prompts(card, options), options.task, options.shares)
    more: dict[str, Any] = {} if card.recurrent is None else {"alone": alone}
    if card.text is not None:
        more = {"encode": _text_encoder(options, card)}
    segmenter: Segmenter = kind(card, build_engine(options, card) if engine is None else engine, **more)
    if options.views == 2 or options.views == 4:
        return Views(segmenter, number=options.views, size=card.input.size)
    return (Focus(segmenter, every=1) if alone else Focus(segmenter)) if options.focus else segmenter


def _check_views(options: ModelOptions, card: Card) -> None:
    if not takes_views(card):
        raise ConfigError(
            f"views = {options.views} are of a matte whose network takes whole RGB pictures, and model "
            f"{card.name!r} is none: use --model portrait"
        )
    if options.focus:
        raise ConfigError(f"views = {options.views} have a focus of their own: leave focus out")


def build_detector(options: ModelOptions) -> Segmenter:
    """A second network that gives boxes, in an engine of its own; ConfigError for a model that gives none."""
    card = store.find_card(options.name)
    if card.family not in ("yolo", "yolox"):
        raise ConfigError(f"obstacles need a detector, and model {card.name!r} is none: use yolox-nano")
    return build_segmenter(options, card)


def _scored(card: Card, score: float | None) -> Card:
    """The card of a detector with another threshold."""
    if score is None:
        return card
    if card.family not in ("yolo", "yolox"):
        raise ConfigError(f"score is the threshold of detectors, and model {card.name!r} is none: leave score out")
    return card.model_copy(update={"detection": card.detection.model_copy(update={"score": score})})


def with_prompts(card: Card, options: ModelOptions) -> Card:
    """The card with the prompts of `options` for names; ConfigError for prompts to a model that cannot read."""
    if options.prompts is None:
        return card
    if card.text is None:
        raise ConfigError(
            f"prompts is for models that take prompts, and {card.name!r} knows only {', '.join(card.names)}: leave it "
            "out, or give --model the card of a CLIPSeg"
        )
    check = registry.import_target("rtseg.segmenters.text:check_prompts")
    return card.model_copy(update={"names": check(options.prompts)})


def _text_encoder(options: ModelOptions, card: Card) -> Any:
    """What reads the prompts, on the CPU: once a prompt, and not in the stream's thread."""
    assert card.text is not None
    store.verify(card)
    files = {name: store.part(card, name) for name in card.files}
    if card.text.file is None:
        return registry.import_target("rtseg.segmenters.text:PromptTokens", extra="prompts")(card.text, files)
    shapes = dict.fromkeys((card.text.ids, card.text.mask), (1, card.text.length))
    engine = OrtEngine(files[card.text.file], shapes=shapes, warmup=0, **_on_cpu(options.options()))
    return registry.import_target("rtseg.segmenters.text:TextEncoder", extra="prompts")(card.text, engine, files)


def _on_cpu(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key in ("threads", "timeout")}


def _more_shapes(options: ModelOptions, card: Card, path: Path) -> dict[str, tuple[int, ...]]:
    """Of the inputs besides the picture: states as large as they become, what is told, and a vector for each prompt."""
    if card.recurrent is not None:
        cpu = _on_cpu(options.options())
        return states.state_shapes(path, card, lambda shapes: OrtEngine(path, shapes=shapes, warmup=0, **cpu))
    if card.queries is not None:
        return _shapes_told(card.queries, card.input.shape, path)
    if card.text is not None and card.text.width is None:
        return dict.fromkeys(card.text.inputs, (1, card.text.length))
    if card.text is not None and card.text.width is not None:
        declared = states.declared_shapes(path).get(card.text.condition, ())
        at_once = (declared[0] if declared else None) or len(card.names)
        return {card.text.condition: (at_once, card.text.width)}
    return {}


def _shapes_told(queries: CardQueries, picture: tuple[int, ...], path: Path) -> dict[str, tuple[int, ...]]:
    """Of a task's tokens and of the mask of pixels, where the graph leaves them open."""
    told: dict[str, tuple[int, ...]] = {}
    if queries.tokens:
        told[queries.tokens_input] = (1, len(queries.tokens[queries.task]))
    if queries.pixel_mask is not None:
        told[queries.pixel_mask] = (1, *picture[2:])
    declared = states.declared_shapes(path) if told else {}
    return {
        name: tuple(side or ours for side, ours in zip(declared[name], shape, strict=True))
        for name, shape in told.items()
        if len(declared.get(name, ())) == len(shape)
    }


def build_engine(options: ModelOptions, card: Card, *, batch: int = 1) -> OrtEngine:
    """The card's weights, verified, in an engine for so many frames at once: ModelRejected where it cannot be.

    On anything but the CPU the engine is tested against the CPU first: see `rtseg.inference.selftest.open_tested`.
    """
    if batch > 1 and card.other_inputs:
        raise ModelRejected(
            f"{card.name!r} takes more than a picture ({', '.join(card.other_inputs)}): it is not batched"
        )
    card = with_prompts(card, options)
    path = batched(store.verify(card), batch)
    if card.recurrent is not None:
        path = states.with_constants(path, card.recurrent.constants)
    settings = engine_settings(options, path)
    shapes = {card.input.name: (batch, *card.input.shape[1:]), **_more_shapes(options, card, path)}

    def on_device(graphs: bool) -> OrtEngine:
        return OrtEngine(path, shapes=shapes, **{**settings, "cuda_graph": graphs})

    def on_cpu() -> OrtEngine:
        return OrtEngine(path, shapes=shapes, **_on_cpu(settings))

    wanted = options.providers or ("cpu",)
    if wanted == ("cpu",):
        return OrtEngine(path, shapes=shapes, **settings)
    graphs = options.cuda_graph is not False and bool({"cuda", "tensorrt", "auto"} & set(wanted))
    return open_tested(on_device, on_cpu, graphs=graphs, half=bool(options.half), auto=wanted == ("auto",))


def engine_settings(options: ModelOptions, path: Path) -> dict[str, Any]:
    """What `OrtEngine` is given for that graph: the options, and where TensorRT keeps what it builds."""
    settings = {key: value for key, value in options.options().items() if key in _ENGINE_OPTIONS}
    if "tensorrt" in (options.providers or ()):
        settings["cache"] = prebuilt.folder_for(
            store.sha256_of(path), name=options.name, half=bool(options.half), device=options.device or 0
        )
    return settings


def build_fused(options: ModelOptions, card: Card, plain: Pipeline) -> Pipeline | FusedPipeline:
    """The pipeline with its frames made by one graph each, where that is asked for or does good; else as it is.

    Where nobody asked for it by name, it goes before `adaptive`, which would save less, but not before `focus` and
    `views`, which make better masks. Raises ConfigError where it is asked for together with one of them, or cannot be.
    """
    if options.fused and (options.adaptive or options.focus):
        raise ConfigError("--fused shows the network all of every frame, --adaptive and --focus less: leave one out")
    several = (options.views or 1) > 1
    if options.fused and several:
        raise ConfigError(
            f"--fused looks at a frame once, views = {options.views} more often: leave one, or the preset, out"
        )
    device = getattr(plain.segmenter, "providers", ("cpu",))[0]
    if options.fused is False or (options.fused is None and device == "cpu"):
        return plain
    if options.focus:
        log.info("frames are not fused: a graph has no focus (leave it out for fused frames)")
        return plain
    if several:
        log.info("frames are not fused: a graph looks once (leave views, or the preset, out for fused frames)")
        return plain

    def on_device(path: Path) -> OrtEngine:
        return OrtEngine(path, **engine_settings(options, path))

    def without_graph(path: Path) -> OrtEngine:
        return OrtEngine(path, **{**engine_settings(options, path), "cuda_graph": False})

    graphs = options.cuda_graph is not False and device in ("cuda", "tensorrt")
    cautious, reference = without_graph if graphs else None, OrtEngine if device != "cpu" else None
    try:
        fused = FusedPipeline(card, plain, on_device, cautious=cautious, reference=reference)
    except ConfigError as error:
        if options.fused:
            raise
        log.info("frames are not fused: %s", error)
        return plain
    if options.adaptive:
        log.info(
            "adaptive is left out: on %s whole frames are fused, which costs less (for adaptive: --no-fused)", device
        )
    return fused


def takes_device_frames(pipeline: Pipeline | FusedPipeline) -> bool:
    """Whether frames that are decoded on a CUDA device may stay there; not where the host frames them."""
    if not isinstance(pipeline, FusedPipeline) or pipeline.plain.framing is not None:
        return False
    return getattr(pipeline.plain.segmenter, "providers", ("cpu",))[0] in ("cuda", "tensorrt")
