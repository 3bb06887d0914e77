"""The same thing under the same number from frame to frame: ByteTrack (Zhang et al., 2022), of the library trackers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import supervision as sv
from trackers import BIoU, ByteTrackTracker
from trackers.utils.state_representations import XCYCSRStateEstimator

from rtseg.driving.detections import Detection, Group

Box: TypeAlias = tuple[float, float, float, float]
_NOMINAL = 30.0
"""Frames a second, in whose units the library counts; times are given to it, so this is a unit only."""


class Track(NamedTuple):
    """What is followed. detection: that of this frame, None where it is hidden or was missed; box: where it should be.

    id: from 1, never given twice between resets.
    """

    id: int
    group: Group
    box: Box
    detection: Detection | None


class Tracker:
    """Follows the detections of one stream, vehicles and vulnerable road users apart.

    keep: seconds that something may be hidden. sure: the score that begins a track; lower ones only carry one on.
    Something has a number from its second frame on.
    """

    def __init__(self, *, keep: float = 1.0, sure: float = 0.5) -> None:
        self._keep, self._sure = keep, sure
        self.reset()

    def __call__(self, detections: Sequence[Detection], seconds: float) -> list[Track]:
        """The tracks at a time, which never runs backwards between two resets."""
        tracks: list[Track] = []
        for group, tracker in self._trackers.items():
            own = [each for each in detections if each.group == group]
            given = sv.Detections(
                xyxy=np.array([each.box for each in own], np.float64).reshape(-1, 4),
                confidence=np.array([each.score for each in own], np.float64),
                class_id=np.arange(len(own)),  # so that the answer, in another order, says which is which
            )
            answer = tracker.update(given, timestamp=seconds)
            seen: dict[int, Detection] = {}
            if answer.tracker_id is not None and answer.class_id is not None:
                pairs = zip(answer.tracker_id.tolist(), answer.class_id.tolist(), strict=True)
                seen = {number: own[place] for number, place in pairs if number >= 0}
            followed = tracker.tracked_objects
            assert followed.tracker_id is not None
            for number, box in zip(followed.tracker_id.tolist(), followed.xyxy.tolist(), strict=True):
                id_ = self._ids.setdefault((group, number), len(self._ids) + 1)
                tracks.append(Track(id_, group, (box[0], box[1], box[2], box[3]), seen.get(number)))
        return tracks

    def reset(self) -> None:
        """Forget all; numbers begin anew."""
        groups: tuple[Group, ...] = ("vehicle", "vulnerable")
        self._trackers = {
            group: ByteTrackTracker(
                lost_track_buffer=round(_NOMINAL * self._keep),
                frame_rate=_NOMINAL,
                track_activation_threshold=self._sure,
                high_conf_det_threshold=self._sure,
                minimum_consecutive_frames=2,
                minimum_iou_threshold=0.15,
                state_estimator_class=XCYCSRStateEstimator,  # sides of their own run past each other while hidden
                iou=BIoU(0.2),  # things far off are a few pixels large, and their boxes need not overlap
            )
            for group in groups
        }
        self._ids: dict[tuple[Group, int], int] = {}
