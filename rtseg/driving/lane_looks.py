"""How lines look: solid or dashed by how far paint covers them, white or yellow by the picture's chroma."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from rtseg.driving.ground import F64, as_f64, scaled, to_image
from rtseg.driving.lane_filter import SHARED
from rtseg.driving.lane_points import LEVEL, LanePoints
from rtseg.driving.lane_tracks import LaneTracks, Track
from rtseg.driving.state import LineColour, View
from rtseg.ops.arrays import U8
from rtseg.types import Frame

_PLACES: F64 = np.linspace(4.0, 22.0, 37)
"""Distances that are looked at: more than a dash and its gap."""
_ACROSS: F64 = np.array([-0.6, -0.45, -0.16, -0.08, 0.0, 0.08, 0.16, 0.45, 0.6])
_CLEAR = 12.0
"""Levels of luma by which paint must stand out from the road, or the mask alone decides."""
_SECONDS, _EVERY = 1.0, 0.1
_SOLID, _DASHED = 0.8, 0.7
"""Shares of a line that are covered, from which it is solid and up to which it is dashed."""
_YELLOW = 6.0
"""Levels of U that paint must have less than the asphalt beside it; white has none less."""
_HIDING = ("vehicle", "vulnerable")


class Looks:
    """Averages over about a second, kept in the tracks; a frame in a tenth of a second is looked at."""

    def __init__(self) -> None:
        self._elapsed = _EVERY

    def __call__(
        self,
        frame: Frame,
        tracks: LaneTracks,
        points: LanePoints,
        line: NDArray[np.intp],
        view: View,
        lane: U8,
        masks: Mapping[str, U8],
        elapsed: float,
    ) -> None:
        """One frame. line: whose each point is. view: with the pitch of the moment. masks: what may hide the lines."""
        self._elapsed += elapsed
        if self._elapsed < _EVERY:
            return
        keep = math.exp(-self._elapsed / _SECONDS)
        self._elapsed = 0.0
        road = tracks.filter.at(_PLACES)
        for number, track in enumerate(tracks.tracks):
            if track.sure:
                covered = self._covered(lane, masks, frame, road + tracks.filter.mean[SHARED + number], view)
                if covered is not None:
                    track.filled = _blend(track.filled, covered, keep)
                    if track.age >= 10:
                        track.dashed = track.filled < (_SOLID if track.dashed else _DASHED)
            own = points.take((line == number) & (points.z < 25))
            if len(own) >= 4:
                track.yellowness = _blend(track.yellowness, self._yellowness(frame, own), keep)

    def colour(self, track: Track) -> LineColour | None:
        """Of a line that was seen often enough."""
        if track.yellowness is None or track.hits < 5:
            return None
        return "yellow" if track.yellowness > _YELLOW else "white"

    def _covered(self, lane: U8, masks: Mapping[str, U8], frame: Frame, x: F64, view: View) -> float | None:
        """The share of a line's places that have paint, of those in sight; None where too few are."""
        height, width = lane.shape
        small, taller = scaled(view, frame.size, (width, height))
        bright = self._bright(frame, x, view)
        u, v = to_image(small, x, _PLACES)
        column, row = np.floor(u).astype(np.intp), np.floor(v / taller).astype(np.intp)
        sight = (column >= 2) & (column < width - 2) & (row >= 0) & (row < height)
        column, row, bright = column[sight], row[sight], bright[sight]
        for name in _HIDING:
            if name in masks:
                free = masks[name][row, column] < 128
                column, row, bright = column[free], row[free], bright[free]
        if len(row) < 12:
            return None
        paint = np.zeros(len(row), np.bool_)
        for shift in (-2, 0, 2):
            paint |= lane[row, np.clip(column + shift, 0, width - 1)] >= LEVEL
        # Networks draw dashes together, but between them there is no paint. A picture without contrast says nothing.
        clear = float(np.percentile(bright, 85))
        if clear > _CLEAR:
            paint &= bright > 0.4 * clear
        return float(paint.mean())

    def _bright(self, frame: Frame, x: F64, view: View) -> F64:
        """By how many levels of luma the line is brighter than the road half a metre beside it, at each place."""
        plane = frame.planes[0]
        u, v = to_image(view, x + _ACROSS[:, None], _PLACES)
        column = np.clip(np.nan_to_num(u, nan=0.0), 0, plane.shape[1] - 1).astype(np.intp)
        row = np.clip(np.nan_to_num(v, nan=0.0), 0, plane.shape[0] - 1).astype(np.intp)
        levels = plane[row, column].astype(np.float64)
        return as_f64(levels[2:-2].max(axis=0) - np.median(levels[[0, 1, -2, -1]], axis=0))

    def _yellowness(self, frame: Frame, own: LanePoints) -> float:
        """How much less U the line has than the asphalt 0.6 m beside it, in levels of full range."""
        plane = frame.planes[1]
        across, down = plane.shape[1] / frame.size.width, plane.shape[0] / frame.size.height
        row = np.clip((own.v * down).astype(np.intp), 0, plane.shape[0] - 1)

        def levels(u: F64) -> F64:
            column = np.clip((u * across).astype(np.intp), 0, plane.shape[1] - 1)
            level: F64 = plane[row, column].astype(np.float64)
            return level

        # Paint is narrower than its mask: of three places across it the yellowest counts.
        apart = 0.6 / own.z * frame.size.width
        paint = np.minimum.reduce([levels(own.u + by * apart / 8) for by in (-1, 0, 1)])
        beside = np.minimum(levels(own.u - apart), levels(own.u + apart))
        return float(np.median(beside - paint))


def _blend(past: float | None, now: float, keep: float) -> float:
    return now if past is None else keep * past + (1 - keep) * now
