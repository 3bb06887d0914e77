"""A straight flat road with boxes that move on it, and how a pinhole sees them: the exact truth of distances."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from rtseg.driving.state import View
from rtseg.types import Frame, Instances, Regions, Size

HD = (1280, 720)
MASKS = (320, 192)
VIEW = View(1000.0, (640.0, 360.0), 0.0, 0.0, 0.0, 1.3, source="file")
Boxes: TypeAlias = dict[int, tuple[float, float, float, float]]


@dataclass(frozen=True)
class Thing:
    """A box on the road: z of its rear and x of its middle at a time, m; its sides; hidden: when it is not seen.

    length: along the road, so that it shows a side where it is not ahead.
    """

    id: int
    z: Callable[[float], float]
    x: Callable[[float], float] = lambda _: 0.0
    width: float = 1.82
    height: float = 1.5
    group: str = "vehicle"
    hidden: Callable[[float], bool] = lambda _: False
    length: float = 0.0


def pixel(view: View, x: float, y: float, z: float) -> tuple[float, float]:
    """Where a point is seen: x right, y over the ground, z forward. The other way round than `ground_point`."""
    across = x * math.cos(view.yaw) - z * math.sin(view.yaw)
    ahead = x * math.sin(view.yaw) + z * math.cos(view.yaw)
    down = view.height - y
    b = down * math.cos(view.pitch) - ahead * math.sin(view.pitch)
    c = down * math.sin(view.pitch) + ahead * math.cos(view.pitch)
    u, v = across / c, b / c
    cos, sin = math.cos(view.roll), math.sin(view.roll)
    return view.centre[0] + view.focal * (u * cos + v * sin), view.centre[1] + view.focal * (v * cos - u * sin)


def box_of(view: View, thing: Thing, t: float) -> tuple[float, float, float, float]:
    """What it fills of the frame, in pixels; for a view without roll."""
    z, x = thing.z(t), thing.x(t)
    places = [(x + side * thing.width / 2, far) for side in (-1, 1) for far in (z, z + thing.length)]
    seen = [pixel(view, across, up, far) for across, far in places for up in (0.0, thing.height)]
    (left, top), (right, bottom) = (tuple(pick(sides) for sides in zip(*seen, strict=True)) for pick in (min, max))
    return left, top, right, bottom


@dataclass(frozen=True)
class World:
    """Frames of a drive.

    noise: sigma of a box's sides, pixels of the frame. missed: share of the boxes that are not seen. false: boxes a
    frame that are nothing. nod: sigma of the pitch from frame to frame, radians.
    """

    things: Sequence[Thing]
    view: View = VIEW
    seconds: float = 4.0
    noise: float = 0.0
    missed: float = 0.0
    false: float = 0.0
    nod: float = 0.0
    seed: int = 0
    rate: int = 30

    def times(self) -> list[float]:
        """Of the frames, seconds."""
        return [number / self.rate for number in range(round(self.seconds * self.rate))]

    def frame(self, number: int) -> Frame:
        """Grey, of its number's time."""
        luma, chroma = _planes()
        return Frame((luma, chroma, chroma), index=number, pts=number, time_base=Fraction(1, self.rate))

    def frames(self, *, masks: bool) -> Iterator[tuple[Frame, Regions | Instances, Boxes]]:
        """Each frame with what is seen of it, and the true boxes by id of what is in it: nearer things hide others.

        masks: as the road model's regions of 320 x 192, else as boxes of a detector.
        """
        random = np.random.default_rng(self.seed)
        for number, t in enumerate(self.times()):
            view = replace(self.view, pitch=self.view.pitch + self.nod * random.standard_normal())
            seen: list[tuple[str, tuple[float, ...]]] = []
            true: Boxes = {}
            for thing in self.things:
                box = box_of(view, thing, t) if thing.z(t) > 1.0 else (0.0, 0.0, 0.0, 0.0)
                if box[2] <= 8 or box[0] >= HD[0] - 8 or box[2] <= box[0] or thing.hidden(t):
                    continue
                x0, y0, x1, y1 = box
                true[thing.id] = (max(x0, 0.0), max(y0, 0.0), min(x1, HD[0]), min(y1, HD[1]))
                rough = tuple(side + self.noise * random.standard_normal() for side in box)
                if random.random() >= self.missed:
                    seen.append((thing.group, rough))
            for _ in range(random.poisson(self.false)):
                x, y = float(random.uniform(0, HD[0] - 60)), float(random.uniform(HD[1] / 2, HD[1] - 60))
                seen.append(("vehicle", (x, y, x + random.uniform(20, 60), y + random.uniform(20, 60))))
            made = self._masks(seen, number) if masks else self._boxes(seen, number)
            yield self.frame(number), made, true

    def _masks(self, seen: Sequence[tuple[str, Sequence[float]]], number: int) -> Regions:
        drawn = np.zeros((2, MASKS[1], MASKS[0]), np.uint8)
        for group, box in seen:
            draw(drawn[("vehicle", "vulnerable").index(group)], box)
        return Regions(drawn, ("vehicle", "vulnerable"), number, Size(*HD))

    def _boxes(self, seen: Sequence[tuple[str, Sequence[float]]], number: int) -> Instances:
        boxes = np.clip(np.array([box for _, box in seen], np.float32).reshape(-1, 4), 0, [*HD, *HD]).astype(np.float32)
        labels = np.array([("vehicle", "vulnerable").index(group) for group, _ in seen], np.int64)
        masks, scores = np.zeros((len(seen), 1, 1), np.uint8), np.full(len(seen), 0.9, np.float32)
        return Instances(masks, boxes, labels, scores, ("car", "person"), number, Size(*HD))


def draw(mask: NDArray[np.uint8], box: Sequence[float]) -> None:
    """A box into a mask that covers the frame: how much of each pixel it covers."""
    height, width = mask.shape
    x0, x1 = box[0] * width / HD[0], box[2] * width / HD[0]
    y0, y1 = box[1] * height / HD[1], box[3] * height / HD[1]
    across = np.clip(np.minimum(np.arange(width) + 1, x1) - np.maximum(np.arange(width), x0), 0, 1)
    down = np.clip(np.minimum(np.arange(height) + 1, y1) - np.maximum(np.arange(height), y0), 0, 1)
    np.maximum(mask, np.rint(255 * down[:, None] * across[None, :]).astype(np.uint8), out=mask)


@functools.cache
def _planes() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    return np.full(HD[::-1], 128, np.uint8), np.full((HD[1] // 2, HD[0] // 2), 128, np.uint8)
