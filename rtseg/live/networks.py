"""Networks for live pipelines, shared between streams."""

from __future__ import annotations

from typing import Any

from rtseg import store
from rtseg.auto_preset import USUAL, Pace, pace_of
from rtseg.build import build_pipeline, is_matte, settled
from rtseg.cards import Card
from rtseg.config import Config, FilterOptions, SourceOptions
from rtseg.live.pipeline import Network, OpenNetwork
from rtseg.live.scene import Scene
from rtseg.presets import PRESETS
from rtseg.sections import ModelOptions
from rtseg.streams import Networks


def open_networks(
    shared: Networks,
    options: ModelOptions,
    *,
    filters: tuple[FilterOptions, ...] | None = None,
    rate: float | None = None,
    pace: Pace | None = None,
) -> OpenNetwork:
    """What a `LivePipeline` opens its models with: by name, with the other `options` of the stream's own.

    Networks come from `shared`; those that remember, or take more than a picture, are the stream's alone. rate: frames
    a second of the stream, for admission. pace: for the preset "auto", None for the usual one. The function raises what
    models and engines raise, and Overloaded.
    """

    def open_network(name: str | None) -> Network:
        card = store.find_card(options.name if name is None else name)
        config = settled(Config(model=another(options, card, name), filters=filters, effects=()), card, pace=pace)
        model = config.model
        if card.other_inputs:
            return Network(card, build_pipeline(config, card=card, hold=0))
        engine = shared.stream(model, rate=rate)
        try:
            return Network(card, build_pipeline(config, card=card, engine=engine, hold=0), engine.close)
        except BaseException:
            engine.close()
            raise

    return open_network


def another(options: ModelOptions, card: Card, name: str | None) -> ModelOptions:
    """The options for the model of that card, by `name`; None for their own.

    A preset goes along where it can; the lighter network under load has the fast one.
    """
    if name is None:
        return options
    changed: dict[str, Any] = {"name": name}
    if options.preset is not None and not is_matte(card):
        changed["preset"] = None
    elif options.preset is not None and name == store.find_card(options.name).lighter:
        changed["preset"] = "fast"
    return options.model_copy(update=changed)


def live_pace(source: SourceOptions | None, rate: float | None) -> Pace:
    """The pace of a stream: of its source, and no more than its rate. Raises what sources of files raise."""
    pace = pace_of(source)
    usual = pace.rate or USUAL.rate or 0.0
    return Pace(pace.size, usual if rate is None else min(rate, usual))


def with_preset(
    scene: Scene, options: ModelOptions, filters: tuple[FilterOptions, ...] | None, pace: Pace | None = None
) -> Scene:
    """The scene with what the model's preset says of edges, where it says nothing itself; raises ConfigError."""
    if options.preset is None or "decontaminate" in scene.model_fields_set:
        return scene
    made = settled(Config(model=options, filters=filters), store.find_card(options.name), pace=pace)
    preset = made.model.preset
    return scene if preset is None else scene.model_copy(update={"decontaminate": PRESETS[preset].decontaminate})
