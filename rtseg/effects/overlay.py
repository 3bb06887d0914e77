"""Regions and classes tinted in colours of their own, with a legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from rtseg.cards import Card
from rtseg.effects.legend import Legend
from rtseg.effects.selection import check_names, select
from rtseg.effects.tags import Tags
from rtseg.effects.tints import Tint, Tinter
from rtseg.errors import ConfigError
from rtseg.ops.arrays import U8, as_u8
from rtseg.ops.palette import RGB, palette_for
from rtseg.ops.resize import enlarge
from rtseg.types import Colour, Frame, GraphLayer, Instances, Layer, Observation, Regions, Segmentation, Solid

_LINE_OPACITY = 0.9
# Probabilities under and over which a tint is not there and fully there. A line's ramp is steep, so that the
# line is as thin as the paint on the road; it is taken at twice the mask's size, where it does not show steps.
_AREA_RAMP = (0.3, 0.7)
_LINE_RAMP = (0.6, 0.85)
_LINE_WIDEST = 400

_GREEN, _YELLOW, _RED, _MAGENTA = (0, 190, 130), (255, 225, 40), (240, 85, 20), (225, 70, 205)
ROAD: Mapping[str, RGB] = {
    "drivable": _GREEN,
    "road": _GREEN,
    "lane": _YELLOW,
    "vehicle": _RED,
    **dict.fromkeys(("car", "truck", "bus", "train"), _RED),
    "vulnerable": _MAGENTA,
    **dict.fromkeys(("person", "pedestrian", "rider", "cyclist", "motorcycle", "bicycle"), _MAGENTA),
}
"""Colours of the `road` preset: a green carpet, yellow lanes, red vehicles, and magenta for who has no bodywork."""


@dataclass(frozen=True, slots=True)
class _Style:
    paint: Solid
    alphas: U8
    line: bool


class Overlay:
    """A layer for each region, in the order of the names, or one for all classes (`Tinter`), and a legend on top.

    names: what to show, default all. palette: colours as `#rrggbb` or RGB, such as a card's; names without one
    get a stable colour (`palette_for`). opacity: 0..1, how much of the frame the tint hides. lines: names drawn
    thin, crisp and nearly opaque. tags: names and scores beside instances (see `Tags`), in place of the legend where
    the result has instances. partial: names that the model lacks are left out, as long as it has one.
    Raises ConfigError at the first frame for names that the model does not have.
    """

    def __init__(
        self,
        *,
        names: Sequence[str] | None = None,
        palette: Mapping[str, str | RGB] | None = None,
        opacity: float = 0.45,
        lines: Sequence[str] = (),
        legend: bool = True,
        tags: bool = False,
        partial: bool = False,
    ):
        if not 0.0 <= opacity <= 1.0:
            raise ConfigError(f"opacity must be from 0 to 1, not {opacity}")
        self._names = None if names is None else tuple(names)
        self._palette = palette
        self._opacity = opacity
        self._lines = frozenset(lines)
        self._partial = partial
        self._tags = Tags() if tags else None
        self._legend = Legend() if legend else None
        self._styled: tuple[str, ...] | None = None
        self._styles: dict[str, _Style] = {}
        self._tinter: tuple[Colour, Tinter] | None = None

    @classmethod
    def road(cls, *, legend: bool = True) -> Overlay:
        """The preset for driving: whatever of `ROAD` the model knows."""
        return cls(names=tuple(ROAD), palette=ROAD, opacity=0.42, lines=("lane",), legend=legend, partial=True)

    def __call__(
        self, frame: Frame, segmentation: Segmentation, _observations: Sequence[Observation], /
    ) -> Sequence[Layer]:
        """The tints at the masks' resolution (a line's at twice that, on top), then the legend in its box, or tags."""
        if segmentation.names != self._styled:
            self._styles = self._styles_for(segmentation.names)
            self._styled = segmentation.names
            self._tinter = None
        layers: list[Layer] = []
        styles = self._styles
        if not isinstance(segmentation, Regions):  # many classes, each over a part of the frame
            if (made := self._tinter_for(frame.colour)(segmentation)) is not None:
                layers.append(made)
            styles = {name: style for name, style in styles.items() if style.line}
        masks = select(segmentation, tuple(styles)) if styles else {}
        layers += [Layer(_tint(mask, styles[name]), styles[name].paint) for name, mask in masks.items()]
        swatches = {name: style.paint.rgb for name, style in self._styles.items()}
        if self._tags is not None and isinstance(segmentation, Instances):
            layers += self._tags(frame, segmentation, swatches)
        elif self._legend is not None and (box := self._legend(frame, swatches)):
            layers.append(box)
        return layers

    def graph_layers(self, card: Card) -> Sequence[GraphLayer]:
        """The same tints for a fused graph; ConfigError with a legend, which is drawn for what is in sight."""
        if self._legend is not None:
            raise ConfigError("an overlay with a legend cannot be fused: leave the legend out, or run it unfused")
        styles = self._styles_for(card.names)
        classes = card.family == "semantic"
        layers = [
            GraphLayer((name,), style.alphas, style.paint, style.line, mixed=classes and not style.line)
            for name, style in styles.items()
        ]
        return sorted(layers, key=lambda layer: not layer.mixed)

    def _tinter_for(self, colour: Colour) -> Tinter:
        """For the styles of areas in frames of that colour, made once."""
        if self._tinter is None or self._tinter[0] != colour:
            areas = {name: Tint(s.paint.rgb, s.alphas) for name, s in self._styles.items() if not s.line}
            assert self._styled is not None
            self._tinter = colour, Tinter(self._styled, areas, colour)
        return self._tinter[1]

    def _styles_for(self, names: tuple[str, ...]) -> dict[str, _Style]:
        shown = names if self._names is None else self._names
        if self._partial:
            shown = tuple(name for name in shown if name in names)
            if not shown:
                raise ConfigError(f"the model knows nothing that this overlay shows: choose from {', '.join(names)}")
        check_names(shown, names)
        # Colours are given to all names, so that showing fewer does not change them.
        colours = palette_for(names, self._palette)
        area = _alphas(*_AREA_RAMP, self._opacity)
        line = _alphas(*_LINE_RAMP, _LINE_OPACITY)
        return {
            name: _Style(Solid(colours[name]), line if name in self._lines else area, name in self._lines)
            for name in shown
        }


def parse_overlay(text: str, *, palette: Mapping[str, str | RGB] | None = None) -> Overlay:
    """What the command line's `--overlay` means: `road`, `all`, or names with commas between."""
    match text.strip():
        case "road":
            return Overlay.road()
        case "all":
            return Overlay(palette=palette)
        case listed:
            names = tuple(name.strip() for name in listed.split(",") if name.strip())
            if not names:
                raise ConfigError(f"overlay {text!r} names nothing: use road, all, or names with commas between")
            return Overlay(names=names, palette=palette)


def _tint(mask: U8, style: _Style) -> U8:
    if style.line and mask.shape[1] <= _LINE_WIDEST:
        mask = enlarge(mask, (2 * mask.shape[1], 2 * mask.shape[0]))
    return as_u8(cv2.LUT(mask, style.alphas))


def _alphas(low: float, high: float, opacity: float) -> U8:
    """Probability to alpha: a smooth step (3t^2 - 2t^3) from `low` to `high`, times opacity."""
    t = np.clip((np.arange(256) / 255.0 - low) / (high - low), 0.0, 1.0)
    return np.rint(255.0 * opacity * t * t * (3.0 - 2.0 * t)).astype(np.uint8)
