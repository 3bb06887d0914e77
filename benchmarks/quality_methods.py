"""What `benchmarks.quality` compares: ways from a network's small mask to an alpha of the frame's size, by name.

bare                        our network's mask, enlarged bilinearly
default                     with the filters that a run has
fast, balanced, studio      presets, with their effect at the edge; those of several views ask the network themselves
smooth, smooth+refine       with these filters; options as in smooth(follow=false)
portrait-studio:default     another model of ours
selfie-landscape            MediaPipe's graph: its network's mask, enlarged bilinearly; also selfie-general
selfie-landscape+smoothing  with MediaPipe's SegmentationSmoothingCalculator
selfie-landscape+sample     cut at 0.1, as in the sample of its documentation
pphumanseg-lite             enlarged bilinearly
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import cv2
import numpy as np

from benchmarks.quality_scores import plain_composite
from benchmarks.quality_store import PATIENCE, TRUTH
from rtseg import registry, store
from rtseg.build import build_pipeline, default_filters
from rtseg.compositor import Compositor
from rtseg.config import Config, ModelOptions
from rtseg.effects.background import Background
from rtseg.errors import ConfigError
from rtseg.ops.arrays import F32, U8, as_f32, as_u8
from rtseg.ops.resize import enlarge
from rtseg.presets import PRESETS
from rtseg.types import Blur, Effect, Filter, Frame, Regions, Segmentation, Segmenter, Solid

PEERS = ("selfie-landscape", "selfie-general", "pphumanseg-lite")
STANDARD = (
    "bare",
    "default",
    "selfie-landscape",
    "selfie-landscape+smoothing",
    "selfie-landscape+sample",
    "selfie-general",
    "pphumanseg-lite",
)
MIX = 0.9
"""combine_with_previous_ratio: what MediaPipe's hair segmentation sets; its pose segmentation has 0.7."""
CUT = 0.1
"""What the sample calls person."""
_UNCERTAIN = (5.68842, -0.748699, -57.8051, 291.309, -624.717)


class Method(Protocol):
    """A way from masks to alphas, one stream at a time."""

    @property
    def name(self) -> str:
        """As it was asked for."""
        ...

    @property
    def network(self) -> str:
        """The name of the card whose masks it takes."""
        ...

    @property
    def looks(self) -> bool:
        """Whether it asks the network itself: it is given a frame of which nothing is made yet, and no use of masks."""
        ...

    def reset(self) -> None:
        """For another shot."""
        ...

    def __call__(self, frame: Frame, mask: Regions, /) -> U8:
        """The alpha, uint8 HxW of the frame's size; this is what is timed."""
        ...

    def composite(self, frame: Frame, alpha: U8, paint: Solid | Blur, /) -> U8:
        """The same frame before a background, RGB uint8 HxWx3."""
        ...


class Rtseg:
    """Filters, background effect and compositor of rtseg; the alpha is the mask as the compositor enlarges it."""

    def __init__(
        self,
        name: str,
        network: str,
        filters: Sequence[Filter],
        *,
        effect: Callable[[Solid | Blur], Effect] = Background,
        segmenter: Segmenter | None = None,
    ) -> None:
        self.name, self.network, self.looks = name, network, segmenter is not None
        self._segmenter = segmenter
        self._effect = effect
        self._filters = tuple(filters)
        self._found: Regions | None = None
        self._compositor = Compositor()

    def reset(self) -> None:
        """For another shot."""
        if self._segmenter is not None:
            self._segmenter.reset()
        for each in self._filters:
            each.reset()

    def __call__(self, frame: Frame, mask: Regions, /) -> U8:
        """The alpha, uint8 HxW of the frame's size."""
        found: Segmentation = mask if self._segmenter is None else self._segmenter(frame)
        for each in self._filters:
            found = each(frame, found)
        assert isinstance(found, Regions)
        self._found = found
        return enlarge(found.probabilities[0], frame.size)

    def composite(self, frame: Frame, _alpha: U8, paint: Solid | Blur, /) -> U8:
        """The last frame as rtseg shows it before a background, RGB."""
        assert self._found is not None
        return self._compositor(frame, self._effect(paint)(frame, self._found, ())).rgb


