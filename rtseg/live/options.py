"""A live stream as data: one table of `streams.toml`, one body of `POST /v1/streams`."""

from __future__ import annotations

import os
import tomllib
from os import PathLike
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from rtseg.config import FilterOptions, SinkOptions, SourceOptions
from rtseg.errors import ConfigError
from rtseg.live.ladder import Rung
from rtseg.live.scene import Scene
from rtseg.sections import ModelOptions, Section
from rtseg.store import clean_path

Lowest = Literal["full", "adaptive", "lighter", "half rate"]


class StreamOptions(Section):
    """One stream.

    name: lower-case letters, digits, - and _. source: an input as `rtseg run` takes it, or a table as `[source]`; a
    file is played at its own pace. loop: a file begins anew at its end. model: a name, or a table as `[model]`. scene:
    what is shown; None blurs the background of people, and lays what other models find over the picture. sinks: where
    it goes, addresses as of `rtseg stream --to`, or tables as `[[sinks]]`; none for a stream that is watched through
    the service alone. rate: the most frames a second that are looked at. lowest: the last step of the ladder that the
    stream may be put on under load. attempts: openings of the source that may fail before its first frame; None waits
    for as long as it takes. cpus: cores that it is placed by on a cluster; None for half of one, and for what
    it was measured to take when it is placed again.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")] = "stream"
    source: str | SourceOptions
    loop: bool = False
    model: str | ModelOptions = "portrait"
    filters: tuple[FilterOptions, ...] | None = None
    scene: Scene | None = None
    sinks: tuple[str | SinkOptions, ...] = ()
    rate: Annotated[float, Field(gt=0, le=240)] | None = None
    lowest: Lowest = "half rate"
    attempts: Annotated[int, Field(gt=0)] | None = None
    cpus: Annotated[float, Field(gt=0, le=64)] | None = None

    @property
    def model_options(self) -> ModelOptions:
        """The model as a table."""
        return ModelOptions(name=self.model) if isinstance(self.model, str) else self.model

    @property
    def lowest_rung(self) -> Rung:
        """The last step of the ladder that is allowed."""
        return Rung[self.lowest.upper().replace(" ", "_")]


class StreamsFile(Section):
    """A `streams.toml`. capacity: the share of the machine's time that networks may take, for admission. ray: "auto" or
    HOST:PORT of a Ray cluster, on which each stream is then an actor, placed by its `cpus`."""  # fmt: skip

    streams: tuple[StreamOptions, ...] = ()
    capacity: Annotated[float, Field(gt=0, le=1)] = 0.85
    ray: Annotated[str, Field(pattern=r"^(auto|[A-Za-z0-9.:\[\]-]+:\d{1,5})$")] | None = None


def read_streams(path: str | PathLike[str]) -> StreamsFile:
    """The streams of a TOML file; ConfigError names the file, the key, its value and what is allowed."""
    file = os.fspath(path)
    try:
        data = tomllib.loads(clean_path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{file} does not exist: give the path of a TOML file with [[streams]]") from error
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise ConfigError(f"{file} is not TOML: {error}") from error
    try:
        found = StreamsFile.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"{file}: {explain(error, StreamsFile)}") from error
    names = [stream.name for stream in found.streams]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"{file}: two streams are named {', '.join(map(repr, twice))}: give each a name of its own")
    return found


def parse_stream(data: dict[str, Any]) -> StreamOptions:
    """The same of one stream from plain values."""
    try:
        return StreamOptions.model_validate(data)
    except ValidationError as error:
        raise ConfigError(explain(error, StreamOptions)) from error


def explain(error: ValidationError, section: type[Section]) -> str:
    """The first thing that is wrong, as one line."""
    problem = error.errors()[0]
    key = ".".join(str(part) for part in problem["loc"])
    value = f" = {problem['input']!r}" if not isinstance(problem["input"], dict) else ""
    if problem["type"] == "extra_forbidden":
        known = StreamOptions if key.startswith("streams.") or section is StreamOptions else section
        if "scene" in problem["loc"]:
            known = Scene
        return f"{key}{value} is an unknown key: allowed are {', '.join(known.model_fields)}"
    return f"{key}{value}: {problem['msg'][0].lower()}{problem['msg'][1:]}"
