"""Made-up drives: what analyzers would say of them, and pictures of the same road."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np

from rtseg.driving.ground import project
from rtseg.driving.state import (
    Event,
    LaneLine,
    Lanes,
    Measure,
    Obstacle,
    Scene,
    View,
    observe_event,
    observe_lanes,
    observe_obstacle,
    observe_view,
)
from rtseg.types import Colour, Frame, Observation, Regions, Size

LIMITED = Colour("bt709")


def view_of(size: Size, *, pitch: float = 0.03, roll: float = 0.0) -> View:
    """A camera 1.3 m over the road, 60 degrees wide."""
    focal = size.width / 2 / math.tan(math.radians(30))
    return View(focal, (size.width / 2, size.height / 2), pitch, 0.0, roll, 1.3, 0.002, 0.002, confidence=0.8)


def lanes_of(*, offset: float = 0.2, curvature: float = 1e-3) -> Lanes:
    """Two lanes of 3.6 m, the vehicle in the right one; the line between them is dashed, the left one yellow."""

    def line(place: int, x: float, kind: str, colour: str) -> LaneLine:
        c = (x - offset, 0.0, curvature, 0.0)
        return LaneLine(place + 9, place, c, 4.0, 45.0, 0.05, kind, colour)  # type: ignore[arg-type]

    lines = (
        line(-2, -5.4, "solid", "yellow"),
        line(-1, -1.8, "dashed", "white"),
        line(1, 1.8, "solid", "white"),
    )
    width, heading = Measure(3.6, 0.05), Measure(0.0, 0.01)
    return Lanes(lines, Measure(offset, 0.03), heading, Measure(curvature, 1e-4), width)


def obstacle(
    view: View, number: int, label: str, x: float, z: float, *, size: tuple[float, float], **more: object
) -> Obstacle:
    """Something that stands on the road there, `size` (width, height) metres."""
    wide, high = size
    (left, bottom), (right, _) = project(view, np.array([x - wide / 2, x + wide / 2]), np.array([z, z])).tolist()
    top = bottom - (right - left) * high / wide
    return Obstacle(number, label, (left, top, right, bottom), 0.9, Measure(z, 0.05 * z), Measure(x, 0.2), **more)  # type: ignore[arg-type]


def scene(size: Size, *, calm: bool = False, pts: int = 0) -> Scene:
    """A curve to the right with a car ahead, one beside and someone at the roadside; a collision threatens."""
    view, lanes = view_of(size), lanes_of()
    car = (1.8, 1.5)
    ttc = None if calm else Measure(1.3, 0.1)
    obstacles = (
        obstacle(view, 3, "car", 0.1, 18.0, size=car, ttc=ttc, in_path=True, lead=True, speed=Measure(-8.0, 0.5)),
        obstacle(view, 7, "truck", -3.4, 26.0, size=(2.5, 3.2)),
        obstacle(view, 12, "person", 4.2, 14.0, size=(0.6, 1.75)),
    )
    alarm = Event("forward_collision", "critical", pts, "on", 0.7, {"ttc": 1.3, "obstacle": 3})
    return Scene(view, lanes, obstacles, () if calm else (alarm,))


def observations(scene: Scene, pts: int = 0) -> list[Observation]:
    """As analyzers would give them, with the vehicle's speed."""
    found: list[Observation] = [] if scene.view is None else [observe_view(scene.view, pts)]
    found += observe_lanes(scene.lanes, pts)
    found += [observe_obstacle(each, pts) for each in scene.obstacles]
    found += [observe_event(each, pts) for each in scene.events]
    return [*found, Observation("motion", pts, {"speed": 24.6, "speed_sigma": 0.3})]


def picture(size: Size, scene: Scene, *, pts: int = 90_000 * 83 + 40_500) -> Frame:
    """The road of a scene, drawn."""
    view = scene.view
    assert view is not None
    rows = np.linspace(0.0, 1.0, size.height)[:, None]
    rgb = np.empty((size.height, size.width, 3), np.uint8)
    rgb[:] = np.stack([120 + 60 * rows, 150 + 50 * rows, 190 + 20 * rows], axis=-1).astype(np.uint8)
    z = 1.0 / np.linspace(1 / 1.5, 1 / 300, 60)

    def ground(left: float, right: float, colour: tuple[int, int, int], bend: float = 1e-3) -> None:
        outline = np.vstack([project(view, x + bend * z * z / 2, z)[::turn] for x, turn in ((left, 1), (right, -1))])
        fixed = np.rint(np.clip(outline, -9000, 9000) * 16).astype(np.int32)
        cv2.fillPoly(rgb, [fixed], colour, cv2.LINE_AA, 4)

    ground(-300, 300, (86, 108, 70))
    ground(-6.4, 3.4, (84, 84, 88))
    for line in scene.lanes.lines:
        x = line.coefficients[0]
        ground(x - 0.07, x + 0.07, (200, 170, 60) if line.colour == "yellow" else (215, 215, 210))
    for each in sorted(scene.obstacles, key=lambda one: -(one.distance or Measure(0, 0)).value):
        x0, y0, x1, y1 = (round(side) for side in each.box)
        colour = {"car": (150, 40, 40), "truck": (190, 190, 180)}.get(each.label, (50, 60, 110))
        cv2.rectangle(rgb, (x0, y0), (x1, y1), colour, cv2.FILLED)
        cv2.rectangle(rgb, (x0, y0 + (y1 - y0) // 8), (x1, y0 + (y1 - y0) // 2), (40, 46, 54), max(1, (x1 - x0) // 30))
    return Frame.from_rgb(rgb, colour=LIMITED, pts=pts, time_base=Fraction(1, 90_000))


def regions(size: Size, scene: Scene) -> Regions:
    """What the road model would say: its four regions, of the boxes of obstacles and the road."""
    mask = Size(320, 192)
    masks = np.zeros((4, mask.height, mask.width), np.uint8)
    for each in scene.obstacles:
        scale = (mask.width / size.width, mask.height / size.height)
        x0, y0, x1, y1 = (round(side * scale[place % 2]) for place, side in enumerate(each.box))
        cv2.rectangle(masks[3 if each.label == "person" else 2], (x0, y0), (x1, y1), 250, cv2.FILLED)
    corners = [(mask.width * 0.48, mask.height * 0.5), (mask.width * 0.52, mask.height * 0.5)]
    corners += [(mask.width * 0.95, mask.height), (mask.width * 0.05, mask.height)]
    cv2.fillPoly(masks[0], [np.rint(np.array(corners)).astype(np.int32)], 250)
    soft = np.stack([cv2.GaussianBlur(each, (3, 3), 0) for each in masks]).astype(np.uint8)
    return Regions(
        soft,
        ("drivable", "lane", "vehicle", "vulnerable"),
        0,
        size,
    )


def without_view(scene: Scene) -> Scene:
    """The same from analyzers that do not know how the camera looks."""
    return replace(scene, view=None)