class Peer:
    """A peer's mask enlarged bilinearly, and what its library does then; blended with a blur of the whole frame."""

    def __init__(self, name: str, network: str, *, smoothing: float = 0.0, cut: float | None = None) -> None:
        self.name, self.network, self.looks = name, network, False
        self._smoothing, self._cut = smoothing, cut
        self.reset()

    def reset(self) -> None:
        """For another shot."""
        self._past: F32 | None = None

    def __call__(self, frame: Frame, mask: Regions, /) -> U8:
        """The alpha, uint8 HxW of the frame's size."""
        alpha = enlarge(mask.probabilities[0], frame.size)
        if self._smoothing:
            new = as_f32(alpha.astype(np.float32) * np.float32(1 / 255.0))
            self._past = new if self._past is None else mixed(new, self._past, self._smoothing)
            alpha = as_u8(cv2.convertScaleAbs(self._past, alpha=255.0))
        if self._cut is not None:
            alpha = as_u8(cv2.threshold(alpha, round(255 * self._cut), 255, cv2.THRESH_BINARY)[1])
        return alpha

    def composite(self, frame: Frame, alpha: U8, paint: Solid | Blur, /) -> U8:
        """The frame before a background, RGB."""
        return plain_composite(frame.rgb, alpha, painted(frame.rgb, paint))


def mixed(new: F32, past: F32, ratio: float) -> F32:
    """Float32 HxW: new + (past - new) u ratio, with u near 1 where the new mask (0..1) is unsure.

    MediaPipe's SegmentationSmoothingCalculator, whose polynomial in (new - 1/2)^2 stands for 1 - (1 - H)^2, H the
    entropy in bits.
    """
    x = np.square(new - np.float32(0.5))
    sure = np.zeros_like(x)
    for factor in reversed(_UNCERTAIN):
        sure = (sure + np.float32(factor)) * x
    return as_f32(new + (past - new) * (np.float32(1.0) - np.minimum(sure, np.float32(1.0))) * np.float32(ratio))


def painted(rgb: U8, paint: Solid | Blur) -> U8:
    """The background for a frame RGB: one colour, or the whole frame blurred by a Gaussian."""
    match paint:
        case Solid():
            return np.full_like(rgb, np.array(paint.rgb, np.uint8))
        case Blur():
            return as_u8(cv2.GaussianBlur(rgb, (0, 0), paint.strength / 100.0 * rgb.shape[0]))


@dataclass(frozen=True, slots=True)
class _Peered:
    smoothing: float = 0.0
    cut: float | None = None


_AFTER = {"": _Peered(), "smoothing": _Peered(smoothing=MIX), "sample": _Peered(cut=CUT)}


def method(name: str, *, model: str = "portrait") -> Method:
    """The method of a name, see above; `model`: ours where none is named. Raises ConfigError."""
    network, _, after = name.partition("+")
    if network in PEERS:
        if after not in _AFTER:
            raise ConfigError(f"{name!r} has {after!r} after {network!r}: use one of smoothing, sample")
        return Peer(name, network, smoothing=_AFTER[after].smoothing, cut=_AFTER[after].cut)
    before, colon, rest = name.partition(":")
    network, filters = (before, rest) if colon else (model, name)
    if filters in PRESETS:
        return _preset(name, network, filters)
    return Rtseg(name, network, _filters(filters, network))


def _preset(name: str, network: str, preset: str) -> Method:
    if network == TRUTH:
        raise ConfigError(f"{name!r}: a preset asks its network, and {TRUTH!r} is none: name a model")
    options = ModelOptions.model_validate({"name": network, "preset": preset, "threads": 1, "timeout": PATIENCE})
    pipeline = build_pipeline(Config(model=options, effects=()))
    clean = PRESETS[preset].decontaminate

    def effect(paint: Solid | Blur) -> Background:
        return Background(paint, decontaminate=clean and not isinstance(paint, Blur))  # as `rtseg.presets.edged` has it

    segmenter = None if PRESETS[preset].views == 1 else pipeline.segmenter
    return Rtseg(name, network, pipeline.filters, effect=effect, segmenter=segmenter)


def alone(frame: Frame, network: tuple[int, int] | None) -> Frame:
    """The frame as filters get it: with what the network's input was made of, and nothing that another method made.

    network: the input's size; None for one whose network is yet to be asked.
    """
    fresh = replace(frame)
    if network is not None:
        fresh.resized(network)
    return fresh


FILTERS: dict[str, Callable[[str], Sequence[Filter]]] = {
    "bare": lambda _network: (),
    "default": lambda network: [
        registry.load("filter", each.type)(**each.options())
        for each in default_filters(store.find_card("portrait" if network == TRUTH else network))
    ],
}
"""What names mean that are no filters: a network's name to filters."""


def _filters(text: str, network: str) -> Sequence[Filter]:
    if text in FILTERS:
        return FILTERS[text](network)
    made = []
    for part in text.split("+"):
        found = re.fullmatch(r"([\w-]+)(?:\((.*)\))?", part)
        if found is None:
            raise ConfigError(f"{part!r} is no filter: write name, or name(option=value,option=value)")
        try:
            pairs = [pair.partition("=") for pair in (found[2] or "").split(",") if pair]
            options = {key.strip(): json.loads(value) for key, _, value in pairs}
            made.append(registry.load("filter", found[1])(**options))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{part!r}: {error}; values are written as in JSON") from error
    return made
