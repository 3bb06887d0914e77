"""Where cards and weights are found, and whether they can be trusted."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import rtseg
from rtseg.cards import Card, read_card
from rtseg.errors import ModelNotFound

__all__ = ["cache_folder", "find_card", "list_cards", "weights"]


def cache_folder() -> Path:
    """Where pulled weights live: `RTSEG_CACHE`, else the platform's cache folder; it need not exist."""
    if chosen := os.environ.get("RTSEG_CACHE"):
        return Path(chosen).expanduser()
    match sys.platform:
        case "win32":
            base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
        case "darwin":
            base = Path.home() / "Library" / "Caches"
        case _:
            base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "rtseg"


def list_cards() -> list[Card]:
    """Every card that can be found, by name; of two with one name the first found counts."""
    return [card for _, card in sorted(_cards().items())]


def find_card(name_or_path: str | os.PathLike[str]) -> Card:
    """The card of that name, or in that `.toml` file; `ModelNotFound` names the cards that there are."""
    name = os.fspath(name_or_path)
    if name.endswith(".toml"):
        return read_card(Path(name).expanduser())
    cards = _cards()
    if name not in cards:
        near = difflib.get_close_matches(name, cards, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise ModelNotFound(f"no model is called {name!r}: {hint}known are {', '.join(sorted(cards))}")
    return cards[name]


def weights(card: Card) -> Path:
    """The file of the card's weights: beside the card, in a folder of `RTSEG_MODELS`, or in the cache folder.

    Only that it is there: `verify` also says whether it is the right one. Raises `ModelNotFound`.
    """
    folders = [*([card.folder] if card.folder else []), *_user_folders(), cache_folder()]
    for folder in folders:
        if (path := folder / card.file).is_file():
            return path
    places = ", ".join(dict.fromkeys(map(str, folders)))
    fix = f"get them with `rtseg models pull {card.name}`, or put" if card.url else "they have no public address; put"
    raise ModelNotFound(f"the weights of {card.name!r} are not here: {fix} {card.file} into one of {places}")


def _cards() -> dict[str, Card]:
    cards: dict[str, Card] = {}
    for path in _card_files():
        card = read_card(path)
        cards.setdefault(card.name, card)
    return cards


def _card_files() -> Iterator[Path]:
    for folder in (*_user_folders(), _packaged_folder(), cache_folder()):
        yield from sorted(folder.glob("*.toml"))


def _user_folders() -> list[Path]:
    return [Path(entry).expanduser() for entry in os.environ.get("RTSEG_MODELS", "").split(os.pathsep) if entry]


def _packaged_folder() -> Path:
    package = Path(rtseg.__file__).resolve().parent
    installed = package / "_models"
    return installed if installed.is_dir() else package.parent / "models"
