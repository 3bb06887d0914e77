"""Everything that stands or moves on the road, followed: how far, how fast, in whose way, and what that means."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from rtseg.driving.detections import GROUPS, WIDEST, Detection, Group, detections_of
from rtseg.driving.ranging import SIZES, UNKNOWN, Point, Range, Size, ground_point
from rtseg.driving.road_events import RoadEvents
from rtseg.driving.state import Lanes, Measure, Obstacle, Scene, View, observe_event, observe_obstacle
from rtseg.driving.tracking import Track, Tracker
from rtseg.errors import ConfigError, EngineError
from rtseg.results import array_of, shape_of
from rtseg.types import Frame, Instances, Observation, Segmentation, Segmenter

_log = logging.getLogger("rtseg")

HALF_LANE = 1.75
"""Metres to each side of the own middle that are the path where no lane line is known."""
_HINTED = 2.0
"""Seconds that places of tracks alone may take a mask apart."""
_SHOWN = 0.4
"""Seconds that something hidden is still told of; it keeps its number for longer."""
_ENTER, _LEAVE = 0.45, 0.25
"""Shares of its width within the path with which something comes into it, and is still in it."""
_BELIEVED = 0.1
"""`View.confidence` from which on metres are told."""
_LENGTH = 4.4
"""Metres of a vehicle along the road."""
_FIELD = math.radians(65.0)
"""What the angle of an unknown lens is taken for: good enough to say who is ahead, and not told in metres."""


@dataclass(eq=False)
class _Followed:
    """What is remembered of a track. last, apart: when it was seen, and when by more than its own hint."""

    range: Range
    group: Group
    names: Counter[str] = field(default_factory=Counter)
    score: float = 0.0
    box: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    age: int = 0
    last: float = 0.0
    apart: float = 0.0
    in_path: bool = False

    @property
    def label(self) -> str:
        """The class that it was most often; what only masks say counts where no detector said more."""
        known = {name: count for name, count in self.names.items() if name not in UNKNOWN}
        return max(known or self.names, key=lambda name: (self.names[name], name))

    @property
    def size(self) -> Size:
        return SIZES.get(self.label) or UNKNOWN[self.group]


class Obstacles:
    """An "obstacle" for each thing on the road that was seen in two frames, and an "event" for what is worth telling.

    fov: of the lens, across, degrees; height: of the camera, metres; pitch: down, degrees, None for about level. They
    say where the camera looks unless another analyzer before this one does (kind "view"). Where nobody does, nothing is
    told in metres; times to collision are, since they need none. Lanes ("lane", "line") and the own speed ("fix")
    are those of analyzers before, too: the path is straight and 3.5 m wide where there are none, and times to the lead
    are told only with a speed.

    detector: a second network for every `every`-th frame, whose boxes split what masks join, and name it; the tracks'
    own places split it in between. Where masks have not both vehicles and people it is asked for each frame. keep:
    seconds that something keeps its number while it is hidden. Raises ConfigError, at the first frame where neither the
    model nor a detector knows anything that can be in the way.
    """

    def __init__(
        self,
        *,
        fov: float | None = None,
        height: float | None = None,
        pitch: float | None = None,
        detector: Segmenter | None = None,
        every: int = 3,
        keep: float = 1.0,
    ) -> None:
        if (fov is None) != (height is None) or (fov is not None and not 10.0 <= fov <= 170.0):
            raise ConfigError(f"fov {fov} must be 10 to 170 degrees and go with height: give both or neither")
        if height is not None and not 0.2 <= height <= 5.0:
            raise ConfigError(f"height {height} must be 0.2 to 5 m over the road: measure the camera's")
        if every < 1 or keep < 0:
            raise ConfigError(f"every {every} must be at least 1 and keep {keep} at least 0")
        self._lens = None if fov is None or height is None else (math.radians(fov), height)
        self._pitch = pitch
        self._detector, self._every = detector, every
        self._tracker = Tracker(keep=keep)
        self._warned = False
        self._now: float | None = None
        self._measured: float | None = None
        self._followed: dict[int, _Followed] = {}
        self.reset()

    def __call__(self, frame: Frame, segmentation: Segmentation, /) -> Sequence[Observation]:
        """What one frame has, by itself."""
        return self.after(frame, segmentation, ())

    def after(
        self, frame: Frame, segmentation: Segmentation, observations: Sequence[Observation], /
    ) -> Sequence[Observation]:
        """The same with what is known of the frame already: where the camera looks, lanes, the own speed."""
        known = Scene.read(observations)
        scene = self.read(frame, segmentation, known)
        found = [observe_obstacle(each, frame.pts) for each in scene.obstacles]
        return found + [observe_event(each, frame.pts) for each in scene.events[len(known.events) :]]

    def read(self, frame: Frame, segmentation: Segmentation, scene: Scene) -> Scene:
        """The scene with its obstacles, nearest first, and with these events more."""
        now = frame.time
        if self._now is not None and now < self._now:
            self.reset()
        if self._now is None or now > self._now:
            step = 0.0 if self._now is None else now - self._now
            self._now = now
            self._advance(frame, segmentation, scene.view, step)
        _, told = self._view(frame, scene.view)
        speed = None if scene.fix is None else scene.fix.speed
        obstacles = self._told(scene.lanes, speed, now, in_metres=told)
        events = self._events(now, frame.pts, obstacles, speed)
        return replace(scene, obstacles=obstacles, events=(*scene.events, *events))

    def reset(self) -> None:
        """Forget all that was followed."""
        self._tracker.reset()
        self._followed = {}
        self._boxes: list[tuple[Group, tuple[float, float, float, float]]] = []
        self._events = RoadEvents()
        self._now = self._measured = None
        self._seen: object = None
        self._count = 0
        if self._detector is not None:
            self._detector.reset()

    def _advance(self, frame: Frame, segmentation: Segmentation, known: View | None, step: float) -> None:
        groups = {GROUPS[name] for name in segmentation.names if name in GROUPS}
        if self._detector is None and not groups:
            names = ", ".join(segmentation.names)
            raise ConfigError(f"obstacles need vehicles or people: the model has {names}; give a detector")
        boxes = self._detect(frame, self._every if len(groups) == 2 else 1)
        again, self._seen = array_of(segmentation) is self._seen, array_of(segmentation)
        if again and boxes is None:  # what is measured twice would be believed twice
            self._go_on(self._view(frame, known)[0], step)
            return
        self._measured = frame.time
        found = detections_of(segmentation, boxes=boxes, hints=self._boxes)
        tracks = self._tracker(found, frame.time)
        view, _ = self._view(frame, known)
        height, width = shape_of(segmentation)
        boxes_only = isinstance(segmentation, Instances)
        coarse = 2.0 if boxes_only else max(frame.size.width / width, frame.size.height / height)
        hidden = {id(each) for each in found if any(_hides(other, each, coarse) for other in found)}
        alive: dict[int, _Followed] = {}
        for track in tracks:
            alive[track.id] = self._followed.get(track.id) or _Followed(
                Range(view, UNKNOWN[track.group]), track.group, last=frame.time, apart=frame.time
            )
            self._measure(alive[track.id], track, view, step, coarse, hidden)
        self._followed = alive
        # What was missed for long is not where it was supposed to be, and what only its own hint keeps may be nothing.
        self._boxes = [
            (track.group, track.box)
            for track in tracks
            if frame.time - alive[track.id].last < _SHOWN and frame.time - alive[track.id].apart < _HINTED
        ]

    def _go_on(self, view: View, step: float) -> None:
        """Everything moves as it did, in a frame whose masks are earlier ones."""
        for each in self._followed.values():
            each.range.predict(step, view)
            each.age += 1

    def _detect(self, frame: Frame, every: int) -> Instances | None:
        """What the second network sees in every few frames; where it fails, masks do alone."""
        number, self._count = self._count, self._count + 1
        if self._detector is None or number % every:
            return None
        try:
            found = self._detector(frame)
        except EngineError as error:
            if not self._warned:
                _log.warning("obstacles come from masks alone: %s", error)
            self._warned = True
            return None
        return found if isinstance(found, Instances) else None

    def _measure(self, each: _Followed, track: Track, view: View, step: float, coarse: float, hidden: set[int]) -> None:
        each.range.predict(step, view)
        each.age += 1
        if track.box[0] < track.box[2] and track.box[1] < track.box[3]:  # what shrank before it hid can come to nothing
            each.box = track.box
        seen = track.detection
        if seen is None:
            return
        each.names[seen.label] += 1
        each.last, each.score, each.box = self._now or 0.0, seen.score, seen.box
        if not seen.split:
            each.apart = each.last
        each.range.of_class(each.size)
        behind = id(seen) in hidden
        x0, y0, x1, y1 = seen.box
        sigma = (0.5 * coarse if seen.mask is not None else 1.0) + 0.015 * (y1 - y0)
        wide = not behind and not each.size.upright and x1 - x0 > WIDEST * (y1 - y0)
        left, below, right = seen.cut
        point = ground_point(view, (x0 + x1) / 2, y1)
        if point is not None and not below and not behind:
            each.range.contact(view, point, sigma)
        side = y1 - y0 if each.size.upright else x1 - x0
        if not (below if each.size.upright else left or right or wide):
            shown = 1.0 if each.size.upright else _flank(each, point)
            doubt = 0.3 * side * (1 - 1 / shown) + 0.15 * side * behind
            each.range.looks(view, side / shown, sigma * 1.4 + doubt)
        distance = math.exp(each.range.log)
        if point is not None and not left and not right and not wide:
            ratio = distance / view.focal
            # The side that shows is the inner one: the rear's middle is half a width from the outer edge of the box.
            shown = 1.0 if each.size.upright else _flank(each, point)
            shift = math.copysign((x1 - x0) * (1 - 1 / shown) / 2, point.x) * ratio
            each.range.beside(point.x / point.z * distance + shift, math.hypot(sigma * ratio, 0.1))

    def _view(self, frame: Frame, known: View | None) -> tuple[View, bool]:
        """Where the camera looks, and whether that is known well enough for metres."""
        if known is not None:
            return known, known.confidence >= _BELIEVED
        width, height = frame.size
        centre = (width / 2, height / 2)
        fov, above = self._lens or (_FIELD, 1.3)
        focal = width / 2 / math.tan(fov / 2)
        pitch = math.radians(self._pitch or 0.0)
        sigma = math.radians(1.0 if self._pitch is None else 0.2)
        view = View(focal, centre, pitch, 0.0, 0.0, above, pitch_sigma=sigma, source="lens")
        return view, self._lens is not None

    def _told(self, lanes: Lanes, speed: Measure | None, now: float, *, in_metres: bool) -> tuple[Obstacle, ...]:
        found: list[Obstacle] = []
        for number, each in self._followed.items():
            if now - each.last > _SHOWN:
                continue
            each.in_path = _in_path(each, lanes)
            r = each.range
            distance, lateral, pace = (r.distance, r.lateral, r.speed) if in_metres else (None, None, None)
            found.append(
                Obstacle(
                    number,
                    each.label,
                    each.box,
                    each.score,
                    distance=distance,
                    lateral=lateral,
                    speed=pace,
                    ttc=r.ttc,
                    in_path=each.in_path,
                    age=each.age,
                    seen=each.last == self._measured,
                )
            )
        found.sort(key=lambda obstacle: self._followed[obstacle.id].range.log)
        lead = next((o for o in found if o.in_path and self._followed[o.id].group == "vehicle"), None)
        return tuple(
            replace(each, lead=True, headway=_headway(each.distance, speed)) if each is lead else each for each in found
        )


def _flank(each: _Followed, point: Point | None) -> float:
    """How many times wider than its rear a vehicle looks that also shows its side, as those of other lanes do."""
    if point is None or not each.range.measured:
        return 1.0
    z, width = math.exp(each.range.log), each.size.metres
    beside = max(abs(point.x / point.z) * z - width / 2, 0.0)
    return 1.0 + beside * _LENGTH / ((z + _LENGTH) * width)


def _in_path(each: _Followed, lanes: Lanes) -> bool:
    """Whether enough of it is between the lines of the own lane, or before the own vehicle where there are none."""
    lateral, z = each.range.lateral, math.exp(each.range.log)
    if lateral is None or lateral.sigma > 1.0 or z > 80.0:
        return False
    left, right = lanes.line(-1), lanes.line(1)
    sides = [line.at(z) if line is not None and z <= 1.5 * line.far else None for line in (left, right)]
    low = sides[0] if sides[0] is not None else (-HALF_LANE if sides[1] is None else sides[1] - 2 * HALF_LANE)
    high = sides[1] if sides[1] is not None else low + 2 * HALF_LANE
    half = (1.8 if each.group == "vehicle" else 0.6) / 2
    inside = min(lateral.value + half, high) - max(lateral.value - half, low)
    return inside / (2 * half) >= (_LEAVE if each.in_path else _ENTER)


def _headway(distance: Measure | None, speed: Measure | None) -> Measure | None:
    """Seconds to the lead at the own speed; None at a walk, where it means nothing."""
    if distance is None or speed is None or speed.value < 2.0:
        return None
    seconds = distance.value / speed.value
    return Measure(seconds, seconds * math.hypot(distance.sigma / distance.value, speed.sigma / speed.value))


def _hides(other: Detection, each: Detection, coarse: float) -> bool:
    """Whether another thing stands before the lower end of this one."""
    if other is each or other.box[3] <= each.box[3] + 0.5 * coarse or other.box[1] >= each.box[3] + coarse:
        return False
    width = min(other.box[2], each.box[2]) - max(other.box[0], each.box[0])
    return width > 0.2 * (each.box[2] - each.box[0])
