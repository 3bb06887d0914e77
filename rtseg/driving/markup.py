"""HTML that is made of values: what is not markup already is escaped, so that no name from a file becomes one."""

from __future__ import annotations

import html
import math
from typing import TypeAlias


class Markup(str):
    """Text that is HTML; made by `tag` and `joined` alone."""

    __slots__ = ()


Child: TypeAlias = "str | int | float | None"
VOID = frozenset({"img", "br", "meta", "link", "line", "rect", "path", "circle", "polyline"})


def tag(name: str, *children: Child, **attributes: Child) -> Markup:
    """An element. `class_` is class, `data_x` is data-x; an attribute that is None is left out."""
    given = "".join(
        f' {_name(key)}="{html.escape(_text(value), quote=True)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Markup(f"<{name}{given}/>")
    return Markup(f"<{name}{given}>{joined(*children)}</{name}>")


def joined(*children: Child) -> Markup:
    """One after another, each escaped unless it is markup."""
    return Markup("".join(each if isinstance(each, Markup) else html.escape(_text(each)) for each in children))


def _name(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def _text(value: Child) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else ""
    return str(value)


def clock(seconds: float) -> str:
    """Hours, minutes and seconds: "2:05", "1:02:05"."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes}:{left:02d}"
