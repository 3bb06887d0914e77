"""Analyzers, and models before them, on drawn drives whose truth is known exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from rtseg import registry
from rtseg.driving.drives import LaneErrors, random_drive, random_traffic
from rtseg.driving.lanes import LaneAnalyzer
from rtseg.driving.render import Rendered, render
from rtseg.driving.state import Measure, Obstacle, Scene
from rtseg.evaluate.boxes import DRIVING, Box, TrackTally
from rtseg.evaluate.drive_set import DrivenLanes, DrivenObstacles, DriveSet, Spread
from rtseg.evaluate.models import Model, known_regions, region_masks
from rtseg.evaluate.plan import Options
from rtseg.evaluate.runs import Progress
from rtseg.evaluate.scores import SetScores
from rtseg.results import Instances, Regions
from rtseg.types import Frame

MASKS, BOXES = "drawn masks", "drawn boxes"
"""Rows that no model is behind: what analyzers make of the truth, roughened."""
_SETTLED = 15  # frames that a thing was followed before its measures count
_FAR, _SOON, _CLOSING = 40.0, 4.0, 2.0  # metres, seconds, metres a second
_NOISE, _MISSED, _FALSE = 1.5, 0.1, 0.05
"""Of drawn boxes: pixels of 1280 that their sides are off by (sigma), the share missed, and false ones a frame."""


def score_lane_drives(
    models: Sequence[Model], data: DriveSet, *, options: Options, progress: Progress
) -> list[SetScores]:
    """Lanes from the drawn masks, roughened, and from every model that gives lanes by the drawn pictures.

    The camera's lens and height are given, its angles are not.
    """
    names = {model.name: known_regions(model.card, ["lane"], options) for model in models}
    able = [model for model in models if names[model.name]]
    errors = {name: LaneErrors() for name in (MASKS, *(model.name for model in able))}
    for number in range(data.count):
        progress(data.title, number, data.count)
        drive = random_drive(data.first + number)
        fov = math.degrees(drive.fov)
        analyzers = {name: LaneAnalyzer(height=drive.height, fov=fov) for name in errors}
        told: dict[str, list[tuple[Rendered, Scene]]] = {name: [] for name in errors}
        for model in able:
            model.segmenter.reset()
        first: Frame | None = None
        for truth in render(drive, pictures=bool(able)):
            seen = {MASKS: truth.regions}
            for model in able:
                mask = region_masks(model.segmenter(truth.frame), names[model.name])["lane"]
                seen[model.name] = Regions(mask[None], ("lane",), truth.frame.pts, truth.frame.size)
            first = first or truth.frame
            kept = replace(truth, frame=first)  # the pictures of a drive would fill the memory
            for name, regions in seen.items():
                analyzers[name](truth.frame, regions)
                told[name].append((kept, analyzers[name].scene))
        for name, pairs in told.items():
            errors[name].add(pairs)
    return [
        SetScores(name, data.title, "all", data.kind, data.count, (), task="lanes", driven_lanes=_lanes(found))
        for name, found in errors.items()
    ]


def score_obstacle_drives(data: DriveSet, *, progress: Progress) -> list[SetScores]:
    """Obstacles from drawn masks, and from boxes as a detector would give them, with the camera given.

    No model is asked: drawn vehicles are plain boxes, which networks do not take for vehicles. Raises
    DependencyMissing without trackers.
    """
    analyzer = registry.import_target("rtseg.driving.obstacles:Obstacles", extra=DRIVING)
    errors = {name: ObstacleErrors() for name in (MASKS, BOXES)}
    for number in range(data.count):
        progress(data.title, number, data.count)
        drive = random_traffic(data.first + number)
        chance = np.random.default_rng([13, data.first + number])
        readers = {name: analyzer() for name in errors}
        for tally in errors.values():
            tally.tracks.begin()
        for truth in render(drive):
            for name, seen in ((MASKS, truth.regions), (BOXES, drawn_boxes(truth, chance))):
                errors[name].add(truth, readers[name].read(truth.frame, seen, Scene(view=drive.view)))
    return [
        SetScores(name, data.title, "all", data.kind, data.count, (), task="obstacles", driven_obstacles=found.scores)
        for name, found in errors.items()
    ]


def drawn_boxes(truth: Rendered, chance: np.random.Generator) -> Instances:
    """What a detector could say of a drawn frame."""
    size = truth.frame.size
    seen: list[tuple[str, Box]] = []
    for each in truth.obstacles:
        rough = np.array(each.box) + chance.normal(0.0, _NOISE * size.width / 1280, 4)
        box = clipped((rough[0], rough[1], rough[2], rough[3]), size)
        if chance.random() >= _MISSED and box is not None:
            seen.append(("person" if each.label == "vulnerable" else "car", box))
    for _ in range(chance.poisson(_FALSE)):
        x, y = chance.uniform(0, size.width - 60), chance.uniform(size.height / 2, size.height - 60)
        seen.append(("car", (x, y, x + chance.uniform(20, 60), y + chance.uniform(20, 60))))
    names = ("car", "person")
    return Instances(
        np.zeros((len(seen), 1, 1), np.uint8),
        np.array([box for _, box in seen], np.float32).reshape(-1, 4),
        np.array([names.index(name) for name, _ in seen], np.int64),
        np.full(len(seen), 0.9, np.float32),
        names,
        truth.frame.pts,
        size,
    )


def clipped(box: Box, size: tuple[int, int]) -> Box | None:
    """What of a box is in a picture of `size`, width and height; None for less than eight pixels across."""
    x0, y0, x1, y1 = max(box[0], 0.0), max(box[1], 0.0), min(box[2], size[0]), min(box[3], size[1])
    return (x0, y0, x1, y1) if x1 - x0 >= 8 and y1 > y0 else None


@dataclass
class ObstacleErrors:
    """Grows by frames. Errors are relative; untold: how many distances and times were not told."""

    distance: list[float] = field(default_factory=list)
    ttc: list[float] = field(default_factory=list)
    untold: list[int] = field(default_factory=lambda: [0, 0])
    frames: int = 0
    tracks: TrackTally = field(default_factory=TrackTally)

    def add(self, truth: Rendered, found: Scene) -> None:
        """A frame of the sequence that `tracks` is in."""
        self.frames += 1
        true = {each.id: (each, box) for each in truth.obstacles if (box := clipped(each.box, truth.frame.size))}
        seen = [each for each in found.obstacles if each.seen]
        shares = self.tracks.add(
            {number: box for number, (_, box) in true.items()}, {each.id: each.box for each in seen}
        )
        for (one, _), row in zip(true.values(), shares, strict=True):
            if len(row) and row.max() > 0.5:
                self._measures(one, seen[int(row.argmax())])

    def _measures(self, true: Obstacle, told: Obstacle) -> None:
        assert true.distance is not None
        assert true.speed is not None
        if told.age < _SETTLED:
            return
        if true.distance.value <= _FAR:
            self.untold[0] += told.distance is None
            self.distance += _relative(told.distance, true.distance)
        if true.speed.value < -_CLOSING and true.ttc is not None and true.ttc.value < _SOON:
            self.untold[1] += told.ttc is None
            self.ttc += _relative(told.ttc, true.ttc)

    @property
    def scores(self) -> DrivenObstacles:
        """Of all frames so far."""
        return DrivenObstacles(
            self.frames,
            spread(self.distance),
            _share(len(self.distance), self.untold[0]),
            spread(self.ttc),
            _share(len(self.ttc), self.untold[1]),
            self.tracks.scores,
        )


def spread(errors: Sequence[float]) -> Spread | None:
    """None of no error."""
    if not errors:
        return None
    middle, high = np.percentile(errors, [50, 95])
    return Spread(float(middle), float(np.mean(errors)), float(high), len(errors))


def _relative(told: Measure | None, true: Measure) -> list[float]:
    return [] if told is None else [abs(told.value / true.value - 1.0)]


def _share(told: int, untold: int) -> float | None:
    return told / (told + untold) if told + untold else None


def _lanes(errors: LaneErrors) -> DrivenLanes:
    out, frames = errors.departures, max(errors.frames, 1)
    return DrivenLanes(
        errors.frames,
        spread(errors.offset),
        spread([math.degrees(each) for each in errors.heading]),
        errors.both / frames,
        errors.withheld / frames,
        float(np.percentile(errors.jumps or [0.0], 99.9)),
        out.precision,
        out.recall,
        out.right + out.missed,
    )
