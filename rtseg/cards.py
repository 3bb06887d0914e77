"""Model cards: a TOML file per model says what the weights are, where they come from and how to feed them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

Triple = tuple[float, float, float]


class CardInput(BaseModel):
    """How a picture becomes the input tensor: float32 1x3xHxW, (pixel / scale - mean) / std per channel.

    size: width, height. colour: order of the channels. fit: "stretch", or "letterbox" (kept aspect, centred,
    padded with `pad`, a pixel value 0..255).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    size: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]]
    colour: Literal["rgb", "bgr"] = "rgb"
    fit: Literal["stretch", "letterbox"] = "stretch"
    pad: Annotated[int, Field(ge=0, le=255)] = 114
    scale: Annotated[float, Field(gt=0)] = 255.0
    mean: Triple = (0.0, 0.0, 0.0)
    std: Triple = (1.0, 1.0, 1.0)


class CardOutput(BaseModel):
    """What one output tensor, 1xCxHxW, means.

    activation: what is still missing to make probabilities of it. regions: region name -> channel ("regions"
    family); a channel that no region names (background) is dropped. The "semantic" family has one output, whose
    channels are the card's `names` in order, and no regions.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    activation: Literal["none", "sigmoid", "softmax"] = "none"
    regions: dict[str, Annotated[int, Field(ge=0)]] = {}


class Card(BaseModel):
    """Everything about a model but its weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    description: str
    family: Literal["regions", "semantic"]
    file: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    licence: str
    source: str
    url: str | None = None
    data: str = ""
    input: CardInput
    outputs: tuple[CardOutput, ...]
    names: tuple[str, ...]
    palette: dict[str, Annotated[str, Field(pattern=r"^#[0-9a-f]{6}$")]] = {}
    metrics: dict[str, float | str] = {}
    _folder: Path | None = PrivateAttr(default=None)
