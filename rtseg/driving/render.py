"""Roads that are drawn, and known exactly: what lanes, distances and events are measured on.

The road ahead of the vehicle is flat, and its lines are clothoids of third order in the vehicle's coordinates, exactly
those of `LaneLine`. Frames come with masks like a network's (`regions`), with a picture where it is asked for, and
with the truth.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.driving.ground import F64, lens, scaled, to_image
from rtseg.driving.state import LaneLine, Lanes, LineColour, LineKind, Measure, Obstacle, View
from rtseg.frame import Frame, Size
from rtseg.ops.arrays import U8
from rtseg.results import Regions

NAMES = ("drivable", "lane", "vehicle", "vulnerable")
_FINE = 4  # fractional bits that polygons are drawn with
_PAINT: dict[LineColour, tuple[int, int, int]] = {"white": (225, 225, 220), "yellow": (215, 170, 50)}


@dataclass(frozen=True, slots=True)
class Marking:
    """A line at x = `across` metres from the lane's middle; dashes: length and period in metres, None for solid."""

    across: float
    dashes: tuple[float, float] | None = None
    colour: LineColour = "white"
    thick: float = 0.15

    @property
    def kind(self) -> LineKind:
        """What `LaneLine.kind` should become."""
        return "solid" if self.dashes is None else "dashed"


@dataclass(frozen=True, slots=True)
class Vehicle:
    """A box on the road: distance to its back in metres at the start, x in its lane, and its own speed in m/s.

    length: along the road, so that it shows a side where it is not ahead.
    """

    distance: float
    across: float = 0.0
    speed: float = 25.0
    size: tuple[float, float] = (1.8, 1.5)
    label: str = "vehicle"
    rgb: tuple[int, int, int] = (120, 30, 30)
    length: float = 0.0


@dataclass(frozen=True, slots=True)
class Excursion:
    """Leaving the middle of the lane: to `across` metres (right positive) and back, over `seconds`, resting `rest`
    seconds at the end. back: whether the vehicle returns; else it has changed to where it is."""

    start: float
    across: float
    seconds: float = 2.0
    rest: float = 0.6
    back: bool = True

    def at(self, time: float) -> float:
        """The way out of the middle, smooth (raised cosine)."""
        since = time - self.start
        if since > self.seconds + self.rest and self.back:
            since = max(0.0, 2 * self.seconds + self.rest - since)
        return self.across * (1 - math.cos(math.pi * min(max(since / self.seconds, 0.0), 1.0))) / 2


@dataclass(frozen=True, slots=True)
class Rough:
    """What goes wrong with masks. noise: of their levels, in units of 255. specks: wrong marks a frame. gaps: share of
    the rows of lines left out, in bands. blind: chance that a frame's lines are not seen at all. missed: chance that a
    frame is not there (its time passes)."""

    noise: float = 0.0
    specks: int = 0
    gaps: float = 0.0
    blind: float = 0.0
    missed: float = 0.0


@dataclass(frozen=True, slots=True)
class Drive:
    """A drive to be drawn: the road, the camera, the vehicle's way, and what is on the road.

    curvature: 1/m, by way in metres: pairs, straight between them. wander: metres, of slow swaying in the lane.
    shake: radians, standard deviation of the pitch by the suspension. masks: width and height.
    """

    seconds: float = 8.0
    rate: float = 25.0
    size: tuple[int, int] = (1280, 720)
    masks: tuple[int, int] = (320, 192)
    fov: float = math.radians(62)
    height: float = 1.3
    pitch: float = 0.03
    yaw: float = 0.0
    roll: float = 0.0
    speed: float = 25.0
    markings: tuple[Marking, ...] = (Marking(-1.8), Marking(1.8, (3.0, 9.0)), Marking(5.4))
    curvature: tuple[tuple[float, float], ...] = ((0.0, 0.0),)
    wander: float = 0.1
    excursions: tuple[Excursion, ...] = ()
    vehicles: tuple[Vehicle, ...] = ()
    shake: float = 0.0
    rough: Rough = field(default_factory=Rough)
    seed: int = 0

    @property
    def view(self) -> View:
        """The camera at rest."""
        centre = self.size[0] / 2, self.size[1] / 2
        return View(lens(self.size, fov=self.fov), centre, self.pitch, self.yaw, self.roll, self.height, source="file")

    def offset(self, time: float) -> float:
        """Of the vehicle's middle from that of the lane it began in, to the right."""
        phase = self.seed % 7
        swaying = self.wander * (0.7 * math.sin(0.9 * time + phase) + 0.3 * math.sin(2.3 * time + 2 * phase))
        return swaying + sum(each.at(time) for each in self.excursions)

    def heading(self, time: float) -> float:
        """Against the lane, to the right, in radians."""
        return math.atan((self.offset(time + 1e-3) - self.offset(time - 1e-3)) / 2e-3 / self.speed)

    def bend(self, way: float) -> tuple[float, float]:
        """Curvature at a place of the road, 1/m to the right, and how it changes there, 1/m^2."""
        places, bends = zip(*self.curvature, strict=True)
        here, there = np.interp([way, way + 0.5], places, bends)
        return float(here), float(there - here) / 0.5


