"""Who is the subject among the parts of a small matte, from frame to frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.filters.dividing import divided
from rtseg.filters.looks import Look, bins_of, likelier
from rtseg.filters.passing import Passing
from rtseg.ops.arrays import U8, as_u8
from rtseg.ops.flow import FLOW_SIZE, SAME, Flow, warp
from rtseg.subject import Who

RIVAL, RIVAL_SECONDS = 1.5, 1.0
"""How many times as large another must be, and for how long, to become the largest."""
PATIENCE = 1.0
"""Seconds that nobody is shown after the largest was lost, before the next largest is."""
SPECK = 6
"""Pixels of `FLOW_SIZE` under which an area is nobody."""
_TOUCHES = 0.1
_HAND, _REACH = 0.15, 13
"""A new part of at most that share of the subject and that near (pixels, both ways) is the subject's: a hand."""
_HIDDEN, _GONE = 0.03, 3.0
"""Share of people who touch under which one of them is hidden by the other, and seconds after which he has gone."""
_BACK = 0.25
"""Share of the usual area from which somebody who comes back can be known by the look."""
_KNOWN, _CLEARLY = 0.5, 0.1
_EVERY = 5
"""Frames between two looks at what people wear."""
_LEARN = 0.15
_SHRINKS, _WHOLE = 0.005, 0.5
"""What the usual area loses a frame, and the share of it that must be seen to learn a look: a sliver is all edge."""


@dataclass(frozen=True, eq=False, slots=True)
class Parts:
    """What may be somebody: labels, uint8 of `FLOW_SIZE`, 0 for nothing; of each label the area, by index, 256 at most.

    divisible: a part may be several people who touch.
    """

    labels: U8
    areas: NDArray[np.intp]
    divisible: bool = True

    def area_of(self, chosen: NDArray[np.bool_]) -> U8:
        """255 where one of the chosen parts is; chosen: a flag a label."""
        table = np.zeros(256, np.uint8)
        table[: len(chosen)][chosen] = 255
        return as_u8(cv2.LUT(self.labels, table))

    def inside(self, plane: U8) -> NDArray[Any]:
        """Of each part, how many pixels of a plane of 0 and 255 lie in it."""
        return np.bincount(self.labels[plane > 0], minlength=len(self.areas))


