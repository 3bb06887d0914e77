"""What a matte is worth: three sets of options, what each costs, and the best that a machine keeps up with."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Literal

import cv2
import numpy as np

from rtseg.cards import Card
from rtseg.compositor import Compositor
from rtseg.config import BackgroundEffect, EffectOptions
from rtseg.effects.background import Background, parse_background
from rtseg.errors import ConfigError
from rtseg.ops.arrays import U8, as_u8
from rtseg.sections import ModelOptions, PresetName
from rtseg.types import Blur, Clear, Filter, Frame, Regions, Segmentation, Segmenter, Size, Solid
from rtseg.views import Views, takes_views

SHARE = 0.5
"""Of a frame's time on one core: what a preset may take. The rest is for decoder, effects, encoder and the others."""
PATIENCE = 0.4
"""Seconds that measuring may take; what was begun is finished."""
_TURNS = 6


@dataclass(frozen=True, slots=True)
class Preset:
    """views: how often the network looks at a frame (`rtseg.views`). decontaminate: of the background effect.

    Filters are those that suit the model; what is said of views, focus or decontaminate goes before the preset.
    """

    views: Literal[1, 2, 4]
    decontaminate: bool


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {"fast": Preset(1, False), "balanced": Preset(2, True), "studio": Preset(4, True)}
)
"""The least first."""


@dataclass(frozen=True, slots=True)
class Costs:
    """CPU-ms a frame. network: by views. filters: on masks of one view, finer: of several. edge: its own colours."""

    network: Mapping[int, float]
    filters: float
    finer: float
    edge: float

    def of(self, preset: Preset) -> float:
        """What masks and edges take of a frame."""
        filters = self.filters if preset.views == 1 else self.finer
        return self.network[preset.views] + filters + self.edge * preset.decontaminate


def check_preset(name: str) -> PresetName:
    """The name, if it is one; ConfigError where it is none."""
    match name:
        case "fast" | "balanced" | "studio" | "auto":
            return name
        case _:
            raise ConfigError(f"preset {name!r} is none: use {', '.join(PRESETS)} or auto")


def choose(costs: Mapping[str, float], rate: float | None) -> str:
    """The last of the presets that takes no more than `SHARE` of a frame's time, else the first.

    costs: CPU-ms a frame, the least first. rate: frames a second; None where nobody waits.
    """
    fast, *_ = costs
    if rate is None:
        return [*costs][-1]
    return next((name for name in reversed([*costs]) if costs[name] <= SHARE * 1000.0 / rate), fast)


def settle(model: ModelOptions, card: Card, *, matte: bool, chosen: Callable[[], str]) -> ModelOptions:
    """The table with what its preset says of the network, and "auto" replaced; the same again for what it gives.

    matte: whether the model is one. chosen: names the preset for "auto". Raises ConfigError for a preset of a model
    that is no matte; "auto" is left out there.
    """
    if model.preset is None:
        return model
    if not matte:
        if model.preset == "auto":
            return model.model_copy(update={"preset": None})
        raise ConfigError(
            f"preset {model.preset!r} is for mattes, and model {card.name!r} is none: leave it out, or use --model "
            "portrait"
        )
    name = chosen() if model.preset == "auto" else model.preset
    changed: dict[str, Any] = {"preset": name}
    if model.views is None and not model.focus and takes_views(card) and PRESETS[name].views > 1:
        changed["views"] = PRESETS[name].views
    return model.model_copy(update=changed)


def edged(effects: Sequence[EffectOptions], preset: str | None) -> tuple[EffectOptions, ...]:
    """The effects with what the preset says of backgrounds, where they say nothing themselves.

    Not of transparent ones, which are put before another background elsewhere, nor of blurs, whose colours are those of
    the old room, nor of effects that are not there.
    """
    if preset is None or not PRESETS[preset].decontaminate:
        return tuple(effects)
    return tuple(_edged(effect) for effect in effects)


