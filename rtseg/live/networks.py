"""Networks for live pipelines, shared between streams."""

from __future__ import annotations

from rtseg import store
from rtseg.build import build_pipeline
from rtseg.config import Config, FilterOptions
from rtseg.live.pipeline import Network, OpenNetwork
from rtseg.sections import ModelOptions
from rtseg.streams import Networks


def open_networks(
    shared: Networks,
    options: ModelOptions,
    *,
    filters: tuple[FilterOptions, ...] | None = None,
    rate: float | None = None,
) -> OpenNetwork:
    """What a `LivePipeline` opens its models with: by name, with the other `options` of the stream's own.

    Networks come from `shared`; those that remember, or take more than a picture, are the stream's alone. rate: frames
    a second of the stream, for admission. The function raises what models and engines raise, and Overloaded.
    """

    def open_network(name: str | None) -> Network:
        model = options if name is None else options.model_copy(update={"name": name})
        card = store.find_card(model.name)
        config = Config(model=model, filters=filters, effects=())
        if card.other_inputs:
            return Network(card, build_pipeline(config, card=card, hold=0))
        engine = shared.stream(model, rate=rate)
        try:
            return Network(card, build_pipeline(config, card=card, engine=engine, hold=0), engine.close)
        except BaseException:
            engine.close()
            raise

    return open_network