class Follower:
    """Chooses and follows one subject; what it says is where that is, 0 or 255, uint8 of `FLOW_SIZE`.

    Where people touch, each pixel is whose it was a frame ago, along the flow, and between the two of them that of the
    nearer, unless their colours say otherwise. When they part, the subject is the part that looks like it; where both
    look alike, the one to which it would have walked on; else the one that has its pixels. Belongs to one stream.
    """

    def __init__(self) -> None:
        self._flow, self._passing = Flow(), Passing()
        self.reset()

    def reset(self) -> None:
        """Nobody is chosen."""
        self._luma: U8 | None = None
        self.mine: U8 | None = None
        self.others = np.zeros(FLOW_SIZE[::-1], np.uint8)
        self._together: U8 | None = None
        self._gone: U8 | None = None
        self._look: Look | None = None
        self._looks_of_others: Look | None = None
        self._passing.reset()
        self._lost = self._rival = self._hidden = self._usual = 0.0
        self._frames = 0

    def turn(self) -> None:
        """The picture's left and right are exchanged from now on."""
        self.mine, self._luma, self._together, self._gone = (
            None if plane is None else np.ascontiguousarray(plane[:, ::-1])
            for plane in (self.mine, self._luma, self._together, self._gone)
        )
        self.others = np.ascontiguousarray(self.others[:, ::-1])

    def __call__(self, parts: Parts, luma: U8, colours: tuple[U8, U8], elapsed: float, who: Who) -> None:
        """`mine` and `others` of this frame. luma: uint8 of `FLOW_SIZE`; colours: U and V of any size; elapsed: s."""
        before, self._luma = self._luma, luma
        self._frames += 1
        if self.mine is None:
            self._choose(parts, who)
        else:
            self._follow(parts, luma, before, colours, elapsed, who)
        if self.mine is None:
            return
        if self._together is not None:
            self._passing.touching(elapsed)
        if not cv2.countNonZero(self.mine):
            self._lost += elapsed
            return
        self._gone, self._lost = self.mine, 0.0
        if self._together is None:
            self._passing.apart(self.mine, self.others, elapsed)
            area = cv2.countNonZero(self.mine)
            self._usual = max(area, (1 - _SHRINKS) * self._usual)
            if self._frames % _EVERY == 1 and area >= _WHOLE * self._usual:
                self._learn(luma, colours)

    def _choose(self, parts: Parts, who: Who) -> None:
        areas = parts.areas.copy()
        areas[0] = 0
        areas[areas < SPECK] = 0
        if not areas.any():
            self.others = parts.area_of(np.arange(len(areas)) > 0)
            return
        best = int(areas.argmax()) if isinstance(who, str) else _nearest_part(parts, areas > 0, who)
        self._take(parts, np.arange(len(areas)) == best)

    def _take(self, parts: Parts, chosen: NDArray[np.bool_]) -> None:
        """These parts are the subject from now on, whoever it was before."""
        chosen[0] = False
        rest = ~chosen
        rest[0] = False
        self.mine, self.others = parts.area_of(chosen), parts.area_of(rest)
        self._together, self._rival, self._lost = None, 0.0, 0.0
        self._passing.reset()

    def _follow(
        self, parts: Parts, luma: U8, before: U8 | None, colours: tuple[U8, U8], elapsed: float, who: Who
    ) -> None:
        assert self.mine is not None
        mine, others = self.mine, self.others
        own, foreign = parts.inside(mine), parts.inside(others)
        if before is not None and self._doubtful(parts, own, foreign):
            flow = _sure_flow(self._flow, luma, before)
            if flow is not None:
                mine, others = _moved(mine, flow), _moved(others, flow)
                own, foreign = parts.inside(mine), parts.inside(others)
                if self._together is not None:
                    self._together = _moved(self._together, flow)
        own[0] = foreign[0] = 0
        has_mine = own > np.maximum(2, _TOUCHES * np.minimum(parts.areas, cv2.countNonZero(mine)))
        has_other = foreign > np.maximum(2, _TOUCHES * np.minimum(parts.areas, cv2.countNonZero(others)))
        contested = has_mine & has_other
        owned = np.where(contested, own > foreign, has_mine)
        contested &= parts.divisible
        if self._together is not None:  # one of them may be hidden by the other just now
            contested |= (2 * parts.inside(self._together) > parts.areas) & (own + foreign > 0)
            contested[0] = False
        owned |= ~has_mine & ~has_other & self._hands(parts, mine)
        parted = self._parted(parts)
        if parted is not None:
            contested &= ~parted
            owned = (owned & ~parted) | self._whose(parts, parted, own, foreign, luma, colours)
        if not parts.divisible and owned.sum() > 1:  # one instance is the subject
            owned &= np.arange(len(owned)) == np.argmax(np.where(owned, own - foreign, -mine.size))
        owned[0] = False
        rest = ~owned
        rest[0] = False
        self.mine, self.others = parts.area_of(owned & ~contested), parts.area_of(rest & ~contested)
        if parts.divisible:
            self._divide(parts, contested, mine, others, luma, colours, elapsed)
        if not cv2.countNonZero(self.mine):
            self._find_again(parts, has_other, luma, colours, who)
        elif who == "largest":
            self._watch_rival(parts, elapsed)

    def _doubtful(self, parts: Parts, own: NDArray[Any], foreign: NDArray[Any]) -> bool:
        """Whether flow is needed: where each part surely lies on one owner's last place it would change nothing."""
        if len(parts.areas) <= 2 and not cv2.countNonZero(self.others):
            return False
        more, less = np.maximum(own, foreign)[1:], np.minimum(own, foreign)[1:]
        return self._together is not None or not ((more > 0.6 * parts.areas[1:]) & (less <= 2)).all()

    def _hands(self, parts: Parts, mine: U8) -> NDArray[np.bool_]:
        """Small parts beside the subject."""
        if not cv2.countNonZero(mine) or len(parts.areas) <= 2:
            return np.zeros(len(parts.areas), bool)
        around = as_u8(cv2.dilate(mine, np.ones((_REACH, _REACH), np.uint8)))
        return (parts.inside(around) > 0) & (parts.areas <= _HAND * cv2.countNonZero(mine))

    def _parted(self, parts: Parts) -> NDArray[np.bool_] | None:
        """Of what touched until now, the parts into which it fell; None while it did not."""
        if self._together is None or not parts.divisible:
            return None
        total = cv2.countNonZero(self._together)
        shared = parts.inside(self._together)
        from_it = (2 * shared > parts.areas) & (parts.areas >= max(SPECK, 0.08 * total))
        from_it[0] = False
        if from_it.sum() < 2:
            return None
        self._together = None
        return from_it

    def _whose(
        self,
        parts: Parts,
        parted: NDArray[np.bool_],
        own: NDArray[Any],
        foreign: NDArray[Any],
        luma: U8,
        colours: tuple[U8, U8],
    ) -> NDArray[np.bool_]:
        """Which of the parts is the subject: one of them, or none where the subject was hidden and nothing tells."""
        places = np.flatnonzero(parted)
        chosen = self._by_look(parts, places, luma, colours)
        if chosen is None:
            chosen = self._passing.first_of([_middle_of(parts, int(place)) for place in places])
        if chosen is None and own[places].any():
            chosen = int(((own - foreign)[places] / parts.areas[places]).argmax())
        flags = np.zeros(len(parts.areas), bool)
        if chosen is not None:
            flags[places[chosen]] = True
        return flags

    def _by_look(self, parts: Parts, places: NDArray[np.intp], luma: U8, colours: tuple[U8, U8]) -> int | None:
        if self._look is None or self._looks_of_others is None:
            return None
        bins = bins_of(luma, colours)
        looks = [Look.of(bins, parts.labels == place) for place in places]
        like = np.array([look.like(self._look) - look.like(self._looks_of_others) for look in looks])
        second, first = np.sort(like)[-2:]
        return int(like.argmax()) if first - second > _CLEARLY else None

    def _divide(
        self,
        parts: Parts,
        contested: NDArray[np.bool_],
        mine: U8,
        others: U8,
        luma: U8,
        colours: tuple[U8, U8],
        elapsed: float,
    ) -> None:
        """Give each pixel of parts in which people touch to one of them."""
        assert self.mine is not None
        if not contested.any():
            self._together = None
            return
        area = parts.area_of(contested)
        told = None
        if self._look is not None and self._looks_of_others is not None:
            told = likelier(self._look, self._looks_of_others, bins_of(luma, colours), area)
        ours = divided(mine, others, area, told)
        theirs = area - ours
        cv2.bitwise_or(self.mine, ours, dst=self.mine)
        cv2.bitwise_or(self.others, theirs, dst=self.others)
        hidden = min(cv2.countNonZero(ours), cv2.countNonZero(theirs)) < _HIDDEN * cv2.countNonZero(area)
        self._hidden = self._hidden + elapsed if hidden else 0.0
        self._together = area if self._hidden < _GONE else None

    def _find_again(self, parts: Parts, known: NDArray[np.bool_], luma: U8, colours: tuple[U8, U8], who: Who) -> None:
        """The subject is nowhere: see whether it is somebody who came just now."""
        if who == "largest" and self._lost >= PATIENCE:
            self.mine = None
            self._look, self._looks_of_others, self._usual = None, None, 0.0
            self._choose(parts, who)
            return
        if self._gone is None or len(parts.areas) < 2:
            return
        size = cv2.countNonZero(self._gone)
        inside = parts.inside(self._gone)
        same_place = ~known & (inside > 0.2 * (size + parts.areas - inside)) & (self._lost <= 2.0)
        same_place[0] = False
        if same_place.any():
            self._take(parts, np.arange(len(inside)) == int(np.argmax(inside * same_place)))
            return
        if self._look is None or self._frames % 2:
            return
        large = parts.areas >= _BACK * max(size, self._usual)
        large[0] = False
        bins = None
        for place in np.flatnonzero(large):
            bins = bins_of(luma, colours) if bins is None else bins
            look = Look.of(bins, parts.labels == place)
            other = 0.0 if self._looks_of_others is None else look.like(self._looks_of_others)
            if (like := look.like(self._look)) >= _KNOWN and like > other + _CLEARLY:
                self._take(parts, np.arange(len(inside)) == place)
                return

    def _watch_rival(self, parts: Parts, elapsed: float) -> None:
        assert self.mine is not None
        if self._together is not None or not cv2.countNonZero(self.others):
            self._rival = 0.0
            return
        inside = parts.inside(self.others)
        inside[0] = 0
        rival = int(inside.argmax())
        self._rival = self._rival + elapsed if inside[rival] > RIVAL * cv2.countNonZero(self.mine) else 0.0
        if self._rival >= RIVAL_SECONDS:
            self._look, self._looks_of_others, self._usual = None, None, 0.0
            self._take(parts, np.arange(len(inside)) == rival)

    def _learn(self, luma: U8, colours: tuple[U8, U8]) -> None:
        assert self.mine is not None
        bins = bins_of(luma, colours)
        self._look = Look.of(bins, self.mine > 0).after(self._look, _LEARN)
        if cv2.countNonZero(self.others) >= SPECK:
            self._looks_of_others = Look.of(bins, self.others > 0).after(self._looks_of_others, _LEARN)


