"""A configuration made real: components imported, models opened, files created, in this order.

What can be wrong without touching a file is checked first, and outputs are created last, so that a misspelt option
leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_never

import numpy as np

from rtseg import registry, store
from rtseg.adaptive import Adaptive, Every, Sparing
from rtseg.auto_preset import Pace, auto_preset, pace_in, pace_of
from rtseg.cards import Card
from rtseg.config import (
    AnalyzerOptions,
    BackgroundEffect,
    CameraSource,
    Config,
    DicomSource,
    EffectOptions,
    FilterOptions,
    HudEffect,
    ImageSink,
    ImageSource,
    MaskSink,
    ModelOptions,
    NiftiSource,
    ObstaclesAnalyzer,
    OutlineEffect,
    OverlayEffect,
    Plugin,
    RecordSink,
    RefineFilter,
    ScreenSource,
    SinkOptions,
    SmoothFilter,
    SourceOptions,
    StreamSink,
    StreamSource,
    VideoSink,
    VideoSource,
    VirtualCameraSink,
    WindowSink,
)
from rtseg.engines import (
    build_detector,
    build_fused,
    build_segmenter,
    takes_device_frames,
    with_prompts,
)
from rtseg.errors import ConfigError, SourceUnreadable
from rtseg.filter_sections import with_subject
from rtseg.filters.cut import Cut
from rtseg.framing import Framing
from rtseg.fused_pipeline import FusedPipeline
from rtseg.inference.engine import OrtEngine
from rtseg.outputs import check_outputs, check_replaced, input_files, output_stems
from rtseg.pipeline import Pipeline
from rtseg.presets import edged, settle
from rtseg.registry import Kind
from rtseg.runner import Policy, run
from rtseg.segmenters import BoundEngine
from rtseg.stats import Stats
from rtseg.types import Analyzer, Colour, Effect, Frame, Picture, Sink, Size, Source

if TYPE_CHECKING:
    from rtseg.inference.scheduler import StreamEngine

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Job:
    """Everything that a run needs, open and waiting; whoever has it either runs or closes it."""

    source: Source
    pipeline: Pipeline | FusedPipeline
    sinks: tuple[Sink, ...]
    card: Card
    policy: Policy = "auto"
    engine: StreamEngine | None = None

    def run(
        self,
        *,
        stop: threading.Event | None = None,
        progress: Callable[[Stats], None] | None = None,
    ) -> Stats:
        """Take the source to its end; see `rtseg.runner.run`."""
        try:
            return run(self.source, self.pipeline, self.sinks, policy=self.policy, stop=stop, progress=progress)
        finally:
            if self.engine is not None:
                self.engine.close()

    def close(self) -> None:
        """Instead of running: give everything back; no output is left where none was written."""
        self.source.close()
        for sink in self.sinks:
            sink.close()
        if self.engine is not None:
            self.engine.close()

    @property
    def notes(self) -> list[str]:
        """What the sinks have to say about what they wrote, such as audio that could not be copied."""
        return [note for sink in self.sinks for note in getattr(sink, "notes", ())]


def build(
    config: Config,
    *,
    more_sinks: Sequence[Sink] = (),
    engine: StreamEngine | None = None,
    pipeline: Pipeline | None = None,
    source: Source | None = None,
) -> Job:
    """Make everything that `config` names; `more_sinks` get the outputs too.

    engine: of `rtseg.streams`, in place of one of its own: the job closes it. pipeline, source: in place of those that
    `config` names.

    Raises ConfigError, DependencyMissing, and what models, sources and sinks raise for files they cannot use;
    what was opened before the error is closed.
    """
    wanted = config.source
    if wanted is None:
        raise ConfigError("nothing to read: give an input, or a [source] table in the configuration file")
    if not config.sinks and not more_sinks:
        raise ConfigError("nothing to write: give an output (-o out.mp4), masks, records, or [[sinks]] in the file")
    check_outputs(config)
    with contextlib.ExitStack() as opened:
        card = with_prompts(store.find_card(config.model.name), config.model)
        pictures = bool(more_sinks) or any(not isinstance(sink, MaskSink | RecordSink) for sink in config.sinks)
        # Held until the source has its own: FFmpeg must be on a GPU before ONNX Runtime is.
        reserved = _reserve(config)
        made: Pipeline | FusedPipeline | None = pipeline
        if made is None:
            config = settled(config, card, pace=None if source is None else pace_in(source.info))
            plain = build_pipeline(config, card=card, pictures=pictures, engine=engine)
            made = build_fused(config.model, card, plain) if engine is None else plain
        if source is None:
            source = build_source(wanted, on_device=takes_device_frames(made))
        del reserved
        opened.callback(source.close)
        files = input_files(config, source)
        names = output_stems(files) if isinstance(config.source, ImageSource) else None
        for options in config.sinks:
            check_replaced(options, files, names)
        sinks = list(more_sinks)
        for options in config.sinks:
            sink = build_sink(options, source, names=names)
            opened.callback(sink.close)
            sinks.append(sink)
        opened.pop_all()
    return Job(source, made, tuple(sinks), card, config.run.policy, engine)


def build_pipeline(
    config: Config,
    *,
    card: Card | None = None,
    pictures: bool = True,
    engine: BoundEngine | None = None,
    hold: int | None = None,
) -> Pipeline:
    """The pipeline alone, for those who have frames of their own; without `pictures` no effect is the default.

    engine: in place of one of its own, such as a stream's of a `Scheduler`, for the same card. hold: as in `Pipeline`;
    None for 5, and for 0 where a mask of an earlier frame would be that of another picture, or show a room.
    """
    card = with_prompts(store.find_card(config.model.name) if card is None else card, config.model)
    config, alone = settled(config, card), _is_alone(config.source)
    filters = _filters(config, card)
    effects = (default_effects(card) if pictures else ()) if config.effects is None else config.effects
    made = [build_effect(options, card) for options in edged(effects, config.model.preset)]
    shares = config.model.threshold, config.model.mask_threshold
    cut = card.queries is None and shares != (None, None)  # queries decide by them themselves
    return Pipeline(
        build_segmenter(config.model, card, engine=engine, alone=alone),
        filters=[
            *(_make("filter", f) for f in filters),
            *([Cut(threshold=shares[0], mask_threshold=shares[1])] if cut else ()),
        ],
        analyzers=[build_analyzer(a) for a in config.analyzers],
        effects=made,
        adaptive=_sparing(config.model),
        framing=None if config.framing is None else Framing(**config.framing.options(), glide=not alone),
        hold=(0 if alone or _is_live(config.source) else 5) if hold is None else hold,
    )


def settled(config: Config, card: Card, *, pace: Pace | None = None) -> Config:
    """The run with its preset's options (`rtseg.presets`), "auto" measured; pace: None for that of its source.

    Raises ConfigError for a preset of a model that is no matte.
    """

    def filters() -> list[Any]:
        return [_make("filter", options) for options in _filters(config, card)]

    def chosen() -> str:
        return auto_preset(config.model, card, filters, pace_of(config.source) if pace is None else pace)

    model = settle(config.model, card, matte=is_matte(card), chosen=chosen)
    return config.model_copy(update={"model": model})


def _is_alone(source: SourceOptions | None) -> bool:
    """Whether frames have nothing to do with each other: neighbouring slices are no motion either."""
    return isinstance(source, ImageSource | DicomSource | NiftiSource)


def _filters(config: Config, card: Card) -> Sequence[FilterOptions]:
    filters = default_filters(card, alone=_is_alone(config.source)) if config.filters is None else config.filters
    return with_subject(filters, config.model, card, matte=is_matte(card))


def _sparing(options: ModelOptions) -> Sparing | None:
    every = options.every or 1
    if options.adaptive and every > 1:
        raise ConfigError(f"adaptive and every = {every} both choose the network's frames: leave one out")
    return Adaptive() if options.adaptive else Every(every) if every > 1 else None


def build_analyzer(options: AnalyzerOptions) -> Analyzer:
    """An analyzer; obstacles get the network that they name in an engine of its own."""
    named = options.detector if isinstance(options, ObstaclesAnalyzer) else None
    return _make("analyzer", options, **({} if named is None else {"detector": build_detector(named)}))  # type: ignore[no-any-return]


def _is_live(source: SourceOptions | None) -> bool:
    """Whether somebody may be standing before it now."""
    return isinstance(source, StreamSource | CameraSource | ScreenSource) or bool(getattr(source, "live", False))


def is_matte(card: Card) -> bool:
    """Whether the model gives one soft region: the subject."""
    return card.family in ("regions", "recurrent") and len(card.names) == 1


def default_filters(card: Card, *, alone: bool = False) -> tuple[FilterOptions, ...]:
    """A matte is drawn to the picture's edges; soft regions are smoothed over time, but for lone pictures and networks
    that remember."""  # fmt: skip
    smooth = () if alone or card.family not in ("regions", "prompted") else (SmoothFilter(),)
    return (*smooth, RefineFilter()) if is_matte(card) else smooth


def default_effects(card: Card) -> tuple[EffectOptions, ...]:
    """Mattes blur the background; all others are laid over the picture."""
    return (BackgroundEffect(paint="blur"),) if is_matte(card) else (OverlayEffect(),)


def fused_file(card: Card, size: Size) -> Path:
    """The graph for whole frames of that size with the effects that suit the model, as a run would make it.

    Of limited range, and of the matrix that a video of that size has where it names none. Raises ConfigError for
    effects, and ModelRejected for frames, that no graph can be made for.
    """
    plain = build_pipeline(Config(model=ModelOptions(name=card.name, providers=("cpu",))), card=card)
    width, height = size
    grey = np.full((height, width), 128, np.uint8)
    colour = Colour("bt709" if height >= 720 else "bt601")
    return FusedPipeline(card, plain, OrtEngine).graph_file(Frame((grey, grey[::2, ::2], grey[::2, ::2]), colour))


def build_source(options: SourceOptions, *, on_device: bool = False) -> Source:
    """A source, opened; on_device: a video that is decoded on hardware stays there, where the pipeline takes it."""
    if on_device and isinstance(options, VideoSource) and options.hardware not in (None, "none"):
        return _make("source", options, on_device=True)  # type: ignore[no-any-return]
    return _make("source", options)  # type: ignore[no-any-return]


def _reserve(config: Config) -> object:
    source, model = config.source, config.model
    on_cuda = {"auto", "cuda", "tensorrt"} & set(model.providers or ()) and model.fused is not False
    if not on_cuda or not isinstance(source, VideoSource) or source.hardware not in ("auto", "cuda"):
        return None
    return registry.import_target("rtseg.sources.hardware:reserve_cuda")()


def build_effect(options: EffectOptions, card: Card) -> Effect:
    """An effect that suits the model: ConfigError where it asks for what the model does not know."""
    if isinstance(options, Plugin):
        return _make("effect", options)  # type: ignore[no-any-return]
    arguments = options.options()
    for names in (arguments.get("names"), arguments.get("regions")):
        if unknown := [name for name in names or () if name not in card.names and not arguments.get("partial")]:
            raise ConfigError(
                f"model {card.name!r} has no {', '.join(map(repr, unknown))}: choose from {', '.join(card.names)}"
            )
    effect = registry.load("effect", options.type)
    match options:
        case BackgroundEffect():
            kept = "person" in card.names or is_matte(card) or card.family == "prompted"
            if not kept and options.regions is None:
                raise ConfigError(
                    f"a background needs a person in front of it, and model {card.name!r} knows only "
                    f"{', '.join(card.names)}: use --model portrait, or name the regions to keep in a file"
                )
            return effect(_paint(arguments.pop("paint")), **arguments)  # type: ignore[no-any-return]
        case OverlayEffect(preset="road"):
            if others := sorted(set(arguments) - {"preset", "legend"}):
                raise ConfigError(f"the preset 'road' chooses {', '.join(others)} itself: leave one of both out")
            return effect.road(legend=arguments.get("legend", True))  # type: ignore[no-any-return]
        case OverlayEffect():
            palette = {**card.palette, **arguments.pop("palette", {})}
            arguments.setdefault("tags", card.family in ("yolo", "yolox"))
            return effect(palette=palette, **arguments)  # type: ignore[no-any-return]
        case OutlineEffect() | HudEffect():
            return effect(**arguments)  # type: ignore[no-any-return]
        case _:
            assert_never(options)


def build_sink(
    options: SinkOptions,
    source: Source,
    *,
    names: Sequence[str] | None = None,
    on_key: Callable[[str], None] | None = None,
) -> Sink:
    """A sink for what comes from `source`; names: of files in folders, where the options give none.

    on_key: told the keys that are pressed in a window.
    """
    match options:
        case WindowSink():
            return _make("sink", options, on_key=on_key)  # type: ignore[no-any-return]
        case VideoSink():
            timed = source.live if options.clock is None else options.clock
            sink = _make("sink", options.model_copy(update={"clock": None}), info=source.info)
            return registry.import_target("rtseg.sinks.clock:ByClock")(sink) if timed else sink  # type: ignore[no-any-return]
        case StreamSink() | VirtualCameraSink() if options.rate is None and source.info.rate:
            return _make("sink", options, rate=min(240.0, max(1.0, float(source.info.rate))))  # type: ignore[no-any-return]
        case ImageSink() | MaskSink() if names is not None and options.names is None:
            return _make("sink", options, names=names)  # type: ignore[no-any-return]
        case _:
            return _make("sink", options)  # type: ignore[no-any-return]


def _make(kind: Kind, options: Any, **more: Any) -> Any:
    """A component of the registry; ConfigError where a plug-in does not take the options that it was given."""
    component = registry.load(kind, options.type)
    arguments = {**options.options(), **more}
    try:
        inspect.signature(component).bind(**arguments)
    except TypeError as error:
        given = ", ".join(arguments) or "no options"
        raise ConfigError(f"{kind} {options.type!r} does not take {given}: {error}") from error
    return component(**arguments)


def _paint(text: str) -> Any:
    background = registry.import_target("rtseg.effects.background:parse_background")(text)
    if background is None:
        raise ConfigError("the background 'none' is no effect: leave the effect out")
    if not hasattr(background, "path"):
        return background
    path = store.clean_path(background.path)
    if background.kind == "video":
        return registry.import_target("rtseg.effects.background:LoopingVideo")(
            lambda: build_source(VideoSource(path=path))
        )
    with contextlib.closing(build_source(ImageSource(paths=(path,)))) as source:
        picture = next(iter(source), None)
    if picture is None:
        raise SourceUnreadable(f"the background picture {path} cannot be read: choose another file")
    return Picture(picture)
