"""The tables of filters, and where that of the subject stands among the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from rtseg.cards import Card
from rtseg.errors import ConfigError
from rtseg.sections import ModelOptions, Section
from rtseg.subject import Who


class SmoothFilter(Section):
    """Less flicker over time. follow: along the motion. tidy: a matte loses faint islands."""

    type: Literal["smooth"] = "smooth"
    follow: bool | None = None
    tidy: bool | None = None


class RefineFilter(Section):
    """Mask edges pulled onto the edges of the picture."""

    type: Literal["refine"] = "refine"


class SubjectFilter(Section):
    """Bystanders out. who: all, largest, or [x, y] of the person, 0..1. keep_held: what the subject holds stays."""

    type: Literal["subject"] = "subject"
    who: Who | None = None
    keep_held: bool | None = None


def with_subject(filters: Sequence[Any], model: ModelOptions, card: Card, *, matte: bool) -> tuple[Any, ...]:
    """The filters with what the model's table says of the subject: in its own place, else before edges are redrawn.

    ConfigError for a model that finds no people.
    """
    said: dict[str, Any] = {"who": model.subject, "keep_held": model.keep_held}
    said = {key: value for key, value in said.items() if value is not None}
    at = next((i for i, each in enumerate(filters) if isinstance(each, SubjectFilter)), None)
    if at is None and model.subject in (None, "all") and not model.keep_held:
        return tuple(filters)
    if not matte and "person" not in card.names:
        raise ConfigError(f"a subject is a person, and model {card.name!r} finds none: use --model portrait")
    if at is not None:
        return (*filters[:at], filters[at].model_copy(update=said), *filters[at + 1 :])
    at = next((i for i, each in enumerate(filters) if each.type == "refine"), len(filters))
    return (*filters[:at], SubjectFilter.model_validate({"who": "all", **said}), *filters[at:])
