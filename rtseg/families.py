"""What each family of models can be asked for: the same for single pictures, live pipelines and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rtseg.cards import Card, Task
from rtseg.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Family:
    """What a family can be asked for: its tasks, the usual one first, and the options that mean something to it."""

    tasks: tuple[Task, ...]
    options: frozenset[str] = frozenset()


QUERY_OPTIONS = frozenset({"threshold", "mask_threshold", "overlap_mask_area_threshold"})
"""What the "queries" family decides its segments by; its card has the usual values."""

FAMILIES: Mapping[str, Family] = {
    "semantic": Family(("semantic",), frozenset({"probabilities"})),
    "regions": Family(("semantic",), frozenset({"threshold", "mask_threshold"})),
    "touching": Family(("instance",), frozenset({"threshold", "mask_threshold"})),
    "yolo": Family(("instance",), frozenset({"threshold"})),
    "yolox": Family(("instance",), frozenset({"threshold"})),
    "queries": Family(("semantic", "instance", "panoptic"), QUERY_OPTIONS),
    "recurrent": Family(("semantic",), frozenset({"threshold", "mask_threshold"})),
    "prompted": Family(("semantic",), frozenset({"threshold", "mask_threshold", "prompts"})),
}
"""A test holds it against the families of cards."""

PICTURES_ONLY = frozenset({"probabilities"})
"""Options of single pictures that no stream has."""


def check_asked(card: Card, task: Task | None, given: Mapping[str, object], *, live: bool = False) -> None:
    """ConfigError for a task or an option that the card's family does not have, with those that it has, and for a
    threshold outside 0..1.

    given: options by name, None for what is not asked for. live: for a stream, which has fewer.
    """
    family = FAMILIES[card.family]
    model = f"model {card.name!r} (family {card.family!r})"
    if task is not None and task not in family.tasks:
        raise ConfigError(f"{model} has no task {task!r}: it does {', '.join(family.tasks)}")
    options = family.options - PICTURES_ONLY if live else family.options
    for option, value in given.items():
        if value is not None and option not in options:
            raise ConfigError(
                f"{model} has no option {option}: leave it out (it has {', '.join(sorted(options)) or 'none'})"
            )
        if option in QUERY_OPTIONS and isinstance(value, int | float) and not 0 <= value <= 1:
            raise ConfigError(f"{option} must be from 0 to 1, not {value}")


def with_asked(card: Card, task: Task | None, shares: Mapping[str, float | None]) -> Card:
    """The card of a "queries" model with this task and these thresholds in place of its own; any other as it is.

    Raises ConfigError for a task that the network was given no tokens for.
    """
    if card.queries is None:
        return card
    given = {name: value for name, value in {"task": task, **shares}.items() if value is not None}
    queries = card.queries.model_copy(update=given)
    if queries.tokens and queries.task not in queries.tokens:
        raise ConfigError(
            f"model {card.name!r} is told its task by tokens, and its card has them for {', '.join(queries.tokens)} "
            f"only: ask for one of these, not {queries.task}"
        )
    return card if queries == card.queries else card.model_copy(update={"queries": queries})
