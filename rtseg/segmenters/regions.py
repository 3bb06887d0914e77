"""Networks that give soft areas: person mattes, drivable road, lane markings, obstacles."""

from __future__ import annotations

from rtseg.cards import Card
from rtseg.segmenters import BoundEngine
from rtseg.segmenters.soft import SoftMasks
from rtseg.types import Frame, Regions


class RegionSegmenter:
    """Serves every card of the "regions" family; what differs between the networks is in the card.

    Gives `Regions` with the card's names in its order, each 0..255 and covering exactly the frame, all at the finest
    resolution that any of them has, in an array of its own. Raises ModelRejected where card and graph disagree,
    InferenceFailed for outputs that cannot be probabilities. Nothing is kept between frames.
    """

    def __init__(self, card: Card, engine: BoundEngine) -> None:
        self.names = card.names
        self._masks = SoftMasks(card, engine)

    def __call__(self, frame: Frame) -> Regions:
        """The frame's regions."""
        return self._masks(frame)

    @property
    def providers(self) -> tuple[str, ...]:
        """Where the network runs, best first."""
        return self._masks.network.providers

    def empty(self, frame: Frame) -> Regions:
        """Zero everywhere, at the input's resolution."""
        return self._masks.empty(frame)

    def reset(self) -> None:
        """Nothing is remembered."""
