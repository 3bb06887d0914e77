"""Streams over the wire. Clients name sources, outputs and models by strings only; `allow.py` judges them."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from rtseg.live.options import Lowest
from rtseg.sections import PresetName
from rtseg.subject import WORDS

Name: TypeAlias = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", examples=["door"])]
Place: TypeAlias = Annotated[str, Field(min_length=1, max_length=2048)]
Fps: TypeAlias = Annotated[float, Field(gt=0, le=240)]


class _Checked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SceneChange(_Checked):
    """Parts of a scene; what is not named stays as it is."""

    background: str | None = Field(
        default=None,
        max_length=255,
        description="blur, blur:N, #rrggbb, a colour's name, or a file that the operator listed; null shows the room.",
        examples=["blur:4"],
    )
    overlay: str | None = Field(default=None, max_length=1000, description="all, road, or names joined by commas.")
    framing: str | None = Field(
        default=None,
        max_length=20,
        description="The picture follows the subject: body, head, head:1.5.",
        examples=["head"],
    )
    mirror: bool = Field(default=False, description="Left and right exchanged.")
    subject: str = Field(default="all", pattern=WORDS, description="Who is shown: all, largest, or x,y from 0 to 1.")
    keep_held: bool = Field(default=False, description="With what the subject holds.")
    frozen: bool = Field(default=False, description="The last picture stands.")
    slate: bool = Field(default=False, description="Nobody is shown, only a card.")


class StreamRequest(_Checked):
    """A stream to add, where the operator has allowed it."""

    name: Name
    source: Place = Field(description="An address, or a file's name, that the operator has allowed.")
    loop: bool = Field(default=False, description="A file begins anew at its end.")
    model: Annotated[str, Field(min_length=1, max_length=100)] = "portrait"
    preset: PresetName | None = Field(default=None, description="How good a matte is to be; as fast without one.")
    scene: SceneChange | None = Field(default=None, description="Without one the background is blurred.")
    sinks: list[Place] = Field(default_factory=list, max_length=8, description="Where it goes.")
    rate: Fps | None = Field(default=None, description="The most frames a second that are looked at.")
    lowest: Lowest = Field(default="half rate", description="The last step of the ladder.")


class StreamChange(_Checked):
    """What is to be another; what is not named stays. All but the scene must have been allowed by the operator."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        json_schema_extra={"examples": [{"scene": {"background": "blur:4"}}]},
    )
    scene: SceneChange | None = None
    source: Place | None = None
    loop: bool | None = None
    model: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    rate: Fps | None = None
    lowest: Lowest | None = None


class SinkRequest(_Checked):
    """One more output."""

    to: Place = Field(description="An address, or a new file's name, that the operator has allowed.")


class SceneAnswer(BaseModel):
    """What is shown."""

    background: str | None
    overlay: str | None
    framing: str | None
    mirror: bool
    subject: str
    keep_held: bool
    frozen: bool
    slate: bool


class Times(BaseModel):
    """Milliseconds: percentiles over the newest frames, mean over all."""

    count: int
    mean: float
    p50: float
    p95: float
    p99: float


class SinkAnswer(BaseModel):
    """An output. replaced: newer pictures came before they were written."""

    id: str = Field(description="For DELETE.")
    name: str
    state: Literal["waiting", "open", "lost", "closed"]
    written: int
    replaced: int
    repeated: int
    opened: int
    error: str | None
    latency: Times | None


class StreamAnswer(BaseModel):
    """One look at a stream."""

    name: str
    source: str = Field(description="Without passwords and folders.")
    state: str = Field(description="live, no signal, closed to view, idle, failed or ended.")
    link: str
    model: str
    scene: SceneAnswer
    rung: str = Field(description="What gave way under load: full, adaptive, lighter, half rate.")
    fps: float
    seconds: float
    frames_in: int
    frames_out: int
    left_out: int
    held: int = Field(description="Frames closed to view.")
    inferred: int
    error: str | None
    counts: dict[str, int] = Field(description="What the source lost, and its reconnects.")
    stages: dict[str, Times]
    sinks: list[SinkAnswer]


class StreamList(BaseModel):
    """All of them, by name."""

    streams: list[StreamAnswer]


class EventAnswer(BaseModel):
    """Something that changed."""

    id: str
    time: str = Field(description="UTC, ISO 8601.")
    stream: str
    kind: Literal["stream", "state", "link", "sink", "ladder", "privacy"]
    before: str | None
    after: str | None
    detail: str | None = None
