"""Mattes that remember: what a network hands itself from frame to frame is kept here, a stream's own."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtseg.cards import Card
from rtseg.errors import EngineError, ModelRejected
from rtseg.segmenters import BoundEngine
from rtseg.segmenters.soft import SoftMasks
from rtseg.types import Frame, Regions, Size


class RecurrentSegmenter:
    """Serves every card of the "recurrent" family: `RegionSegmenter` with the states that `card.recurrent` names.

    The states lie in the engine's own inputs, zeros at first: an engine belongs to one stream, so streams share none.
    They are forgotten at a reset, with another epoch or size of frames, and after a run that failed or gave no mask,
    since what spoilt it may be in them. alone: pictures have nothing to do with each other, so each is the first.
    Raises what `RegionSegmenter` raises, and ModelRejected where a state's input and output are not of one shape.
    """

    def __init__(self, card: Card, engine: BoundEngine, *, alone: bool = False) -> None:
        if card.recurrent is None:
            raise ModelRejected(f"card {card.name!r} has no table [recurrent]: say which outputs become which inputs")
        self.names = card.names
        self._masks = SoftMasks(card, engine)
        self._engine, self._alone = engine, alone
        self._states = card.recurrent.states
        if missing := [name for name in self._states if name not in engine.inputs]:
            raise ModelRejected(f"card {card.name!r}: the graph has no input {missing[0]!r}; correct [recurrent]")
        self._seen: tuple[Size, int] | None = None
        self.reset()

    def __call__(self, frame: Frame) -> Regions:
        """The frame's regions, after those that were seen before it."""
        if self._alone or (self._seen is not None and self._seen != (frame.size, frame.epoch)):
            self.reset()
        try:
            regions = self._masks(frame)
        except EngineError:
            self.reset()
            raise
        for name, output in self._states.items():
            self._keep(name, self._masks.network.raw.get(output), output)
        self._seen = frame.size, frame.epoch
        return regions

    @property
    def providers(self) -> tuple[str, ...]:
        """Where the network runs, best first."""
        return self._masks.network.providers

    def empty(self, frame: Frame) -> Regions:
        """Zero everywhere, at the input's resolution."""
        return self._masks.empty(frame)

    def reset(self) -> None:
        """The next frame is the first."""
        for name in self._states:
            self._engine.inputs[name].fill(0)
        self._seen = None

    def _keep(self, name: str, value: NDArray[Any] | None, output: str) -> None:
        target = self._engine.inputs[name]
        if value is None or value.shape != target.shape or value.dtype != target.dtype:
            found = "is not there" if value is None else f"is {value.dtype} {value.shape}"
            raise ModelRejected(
                f"the card of model {self._masks.network.card.name!r} makes the output {output!r} the next input "
                f"{name!r}, {target.dtype} {target.shape}, but it {found}: correct [recurrent]"
            )
        np.copyto(target, value)