def _edged(effect: EffectOptions) -> EffectOptions:
    if not isinstance(effect, BackgroundEffect) or effect.decontaminate is not None:
        return effect
    if isinstance(parse_background(effect.paint), Clear | Blur):
        return effect
    return effect.model_copy(update={"decontaminate": True})


def measure(
    segmenter: Segmenter,
    filters: Sequence[Filter],
    network: tuple[int, int],
    size: Size,
    *,
    several: bool = True,
    clock: Callable[[], float] = time.thread_time,
    wall: Callable[[], float] = time.monotonic,
) -> Costs:
    """Medians over a few drawn frames of that size, in less than half a second; filters are reset afterwards.

    network: width and height of its picture. several: whether it takes views; else all are one. clock: seconds of CPU,
    of this thread. wall: seconds, for `PATIENCE`.
    """
    spent: dict[str | int, list[float]] = {}

    def lap(key: str | int, began: float) -> None:
        spent.setdefault(key, []).append(clock() - began)

    drawn = _Drawn(segmenter, network)
    looks: dict[int, Segmenter] = {1: drawn}
    if several:
        looks |= {2: Views(drawn, number=2, size=network), 4: Views(drawn, number=4, size=network)}
    paints = {key: Background(_GREEN, decontaminate=key == "edge") for key in ("plain", "edge")}
    compositor = Compositor()
    started = wall()
    # Filters remember, so the masks of one size come one after the other.
    for views, look in looks.items():
        for turn in range(_TURNS):
            if turn > 1 and wall() - started > PATIENCE:
                break
            frame = _frame(size, turn)
            began = clock()
            found = look(frame)
            lap(views, began)
            if views == 4:
                continue
            began = clock()
            for each in filters:
                found = each(frame, found)
            lap("filters" if views == 1 else "finer", began)
            for name, paint in paints.items() if views == 1 else ():
                began = clock()
                compositor(frame, paint(frame, found, ()))
                lap(name, began)
        for each in filters:
            each.reset()
    # What is first pays for caches and buffers, and sees no part of the frame yet.
    took = {key: 1e3 * statistics.median(times[1:]) for key, times in spent.items()}
    one = took[1]
    edge = max(0.0, took["edge"] - took["plain"])
    network_ms = {views: took.get(views, one) for views in (1, 2, 4)}
    return Costs(network_ms, took["filters"], took.get("finer", took["filters"]), edge)


_GREEN = Solid((0, 177, 64))


class _Drawn:
    """Asks the network, and gives head and shoulders in place of what it finds in drawn frames."""

    def __init__(self, segmenter: Segmenter, network: tuple[int, int]) -> None:
        self.names = segmenter.names
        self._segmenter, self._mask = segmenter, _matte(network)

    def __call__(self, frame: Frame) -> Segmentation:
        self._segmenter(frame)
        return Regions(self._mask[np.newaxis], self.names, frame.pts, frame.size)

    def empty(self, frame: Frame) -> Segmentation:
        return self._segmenter.empty(frame)

    def reset(self) -> None:
        self._segmenter.reset()


def _frame(size: Size, turn: int) -> Frame:
    noise = np.random.default_rng(turn).integers(0, 256, (9, 16), dtype=np.uint8)
    luma = as_u8(cv2.resize(noise, tuple(size), interpolation=cv2.INTER_CUBIC))
    chroma = as_u8(cv2.resize(luma, ((size.width + 1) // 2, (size.height + 1) // 2), interpolation=cv2.INTER_AREA))
    return Frame((luma, chroma, chroma), index=turn, pts=turn, time_base=Fraction(1, 30))


def _matte(size: tuple[int, int]) -> U8:
    wide, tall = size
    matte = np.zeros((tall, wide), np.uint8)
    cv2.circle(matte, (wide // 2, tall * 2 // 5), tall // 5, 255, -1, cv2.LINE_AA)
    cv2.ellipse(matte, (wide // 2, tall), (tall * 2 // 5, tall * 2 // 5), 0.0, 0.0, 360.0, 255, -1, cv2.LINE_AA)
    return as_u8(cv2.GaussianBlur(matte, (0, 0), tall / 100.0))
