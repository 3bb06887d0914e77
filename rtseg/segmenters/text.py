"""Words to numbers: a tokenizer, and the half of a "prompted" model that reads, with what was read kept."""

from __future__ import annotations

import threading
import unicodedata
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rtseg.cards import CardText
from rtseg.errors import ConfigError, ModelRejected
from rtseg.ops.arrays import F32, as_f32
from rtseg.segmenters import BoundEngine
from rtseg.tokens import load_tokenizer

KEPT = 256
"""Prompts whose vectors are kept; the one not used for longest goes first."""
LONGEST = 64
"""Characters of a prompt, since prompts are names, and names end up in legends and in the names of files."""


def check_prompts(prompts: Sequence[str]) -> tuple[str, ...]:
    """The prompts as names of regions, spaces around them taken off; ConfigError for what no name can be."""
    if isinstance(prompts, str):
        raise ConfigError(f"prompts must be a list of texts, not the text {prompts!r}: write [{prompts!r}]")
    found = tuple(prompt.strip() for prompt in prompts)
    if not found:
        raise ConfigError("there is no prompt: say at least one thing to look for, such as 'a cat'")
    for prompt in found:
        if not 1 <= len(prompt) <= LONGEST or any(c in "/\\" or unicodedata.category(c) == "Cc" for c in prompt):
            raise ConfigError(
                f"{prompt!r} cannot be a prompt: allowed are 1 to {LONGEST} characters without / and \\ and line breaks"
            )
    if len(set(found)) != len(found):
        raise ConfigError(f"prompts must differ from each other, not {list(found)}")
    return found


class PromptTokens:
    """Gives a prompt's tokens, int64 2xlength: their ids, and 1 where they are and 0 where there is none.

    files: of the card's tokenizer, by name. Raises ModelRejected for what is no tokenizer, ConfigError for a prompt of
    too many tokens.
    """

    def __init__(self, card: CardText, files: Mapping[str, Path]) -> None:
        self._length = card.length
        self._tokenizer = load_tokenizer([files[name] for name in card.tokenizer])

    def __call__(self, prompt: str) -> NDArray[np.int64]:
        """The tokens of a prompt."""
        tokens = self.tokens(prompt)
        both = np.zeros((2, self._length), np.int64)
        both[0, : len(tokens)], both[0, len(tokens) :] = tokens, tokens[-1]  # CLIP pads with the token that ends a text
        both[1, : len(tokens)] = 1
        return both

    def tokens(self, prompt: str) -> list[int]:
        """The ids of a prompt's tokens, with those that begin and end it, not padded."""
        found: list[int] = self._tokenizer.encode(prompt).ids
        if len(found) > self._length:
            raise ConfigError(f"the prompt {prompt!r} has {len(found)} tokens, at most {self._length}: make it shorter")
        return found


class TextEncoder:
    """Gives a prompt's vector, float32 of `card.width`; the second time from memory.

    engine: of the card's text graph. files: of its tokenizer, by name. May be called from any thread, one at a time.
    Raises ModelRejected where card, graph and tokenizer disagree, ConfigError for a prompt of too many tokens.
    """

    def __init__(self, card: CardText, engine: BoundEngine, files: Mapping[str, Path]) -> None:
        self._card, self._engine = card, engine
        self._read = PromptTokens(card, files)
        shape = (1, card.length)
        ports = {name: (array.shape, array.dtype.name) for name, array in engine.inputs.items()}
        if ports != {card.ids: (shape, "int64"), card.mask: (shape, "int64")}:
            raise ModelRejected(
                f"{card.file} has the inputs {ports}; the card's [text] says {card.ids!r} and {card.mask!r}, "
                f"int64 {shape}: correct the card"
            )
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, F32] = OrderedDict()

    def __call__(self, prompt: str) -> F32:
        """The vector of a prompt; do not write into it."""
        with self._lock:
            if prompt in self._kept:
                self._kept.move_to_end(prompt)
                return self._kept[prompt]
            vector = self._encode(prompt)
            self._kept[prompt] = vector
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
            return vector

    def tokens(self, prompt: str) -> list[int]:
        """The ids of a prompt's tokens, with those that begin and end it, not padded."""
        return self._read.tokens(prompt)

    def _encode(self, prompt: str) -> F32:
        card = self._card
        self._engine.inputs[card.ids][0], self._engine.inputs[card.mask][0] = self._read(prompt)
        output = self._engine.run().get(card.output)
        if output is None or output.shape != (1, card.width):
            found = "none of that name" if output is None else f"of shape {output.shape}"
            raise ModelRejected(
                f"{card.file} gives {found} where the card says {card.output!r} of shape {(1, card.width)}"
            )
        return as_f32(np.array(output[0], np.float32))
