"""Lines that are followed: which points are whose, which lines begin and end, and on which side they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtseg.driving.ground import F64
from rtseg.driving.lane_filter import C1, C2, SHARED, RoadFilter
from rtseg.driving.lane_points import LanePoints

_REACH = 9.0  # metres to the side
_APART = 1.7  # metres between lines that are followed
_FORGOTTEN = 2.0  # seconds without a point
_SIDE = 0.2  # metres that a line must be beyond the vehicle's middle to be on its other side
_CROSSED = 3  # frames that it must be there
_FEW, _SHORT = 5, 1.5  # points and metres that a line is seen by
_CELL = 0.1
_NARROW = 2.4  # metres from which two lines can be a lane
_PRESENT_SECONDS, _ABSENT = 1.7, 0.3


@dataclass(slots=True)
class Track:
    """A line that is followed. hits: frames in which it was seen, present: the share of late ones. near, far: there.

    crossed: frames that it has been on the other side. filled, dashed, yellowness: see `Looks`.
    """

    id: int
    side: int
    hits: int = 0
    age: int = 0
    unseen: float = 0.0
    sure: bool = False
    crossed: int = 0
    present: float = 0.6
    seen: bool = False
    near: float = 0.0
    far: float = 0.0
    filled: float | None = None
    dashed: bool | None = None
    yellowness: float | None = None


class LaneTracks:
    """Lines over time. `tracks` are in the order of the filter's lines; `next`: the id that a new one gets."""

    def __init__(self, *, first: int = 1) -> None:
        self.filter = RoadFilter()
        self.tracks: list[Track] = []
        self.next = first

    def at(self, z: float) -> F64:
        """X of each line at a distance."""
        x: F64 = self.filter.mean[SHARED:] + self.filter.at(np.array(z))
        return x

    def sigma_at(self, line: int, z: float) -> float:
        """Standard deviation of a line's x at a distance, without that of the view."""
        row = np.zeros(len(self.filter.mean))
        row[C1], row[C2], row[C2 + 1], row[SHARED + line] = z, z * z / 2, z**3 / 6, 1
        return float(np.sqrt(row @ self.filter.covariance @ row))

    def step(self, points: LanePoints, height: float, seconds: float) -> NDArray[np.intp]:
        """One frame, `seconds` after the last: each point's line, -1 for none."""
        if not self.tracks and len(points):
            self._aim(points)
        else:
            self.filter.predict(seconds)
        before = self.filter.mean, self.filter.covariance
        for limit in (
            18.0,
            np.inf,
        ):  # first those that pitch and bends hardly move, to know better whose the others are
            close = points.take(points.z < limit)
            line = self._assign(close, height, seconds)
            self.filter.mean, self.filter.covariance = before
            own = self._supported(close, line)
            if own.any():
                self.filter.update(close.take(own), line[own], height)
        line = self._assign(points, height, seconds)
        for number, track in enumerate(self.tracks):
            own = points.z[line == number]
            track.age += 1
            track.seen = len(own) >= _FEW and float(np.ptp(own)) > _SHORT
            track.unseen = 0.0 if track.seen else track.unseen + seconds
            if track.seen:
                track.hits += 1
                track.near, track.far = float(own.min()), float(own.max())
            self._cross(number, track)
        if any(track.seen for track in self.tracks):  # else the picture is to blame
            keep = np.exp(-seconds / _PRESENT_SECONDS)
            for track in self.tracks:
                track.present = keep * track.present + (1 - keep) * track.seen
        self._end()
        if (line < 0).any():
            self._begin(points, height)
            line = self._assign(points, height, seconds)
        return line

    def follow(self, seconds: float) -> None:
        """A frame, `seconds` after the last, whose mask is an earlier one: lines go on as they went."""
        if not self.tracks:
            return
        self.filter.predict(seconds)
        for number, track in enumerate(self.tracks):
            track.age += 1
            track.hits += track.seen
            self._cross(number, track)

    def _cross(self, number: int, track: Track) -> None:
        x = self.filter.mean[SHARED + number]
        track.crossed = track.crossed + 1 if x * track.side < -_SIDE else 0
        if track.crossed >= _CROSSED:
            track.side, track.crossed = -track.side, 0

    def _aim(self, points: LanePoints) -> None:
        """The heading and bend under which the points are sharpest lines, where nothing is followed yet."""
        self.filter = RoadFilter()
        slopes, bends = np.meshgrid(np.linspace(-0.12, 0.12, 25), np.linspace(-4e-3, 4e-3, 9), indexing="ij")
        z = points.z
        x = points.x - slopes[..., None] * z - bends[..., None] * z * z / 2
        cells = np.clip(((x + _REACH) / 0.3).astype(np.intp), 0, int(2 * _REACH / 0.3))
        many = int(2 * _REACH / 0.3) + 1
        flat = np.arange(slopes.size)[:, None] * many + cells.reshape(slopes.size, -1)
        weights = np.broadcast_to(1 / points.sigma, flat.shape)
        counts = np.bincount(flat.ravel(), weights.ravel(), minlength=slopes.size * many).reshape(slopes.size, many)
        counts[:, [0, -1]] = 0
        score = np.square(counts[:, 1:] + counts[:, :-1]).sum(axis=1) * np.exp(-np.abs(bends.ravel()) * 50)
        best = int(np.argmax(score))
        self.filter.mean[C1], self.filter.mean[C2] = slopes.ravel()[best], bends.ravel()[best]

    def _assign(self, points: LanePoints, height: float, seconds: float) -> NDArray[np.intp]:
        if not self.tracks or not len(points):
            return np.full(len(points), -1, np.intp)
        apart = np.abs(self.filter.across(points, height)[:, None] - self.filter.mean[SHARED:])
        line: NDArray[np.intp] = np.argmin(apart, axis=1)
        lost = np.array([min(track.unseen, 1.0) for track in self.tracks])
        allowed = 0.35 + 0.012 * points.z + 0.3 * lost[line] + 0.5 * min(seconds, 0.5)
        line[apart[np.arange(len(points)), line] > allowed] = -1
        return line

    def _supported(self, points: LanePoints, line: NDArray[np.intp]) -> NDArray[np.bool_]:
        """The points of lines that have enough of them: specks on a line that is hidden must not move all others."""
        own = np.zeros(len(self.tracks) + 1, np.bool_)
        for number in range(len(self.tracks)):
            z = points.z[line == number]
            own[number] = len(z) >= _FEW and float(np.ptp(z)) > _SHORT
        supported: NDArray[np.bool_] = own[line]  # -1 is the last, which is nobody's
        return supported

    def _begin(self, points: LanePoints, height: float) -> None:
        """Lines among the points that nobody has: peaks of where they would be beside the vehicle."""
        first = not any(track.sure for track in self.tracks)
        for _ in range(4):
            line = self._assign(points, height, 0.04)
            free = points.take(line < 0)
            across = self.filter.across(free, height)
            usable = (np.abs(across) < _REACH) & (free.z < 35)
            for other in self.filter.mean[SHARED:]:
                usable &= np.abs(across - other) > _APART
            across, free = across[usable], free.take(usable)
            if len(free) < 8:
                return
            counts = np.bincount(((across + _REACH) / _CELL).astype(np.intp), minlength=int(2 * _REACH / _CELL) + 1)
            smooth = np.convolve(counts, np.ones(5), "same")
            middle = (int(np.argmax(smooth)) + 0.5) * _CELL - _REACH
            near = np.abs(across - middle) < 0.4
            own = free.take(near)
            long = float(np.ptp(own.z)) if len(own) else 0.0
            if len(np.unique(own.row)) < 8 or long < 2.5:
                return
            x = float(np.median(across[near]))
            self.filter.add(x)
            new = Track(self.next, 1 if x > 0 else -1, 1, 1, near=float(own.z.min()), far=float(own.z.max()))
            new.seen, new.sure = True, first and len(own) >= 20 and long > 6
            self.next += 1
            self.tracks.append(new)
            number = len(self.tracks) - 1
            self.filter.update(own, np.full(len(own), number, np.intp), height)

    def _end(self) -> None:
        """Those not seen for long, out of reach, or grown together with a better known one."""
        self._settle()
        for number in reversed(range(len(self.tracks))):
            track, x = self.tracks[number], self.filter.mean[SHARED + number]
            patience = _FORGOTTEN if track.sure else 0.3
            absent = track.present < _ABSENT
            doubles = any(
                abs(self.filter.mean[SHARED + other] - x) < 0.9 and (rival.hits, -rival.id) > (track.hits, -track.id)
                for other, rival in enumerate(self.tracks)
                if other != number
            )
            if track.unseen > patience or absent or abs(x) > _REACH + 1 or doubles:
                del self.tracks[number]
                self.filter.remove(number)

    def _settle(self) -> None:
        """A line is sure once it was seen in most of its frames; in the middle of a lane only after many."""
        x = self.filter.mean[SHARED:]
        for number, track in enumerate(self.tracks):
            others = [abs(x[number] - x[n]) for n, other in enumerate(self.tracks) if other.sure and n != number]
            hits, share = (4, 0.5) if min(others, default=_NARROW) >= _NARROW else (20, 0.7)
            track.sure = track.sure or (track.hits >= hits and track.hits > share * track.age)

    def places(self) -> dict[int, int]:
        """Place -> line, of those that are sure; the nearest on either side are -1 and 1."""
        found: dict[int, int] = {}
        for side in (-1, 1):
            own = [n for n, track in enumerate(self.tracks) if track.sure and track.side == side]
            own.sort(key=lambda n: side * self.filter.mean[SHARED + n])
            for order, number in enumerate(own[:2], start=1):
                found[side * order] = number
        return found
