"""Lanes of a drive: lane mask -> points on the road -> lines that are followed -> the vehicle in its lane -> events."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike

import numpy as np
from numpy.typing import NDArray

from rtseg.driving.calibration import Calibration, Camera
from rtseg.driving.lane_events import VEHICLE_WIDTH, LaneEvents
from rtseg.driving.lane_filter import C1, C2, C3, SHARED, E, V
from rtseg.driving.lane_looks import Looks
from rtseg.driving.lane_points import LanePoints, lane_points, vanishing_point
from rtseg.driving.lane_tracks import LaneTracks
from rtseg.driving.state import (
    LaneLine,
    Lanes,
    Measure,
    Scene,
    View,
    observe_event,
    observe_lanes,
    observe_view,
)
from rtseg.driving.travel import Travel
from rtseg.errors import ConfigError
from rtseg.ops.arrays import U8
from rtseg.results import array_of
from rtseg.types import Frame, Observation, Segmentation, masks_of

_LIMITS = {"offset": 0.3, "heading": math.radians(1.5), "curvature": 2e-3, "width": 0.4}
"""Standard deviations from which a measure is withheld."""
_SURE = 0.003  # radians
_LOOK = 0.7  # seconds that a look at where the camera travels to stands for
_STEP = 0.04  # seconds between frames whose times say nothing


class LaneAnalyzer:
    """What `Lanes`, `View` and the events of lanes are for a stream.

    calibration: a TOML or JSON file (`Camera`), or its values in `camera`. height: of the camera in metres; fov: of the
    picture's width in degrees; pitch, yaw: in degrees, down and to the right. They override the file; what is None is
    estimated. vehicle_width: metres. region: the name of the lanes' mask. Raises ConfigError.

    Observations: "view", "lane", "line" for each line, "event". A new `Frame.epoch` begins anew.
    """

    def __init__(
        self,
        *,
        calibration: str | PathLike[str] | None = None,
        height: float | None = None,
        fov: float | None = None,
        pitch: float | None = None,
        yaw: float | None = None,
        vehicle_width: float = VEHICLE_WIDTH,
        region: str = "lane",
    ) -> None:
        camera = Camera() if calibration is None else Camera.read(str(calibration))
        given = {"height": height, "fov": fov, "pitch": pitch, "yaw": yaw}
        camera = camera.over({name: value for name, value in given.items() if value is not None})
        self.calibration = Calibration(camera, file=calibration is not None)
        self._tracks = LaneTracks()
        self._looks = Looks()
        self._travel = Travel()
        self._events = LaneEvents(vehicle_width)
        self._region = region
        self._last: tuple[int, float] | None = None  # epoch and time of the last frame
        self._seen: object = None  # the masks that were measured last
        self.scene = Scene()

    def reset(self) -> None:
        """A cut: camera, lines and events are forgotten."""
        self.calibration.reset()
        self._tracks = LaneTracks()
        self._travel.reset()
        self._events.reset()
        self._last = self._seen = None

    def __call__(self, frame: Frame, segmentation: Segmentation, /) -> Sequence[Observation]:
        """What one frame shows; also kept as `scene`. Raises ConfigError where the model knows no such region."""
        if self._region not in segmentation.names:
            known = ", ".join(segmentation.names)
            raise ConfigError(f"lanes need a region {self._region!r}: the model has {known}; use the model road")
        elapsed = self._elapsed(frame)
        if array_of(segmentation) is self._seen:  # what is measured twice would be believed twice
            self._tracks.follow(elapsed)
            view = self._view(frame.size)
        else:
            self._seen = array_of(segmentation)
            view = self._measure(frame, masks_of(segmentation), elapsed)
        lanes = self._lanes(view)
        events = self._events(lanes, frame.time, frame.pts)
        self.scene = Scene(view, lanes, (), tuple(events))
        pts = frame.pts
        return [observe_view(view, pts), *observe_lanes(lanes, pts), *(observe_event(event, pts) for event in events)]

    def _measure(self, frame: Frame, masks: Mapping[str, U8], elapsed: float) -> View:
        mask = masks.get(self._region, np.zeros((4, 4), np.uint8))
        points = self._follow(mask, frame.size, elapsed)
        self._travel_on(frame, masks, elapsed)
        view = self._refine(frame.size, elapsed)
        self._looks(frame, self._tracks, *points, view, mask, masks, elapsed)
        return view

    def _elapsed(self, frame: Frame) -> float:
        """Seconds since the last frame; forgets all at a cut."""
        if self._last is not None and self._last[0] != frame.epoch:
            self.reset()
        since = _STEP if self._last is None else frame.time - self._last[1]
        self._last = frame.epoch, frame.time
        return since if 0 < since < 5 else _STEP

    def _follow(self, mask: U8, size: tuple[int, int], elapsed: float) -> tuple[LanePoints, NDArray[np.intp]]:
        calibration = self.calibration
        view = calibration.view(size)
        if not calibration.started:
            meeting = vanishing_point(mask)
            across, down = size[0] / mask.shape[1], size[1] / mask.shape[0]
            if meeting is not None:
                u, v, sigma = meeting
                calibration.begin(view, (u * across, v * down, sigma * across))
                view = calibration.view(size)
        points = lane_points(mask, view, size)
        line = self._tracks.step(points, view.height, elapsed)
        places = self._tracks.places()
        if not calibration.sized and {-1, 1} <= places.keys():
            ends = self._tracks.at(0.0)
            scale = calibration.size_up(float(ends[places[1]] - ends[places[-1]]))
            if scale is not None:  # the road is seen anew with a camera of the right height
                if scale > 1.1 or scale < 0.9:  # what was apart by how many metres is no longer true
                    self._tracks = LaneTracks(first=self._tracks.next)
                else:
                    self._tracks.filter.grow(scale)
                view = calibration.view(size)
                points = lane_points(mask, view, size)
                line = self._tracks.step(points, view.height, elapsed)
        return points, line

    def _travel_on(self, frame: Frame, masks: Mapping[str, U8], elapsed: float) -> None:
        """Learn from where the camera travels to, while that may still tell something."""
        calibration = self.calibration
        unsure = max(calibration.yaw.sigma or 0.0, calibration.pitch.sigma or 0.0)
        if unsure < _SURE:
            return
        moving = [masks[name] for name in ("vehicle", "vulnerable") if name in masks]
        view = calibration.view(frame.size)
        ahead = view.centre[0] - view.focal * math.tan(view.yaw), view.centre[1] - view.focal * math.tan(view.pitch)
        focus = self._travel(frame, np.maximum.reduce(moving) if moving else None, elapsed, ahead)
        if focus is not None:
            change = calibration.travelled(view, focus, _LOOK)
            self._tracks.filter.turn(pitch=change.pitch, yaw=change.yaw)

    def _refine(self, size: tuple[int, int], elapsed: float) -> View:
        """Let the calibration learn from the lines, and the lines follow it."""
        road, places = self._tracks.filter, self._tracks.places()
        sigma = np.sqrt(np.diag(road.covariance))
        seen = [track.seen for track in self._tracks.tracks]
        if {-1, 1} <= places.keys() and all(seen[places[side]] for side in (-1, 1)):
            left, right = road.mean[SHARED + places[-1]], road.mean[SHARED + places[1]]
            calm = abs(road.mean[V]) < 0.3 and abs(road.mean[C2]) < 2e-3
            change = self.calibration.refine(
                elapsed=elapsed,
                pitch=(float(road.mean[E]), math.hypot(float(sigma[E]), 0.005)),
                yaw=(-float(road.mean[C1]), math.hypot(float(sigma[C1]), 0.012)) if calm else None,
                width=(float(right - left), 0.1),
            )
            road.turn(pitch=change.pitch, yaw=change.yaw)
            road.grow(change.scale)
        return self._view(size)

    def _view(self, size: tuple[int, int]) -> View:
        road = self._tracks.filter
        return self.calibration.view(
            size, shake=float(road.mean[E]), shake_sigma=math.sqrt(float(road.covariance[E, E]))
        )

    def _lanes(self, view: View) -> Lanes:
        tracks, road = self._tracks, self._tracks.filter
        c1, c2, c3 = (float(value) for value in road.mean[C1 : C3 + 1])
        lines = {}
        for place, number in tracks.places().items():
            track = tracks.tracks[number]
            x = float(road.mean[SHARED + number])
            sigma = math.hypot(tracks.sigma_at(number, 10.0), 10.0 * (view.yaw_sigma or 0.0))
            dashed = track.dashed
            lines[place] = LaneLine(
                track.id,
                place,
                (x, c1, c2, c3),
                track.near,
                track.far,
                sigma,
                None if dashed is None else "dashed" if dashed else "solid",
                self._looks.colour(track),
                track.seen,
                track.age,
            )
        found = tuple(lines[place] for place in sorted(lines))
        if not ({-1, 1} <= lines.keys() and self.calibration.sized):
            return Lanes(found)
        left, right = (tracks.places()[side] + SHARED for side in (-1, 1))
        spread = road.covariance
        middle = (spread[left, left] + spread[right, right] + 2 * spread[left, right]) / 4
        between = spread[left, left] + spread[right, right] - 2 * spread[left, right]
        offset, width = -(road.mean[left] + road.mean[right]) / 2, road.mean[right] - road.mean[left]
        share = self.calibration.height_sigma()
        measures = {
            "offset": Measure(float(offset), math.hypot(math.sqrt(middle), share * float(offset))),
            "heading": Measure(-math.atan(c1), math.hypot(math.sqrt(spread[C1, C1]), view.yaw_sigma or 0.0)),
            "curvature": Measure(c2, math.sqrt(spread[C2, C2])),
            "width": Measure(float(width), math.hypot(math.sqrt(between), share * float(width))),
        }
        kept = {name: measure for name, measure in measures.items() if measure.sigma <= _LIMITS[name]}
        return replace(Lanes(found), **kept)  # type: ignore[arg-type]
