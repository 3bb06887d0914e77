"""Which analyzers a drive has and what they are told, known before anything is written."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rtseg import registry
from rtseg.archive.log import PlacedLog
from rtseg.archive.options import DriveOptions
from rtseg.cards import Card
from rtseg.driving.detections import GROUPS
from rtseg.errors import ConfigError, DependencyMissing
from rtseg.store import find_card

ANALYZERS = ("lanes", "obstacles")
"""Those of roads, in the order in which they are asked."""
_LENS = ("height", "fov")


@dataclass(frozen=True, slots=True)
class Analysis:
    """Tables of a configuration, and what is left out, and why."""

    tables: tuple[dict[str, Any], ...]
    notes: tuple[str, ...] = ()


def analysis_of(options: DriveOptions, *, gps: PlacedLog | None = None) -> Analysis:
    """The analyzers that were asked for, or those of roads that the model has something for; lanes come first, since
    they say how the camera looks.

    Raises ConfigError for those that cannot work with the model, and for options that none of them takes;
    DependencyMissing; ModelNotFound.
    """
    wanted, notes = _wanted(options)
    given = dict(_given(options))
    if options.calibration is not None and (lens := [name for name in _LENS if name in given]):
        raise ConfigError(f"the calibration file says how the camera looks: leave it or {' and '.join(lens)} out")
    taken: set[str] = set()
    tables: list[dict[str, Any]] = []
    if gps is not None:
        tables.append({"type": "gps", "path": str(gps.path), "offset": gps.offset})
    for name in wanted:
        told = _takes(name) & given.keys()
        if name == "obstacles" and "lanes" in wanted:
            told -= set(_LENS)  # lanes tell them more than that
        elif name == "obstacles" and len(told & set(_LENS)) == 1:
            raise ConfigError("obstacles without lanes need both the camera's height and its fov: give the other too")
        tables.append({"type": name, **{option: given[option] for option in given if option in told}})
        taken |= told
    for option, value in given.items():
        if option not in taken:
            said = value["name"] if option == "detector" else value
            raise ConfigError(f"no analyzer here takes the {option} {said}: leave it out")
    return Analysis(tuple(tables), tuple(notes))


def check_installed(options: DriveOptions) -> None:
    """Raise DependencyMissing where a library is not there that one of the options needs."""
    needed = {"pyarrow": ("Parquet", "parquet", options.parquet)}
    needed["confluent_kafka"] = ("--kafka", "kafka", options.kafka is not None)
    for module, (what, extra, asked) in needed.items():
        if asked and importlib.util.find_spec(module) is None:
            raise DependencyMissing(f"{what} needs {module}: pip install 'rtseg[{extra}]'")


def _wanted(options: DriveOptions) -> tuple[Sequence[str], list[str]]:
    """Their names in order, and why others are not among them."""
    names = ANALYZERS if options.analyzers is None else options.analyzers
    lacking = {name: reason for name in names if (reason := _lacks(name, find_card(options.model), options))}
    kept = sorted((name for name in names if name not in lacking), key=lambda name: name not in ANALYZERS[:1])
    if lacking and (options.analyzers is not None or not kept):
        raise ConfigError(next(iter(lacking.values())))
    for name in kept:
        try:
            registry.load("analyzer", name)
        except DependencyMissing as error:
            others = ",".join(each for each in kept if each != name) or "none"
            raise DependencyMissing(f"{name}: {error}; or leave them out: --analyzers {others}") from error
    return kept, [f"no {name}: {reason}" for name, reason in lacking.items()]


def _lacks(name: str, card: Card, options: DriveOptions) -> str:
    """What the model does not have that an analyzer needs."""
    match name:
        case "lanes" if "lane" not in card.names:
            return f"the model {card.name!r} knows no lane lines: take one that does, such as road"
        case "obstacles" if options.detector is None and not GROUPS.keys() & set(card.names):
            return (
                f"the model {card.name!r} knows no vehicles and nobody on foot: give a --detector, such as yolox-nano"
            )
        case _:
            return ""


def _given(options: DriveOptions) -> Iterator[tuple[str, Any]]:
    if options.calibration is not None:
        yield "calibration", str(options.calibration)
    if options.detector is not None:
        yield "detector", {"name": options.detector}
    for name in _LENS:
        if (value := getattr(options, name)) is not None:
            yield name, value


def _takes(analyzer: str) -> set[str]:
    return set(inspect.signature(registry.load("analyzer", analyzer)).parameters)
