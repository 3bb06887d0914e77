"""Drives drawn at random, and what analyzers get wrong on them: errors of lanes, and departures found and missed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from rtseg.driving.render import Drive, Excursion, Marking, Rendered, Rough, Vehicle
from rtseg.driving.state import Event, LineColour, Scene

_HELD = 0.25
"""Seconds that a wheel must be beyond a line to be a departure in truth."""
_SLACK = 0.7
"""Seconds by which an event may come late, or end late."""


def random_drive(seed: int, *, rough: Rough | None = None, seconds: float = 9.0, rate: float = 15.0) -> Drive:
    """A drive of a road of two to four lanes with bends, traffic, a shaking camera, and often one excursion.

    Half of the drives leave their lane, a wheel at least 0.15 m beyond the line; the others stay 0.2 m within, so that
    the truth of no event hangs on centimetres. rough: None for noise, specks, gaps, blind and missed frames.
    """
    chance = np.random.default_rng(seed)
    width = float(chance.uniform(3.4, 3.8))
    lanes = int(chance.integers(2, 5))
    own = int(chance.integers(0, lanes))
    markings = []
    for border in range(lanes + 1):
        outer = border in (0, lanes)
        colour: LineColour = "yellow" if border == 0 and chance.random() < 0.5 else "white"
        dashes = None if outer else ((3.0, 9.0), (3.0, 6.0), (6.0, 12.0))[int(chance.integers(3))]
        markings.append(Marking((border - own - 0.5) * width, dashes, colour))
    bends = tuple((120.0 * k, float(chance.normal() * 8e-4)) for k in range(6))
    room = width / 2 - 0.9
    wander = float(chance.uniform(0.02, 0.12))
    side = -1.0 if chance.random() < 0.5 else 1.0
    slow = float(chance.uniform(1.4, 2.4))
    start = float(chance.uniform(1.5, 3.0))
    match int(chance.integers(6)):
        case 0 | 1 | 2:
            out = room + float(chance.uniform(0.17, 0.5)) + wander
            excursions: tuple[Excursion, ...] = (Excursion(start, side * out, slow),)
        case 3:
            out = room - float(chance.uniform(0.22, 0.5)) - wander
            excursions = (Excursion(start, side * max(out, 0.0), slow),)
        case _:
            excursions = ()
    vehicles = []
    for _ in range(int(chance.integers(0, 4))):
        lane = int(chance.integers(0, lanes)) - own
        ahead = float(chance.uniform(15, 70))
        vehicles.append(Vehicle(ahead, lane * width, float(chance.uniform(23, 27))))
    if rough is None:
        rough = Rough(noise=0.15, specks=6, gaps=0.12, blind=0.05, missed=0.05)
    return Drive(
        seconds,
        rate,
        fov=math.radians(float(chance.uniform(52, 75))),
        height=float(chance.uniform(1.1, 1.6)),
        pitch=float(chance.uniform(-0.03, 0.06)),
        yaw=float(chance.uniform(-0.02, 0.02)),
        speed=float(chance.uniform(18, 33)),
        markings=tuple(markings),
        curvature=bends,
        wander=wander,
        excursions=excursions,
        vehicles=tuple(vehicles),
        shake=0.004,
        rough=rough,
        seed=seed,
    )


def random_traffic(seed: int, *, seconds: float = 6.0, rate: float = 30.0) -> Drive:
    """A drive of a straight road of two lanes behind something slower, with vehicles beside and at times somebody on
    foot, of whose distances and times to collision the truth is known."""
    chance = np.random.default_rng([11, seed])
    walker = chance.random() < 0.3
    speed = float(chance.uniform(4, 9) if walker else chance.uniform(18, 30))
    vehicles = []
    if chance.random() < 0.85:
        closing = float(chance.uniform(-2, min(9, speed)))
        ahead = max(float(chance.uniform(15, 55)), closing * (seconds + 0.6) + 3)
        vehicles.append(_car(chance, ahead, 0.0, speed - closing))
    for side in (-3.6, 3.6):
        if chance.random() < 0.5:
            ahead = float(chance.uniform(12, 60))
            away = float(chance.uniform(max(-5.0, (5 - ahead) / seconds), 5))
            vehicles.append(_car(chance, ahead, side, speed + away))
    if walker:
        side = 1.0 if chance.random() < 0.5 else -1.0
        ahead = speed * seconds + float(chance.uniform(5, 12))
        vehicles.append(Vehicle(ahead, side * float(chance.uniform(4.2, 5.5)), 0.0, (0.5, 1.7), "vulnerable"))
    return Drive(
        seconds,
        rate,
        fov=math.radians(float(chance.uniform(52, 75))),
        height=float(chance.uniform(1.1, 1.6)),
        pitch=float(chance.uniform(-0.03, 0.06)),
        speed=speed,
        vehicles=tuple(vehicles),
        wander=0.05,
        shake=8.7e-4,
        rough=Rough(missed=0.05),
        seed=seed,
    )


def _car(chance: np.random.Generator, ahead: float, across: float, speed: float) -> Vehicle:
    wide = float(np.clip(chance.normal(1.82, 0.08), 1.6, 2.1))
    return Vehicle(ahead, across, speed, (wide, 1.5), length=4.4)


@dataclass(slots=True)
class Departures:
    """Found and missed: `right` events that are true, `wrong` that are not, `missed` that were not told."""

    right: int = 0
    wrong: int = 0
    missed: int = 0

    @property
    def precision(self) -> float:
        """1 where nothing was told."""
        return self.right / (self.right + self.wrong) if self.right + self.wrong else 1.0

    @property
    def recall(self) -> float:
        """1 where nothing happened."""
        return self.right / (self.right + self.missed) if self.right + self.missed else 1.0


@dataclass(slots=True)
class LaneErrors:
    """Of a drive, or of several: absolute errors frame by frame, after the first second.

    offset: of the middle of both ego lines at 10 m, metres. lines: of each ego line there. heading: radians. jumps: of
    a line at 10 m between frames beyond what it truly moved, metres. both: frames with both ego lines, of `frames`.
    withheld: frames whose offset was not given.
    """

    offset: list[float] = field(default_factory=list)
    lines: list[float] = field(default_factory=list)
    heading: list[float] = field(default_factory=list)
    jumps: list[float] = field(default_factory=list)
    frames: int = 0
    both: int = 0
    withheld: int = 0
    departures: Departures = field(default_factory=Departures)

    def add(self, drive: Iterable[tuple[Rendered, Scene]], *, settled: float = 1.0) -> None:
        """One drive: what is true and what was found."""
        pairs = list(drive)
        for truth, found in pairs:
            if truth.time >= settled:
                self._frame(truth, found)
        for before, after in pairwise(pairs):
            self._jump(before, after)
        true = [span for span in wheels_out([truth for truth, _ in pairs]) if span[1] >= settled]
        told = spans([(truth.time, found.events) for truth, found in pairs])
        self._match(true, told)

    def _frame(self, truth: Rendered, found: Scene) -> None:
        self.frames += 1
        sides = [(truth.lanes.line(side), found.lanes.line(side)) for side in (-1, 1)]
        errors = [there.at(10.0) - line.at(10.0) for line, there in sides if line is not None and there is not None]
        if len(errors) == 2:
            self.both += 1
            self.lines += [abs(error) for error in errors]
            if found.lanes.offset is not None:
                self.offset.append(abs(sum(errors)) / 2)
        self.withheld += found.lanes.offset is None
        if found.lanes.heading is not None and truth.lanes.heading is not None:
            self.heading.append(abs(found.lanes.heading.value - truth.lanes.heading.value))

    def _jump(self, before: tuple[Rendered, Scene], after: tuple[Rendered, Scene]) -> None:
        old = {line.id: line for line in before[1].lanes.lines if abs(line.place) == 1}
        moved = {line.id: line.at(10.0) for line in before[0].lanes.lines}
        by = float(np.mean([line.at(10.0) - moved[line.id] for line in after[0].lanes.lines]))
        for line in after[1].lanes.lines:
            if line.id in old:
                self.jumps.append(abs(line.at(10.0) - old[line.id].at(10.0) - by))

    def _match(self, true: Sequence[tuple[float, float, str]], told: Sequence[tuple[float, float, str]]) -> None:
        left = list(told)
        for start, end, side in true:
            hit = next((each for each in left if each[2] == side and start - 0.3 <= each[0] <= end + _SLACK), None)
            if hit is None:
                self.departures.missed += 1
            else:
                self.departures.right += 1
                left.remove(hit)
        self.departures.wrong += len(left)


def wheels_out(drive: Sequence[Rendered]) -> list[tuple[float, float, str]]:
    """The true departures: start, end in seconds, side; those apart by less than 0.6 s are one."""
    found: list[tuple[float, float, str]] = []
    for number, side in enumerate(("left", "right")):
        times = [frame.time for frame in drive if frame.wheels[number] > 0]
        own: list[list[float]] = []
        for time in times:
            if own and time - own[-1][1] < 0.6:
                own[-1][1] = time
            else:
                own.append([time, time])
        found += [(start, end, side) for start, end in own if end - start >= _HELD]
    return found


def spans(events: Iterable[tuple[float, Sequence[Event]]]) -> list[tuple[float, float, str]]:
    """The departures that were told: start, the last time they were told, side."""
    found: dict[str, tuple[float, float, str]] = {}
    for time, told in events:
        for event in told:
            if event.kind == "lane_departure":
                start = found[event.id][0] if event.id in found else time - event.seconds
                side = found[event.id][2] if event.id in found else str(event.values["side"])
                found[event.id] = start, time, side
    return list(found.values())
