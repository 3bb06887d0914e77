"""What is true of a picture and what a model says of it, in the terms that each task compares them in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, assert_never, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.datasets import DataSet, Sample
from rtseg.errors import ConfigError
from rtseg.evaluate.metrics import Bool
from rtseg.ops.resize import enlarge
from rtseg.results import Instances, Panoptic, Regions, Segmentation, Semantic

Task: TypeAlias = Literal["semantic", "instance", "panoptic", "matte", "drivable", "lanes", "obstacles"]
TASKS: tuple[Task, ...] = get_args(Task)

_TASKS_OF: Mapping[str, tuple[Task, ...]] = {
    "binary": ("semantic", "drivable", "lanes"),
    "index": ("semantic", "drivable", "lanes"),
    "instances": ("instance", "semantic"),
    "alpha": ("matte", "semantic"),
    "coco-panoptic": ("panoptic", "instance", "semantic", "obstacles", "drivable", "lanes"),
    "coco-instances": ("instance", "semantic", "obstacles", "drivable", "lanes"),
    "lane-lines": ("lanes",),
    "drawn-drives": ("lanes", "obstacles"),
    "tracks": ("obstacles",),
}
"""Kind of labels -> what can be measured with them, the usual first."""

_WORDS: Mapping[Task, str] = {
    "semantic": "classes of pixels",
    "instance": "single things",
    "panoptic": "segments that share out the picture",
    "matte": "soft alpha",
    "drivable": "road",
    "lanes": "lane markings",
    "obstacles": "boxes of single obstacles",
}

ROAD_REGIONS: Mapping[Task, str] = {"drivable": "drivable", "lanes": "lane"}
"""What tasks of roads measure of sets of masks."""


@dataclass(frozen=True, eq=False, slots=True)
class TrueSegment:
    """A thing, or all stuff of a class. mask: boolean HxW. crowd: many things that were not told apart.

    area: as the labels state it, None for that of the mask.
    """

    name: str
    mask: Bool
    crowd: bool = False
    area: float | None = None


@dataclass(frozen=True, eq=False, slots=True)
class SaidSegment:
    """The same of a prediction, under the set's name for it; score 0..1."""

    name: str
    mask: Bool
    score: float


def task_of(title: str, kind: str, wanted: Task | None) -> Task:
    """What is measured on labels of a kind; ConfigError where they cannot tell what is wanted."""
    possible = _TASKS_OF[kind]
    if wanted is None:
        return possible[0]
    if wanted not in possible:
        raise ConfigError(
            f"{title!r} has labels of kind {kind!r}, which show no {_WORDS[wanted]}, so --task {wanted} cannot be "
            f"measured with them: use {' or '.join(f'--task {task}' for task in possible)}, or other labels"
        )
    return wanted


def true_segments(data: DataSet, sample: Sample) -> tuple[TrueSegment, ...]:
    """The things of a picture of a set of kind "instances"; none in others. Where nothing is known there is none."""
    if sample.ids is None:
        return ()
    (name,) = data.regions
    ids = np.where(sample.known > 127, sample.ids, np.uint16(0))
    return tuple(TrueSegment(name, ids == value) for value in np.unique(ids) if value)


def said_segments(
    result: Segmentation, names: Mapping[str, str], known: Bool, *, model: str, task: Task
) -> list[SaidSegment]:
    """The segments of a result at the size of `known`, HxW, without what is unknown; best score first.

    names: the model's name -> the set's; all others are left out. A score that is not given counts as 1.
    Raises ConfigError for results that tell no segments apart.
    """
    size = known.shape[1], known.shape[0]
    found: list[SaidSegment] = []
    match result:
        case Instances():
            for label, score, mask in zip(result.labels, result.scores, result.masks, strict=True):
                if (name := names.get(result.names[label])) is not None:
                    found.append(SaidSegment(name, (enlarge(mask, size) > 127) & known, float(score)))
        case Panoptic():
            ids = nearest(result.ids, size)
            for segment in result.segments_info:
                if (name := names.get(result.names[segment.label])) is not None:
                    score = 1.0 if segment.score is None else segment.score
                    found.append(SaidSegment(name, (ids == segment.id) & known, float(score)))
        case Semantic() | Regions():
            raise ConfigError(
                f"the model {model!r} gives {_WORDS['semantic']} and tells no things apart, so --task {task} cannot "
                "be measured with it: use --task semantic, or a model that gives instances or panoptic segments"
            )
        case _:
            assert_never(result)
    return sorted(found, key=lambda segment: -segment.score)


def without_overlap(segments: Sequence[SaidSegment], *, least: float = 0.5) -> list[SaidSegment]:
    """Segments, best first, of which each keeps what those before left; one that keeps under `least` is dropped.

    So instances become panoptic (Kirillov et al., "Panoptic Segmentation", CVPR 2019).
    """
    kept: list[SaidSegment] = []
    taken: Bool | None = None
    for segment in segments:
        free = segment.mask if taken is None else segment.mask & ~taken
        if (area := np.count_nonzero(free)) and area >= least * np.count_nonzero(segment.mask):
            kept.append(SaidSegment(segment.name, free, segment.score))
            taken = free if taken is None else taken | free
    return kept


def nearest(ids: NDArray[np.int32], size: tuple[int, int]) -> NDArray[np.int32]:
    """A map of numbers HxW at `size` (width, height): each pixel is that whose centre is nearest."""
    if ids.shape == (size[1], size[0]):
        return ids
    return np.asarray(cv2.resize(ids, size, interpolation=cv2.INTER_NEAREST_EXACT), np.int32)
