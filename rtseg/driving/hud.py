"""The display over a drive: what analyzers saw of the road, as layers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import get_args

import cv2

from rtseg.driving.banner import banner_layers, boxes_of, loudest, status_layers
from rtseg.driving.inset import Inset
from rtseg.driving.obstacle_layers import box_layers, mask_layers, plate_layers, ramp
from rtseg.driving.road_layers import carpet_layer, horizon_layer, line_layers
from rtseg.driving.state import Scene
from rtseg.driving.theme import THEMES, Theme, ThemeName
from rtseg.errors import ConfigError
from rtseg.ops.arrays import as_u8
from rtseg.ops.resize import enlarge
from rtseg.types import Frame, Layer, Observation, Segmentation, Solid, masks_of

_SMALL = 400
_CALM = 0.1


class Pace:
    """Wall milliseconds from call to call, smoothed over about ten, so that they can be read."""

    def __init__(self) -> None:
        self._last: float | None = None
        self._smooth: float | None = None

    def __call__(self) -> float | None:
        """What it is now; None the first time."""
        now = time.monotonic()
        if self._last is not None:
            taken = (now - self._last) * 1e3
            self._smooth = taken if self._smooth is None else self._smooth + _CALM * (taken - self._smooth)
        self._last = now
        return self._smooth


class Hud:
    """Carpet, lines, obstacles, horizon, the road from above, events and the time over each frame.

    All of it is read from the observations of the frame (`Scene.read`); what they do not tell is not shown. Where there
    is no view of the road, its regions "drivable" and "lane" are tinted in place of carpet and lines. Sizes are
    shares of the frame's height.

    theme: "day", "night" or "contrast". carpet, lines, masks, boxes, plates (what is known of an obstacle), horizon,
    inset (from above), banner (events), clock, speed (of a "motion" or a "fix", m/s), offset (in the lane): what is
    shown. pace: also the milliseconds from frame to frame, as they are on this machine; with it no two runs are the
    same. Raises ConfigError for another theme.
    """

    def __init__(
        self,
        *,
        theme: ThemeName = "day",
        carpet: bool = True,
        lines: bool = True,
        masks: bool = True,
        boxes: bool = True,
        plates: bool = True,
        horizon: bool = True,
        inset: bool = True,
        banner: bool = True,
        clock: bool = True,
        speed: bool = True,
        offset: bool = True,
        pace: bool = False,
    ) -> None:
        if theme not in THEMES:
            raise ConfigError(f"the theme {theme!r} is none: use one of {', '.join(get_args(ThemeName))}")
        self._theme: Theme = THEMES[theme]
        self._carpet, self._lines, self._masks, self._boxes, self._plates = carpet, lines, masks, boxes, plates
        self._horizon, self._banner, self._clock, self._speed, self._offset = horizon, banner, clock, speed, offset
        self._pace = Pace() if pace else None
        self._inset = Inset(self._theme) if inset else None

    def __call__(
        self, frame: Frame, segmentation: Segmentation, observations: Sequence[Observation], /
    ) -> Sequence[Layer]:
        """The layers: what lies on the road first, words last."""
        scene, size, theme = Scene.read(observations), frame.size, self._theme
        layers: list[Layer | None] = []
        if scene.view is None:
            layers += _region_layers(segmentation, theme, carpet=self._carpet, lines=self._lines)
        else:
            if self._carpet:
                rgb = _carpet_colour(scene, theme)
                layers.append(carpet_layer(scene.view, scene.lanes, scene.obstacles, size, rgb, theme.carpet_opacity))
            if self._lines:
                layers += line_layers(scene.view, scene.lanes, size, theme)
            if self._horizon:
                layers.append(horizon_layer(scene.view, size, theme.horizon))
        if self._masks:
            layers += mask_layers(segmentation, scene.obstacles, size, theme)
        if self._boxes:
            layers += box_layers(scene.obstacles, size, theme)
        above: list[Layer] = []
        if self._inset is not None and (scene.lanes.lines or scene.obstacles):
            above += [layer for layer in [self._inset(frame, scene)] if layer is not None]
        speed = _speed_of(observations) if self._speed else None
        pace = None if self._pace is None else self._pace()
        above += status_layers(frame, scene, theme, clock=self._clock, speed=speed, offset=self._offset, pace=pace)
        if self._banner:
            above += banner_layers(scene.events, size, theme)
        if self._plates:
            layers += plate_layers(scene.obstacles, size, theme, free=boxes_of(above))
        return [layer for layer in [*layers, *above] if layer is not None]


def _carpet_colour(scene: Scene, theme: Theme) -> tuple[int, int, int]:
    """That of the severity while the lane is left; the carpet's own otherwise."""
    event = loudest([event for event in scene.events if event.kind == "lane_departure"])
    if event is None:
        return theme.carpet
    return theme.critical if event.severity == "critical" else theme.warning


def _speed_of(observations: Sequence[Observation]) -> float | None:
    """The vehicle's own, m/s."""
    told = [each.values.get("speed") for each in observations if each.kind in ("motion", "fix")]
    return next((float(value) for value in told if isinstance(value, int | float)), None)


def _region_layers(segmentation: Segmentation, theme: Theme, *, carpet: bool, lines: bool) -> list[Layer]:
    wanted = [
        *([("drivable", theme.carpet, ramp(theme.carpet_opacity))] if carpet else ()),
        *([("lane", theme.yellow, ramp(theme.line_opacity, 0.6, 0.85))] if lines else ()),
    ]
    if not any(name in segmentation.names for name, _, _ in wanted):
        return []
    masks = masks_of(segmentation)
    layers = []
    for name, rgb, table in wanted:
        if (mask := masks.get(name)) is not None:
            if name == "lane" and mask.shape[1] <= _SMALL:  # a steep ramp would show a small mask's steps
                mask = enlarge(mask, (2 * mask.shape[1], 2 * mask.shape[0]))
            layers.append(Layer(as_u8(cv2.LUT(mask, table)), Solid(rgb)))
    return layers
