"""How lines look: solid or dashed by how far paint covers them, white or yellow by the picture's chroma."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from rtseg.driving.ground import F64, scaled, to_image
from rtseg.driving.lane_filter import SHARED
from rtseg.driving.lane_points import LEVEL, LanePoints
from rtseg.driving.lane_tracks import LaneTracks, Track
from rtseg.driving.state import LineColour, View
from rtseg.ops.arrays import U8
from rtseg.types import Frame

_PLACES: F64 = np.linspace(4.0, 22.0, 37)
"""Distances that are looked at: more than a dash and its gap."""
_SECONDS = 1.0
_SOLID, _DASHED = 0.8, 0.7
"""Shares of a line that are covered, from which it is solid and up to which it is dashed."""
_YELLOW = 6.0
"""Levels of U that paint must have less than the asphalt beside it; white has none less."""
_HIDING = ("vehicle", "vulnerable")


class Looks:
    """Averages over about a second, kept in the tracks."""

    def __call__(
        self,
        frame: Frame,
        tracks: LaneTracks,
        points: LanePoints,
        line: NDArray[np.intp],
        view: View,
        masks: Mapping[str, U8],
        elapsed: float,
    ) -> None:
        """One frame: `line` says whose each point is. view: with the pitch of the moment."""
        keep = math.exp(-elapsed / _SECONDS)
        lane = next((mask for name, mask in masks.items() if name == "lane"), None)
        road = tracks.filter.at(_PLACES)
        for number, track in enumerate(tracks.tracks):
            if lane is not None and track.sure:
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
        u, v = to_image(small, x, _PLACES)
        column, row = np.floor(u).astype(np.intp), np.floor(v / taller).astype(np.intp)
        sight = (column >= 2) & (column < width - 2) & (row >= 0) & (row < height)
        column, row = column[sight], row[sight]
        for name in _HIDING:
            if name in masks:
                free = masks[name][row, column] < 128
                column, row = column[free], row[free]
        if len(row) < 12:
            return None
        paint = np.zeros(len(row), np.bool_)
        for shift in (-2, 0, 2):
            paint |= lane[row, np.clip(column + shift, 0, width - 1)] >= LEVEL
        return float(paint.mean())

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