def _nearest_part(parts: Parts, allowed: NDArray[np.bool_], place: tuple[float, float]) -> int:
    """The part at a place of 0..1, else the one whose nearest pixel is nearest."""
    height, width = parts.labels.shape
    rows, columns = np.nonzero(allowed[parts.labels])
    far = np.hypot(columns + 0.5 - place[0] * width, (rows + 0.5 - place[1] * height) * width / height * 9 / 16)
    at = int(far.argmin())
    return int(parts.labels[rows[at], columns[at]])


def _middle_of(parts: Parts, place: int) -> tuple[float, float]:
    rows, columns = np.nonzero(parts.labels == place)
    return float(columns.mean()), float(rows.mean())


def _sure_flow(flow: Flow, luma: U8, before: U8) -> Any:
    """The flow, none where staying explains the picture as well; None where nothing moved."""
    still = as_u8(cv2.blur(cv2.absdiff(luma, before), (3, 3)))
    if cv2.minMaxLoc(still)[1] <= SAME:
        return None
    found = flow(luma, before)
    moved = as_u8(cv2.blur(cv2.absdiff(luma, warp(before, found)), (3, 3)))
    found.view(np.complex64)[as_u8(cv2.subtract(still, moved)) <= 1] = 0.0
    return found


def _moved(plane: U8, flow: Any) -> U8:
    return as_u8(cv2.threshold(warp(plane, flow), 127, 255, cv2.THRESH_BINARY)[1])
