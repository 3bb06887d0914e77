"""The options of a subject's edge, as files and live scenes name them; what they do is `rtseg.effects.edges`."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import BaseModel, Field

from rtseg.cards import Share

Feather: TypeAlias = Annotated[float, Field(ge=-10, le=10)]


class EdgeOptions(BaseModel):
    """Widths in percent of the frame's height."""

    decontaminate: bool | None = None
    feather: Feather | None = None
    light_wrap: Share | None = None
    light_wrap_width: Annotated[float, Field(ge=0.5, le=20)] | None = None
    shadow: Share | None = None
