"""Whom a run shows, as people write it: everybody, the largest person, or the one at a place."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from rtseg.errors import ConfigError

Place: TypeAlias = Annotated[float, Field(ge=0, le=1)]


def _split(value: Any) -> Any:
    """Two numbers of "0.3,0.5", as a command line has it."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) and "," in value else value


Who: TypeAlias = Annotated[Literal["all", "largest"] | tuple[Place, Place], BeforeValidator(_split)]
"""all, largest, or the person at x and y, 0..1 of the picture's width and height."""

_WHO: TypeAdapter[Who] = TypeAdapter(Who)


def parse_who(given: Any) -> Who:
    """all, largest, "0.3,0.5" or two numbers; ConfigError for anything else."""
    try:
        return _WHO.validate_python(given)
    except ValidationError:
        raise ConfigError(
            f"subject {given!r} is none: use all, largest, or a place such as 0.3,0.5, x and y from 0 to 1"
        ) from None


def turned(who: Who | None) -> Who | None:
    """The same in a picture whose left and right are exchanged."""
    return (round(1 - who[0], 6), who[1]) if isinstance(who, tuple) else who


WORDS = r"^(all|largest|(0(\.\d{1,6})?|1(\.0{1,6})?),(0(\.\d{1,6})?|1(\.0{1,6})?))$"
"""What a client may say: all, largest, or x,y."""


def in_words(who: Who | None) -> str:
    """As clients say it; nothing said means all."""
    return f"{who[0]:.4f},{who[1]:.4f}" if isinstance(who, tuple) else who or "all"
