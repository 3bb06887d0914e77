"""Models as they are measured: the segmenters that users get, and what a set's regions are called in them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from rtseg import store
from rtseg.cards import Card
from rtseg.config import ModelOptions
from rtseg.engines import build_engine, build_segmenter
from rtseg.errors import ConfigError
from rtseg.evaluate.plan import Options
from rtseg.inference.engine import OrtEngine
from rtseg.ops.arrays import U8
from rtseg.results import Segmentation, masks_of
from rtseg.types import Segmenter


@dataclass(frozen=True, eq=False)
class Model:
    """A card, its segmenter, and the network alone for timing."""

    card: Card
    segmenter: Segmenter
    engine: OrtEngine = field(repr=False)

    @property
    def name(self) -> str:
        """The card's name."""
        return self.card.name


_PATIENCE = 600.0
"""Seconds a run may take: nobody waits for a frame here, and a machine that also trains stands still at times."""


def find_cards(names: Sequence[str]) -> list[Card]:
    """The cards of names or paths; ConfigError for two of one name, which tables could not tell apart."""
    cards = [store.find_card(name) for name in names]
    titles = [card.name for card in cards]
    if twice := sorted({title for title in titles if titles.count(title) > 1}):
        raise ConfigError(f"two models are called {', '.join(twice)}: give each once, or change the name in one card")
    return cards


def load_model(card: Card, *, threads: int = 1) -> Model:
    """The card's weights, verified and loaded; raises what `rtseg.engines.build_segmenter` raises."""
    options = ModelOptions(name=card.name, threads=threads, timeout=_PATIENCE)
    return Model(card, build_segmenter(options, card), build_engine(options, card))


def region_masks(result: Segmentation, wanted: Mapping[str, tuple[str, ...]]) -> dict[str, U8]:
    """Region -> mask, uint8 at the result's own resolution: the union of what the model calls so."""
    masks = masks_of(result)
    found: dict[str, U8] = {}
    for region, names in wanted.items():
        present = [masks[name] for name in names if name in masks]
        found[region] = np.maximum.reduce(present) if present else np.zeros((1, 1), np.uint8)
    return found


def known_regions(card: Card, regions: Sequence[str], options: Options) -> dict[str, tuple[str, ...]]:
    """Those of `regions` that the model gives -> what it calls them."""
    named = {region: options.names_for(region, card) for region in regions}
    return {region: names for region, names in named.items() if names}


def cpu_times(models: Sequence[Model], *, runs: int = 60) -> dict[str, float]:
    """CPU-milliseconds of one run of each network: the median of `runs`, all models in turn in one loop.

    So that a machine's slow moments, which other work causes, meet all models alike: the ratios are worth more than
    the figures. The time is the process's, of all its threads.
    """
    times: dict[str, list[float]] = {model.name: [] for model in models}
    for _ in range(runs):
        for model in models:
            before = time.process_time()
            model.engine.run()
            times[model.name].append((time.process_time() - before) * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}
