"""Texts as numbers: the tokenizers that come in a model's folder, read without transformers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from rtseg.cards import Task
from rtseg.errors import DependencyMissing, ModelNotFound, ModelRejected

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TASKS: tuple[Task, ...] = get_args(Task)
FILES: tuple[tuple[str, ...], ...] = (("tokenizer.json",), ("vocab.json", "merges.txt"))
"""What a folder's tokenizer is made of; of both the first is taken."""
_BEGIN, _END = "<|startoftext|>", "<|endoftext|>"
_WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""What CLIP cuts a text into (Radford et al., Learning Transferable Visual Models From Natural Language, 2021)."""


def tokenizer_files(folder: Path) -> list[Path]:
    """The files of the folder's tokenizer; ModelNotFound where it has none."""
    for names in FILES:
        files = [folder / name for name in names]
        if all(path.is_file() for path in files):
            return files
    raise ModelNotFound(f"{folder} has no tokenizer: it needs tokenizer.json, or vocab.json and merges.txt")


def task_tokens(folder: Path, length: int) -> dict[Task, tuple[int, ...]]:
    """What OneFormer is told for each task, "the task is ...", by the folder's tokenizer: `length` numbers.

    Padded with 0, as `OneFormerProcessor` of transformers does it. Raises ModelRejected for a folder whose tokenizer
    is missing or knows no word, DependencyMissing without the package.
    """
    wrong = f"the tokenizer of {folder} cannot be used to tell OneFormer its task"
    try:
        tokenizer = load_tokenizer(tokenizer_files(folder))
    except (ModelNotFound, ModelRejected) as error:
        raise ModelRejected(f"{wrong}: {error}") from error
    rows = {task: tokenizer.encode(f"the task is {task}").ids for task in TASKS}
    if len({tuple(row) for row in rows.values()}) < len(TASKS):
        raise ModelRejected(f"{wrong}: its tokens are the same for every task; give the tokenizer of the model")
    if (longest := max(map(len, rows.values()))) > length:
        raise ModelRejected(f"{wrong}: that takes {longest} tokens, and config.json allows {length}")
    return {task: (*row, *[0] * (length - len(row))) for task, row in rows.items()}


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
