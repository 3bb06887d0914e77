"""What the display over a drive takes of a 720p frame, all and part by part: `python -m benchmarks.hud`.

CPU-ms, medians; the parts take turns, so that all have the machine in the same state.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from dataclasses import replace

import numpy as np

from rtseg.compositor import Compositor
from rtseg.driving.hud import Hud
from rtseg.driving.state import (
    Event,
    LaneLine,
    Lanes,
    Measure,
    Obstacle,
    View,
    observe_event,
    observe_lanes,
    observe_obstacle,
    observe_view,
)
from rtseg.types import Frame, Observation, Regions, Size

SIZE = Size(1280, 720)
PARTS = ("carpet", "lines", "masks", "boxes", "plates", "horizon", "inset", "banner", "clock", "speed", "offset")


def observed(index: int) -> list[Observation]:
    """Three lines, three obstacles that move, and an alarm."""
    view = View(SIZE.width / 2 / math.tan(math.radians(30)), (640.0, 360.0), 0.03, 0.0, 0.0, 1.3)
    lines = tuple(
        LaneLine(place, place, (x, 0.0, 1e-3, 0.0), 4.0, 45.0, 0.05, "dashed" if place == -1 else "solid", colour)  # type: ignore[arg-type]
        for place, x, colour in ((-2, -5.6, "yellow"), (-1, -2.0, "white"), (1, 1.6, "white"))
    )
    seen = [observe_view(view, 0), *observe_lanes(Lanes(lines, Measure(0.2, 0.03), width=Measure(3.6, 0.05)), 0)]
    shift = float(index % 7)
    for number, label, x0, y0, x1, y1 in (
        (3, "car", 590, 315, 702, 408),
        (7, "truck", 441, 245, 550, 385),
        (12, "person", 948, 290, 996, 432),
    ):
        box = (x0 + shift, y0 + shift, x1 + shift, y1 + shift)
        far = Measure(18.0 + number + 0.3 * (index % 20), 1.0)
        seen.append(observe_obstacle(Obstacle(number, label, box, 0.9, far, Measure(0.1, 0.2), lead=number == 3), 0))
    seen.append(observe_event(Event("forward_collision", "critical", 0, "on", 0.7, {"ttc": 1.3}), 0))
    return [*seen, Observation("motion", 0, {"speed": 24.6})]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    rounds = parser.parse_args().rounds
    rng = np.random.default_rng(1)
    rgb = rng.integers(0, 255, (SIZE.height, SIZE.width, 3), np.uint8)
    frame = Frame.from_rgb(rgb)
    masks = np.zeros((4, 192, 320), np.uint8)
    masks[0, 96:], masks[2, 84:109, 110:176], masks[3, 77:115, 237:249] = 250, 250, 250
    regions = Regions(masks, ("drivable", "lane", "vehicle", "vulnerable"), 0, SIZE)
    off = dict.fromkeys(PARTS, False)
    huds = {"all": Hud(), **{part: Hud(**{**off, part: True}) for part in PARTS}, "nothing": Hud(**off)}  # type: ignore[arg-type]
    compositor = Compositor()
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in huds}
    for index in range(rounds):
        seen = observed(index)
        moment = replace(frame, pts=3000 * index)
        for name, hud in huds.items():
            start = time.process_time()
            layers = hud(moment, regions, seen)
            made = time.process_time()
            compositor(moment, layers)
            times[name].append(((made - start) * 1e3, (time.process_time() - made) * 1e3))
    print(f"{'':10}{'layers':>8}{'composite':>11}{'both':>8}   CPU-ms of a frame of {SIZE.width}x{SIZE.height}")
    for name, found in times.items():
        made, put = (statistics.median(column) for column in zip(*found, strict=True))
        print(f"{name:10}{made:8.2f}{put:11.2f}{made + put:8.2f}")


if __name__ == "__main__":
    main()
