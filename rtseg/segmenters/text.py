"""Words to vectors: a tokenizer and the half of a "prompted" model that reads, with what was read kept."""

from __future__ import annotations

import json
import threading
import unicodedata
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rtseg.cards import CardText
from rtseg.errors import ConfigError, DependencyMissing, ModelRejected
from rtseg.ops.arrays import F32, as_f32
from rtseg.segmenters import BoundEngine

if TYPE_CHECKING:
    from tokenizers import Tokenizer

KEPT = 256
"""Prompts whose vectors are kept; the one not used for longest goes first."""
LONGEST = 64
"""Characters of a prompt, since prompts are names, and names end up in legends and in the names of files."""
_BEGIN, _END = "<|startoftext|>", "<|endoftext|>"
_WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""What CLIP cuts a text into (Radford et al., Learning Transferable Visual Models From Natural Language, 2021)."""


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


class TextEncoder:
    """Gives a prompt's vector, float32 of `card.width`; the second time from memory.

    engine: of the card's text graph. files: of its tokenizer, by name. May be called from any thread, one at a time.
    Raises ModelRejected where card, graph and tokenizer disagree, ConfigError for a prompt of too many tokens.
    """

    def __init__(self, card: CardText, engine: BoundEngine, files: Mapping[str, Path]) -> None:
        self._card, self._engine = card, engine
        self._tokenizer = load_tokenizer([files[name] for name in card.tokenizer])
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
        found: list[int] = self._tokenizer.encode(prompt).ids
        if len(found) > self._card.length:
            raise ConfigError(
                f"the prompt {prompt!r} has {len(found)} tokens, at most {self._card.length}: make it shorter"
            )
        return found

    def _encode(self, prompt: str) -> F32:
        card, tokens = self._card, self.tokens(prompt)
        ids, mask = self._engine.inputs[card.ids], self._engine.inputs[card.mask]
        ids[0, : len(tokens)], ids[0, len(tokens) :] = tokens, tokens[-1]  # CLIP pads with the token that ends a text
        mask[0, : len(tokens)], mask[0, len(tokens) :] = 1, 0
        output = self._engine.run().get(card.output)
        if output is None or output.shape != (1, card.width):
            found = "none of that name" if output is None else f"of shape {output.shape}"
            raise ModelRejected(
                f"{card.file} gives {found} where the card says {card.output!r} of shape {(1, card.width)}"
            )
        return as_f32(np.array(output[0], np.float32))


def load_tokenizer(files: Sequence[Path]) -> Tokenizer:
    """A tokenizer of one `tokenizer.json`, or CLIP's of a vocabulary (.json) and merges (.txt).

    Texts come out without padding, with the tokens that begin and end them. Raises DependencyMissing without the
    package, ModelRejected for files that are no tokenizer.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise DependencyMissing(f"prompts need a tokenizer ({error}): pip install 'rtseg[prompts]'") from error
    vocabulary = next(path for path in files if path.suffix == ".json")
    merges = next((path for path in files if path.suffix == ".txt"), None)
    try:
        tokenizer = Tokenizer.from_file(str(vocabulary)) if merges is None else _clip_tokenizer(vocabulary, merges)
        tokenizer.no_padding()
        tokenizer.no_truncation()
        empty = tokenizer.encode("").ids
    except Exception as error:  # tokenizers raises Exception itself
        raise ModelRejected(f"{vocabulary} is no tokenizer: {error}") from error
    if len(empty) != 2:
        raise ModelRejected(f"{vocabulary} does not mark where a text begins and ends: give the tokenizer of the model")
    return tokenizer


def _clip_tokenizer(vocabulary: Path, merges: Path) -> Tokenizer:
    """As `CLIPTokenizer` of transformers has it, so that both give the same tokens; a test compares them."""
    from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers, processors
    from tokenizers.models import BPE

    words = json.loads(vocabulary.read_text(encoding="utf-8"))
    lines = [line for line in merges.read_text(encoding="utf-8").splitlines() if not line.startswith("#version")]
    pairs = [(first, second) for first, _, second in (line.partition(" ") for line in lines if line.strip())]
    tokenizer = Tokenizer(BPE(vocab=words, merges=pairs, end_of_word_suffix="</w>", fuse_unk=False, unk_token=_END))
    tokenizer.add_special_tokens([_BEGIN, _END])
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.post_processor = processors.RobertaProcessing(
        (_END, words[_END]), (_BEGIN, words[_BEGIN]), trim_offsets=False, add_prefix_space=False
    )
    return tokenizer