@dataclass(frozen=True, eq=False, slots=True)
class Rendered:
    """A frame and what is true of it. wheels: by how much a wheel is beyond the left and the right line, in metres,
    for a vehicle 1.8 m wide; negative while it is not."""

    frame: Frame
    regions: Regions
    view: View
    lanes: Lanes
    obstacles: tuple[Obstacle, ...]
    time: float
    wheels: tuple[float, float]


def render(drive: Drive, *, pictures: bool = False) -> Iterator[Rendered]:
    """The drive's frames; without `pictures` they are grey, and cost little. The same drive gives the same frames."""
    chance = np.random.default_rng(drive.seed)
    blank = Frame.from_rgb(np.full((drive.size[1], drive.size[0], 3), 96, np.uint8))
    shaken = 0.0
    ticks = 90000 / drive.rate
    for index in range(round(drive.seconds * drive.rate)):
        time = index / drive.rate
        keep = math.exp(-1 / (0.25 * drive.rate))  # the suspension forgets within a quarter of a second
        shaken = keep * shaken + math.sqrt(1 - keep * keep) * drive.shake * chance.standard_normal()
        missed, blind = chance.random(2) < (drive.rough.missed, drive.rough.blind)
        if missed:
            continue
        view = replace(drive.view, pitch=drive.pitch + shaken)
        lines = lines_at(drive, time)
        obstacles = tuple(_obstacles(drive, view, time))
        when: dict[str, Any] = {"index": index, "pts": round(index * ticks), "time_base": Fraction(1, 90000)}
        masks = _masks(drive, view, lines, obstacles, time, chance, blind=bool(blind))
        frame = Frame.from_rgb(picture(drive, view, lines, obstacles, time), **when) if pictures else blank.at(**when)
        regions = Regions(masks, NAMES, frame.pts, Size(*drive.size))
        yield Rendered(frame, regions, view, _truth(drive, lines, time), obstacles, time, _wheels(lines))


def lines_at(drive: Drive, time: float) -> tuple[LaneLine, ...]:
    """Every marking as the vehicle has it before itself; places are those of where it is now."""
    middle, heading = drive.offset(time), math.tan(drive.heading(time))
    bend, change = drive.bend(time * drive.speed)
    across = sorted((marking.across - middle, number) for number, marking in enumerate(drive.markings))
    left = sum(x < 0 for x, _ in across)
    lines = []
    for order, (x, number) in enumerate(across):
        place = order - left if order < left else order - left + 1
        marking = drive.markings[number]
        shape = (x, -heading, bend, change)
        lines.append(LaneLine(number + 1, place, shape, 2.0, 80.0, 0.0, marking.kind, marking.colour))
    return tuple(lines)


def _truth(drive: Drive, lines: Sequence[LaneLine], time: float) -> Lanes:
    sides = {line.place: line.at(0.0) for line in lines}
    offset = width = None
    if -1 in sides and 1 in sides:
        offset, width = Measure(-(sides[-1] + sides[1]) / 2, 0.0), Measure(sides[1] - sides[-1], 0.0)
    bend, _ = drive.bend(time * drive.speed)
    return Lanes(tuple(lines), offset, Measure(drive.heading(time), 0.0), Measure(bend, 0.0), width)


