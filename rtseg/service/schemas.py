"""What goes over the wire, for OpenAPI and for the checks of what comes."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from rtseg.cards import Task

Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
"""A PNG of one pixel."""


class _Checked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SegmentParameters(_Checked):
    """The parameters of Hugging Face's image segmentation, which are those of `rtseg.segment`; None: not asked for."""

    threshold: Share | None = Field(default=None, description="Segments with a lower score are left out.")
    mask_threshold: Share | None = Field(
        default=None, description="Probability over which a mask is 255, else 0. Without it soft masks stay soft."
    )
    overlap_mask_area_threshold: Share | None = Field(
        default=None, description="Share of its area that a mask must keep where masks compete for pixels."
    )
    subtask: Task | None = Field(default=None, description="One of what the model can; its own without.")

    def options(self) -> dict[str, Any]:
        """As `rtseg.segmenting.ImageSegmenter` wants them."""
        shares = ("threshold", "mask_threshold", "overlap_mask_area_threshold")
        return {"task": self.subtask, **{name: getattr(self, name) for name in shares}}


class InferenceRequest(BaseModel):
    """The JSON of the Hugging Face contract; what it has besides is left alone, as there."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        json_schema_extra={"examples": [{"inputs": _PIXEL, "parameters": {"mask_threshold": 0.5}}]},
    )
    inputs: str = Field(description="The picture: base64, a data: address, or, where fetching is on, an http(s) one.")
    parameters: SegmentParameters | None = None


class InferenceSegment(BaseModel):
    """A segment as Hugging Face's clients expect it: `score` is always a number."""

    label: str
    score: float = Field(description="Of the segment, 0 to 1; 1 where the model gives none.")
    mask: str = Field(description="PNG of one channel and the picture's size, in base64.")


class PictureRequest(_Checked):
    """A picture in JSON, for /v1: one of both."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra={"examples": [{"image": _PIXEL}]})
    image: str | None = Field(default=None, description="Base64, or a data: address.")
    url: str | None = Field(default=None, description="An http(s) address, where fetching is on.")


class SegmentQuery(SegmentParameters):
    """Options of /v1/segment."""

    model: str | None = Field(default=None, description="A name of /v1/models; the first without.")
    masks: bool = Field(default=True, description="Whether masks are in the answer.")


class CompositeQuery(_Checked):
    """Options of /v1/composite; background and overlay exclude each other."""

    model: str | None = Field(default=None, description="A name of /v1/models; the first without.")
    background: str | None = Field(
        default=None,
        description="transparent, blur, blur:N (0.5 to 10), #rrggbb, a colour's name, or picture: the form's "
        "field `background`. Usually transparent.",
        examples=["blur:4"],
    )
    overlay: str | None = Field(
        default=None,
        description="all, or names of classes joined by commas: colours over the picture.",
        examples=["all"],
    )
    legend: bool = Field(default=True, description="Whether an overlay names its colours.")
    opacity: Share = Field(default=0.45, description="Of an overlay.")
    format: Literal["png", "webp", "jpeg"] = Field(default="png", description="JPEG has no transparency.")


class FoundSegment(BaseModel):
    """A segment of /v1/segment."""

    label: str
    score: float | None = Field(description="0 to 1; null where the model gives none.")
    area: float = Field(description="Share of the picture, 0 to 1, weighted by the mask.")
    mask: str | None = Field(description="PNG of one channel and the picture's size, in base64.")


class SegmentAnswer(BaseModel):
    """All of a picture's segments."""

    model: str
    width: int
    height: int
    segments: list[FoundSegment]
    milliseconds: float = Field(description="Of work, without waiting.")


class ModelInfo(BaseModel):
    """A model that the service has loaded."""

    name: str
    family: str
    labels: list[str]
    description: str
    licence: str
    input_size: tuple[int, int] = Field(description="Width and height that the network sees.")


class ModelList(BaseModel):
    """All of them, the default first."""

    models: list[ModelInfo]


class Health(BaseModel):
    """ok while the process answers with all its workers, degraded with less; ready while it also takes work, and then
    degraded while a stream is away."""  # fmt: skip

    status: Literal["ok", "degraded", "ready"]
    workers: int = Field(description="Those that are alive and have their models.")
    restarts: int = Field(description="Workers that ended and were started anew.")


class ErrorAnswer(BaseModel):
    """Anything but a result."""

    error: str = Field(description="What was wrong, on one line.", examples=["all places are taken: try again"])


PICTURE_BODY: dict[str, Any] = {
    "image/*": {"schema": {"type": "string", "format": "binary"}},
    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
}
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer, "description": text}
    for status, text in {
        400: "The body is not what its type says.",
        401: "The token is missing or wrong.",
        403: "A foreign host or origin.",
        404: "No such model.",
        408: "The body came too slowly.",
        413: "Too many bytes or pixels.",
        415: "The body is compressed.",
        422: "No picture, or a wrong option.",
        424: "The address did not give a picture.",
        503: "All places are taken, or the work took too long: see Retry-After.",
    }.items()
}
