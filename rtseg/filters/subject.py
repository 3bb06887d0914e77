"""Shows one person and leaves bystanders out, or everybody."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, assert_never

import cv2
import numpy as np

from rtseg.filters.following import SPECK, Follower, Parts
from rtseg.filters.held import Held
from rtseg.ops.arrays import U8, as_u8
from rtseg.ops.flow import FLOW_SIZE
from rtseg.ops.resize import enlarge, resize
from rtseg.subject import Who, parse_who, turned
from rtseg.types import Frame, Instances, Panoptic, Regions, Segmentation, Semantic

PERSON = "person"
_LOW, _HIGH = 48, 128
"""Levels between which an area of a matte is somebody only where it reaches the higher one somewhere."""
_AROUND, _APART = np.ones((5, 5), np.uint8), np.ones((3, 3), np.uint8)


class Subject:
    """Keeps the subject and takes other people out of a matte, or out of the class "person" of other results.

    who: "all"; "largest", followed until another is half as large again for a second; or x and y, 0..1 of the frame,
    of the person who is there, or nearest to it, in the first frame with anybody. People are followed along the optical
    flow at `FLOW_SIZE` (`rtseg.filters.following`). Where the subject is lost nobody is shown: the largest for a second
    and then the next largest; the chosen one until they come back and look like it, or somebody is chosen anew.

    A matte is multiplied by a soft support and is otherwise as it was; where there is nobody but the subject it is the
    very same. keep_held: what the subject holds and moves joins the matte, softly (`rtseg.filters.held`); of mattes
    only. `Semantic` and `Panoptic` pass as they are. Belongs to one stream; `choose` may be called from any thread.
    """

    def __init__(self, *, who: Who = "largest", keep_held: bool = False) -> None:
        self._wish: tuple[Who, bool] = (parse_who(who), keep_held)
        self._follower, self._held = Follower(), Held()
        self._turned = False
        self.reset()

    @property
    def who(self) -> Who:
        """Who was asked for."""
        return self._wish[0]

    def choose(self, who: Who, *, keep_held: bool = False) -> None:
        """Somebody else from the next frame on, chosen as in the first; the same wish as before changes nothing."""
        self._wish = (parse_who(who), keep_held)

    def turn(self) -> None:
        """Left and right are exchanged from the next frame on: the subject stays who it is, and so does its place."""
        who, keep_held = self._wish
        self._turned = not self._turned
        self._wish = (turned(who) or who, keep_held)

    def reset(self) -> None:
        """Forget who it was; the wish stays, and what was chosen at a place is chosen there again."""
        self._now = self._wish
        self._turned = False
        self._time: float | None = None
        self._follower.reset()
        self._held.reset()

    def __call__(self, frame: Frame, segmentation: Segmentation, /) -> Segmentation:
        """The segmentation without others; its own masks are left as they are."""
        self._obey()
        who, keep_held = self._now
        if who == "all" and not keep_held:
            return segmentation
        match segmentation:
            case Regions():
                return self._regions(frame, segmentation)
            case Instances():
                return self._instances(frame, segmentation)
            case Semantic() | Panoptic():
                return segmentation
            case _:
                assert_never(segmentation)

    def _obey(self) -> None:
        if self._turned:
            self._turned = False
            self._now = (turned(self._now[0]) or self._now[0], self._now[1])
            self._follower.turn()
            self._held.turn()
        wish = self._wish
        if wish[0] != self._now[0]:
            self._follower.reset()
        if wish != self._now:
            self._held.reset()
        self._now = wish

    def _regions(self, frame: Frame, regions: Regions) -> Regions:
        names = regions.names
        if len(names) > 1 and PERSON not in names:
            return regions
        at = names.index(PERSON) if PERSON in names else 0
        matte = regions.probabilities[at]
        kept = self._matte(frame, matte)
        if kept is matte:
            return regions
        masks = regions.probabilities.copy() if len(names) > 1 else kept[np.newaxis]
        masks[at] = kept
        return replace(regions, probabilities=masks)

    def _matte(self, frame: Frame, matte: U8) -> U8:
        who, keep_held = self._now
        small = resize(matte, FLOW_SIZE)
        luma = frame.luma(FLOW_SIZE)
        kept = matte
        if who != "all":
            self._follower(parts_of(small), luma, frame.planes[1:], self._elapsed(frame), who)
            if (support := self._support()) is not None:
                kept = as_u8(cv2.multiply(matte, enlarge(support, matte.shape[::-1]), scale=1 / 255))
                small = as_u8(cv2.min(small, support))
        if keep_held and (held := self._held(small, luma)) is not None:
            free = as_u8(cv2.subtract(held, self._follower.others)) if who != "all" else held
            kept = as_u8(cv2.max(kept, enlarge(free, matte.shape[::-1])))
        return kept

    def _support(self) -> U8 | None:
        """Where the matte stays: 255 there and in two pixels around, 0 for others; None for a subject who is alone."""
        mine, others = self._follower.mine, self._follower.others
        if mine is None or not cv2.countNonZero(mine):  # nor is a speck at the border shown, who may be coming in
            return np.zeros_like(others)
        if not cv2.countNonZero(others):
            return None
        ring = cv2.bitwise_and(cv2.dilate(mine, _AROUND), cv2.bitwise_not(cv2.dilate(others, _APART)))
        return as_u8(cv2.blur(cv2.bitwise_or(mine, ring), (3, 3)))

    def _instances(self, frame: Frame, found: Instances) -> Instances:
        people = np.flatnonzero([found.names[label] == PERSON for label in found.labels])
        who, _ = self._now
        if who == "all" or PERSON not in found.names:
            return found
        people = people[:255]
        labels = np.zeros(FLOW_SIZE[::-1], np.uint8)
        for number, index in enumerate(people, start=1):
            labels[resize(found.masks[index], FLOW_SIZE) >= _HIGH] = number
        areas = np.bincount(labels.reshape(-1), minlength=len(people) + 1)
        parts = Parts(labels, areas, divisible=False)
        self._follower(parts, frame.luma(FLOW_SIZE), frame.planes[1:], self._elapsed(frame), who)
        mine = self._follower.mine
        inside = np.zeros(len(areas)) if mine is None else parts.inside(mine) / np.maximum(areas, 1)
        inside[0] = 0.0
        kept = np.ones(len(found.labels), bool)
        kept[people] = False
        if people.size and inside.max() > 0.5:
            kept[people[int(inside.argmax()) - 1]] = True
        if kept.all():
            return found
        ids = found.track_ids
        return replace(
            found,
            masks=found.masks[kept],
            boxes=found.boxes[kept],
            labels=found.labels[kept],
            scores=found.scores[kept],
            track_ids=None if ids is None else ids[kept],
        )

    def _elapsed(self, frame: Frame) -> float:
        """Seconds since the last frame; a thirtieth where the times of frames say nothing."""
        before, self._time = self._time, frame.time
        step = 0.0 if before is None else self._time - before
        return min(step, 0.5) if step > 0 else 1 / 30


def parts_of(small: U8) -> Parts:
    """The areas of a matte of `FLOW_SIZE` that are somebody: over the lower level, and somewhere over the higher."""
    areas = cv2.threshold(small, _LOW - 1, 255, cv2.THRESH_BINARY)[1]
    count, labels, stats, _ = cv2.connectedComponentsWithStats(areas, connectivity=8, ltype=cv2.CV_32S)
    sizes = stats[:, cv2.CC_STAT_AREA].astype(np.intp)
    sure: Any = np.zeros(count, bool)
    sure[labels[small >= _HIGH]] = True
    sure &= sizes >= SPECK
    sure[0] = True
    sure &= np.cumsum(sure) <= 256
    if not sure.all():
        renumbered = np.where(sure, np.cumsum(sure) - 1, 0)
        labels, sizes = renumbered[labels], sizes[sure]
    return Parts(labels.astype(np.uint8), sizes)