def _wheels(lines: Sequence[LaneLine], half: float = 0.9) -> tuple[float, float]:
    left = max((line.at(0.0) for line in lines if line.place == -1), default=-math.inf)
    right = min((line.at(0.0) for line in lines if line.place == 1), default=math.inf)
    return half + left, half - right


def _obstacles(drive: Drive, view: View, time: float) -> Iterator[Obstacle]:
    """Far ones first, as they are drawn. Those nearer than 3 m or behind are not in sight."""
    road = LaneLine(0, 0, (0.0, -math.tan(drive.heading(time)), *drive.bend(time * drive.speed)), 0, 200, 0)
    placed = [
        (each.distance + (each.speed - drive.speed) * time, number, each) for number, each in enumerate(drive.vehicles)
    ]
    for distance, number, each in sorted(placed, key=lambda one: -one[0]):
        if distance < 3:
            continue
        x = each.across - drive.offset(time) + road.at(distance)
        half, tall = each.size[0] / 2, each.size[1]
        ends = [distance, distance + each.length]
        corners = np.array([(x + side * half, z, up) for side in (-1, 1) for z in ends for up in (0.0, tall)])
        u, v = to_image(view, corners[:, 0], corners[:, 1], up=corners[:, 2])
        speed = each.speed - drive.speed
        yield Obstacle(
            number + 1,
            each.label,
            (float(u.min()), float(v.min()), float(u.max()), float(v.max())),
            1.0,
            Measure(distance, 0.0),
            Measure(x, 0.0),
            Measure(speed, 0.0),
            Measure(distance / -speed, 0.0) if speed < 0 else None,
            in_path=abs(each.across - drive.offset(time)) < 1.8,
        )


def _strips(drive: Drive, line: LaneLine, time: float, far: float = 90.0) -> Iterator[tuple[F64, F64, float]]:
    """The painted parts of a line: z and x of its middle, and half its thickness."""
    marking = drive.markings[line.id - 1]
    if marking.dashes is None:
        parts = [(1.0, far)]
    else:
        long, period = marking.dashes
        first = -((time * drive.speed) % period)
        parts = [(first + k * period, first + k * period + long) for k in range(int((far - first) / period) + 1)]
    for a, b in parts:
        if b > 1.0:
            z = np.linspace(max(a, 1.0), min(b, far), max(2, int((b - a) * 2)))
            z = z if len(z) < 40 else np.geomspace(z[0], z[-1], 40)
            c0, c1, c2, c3 = line.coefficients
            yield z, c0 + z * (c1 + z * (c2 / 2 + z * c3 / 6)), marking.thick / 2


def _polygon(view: View, z: F64, x: F64, half: float, *, least: float, taller: float) -> NDArray[np.int32]:
    """The outline in fixed point, at least `least` pixels wide."""
    (left, v), (right, _) = (to_image(view, x + side * half, z) for side in (-1, 1))
    spare = np.maximum(0.0, least - (right - left)) / 2
    u = np.concatenate([left - spare, (right + spare)[::-1]])
    return _fixed(u, np.concatenate([v, v[::-1]]) / taller)


def _fixed(u: F64, v: F64) -> NDArray[np.int32]:
    """For OpenCV, whose whole numbers are the middles of pixels."""
    return np.rint((np.stack([u, v], axis=-1) - 0.5) * (1 << _FINE)).clip(-(2**24), 2**24).astype(np.int32)


