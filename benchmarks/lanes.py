"""Lanes on drives whose truth is known, and on clips.

    python -m benchmarks.lanes [--drives 200] [--first 0] [--given all lens nothing] [--clips FILE...] [--picture FILE]

Drives are drawn at random (`rtseg.driving.drives`) with noise, specks, gaps, blind and missed frames, and are read
three times: with the camera given, with lens and height given, and with nothing given. Errors are those after the first
second. Clips are read by the model `road`. Cost is CPU milliseconds of the thread, medians, for frames of 1280 x 720.
--picture draws a drawn road with the lines that were found, beside its plan.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

import rtseg
from benchmarks.measure import machine
from rtseg.driving.drives import LaneErrors, random_drive
from rtseg.driving.ground import birds_eye, horizon, to_image
from rtseg.driving.lanes import LaneAnalyzer
from rtseg.driving.render import Drive, Marking, Rendered, Vehicle, render
from rtseg.ops.arrays import as_u8
from rtseg.sources.video import VideoFile

COLOURS = {1: (80, 200, 60), 2: (200, 140, 40)}
"""BGR, of the own lane's lines and of those beyond."""
GIVEN = ("all", "lens", "nothing")


def analyzer(given: str, drive: Drive) -> LaneAnalyzer:
    """With as much of the camera as is given."""
    fov, pitch, yaw = (math.degrees(angle) for angle in (drive.fov, drive.pitch, drive.yaw))
    match given:
        case "all":
            return LaneAnalyzer(height=drive.height, fov=fov, pitch=pitch, yaw=yaw)
        case "lens":
            return LaneAnalyzer(height=drive.height, fov=fov)
        case _:
            return LaneAnalyzer()


@dataclass
class Tally:
    """What one way of knowing the camera came to."""

    errors: LaneErrors = field(default_factory=LaneErrors)
    times: list[float] = field(default_factory=list)

    def follow(self, name: str, seed: int, lanes: LaneAnalyzer, frames: list[Rendered]) -> None:
        """One drive; says so where its departures are not the true ones."""
        pairs = []
        for frame in frames:
            before = time.thread_time()
            lanes(frame.frame, frame.regions)
            self.times.append(time.thread_time() - before)
            pairs.append((frame, lanes.scene))
        out = self.errors.departures
        was = out.wrong, out.missed
        self.errors.add(pairs)
        if was != (out.wrong, out.missed):
            print(f"{name}: drive {seed} has a wrong or a missed departure", file=sys.stderr, flush=True)

    def row(self, name: str) -> str:
        """A line of the table."""
        errors, out = self.errors, self.errors.departures
        turned, off = np.degrees(errors.heading or [math.nan]), np.array(errors.offset or [math.nan])
        return (
            f"| {name} | {off.mean():.3f}, {np.percentile(off, 95):.3f} | "
            f"{turned.mean():.2f}, {np.percentile(turned, 95):.2f} | {errors.both / max(errors.frames, 1):.2%} | "
            f"{errors.withheld / max(errors.frames, 1):.2%} | {np.percentile(errors.jumps or [0], 99.9):.2f} | "
            f"{out.precision:.3f}, {out.recall:.3f} ({out.right + out.missed}) | "
            f"{statistics.median(self.times) * 1000:.2f} |"
        )


HEAD = (
    "| camera | offset at 10 m: mean, 95 %, m | heading: mean, 95 %, degrees | both ego lines | offset withheld | "
    "jumps at 10 m, 99.9 %, m | departures: precision, recall (of) | CPU-ms |\n|---|---|---|---|---|---|---|---|"
)


def drives(count: int, first: int = 0, ways: Sequence[str] = GIVEN) -> None:
    """A line for each of GIVEN."""
    tallies = {given: Tally() for given in ways}
    for seed in range(first, first + count):
        drive = random_drive(seed)
        frames = list(render(drive))
        for given, tally in tallies.items():
            tally.follow(given, seed, analyzer(given, drive), frames)
    print(HEAD)
    for given, tally in tallies.items():
        print(tally.row(given))


def clip(path: str) -> None:
    """A line for a clip."""
    pipeline, lanes = rtseg.load_pipeline(model="road"), LaneAnalyzer()
    frames = both = events = 0
    jumps, times = [0.0], list[float]()
    before: dict[int, float] = {}
    for frame in VideoFile(path):
        segmentation = pipeline(frame).segmentation
        start = time.thread_time()
        lanes(frame, segmentation)
        times.append(time.thread_time() - start)
        found = lanes.scene.lanes
        frames, both = frames + 1, both + (found.line(-1) is not None and found.line(1) is not None)
        now = {line.place: line.at(10.0) for line in found.lines if abs(line.place) == 1}
        jumps += [abs(x - before[place]) for place, x in now.items() if place in before]
        before = now
        events += sum(event.phase == "begin" for event in lanes.scene.events)
    cost = statistics.median(times) * 1000
    print(f"| {path} | {both}/{frames} | {max(jumps):.2f} | {events} | {cost:.2f} |", flush=True)


def picture(path: str) -> None:
    """A frame of a drive after two seconds, and the road from above, with what was found."""
    drive = Drive(
        seconds=2.0,
        markings=(Marking(-5.4, None, "yellow"), Marking(-1.8, (3.0, 9.0)), Marking(1.8, (3.0, 9.0)), Marking(5.4)),
        curvature=((0.0, -1e-3), (200.0, -1e-3)),
        vehicles=(Vehicle(24.0, 0.0, 25.0), Vehicle(30.0, 3.6, 27.0, rgb=(40, 60, 130))),
        shake=0.003,
        seed=3,
    )
    lanes = LaneAnalyzer(height=drive.height, fov=math.degrees(drive.fov))
    for frame in render(drive, pictures=True):
        lanes(frame.frame, frame.regions)
    view, bgr = lanes.scene.view, frame.frame.bgr
    assert view is not None
    (_, left), (_, right) = horizon(view, drive.size[0])
    plan = (270, 720)
    above = birds_eye(view, plan, across=16.0, ahead=(4.0, 46.0))
    road = bgr.copy()
    road[: int(max(left, right)) + 2] = 0
    road = as_u8(cv2.warpPerspective(road, above, plan))
    z = np.linspace(4.0, 46.0, 80)
    for line in lanes.scene.lanes.lines:
        points = np.stack(to_image(view, [line.at(far) for far in z], z), axis=-1)
        for drawn, places in ((bgr, points), (road, cv2.perspectiveTransform(points[None], above)[0])):
            fixed = np.rint((places - 0.5) * 16).astype(np.int32)
            cv2.polylines(drawn, [fixed], False, COLOURS[abs(line.place)], 3, cv2.LINE_AA, 4)
    joined = np.hstack([bgr, np.zeros((720, 10, 3), np.uint8), road])
    small = cv2.resize(joined, (joined.shape[1] // 2, 360), interpolation=cv2.INTER_AREA)
    cv2.imwrite(path, small, [cv2.IMWRITE_JPEG_QUALITY, 88])


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--drives", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--given", nargs="+", choices=GIVEN, default=GIVEN)
    parser.add_argument("--clips", nargs="*", default=[])
    parser.add_argument("--picture")
    options = parser.parse_args()
    if options.picture:
        picture(options.picture)
    if options.drives:
        drives(options.drives, options.first, options.given)
    if options.clips:
        print(
            "\n| clip | frames with both ego lines | jumps at 10 m, most, m | events | CPU-ms |\n|---|---|---|---|---|"
        )
        for path in options.clips:
            clip(path)
    print(f"\n{machine()}")


if __name__ == "__main__":
    main()
