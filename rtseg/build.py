"""A configuration made real: components imported, models opened, files created, in this order.

What can be wrong without touching a file is checked first, and outputs are created last, so that a misspelt option
leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtseg import registry, store
from rtseg.cards import Card
from rtseg.config import (
    BackgroundEffect,
    Config,
    EffectOptions,
    FilterOptions,
    ImageSink,
    ImageSource,
    MaskSink,
    ModelOptions,
    OverlayEffect,
    RecordSink,
    RefineFilter,
    SinkOptions,
    SmoothFilter,
    SourceOptions,
    VideoSink,
)
from rtseg.engine import OrtEngine
from rtseg.errors import ConfigError
from rtseg.pipeline import Pipeline
from rtseg.runner import Policy, run
from rtseg.stats import Stats
from rtseg.types import Effect, Frame, Picture, Segmenter, Sink, Source, StreamInfo


@dataclass(frozen=True, eq=False)
class Job:
    """Everything that a run needs, open and waiting; whoever has it either runs or closes it."""

    source: Source
    pipeline: Pipeline
    sinks: tuple[Sink, ...]
    card: Card
    policy: Policy = "auto"

    def run(
        self,
        *,
        stop: threading.Event | None = None,
        progress: Callable[[Stats], None] | None = None,
    ) -> Stats:
        """Take the source to its end; see `rtseg.runner.run`."""
        return run(self.source, self.pipeline, self.sinks, policy=self.policy, stop=stop, progress=progress)


def build(config: Config, *, more_sinks: Sequence[Sink] = ()) -> Job:
    """Make everything that `config` names; `more_sinks` get the outputs too.

    Raises ConfigError, DependencyMissing, and what models, sources and sinks raise for files they cannot use;
    what was opened before the error is closed.
    """
    if config.source is None:
        raise ConfigError("nothing to read: give an input, or a [source] table in the configuration file")
    if not config.sinks and not more_sinks:
        raise ConfigError("nothing to write: give an output (-o out.mp4), masks, records, or [[sinks]] in the file")
    with contextlib.ExitStack() as opened:
        card = store.find_card(config.model.name)
        pictures = bool(more_sinks) or any(not isinstance(sink, MaskSink | RecordSink) for sink in config.sinks)
        pipeline = build_pipeline(config, card=card, pictures=pictures)
        source = build_source(config.source)
        opened.callback(source.close)
        sinks = list(more_sinks)
        for options in config.sinks:
            sink = build_sink(options, source)
            opened.callback(sink.close)
            sinks.append(sink)
        opened.pop_all()
    return Job(source, pipeline, tuple(sinks), card, config.run.policy)


def build_pipeline(config: Config, *, card: Card | None = None, pictures: bool = True) -> Pipeline:
    """The pipeline alone, for those who have frames of their own; without `pictures` no effect is the default."""
    card = store.find_card(config.model.name) if card is None else card
    filters = default_filters(card) if config.filters is None else config.filters
    effects = (default_effects(card) if pictures else ()) if config.effects is None else config.effects
    made = [build_effect(options, card) for options in effects]
    return Pipeline(
        build_segmenter(config.model, card),
        filters=[registry.load("filter", f.type)(**f.options()) for f in filters],
        analyzers=[registry.load("analyzer", a.type)(**a.options()) for a in config.analyzers],
        effects=made,
    )


def is_matte(card: Card) -> bool:
    """Whether the model gives one soft region: the subject."""
    return card.family == "regions" and len(card.names) == 1


def default_filters(card: Card) -> tuple[FilterOptions, ...]:
    """Mattes are smoothed over time and drawn to the picture's edges; several regions are smoothed; maps stay."""
    if is_matte(card):
        return (SmoothFilter(), RefineFilter())
    return (SmoothFilter(),) if card.family == "regions" else ()


def default_effects(card: Card) -> tuple[EffectOptions, ...]:
    """Mattes blur the background; all others are laid over the picture."""
    return (BackgroundEffect(paint="blur"),) if is_matte(card) else (OverlayEffect(),)


def build_segmenter(options: ModelOptions, card: Card) -> Segmenter:
    """The card's weights, verified, in an engine of their own, behind the segmenter of the card's family."""
    segmenter = registry.load("segmenter", card.family)
    path = store.verify(card)
    settings = options.options()
    settings.pop("name", None)
    return segmenter(card, OrtEngine(path, **settings))  # type: ignore[no-any-return]


def build_source(options: SourceOptions) -> Source:
    """A source, opened."""
    return registry.load("source", options.type)(**options.options())  # type: ignore[no-any-return]


def build_effect(options: EffectOptions, card: Card) -> Effect:
    """An effect that suits the model: ConfigError where it asks for what the model does not know."""
    arguments = options.options()
    for names in (arguments.get("names"), arguments.get("regions")):
        if unknown := [name for name in names or () if name not in card.names and not arguments.get("partial")]:
            raise ConfigError(
                f"model {card.name!r} has no {', '.join(map(repr, unknown))}: choose from {', '.join(card.names)}"
            )
    effect = registry.load("effect", options.type)
    match options:
        case BackgroundEffect():
            if "person" not in card.names and not is_matte(card) and options.regions is None:
                raise ConfigError(
                    f"a background needs a person in front of it, and model {card.name!r} knows only "
                    f"{', '.join(card.names)}: use --model portrait, or name the regions to keep in a file"
                )
            return effect(_paint(arguments.pop("paint")), **arguments)  # type: ignore[no-any-return]
        case OverlayEffect(preset="road"):
            arguments = {"legend": True, **arguments}
            return effect.road(legend=arguments["legend"])  # type: ignore[no-any-return]
        case OverlayEffect():
            return effect(**{"palette": card.palette, **arguments})  # type: ignore[no-any-return]
        case _:
            return effect(**arguments)  # type: ignore[no-any-return]


def _paint(text: str) -> Any:
    background = registry.import_target("rtseg.effects.background:parse_background")(text)
    if background is None:
        raise ConfigError("the background 'none' is no effect: leave the effect out")
    if not hasattr(background, "path"):
        return background
    if background.kind == "picture":
        with contextlib.closing(build_source(ImageSource(paths=(Path(background.path).expanduser(),)))) as source:
            return Picture(_only(source))
    video = VideoSource(path=Path(background.path).expanduser())
    return registry.import_target("rtseg.effects.background:LoopingVideo")(lambda: build_source(video))
