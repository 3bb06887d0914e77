"""Everything but the person painted over: blur, picture, looping video, colour, or cleared away."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import PurePath
from typing import Literal, TypeAlias

import cv2
import numpy as np

from rtseg.cards import Card
from rtseg.effects.edges import Edges, Edging
from rtseg.effects.selection import check_names, select
from rtseg.errors import ConfigError, SourceError, SourceUnreadable
from rtseg.ops.arrays import U8, as_u8
from rtseg.ops.fit import convert, cover
from rtseg.ops.palette import NAMED, parse_rgb
from rtseg.results import shape_of
from rtseg.types import (
    Blur,
    Clear,
    Frame,
    GraphLayer,
    Layer,
    Observation,
    Paint,
    Picture,
    Regions,
    Segmentation,
    Solid,
    Source,
)

_log = logging.getLogger(__name__)

Backdrop: TypeAlias = Callable[[Frame], Paint]
"""Paints that change with the frame, such as `LoopingVideo`."""


def _ramp(low: float, high: float) -> U8:
    levels = (np.arange(256) / 255.0 - low) / (high - low)
    return np.rint(255.0 * np.clip(levels, 0.0, 1.0)).astype(np.uint8)


# A matte is never quite 0 or 1 far from its edge. Snapped there, most of a frame needs no blending at all,
# and nothing of the room shimmers through; in between the ramp is straight, as the matte's alpha is.
_BACKGROUND_OF: U8 = (255 - _ramp(0.06, 0.94)).astype(np.uint8)


class Background:
    """Keeps the named regions and paints all else: nobody in sight, all is painted.

    paint: `Blur`, `Solid`, `Clear`; `Picture` of any size and colour, which is cropped and converted once to fit
    the frames; or a callable that gives the paint for a frame. regions: names whose union is kept; default: all
    regions of a `Regions` result, and the class "person" of the others. Raises ConfigError at the first frame
    for a name that the model does not have.

    decontaminate, feather, light_wrap, light_wrap_width, shadow: as in `rtseg.effects.edges.Edges`. Where a blur is
    decontaminated, it is made of the frame as it came, whatever other effects did to it before.
    """

    def __init__(
        self,
        paint: Blur | Solid | Clear | Picture | Backdrop,
        *,
        regions: Sequence[str] | None = None,
        decontaminate: bool = False,
        feather: float = 0.0,
        light_wrap: float = 0.0,
        light_wrap_width: float = 3.0,
        shadow: float = 0.0,
    ):
        # A blur of pixels that were given the subject's colours would take those along.
        self._paint = replace(paint, untouched=True) if decontaminate and isinstance(paint, Blur) else paint
        self._edges = Edges(decontaminate, feather, light_wrap, light_wrap_width, shadow)
        self._edges.suit(paint)
        self._edging = Edging(self._edges) if self._edges != Edges(light_wrap_width=light_wrap_width) else None
        self._regions = None if regions is None else tuple(regions)
        self._checked: tuple[str, ...] | None = None
        self._kept: tuple[str, ...] = ()
        self._fit = _Fit()

    def __call__(
        self, frame: Frame, segmentation: Segmentation, _observations: Sequence[Observation], /
    ) -> Sequence[Layer]:
        """One layer, its alpha at the mask's resolution, among those of `Edges`; none where the kept regions fill the
        frame."""  # fmt: skip
        found = self._alpha(segmentation)
        alpha = found if self._edging is None else self._edging.matte(found)
        # A backdrop is asked even for a frame that shows none of it, so that its clock goes on.
        paint = self.painted(frame)
        if not alpha.any():
            return ()
        if self._edging is None:
            return (Layer(alpha, paint),)
        below, above = self._edging.below(frame, found, alpha), self._edging.above(frame, alpha, paint)
        return (*below, Layer(alpha, paint), *above)

    def graph_layers(self, card: Card) -> Sequence[GraphLayer]:
        """The same layer for a fused graph of that model; ConfigError for `Clear`, a lens's blur and `Edges`, which no
        graph paints."""  # fmt: skip
        if self._edging is not None:
            raise ConfigError(
                "decontaminate, feather, light_wrap and shadow cannot be fused: leave them out, or run unfused"
            )
        match self._paint:
            case Blur(lens="disc" | "depth"):
                raise ConfigError("bokeh cannot be fused: use blur, or run it unfused")
            case Clear():
                raise ConfigError("a transparent background cannot be fused: run it unfused")
            case Blur() | Solid():
                paint: Blur | Solid | None = self._paint
            case _:
                paint = None
        return (GraphLayer(self._kept_names(card.names, soft=card.family == "regions"), _BACKGROUND_OF, paint),)

    def painted(self, frame: Frame) -> Paint:
        """What the background is painted with in this frame, fitted to it."""
        match self._paint:
            case Picture():
                return Picture(self._fit(self._paint.frame, frame))
            case Blur() | Solid() | Clear():
                return self._paint
            case backdrop:
                return backdrop(frame)

    def _alpha(self, segmentation: Segmentation) -> U8:
        if segmentation.names != self._checked:
            soft = isinstance(segmentation, Regions)
            self._kept = self._kept_names(segmentation.names, soft=soft)
            self._checked = segmentation.names
        masks = iter(select(segmentation, self._kept).values())
        union = next(masks, None)
        if union is None:
            return np.full(shape_of(segmentation), 255, np.uint8)
        for mask in masks:
            union = np.maximum(union, mask)
        return as_u8(cv2.LUT(union, _BACKGROUND_OF))

    def _kept_names(self, names: tuple[str, ...], *, soft: bool) -> tuple[str, ...]:
        if self._regions is not None:
            check_names(self._regions, names)
            return self._regions
        if soft:
            return names
        if "person" not in names:
            raise ConfigError(f"the model has no 'person' to keep: name the regions to keep, from {', '.join(names)}")
        return ("person",)


class LoopingVideo:
    """A backdrop from a video that starts over at its end.

    The picture is the one for the main frame's time modulo the video's duration, whatever the two frame rates. The
    video's clock stands still while main time goes back (a seek) and passes at most a second between two frames.

    open_source: gives a fresh source from the start, called again for each loop. Its errors are raised here, at
    the start, as SourceError, also if it has no frame; a source that fails later leaves its last picture standing.
    """

    def __init__(self, open_source: Callable[[], Source]):
        self._open = open_source
        self._source, self._frames = self._start()
        try:
            self._begin()
        except BaseException:
            self._source.close()
            raise
        # A single frame is a still: nothing to read again.
        self._standing = self._following is None
        self._clock = Fraction(0)
        self._main_time: Fraction | None = None
        self._fit = _Fit()

    def __call__(self, frame: Frame, /) -> Paint:
        """The picture for this frame, of its size, subsampling and colour."""
        now = _seconds(frame)
        if self._main_time is not None:
            self._clock += min(max(now - self._main_time, Fraction(0)), Fraction(1))
        self._main_time = now
        if not self._standing:
            try:
                self._advance()
            except SourceError as error:
                self._standing = True
                _log.warning("the background video stands still: %s", error)
        return Picture(self._fit(self._shown, frame))

    def close(self) -> None:
        """Closes the source; the last picture stays."""
        self._standing = True
        self._source.close()

    def _start(self) -> tuple[Source, Iterator[Frame]]:
        source = self._open()
        if source.live:
            source.close()
            raise ConfigError(f"a background video must be a file that ends, not the live source {source.info.name!r}")
        return source, iter(source)

    def _begin(self) -> None:
        first = next(self._frames, None)
        if first is None:
            name = self._source.info.name
            raise SourceUnreadable(f"the background video {name!r} gave no frame: choose another file")
        self._shown, self._following = first, next(self._frames, None)
        self._from = _seconds(first)
        self._lasts = first.duration * first.time_base

    def _advance(self) -> None:
        while True:
            at = _seconds(self._shown) + self._lasts if self._following is None else _seconds(self._following)
            if self._clock < at - self._from:
                return
            if self._following is not None:
                # The last frame of a file that tells no durations is shown as long as the one before it.
                gap = at - _seconds(self._shown)
                self._shown = self._following
                self._lasts = self._shown.duration * self._shown.time_base or gap
                self._following = next(self._frames, None)
                continue
            if at <= self._from:
                raise SourceUnreadable(f"{self._source.info.name!r} has no duration, its frames are all of one time")
            self._clock %= at - self._from
            self._source.close()
            self._source, self._frames = self._start()
            self._begin()


class _Fit:
    """A picture brought to the size, subsampling and colour of a frame, and kept while neither changes."""

    def __init__(self) -> None:
        self._key: object = None
        self._picture: Frame | None = None
        self._fitted: Frame | None = None

    def __call__(self, picture: Frame, frame: Frame) -> Frame:
        chroma = frame.chroma_size
        key = (frame.size, chroma, frame.colour)
        if self._fitted is None or self._picture is not picture or key != self._key:
            # Converted at the smaller of the two sizes.
            planes = picture.planes
            if picture.size < frame.size:
                planes = cover(convert(planes, picture.colour, frame.colour), frame.size, chroma)
            else:
                planes = convert(cover(planes, frame.size, chroma), picture.colour, frame.colour)
            self._fitted = Frame(planes, frame.colour)
            self._picture, self._key = picture, key
        return self._fitted


@dataclass(frozen=True, slots=True)
class BackgroundFile:
    """A background that is yet to be opened: a path (or address) and what is expected there."""

    path: str
    kind: Literal["picture", "video"]


BackgroundSpec: TypeAlias = Blur | Solid | Clear | BackgroundFile | None

_PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".avif"}
_SIGMAS = (0.5, 10.0)
_LENSES: dict[str, Literal["gaussian", "disc", "depth"]] = {"blur": "gaussian", "bokeh": "disc", "bokeh-depth": "depth"}
_FORMS = (
    "blur, blur:N (N 0.5 to 10), bokeh, bokeh:N, bokeh-depth, bokeh-depth:N, a picture's or video's path, #rrggbb, "
    "a colour's name, transparent, none"
)


def parse_background(text: str) -> BackgroundSpec:
    """What the command line's `--background` means: a paint, a file yet to be opened, or None for no effect.

    `blur` and `blur:N` (Gaussian sigma in percent of the frame's height, 0.5..10, default 2.5), `bokeh`, `bokeh:N`,
    `bokeh-depth` and `bokeh-depth:N` (the same by a lens, as `Blur.lens` says), `#rrggbb` or one of
    `rtseg.ops.palette.NAMED`, `transparent`, `none`; anything with a dot or a slash is a path, a picture by its suffix,
    else a video. Pure: nothing is opened, whoever opens the file reports that it is missing. Raises ConfigError.
    """
    text = text.strip()
    word, _, value = text.partition(":")
    match word.lower():
        case "none" if not value:
            return None
        case "transparent" if not value:
            return Clear()
        case "blur" | "bokeh" | "bokeh-depth":
            lens = _LENSES[word.lower()]
            return Blur(_sigma(value), lens) if ":" in text else Blur(lens=lens)
    if text.startswith("#") or text.lower() in NAMED:
        try:
            return Solid(parse_rgb(text))
        except ValueError as error:
            raise ConfigError(f"background {text!r}: {error}") from error
    if "." in text or "/" in text or "\\" in text:
        picture = PurePath(text).suffix.lower() in _PICTURES
        return BackgroundFile(text, "picture" if picture else "video")
    raise ConfigError(f"unknown background {text!r}: use {_FORMS} (write ./{text} for a file of that name)")


def _sigma(text: str) -> float:
    try:
        sigma = float(text)
    except ValueError:
        sigma = float("nan")
    if not _SIGMAS[0] <= sigma <= _SIGMAS[1]:
        raise ConfigError(
            f"blur strength {text!r} must be a number from {_SIGMAS[0]:g} to {_SIGMAS[1]:g}: try blur:2.5"
        )
    return sigma


def _seconds(frame: Frame) -> Fraction:
    return frame.pts * frame.time_base
