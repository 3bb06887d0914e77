"""Networks that are told in words what to look for: one soft area a prompt, and prompts may change at any time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtseg.cards import Card, CardText
from rtseg.errors import ModelRejected
from rtseg.ops.arrays import F32, U8, as_f32
from rtseg.ops.tensors import Window, crop_window, is_sound, probabilities, quantise
from rtseg.segmenters import BoundEngine, Network
from rtseg.segmenters.text import check_prompts
from rtseg.types import Frame, Regions


class PromptedSegmenter:
    """Serves every card of the "prompted" family (CLIPSeg): `Regions` named by the prompts, in their order.

    encode: a prompt to its vector, such as `rtseg.segmenters.text.TextEncoder`; to its tokens (`PromptTokens`) where
    the card's [text] has no graph of its own. prompts: what to look for, by default the card's names.

    The picture's part of the network is run once for as many prompts as the engine was bound for, and again for those
    beyond; a graph that takes tokens is run for each prompt. `prompts` may be set from any thread; what was set is
    used whole, from the next frame on.
    Raises ModelRejected where card and graph disagree, InferenceFailed for NaN or infinity, ConfigError for what
    cannot be a prompt. Nothing else is kept between frames.
    """

    def __init__(
        self,
        card: Card,
        engine: BoundEngine,
        *,
        encode: Callable[[str], NDArray[Any]],
        prompts: Sequence[str] | None = None,
    ) -> None:
        if card.text is None:
            raise ModelRejected(f"card {card.name!r} has no table [text]: say what reads the prompts")
        self._network = Network(card, engine)
        self._engine, self._encode = engine, encode
        self._places = [self._place(card.text, name) for name in card.text.inputs]
        self._at_once = 1 if card.text.file is None else len(self._places[0])
        self.prompts = card.names if prompts is None else tuple(prompts)

    @property
    def prompts(self) -> tuple[str, ...]:
        """What is looked for. Setting it reads the new prompts in the thread that sets them, so no frame waits."""
        return self._current[0]

    @prompts.setter
    def prompts(self, prompts: Sequence[str]) -> None:
        names = check_prompts(prompts)
        vectors = np.stack([self._encode(name) for name in names])
        self._current = names, vectors  # one assignment: a frame sees the old pair or the new one

    @property
    def names(self) -> tuple[str, ...]:
        """The prompts."""
        return self.prompts

    @property
    def providers(self) -> tuple[str, ...]:
        """Where the network of pictures runs, best first."""
        return self._network.providers

    def __call__(self, frame: Frame) -> Regions:
        """The frame's regions, one a prompt."""
        names, vectors = self._current
        window = self._network.write(frame)
        masks: list[U8] = []
        for first in range(0, len(vectors), self._at_once):
            part = vectors[first : first + self._at_once]
            self._tell(part)
            masks += [self._mask(logits, window) for logits in self._logits(frame)[: len(part)]]
        return Regions(np.stack(masks), names, frame.pts, frame.size)

    def empty(self, frame: Frame) -> Regions:
        """Nothing of what was asked for, at the input's resolution."""
        names = self.prompts
        shape = (len(names), *self._network.layout.shape[2:])
        return Regions(np.zeros(shape, np.uint8), names, frame.pts, frame.size)

    def reset(self) -> None:
        """Prompts stay; nothing else is remembered."""

    def _place(self, text: CardText, name: str) -> NDArray[Any]:
        """The buffer that prompts go to: Nxwidth for vectors, 1xlength for tokens."""
        tokens = text.file is None
        length, kind = (text.length, "int64") if tokens else (text.width, "float32")
        place = self._engine.inputs.get(name)
        fits = place is not None and place.ndim == 2 and place.shape[1] == length and place.dtype == kind
        if place is None or not fits or (tokens and len(place) != 1):
            found = ", ".join(f"{each} {array.dtype} {array.shape}" for each, array in self._engine.inputs.items())
            raise ModelRejected(
                f"the card of model {self._network.card.name!r} says that prompts go to {name!r}, {kind} "
                f"{1 if tokens else 'N'}x{length}, but the graph has {found}: correct the card"
            )
        return place

    def _tell(self, prompts: NDArray[Any]) -> None:
        """Write some vectors, the last one also where there are fewer than places, or the tokens of one prompt."""
        if len(self._places) > 1:
            for place, row in zip(self._places, prompts[0], strict=True):
                place[0] = row
            return
        (places,) = self._places
        places[: len(prompts)], places[len(prompts) :] = prompts, prompts[-1]

    def _logits(self, frame: Frame) -> F32:
        (output,) = self._network.card.outputs
        logits = self._engine.run().get(output.name)
        at_once = self._at_once
        if logits is not None and logits.ndim == 2 and at_once == 1:
            logits = logits[np.newaxis]  # CLIPSeg leaves a side of one out
        if logits is not None and logits.ndim == 4 and logits.shape[1] == 1:
            logits = logits[:, 0]
        if logits is None or logits.ndim != 3 or len(logits) != at_once:
            found = "is not there" if logits is None else f"is {logits.shape}"
            raise ModelRejected(
                f"the card of model {self._network.card.name!r} says that {output.name!r} is {at_once}xHxW, one map a "
                f"prompt, but it {found}: correct the card, or export the model with one map a prompt"
            )
        if not is_sound(logits, output.activation):
            raise self._network.refuse(output.name, frame)
        return as_f32(logits)

    def _mask(self, logits: F32, window: Window) -> U8:
        (output,) = self._network.card.outputs
        probability = probabilities(logits[np.newaxis], output.activation, 0)
        mask = crop_window(quantise(probability), window, self._network.layout.size)
        return np.ascontiguousarray(mask)
