"""What goes wrong as an HTTP status and one line: no traceback, no path of the server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rtseg.errors import (
    ConfigError,
    EngineError,
    FrameError,
    InferenceTimeout,
    Overloaded,
    SinkError,
    SourceError,
    SourceTooLarge,
)


@dataclass(eq=False)
class Refusal(Exception):
    """An answer that is no result: `{"error": message}` with this status."""

    status: int
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__(self.message)

    @property
    def body(self) -> dict[str, str]:
        """As JSON; the message on one line, control characters gone."""
        return {"error": one_line(self.message)}


def busy(message: str, seconds: int = 1) -> Refusal:
    """503 with the seconds after which to try again."""
    return Refusal(503, message, {"Retry-After": str(seconds)})


def refusal_of(error: Exception) -> Refusal:
    """What to answer for an error of a request's work; anything unknown is 500 and says nothing of itself."""
    match error:
        case Refusal():
            return error
        case SourceTooLarge():
            return Refusal(413, str(error))
        case Overloaded():
            return busy(str(error))
        case InferenceTimeout():
            return busy("the network took too long: try again")
        case ConfigError() | SourceError() | SinkError() | FrameError():
            return Refusal(422, str(error))
        case EngineError():
            return Refusal(500, "the network failed on this picture")
        case _:
            return Refusal(500, "internal error: the log of the service has more")


def one_line(text: str) -> str:
    """Without line breaks and other control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
