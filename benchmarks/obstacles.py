"""What obstacles are told, against the exact truth of a rendered road: distances, times, numbers and events.

    python -m benchmarks.obstacles [--drives 200] [--masks] [--cost]

Random drives of 5 s at 30 frames a second on a straight road (`benchmarks/road_world.py`): sides of boxes off by 1.5
pixels of 1280 x 720 (sigma), a tenth of the boxes missed, a false one every 20 frames, the car nods by 0.05 degrees.
Boxes as a detector gives them, or, with `--masks`, masks of 320 x 192. Numbers are judged by the library trackers:
HOTA and IDF1 (after TrackEval). An event counts as found where it begins while its scene has it.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from trackers.eval.clear import compute_clear_metrics
from trackers.eval.hota import compute_hota_metrics
from trackers.eval.identity import compute_identity_metrics
from trackers.utils.iou import IoU

from benchmarks.measure import machine, watched
from benchmarks.road_world import VIEW, Boxes, Thing, World
from rtseg.driving.obstacles import Obstacles
from rtseg.driving.state import EventKind, Fix, Measure, Obstacle, Scene

SECONDS, LENGTH = 5.0, 4.4
KINDS: tuple[EventKind, ...] = ("forward_collision", "close_following", "cut_in", "pedestrian_in_path")


@dataclass(frozen=True)
class Drive:
    """A scene, what must be told of it, and what may be. speed: of the own vehicle, m/s."""

    name: str
    things: Sequence[Thing]
    must: frozenset[EventKind]
    may: frozenset[EventKind]
    speed: float


def drive(number: int) -> Drive:
    """One of six kinds of scenes, by turns; its figures by the number."""
    random = np.random.default_rng([7, number])
    side = float(random.choice([-1.0, 1.0]))
    other = Thing(
        90,
        _line(float(random.uniform(15, 60)), float(random.uniform(-3, 3))),
        lambda _: -3.6 * side,
        1.8,
        length=LENGTH,
    )
    wide = float(random.normal(1.82, 0.08))
    match number % 6:
        case 0:
            closing, z = float(random.uniform(5, 12)), float(random.uniform(40, 55))
            z = max(min(z, closing * (SECONDS + 0.8)), closing * SECONDS + 3)
            things = [Thing(1, _line(z, -closing), width=wide, length=LENGTH), other]
            left = z / closing - SECONDS
            must: frozenset[EventKind] = frozenset({"forward_collision"}) if left < 2.2 else frozenset()
            # Between 2.2 and 3.4 s either is right.
            may: frozenset[EventKind] = frozenset({"forward_collision"}) if left < 3.4 else frozenset()
            return Drive("approach", things, must, may | {"close_following"}, 25.0)
        case 1:
            near = bool(random.integers(2))
            z = float(random.uniform(10, 18) if near else random.uniform(33, 60))
            told: frozenset[EventKind] = frozenset({"close_following"}) if near else frozenset()
            return Drive("follow", [Thing(1, lambda _: z, width=wide, length=LENGTH), other], told, told, 25.0)
        case 2:
            z, begins, takes = float(random.uniform(12, 24)), float(random.uniform(1.0, 2.0)), 2.0
            x = _ramp(3.6 * side, 0.0, begins, takes)
            told = frozenset({"cut_in"})
            return Drive(
                "cut in",
                [Thing(1, _line(z, 1.0), x, wide, length=LENGTH), other],
                told,
                told | {"close_following"},
                22.0,
            )
        case 3:
            things = [
                Thing(
                    1,
                    _line(float(random.uniform(8, 60)), float(random.uniform(-6, 6))),
                    lambda _: 3.6 * side,
                    wide,
                    length=LENGTH,
                ),
                other,
            ]
            return Drive("beside", things, frozenset(), frozenset(), 25.0)
        case 4:
            pace, own = float(random.uniform(1.2, 1.8)), float(random.uniform(2, 5))
            far = own * SECONDS + float(random.uniform(6, 12))
            walker = Thing(1, _line(far, -own), lambda t: side * (4.5 - pace * t), 0.5, 1.7, "vulnerable")
            told = frozenset({"pedestrian_in_path"})
            return Drive("crossing", [walker, other], told, told, own)
        case _:
            own = float(random.uniform(4, 9))
            walker = Thing(1, _line(50.0, -own), lambda t: side * (4.0 + 0.2 * math.sin(t)), 0.5, 1.7, "vulnerable")
            return Drive("pavement", [walker, other], frozenset(), frozenset(), own)


def _line(z: float, speed: float) -> Callable[[float], float]:
    return lambda t: z + speed * t


def _ramp(start: float, stop: float, begins: float, takes: float) -> Callable[[float], float]:
    def place(t: float) -> float:
        done = min(max((t - begins) / takes, 0.0), 1.0)
        return start + (stop - start) * (3 * done**2 - 2 * done**3)

    return place


@dataclass
class Tally:
    """What came of the drives. Errors are relative; truths and answers are ids and boxes a frame."""

    distance: list[float] = field(default_factory=list)
    ttc: list[float] = field(default_factory=list)
    coverage: Counter[str] = field(default_factory=Counter)
    events: Counter[tuple[str, str]] = field(default_factory=Counter)
    switches: int = 0
    hota: list[float] = field(default_factory=list)
    idf1: list[float] = field(default_factory=list)

    def judge(self, told: Sequence[tuple[float, Scene, Boxes]], scene: Drive) -> None:
        """Take one drive in."""
        begun = {event.kind for _, found, _ in told for event in found.events if event.phase == "begin"}
        for kind in KINDS:
            if kind in begun:
                self.events[kind, "true" if kind in scene.may else "false"] += 1
            elif kind in scene.must:
                self.events[kind, "missed"] += 1
        truth, answers, overlap = [], [], []
        for t, found, boxes in told:
            seen = [each for each in found.obstacles if each.seen]
            truth.append(np.array(list(boxes), np.int64))
            answers.append(np.array([each.id for each in seen], np.int64))
            true_boxes = np.array(list(boxes.values()), np.float64).reshape(-1, 4)
            overlap.append(IoU().compute(true_boxes, np.array([each.box for each in seen], np.float64).reshape(-1, 4)))
            for thing in scene.things:
                self._measures(thing, t, _best(thing.id, boxes, seen, overlap[-1]))
        dense = _dense(truth), _dense(answers), overlap
        self.hota.append(compute_hota_metrics(*dense)["HOTA"])
        self.idf1.append(compute_identity_metrics(*dense)["IDF1"])
        self.switches += int(compute_clear_metrics(*dense)["IDSW"])

    def _measures(self, thing: Thing, t: float, each: Obstacle | None) -> None:
        z = thing.z(t)
        if each is None or each.age < 15:
            return
        speed = (thing.z(t + 1e-3) - thing.z(t - 1e-3)) / 2e-3
        if z <= 40.0:
            self.coverage["distance" if each.distance is not None else "no distance"] += 1
            if each.distance is not None:
                self.distance.append(abs(each.distance.value / z - 1.0))
        if speed < -2.0 and z / -speed < 4.0:
            self.coverage["ttc" if each.ttc is not None else "no ttc"] += 1
            if each.ttc is not None:
                self.ttc.append(abs(each.ttc.value / (z / -speed) - 1.0))


def _best(number: int, boxes: Boxes, seen: Sequence[Obstacle], overlap: NDArray[np.float64]) -> Obstacle | None:
    if number not in boxes or not seen:
        return None
    row = overlap[list(boxes).index(number)]
    return seen[int(row.argmax())] if row.max() > 0.5 else None


def _dense(ids: Sequence[NDArray[np.int64]]) -> list[NDArray[np.int64]]:
    """Ids from 0 without gaps, as the library wants them."""
    known = {number: place for place, number in enumerate(sorted({int(n) for each in ids for n in each}))}
    return [np.array([known[int(n)] for n in each], np.int64) for each in ids]


def run(drives: int, *, masks: bool = False, seed: int = 0) -> Tally:
    """Random drives, told and judged."""
    tally = Tally()
    for number in range(drives):
        scene = drive(number)
        world = World(scene.things, seconds=SECONDS, noise=1.5, missed=0.1, false=0.05, nod=8.7e-4, seed=seed + number)
        analyzer = Obstacles()
        told = [
            (
                t,
                analyzer.read(frame, seen, Scene(view=VIEW, fix=Fix(0.0, 0.0, 1.0, speed=Measure(scene.speed, 0.2)))),
                boxes,
            )
            for t, (frame, seen, boxes) in zip(world.times(), world.frames(masks=masks), strict=True)
        ]
        tally.judge(told, scene)
    return tally


def report(tally: Tally) -> list[str]:
    """The figures as lines of Markdown."""
    lines = [
        "| figure | mean | median | 95 % | told in |",
        "|---|---:|---:|---:|---:|",
        _row("distance to 40 m", tally.distance, tally.coverage["distance"], tally.coverage["no distance"]),
        _row("time to collision under 4 s", tally.ttc, tally.coverage["ttc"], tally.coverage["no ttc"]),
        "",
        f"HOTA {statistics.mean(tally.hota):.3f}, IDF1 {statistics.mean(tally.idf1):.3f}, id switches {tally.switches}",
        "",
        "| event | found | missed | false | precision | recall |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for kind in KINDS:
        true, missed, false = (tally.events[kind, name] for name in ("true", "missed", "false"))
        precision, recall = true / max(1, true + false), true / max(1, true + missed)
        lines.append(f"| {kind} | {true} | {missed} | {false} | {precision:.2f} | {recall:.2f} |")
    return lines


def _row(name: str, errors: Sequence[float], told: int, untold: int) -> str:
    middle, high = np.percentile(errors, [50, 95])
    figures = " | ".join(f"{100 * value:.1f} %" for value in (np.mean(errors), middle, high))
    return f"| {name} | {figures} | {100 * told / max(1, told + untold):.0f} % |"


def cost(frames: int = 150) -> str:
    """CPU-milliseconds a frame of 1280 x 720 with eight things in masks of 320 x 192."""
    things = [
        Thing(n, _line(10.0 + 6 * n, 0.5 * (n % 3)), _line(3.6 * (n % 3 - 1), 0.0), length=LENGTH) for n in range(8)
    ]
    world = World(things, seconds=frames / 30, noise=1.0, missed=0.05, nod=5e-4)
    analyzer, spent = Obstacles(), []
    for frame, seen, _ in world.frames(masks=True):
        started = time.process_time()
        analyzer.read(frame, seen, Scene(view=VIEW))
        spent.append((time.process_time() - started) * 1e3)
    return f"{statistics.median(spent[10:]):.2f} CPU-ms a frame (median; 95 %: {np.percentile(spent[10:], 95):.2f})"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drives", type=int, default=200)
    parser.add_argument("--masks", action="store_true", help="masks of the road model's size in place of boxes")
    parser.add_argument("--cost", action="store_true", help="what it costs, instead")
    options = parser.parse_args(arguments)
    with watched() as load_average:
        print(cost() if options.cost else "\n".join(report(run(options.drives, masks=options.masks))))
    print(", ".join(f"{key} {value}" for key, value in machine().items()))
    if load_average.warning:
        print(load_average.warning)
    return 0


if __name__ == "__main__":
    sys.exit(main())
