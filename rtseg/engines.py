"""A model made real: its weights in an engine that was tested, behind its family's segmenter or in whole frames."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from rtseg import prebuilt, registry, store
from rtseg.batching import batched
from rtseg.cards import Card
from rtseg.config import ModelOptions
from rtseg.engine import OrtEngine
from rtseg.errors import ConfigError
from rtseg.focus import Focus
from rtseg.fused_pipeline import FusedPipeline
from rtseg.pipeline import Pipeline
from rtseg.segmenters import BoundEngine
from rtseg.selftest import open_tested
from rtseg.types import Segmenter

log = logging.getLogger(__name__)


def build_segmenter(
    options: ModelOptions, card: Card, *, engine: BoundEngine | None = None, alone: bool = False
) -> Segmenter:
    """The segmenter of the card's family around `engine`, or around the card's weights, verified, in an engine.

    alone: for pictures that have nothing to do with each other. Raises ConfigError for `focus` without a matte and
    `score` without a detector.
    """
    if options.focus and (card.family != "regions" or len(card.names) > 1):
        raise ConfigError(f"focus follows one subject, and model {card.name!r} is no matte: use --model portrait")
    card = _scored(card, options.score)
    kind = registry.load("segmenter", card.family)
    segmenter: Segmenter = kind(card, build_engine(options, card) if engine is None else engine)
    return (Focus(segmenter, every=1) if alone else Focus(segmenter)) if options.focus else segmenter


def _scored(card: Card, score: float | None) -> Card:
    """The card of a detector with another threshold."""
    if score is None:
        return card
    if card.family not in ("yolo", "yolox"):
        raise ConfigError(f"score is the threshold of detectors, and model {card.name!r} is none: leave score out")
    return card.model_copy(update={"detection": card.detection.model_copy(update={"score": score})})


def build_engine(options: ModelOptions, card: Card, *, batch: int = 1) -> OrtEngine:
    """The card's weights, verified, in an engine for so many frames at once: ModelRejected where it cannot be.

    On anything but the CPU the engine is tested against the CPU first: see `rtseg.selftest.open_tested`.
    """
    path = batched(store.verify(card), batch)
    settings = engine_settings(options, path)
    shapes = {card.input.name: (batch, *card.input.shape[1:])}

    def on_device(graphs: bool) -> OrtEngine:
        return OrtEngine(path, shapes=shapes, **{**settings, "cuda_graph": graphs})

    def on_cpu() -> OrtEngine:
        return OrtEngine(path, shapes=shapes, **{k: v for k, v in settings.items() if k in ("threads", "timeout")})

    wanted = options.providers or ("cpu",)
    if wanted == ("cpu",):
        return OrtEngine(path, shapes=shapes, **settings)
    graphs = options.cuda_graph is not False and bool({"cuda", "tensorrt", "auto"} & set(wanted))
    return open_tested(on_device, on_cpu, graphs=graphs, half=bool(options.half), auto=wanted == ("auto",))


def engine_settings(options: ModelOptions, path: Path) -> dict[str, Any]:
    """What `OrtEngine` is given for that graph: the options, and where TensorRT keeps what it builds."""
    ours = ("name", "adaptive", "focus", "fused", "score")
    settings = {key: value for key, value in options.options().items() if key not in ours}
    if "tensorrt" in (options.providers or ()):
        settings["cache"] = prebuilt.folder_for(
            store.sha256_of(path), name=options.name, half=bool(options.half), device=options.device or 0
        )
    return settings


def build_fused(options: ModelOptions, card: Card, plain: Pipeline) -> Pipeline | FusedPipeline:
    """The pipeline with its frames made by one graph each, where that is asked for or does good; else as it is.

    Where nobody asked for it by name, it goes before `adaptive`, which would save less, but not before `focus`, which
    makes better masks. Raises ConfigError where it is asked for together with one of them, or cannot be.
    """
    if options.fused and (options.adaptive or options.focus):
        raise ConfigError("--fused shows the network all of every frame, --adaptive and --focus less: leave one out")
    device = getattr(plain.segmenter, "providers", ("cpu",))[0]
    if options.fused is False or (options.fused is None and device == "cpu"):
        return plain
    if options.focus:
        log.info("frames are not fused: a graph has no focus (leave it out for fused frames)")
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
    """Whether frames that are decoded on a CUDA device may stay there."""
    if not isinstance(pipeline, FusedPipeline):
        return False
    return getattr(pipeline.plain.segmenter, "providers", ("cpu",))[0] in ("cuda", "tensorrt")