def _masks(
    drive: Drive,
    view: View,
    lines: Sequence[LaneLine],
    obstacles: Sequence[Obstacle],
    time: float,
    chance: np.random.Generator,
    *,
    blind: bool,
) -> U8:
    width, height = drive.masks
    small, taller = scaled(view, drive.size, drive.masks)
    made = np.zeros((len(NAMES), height, width), np.uint8)
    edges = sorted((line.at(0.0), line) for line in lines)
    if len(edges) > 1:
        z = np.geomspace(1.0, 90.0, 40)
        (_, left), (_, right) = edges[0], edges[-1]
        sides = [to_image(small, [line.at(d) for d in z], z) for line in (left, right)]
        u = np.concatenate([sides[0][0], sides[1][0][::-1]])
        v = np.concatenate([sides[0][1], sides[1][1][::-1]]) / taller
        cv2.fillPoly(made[0], [_fixed(u, v)], (255,), cv2.LINE_AA, _FINE)
    for line in () if blind else lines:
        for z, x, half in _strips(drive, line, time):
            outline = _polygon(small, z, x, half, least=3.0, taller=taller)
            cv2.fillPoly(made[1], [outline], (255,), cv2.LINE_AA, _FINE)
    _roughen(made[1], drive.rough, chance)
    across, down = width / drive.size[0], height / drive.size[1]
    for each in obstacles:
        x0, y0, x1, y1 = (side * by for side, by in zip(each.box, (across, down, across, down), strict=True))
        share = np.outer(_covered(y0, y1, height), _covered(x0, x1, width))
        made[:] = np.rint(made * (1.0 - share))
        region = 2 if each.label == "vehicle" else 3
        made[region] += np.rint(255.0 * share).astype(np.uint8)
    return made


def _covered(start: float, end: float, length: int) -> F64:
    """How much of each of `length` pixels is between two places, 0..1: sides of masks are as soft as networks' are."""
    pixels = np.arange(length)
    return np.asarray(np.clip(np.minimum(pixels + 1.0, end) - np.maximum(pixels, start), 0.0, 1.0))


def _roughen(lane: U8, rough: Rough, chance: np.random.Generator) -> None:
    height, width = lane.shape
    if rough.gaps:
        band = 6
        for top in range(0, height, band):
            if chance.random() < rough.gaps:
                lane[top : top + band, : width // 2] = 0
            if chance.random() < rough.gaps:
                lane[top : top + band, width // 2 :] = 0
    for _ in range(rough.specks):
        x, y = int(chance.integers(width)), int(chance.integers(height // 2, height))
        w, h = int(chance.integers(2, 9)), int(chance.integers(1, 5))
        lane[y : y + h, x : x + w] = 220
    if rough.noise:
        noise = (chance.standard_normal((height // 4 + 1, width // 4 + 1)) * rough.noise * 255).astype(np.float32)
        grown = cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR)
        lane[:] = np.clip(lane + grown * (lane > 0) + np.abs(grown) * 0.5, 0, 255)


def picture(drive: Drive, view: View, lines: Sequence[LaneLine], obstacles: Sequence[Obstacle], time: float) -> U8:
    """RGB uint8 HxWx3: sky, grass, asphalt, markings in their colours, vehicles as boxes."""
    width, height = drive.size
    made = np.empty((height, width, 3), np.uint8)
    level = int(np.clip(view.centre[1] - view.focal * math.tan(view.pitch), 0, height))
    made[:level], made[level:] = (150, 180, 215), (95, 115, 70)
    z = np.geomspace(1.0, 400.0, 60)
    edges = sorted((line.at(0.0), line) for line in lines)
    if edges:
        shoulders = (edges[0][1], -1.0), (edges[-1][1], 1.0)
        sides = [to_image(view, [line.at(d) + more for d in z], z) for line, more in shoulders]
        u = np.concatenate([sides[0][0], sides[1][0][::-1]])
        v = np.concatenate([sides[0][1], sides[1][1][::-1]])
        cv2.fillPoly(made, [_fixed(u, v)], (88, 88, 90), cv2.LINE_AA, _FINE)
    for line in lines:
        colour = _PAINT[drive.markings[line.id - 1].colour]
        for z, x, half in _strips(drive, line, time):
            cv2.fillPoly(made, [_polygon(view, z, x, half, least=1.0, taller=1.0)], colour, cv2.LINE_AA, _FINE)
    for each in obstacles:
        x0, y0, x1, y1 = (round(side) for side in each.box)
        rgb = drive.vehicles[each.id - 1].rgb
        cv2.rectangle(made, (x0, y0), (x1 - 1, y1 - 1), rgb, cv2.FILLED)
        cv2.rectangle(made, (x0, y0 + (y1 - y0) // 8), (x1 - 1, y0 + (y1 - y0) // 2), (40, 50, 60), cv2.FILLED)
    return made
